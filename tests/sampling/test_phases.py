"""Thousands of samples: all at a few anchors, a part of them at the others. Is what is said about the rest true?"""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.draw.captions import about
from lossatlas.field.lowest import lowest
from lossatlas.figure.ranges import choose
from lossatlas.results.landscape import structured
from lossatlas.sampling import anchoring, correction, phases
from lossatlas.sampling.correction import Anchors, Means
from lossatlas.sampling.shown import apart

SAMPLES = 6000
GRID = la.Grid(x=(-1, 1, 17), y=(-1, 1, 17))


@pytest.fixture(scope="module")
def trained() -> la.Objective:
    """Three overlapping classes, so that some samples have most of the loss."""
    random = torch.Generator().manual_seed(0)
    y = torch.randint(3, (SAMPLES,), generator=random)
    x = 1.5 * torch.randn(3, 8, generator=random)[y] + torch.randn(SAMPLES, 8, generator=random)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return la.Objective(model, (x, y), F.cross_entropy, metrics={"error": la.metrics.error}, batch_size=1000)


@pytest.fixture(scope="module")
def plane(trained: la.Objective) -> la.Plane:
    return la.Plane.random(trained, seed=1)


@pytest.fixture(scope="module")
def exact(trained: la.Objective, plane: la.Plane) -> np.ndarray:
    return la.sample(trained, plane, GRID)["loss"].values


def losses(seed: int = 0, anchors: int = 9, total: int = 20_000) -> np.ndarray:
    """At some anchors, of samples whose losses depend on three of their properties, and are skewed."""
    random = np.random.default_rng(seed)
    return np.exp(
        0.6 * random.normal(size=(anchors, 3)) @ random.normal(size=(3, total))
        + 0.3 * random.normal(size=(anchors, total))
    )


def counts(verdict: str) -> tuple[int, int, int]:
    """Anchors that saw all samples, the others, and how many samples these saw."""
    found = re.search(r"corrected at (\d+) points? evaluated on all and (\d+) on (\d+): ", verdict)
    assert found is not None, verdict
    return int(found[1]), int(found[2]), int(found[3])


def test_a_metric_that_the_losses_do_not_tell_is_known_from_itself():
    loss, random = losses(), np.random.default_rng(5)
    metric = random.exponential(size=loss.shape[1]) * np.arange(1.0, 10.0)[:, None]
    table, seen = np.stack([loss, metric], axis=-1), phases.FEWEST
    found = phases.means_of_all(table[:, :seen], np.array([2]), table[2:3, seen:])
    assert np.allclose(found.values[:, 1], metric.mean(axis=1))
    assert (found.errors[:, 1] < 1e-6).all()
    assert (found.errors[[0, 1, 3], 0] > 1e-3).all()


def test_most_anchors_see_a_part_of_the_samples_and_the_error_stays_within_the_tolerance(trained, plane, exact):
    found = la.sample(trained, plane, GRID, samples="auto")
    facts = structured(found, "sampling")
    whole, rest, seen = counts(facts["verdict"])
    assert whole + rest == 37
    assert 1 <= whole <= 15
    assert seen == phases.FEWEST
    assert facts["samples"] <= seen / 2
    assert facts["verdict"] in about([found])
    error = apart(choose(exact.ravel()), exact, found["loss"].values)
    assert np.mean(error <= 0.02) > 0.99
    assert np.mean(error <= found["loss_uncertainty"].values + 1e-7) > 0.95
    assert 0 < facts["standard error"] <= facts["within"] <= 0.02
    assert np.sqrt(np.mean(error**2)) <= 1.5 * facts["standard error"]


def test_where_all_were_seen_the_values_are_exact_and_elsewhere_they_have_an_error(trained, plane):
    found = la.sample(trained, plane, GRID, samples=la.Subset(size=300))
    whole, _, _ = counts(structured(found, "sampling")["verdict"])
    assert int((found["loss_uncertainty"] == 0).sum()) == whole
    assert (found["error_uncertainty"].values[found["loss_uncertainty"].values == 0] == 0).all()
    for i, j in np.argwhere(found["loss_uncertainty"].values == 0):
        cell = found.isel(x=int(i), y=int(j))
        true = trained(plane.at({"x": float(cell["x"]), "y": float(cell["y"])}))
        assert float(cell["loss"]) == pytest.approx(true["loss"], rel=1e-6)
        assert float(cell["error"]) == pytest.approx(true["error"], abs=1e-9)
    assert float(found["loss_uncertainty"].sel(x=0, y=0)) == 0  # the trained network is among them
    assert json.loads(found.attrs["centre"])["loss"] == pytest.approx(trained()["loss"], rel=1e-6)


def test_a_smaller_tolerance_takes_more_anchors_and_in_the_end_all_samples(trained, plane, exact):
    wide = la.sample(trained, plane, GRID, samples=la.Subset(size=300, tolerance=0.1))
    fine = la.sample(trained, plane, GRID, samples=la.Subset(size=300, tolerance=0.01))
    assert counts(structured(wide, "sampling")["verdict"])[0] < counts(structured(fine, "sampling")["verdict"])[0]
    found = la.sample(trained, plane, GRID, samples=la.Subset(tolerance=1e-5))
    assert np.array_equal(found["loss"], exact)
    verdict = structured(found, "sampling")["verdict"]
    assert "all 6000 samples evaluated: half of them would not be within 0.001 %" in verdict


