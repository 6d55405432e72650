"""Are BatchNorm's statistics frozen, measured again, or moved along, as was asked for?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).double()
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.5, 2)
    return net


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(30, 4, generator=generator).double(), torch.randint(3, (30,), generator=generator)


def by_hand(net: nn.Module, mean: torch.Tensor, var: torch.Tensor, weights: dict[str, torch.Tensor]) -> float:
    x, y = data()
    z = x @ weights["0.weight"].T + weights["0.bias"]
    z = (z - mean) / (var + 1e-5).sqrt() * weights["1.weight"] + weights["1.bias"]
    return float(F.cross_entropy(z.relu() @ weights["3.weight"].T + weights["3.bias"], y))


def test_frozen_statistics_stay_those_of_the_model():
    net = model(0)
    objective = la.Objective(net, data(), loss=F.cross_entropy)
    point = la.Plane.random(objective).at({"x": 0.5, "y": -0.3})
    assert objective(point)["loss"] == pytest.approx(
        by_hand(net, net[1].running_mean, net[1].running_var, point), rel=1e-12
    )


def test_recalibrated_statistics_are_those_of_the_data_at_the_point():
    net = model(0)
    objective = la.Objective(net, data(), loss=F.cross_entropy, batchnorm="recalibrated")
    point = la.Plane.random(objective).at({"x": 0.5, "y": -0.3})
    z = data()[0] @ point["0.weight"].T + point["0.bias"]
    assert objective(point)["loss"] == pytest.approx(by_hand(net, z.mean(0), z.var(0), point), rel=1e-12)


def test_recalibration_weighs_a_short_last_batch_by_its_samples():
    net = model(0)
    x, y = data()
    objective = la.Objective(net, [(x[:20], y[:20]), (x[20:], y[20:])], loss=F.cross_entropy, batchnorm="recalibrated")
    objective()
    z = net[0](x).detach()
    mean = (20 * z[:20].mean(0) + 10 * z[20:].mean(0)) / 30
    torch.testing.assert_close(objective.private[1].running_mean, mean)
    torch.testing.assert_close(objective.private[1].running_mean, z.mean(0))


def test_interpolated_statistics_move_along_the_line_between_two_models():
    a, b = model(0), model(1)
    objective = la.Objective(a, data(), loss=F.cross_entropy, batchnorm="interpolated")
    line = la.interpolate(objective, a, b, steps=5)
    for t in (0.0, 0.25, 0.5, 1.0):
        weights = {k: (1 - t) * p + t * q for (k, p), q in zip(a.state_dict().items(), b.state_dict().values())}
        expected = by_hand(a, weights["1.running_mean"], weights["1.running_var"], weights)
        assert float(line["loss"].sel(x=t)) == pytest.approx(expected, rel=1e-12)
    frozen = la.interpolate(la.Objective(a, data(), loss=F.cross_entropy), a, b, steps=5)
    assert abs(float(frozen["loss"].sel(x=1)) - float(line["loss"].sel(x=1))) > 1e-3


def test_random_directions_never_move_running_statistics():
    objective = la.Objective(model(0), data(), loss=F.cross_entropy, batchnorm="interpolated")
    plane = la.Plane.random(objective, still=())
    assert not any("running" in name for name in plane.directions["x"])
