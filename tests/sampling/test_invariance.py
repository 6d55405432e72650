"""Which rescalings of a network leave its filter-normalised surface alone, and which do not."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la

GRID = la.Grid(x=(-1, 1, 5), y=(-1, 1, 4))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(24, 3, 8, 8, generator=generator).double(), torch.randint(4, (24,), generator=generator)


def convolutional() -> nn.Module:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 4)
    ).double()
    for _ in range(20):
        model.train()(torch.randn(50, 3, 8, 8).double())
    return model.eval()


def surface(model: nn.Module, by: str = "filter", **options) -> np.ndarray:
    objective = la.Objective(model, batch(), loss=F.cross_entropy, **options)
    return la.sample(objective, la.Plane.random(objective, seed=3, by=by), GRID)["loss"].values


def scaled_before_batchnorm(model: nn.Module) -> nn.Module:
    """Each filter by a factor of its own; the frozen statistics follow, so the function is the same."""
    twin = copy.deepcopy(model)
    factor = torch.tensor([0.1, 10.0, 3.0, 0.5, 7.0, 1.0]).double()
    twin[0].weight.data *= factor[:, None, None, None]
    twin[0].bias.data *= factor
    twin[1].running_mean *= factor
    # Variance plus eps must scale by factor^2, or eps would show.
    twin[1].running_var.copy_((model[1].running_var + model[1].eps) * factor**2 - model[1].eps)
    return twin


def scaled_relu_layer(model: nn.Module) -> nn.Module:
    """A whole layer times 10, the next one divided by 10: the function is the same."""
    twin = copy.deepcopy(model)
    twin[3].weight.data *= 10
    twin[3].bias.data *= 10
    twin[6].weight.data /= 10
    return twin


def scaled_units(model: nn.Module) -> nn.Module:
    """One channel times 10, what reads it divided by 10: the function is the same, the filters' shares are not."""
    twin = copy.deepcopy(model)
    twin[3].weight.data[0] *= 10
    twin[3].bias.data[0] *= 10
    twin[6].weight.data.reshape(4, 5, 16)[:, 0] /= 10
    return twin


SAME_FUNCTION = [scaled_before_batchnorm, scaled_relu_layer, scaled_units]


@pytest.mark.parametrize("rescale", SAME_FUNCTION)
def test_the_rescalings_do_not_change_the_function(rescale):
    x, _ = batch()
    torch.testing.assert_close(rescale(convolutional())(x), convolutional()(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rescale", [scaled_before_batchnorm, scaled_relu_layer])
def test_filter_normalised_surface_does_not_change(rescale):
    model = convolutional()
    np.testing.assert_allclose(surface(rescale(model)), surface(model), rtol=1e-9)


@pytest.mark.parametrize("rescale", [scaled_before_batchnorm, scaled_relu_layer])
def test_without_normalisation_it_must_change(rescale):
    model = convolutional()
    assert np.max(np.abs(surface(rescale(model), by="none") / surface(model, by="none") - 1)) > 0.1


def test_layer_normalisation_knows_layers_but_not_filters():
    model = convolutional()
    np.testing.assert_allclose(surface(scaled_relu_layer(model), by="layer"), surface(model, by="layer"), rtol=1e-9)
    changed = surface(scaled_before_batchnorm(model), by="layer") / surface(model, by="layer")
    assert np.max(np.abs(changed - 1)) > 0.05


def test_rescaling_single_units_changes_even_the_filter_normalised_surface():
    """The limit that docs/explanation/limits.md states."""
    model = convolutional()
    assert np.max(np.abs(surface(scaled_units(model)) / surface(model) - 1)) > 0.05


def test_recalibrated_batchnorm_sees_no_scale_before_it_even_without_following_statistics():
    model = convolutional()
    twin = copy.deepcopy(model)
    twin[0].weight.data *= 5
    twin[0].bias.data *= 5
    ours = surface(model, batchnorm="recalibrated")
    np.testing.assert_allclose(surface(twin, batchnorm="recalibrated"), ours, rtol=1e-4)
