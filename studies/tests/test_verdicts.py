"""Does a verdict find what is planted, and claim nothing more often than its nominal rate where there is nothing?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from lossatlas import SpecError
from lossatlas.flatness.kendall import kendall
from lossatlas_studies.comparisons import agreement, better, larger, paired
from lossatlas_studies.verdicts import CANNOT_TELL, LEVEL, NOT_SEEN, SEEN, beyond_null, share, within

BLOCKS = ("8", "14", "26")


def normal(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def blocks(rng, shift=0.0, size=3):
    """Values in blocks that differ far more from each other than the groups do."""
    return {block: rng.normal(10 * place + shift, 1, size) for place, block in enumerate(BLOCKS)}


def compared(seed, shift):
    rng = normal(seed)
    return larger("c", blocks(rng, shift), blocks(rng), quantity="q", seed=seed)


def flipped(seed, shift):
    return paired("c", normal(seed).normal(shift, 1, 9), quantity="q", seed=seed)


def ordered(seed, shift):
    rng = normal(seed)
    x = rng.normal(size=12)
    return agreement("c", x, shift * x + rng.normal(size=12), seed=seed)


def ranked(seed, shift):
    """Two measures of one outcome, both noisy; the first less so where there is a shift."""
    rng = normal(seed)
    y = rng.normal(size=12)
    return better("c", y + abs(1.5 - 0.36 * shift) * rng.normal(size=12), y + 1.5 * rng.normal(size=12), y, seed=seed)


def counted(seed, shift):
    return share("c", int(normal(seed).binomial(40, min(0.5 + shift / 8, 1))), 40, above=0.5, quantity="q")


def drawn(seed, shift):
    rng = normal(seed)
    return beyond_null("c", rng.normal(shift), rng.normal(size=60), quantity="q")


TESTS = {f.__name__: f for f in (compared, flipped, ordered, ranked, counted, drawn)}


@pytest.mark.parametrize("name", TESTS)
def test_a_planted_effect_is_seen_and_its_opposite_is_not(name):
    effect = [TESTS[name](seed, 4.0) for seed in range(5)]
    assert [verdict.word for verdict in effect].count(SEEN) >= 4
    opposite = [TESTS[name](seed, -4.0) for seed in range(5)]
    assert {verdict.word for verdict in opposite} == {NOT_SEEN}


@pytest.mark.parametrize("name", TESTS)
def test_nothing_is_claimed_more_often_than_the_nominal_rate(name):
    runs = 250
    claims = sum(TESTS[name](seed, 0.0).word == SEEN for seed in range(runs))
    assert claims <= scipy.stats.binom.ppf(0.999, runs, LEVEL)


def test_two_sided_verdicts_keep_their_rate_as_well():
    runs = 250
    claims = 0
    for seed in range(runs):
        rng = normal(seed)
        claims += larger("c", rng.normal(size=5), rng.normal(size=5), quantity="q", two_sided=True).word == SEEN
    assert claims <= scipy.stats.binom.ppf(0.999, runs, LEVEL)
    low = larger("c", [1.0, 2, 3, 2, 1], [9.0, 8, 9, 8, 9], quantity="q", two_sided=True)
    assert (low.word, low.estimate) == (SEEN, pytest.approx(-6.8))


def test_equivalence_at_the_edge_of_its_range_is_claimed_at_no_more_than_the_nominal_rate():
    runs = 2000
    claims = sum(within("c", normal(s).normal(1.1, 0.05, 6), 0.9, 1.1, quantity="q").word == SEEN for s in range(runs))
    assert claims <= scipy.stats.binom.ppf(0.999, runs, LEVEL)
    assert within("c", normal(0).normal(1.0, 0.02, 6), 0.9, 1.1, quantity="q").word == SEEN
    assert within("c", normal(0).normal(1.5, 0.02, 6), 0.9, 1.1, quantity="q").word == NOT_SEEN


def test_the_permutation_test_by_hand():
    """Three against three: of the twenty ways to deal them out, one is as extreme."""
    found = larger("c", [3.0, 4.0, 5.0], [0.0, 1.0, 2.0], quantity="q")
    assert found.p == pytest.approx(1 / 20)
    assert found.word == SEEN
    blocks = larger("c", {"a": [3.0, 4.0], "b": [13.0, 14.0]}, {"a": [0.0, 1.0], "b": [10.0, 11.0]}, quantity="q")
    assert (blocks.p, blocks.estimate) == (pytest.approx(1 / 36), pytest.approx(3.0))


def test_the_sign_flip_test_agrees_with_the_library():
    values = normal(3).normal(0.4, 1, 10)
    other = scipy.stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert paired("c", values, quantity="q").p == pytest.approx(other.pvalue)


def test_dealing_out_agrees_with_the_library():
    a, b = normal(1).normal(0.8, 1, 6), normal(2).normal(0, 1, 5)
    other = scipy.stats.permutation_test(
        (a, b), lambda x, y: x.mean() - y.mean(), alternative="greater", n_resamples=np.inf
    )
    assert larger("c", a, b, quantity="q").p == pytest.approx(other.pvalue)


@pytest.mark.parametrize("seed", range(5))
def test_kendall_agrees_with_the_library_with_ties(seed):
    rng = normal(seed)
    a, b = rng.integers(4, size=15), rng.integers(5, size=15)
    assert kendall(a, b) == pytest.approx(scipy.stats.kendalltau(a, b).statistic)


def test_the_exact_p_of_tau_agrees_with_the_library():
    a, b = [1, 2, 3, 4, 5, 6, 7], [2, 1, 3, 5, 4, 7, 6]
    other = scipy.stats.kendalltau(a, b, alternative="greater", method="exact")
    assert agreement("c", a, b).p == pytest.approx(other.pvalue)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_bootstrap_interval_covers_the_truth_about_as_often_as_it_says(seed):
    runs = 300
    covered = 0
    for run in range(runs):
        found = paired("c", normal(10_000 * seed + run).normal(1.0, 2.0, 12), quantity="q", seed=run)
        covered += found.low <= 1.0 <= found.high
    # At n = 12 the bootstrap falls a little short of 95 %; far short would be a fault.
    assert 0.88 <= covered / runs <= 0.99


@pytest.mark.parametrize(
    "verdict",
    [
        larger("c", [5.0, 6.0], [1.0, 2.0], quantity="q"),
        larger("c", {"a": [5.0, 6.0, 7.0], "b": [1.0]}, {"a": [1.0, 2.0, 3.0], "b": [1.0]}, quantity="q"),
        larger("c", [], [], quantity="q"),
        paired("c", [1.0, 2.0, 3.0, 4.0], quantity="q"),
        paired("c", [], quantity="q"),
        agreement("c", [1, 2, 3], [1, 2, 3]),
        agreement("c", [1, 1, 1, 1, 1], [1, 2, 3, 4, 5]),
        better("c", [1, 2, 3, 4], [4, 3, 2, 1], [1, 2, 3, 4]),
        share("c", 4, 4, above=0.5, quantity="q"),
        share("c", 0, 0, above=0.5, quantity="q"),
        within("c", [1.0, 1.0], 0.9, 1.1, quantity="q"),
        beyond_null("c", 5.0, [0.0, 1.0, 2.0], quantity="q"),
        beyond_null("c", math.nan, np.arange(100.0), quantity="q"),
    ],
)
def test_too_few_to_tell_is_said_and_not_decided(verdict):
    assert verdict.word == CANNOT_TELL
    assert verdict.words.startswith("Cannot be told")


def test_values_that_are_not_finite_are_left_out_and_counted():
    found = larger("c", [3.0, 4.0, 5.0, math.nan], [0.0, 1.0, 2.0], quantity="q")
    assert found.word == SEEN
    assert found.n == "3 against 3 (1 not finite, left out)"
    assert "(2 not finite, left out)" in agreement("c", [1, 2, 3, 4, 5, np.inf], [1, 2, 3, 4, 5, np.nan]).n


def test_groups_with_different_blocks_are_refused():
    with pytest.raises(SpecError, match=r"blocks \['a'\] and \['b'\]"):
        larger("c", {"a": [1.0]}, {"b": [1.0]}, quantity="q")


def test_an_opposite_effect_is_named():
    assert larger("c", [0.0, 1, 2, 1], [7.0, 8, 9, 8], quantity="q").words.endswith("wholly on the other side.")


def of_settings(seed):
    """Two numbers that five settings of four networks each move at random, and that know nothing of each other."""
    rng = normal(seed)
    settings = np.repeat(np.arange(5), 4)
    measure, outcome = (rng.normal(size=5)[settings] + 0.3 * rng.normal(size=20) for _ in range(2))
    return settings, measure, outcome


def test_settings_that_move_two_numbers_are_permuted_as_settings_and_not_as_networks():
    runs, by_setting, by_network = 60, 0, 0
    for seed in range(runs):
        settings, measure, outcome = of_settings(seed)
        by_setting += agreement("c", measure, outcome, settings=settings.tolist(), seed=seed).word == SEEN
        by_network += agreement("c", measure, outcome, seed=seed).word == SEEN
    assert by_setting <= scipy.stats.binom.ppf(0.999, runs, LEVEL)
    assert by_network > scipy.stats.binom.ppf(0.999, runs, LEVEL)  # what settings are given for


def test_an_agreement_of_settings_says_how_many_and_is_seen_where_it_is_planted():
    settings = np.repeat(np.arange(6), 3).tolist()
    rng = normal(0)
    measure = np.array(settings) + 0.1 * rng.normal(size=18)
    outcome = 2 * np.array(settings) + 0.1 * rng.normal(size=18)
    outcome[4] = np.nan
    found = agreement("c", measure, outcome, settings=settings)
    assert found.word == SEEN
    assert found.n == "6 settings of 17 networks (1 not finite, left out)"
    assert agreement("c", measure[:9], outcome[:9], settings=settings[:9]).word == CANNOT_TELL


@pytest.mark.soak
def test_of_a_thousand_nulls_of_settings_no_more_are_claimed_than_the_level_allows():
    runs = 1000
    claims = 0
    for seed in range(runs):
        settings, measure, outcome = of_settings(10_000 + seed)
        claims += agreement("c", measure, outcome, settings=settings.tolist(), seed=seed).word == SEEN
    assert claims <= scipy.stats.binom.ppf(0.999, runs, LEVEL)
