"""Does a replayed search cut, pay and choose as it would by hand, and is the error of its mean that over networks?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lossatlas import SpecError
from lossatlas_studies import halving
from lossatlas_studies.halving import WAYS, Pool, better_search, interval, search, searches, tied
from lossatlas_studies.verdicts import CANNOT_TELL, NOT_SEEN


def pool(errors, *, risk=None, losses=None, seconds=1.0, scan=0.0, rungs=(1, 2, 4), samples=100):
    """Networks whose validation error by rung is given; the test error is that of the last rung."""
    table = np.zeros((len(errors), rungs[-1] + 1))
    table[:, list(rungs)] = errors
    n = len(errors)
    return Pool(
        val_errors=table,
        val_losses=np.tile(np.arange(n)[:, None] if losses is None else np.array(losses)[:, None], rungs[-1] + 1),
        test=table[:, -1],
        risk=np.zeros(n) if risk is None else np.array(risk, float),
        epoch_seconds=np.broadcast_to(np.array(seconds, float), (n,)),
        scan_seconds=np.broadcast_to(np.array(scan, float), (n,)),
        rungs=rungs,
        samples=samples,
    )


def test_halves_are_kept_and_paid_for_as_by_hand():
    found = pool([[0.1, 0.3, 0.0], [0.2, 0.2, 0.1], [0.3, 0.0, 0.0], [0.4, 0.0, 0.0]], seconds=[1, 10, 100, 1000])
    # After one epoch 0 and 1 are kept, after another 1, for two more epochs: 1111 + 11 + 2 × 10.
    assert search(found, np.arange(4), "plain") == (1, 1142.0)
    assert search(found, np.array([2, 3]), "plain") == (2, 1100.0 + 100 + 200)


def test_ties_are_those_within_one_standard_error_of_the_last_that_is_kept():
    rng = np.random.default_rng(0)
    for keep, samples in itertools.product((1, 3, 5), (50, 1000)):
        errors = rng.uniform(0, 0.5, 10)
        cut = sorted(errors)[keep - 1]
        error = (cut * (1 - cut) / samples) ** 0.5
        by_hand = [0 if one < cut - error else 2 if one > cut + error else 1 for one in errors]
        assert tied(errors, keep, samples).tolist() == by_hand


def test_the_landscape_orders_ties_and_nothing_else():
    # Of 100 samples, 0.20 has a standard error of 0.04: 0.17 and 0.22 are ties, 0.10 and 0.30 are not.
    errors = [[e, e, e] for e in (0.10, 0.17, 0.20, 0.22, 0.30, 0.31)]
    found = pool(errors, risk=[9, 9, 9, 0, 0, 0], rungs=(1, 2, 4))
    order = halving._order(found, np.arange(6), 1, 3, "landscape ties")
    assert order[:3].tolist() == [0, 3, 1]
    assert halving._order(found, np.arange(6), 1, 3, "plain").tolist() == [0, 1, 2, 3, 4, 5]
    assert halving._order(found, np.arange(6), 1, 3, "landscape first")[:3].tolist() == [3, 4, 5]


def test_ways_that_scan_pay_for_every_network_they_begin_with():
    found = pool(np.full((4, 3), 0.1), scan=[1.0, 2.0, 4.0, 8.0])
    plain = search(found, np.arange(4), "plain")[1]
    assert {way: search(found, np.arange(4), way)[1] - plain for way in WAYS} == {
        "plain": 0, "loss ties": 0, "landscape ties": 15, "landscape first": 15,
    }  # fmt: skip


def test_all_ways_cost_what_the_plain_one_costs_to_within_half_a_network():
    rng = np.random.default_rng(0)
    found = pool(rng.uniform(0, 0.5, (40, 3)), risk=rng.normal(size=40), scan=2.0)
    done = searches(found, candidates=16, count=50)
    assert (done.begun["plain"] == 16).all()
    for way in halving.SCANS:
        assert (done.begun[way] < 16).all()
        # One network more or less costs its scan, its first epoch, and what more is kept at later cuts.
        assert np.abs(done.seconds[way] - done.seconds["plain"]).max() <= (2 + 1 + 1 + 2) / 2 + 1
        assert abs((done.seconds[way] - done.seconds["plain"]).mean()) < 1
    assert done.regret("plain").min() >= 0


def test_the_error_of_a_mean_over_searches_is_that_over_networks_however_many_searches_there_are():
    """A search that returned the mean of its networks would have the standard error of the mean of the pool."""
    rng = np.random.default_rng(0)
    n, count = 60, 8000
    values = rng.normal(size=n)
    used = np.array([rng.permutation(n) < 12 for _ in range(count)])
    means = used @ values / 12
    low, high = interval(means, used)
    half = 2.0 * values.std(ddof=1) / np.sqrt(n)
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)


def test_without_a_difference_nothing_is_seen_and_few_networks_cannot_tell():
    rng = np.random.default_rng(0)
    same = searches(pool(rng.uniform(0, 0.5, (20, 3))), candidates=8, count=30)
    assert better_search("c", same, "plain", "plain", quantity="q").word == NOT_SEEN
    few = searches(pool(rng.uniform(0, 0.5, (6, 3))), candidates=3, count=30)
    assert better_search("c", few, "landscape ties", "plain", quantity="q").word == CANNOT_TELL


def test_more_candidates_than_half_the_pool_are_refused():
    with pytest.raises(SpecError, match="candidates=5; expected from 2 to half of the 8 networks"):
        searches(pool(np.zeros((8, 3))), candidates=5, count=1)
