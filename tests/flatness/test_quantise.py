"""Is what rounding costs measured as it is, and forecast as mathematics has it?"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.errors import SpecError
from lossatlas.space.quantised import Rounding, rounded


def quadratic():
    """A linear model with squared loss: quadratic in its weights, with H = 2 X^T X / N."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(20, n, generator=generator, dtype=torch.float64) for n in (6, 1))
    model = nn.Linear(6, 1).double()
    with torch.no_grad():
        model.weight.copy_(torch.randn(1, 6, generator=generator, dtype=torch.float64))
    return la.Objective(model, (x, y), F.mse_loss, batch_size=7), x, y


def test_the_forecast_of_a_quadratic_loss_is_exact_and_its_terms_are_the_closed_form():
    objective, x, y = quadratic()
    found = la.quantise(objective, (8, 4, 2), points=5, layers=None)
    assert [step.rounding.bits for step in found.steps] == [8, 4, 2]
    for step in found.steps:
        delta = (rounded(objective, step.rounding)["weight"] - objective.origin["weight"])[0]
        residual = (objective.model(x) - y).detach()[:, 0]
        assert step.slope == pytest.approx(float(2 * (residual * (x @ delta)).mean()), rel=1e-9)
        assert step.bend == pytest.approx(float(2 * ((x @ delta) ** 2).mean()), rel=1e-9)
        np.testing.assert_allclose(step.curve, step.values["loss"], rtol=1e-10)
        assert step.forecast == pytest.approx(step.rise, rel=1e-8)
        assert step.distance == pytest.approx(float(delta.norm()))
        assert step.foretold


def test_layers_by_themselves_are_measured_with_all_others_as_they_were():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    data = torch.randn(30, 5).double(), torch.arange(30) % 3
    objective = la.Objective(model, data, F.cross_entropy, metrics={"error": la.metrics.error}, batch_size=8)
    found = la.quantise(objective, (8, 3), layers=3)
    (step,) = [one for one in found.steps if one.layers]
    assert step.rounding.bits == 3
    new = rounded(objective, Rounding(bits=3))
    for layer in step.layers:
        alone = objective({layer.name: new[layer.name]})["loss"] - objective()["loss"]
        assert layer.rise == pytest.approx(alone, abs=1e-14)
    eight = la.quantise(objective, 8, layers=8).steps[0]  # so small a step that second order is nearly all
    for layer in eight.layers:
        assert layer.forecast == pytest.approx(layer.rise, rel=0.05)
    assert step.values["loss"][-1] == objective(new)["loss"]
    assert step.values["error"][-1] == objective(new)["error"]
    assert found.centre == objective()


def test_a_step_that_second_order_misses_is_said_to_be_missed():
    wide = nn.Sequential(nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        wide[0].weight.copy_(torch.tensor([[1.0, 0.45]]))
    data = torch.tensor([[0.0, 1.0]]).double(), torch.tensor([[0.45]]).double()
    objective = la.Objective(wide, data, lambda out, target: (out - target).pow(4).mean())
    found = la.quantise(objective, 2, layers=None)  # 0.45 becomes 0: a fourth power has no second order there
    assert found.steps[0].bend == pytest.approx(0.0, abs=1e-12)
    assert not found.steps[0].foretold
    assert "second order does not describe this step" in found.words[0]


def test_weights_on_the_grid_cost_nothing():
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[7.0, -3.0, 1.0]]))
    objective = la.Objective(model, (torch.ones(2, 3), torch.ones(2, 1)), F.mse_loss)
    (step,) = la.quantise(objective, 4, by="tensor").steps
    assert step.rise == step.distance == step.forecast == 0.0
    assert la.draw(la.quantise(objective, 4), "on_grid.svg").exists()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_where_there_is_no_derivative_the_loss_is_measured_and_the_reason_said():
    model = nn.Linear(3, 2).bfloat16()
    objective = la.Objective(model, (torch.ones(2, 3).bfloat16(), torch.tensor([0, 1])), F.cross_entropy)
    found = la.quantise(objective, 3)
    assert np.isfinite(found.steps[0].values["loss"]).all()
    assert np.isnan(found.steps[0].forecast)
    assert "No forecast:" in found.caveat
    assert found.plot().panels
    assert la.quantise(objective, 3, forecast=False).note == ""


