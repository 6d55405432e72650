"""Is a convex loss ever called non-convex, whatever the number format, the features and the radius?"""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.draw.captions import caveat
from lossatlas.draw.statement import statement
from lossatlas.field.convexity import negative_share, proof
from lossatlas.field.inequality import violations
from lossatlas.field.rounding import rounding
from lossatlas.field.ruggedness import ruggedness
from lossatlas.sampling import noise
from lossatlas.space.curves import Curve

RUNS = 2000
LOSSES = {"logistic": F.cross_entropy, "hinge": F.multi_margin_loss, "L1": F.l1_loss, "squared": F.mse_loss}
FORMATS = ("float64", "float32", "bfloat16", "float16", "mixed", "autocast", "precision=bf16", "precision=fp16")
DTYPES = {"float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Mixed(nn.Module):
    """A linear model whose weight is in a short format and whose bias is not."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, outputs, bias=False).bfloat16()
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return self.linear(x.bfloat16()).float() + self.bias


def autocast(model, batch):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return model(batch[0]).float(), batch[1]


@dataclass(frozen=True)
class Case:
    """One convex run, drawn from a seed; of features that a BatchNorm before the linear model measures, if asked."""

    seed: int
    normed: bool = False

    def landscape(self):
        """Its Landscape, and what it is in words; None where the format cannot hold the loss at the centre."""
        rng = np.random.default_rng(self.seed)
        loss, form = list(LOSSES)[rng.integers(4)], FORMATS[rng.integers(len(FORMATS))]
        samples, features = int(rng.integers(3, 60)), int(rng.integers(2, 30))
        raw, radius = bool(rng.integers(2)), float(10 ** rng.uniform(-6, 1))
        counts = [int(rng.integers(3, 12)) for _ in range(rng.integers(1, 3))]
        words = f"seed {self.seed}: {loss}, {form}, {'raw' if raw else 'scaled'}, radius {radius:.1e}, {counts}"
        model, x, y, forward = self._subject(rng, loss, form, samples, features, raw)
        how = {"forward": forward, "batch_size": int(rng.integers(2, 80))}
        if self.normed:
            model = nn.Sequential(nn.BatchNorm1d(features, affine=False), model)
            how |= {"batchnorm": "recalibrated"}
        objective = la.Objective(model, (x, y), LOSSES[loss], **how)
        axes = tuple("xy"[: len(counts)])
        precision = form.removeprefix("precision=") if form.startswith("precision") else "exact"
        plane = la.Plane.random(objective, axes=axes, seed=self.seed, still=())
        grid = la.Grid(**{axis: (-radius, radius, n) for axis, n in zip(axes, counts, strict=True)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(la.SpecError):  # a short format that cannot hold the loss at the centre
                return la.sample(objective, plane, grid, progress=False, precision=precision), words
        return None, words

    def _subject(self, rng, loss, form, samples, features, raw):
        generator = torch.Generator().manual_seed(self.seed)
        x = torch.randn(samples, features, generator=generator)
        if raw:
            x = x * 100 + float(rng.choice([0, 1000]))
        outputs = 3 if loss in ("logistic", "hinge") else 1
        model = Mixed(features, outputs) if form == "mixed" else nn.Linear(features, outputs)
        weight = torch.randn(outputs, features, generator=generator) * float(10 ** rng.uniform(-2, 1))
        for parameter in model.parameters():
            parameter.data.copy_(weight if parameter.dim() == 2 else torch.zeros(outputs))
        if outputs == 3:
            y = torch.randint(0, 3, (samples,), generator=generator)
            if rng.integers(2):  # separated: the loss is nearly or exactly zero around the centre
                y = (x @ weight.T).argmax(dim=1)
        else:
            y = x @ weight.T + float(10 ** rng.uniform(-6, 0)) * torch.randn(samples, 1, generator=generator)
        if form in DTYPES:
            dtype = DTYPES[form]
            model, x = model.to(dtype), x.to(dtype)
            y = y if y.dtype == torch.int64 else y.to(dtype)
        wide = None if form in ("float64", "float32") else (lambda m, batch: (m(batch[0]).float(), _floats(batch[1])))
        return model, x, y, autocast if form == "autocast" else None if form.startswith("precision") else wide


def _floats(y):
    return y.float() if y.is_floating_point() else y


def false_claims(seeds, **kind) -> tuple[int, list[str]]:
    """How many runs had a value, and those of which something false was said."""
    torch.set_num_threads(1)
    looked, wrong = 0, []
    for seed in seeds:
        landscape, words = Case(seed, **kind).landscape()
        if landscape is None or not (landscape["status"].values == 1).any():
            continue
        looked += 1
        found = proof(landscape)
        bent = negative_share(landscape) if found.cells else 0.0
        if found.proves or any(found.shares.values()) or bent:
            wrong.append(f"{words}: {found.words}")
    return looked, wrong


def test_no_convex_loss_is_called_non_convex():
    looked, wrong = false_claims(range(0, RUNS, 10))
    assert not wrong, "\n".join(wrong)
    assert looked > RUNS / 10 / 2


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("few", [2, 8, 100])  # the last is all that there are
def test_no_convex_loss_is_called_non_convex_where_a_few_samples_must_do(monkeypatch, few, normed):
    """As if every point were costly, and double precision too much for any run."""
    monkeypatch.setattr(noise, "COSTLY", 0.0)
    monkeypatch.setattr(noise, "FEW_SAMPLES", few)
    looked, wrong = false_claims(range(1, RUNS, 80), normed=normed)
    assert not wrong, "\n".join(wrong)
    assert looked > RUNS / 80 / 2


@pytest.mark.soak
def test_no_convex_loss_is_called_non_convex_in_2000_runs():
    looked, wrong = false_claims(range(RUNS))
    print(f"{looked} convex runs, {len(wrong)} false claims")
    assert not wrong, "\n".join(wrong)


def test_the_sweep_sees_the_false_claims_that_double_precision_refutes(monkeypatch):
    """Without the measurement of rounding, the same runs would be called non-convex: the check can fail."""
    monkeypatch.setattr("lossatlas.sampling.run.note_rounding", lambda *_, **__: None)
    _, wrong = false_claims(range(0, 400, 10))
    assert wrong


def test_a_non_convex_loss_is_proved_in_every_format():
    """What is proved stands in the record: three points on a line, evaluated again in double precision."""
    x = torch.linspace(-2, 2, 40)[:, None]
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
        with torch.no_grad():
            for number, parameter in enumerate(model.parameters()):
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
        objective = la.Objective(model.to(dtype), (x.to(dtype), (x**2).to(dtype)), F.mse_loss)
        plane = la.Plane.random(objective, seed=0)
        landscape = la.sample(objective, plane, la.Grid(x=(-2, 2, 21), y=(-2, 2, 21)), progress=False)
        found = proof(landscape)
        assert found.proves
        assert found.inequality.double
        assert found.inequality.difference < -found.inequality.noise < 0
        before, middle, after = (np.array(list(point.values())) for point in found.inequality.points)
        np.testing.assert_allclose(before + after, 2 * middle, atol=1e-12)
        model = model.double()
        exact = la.Objective(model, (x.double(), (x**2).double()), F.mse_loss)
        if dtype == torch.float64:
            again = [exact(plane.at(point))["loss"] for point in found.inequality.points]
            np.testing.assert_allclose(again, found.inequality.values, rtol=1e-12)
        assert "evaluated again in double precision" in found.words


def test_rounding_is_as_large_as_it_is():
    """Against the closed form: the rounding of a mean absolute error scales with the predictions, not with it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 10, generator=generator, dtype=torch.float64) + 1000
    weight = torch.randn(1, 10, generator=generator, dtype=torch.float64)
    y = x @ weight.T + 0.01
    model = nn.Linear(10, 1, bias=False)
    model.weight.data.copy_(weight)
    objective = la.Objective(model, (x.float(), y.float()), F.l1_loss)
    plane = la.Plane.random(objective, axes=("x",), seed=0)
    landscape = la.sample(objective, plane, la.Grid(x=(-1e-5, 1e-5, 11)), progress=False)
    direction = plane.directions["x"]["weight"].double()
    exact = [
        float((x.float().double() @ (model.weight.data.double() + c * direction).T - y.float().double()).abs().mean())
        for c in landscape["x"].values
    ]
    allowed, words = rounding(landscape)
    error = np.abs(landscape["loss"].values - exact)
    assert error.max() > 100 * 1.2e-7 * np.max(exact)  # far above 8 spacings of the value itself
    assert (error <= allowed).all()
    assert allowed.max() < 20 * error.max()
    assert words == "rounding measured at 4 points against double precision"


