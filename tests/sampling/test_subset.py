"""A part of the samples, corrected: is the stated error true, is the subset fair, is bad input refused?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.draw.captions import about
from lossatlas.draw.view import compile
from lossatlas.errors import SpecError
from lossatlas.field.stated import on_view, stated_error, stated_for
from lossatlas.figure.ranges import choose
from lossatlas.objective.part import every, strata, taken
from lossatlas.results.landscape import structured
from lossatlas.results.spec import Block
from lossatlas.results.store import RunFolder
from lossatlas.sampling import anchoring, correction
from lossatlas.sampling.balance import Balance
from lossatlas.sampling.shown import apart


@pytest.fixture(scope="module")
def trained() -> la.Objective:
    x, y = la.zoo.data("digits")
    model = la.zoo.model("mlp", seed=0)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(10):
        for part in torch.split(torch.arange(len(x)), 64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[part]), y[part]).backward()
            optimizer.step()
    return la.Objective(model, (x, y), F.cross_entropy, metrics={"error": la.metrics.error})


GRID = la.Grid(x=(-1, 1, 17), y=(-1, 1, 17))


def test_auto_keeps_the_tolerance_with_few_samples(trained: la.Objective) -> None:
    plane = la.Plane.random(trained, seed=1)
    exact = la.sample(trained, plane, GRID)
    found = la.sample(trained, plane, GRID, samples=la.Subset(tolerance=0.02))
    facts = structured(found, "sampling")
    assert facts["samples"] < trained.samples / 4
    error = apart(choose(exact["loss"].values.ravel()), exact["loss"].values, found["loss"].values)
    assert np.mean(error <= 0.02) > 0.99
    assert 0 < np.median(found["loss_uncertainty"].values) < 0.05
    assert 0 < facts["standard error"] <= facts["within"] <= 0.02
    assert np.sqrt(np.mean(error**2)) <= 1.5 * facts["standard error"]
    assert "standard error" in facts["verdict"]
    # Without the correction the subset alone is off by more.
    alone = la.sample(taken(trained, every(np.arange(trained.samples), facts["samples"], 0)), plane, GRID)
    uncorrected = apart(choose(exact["loss"].values.ravel()), exact["loss"].values, alone["loss"].values)
    assert error.mean() < uncorrected.mean() / 2


def test_the_stated_error_covers_the_true_one(trained: la.Objective) -> None:
    """On average over planes and subsets, that is: a single one may have bad luck."""
    covered = []
    for seed in range(3):
        plane = la.Plane.random(trained, seed=seed)
        exact = la.sample(trained, plane, GRID)["loss"].values
        for start in range(2):
            found = la.sample(trained, plane, GRID, samples=la.Subset(size=100, seed=start))
            error = apart(choose(exact.ravel()), exact, found["loss"].values)
            covered.append(np.mean(error <= found["loss_uncertainty"].values + 1e-7))
    assert np.mean(covered) > 0.9


def test_a_claim_about_the_loss_is_none_about_another_value_or_view(trained: la.Objective) -> None:
    plane = la.Plane.random(trained, seed=1)
    exact = la.sample(trained, plane, GRID)
    found = la.sample(trained, plane, GRID, samples="auto")

    def told(**view: Any) -> str:
        return " ".join(compile(found, la.View(**view)).caption.sentences)

    assert "were checked for" not in told()
    assert "The cells were checked for the loss; for error their stated error is " in told(value="error")
    assert "The cells were checked for another view (" in told(scale="linear", clip=0.5)
    other = compile(found, la.View(scale="linear", clip=0.5)).range
    away = apart(other, found["loss"].values, exact["loss"].values)
    assert np.mean(away <= on_view(found, other) + 1e-7) > 0.95


@pytest.mark.parametrize("view", [{"scale": "linear", "clip": 1.0}, {"scale": "log", "clip": None}, {}])
def test_interpolated_and_corrected_cells_have_errors_of_one_unit(trained: la.Objective, view: dict[str, Any]) -> None:
    plane = la.Plane.random(trained, seed=1)
    exact = la.sample(trained, plane, GRID)
    found = la.sample(trained, plane, la.Adaptive(**GRID.axes, **view), samples="auto")
    for value in ("loss", "error"):
        shown = stated_for(found, value)
        stated, away = found[f"{value}_uncertainty"].values, apart(shown, found[value].values, exact[value].values)
        assert np.mean(away <= stated + 1e-7) > 0.95
        # In the unit of the values, too, also far above a clip.
        assert np.mean(np.abs(found[value] - exact[value]) <= stated_error(found, value)[0]) > 0.95
    assert "checked for another" not in " ".join(compile(found, la.View(**view)).caption.sentences)


def test_how_the_range_was_chosen_is_said_of_a_part_of_the_samples_too(trained: la.Objective) -> None:
    plane = la.Plane.random(trained, seed=1)
    grid = la.Grid.auto(trained, plane, points=17)
    told = [structured(la.sample(trained, plane, grid, samples=one), "sampling")["range"] for one in (None, "auto")]
    assert told[0] == told[1]


def test_anchors_are_exact(trained: la.Objective) -> None:
    plane = la.Plane.random(trained, seed=1)
    found = la.sample(trained, plane, GRID, samples=la.Subset(size=100))
    for x, y in ((0.0, 0.0), (-1.0, 1.0)):
        exact = trained(plane.at({"x": x, "y": y}))
        cell = found.sel(x=x, y=y)
        assert float(cell["loss"]) == pytest.approx(exact["loss"], rel=1e-6)
        assert float(cell["error"]) == pytest.approx(exact["error"], abs=1e-9)
        assert float(cell["loss_uncertainty"]) == 0


def test_anchors_of_a_convolutional_network_are_evaluated_in_its_own_layout(monkeypatch) -> None:
    """By the same plan as a run; the values are the plain ones."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    data = torch.randn(90, 1, 8, 8), torch.randint(0, 3, (90,))
    made = la.Objective(model.eval(), data, F.cross_entropy, metrics={"error": la.metrics.error}, batch_size=40)
    plane, used = la.Plane.random(made, seed=0), []
    plain = la.sample(made, plane, GRID, samples=la.Subset(size=30))
    real = anchoring.each
    monkeypatch.setattr(anchoring, "each", lambda ways, plan: used.append(plan.name) or real(ways, plan))
    monkeypatch.setattr("lossatlas.evaluate.choice.LAYOUT_SECONDS", 0.0)
    found = la.sample(made, plane, GRID, samples=la.Subset(size=30))
    assert used[-1] == "fused"
    np.testing.assert_allclose(found["loss"], plain["loss"], rtol=1e-5)
    assert float(found["loss"].sel(x=0, y=0)) == pytest.approx(made()["loss"], rel=1e-6)


