"""Is it said what was passed in place of data, and what to pass?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lossatlas as la

X, Y = torch.randn(12, 4), torch.arange(12) % 3
TUPLE = r"data=\(inputs, targets\), or one batch in a list: data=\[\(inputs, targets\)\]"


class Table:
    """As of pandas or polars."""

    def to_numpy(self):
        raise AssertionError


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([X, Y], rf"list of two tensors, float32 \[12, 4\] and int64 \[12\], and a list holds batches.*{TUPLE}"),
        ([X.numpy(), Y.numpy()], rf"list of two arrays, float32 \[12, 4\] and int64 \[12\].*{TUPLE}"),
        ([X, Y[:, None].float()], TUPLE),
        (Table(), r"data is a Table; expected tensors or arrays: data=\(inputs.to_numpy\(dtype='float32'\)"),
        ((X, Table()), "data, a tuple, holds a Table; expected tensors or arrays"),
        ({"x": Table(), "y": Y}, "data, a dict, holds a Table"),
        ((np.array(X.tolist(), dtype=object), Y), "dtype object does not hold numbers that torch knows; convert it"),
        ((X.tolist(), Y.tolist()), r"or batches of tensors \(torch.tensor of numbers\)"),
        (X, r"a batch is a single tensor, so its inputs are its targets.*data is \(inputs, targets\)"),
        (TensorDataset(X), "a batch is a single tensor"),
        (DataLoader(list(X), batch_size=4), "a batch is a single tensor"),
        (iter([(X, Y)]), "which can be read only once"),
    ],
)
def test_what_is_no_data_is_named_with_what_to_pass(data, said):
    with pytest.raises(la.errors.SpecError, match=said):
        la.Objective(nn.Linear(4, 3), data, F.cross_entropy)()


@pytest.mark.parametrize("data", [[(X, Y)], [[X, Y]], (X, Y), (X.numpy(), Y.numpy()), TensorDataset(X, Y)])
def test_what_is_data_is_taken(data):
    assert la.Objective(nn.Linear(4, 3), data, F.cross_entropy).samples == 12


def test_two_batches_of_one_kind_are_batches():
    assert la.Objective(nn.Linear(4, 4), [X, X + 1], F.mse_loss).samples == 24
