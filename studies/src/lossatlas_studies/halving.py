"""Does a search find better networks with a landscape at hand? Successive halving, replayed on what was recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.stats

from lossatlas.errors import SpecError
from lossatlas_studies.verdicts import CANNOT_TELL, LEVEL, Verdict, decide, verdict

SearchWay = Literal["plain", "landscape ties", "loss ties", "landscape first"]
WAYS: Mapping[SearchWay, str] = {
    "plain": "validation error alone",
    "landscape ties": "landscape among ties",
    "loss ties": "validation loss among ties",
    "landscape first": "landscape at the first cut",
}
"""How a search cuts, and the words for it."""

SCANS: tuple[SearchWay, ...] = ("landscape ties", "landscape first")
"""The ways that pay for a scan of every network they begin with."""

FEWEST = 8
"""With fewer networks than this, an interval from leaving one out means nothing."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What was recorded of n networks.

    Attributes:
        val_errors: float64 [n, epochs + 1], validation error by epoch, from 0.
        val_losses: the same of the loss.
        test: float64 [n], test error at the end.
        risk: float64 [n], the landscape's measure after the early epochs: more is worse.
        epoch_seconds: float64 [n], cost of an epoch.
        scan_seconds: float64 [n], cost of the measure.
        rungs: epochs after which a search cuts, ending with the last epoch.
        samples: of the validation part.
    """

    val_errors: np.ndarray
    val_losses: np.ndarray
    test: np.ndarray
    risk: np.ndarray
    epoch_seconds: np.ndarray
    scan_seconds: np.ndarray
    rungs: tuple[int, ...]
    samples: int


def rungs(early: int, epochs: int) -> tuple[int, ...]:
    """Epochs after which a search cuts: the early ones, twice as many, and so on, and all of them.

    Example:
        >>> rungs(4, 40)
        (4, 8, 16, 32, 40)
    """
    found = []
    while early < epochs:
        found.append(early)
        early *= 2
    return (*found, epochs)


def search(pool: Pool, nets: np.ndarray, way: SearchWay) -> tuple[int, float]:
    """Train all, keep the better half, train those for as long again, and so on; at the end the best one is chosen.

    Args:
        pool: the record that stands for training.
        nets: int [m], the networks it begins with.
        way: how it cuts.

    Returns:
        The chosen one, and the seconds that all of it costs, scans included.
    """
    left = np.asarray(nets)
    seconds = float(pool.scan_seconds[left].sum()) if way in SCANS else 0.0
    done = 0
    for rung, epochs in enumerate(pool.rungs):
        seconds += float(pool.epoch_seconds[left].sum()) * (epochs - done)
        done = epochs
        keep = 1 if epochs == pool.rungs[-1] else -(-len(left) // 2)
        left = left[_order(pool, left, epochs, keep, "plain" if way == "landscape first" and rung else way)[:keep]]
    return int(left[0]), seconds


def _order(pool: Pool, left: np.ndarray, epochs: int, keep: int, way: SearchWay) -> np.ndarray:
    """The networks that are left, the best first; ties are broken by their validation loss."""
    errors, losses, risk = pool.val_errors[left, epochs], pool.val_losses[left, epochs], pool.risk[left]
    if way == "landscape first":
        return np.lexsort((losses, errors, np.nan_to_num(risk, nan=np.inf)))
    if way == "plain":
        return np.lexsort((losses, errors))
    second = losses if way == "loss ties" else np.nan_to_num(risk, nan=np.inf)
    return np.lexsort((losses, second, tied(errors, keep, pool.samples)))


def tied(errors: np.ndarray, keep: int, samples: int) -> np.ndarray:
    """Which networks the validation error cannot tell from the last one that is kept: within its standard error.

    Args:
        errors: float64 [m], validation errors.
        keep: how many are kept.
        samples: behind each error.

    Returns:
        int [m]: 0 for those surely kept, 1 for ties, 2 for those surely dropped.

    Example:
        >>> tied(np.array([0.02, 0.09, 0.10, 0.11, 0.20]), 2, 300).tolist()  # 0.09 ± 0.017
        [0, 1, 1, 2, 2]
    """
    cut = np.sort(errors)[keep - 1]
    error = math.sqrt(cut * (1 - cut) / samples)
    return np.where(errors < cut - error, 0, np.where(errors <= cut + error, 1, 2))


@dataclass(frozen=True, kw_only=True)
class Searches:
    """Searches on random parts of a pool, each in all ways and at the cost of the plain one.

    Attributes:
        used: bool [searches, n], the networks that a search could begin with.
        test: by way, float64 [searches], test error of the chosen network.
        seconds: by way, float64 [searches], what it cost.
        begun: by way, int [searches], the number of networks it began with.
        best: smallest test error in the pool.
    """

    used: np.ndarray
    test: Mapping[SearchWay, np.ndarray]
    seconds: Mapping[SearchWay, np.ndarray]
    begun: Mapping[SearchWay, np.ndarray]
    best: float

    def regret(self, way: SearchWay) -> np.ndarray:
        """How much larger the test error of the chosen network is than the smallest in the pool, by search."""
        return np.asarray(self.test[way] - self.best)

    def saved(self, way: SearchWay, rival: SearchWay) -> np.ndarray:
        """How much smaller it is than what a rival chose, by search."""
        return np.asarray(self.test[rival] - self.test[way])


def searches(pool: Pool, *, candidates: int, count: int, seed: int = 0) -> Searches:
    """Search many times, each time among other networks of the pool in another order.

    A way that costs more than the plain one, since it scans, begins with fewer networks, so many fewer as bring its
    cost nearest to that of the plain one.

    Args:
        pool: the record.
        candidates: networks that the plain search begins with, at most half the pool.
        count: number of searches.
        seed: of the orders.

    Raises:
        SpecError: more candidates than half the pool, or fewer than 2.
    """
    n = len(pool.test)
    if not 2 <= candidates <= n // 2:
        raise SpecError(f"candidates={candidates}; expected from 2 to half of the {n} networks")
    rng = np.random.default_rng(seed)
    used = np.zeros((count, n), bool)
    table = {way: np.zeros((count, 3)) for way in WAYS}
    for number in range(count):
        nets = rng.permutation(n)[:candidates]
        used[number, nets] = True
        _, budget = search(pool, nets, "plain")
        for way in WAYS:
            chosen, seconds, begun = _at_cost(pool, nets, way, budget)
            table[way][number] = pool.test[chosen], seconds, begun
    return Searches(
        used=used,
        test={way: found[:, 0] for way, found in table.items()},
        seconds={way: found[:, 1] for way, found in table.items()},
        begun={way: found[:, 2].astype(int) for way, found in table.items()},
        best=float(pool.test.min()),
    )


def _at_cost(pool: Pool, nets: np.ndarray, way: SearchWay, budget: float) -> tuple[int, float, int]:
    """The search whose cost is nearest to the budget: what it chose, what it cost, and with how many it began."""
    best: tuple[int, float, int] | None = None
    for begun in range(len(nets), 0, -1):
        chosen, seconds = search(pool, nets[:begun], way)
        if best is None or abs(seconds - budget) < abs(best[1] - budget):
            best = chosen, seconds, begun
        if seconds <= budget:
            break
    assert best is not None
    return best


def better_search(
    claim: str,
    found: Searches,
    way: SearchWay,
    rival: SearchWay,
    *,
    quantity: str,
    caveat: str = "",
    level: float = LEVEL,
) -> Verdict:
    """Does one way to search choose better networks than another, for networks like those of the pool?

    Searches share networks, so they are not independent of each other, however many there are. The unit is the
    network: the mean over searches is taken again without those that could choose a given network, for each in turn,
    and the spread of these means gives the standard error (the jackknife of a U-statistic: Arvesen 1969), with
    Student's t for test and interval.

    Args:
        claim: the claim that ``way`` does better.
        found: the searches.
        way: the one that is claimed to be better.
        rival: the other one.
        quantity: what the difference is.
        caveat: what the verdict does not say.
        level: nominal rate.
    """
    saved, n = found.saved(way, rival), found.used.shape[1]
    words = f"{n} networks, {len(saved)} searches"
    how = "jackknife over networks, t test and t interval"
    estimate, error = float(saved.mean()), _error(saved, found.used)
    if n < FEWEST or not math.isfinite(error):
        return verdict(claim, CANNOT_TELL, quantity, estimate, (math.nan,) * 2, 0.0, math.nan, words, how, caveat)
    student = scipy.stats.t(n - 1)
    # Without a difference in any search there is nothing to test.
    p = float(student.sf(estimate / error)) if error > 0 else 1.0
    half = float(student.ppf(0.975)) * error
    ends = (estimate - half, estimate + half)
    return verdict(claim, decide(p, 0.0, ends, 0.0, level, False), quantity, estimate, ends, 0.0, p, words, how, caveat)


def interval(values: np.ndarray, used: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean over searches, by the jackknife over networks."""
    half = float(scipy.stats.t(used.shape[1] - 1).ppf(0.975)) * _error(values, used)
    return float(values.mean()) - half, float(values.mean()) + half