def test_the_picture_says_what_moves_and_what_does_not():
    objective, *_ = quadratic()
    found = la.quantise(objective, (8, 4))
    plot = found.plot()
    words = " ".join(plot.sentences)
    assert "Only weights are rounded, to the nearest value, symmetric, a scale for each channel" in words
    assert "activations stay in floating point" in words
    assert "1 tensor with 86 % of the parameters is rounded" in words
    assert "Costliest layers on their own at 4 bits: 1 weight" in words
    dashed = [series for series in plot.panels[0].series if series.dashed]
    assert len(dashed) == 2
    assert la.draw(found, "bits.png").exists()


def test_the_model_stays_as_it_was():
    objective, *_ = quadratic()
    before = {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}
    la.quantise(objective, 2)
    assert all(torch.equal(before[name], tensor) for name, tensor in objective.model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bits": ()}, "expected one or several numbers"),
        ({"bits": (4, 4)}, "each once"),
        ({"bits": 4, "points": 1}, "at least 2"),
        ({"bits": 4, "layers": 8}, r"expected one of bits=\[4\]"),
        ({"bits": 4, "by": "row"}, "choose one of: channel, tensor, group"),
    ],
)
def test_bad_options_say_what_is_good(options, words):
    with pytest.raises(SpecError, match=words):
        la.quantise(quadratic()[0], **options)


def test_one_command_measures_prints_and_draws():
    arguments = ["quantise", "--model", "zoo:mlp", "--data", "zoo:digits", "--samples", "50", "--metric", "error"]
    done = CliRunner().invoke(atlas, [*arguments, "--bits", "8,3", "--by", "group", "--group", "16", "--out", "q.png"])
    assert done.exit_code == 0, done.output
    assert "8 bits: loss " in done.stdout
    assert "each on its own at 3 bits, the costliest first:" in done.stdout
    assert "drawn: q.png" in done.stdout
    told = CliRunner().invoke(atlas, [*arguments, "--bits", "4", "--layers", "none", "--no-forecast", "--json"])
    found = json.loads(told.stdout)
    assert found["steps"][0]["forecast"] is None
    assert len(found["steps"][0]["along"]["loss"]) == 6
    wrong = CliRunner().invoke(atlas, [*arguments, "--bits", "four"])
    assert wrong.exit_code == 2
    assert "expected numbers such as 8,6,4,3" in wrong.output


def test_a_folder_keeps_rounding_and_flatness_of_the_same_network(tmp_path, monkeypatch):
    """Numbers of one network join each other whatever command found them; draw, info and report read them."""
    monkeypatch.chdir(tmp_path)

    def say(*arguments: str) -> str:
        done = CliRunner().invoke(atlas, [*map(str, arguments)])
        assert done.exit_code == 0, done.output
        return done.output

    what = ("--model", "zoo:mlp", "--data", "zoo:digits", "--samples", "50")
    kept = say("quantise", *what, "--bits", "8,3", "--layers", "3", "--run", "kept")
    assert "kept: kept (lossatlas draw kept --value 'quantise, layers' -o picture.png)" in kept
    say("quantise", *what, "--bits", "3", "--by", "tensor", "--layers", "none", "--no-forecast", "--run", "kept")
    say("sharpness", *what, "--measure", "fisher_rao", "--run", "kept")
    found = la.open("kept")
    assert list(found.sections) == ["quantise", "quantise, layers", "quantise, by tensor", "flatness"]
    rows = found.sections["quantise"].rows
    assert [row["bits"] for row in rows] == [8, 3]
    assert f"→ {rows[0]['loss']:.3g}"[:6] in kept
    assert len(found.plot("quantise, layers").panels) == 1
    assert len(found.sections["quantise, layers"].rows) == len(found.plot("quantise, layers").panels[0].series[0].y)
    info = json.loads(say("info", "kept", "--json"))
    assert info["flatness"]["rows"][0]["measure"] == "Fisher-Rao norm"
    say("draw", "kept", "--value", "flatness", "-o", "flat.svg")
    page = say("report", "kept", "-o", "kept.html") and (tmp_path / "kept.html").read_text()
    assert "by tensor" in page