def test_a_run_goes_on_with_the_anchors_it_kept(trained: la.Objective, tmp_path, monkeypatch) -> None:
    plane = la.Plane.random(trained, seed=1)
    first = la.sample(trained, plane, GRID, samples=la.Subset(size=100), run=tmp_path / "run")
    monkeypatch.setattr(la.Objective, "each", lambda self: pytest.fail("the anchors were evaluated again"))
    again = la.sample(trained, plane, GRID, samples=la.Subset(size=100), run=tmp_path / "run")
    assert first["loss"].equals(again["loss"])
    with pytest.raises(la.RunMismatchError, match="subset"):
        la.sample(trained, plane, GRID, samples=la.Subset(size=200), run=tmp_path / "run")


@pytest.mark.parametrize("other", ["grid", "plane"])
def test_another_question_is_refused_before_it_writes_over_the_anchors(
    trained: la.Objective, tmp_path, monkeypatch, other: str
) -> None:
    plane = la.Plane.random(trained, seed=0)
    la.sample(trained, plane, GRID, samples=la.Subset(size=100), run=tmp_path / "run")
    before = (tmp_path / "run" / "anchors.npz").read_bytes()
    monkeypatch.setattr(anchoring, "each", lambda *_: pytest.fail("evaluated"))
    with pytest.raises(la.RunMismatchError, match="grid x is 17 points" if other == "grid" else "plane is"):
        la.sample(
            trained,
            la.Plane.random(trained, seed=1) if other == "plane" else plane,
            la.Grid(x=(-1, 1, 15), y=(-1, 1, 17)) if other == "grid" else GRID,
            samples=la.Subset(size=100),
            run=tmp_path / "run",
        )
    assert (tmp_path / "run" / "anchors.npz").read_bytes() == before


