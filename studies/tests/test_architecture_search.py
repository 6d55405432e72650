"""Does the study of architecture search judge planted networks rightly, and claim nothing where there is nothing?"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.stats

from lossatlas import SpecError
from lossatlas_studies.architecture_search import STUDY, Settings, judge, replayed, run
from lossatlas_studies.halving import better_search
from lossatlas_studies.images import Row
from lossatlas_studies.proxies import BASELINES, BY_NAME, LANDSCAPES, PREDICTORS
from lossatlas_studies.search_charts import agreement_of
from lossatlas_studies.stages import Bench
from lossatlas_studies.verdicts import CANNOT_TELL, LEVEL, NOT_SEEN, SEEN

SETTINGS = Settings(early=1, epochs=8, validation=100, candidates=8, searches=300)
FEW = dataclasses.replace(SETTINGS, candidates=6, searches=100)
SEARCHES = slice(-3, None)


def planted(seed, *, landscape, rivals, n=60, scan=0.0, noise=0.2):
    """Rows whose predictors know the test error with a noise of a given size; None for no knowledge, below 0 turned."""
    rng = np.random.default_rng(seed)
    error = rng.uniform(0.3, 0.6, n)

    def known(size, sign):
        if size is None:
            return rng.normal(size=n)
        return sign * np.copysign(1.0, size) * (error + abs(size) * rng.normal(size=n))

    columns = {
        one.name: known(landscape if one.name in LANDSCAPES else rivals, one.sign) for one in PREDICTORS
    }  # fmt: skip
    fading = np.geomspace(noise, 0.02, SETTINGS.epochs)  # of the validation error, from the first epoch on
    fading = np.concatenate([fading[:1], fading])
    curves = np.clip(error[:, None] + fading * rng.normal(size=(n, SETTINGS.epochs + 1)), 0.01, 0.99)
    costs = {cost: 1.0 for one in PREDICTORS for cost in one.costs} | {"radius_seconds": scan}
    return [
        Row(
            label="net", of={}, seed=number, bend=0.0,
            scores={
                "test_error": error[number], "train_loss": 0.0, "val_errors": list(curves[number]),
                "val_losses": list(rng.normal(size=SETTINGS.epochs + 1)), "epoch_seconds": 1.0,
                "full_seconds": 8.0,
            },
            extra={name: values[number] for name, values in columns.items()} | costs,
        )
        for number in range(n)
    ]  # fmt: skip


def words(rows, settings=SETTINGS):
    return [verdict.word for verdict in judge(rows, settings)]


def test_a_landscape_that_knows_the_error_is_seen_in_every_verdict():
    found = judge(planted(0, landscape=0.005, rivals=None, n=100, noise=0.6), SETTINGS)
    assert [verdict.word for verdict in found] == [SEEN] * len(found)
    assert "each of the baselines" in found[0].claim


def test_one_that_knows_it_the_wrong_way_round_is_seen_in_none():
    assert set(words(planted(0, landscape=-0.005, rivals=0.05))) == {NOT_SEEN}


def test_one_good_baseline_is_enough_to_refute_the_first_claim_and_is_named():
    rows = planted(0, landscape=0.05, rivals=None)
    known = [dataclasses.replace(row, extra=row.extra | {"synflow": -row["test_error"]}) for row in rows]
    found = judge(known, SETTINGS)
    assert found[0].word == NOT_SEEN and "synaptic flow" in found[0].quantity
    by_rival = dict(zip(BASELINES, (one.word for one in found[2:]), strict=False))
    assert by_rival.pop("synflow") == NOT_SEEN
    assert set(by_rival.values()) == {SEEN}


def test_with_nothing_planted_no_verdict_claims_more_than_its_rate():
    runs = 20
    claims = np.zeros(12)
    for seed in range(runs):
        claims += [word == SEEN for word in words(planted(seed, landscape=None, rivals=None, n=30), FEW)]
    assert (claims <= scipy.stats.binom.ppf(0.9995, runs, LEVEL)).all()


def test_of_predictors_that_know_as_much_as_each_other_none_is_better():
    runs = 20
    claims = np.zeros(1 + len(BASELINES))
    for seed in range(runs):
        found = words(planted(seed, landscape=0.1, rivals=0.1, n=30), dataclasses.replace(FEW, searches=20))
        claims += [word == SEEN for word in [found[0], *found[2 : 2 + len(BASELINES)]]]
    assert (claims <= scipy.stats.binom.ppf(0.9995, runs, LEVEL)).all()
    assert claims[0] <= claims[1:].min()


def test_a_first_cut_by_something_as_good_as_the_validation_error_is_no_better_than_by_that():
    """Both know the error with the same noise, scans cost nothing: then the two searches differ by chance alone."""
    runs = 60
    claims = 0
    for seed in range(runs):
        found = replayed(planted(100 + seed, landscape=0.2, rivals=None, noise=0.2), FEW)
        claims += better_search("c", found, "landscape first", "plain", quantity="q").word == SEEN
    assert claims <= scipy.stats.binom.ppf(0.999, runs, LEVEL)


def test_the_gain_of_a_search_shrinks_with_what_its_scan_costs():
    cheap, dear = (
        replayed(planted(0, landscape=0.01, rivals=None, scan=scan), SETTINGS) for scan in (0.0, 5.0)
    )  # fmt: skip
    assert cheap.begun["landscape ties"].mean() > dear.begun["landscape ties"].mean()
    assert cheap.saved("landscape first", "plain").mean() > dear.saved("landscape first", "plain").mean() > -1
    np.testing.assert_allclose(
        dear.seconds["landscape ties"].mean(), dear.seconds["plain"].mean(), rtol=0.2
    )  # fmt: skip


def test_networks_that_did_not_train_are_left_out_of_one_verdict_and_counted():
    rows = planted(0, landscape=0.005, rivals=None)
    lost = [dataclasses.replace(row, scores=row.scores | {"train_loss": 2.3}) for row in rows[:58]]
    found = judge([*lost, *rows[58:]], SETTINGS)
    trained = next(one for one in found if "trained in the end" in one.claim)
    assert trained.word == CANNOT_TELL and "58 of 60 networks" in trained.caveat


def test_a_network_without_a_value_is_left_out_of_comparisons_and_ranked_last_by_a_search():
    rows = planted(0, landscape=0.005, rivals=None)
    rows[0] = dataclasses.replace(rows[0], extra=rows[0].extra | {"radius": float("nan")})
    found = judge(rows, SETTINGS)
    assert "1 not finite, left out" in found[1].n
    assert np.isfinite(agreement_of(rows, BY_NAME["radius"])).all()
    assert np.isfinite([one.estimate for one in found[SEARCHES]]).all()


def test_the_measure_of_the_first_verdict_can_be_chosen_and_is_named():
    rows = planted(0, landscape=0.005, rivals=None)
    found = judge(rows, dataclasses.replace(SETTINGS, measure="rise"))
    assert "mean rise of the loss" in found[0].claim and found[0].word == SEEN
    with pytest.raises(SpecError, match="measure='flatness' is unknown; choose one of: radius, rise, bend, lambda_max"):
        run(Bench(folder=None), dataclasses.replace(SETTINGS, measure="flatness"))  # type: ignore[arg-type]


TINY = Settings(
    nets=8, depths=(3,), widths=(4,), epochs=2, early=1, train_samples=100, validation=50, test_samples=100,
    scan_samples=32, directions=2, points=5, searches=20,
)  # fmt: skip


def test_a_small_space_goes_from_images_to_verdicts_and_is_found_again(tmp_path):
    bench = Bench(folder=tmp_path, device="cpu")
    first = run(bench, TINY)
    assert len(bench.used) == 3 * TINY.nets
    again = Bench(folder=tmp_path, device="cpu")
    assert run(again, TINY).verdicts == first.verdicts
    assert not any(done.fresh for done in again.used.values())
    assert [len(table.rows) for table in first.tables] == [len(PREDICTORS), 4, TINY.nets]
    for table in first.tables:
        assert "nan" not in str(table.rows).lower()


def test_both_scales_hold_as_many_networks_as_they_say():
    assert [len(STUDY.settings(scale).designs) for scale in ("small", "paper")] == [72, 162]