def test_a_model_without_double_precision_is_shaken_in_its_own(monkeypatch):
    def refused(self, objective, plane, *, wide):
        if wide:
            raise RuntimeError("no doubles here")
        real(self, objective, plane, wide=wide)

    real = noise.Reference.__init__
    monkeypatch.setattr(noise.Reference, "__init__", refused)
    x = torch.randn(200, 10, generator=torch.Generator().manual_seed(0)) + 1000
    model = nn.Linear(10, 1)
    objective = la.Objective(model, (x, model(x).detach() + 0.01), F.l1_loss)
    landscape = la.sample(
        objective, la.Plane.random(objective, axes=("x",), seed=0), la.Grid(x=(-1e-5, 1e-5, 9)), progress=False
    )
    found = proof(landscape)
    assert not found.proves
    allowed, words = rounding(landscape)
    assert words == "rounding measured at 4 points by moving every operation by one spacing of its format"
    assert 1e-5 < allowed.max() < 0.1


@pytest.fixture
def evaluations(monkeypatch):
    """Every evaluation that the measurement of rounding makes."""
    made, real = [], noise.Reference.loss

    def counted(self, *given):
        made.append(given)
        return real(self, *given)

    monkeypatch.setattr(noise.Reference, "loss", counted)
    return made


def test_where_nothing_stands_out_nothing_is_evaluated(evaluations):
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    objective = la.Objective(nn.Linear(4, 1), (x, x.sum(1, keepdim=True)), F.mse_loss)
    landscape = la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 5), y=(-1, 1, 5)))
    assert not proof(landscape).proves
    assert not evaluations