def test_a_run_that_is_not_finished_says_that_its_values_are_not_corrected(
    trained: la.Objective, tmp_path, monkeypatch
) -> None:
    plane, commit, count = la.Plane.random(trained, seed=1), RunFolder.commit, []

    def stops(self: RunFolder, block: Block) -> None:
        if len(count) == 4:
            raise KeyboardInterrupt
        commit(self, block)
        count.append(1)

    monkeypatch.setattr(RunFolder, "commit", stops)
    with pytest.raises(KeyboardInterrupt):
        la.sample(trained, plane, GRID, samples=la.Subset(size=100), run=tmp_path / "run", block=30)
    found = la.open(tmp_path / "run")
    verdict = f"100 of {trained.samples} samples only; they are corrected to all samples at the end"
    assert verdict in structured(found, "sampling")["verdict"]
    assert verdict in about([found])
    assert int((found["status"] == 1).sum()) == 1 + 3 * 30  # the centre, and three blocks
    error, words = stated_error(found)
    assert "not corrected yet" in words
    there = found["status"].values == 1
    assert (error[there] == np.abs(found["loss"].values[there])).all()
    whole, words = stated_error(first := la.sample(trained, plane, GRID, samples=la.Subset(size=100)))
    assert "not corrected yet" not in words
    assert float(whole.max()) < float(first["loss"].max()) / 5
    (tmp_path / "run" / "spec.json").unlink()
    (tmp_path / "run" / "journal.sqlite").unlink()
    with pytest.raises(SpecError, match="not a run folder yet: it has anchors.npz"):
        la.open(tmp_path / "run")


def test_it_goes_together_with_adaptive_points(trained: la.Objective) -> None:
    plane = la.Plane.random(trained, seed=1)
    sampler = la.Adaptive(x=(-1, 1, 17), y=(-1, 1, 17), tolerance=0.05, scale="log")
    found = la.sample(trained, plane, sampler, samples=la.Subset(size=200))
    words = structured(found, "sampling")["verdict"]
    assert "points evaluated" in words
    assert "200 of 1437 samples" in words
    exact = la.sample(trained, plane, GRID)
    error = apart(choose(exact["loss"].values.ravel(), scale="log"), exact["loss"].values, found["loss"].values)
    assert np.mean(error <= 0.05) > 0.97


def test_all_samples_are_taken_where_half_would_not_do(trained: la.Objective) -> None:
    plane = la.Plane.random(trained, seed=1)
    found = la.sample(trained, plane, GRID, samples=la.Subset(tolerance=1e-5))
    exact = la.sample(trained, plane, GRID)
    assert found["loss"].equals(exact["loss"])
    verdict = structured(found, "sampling")["verdict"]
    assert verdict.endswith("all 1437 samples evaluated: half of them would not be within 0.001 %")


def test_strata_take_as_many_of_each_kind() -> None:
    random = np.random.default_rng(0)
    kind = random.integers(0, 4, 400)
    losses = random.normal(size=(9, 4))[:, kind] * 3 + 0.01 * random.normal(size=(9, 400))
    chosen = every(strata(losses), 40, seed=0)
    expected = np.bincount(kind, minlength=4) / 10
    assert np.abs(np.bincount(kind[chosen], minlength=4) - expected).max() <= 2
    assert len(set(chosen.tolist())) == 40


@pytest.fixture(scope="module")
def losses() -> np.ndarray:
    """At 12 anchors, of 800 samples of which a few have most of the loss."""
    random = np.random.default_rng(0)
    return np.exp(
        0.5 * random.normal(size=(12, 3)) @ random.normal(size=(3, 800)) + 0.1 * random.normal(size=(12, 800))
    )


def test_a_balanced_subset_has_the_means_of_all_samples(losses: np.ndarray) -> None:
    balance, order = Balance.on(losses), strata(losses)

    def off(chosen: np.ndarray) -> float:
        return float(np.linalg.norm(balance.variables[chosen].mean(axis=0)))

    for seed in range(3):
        chosen = balance.choose(100, seed)
        assert np.array_equal(chosen, balance.choose(100, seed))
        assert len(set(chosen.tolist())) == 100
        assert (np.diff(chosen) > 0).all()
        assert off(chosen) < off(every(order, 100, seed)) / 4
    assert not np.array_equal(balance.choose(100, 0), balance.choose(100, 1))


def test_balance_does_not_depend_on_units_or_on_what_says_nothing(losses: np.ndarray) -> None:
    odd = np.concatenate([losses, np.full((1, losses.shape[1]), 2.0)])
    assert Balance.on(odd).variables.shape == Balance.on(losses).variables.shape
    same = Balance.on(np.ones((4, 90)))
    assert len(set(same.choose(30, 0).tolist())) == 30
    assert same.choose(90, 0).tolist() == list(range(90))


