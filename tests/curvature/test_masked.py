"""Does the comparison of an attack with a surface find gradients that are masked, and only those?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.draw import static
from lossatlas.errors import SpecError


def linear(norm, **options):
    """A linear model on absolute error, whose loss in a ball is known in closed form."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1).double()
    x, y = torch.randn(5, 4).double(), torch.randn(5, 1).double()
    objective = la.Objective(model, (x, y), F.l1_loss, batch_size=2)
    plane = la.InputPlane.adversarial(objective, norm=norm, **options)
    return objective, plane, la.sample(objective, plane, la.Grid(x=(-1, 1, 11), y=(-1, 1, 11)))


@pytest.mark.parametrize(("norm", "dual"), [("inf", 1), ("2", 2)])
def test_on_a_linear_model_the_attack_reaches_the_top_of_the_ball(norm, dual):
    objective, plane, landscape = linear(norm)
    found = la.masked_gradients(objective, plane, landscape, radius=1.0)
    model = objective.model
    x, y = (torch.cat([batch[i] for batch in objective.batches]) for i in (0, 1))
    size = torch.linalg.vector_norm(model.weight, ord=dual).item()
    top = (model(x) - y).abs().mean().item() + size
    assert found.attack == pytest.approx(top, rel=1e-9)
    assert found.surface == pytest.approx(top, rel=1e-9)  # x = 1 is the steepest way itself
    assert found.place == {"x": 1.0, "y": 0.0}
    assert found.ratio == pytest.approx(1.0)
    assert not found.suspect
    assert found.path[0] == pytest.approx(found.centre)
    assert "no sign of masked gradients" in found.words


def test_gradients_that_vanish_are_found_out():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()

    def stepped(network, batch):  # rounding to tenths: derivatives are zero, differences are not
        x, y = batch
        return network(torch.round(x * 10) / 10), y

    x, y = torch.randn(6, 4).double(), torch.tensor([0, 1, 0, 1, 1, 0])
    objective = la.Objective(model, (x, y), F.cross_entropy, forward=stepped)
    plane = la.InputPlane.random(objective)
    landscape = la.sample(objective, plane, la.Grid(x=(-1, 1, 11), y=(-1, 1, 11)))
    found = la.masked_gradients(objective, plane, landscape, restarts=0)
    assert found.suspect
    assert found.ratio == 0.0
    assert found.zero == 6
    assert np.ptp(found.path) == 0.0
    assert "a sign of masked gradients or of too weak an attack" in found.words
    assert "exactly zero for 6 of 6 examples" in found.words
    honest = la.Objective(model, (x, y), F.cross_entropy)
    assert not la.masked_gradients(
        honest, plane, la.sample(honest, plane, la.Grid(x=(-1, 1, 11), y=(-1, 1, 11)))
    ).suspect


def test_the_ball_and_the_valid_range_are_kept():
    objective, plane, landscape = linear("inf", clamp=(-0.5, 0.5))
    found = la.masked_gradients(objective, plane, landscape)
    assert found.radius == pytest.approx(max(plane.reach({"x": a, "y": b}) for a in (-1, 1) for b in (-1, 1)))
    weight = objective.model.weight.detach().abs().sum().item() / 2
    (bias,) = objective.model.bias.tolist()
    y = torch.cat([batch[1] for batch in objective.batches])
    assert found.attack <= float((y - bias).abs().mean()) + weight + 1e-12


def test_a_loss_without_single_samples_is_compared_as_a_mean():
    objective, plane, _ = linear("inf")
    data = tuple(torch.cat([batch[i] for batch in objective.batches]) for i in (0, 1))
    spread = la.Objective(objective.model, data, lambda out, y: (out - y).square().mean() + out.std(correction=0) ** 2)
    grid = la.Grid(x=(-1, 1, 5), y=(-1, 1, 5))
    plane = la.InputPlane.adversarial(spread)
    found = la.masked_gradients(spread, plane, la.sample(spread, plane, grid))
    assert found.ratio >= 1


def test_it_has_a_picture_with_its_caveat():
    objective, plane, landscape = linear("inf")
    plot = la.masked_gradients(objective, plane, landscape).plot()
    assert len(plot.panels[0].series[0].x) == 41
    assert "neither robustness nor faithful gradients" in plot.sentences[-1]
    lines = [text.get_text() for text in static.figure(plot).texts]
    assert any(line.endswith("of the surface's rise: no sign of masked gradients.") for line in lines)
    assert not any("…" in line for line in lines)


def test_what_is_no_surface_of_inputs_is_refused():
    objective, plane, landscape = linear("inf")
    weights = la.sample(objective, la.Plane.random(objective, by="none"), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
    with pytest.raises(SpecError, match="not of inputs along the axes of this plane"):
        la.masked_gradients(objective, plane, weights)
    with pytest.raises(SpecError, match="expected a positive distance"):
        la.masked_gradients(objective, plane, landscape, radius=0)
    with pytest.raises(SpecError, match="at least one step"):
        la.masked_gradients(objective, plane, landscape, steps=0)
