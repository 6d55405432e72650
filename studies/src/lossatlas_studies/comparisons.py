"""Is one group larger than another, one measure a better ranking than another? Permutation tests and their verdicts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import scipy.stats

from lossatlas.errors import SpecError
from lossatlas.flatness.kendall import kendall, signs, taus
from lossatlas.oneline import number_of
from lossatlas_studies import resampling
from lossatlas_studies.verdicts import CANNOT_TELL, LEVEL, Groups, Verdict, decide, finite, lost, mean, verdict


def larger(
    claim: str,
    more: Groups,
    less: Groups,
    *,
    quantity: str,
    caveat: str = "",
    unit: str = "",
    two_sided: bool = False,
    level: float = LEVEL,
    seed: int = 0,
) -> Verdict:
    r"""Is one group larger than another, where both may come in blocks (one depth, one width) that are kept apart?

    The statistic is the mean over blocks of the difference of means. The test goes through all ways of dealing the
    values of each block out to the two groups, which is exact under exchangeability within blocks. The interval is a
    bootstrap within blocks, with deviations widened by :math:`\sqrt{n / (n-1)}` so that small groups do not look too
    certain.

    Args:
        claim: the claim.
        more: values that are claimed to be larger: a sequence, or sequences by block.
        less: the others, with the same blocks.
        quantity: what the difference is.
        caveat: what the verdict does not say.
        unit: what each value belongs to: "networks".
        two_sided: whether a difference in either direction makes the claim.
        level: nominal rate.
        seed: of random arrangements and resamples.

    Raises:
        SpecError: the blocks of the two groups differ.
    """
    a, b = _blocks(more), _blocks(less)
    if a.keys() != b.keys():
        raise SpecError(f"the groups have the blocks {list(a)} and {list(b)}; expected the same")
    pairs = [(a[block], b[block]) for block in a]
    n = f"{sum(len(x) for x, _ in pairs)} against {sum(len(y) for _, y in pairs)} {unit}".strip() + lost(more, less)
    how = _how(f"permutation test within {number_of(len(pairs), 'block')}", two_sided)
    if not pairs or any(min(len(x), len(y)) < 2 for x, y in pairs):
        estimate = float(np.mean([mean(x) - mean(y) for x, y in pairs])) if pairs else math.nan
        return verdict(claim, CANNOT_TELL, quantity, estimate, (math.nan,) * 2, 0.0, math.nan, n, how, caveat)
    rng = np.random.default_rng(seed)
    estimate = float(np.mean([x.mean() - y.mean() for x, y in pairs]))
    null = resampling.dealt(pairs, rng)
    p, least = _p(null, estimate, two_sided)
    draws = np.mean([resampling.resampled(x, rng) - resampling.resampled(y, rng) for x, y in pairs], axis=0)
    ends = resampling.ends(draws)
    word = decide(p, least, ends, 0.0, level, two_sided)
    return verdict(claim, word, quantity, estimate, ends, 0.0, p, n, how, caveat)


def paired(
    claim: str,
    differences: Sequence[float],
    *,
    quantity: str,
    caveat: str = "",
    unit: str = "pairs",
    two_sided: bool = False,
    level: float = LEVEL,
    seed: int = 0,
) -> Verdict:
    """Are differences within pairs above zero? The test turns the sign of each, the interval is a bootstrap over pairs.

    Args:
        claim: the claim.
        differences: one for each pair, claimed to be positive.
        quantity: what their mean is.
        caveat: what the verdict does not say.
        unit: of what.
        two_sided: whether either sign makes the claim.
        level: nominal rate.
        seed: of random signs and resamples.

    Example:
        >>> paired("never", [0.1, -0.2, 0.1, 0.0, -0.1, 0.05], quantity="mean").word
        'not seen at this scale'
    """
    values = finite(differences)
    n, how = (
        f"{len(values)} {unit}{lost(differences)}",
        _how("sign-flip test", two_sided),
    )
    if len(values) < 2:
        return verdict(claim, CANNOT_TELL, quantity, mean(values), (math.nan,) * 2, 0.0, math.nan, n, how, caveat)
    rng = np.random.default_rng(seed)
    if 2 ** len(values) <= resampling.ALL:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
    else:
        signs = np.vstack([np.ones(len(values)), rng.choice((1.0, -1.0), size=(resampling.DRAWS, len(values)))])
    p, least = _p(signs @ values / len(values), float(values.mean()), two_sided)
    ends = resampling.ends(resampling.resampled(values, rng))
    word = decide(p, least, ends, 0.0, level, two_sided)
    return verdict(claim, word, quantity, float(values.mean()), ends, 0.0, p, n, how, caveat)


def agreement(
    claim: str,
    measure: Sequence[float],
    outcome: Sequence[float],
    *,
    settings: Sequence[Hashable] | None = None,
    quantity: str = "Kendall τ",
    caveat: str = "",
    unit: str = "networks",
    two_sided: bool = False,
    level: float = LEVEL,
    seed: int = 0,
) -> Verdict:
    """Does a measure order things as an outcome does? Kendall's τ-b, permutation test, bootstrap over the things.

    Several networks of one setting share what the setting does to both numbers: permuted as if they were independent,
    they make any two settings that differ in both look like an agreement. With ``settings`` the means of each setting
    are compared, so that settings are permuted, not networks.

    Args:
        claim: the claim that τ is above zero.
        measure: one value for each thing.
        outcome: the other; things with a value that is not finite in either are left out, and counted.
        settings: the setting of each thing, if several share one; by default each has its own.
        quantity: what τ is called.
        caveat: what the verdict does not say.
        unit: what the things are.
        two_sided: whether either sign makes the claim.
        level: nominal rate.
        seed: of random permutations and resamples.

    Example:
        >>> agreement("yes", [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 5, 4, 6, 7]).word
        'seen at this scale'
    """
    x, y = _finite_rows(measure, outcome)
    n, how = f"{len(x)} {unit}{lost(measure, outcome)}", _how("permutation test", two_sided)
    if settings is not None:
        whole = np.isfinite(np.asarray(measure, float) + np.asarray(outcome, float))
        x, y = _means([setting for setting, known in zip(settings, whole.tolist(), strict=True) if known], x, y)
        n, how = f"{len(x)} settings of {n}", _how("permutation test over settings", two_sided)
    if len(x) < 4 or min(np.ptp(x), np.ptp(y)) == 0:
        return verdict(claim, CANNOT_TELL, quantity, math.nan, (math.nan,) * 2, 0.0, math.nan, n, how, caveat)
    rng = np.random.default_rng(seed)
    tau = kendall(x, y)
    null = taus(signs(x[resampling.orders(len(x), rng)]), signs(y))
    p, least = _p(null, tau, two_sided)
    ends = resampling.ends(resampling.bootstrapped_taus(x, y, rng))
    word = decide(p, least, ends, 0.0, level, two_sided)
    return verdict(claim, word, quantity, tau, ends, 0.0, p, n, how, caveat)


def better(
    claim: str,
    measure: Sequence[float],
    rival: Sequence[float],
    outcome: Sequence[float],
    *,
    quantity: str = "difference of Kendall τ",
    caveat: str = "",
    unit: str = "networks",
    level: float = LEVEL,
    seed: int = 0,
) -> Verdict:
    """Does a measure order things more like the outcome than a rival does? The test swaps their ranks, thing by thing.

    Args:
        claim: the claim that the measure does better.
        measure: one value for each thing.
        rival: another one, oriented alike.
        outcome: what both are meant to rank.
        quantity: what the difference is called.
        caveat: what the verdict does not say.
        unit: what the things are.
        level: nominal rate.
        seed: of random swaps and resamples.

    Example:
        >>> better("no", [1, 2, 3, 5, 4, 7, 6], [2, 1, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7]).word
        'not seen at this scale'
    """
    x, z, y = _finite_rows(measure, rival, outcome)
    n, how = f"{len(x)} {unit}{lost(measure, rival, outcome)}", "swap test, bootstrap interval"
    if len(x) < 5 or min(np.ptp(x), np.ptp(y), np.ptp(z)) == 0:
        return verdict(claim, CANNOT_TELL, quantity, math.nan, (math.nan,) * 2, 0.0, math.nan, n, how, caveat)
    rng = np.random.default_rng(seed)
    difference = kendall(x, y) - kendall(z, y)
    # Ranks, so that the two can be exchanged whatever their units are.
    one, other = scipy.stats.rankdata(x), scipy.stats.rankdata(z)
    swap = np.vstack([np.zeros(len(x), bool), rng.random((resampling.DRAWS // 2, len(x))) < 0.5])
    mixed = [np.where(swap, other, one), np.where(swap, one, other)]
    null = taus(signs(mixed[0]), signs(y)) - taus(signs(mixed[1]), signs(y))
    p, least = _p(null, difference, False)
    rows = rng.integers(len(x), size=(resampling.DRAWS // 2, len(x)))
    draws = taus(signs(x[rows]), signs(y[rows])) - taus(signs(z[rows]), signs(y[rows]))
    ends = resampling.ends(draws)
    word = decide(p, least, ends, 0.0, level, False)
    return verdict(claim, word, quantity, difference, ends, 0.0, p, n, how, caveat)


def _means(settings: Sequence[Hashable], *columns: np.ndarray) -> list[np.ndarray]:
    """The means over things of the same setting, in the order in which settings first come."""
    places = {setting: place for place, setting in enumerate(dict.fromkeys(settings))}
    of = np.array([places[setting] for setting in settings], int)
    counts = np.bincount(of)
    return [np.bincount(of, weights=column) / counts for column in columns]


def _how(test: str, two_sided: bool) -> str:
    return f"{test}, bootstrap interval" + ", two-sided" * two_sided


def _blocks(groups: Groups) -> dict[Hashable, np.ndarray]:
    named = groups if isinstance(groups, Mapping) else {"all": groups}
    return {block: finite(values) for block, values in named.items()}


def _finite_rows(*columns: Sequence[float]) -> list[np.ndarray]:
    table = np.array([np.asarray(column, np.float64) for column in columns])
    return list(table[:, np.isfinite(table).all(axis=0)])


def _p(null: np.ndarray, observed: float, two_sided: bool) -> tuple[float, float]:
    """Share of the null at least as extreme, and the smallest possible; the null includes the observed value."""
    slack = 1e-9 * float(np.abs(null).max(initial=0.0)) + 1e-300
    sizes, size = (np.abs(null), abs(observed)) if two_sided else (null, observed)
    return float(np.mean(sizes >= size - slack)), float(np.mean(sizes >= sizes.max() - slack))
