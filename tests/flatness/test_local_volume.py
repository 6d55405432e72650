"""Does the volume of low loss shrink as it must: ellipsoids exactly, crossing valleys with their multiplicity?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.errors import SpecError
from lossatlas.flatness.degeneracy import Volume, local_volume

QUIET = {"progress": False}


def quadratic(curves, at=0.0) -> la.Objective:
    """L(w) = 1/2 Σ h_i w_i²."""
    d = len(curves)
    model = nn.Linear(d, 1, bias=False).double()
    nn.init.constant_(model.weight, at)
    x = torch.diag(torch.sqrt(torch.tensor(curves, dtype=torch.float64) * d))
    return la.Objective(model, (x, torch.zeros(d, 1).double()), lambda f, y: (f - y).square().mean() / 2)


def ball(d):
    return d / 2 * math.log(math.pi) - scipy.special.gammaln(d / 2 + 1)


@pytest.mark.parametrize("scaled", ["none", "hessian"])
def test_the_volume_of_an_ellipsoid_is_that_of_the_formula(scaled):
    curves = np.array([1.0, 4.0, 0.5])
    found = local_volume(quadratic(curves), directions=80, heights=(1e-4, 1e-2), levels=3, scaled=scaled, **QUIET)
    expected = ball(3) + 1.5 * np.log(2 * found.heights) - 0.5 * np.log(curves).sum()
    np.testing.assert_allclose(found.log_volumes, expected, atol=2e-3 if scaled == "hessian" else 0.3)
    assert found.coefficient == pytest.approx(1.5, abs=2e-3)
    assert found.multiplicity == pytest.approx(1.0, abs=0.02)
    assert not found.problem


def test_many_parameters_need_the_scale_of_the_hessian():
    curves = [1.0, 9.0, 0.1] * 4
    options = {"directions": 40, "heights": (1e-4, 1e-2), "levels": 3, **QUIET}
    plain = local_volume(quadratic(curves), **options)
    assert "directions carry the volume of 12 parameters" in plain.problem
    assert math.isnan(plain.coefficient)
    assert plain.words[0].startswith("Refused")
    assert local_volume(quadratic(curves), scaled="hessian", **options).coefficient == pytest.approx(6.0, abs=0.01)


class Power(nn.Module):
    def __init__(self, power: int) -> None:
        super().__init__()
        self.w, self.power = nn.Parameter(torch.zeros(1, dtype=torch.float64)), power

    def forward(self, x):
        return self.w**self.power * x


@pytest.mark.parametrize(("power", "value"), [(1, 1 / 2), (2, 1 / 4), (3, 1 / 6)])
def test_a_flatter_bottom_has_a_smaller_coefficient(power, value):
    objective = la.Objective(Power(power), (torch.ones(3, 1).double(), torch.zeros(3, 1).double()), F.mse_loss)
    found = local_volume(objective, directions=3, heights=(1e-8, 1e-3), levels=4, **QUIET)
    assert found.coefficient == pytest.approx(value, rel=1e-3)


def crossing(levels, count, rng) -> Volume:
    """The distances of w1² w2² in the unit disc, from its formula."""
    heights = np.geomspace(1e-8, 1e-2, levels)
    angles = rng.uniform(0, 2 * np.pi, count)
    steep = np.abs(np.cos(angles) * np.sin(angles))
    distances = np.minimum(0.0, 0.5 * np.log(np.sqrt(heights)[None] / steep[:, None]))
    return Volume(
        heights=heights, distances=distances, caps=np.zeros(count), log_unit=ball(2), parameters=2,
        ceiling=float(np.median(steep**2)), lower=0.0, evaluations=0,
    )  # fmt: skip


def test_two_crossing_valleys_have_one_half_and_are_counted_twice():
    found = crossing(9, 50_000, np.random.default_rng(0))
    # V = 2 √ε (log(1/√ε) + …): less than 1/2 without the logarithm, 1/2 with it.
    assert found.coefficient < 0.47
    assert found.joint == pytest.approx(0.5, abs=0.05)
    assert 1.3 < found.multiplicity < 2.3  # logarithms grow slowly
    low, high = found.intervals()["multiplicity"]
    assert low > 1.0
    assert low < found.multiplicity < high


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, x):
        return self.w[0] * self.w[1] * x


def test_the_distances_along_each_way_are_those_of_the_formula(tmp_path):
    objective = la.Objective(Product(), (torch.ones(2, 1).double(), torch.zeros(2, 1).double()), F.mse_loss)
    found = local_volume(objective, directions=20, heights=(1e-5, 1e-2), levels=4, seed=5, **QUIET)
    rng = np.random.default_rng(5)
    for row in found.distances:
        way = rng.normal(size=2)
        steep = abs(np.prod(way / np.linalg.norm(way)))
        np.testing.assert_allclose(row, np.minimum(0.0, 0.5 * np.log(np.sqrt(found.heights) / steep)), atol=2e-3)
    la.draw(found, tmp_path / "a.png")


def test_a_point_that_is_no_minimum_and_heights_out_of_reach_are_refused():
    assert "not a minimum" in local_volume(quadratic([1.0, 2.0], at=0.5), directions=10, levels=3, **QUIET).problem
    far = local_volume(quadratic([1.0, 2.0]), directions=10, levels=3, heights=(10.0, 20.0), radius=0.1, **QUIET)
    assert "larger radius" in far.problem


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"heights": (1e-2, 1e-4)}, "the lower one first"),
        ({"levels": 2}, "levels=2"),
        ({"radius": 0.0}, "radius=0.0"),
        ({"scaled": "fisher"}, "choose one of: none, hessian"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(SpecError, match=words):
        local_volume(quadratic([1.0, 2.0]), **options)
