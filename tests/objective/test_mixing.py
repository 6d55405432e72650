"""Are layers named whose result depends on how the data is cut?"""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la


def data():
    torch.manual_seed(0)
    return torch.randn(10, 4), torch.randint(0, 3, (10,))


def net(**options):
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, **options), nn.ReLU(), nn.Linear(8, 3))


def test_batchnorm_without_running_statistics_is_named_where_the_data_is_cut():
    model = net(track_running_stats=False)
    message = r"BatchNorm without running statistics \(1\).*depend on how the data are cut \(here into 3\)"
    with pytest.warns(UserWarning, match=message):
        cut = la.Objective(model, data(), loss=F.cross_entropy, batch_size=4)()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = la.Objective(model, data(), loss=F.cross_entropy)()
    assert abs(cut["loss"] - whole["loss"]) > 1e-3


def test_batchnorm_in_training_mode_is_named_and_with_statistics_of_its_own_it_is_not():
    with pytest.warns(UserWarning, match=r"BatchNorm in training mode \(1\)"):
        la.Objective(net(), data(), loss=F.cross_entropy, batch_size=4, training=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        la.Objective(net(), data(), loss=F.cross_entropy, batch_size=4)
        la.Objective(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), data(), loss=F.cross_entropy, batch_size=4)
