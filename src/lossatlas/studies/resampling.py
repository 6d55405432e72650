"""What would chance do? Resamples and rearrangements of numbers, and Kendall's τ of many of them at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

DRAWS = 4000
"""Random resamples and arrangements, where they are too many to go through all."""

ALL = 40_000
"""As many arrangements are gone through exactly."""


def kendall(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Kendall's τ-b, with ties.

    Example:
        >>> round(kendall([1, 2, 3, 4], [1, 3, 2, 4]), 3)
        0.667
    """
    return float(taus(signs(np.asarray(a, float))[None], signs(np.asarray(b, float)))[0])


def dealt(pairs: Sequence[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator) -> np.ndarray:
    """The statistic for all ways of dealing the values out within blocks, or for many random ones and the actual."""
    counts = [math.comb(len(x) + len(y), len(x)) for x, y in pairs]
    if math.prod(counts) <= ALL:
        total = np.zeros(1)
        for x, y in pairs:
            pool = np.concatenate([x, y])
            chosen = np.array(list(itertools.combinations(range(len(pool)), len(x))))
            first = pool[chosen].sum(axis=1)
            each = first / len(x) - (pool.sum() - first) / len(y)
            total = (total[:, None] + each).ravel()
        return np.asarray(total / len(pairs))
    draws = np.zeros(DRAWS + 1)
    for x, y in pairs:
        pool = np.tile(np.concatenate([x, y]), (DRAWS, 1))
        dealt = np.vstack([pool[:1], rng.permuted(pool, axis=1)])
        draws += dealt[:, : len(x)].mean(axis=1) - dealt[:, len(x) :].mean(axis=1)
    return draws / len(pairs)


def resampled(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap draws of a mean, widened for small groups."""
    chosen: np.ndarray = values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(axis=1)
    return np.asarray(values.mean() + (chosen - values.mean()) * math.sqrt(len(values) / (len(values) - 1)))


def ends(draws: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of draws, by quantiles."""
    known = draws[np.isfinite(draws)]
    return float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975))


def orders(count: int, rng: np.random.Generator) -> np.ndarray:
    """All orders of a few things, or many random ones, the given order among them."""
    if math.factorial(count) <= ALL:
        return np.array(list(itertools.permutations(range(count))))
    given = np.arange(count)
    return np.vstack([given, rng.permuted(np.tile(given, (DRAWS // 2, 1)), axis=1)])


def signs(values: np.ndarray) -> np.ndarray:
    """Sign of the difference of every two things, int8 [..., n (n - 1) / 2]."""
    first, second = np.triu_indices(values.shape[-1], 1)
    found: np.ndarray = np.sign(values[..., first] - values[..., second]).astype(np.int8)
    return found


def taus(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """τ-b from signs; 0 where one side has ties only."""
    agree = np.sum(a * b, axis=-1, dtype=np.int64)
    weight = np.sqrt(np.sum(a != 0, axis=-1, dtype=np.float64) * np.sum(b != 0, axis=-1, dtype=np.float64))
    return np.asarray(np.divide(agree, weight, out=np.zeros(np.shape(agree)), where=weight > 0))


def bootstrapped_taus(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """τ-b of resampled things."""
    rows = rng.integers(len(x), size=(DRAWS // 2, len(x)))
    return taus(signs(x[rows]), signs(y[rows]))