def _error(values: np.ndarray, used: np.ndarray) -> float:
    """Standard error of the mean of some searches, over networks; NaN where a network is in all of them.

    With finitely many searches the means without a network also differ by chance; what that adds is subtracted (as for
    bagging: Wager, Hastie, Efron 2014), and the resulting error of the mean itself is added.
    """
    count, n = used.shape
    others = count - used.sum(axis=0)
    if count < 2 or not others.all():
        return math.nan
    without = (~used).T @ values / others
    chance = float(values.var(ddof=1)) / count
    spread = (n - 1) / n * float(((without - without.mean()) ** 2).sum())
    added = (n - 1) / n * chance * float((count / others - 1).sum())
    return math.sqrt(max(spread - added, 0.0) + chance)


def summary(found: Searches, ways: Sequence[SearchWay] = tuple(WAYS)) -> list[dict[str, str]]:
    """What each way achieved, as words for a table."""
    rows = []
    for way in ways:
        regret = 100 * found.regret(way)
        low, high = interval(regret, found.used)
        rows.append(
            {
                "search": WAYS[way],
                "begins with": f"{found.begun[way].mean():.1f} networks",
                "cost": f"{found.seconds[way].mean():.2f} s",
                "regret": f"{regret.mean():.2f} points ({low:.2f} to {high:.2f})",
                "better than plain": f"{100 * (found.saved(way, 'plain') > 0).mean():.0f} %",
                "worse than plain": f"{100 * (found.saved(way, 'plain') < 0).mean():.0f} %",
            }
        )
    return rows
