"""Do complex weights move as pairs of real ones?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.space.parameters import dot, norm


class Spectral(nn.Module):
    """A layer of a Fourier neural operator, small."""

    def __init__(self, dtype=torch.cfloat):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 9, dtype=dtype))
        self.out = nn.Linear(16, 16, dtype=torch.float64 if dtype == torch.cdouble else torch.float32)

    def forward(self, x):
        return self.out(torch.fft.irfft(torch.fft.rfft(x) * self.w.sum(0), n=16))


class Twin(nn.Module):
    """The same function, its complex weights kept as pairs of real ones."""

    def __init__(self, model):
        super().__init__()
        self.w, self.out = nn.Parameter(torch.view_as_real(model.w.detach()).clone()), model.out

    def forward(self, x):
        return self.out(torch.fft.irfft(torch.fft.rfft(x) * torch.view_as_complex(self.w).sum(0), n=16))


@pytest.fixture
def setting():
    torch.manual_seed(0)
    return Spectral(torch.cdouble), (torch.randn(12, 16).double(), torch.randn(12, 16).double())


@pytest.mark.parametrize("dtype", [torch.cfloat, torch.cdouble])
@pytest.mark.parametrize("stored", [True, False])
def test_a_random_direction_is_complex_and_its_filters_are_as_long_as_those_of_the_weights(dtype, stored):
    torch.manual_seed(0)
    model = Spectral(dtype)
    direction = la.Plane.random(model, seed=0, stored=stored).directions["x"]["w"]
    assert direction.dtype == dtype
    assert np.allclose(direction.abs().square().sum(1).sqrt(), model.w.detach().abs().square().sum(1).sqrt())
    assert 0.2 < float(direction.imag.square().sum() / direction.abs().square().sum()) < 0.8


@pytest.mark.parametrize("by", ["filter", "layer", "weight", "none"])
def test_a_complex_network_has_the_surface_of_its_twin_in_pairs_of_real_numbers(setting, by):
    model, data = setting
    objective = la.Objective(model, data, loss=F.mse_loss)
    plane = la.Plane.random(objective, seed=0, by=by)
    found = la.sample(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 4)), progress=False).loss.values
    twin = la.Objective(Twin(model), data, loss=F.mse_loss)
    pairs = {
        axis: {n: torch.view_as_real(t) if t.is_complex() else t for n, t in direction.items()}
        for axis, direction in plane.directions.items()
    }
    same = la.Plane(twin, pairs)
    expected = la.sample(twin, same, la.Grid(x=(-1, 1, 3), y=(-1, 1, 4)), progress=False).loss.values
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert plane.lengths == pytest.approx(same.lengths)
    point = plane.at({"x": 0.3, "y": -0.7})
    assert plane.project(point).coordinates == pytest.approx({"x": 0.3, "y": -0.7})


def test_complex_directions_are_turned_until_they_are_orthogonal_as_pairs():
    torch.manual_seed(0)
    plane = la.Plane.random(Spectral(), seed=0, orthogonal=True)
    x, y = plane.directions.values()
    assert abs(dot(x, y)) < 1e-6 * norm(x) * norm(y)
    assert dot({"w": torch.tensor([1 + 2j])}, {"w": torch.tensor([3 - 1j])}) == 1.0


def test_a_complex_direction_has_no_room_in_real_weights():
    with pytest.raises(la.SpecError, match="is torch.complex64, but the origin is torch.float32"):
        la.Plane({"w": torch.ones(2)}, {"x": {"w": torch.ones(2, dtype=torch.cfloat)}})


def test_the_curvature_of_complex_weights_is_refused_for_its_own_reason(setting):
    model, data = setting
    with pytest.raises(la.SpecError, match="'w' is complex128: curvature is available for real numbers only"):
        la.eigenvalues(la.Objective(model, data, loss=F.mse_loss))