def test_where_a_first_phase_will_not_do_the_others_are_seen_at_the_anchors_left(trained, plane, exact, monkeypatch):
    """Every sample is seen once at an anchor, in the end at all; then a larger subset may do."""
    monkeypatch.setattr(phases, "FEWEST", 500)
    monkeypatch.setattr(phases, "SHARE", 12)
    evaluate, seen = anchoring.visit, []

    def noted(work, *args, **options):
        seen.append((work.width // 2, options["size"] - options["done"]))
        return evaluate(work, *args, **options)

    monkeypatch.setattr(anchoring, "visit", noted)
    found = la.sample(trained, plane, GRID, samples=la.Subset(tolerance=0.004))
    facts = structured(found, "sampling")
    assert "corrected at 37 points evaluated on all: " in facts["verdict"]
    assert 500 < facts["samples"] < SAMPLES
    for samples in (500, 5500):
        assert sum(anchors for width, anchors in seen if width == samples) == 36  # the centre was evaluated before
    error = apart(choose(exact.ravel()), exact, found["loss"].values)
    assert np.mean(error <= 0.004) > 0.98


def test_few_samples_are_all_seen_at_every_anchor(trained, plane, monkeypatch):
    def verdict(size: int) -> str:
        return str(structured(la.sample(trained, plane, GRID, samples=la.Subset(size=size)), "sampling")["verdict"])

    assert "2000 of 6000 samples, corrected at 37 points evaluated on all: " in verdict(2000)
    assert counts(verdict(1200))[2] == 2400
    monkeypatch.setattr(phases, "FEWEST", SAMPLES)
    assert "corrected at 37 points evaluated on all: " in verdict(300)


@pytest.mark.parametrize("stop", [1, 2])
def test_a_run_goes_on_with_the_anchors_of_both_phases(trained, plane, tmp_path, monkeypatch, stop):
    whole = la.sample(trained, plane, GRID, samples=la.Subset(size=300))
    evaluate, widths = anchoring.visit, []

    def stops(work, *args, **options):
        widths.append(work.width)
        if len(widths) == stop:
            raise KeyboardInterrupt
        return evaluate(work, *args, **options)

    monkeypatch.setattr(anchoring, "visit", stops)
    with pytest.raises(KeyboardInterrupt):
        la.sample(trained, plane, GRID, samples=la.Subset(size=300), run=tmp_path / "run")
    found = la.sample(trained, plane, GRID, samples=la.Subset(size=300), run=tmp_path / "run")
    first, others = 2 * 2000, 2 * 4000
    assert widths == ([first, first, others] if stop == 1 else [first, others, others])
    assert {"anchors.npz", "anchors_rest.npz"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert found["loss"].equals(whole["loss"])
    assert la.open(tmp_path / "run")["loss"].equals(whole["loss"])
    monkeypatch.setattr(anchoring, "visit", lambda *_, **__: pytest.fail("evaluated again"))
    again = la.sample(trained, plane, GRID, samples=la.Subset(size=300), run=tmp_path / "run")
    assert again["loss"].equals(whole["loss"])


def test_anchors_of_another_first_phase_are_not_taken(trained, plane, tmp_path, monkeypatch):
    monkeypatch.setattr(phases, "wholly_seen", lambda *_: pytest.fail("stopped here"))
    with pytest.raises(pytest.fail.Exception, match="stopped here"):
        la.sample(trained, plane, GRID, samples=la.Subset(size=300, seed=0), run=tmp_path / "run")
    monkeypatch.undo()
    found = la.sample(trained, plane, GRID, samples=la.Subset(size=300, seed=1), run=tmp_path / "run")
    assert found["loss"].equals(la.sample(trained, plane, GRID, samples=la.Subset(size=300, seed=1))["loss"])


def test_an_anchor_at_which_only_the_other_samples_have_no_loss_is_left_out(trained, plane, monkeypatch):
    real = anchoring.Anchoring._seen

    def without_one(self, objective, cells, first=None, *, rest=False):
        at, rows = real(self, objective, cells, first, rest=rest)
        return (at[1:], rows[1:]) if rest else (at, rows)

    monkeypatch.setattr(anchoring.Anchoring, "_seen", without_one)
    verdict = structured(la.sample(trained, plane, GRID, samples=la.Subset(size=300)), "sampling")["verdict"]
    assert sum(counts(verdict)[:2]) == 36


@pytest.mark.parametrize("total", [16_000, 16_001, 23_999, 100_000])
def test_a_first_phase_is_spread_over_the_data_whatever_their_order(total):
    first = phases.first_phase(total, 0)
    assert len(first) == max(2000, total // 8)
    assert len(np.unique(first)) == len(first)
    assert first[-1] < total
    counts = np.histogram(first, bins=20, range=(0, total))[0]
    assert np.ptp(counts) <= 2
    turns = np.bincount(first % 8, minlength=8)  # of eight classes in turn
    assert np.abs(turns / len(first) - 1 / 8).max() < 0.03
    assert not np.array_equal(first, phases.first_phase(total, 1))


def test_the_standard_error_is_that_of_repeated_choices():
    table, off = losses(), []
    whole = np.array([0, 2, 3, 5, 7])
    other = np.setdiff1d(np.arange(len(table)), whole)
    for seed in range(30):
        first = np.sort(np.random.default_rng(seed).choice(table.shape[1], table.shape[1] // 2, replace=False))
        rest = np.setdiff1d(np.arange(table.shape[1]), first)
        found = phases.means_of_all(table[:, first, None], whole, table[whole][:, rest, None])
        np.testing.assert_allclose(found.values[whole, 0], table[whole].mean(axis=1))
        assert (found.errors[whole] == 0).all()
        off.append((found.values[other, 0] - table[other].mean(axis=1)) / found.errors[other, 0])
    assert 0.8 < np.sqrt(np.mean(np.square(off))) < 1.2


def test_anchors_that_say_much_of_the_others_lower_their_errors():
    table = losses()
    first = phases.first_phase(table.shape[1], 0)
    rest = np.setdiff1d(np.arange(table.shape[1]), first)

    def error(*whole):
        found = phases.means_of_all(table[:, first, None], np.array(whole), table[list(whole)][:, rest, None])
        return found.errors[8, 0]

    alone = table[8, first].std() * np.sqrt(1 / len(first) - 1 / table.shape[1])
    assert error(0, 1, 2, 3, 4) < error(0, 1) < alone
    assert error(0, 1, 2, 3, 4) < 0.7 * alone


def test_those_are_chosen_that_say_the_most():
    """Three groups of anchors, each of which sees the same: one of each will do."""
    random = np.random.default_rng(0)
    kinds = random.exponential(size=(3, 2000))
    table = 0.5 + kinds[[0, 0, 0, 1, 1, 2, 2, 2, 2]] + random.uniform(0, 0.02, (9, 2000))
    table *= np.linspace(1, 1.5, 9)[:, None]
    chosen = phases.wholly_seen(table, 16_000, 0.02)
    assert [int(np.isin(chosen, group).sum()) for group in ([0, 1, 2], [3, 4], [5, 6, 7, 8])] == [1, 1, 1]
    assert phases.wholly_seen(table, 16_000, 0.02, first=7).tolist() == sorted({7, *chosen.tolist()} - {5, 6, 8})
    assert len(phases.wholly_seen(table, 16_000, 1e-6)) == 9


def test_the_errors_of_both_phases_add_as_squares():
    table = losses(anchors=12)[:, :2000, None]
    at, shape = np.arange(0, 24, 2), (23,)
    alone = Anchors(shape, at, table, ("loss",))
    errors = np.full((12, 1), 0.01) * alone.means.values
    errors[[0, 6]] = 0
    both = Anchors(shape, at, table, ("loss",), Means(9000, alone.means.values, errors))
    chosen = alone.subsets(200, 0)
    (one, square), (other, root) = alone.within(chosen), both.within(chosen)
    assert other > one
    assert root > square
    bare, wide = alone.correction(0, chosen)[1], both.correction(0, chosen)[1]
    added = correction.NORMAL * np.log10(1.01)
    np.testing.assert_allclose(wide[1:-1:2][1:], np.hypot(bare[1:-1:2][1:], added), rtol=1e-9)
    assert wide[at[0]] == wide[at[6]] == 0
    assert wide[at[1]] == pytest.approx(added)
    assert both.words == "2 points evaluated on all and 10 on 2000"
    assert alone.words == "12 points evaluated on all"


def test_info_says_that_estimates_prove_nothing(trained, plane, tmp_path):
    la.sample(trained, plane, GRID, samples=la.Subset(size=300), run=tmp_path / "run")
    told = CliRunner().invoke(atlas, ["info", str(tmp_path / "run")]).output
    assert "proves: nothing: its values are estimates from a part of the samples" in told


def test_a_point_below_the_centre_by_less_than_its_stated_error_is_not_said_to_be_lower(trained, plane):
    found = la.sample(trained, plane, GRID, samples=la.Subset(size=300))
    whole = found["loss_uncertainty"].sel(x=0, y=0)
    assert float(whole) == 0
    span = float(np.ptp(found["loss"].values))
    beside, centre = {"x": 0.125, "y": 0.0}, float(found["loss"].sel(x=0, y=0))

    def told(below: float) -> tuple[bool, bool | None, str]:
        other = found.copy(deep=True)
        other["loss"].values[:] = np.maximum(other["loss"].values, centre)
        other["loss"].loc[beside] = centre - below
        other["loss_uncertainty"].loc[beside] = 0.01
        seen = lowest(other)
        return seen.below_centre, seen.centre_is_minimum, seen.words

    assert told(0.0001 * span) == (
        False,
        True,
        "No evaluated point is lower than the centre by more than the stated error.",
    )
    assert told(0.1 * span)[:2] == (True, False)