def test_what_stands_out_costs_its_three_points_and_one_move(evaluations):
    x = torch.linspace(-2, 2, 40)[:, None]
    torch.manual_seed(0)
    objective = la.Objective(nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)), (x, x**2), F.mse_loss)
    landscape = la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-2, 2, 5), y=(-2, 2, 5)))
    assert proof(landscape).inequality.double
    assert len(evaluations) == 4


@pytest.mark.parametrize("batchnorm", ["frozen", "recalibrated"])
def test_a_short_run_at_costly_points_is_proved_without_double_precision(evaluations, monkeypatch, batchnorm):
    monkeypatch.setattr(noise, "COSTLY", 0.0)
    x = torch.linspace(-2, 2, 40)[:, None]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
    objective = la.Objective(model, (x, x**2), F.mse_loss, batchnorm=batchnorm)
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-2, 2, 5), y=(-2, 2, 5))
    found = proof(la.sample(objective, plane, grid))
    assert found.proves
    assert not found.inequality.double
    assert "double precision" not in found.words
    assert len(evaluations) == 1 + noise.SHAKES  # of a few samples, and none of all
    if batchnorm == "recalibrated":  # there is no shorter format then
        return
    del evaluations[:]
    short = proof(la.sample(objective, plane, grid, precision="bf16"))
    assert short.proves
    assert len(evaluations) == 1 + noise.SHAKES + 3  # the three points in the model's own format


def test_at_costly_points_a_run_of_one_sample_costs_no_double_precision_either(evaluations, monkeypatch):
    monkeypatch.setattr(noise, "COSTLY", 0.0)
    x = torch.linspace(-2, 2, 40)[None]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Unflatten(1, (-1, 1)), nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(1))
    objective = la.Objective(model, (x, x**2), F.mse_loss)
    plane = la.Plane.random(objective, seed=0)
    found = proof(la.sample(objective, plane, la.Grid(x=(-2, 2, 5), y=(-2, 2, 5))))
    assert found.proves
    assert not found.inequality.double
    assert len(evaluations) == 1 + noise.SHAKES


