"""What would chance do? Resamples and rearrangements of numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from lossatlas.flatness.kendall import signs, taus

DRAWS = 4000
"""Random resamples and arrangements, if there are too many to go through all."""

ALL = 40_000
"""Up to this many arrangements are enumerated exactly."""


def dealt(pairs: Sequence[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator) -> np.ndarray:
    """The statistic for all ways of dealing out the values within blocks, or for many random ones and the real one."""
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


def bootstrapped_taus(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """τ-b of resampled things."""
    rows = rng.integers(len(x), size=(DRAWS // 2, len(x)))
    return taus(signs(x[rows]), signs(y[rows]))