def test_subsets_that_tell_the_error_never_saw_the_anchors_they_are_judged_at(losses: np.ndarray) -> None:
    """Whatever the losses at a part of the anchors, they are the same; the subset that is used is not."""
    before = correction.Anchors((12,), np.arange(12), losses[:, :, None], ("loss",)).subsets(80, 0)
    for part in (0, 5):
        other = losses.copy()
        other[part :: correction.PARTS] = np.random.default_rng(1).permuted(other[part :: correction.PARTS], axis=1)
        after = correction.Anchors((12,), np.arange(12), other[:, :, None], ("loss",)).subsets(80, 0)
        assert not np.array_equal(after.chosen, before.chosen)
        for draw in range(correction.DRAWS):
            assert np.array_equal(after.without[draw][part], before.without[draw][part])
            assert not np.array_equal(after.without[draw][part - 1], before.without[draw][part - 1])


def test_a_balanced_subset_is_closer_between_anchors_than_a_stratified_one(trained: la.Objective, monkeypatch) -> None:
    plane = la.Plane.random(trained, seed=1)
    exact = la.sample(trained, plane, GRID)["loss"].values

    def error() -> float:
        found = [
            la.sample(trained, plane, GRID, samples=la.Subset(size=90, seed=seed))["loss"].values for seed in (0, 1)
        ]
        return float(np.mean([apart(choose(exact.ravel()), exact, one) for one in found]))

    balanced = error()
    monkeypatch.setattr(Balance, "_exchange", lambda *_: None)
    assert balanced < 0.8 * error()


def test_each_sample_has_its_own_loss_whatever_the_reduction(trained: la.Objective) -> None:
    centre = trained()["loss"]
    mean = trained.each()
    separate = la.Objective(
        trained.model, trained.batches.source, lambda o, t: F.cross_entropy(o, t, reduction="none")
    ).each()
    assert torch.allclose(mean[:, 0], separate[:, 0], rtol=1e-6)
    assert float(mean[:, 0].mean()) == pytest.approx(centre, rel=1e-6)


class Spread(nn.Module):
    """A loss of a batch that is no mean over samples."""

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return outputs.std()


def test_what_cannot_be_split_into_samples_is_refused(trained: la.Objective) -> None:
    plane = la.Plane.random(trained, seed=1)
    with pytest.raises(la.SpecError, match="below the 1437"):
        la.sample(trained, plane, GRID, samples=la.Subset(size=1437))
    with pytest.raises(la.SpecError, match="is too small to gain from a subset"):
        la.sample(trained, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 5)), samples=la.Subset(size=100))
    odd = la.Objective(trained.model, trained.batches.source, Spread())
    with pytest.raises(la.SpecError, match="not the mean over its samples"):
        la.sample(odd, plane, GRID, samples=la.Subset(size=100))


@pytest.mark.parametrize("options", [{"tolerance": 0}, {"tolerance": 0.5}, {"size": 0}, {"size": 1.5}, {"size": "all"}])
def test_a_subset_of_no_size_or_tolerance_is_refused(options) -> None:
    with pytest.raises(la.SpecError, match=f"{next(iter(options))}="):
        la.Subset(**options)


def test_auto_is_a_subset_of_its_own_size():
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    objective = la.Objective(torch.nn.Linear(3, 1), (x, x.sum(1, keepdim=True)), torch.nn.functional.mse_loss)
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 21), y=(-1, 1, 21))
    auto = la.sample(objective, plane, grid, samples="auto")
    assert np.array_equal(auto["loss"], la.sample(objective, plane, grid, samples=la.Subset())["loss"])


@pytest.mark.parametrize("below", [0.0, 5.0], ids=["a factor", "a term"])
def test_an_anchor_that_was_held_out_gets_the_loss_that_the_others_predict(below: float) -> None:
    losses = np.linspace(1, 4, 9) - below
    table = np.stack([losses, losses], axis=1)[:, :, None]
    table[4, 1] += 3  # elsewhere the subset is exact, so that nothing is added to it here either
    anchors = correction.Anchors(shape=(9,), cells=np.arange(9), table=table, names=("loss",))
    whole, part = table[:, :, 0].mean(axis=1), table[:, 0, 0]
    one = np.array([0])
    found = anchors.held_out(correction.Subsets(one, [[one] * correction.PARTS]))[0]
    assert anchors.logarithmic(0) is (below == 0)
    expected = max(apart(choose(whole, scale=scale), whole, part)[4] for scale in ("linear", "log"))
    assert found[4] == pytest.approx(expected, rel=1e-6)