def test_at_costly_points_what_is_not_plain_is_not_claimed(evaluations, monkeypatch):
    """A loss that bends by a little more than moves explain: double precision would prove it, at many evaluations."""
    x = torch.linspace(-2, 2, 40)[:, None]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
    objective = la.Objective(model, (x, x**2 + 30), F.mse_loss)
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-0.2, 0.2, 5), y=(-0.2, 0.2, 5))
    assert proof(la.sample(objective, plane, grid)).proves
    del evaluations[:]
    monkeypatch.setattr(noise, "COSTLY", 0.0)
    landscape = la.sample(objective, plane, grid)
    assert not proof(landscape).proves
    assert not violations(landscape).any()
    assert len(evaluations) == 1 + noise.SHAKES


def test_a_run_in_a_short_format_is_held_against_the_model_s_own_format(monkeypatch):
    """At costly points, however long it is: what its rounding seems to prove is refuted without double precision."""
    monkeypatch.setattr(noise, "COSTLY", 0.0)
    monkeypatch.setattr(noise, "DOUBLES", 0)
    used, real = [], noise.Reference.loss
    monkeypatch.setattr(noise.Reference, "loss", lambda self, *given: used.append(self) or real(self, *given))
    torch.manual_seed(0)
    x = torch.randn(60, 5) * 10 + 100
    model = nn.Linear(5, 1)
    objective = la.Objective(model, (x, model(x).detach() + torch.randn(60, 1)), F.l1_loss)
    plane, grid = la.Plane.random(objective, seed=0, still=()), la.Grid(x=(-0.1, 0.1, 11), y=(-0.1, 0.1, 11))
    landscape = la.sample(objective, plane, grid, precision="bf16")
    assert not proof(landscape).proves
    assert {reference.wide for reference in used} == {False}
    assert any(reference.objective.samples == 60 for reference in used)
    allowed, words = rounding(landscape)
    assert words == "rounding measured at 9 points against the model's own format"
    exact = la.sample(objective, plane, grid)["loss"].values
    assert (np.abs(landscape["loss"].values - exact) <= allowed).mean() > 0.9


@pytest.mark.parametrize("kind", ["bezier", "polygon"])
def test_bending_along_a_curve_proves_nothing(kind):
    """A convex loss, zero at both bends of the way and not between: it rises and falls along the curve."""
    ends = [{"weight": torch.tensor([point])} for point in ([-1.0, 0.0], [0.0, 3.0], [1.0, 0.0])]
    objective = la.Objective(nn.Linear(2, 1, bias=False), (torch.eye(2), torch.zeros(2, 1)), F.mse_loss)
    landscape = la.sample(objective, Curve(ends, kind), la.Grid(x=(0, 1, 21)))
    for ask in (proof, negative_share, ruggedness, violations):
        with pytest.raises(la.SpecError, match="not on a straight slice"):
            ask(landscape)
    words = "even a convex loss may rise and fall"
    assert words in caveat([landscape], "loss")
    assert words in str(statement(landscape))
    straight = la.sample(objective, Curve(ends[::2], kind), la.Grid(x=(0, 1, 21)))
    assert not proof(straight).proves
    assert ruggedness(straight).cells == 21


def test_a_chart_of_ones_own_proves_nothing():
    class Circle:
        axes = ("t",)

        def at(self, point):
            t = torch.tensor(point["t"])
            return {"weight": torch.stack([3 * t.cos(), t.sin()])[None]}

    objective = la.Objective(nn.Linear(2, 1, bias=False), (torch.eye(2), torch.zeros(2, 1)), F.mse_loss)
    landscape = la.sample(objective, Circle(), la.Grid(t=(0, 6, 31)))
    with pytest.raises(la.SpecError, match="along a Circle"):
        proof(landscape)
    assert "Along a Circle chart even a convex loss" in caveat([landscape], "loss")
