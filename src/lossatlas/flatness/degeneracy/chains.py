r"""Can a Markov chain be trusted? R-hat, effective sample size, Monte Carlo error.

The formulas of Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), Rank-normalization, folding, and localization: an
improved R-hat, arXiv 1903.08008: chains are split in halves, so that a drift counts as disagreement; ranks are
normalised, so that heavy tails count too. They are implemented here, and tested against ``arviz-stats``, because no
estimate is given without them, and that package needs a newer NumPy than this one does.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.stats

__all__ = ["effective", "mean_error", "r_hat"]

FEWEST = 8
"""With fewer draws per chain than this, nothing is reported."""


def r_hat(draws: np.ndarray) -> float:
    r"""How much chains disagree: the larger of the bulk's and the tail's rank-normalised split R-hat.

    1 if all chains have found the same distribution; a careful analysis asks for at most 1.01.

    Args:
        draws: float64 [chains, n].

    Returns:
        R-hat; NaN where there are too few draws, or one is not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> same = rng.normal(size=(4, 500))
        >>> round(r_hat(same), 2), r_hat(same + [[0], [0], [0], [3]]) > 1.4
        (1.0, True)
    """
    if not _usable(draws):
        return math.nan
    halves = _split(draws)
    return max(_plain(_normal(halves)), _plain(_normal(np.abs(halves - np.median(halves)))))


def effective(draws: np.ndarray, *, ranked: bool = True) -> float:
    r"""How many independent draws the correlated draws of the chains are worth, for the bulk.

    .. math:: \frac{M N}{-1 + 2 \sum_t P_t}

    with :math:`P_t` the sums of two neighbouring autocorrelations, as long as they are positive, made decreasing
    (Geyer 1992).

    Args:
        draws: float64 [chains, n].
        ranked: of normalised ranks, which heavy tails do not spoil; otherwise of the values, for the error of a mean.

    Returns:
        The effective number; NaN where there are too few draws, or one is not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> 1500 < effective(rng.normal(size=(4, 500))) < 2500
        True
    """
    if not _usable(draws):
        return math.nan
    halves = _split(draws)
    values = _normal(halves) if ranked else halves
    length = values.shape[1]
    if float(values.std()) == 0:
        return float(values.size)
    within = float(values.var(axis=1, ddof=1).mean())
    between = float(values.mean(axis=1).var(ddof=1))
    total = within * (length - 1) / length + between
    lags = np.mean([_autocovariance(row) for row in values], axis=0)
    correlation = 1 - (within - lags) / total
    correlation[0] = 1.0
    pairs = correlation[: length - length % 2].reshape(-1, 2).sum(axis=1)
    last = int(np.argmax(pairs <= 0)) if bool((pairs <= 0).any()) else len(pairs)
    kept = np.minimum.accumulate(pairs[:last])
    following = max(float(correlation[2 * last]), 0.0) if 2 * last < length else 0.0
    time = max(-1 + 2 * float(kept.sum()) + following, 1 / math.log10(values.size))
    return float(values.size / time)


def mean_error(draws: np.ndarray) -> float:
    """The Monte Carlo standard error of the mean of all draws.

    Args:
        draws: float64 [chains, n].

    Returns:
        The error; NaN where it cannot be determined.
    """
    return float(np.std(draws, ddof=1) / math.sqrt(effective(draws, ranked=False))) if _usable(draws) else math.nan


def _usable(draws: np.ndarray) -> bool:
    return draws.ndim == 2 and draws.shape[1] >= FEWEST and bool(np.isfinite(draws).all())


def _split(draws: np.ndarray) -> np.ndarray:
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def _normal(values: np.ndarray) -> np.ndarray:
    ranks = scipy.stats.rankdata(values).reshape(values.shape)
    return np.asarray(scipy.stats.norm.ppf((ranks - 0.375) / (values.size + 0.25)))


def _plain(values: np.ndarray) -> float:
    length = values.shape[1]
    within = float(values.var(axis=1, ddof=1).mean())
    between = float(values.mean(axis=1).var(ddof=1))
    if within == 0:
        return 1.0 if between == 0 else math.inf
    return math.sqrt((length - 1) / length + between / within)


def _autocovariance(row: np.ndarray) -> np.ndarray:
    size = 2 ** math.ceil(math.log2(2 * len(row)))
    spectrum = np.fft.rfft(row - row.mean(), size)
    return np.asarray(np.fft.irfft(spectrum * np.conj(spectrum), size)[: len(row)] / len(row))
