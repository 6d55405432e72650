"""Do two columns rank several models alike, and how certain is that? Rank correlations with a bootstrap interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from lossatlas.errors import SpecError
from lossatlas.flatness.kendall import signs, taus

__all__ = ["FEWEST", "Correlation", "correlation"]

FEWEST = 8
"""Models below which nothing is claimed: of four models in random order one pair of columns in twelve agrees
   completely (in one direction or the other)."""


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """How two columns rank the same models.

    Attributes:
        kendall: Kendall's τ (with ties, τ-b), from -1 to 1.
        spearman: Spearman's ρ, from -1 to 1.
        low: lower end of the 95 % bootstrap interval of τ.
        high: its upper end.
        n: number of models.
        words: what it says, and whether it says anything.
    """

    kendall: float
    spearman: float
    low: float
    high: float
    n: int
    words: str


def correlation(
    a: Sequence[float], b: Sequence[float], *, names: tuple[str, str] = ("a", "b"), resamples: int = 2000, seed: int = 0
) -> Correlation:
    """Rank correlations of two columns over the same models, with a percentile bootstrap interval over models.

    Args:
        a: one column, [n]; models whose value is not finite are left out.
        b: the other.
        names: what they are called.
        resamples: how often models are drawn with replacement.
        seed: of the draws.

    Returns:
        The correlations, and in words whether they support a claim: never with fewer than 8 models, nor if the interval
        contains 0.

    Raises:
        SpecError: columns of different lengths.

    Example:
        >>> found = correlation([1, 2, 3, 4], [10, 20, 30, 40], names=("trace", "test error"))
        >>> found.kendall, found.n
        (1.0, 4)
        >>> found.words
        'trace and test error: n = 4 models are too few for any claim (Kendall τ = 1.00).'
    """
    x, y = np.asarray(a, float), np.asarray(b, float)
    if x.shape != y.shape or x.ndim != 1:
        raise SpecError(f"the columns have the shapes {x.shape} and {y.shape}; expected one value for each model")
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    n = len(x)
    kendall, spearman = _both(x, y)
    low, high = _interval(x, y, resamples, seed)
    return Correlation(
        kendall=kendall, spearman=spearman, low=low, high=high, n=n, words=_words(names, kendall, low, high, n)
    )


def _both(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:  # nothing is ranked
        return math.nan, math.nan
    return float(scipy.stats.kendalltau(x, y).statistic), float(scipy.stats.spearmanr(x, y).statistic)


def _interval(x: np.ndarray, y: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """The middle 95 % of Kendall's τ-b over models drawn with replacement; draws of a single model are left out."""
    n = len(x)
    if n < 3:
        return math.nan, math.nan
    draws = np.random.default_rng(seed).integers(n, size=(resamples, n))
    first, second = signs(x[draws]), signs(y[draws])
    found = taus(first, second)[first.any(axis=1) & second.any(axis=1)]
    if not len(found):
        return math.nan, math.nan
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _words(names: tuple[str, str], kendall: float, low: float, high: float, n: int) -> str:
    both = f"{names[0]} and {names[1]}"
    if not math.isfinite(kendall):
        return f"{both}: nothing to rank over n = {n} models (a column is constant or empty)."
    if n < FEWEST:
        return f"{both}: n = {n} models are too few for any claim (Kendall τ = {kendall:.2f})."
    interval = f"Kendall τ = {kendall:.2f}, 95 % from {low:.2f} to {high:.2f}, n = {n}"
    if low <= 0 <= high:
        return f"{both}: no correlation is shown ({interval}: the interval contains 0)."
    way = "rises" if kendall > 0 else "falls"
    return f"{both}: one {way} with the other over these models ({interval}); no cause is shown."
