r"""How many samples are seen at every anchor? A first phase of them, and all at the few anchors that tell the most.

Where there are thousands of samples, seeing all N of them at every anchor would be most of a run. So a *first phase* S
of n samples is seen at every anchor, and all only at some: two-phase sampling (J. Neyman, "Contribution to the theory
of sampling human populations", JASA 33, 1938). What the losses x at those few say of the losses y at another anchor is
known from S, which gives the mean of all by regression (C.-E. Särndal, B. Swensson, J. Wretman, "Model Assisted Survey
Sampling", 1992, sections 6.4 and 6.6), with its standard error:

.. math::

    \hat y = \bar y_S + B \, (\bar x - \bar x_S), \qquad
    s^2 = \Big(\frac{1}{n} - \frac{1}{N}\Big) \frac{1}{n} \sum_{i ∈ S} \Big(\frac{e_i}{1 - h_i}\Big)^2,

with e the residuals and h their leverage, so that a sample is judged by what the others say of it (the jackknife). All
are seen at the anchor that lowers these errors most, then at the next, until they are within a part of the tolerance.
"""

from __future__ import annotations

import numpy as np

from lossatlas.objective.part import logarithms
from lossatlas.sampling.balance import standardised, whitened
from lossatlas.sampling.correction import NORMAL, Means, in_pictures

__all__ = ["FEWEST", "PART", "SHARE", "first_phase", "means_of_all", "wholly_seen"]

FEWEST = 2000
"""Samples of a first phase, at least: a few hundred do not say how heavy the tails of the losses are."""

SHARE = 8
"""One sample in so many is in the first phase: the anchors then cost as much in both phases."""

PART = 0.5
"""Share of the tolerance that the means of the anchors may take; squares add, so 87 % are left for the subset."""


def first_phase(total: int, seed: int, least: int = 0) -> np.ndarray | None:
    """The samples that are seen at every anchor.

    Args:
        total: number of all samples.
        seed: of the choice.
        least: the smallest number that will do.

    Returns:
        int64 [n], increasing, one of every stretch of the data, drawn at random; None if they are more than half.

    Example:
        >>> first_phase(50_000, 0).shape, first_phase(8_000, 0).shape, first_phase(3_000, 0)
        ((6250,), (2000,), None)
    """
    count = max(FEWEST, total // SHARE, least)
    if 2 * count > total:
        return None
    ends = np.arange(count + 1) * total // count
    drawn = np.random.default_rng([seed, count]).random(count)  # every n-th would see one class of classes in turn
    return np.asarray(ends[:-1] + np.floor(drawn * np.diff(ends)).astype(np.int64))


def wholly_seen(losses: np.ndarray, total: int, tolerance: float, first: int | None = None) -> np.ndarray:
    """The anchors at which all samples are to be seen.

    Args:
        losses: float64 [A, n], of the first phase, finite.
        total: number of all samples.
        tolerance: of the picture, as a share of its range.
        first: an anchor that is among them anyway, such as the trained network.

    Returns:
        int64 [k], increasing; all A if that is what it takes.

    Example:
        >>> random = np.random.default_rng(0)
        >>> losses = 1 + np.arange(6)[:, None] + random.exponential(size=(2000)) + random.uniform(0, 0.1, (6, 2000))
        >>> wholly_seen(losses, 8000, 0.02, first=3).tolist()
        [3]
    """
    (anchors, count), means = losses.shape, losses.mean(axis=1)
    left = np.cov(np.concatenate([losses, logarithms(losses)]))
    chosen: list[int] = []
    while len(chosen) < anchors:
        variances = np.maximum(np.diag(left)[:anchors], 0) * count / max(count - 1 - 2 * len(chosen), 1)
        shares = in_pictures(means, NORMAL * np.sqrt(variances * _rest(count, total)))
        shares[chosen] = 0.0
        if (shares <= PART * tolerance).all() and (chosen or first is None):
            break
        best = first if first is not None and not chosen else _most_telling(left, shares, chosen)
        chosen.append(best)
        left = left - _told(left, best)
    return np.sort(np.array(chosen, np.int64))


def means_of_all(table: np.ndarray, whole: np.ndarray, rest: np.ndarray) -> Means:
    """The means of all samples, where all were seen, and by regression on those where only a first phase was.

    Args:
        table: float64 [A, n, values], of the first phase.
        whole: int64 [k], anchors at which all were seen.
        rest: float64 [k, N - n, values], of the other samples there.

    Returns:
        The means and their standard errors.

    Example:
        >>> values = np.random.default_rng(0).exponential(size=4000) * np.array([[1.0], [2.0], [3.0]])
        >>> found = means_of_all(values[:, :2000, None], np.array([1]), values[1:2, 2000:, None])
        >>> bool(np.allclose(found.values[:, 0], values.mean(axis=1))), found.errors.round(6).ravel().tolist()
        (True, [0.0, 0.0, 0.0])
    """
    count, total = table.shape[1], table.shape[1] + rest.shape[1]
    values, errors = table.mean(axis=1), np.zeros((len(table), table.shape[2]))
    other = np.setdiff1d(np.arange(len(table)), whole)
    full = np.concatenate([table[whole], rest], axis=1)
    for column in range(table.shape[2]):
        variables = _variables(full, column)
        seen = variables[:count] - variables[:count].mean(axis=0)
        inverse = np.linalg.pinv(seen.T @ seen, rcond=1e-10, hermitian=True)
        own = table[other, :, column] - values[other, column, None]
        slopes = own @ seen @ inverse
        leverage = 1 / count + np.einsum("ij,jk,ik->i", seen, inverse, seen)
        residuals = (own - slopes @ seen.T) / np.maximum(1 - leverage, 1 / count)
        values[other, column] -= slopes @ variables[:count].mean(axis=0)
        errors[other, column] = np.sqrt((residuals**2).mean(axis=1) * _rest(count, total))
        values[whole, column] = full[:, :, column].mean(axis=1)
    return Means(total, values, errors)


def _variables(full: np.ndarray, column: int) -> np.ndarray:
    """What is known of every sample, float64 [N, p], centred: its losses where all were seen, and the column itself."""
    rows = [standardised(full[:, :, 0]), standardised(logarithms(full[:, :, 0]))]
    if column:
        rows.append(standardised(full[:, :, column]))
    return whitened(np.concatenate(rows)).astype(float)


def _told(left: np.ndarray, anchor: int) -> np.ndarray:
    """What the loss at an anchor, and its logarithm, say of the covariance that is left."""
    own = [anchor, anchor + len(left) // 2]
    both = left[:, own]
    return np.asarray(both @ np.linalg.pinv(both[own], rcond=1e-9, hermitian=True) @ both.T)


def _most_telling(left: np.ndarray, shares: np.ndarray, chosen: list[int]) -> int:
    """The anchor that lowers the sum of the squared shares most."""
    variances = np.maximum(np.diag(left)[: len(shares)], np.finfo(float).tiny)
    lowered = [
        -1.0 if anchor in chosen else float(shares**2 @ (np.diag(_told(left, anchor))[: len(shares)] / variances))
        for anchor in range(len(shares))
    ]
    return int(np.argmax(lowered))


def _rest(count: int, total: int) -> float:
    return 1 / count - 1 / total
