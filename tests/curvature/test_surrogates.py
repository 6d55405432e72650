"""Is a derivative that is none of the loss named as what it is?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, slope):
        return slope * 1


class Net(nn.Module):
    def __init__(self, step) -> None:
        super().__init__()
        self.first, self.last, self.step = nn.Linear(3, 8), nn.Linear(8, 2), step

    def forward(self, x):
        return self.last(self.first(x) + self.step(self.first(x)))


def caveats(step) -> str:
    torch.manual_seed(0)
    objective = la.Objective(Net(step), (torch.randn(20, 3), torch.randn(20, 2)), F.mse_loss)
    return " ".join(la.eigenvalues(objective).caveats)


@pytest.mark.parametrize(
    ("step", "word"),
    [
        (torch.round, "Rounding"),
        (torch.floor, "Rounding"),
        (torch.sign, "Sign"),
        (StraightThrough.apply, "StraightThrough (a derivative written by hand)"),
        (lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127), "Fake quantisation"),
    ],
)
def test_steps_and_derivatives_written_by_hand_are_named(step, word):
    said = caveats(step)
    assert f"{word}: steps have no derivative" in said
    assert "may not be the curvature of this loss" in said


def nearest(x):
    """Of eight centres, as in a quantised autoencoder."""
    centres = torch.linspace(-2, 2, 8)
    return x + (centres[(x[..., None] - centres).abs().argmin(dim=-1)] - x).detach()


def no_history(x):
    with torch.no_grad():
        rounded = (4 * x).round() / 4
    return x + (rounded - x).detach()


@pytest.mark.parametrize(
    ("step", "word"),
    [
        (lambda x: x + (torch.round(x) - x).detach(), "Rounding"),
        (lambda x: x + (x.mul(8).floor_() / 8 - x).detach(), "Rounding"),
        (lambda x: x.tanh() + (x.sign() - x.tanh()).detach(), "Sign"),
        (lambda x: x + (x.int() - x).detach(), "Rounding"),
        (lambda x: x + ((x.detach() * 4).round() / 4 - x.detach()), "Rounding"),
        (lambda x: x + (torch.round(x.data) - x.data), "Rounding"),
        (no_history, "Rounding"),
        (nearest, "A choice by argmin"),
    ],
)
@pytest.mark.parametrize("how", ["derivatives", "differences"])
def test_a_straight_through_estimator_written_with_detach_is_named(step, word, how):
    torch.manual_seed(0)
    objective = la.Objective(Net(step), (torch.randn(20, 3), torch.randn(20, 2)), F.mse_loss)
    for found in (la.eigenvalues(objective, how=how), la.trace(objective, how=how, probes=2)):
        assert f"{word}: steps have no derivative" in " ".join(found.subject.caveats)


def without_history(x):
    with torch.no_grad():
        apart = (x > 0).to(x.dtype) - x
    return x + apart


@pytest.mark.parametrize(
    "step",
    [
        lambda x: x + ((x > 0).float() - x).detach(),
        lambda x: x.sigmoid() + (x.gt(0).type_as(x) - x.sigmoid()).detach(),
        lambda x: x + (torch.where(x >= 0.5, torch.ones_like(x), torch.zeros_like(x)) - x).detach(),
        lambda x: x + ((x.detach() > 0) * 1.0 - x.detach()),
        lambda x: x + (~torch.less(x.data, 0) * 2.0 - 1 - x.data),
        lambda x: (x > 0).float() - x.sigmoid().detach() + x.sigmoid(),
        lambda x: (x > 0).float() @ torch.ones(8, 8) + x,
        without_history,
    ],
)
@pytest.mark.parametrize("how", ["derivatives", "differences"])
def test_a_step_written_as_a_comparison_is_named_as_in_spiking_networks(step, how):
    torch.manual_seed(0)
    objective = la.Objective(Net(step), (torch.randn(20, 3), torch.randn(20, 2)), F.mse_loss)
    said = " ".join(la.trace(objective, how=how, probes=2).subject.caveats)
    assert "A comparison: steps have no derivative" in said


@pytest.mark.parametrize(
    "step",
    [
        lambda x: x * (x > 0),
        lambda x: x * (x > 0).float() + 0.1 * x * (x <= 0).float(),
        lambda x: torch.where(x > 0, x, x.expm1()),
        lambda x: x.masked_fill(x < 0, 0.0),
        lambda x: x * (torch.rand_like(x) < 0.5) + (torch.rand_like(x) < 0.5).float(),
        lambda x: x + (torch.arange(8) > 3).float(),
        lambda x: (x > 0).float().mean() and x,
    ],
)
def test_a_comparison_that_only_chooses_a_piece_is_no_step(step):
    assert "surrogate" not in caveats(step)


def test_what_rounds_data_alone_is_not():
    said = caveats(lambda x: x * torch.ones(8).round() + torch.arange(8.0).argmax())
    assert "surrogate" not in said


@pytest.mark.parametrize("step", [torch.tanh, torch.relu, lambda x: x, lambda x: x - x.max().detach()])
def test_honest_derivatives_are_not(step):
    assert "surrogate" not in caveats(step)
