r"""What are the values between evaluated cells, and how wrong may they be?

The values are interpolated by a cubic radial-basis spline with a linear part. Every evaluated cell is held out in turn
(a closed form: the residual of point i is :math:`c_i / (A^{-1})_{ii}`), which gives an honest error at each of them.
The error stated for another cell is

.. math:: κ \, s \, d, \qquad s = \Big(\sum_j w_j \sqrt{e_j / h_j}\Big)^2

with d the distance to the nearest evaluated cell, e_j the held-out errors of the nearest evaluated cells and h_j how
far apart the cells are there. κ is a high quantile (``COVERED``) of what the same formula, applied to each held-out
cell, would have needed: it is calibrated on errors that were seen, not on the spline's own residual, which is zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.spatial import KDTree

NEIGHBOURS = 12
COVERED = 0.95
FLOOR = 0.5
"""Share of the median held-out error per distance that no place goes below: a few neighbours may agree by chance."""

ROUNDING = 1e-9


@dataclass(frozen=True)
class Estimate:
    """What is known of every cell.

    Attributes:
        values: float64 [cells], interpolated; exact at the evaluated cells.
        errors: float64 [cells], stated error in the unit of the values; 0 at the evaluated cells.
        distances: float64 [cells], distance to the nearest evaluated cell.
    """

    values: np.ndarray
    errors: np.ndarray
    distances: np.ndarray


def places(shape: tuple[int, ...]) -> np.ndarray:
    """The cells of a grid as points of a cube with sides of length 1, float64 [cells, axes], in C order.

    Example:
        >>> places((2, 3)).tolist()
        [[0.0, 0.0], [0.0, 0.5], [0.0, 1.0], [1.0, 0.0], [1.0, 0.5], [1.0, 1.0]]
    """
    sides = [np.arange(length) / max(length - 1, 1) for length in shape]
    return np.stack([side.ravel() for side in np.meshgrid(*sides, indexing="ij")], axis=1)


def estimate(cells: np.ndarray, known: np.ndarray, values: np.ndarray, *, reach: float = np.inf) -> Estimate:
    """Interpolate between evaluated cells.

    Args:
        cells: float64 [cells, axes], see :func:`places`.
        known: int64 [n], which of them were evaluated; more than the number of axes plus 2.
        values: float64 [n], finite.
        reach: distance from an evaluated cell beyond which the error no longer grows, in distances between evaluated
            cells; for values that bend more often than they were evaluated.

    Returns:
        Values and stated errors of all cells.

    Example:
        >>> cells = places((21,))
        >>> known = np.arange(0, 21, 4)
        >>> found = estimate(cells, known, np.sin(2 * cells[known, 0]))
        >>> bool(np.abs(found.values - np.sin(2 * cells[:, 0])).max() < 0.01)
        True
    """
    points = cells[known]
    spline, wrong = _spline(points, values, cells)
    low, high = float(values.min()), float(values.max())
    tree = KDTree(points)
    near, _ = tree.query(points, k=min(1 + 2 * cells.shape[1], len(points)))
    far = reach * float(np.median(near[:, 1]))
    rates = np.abs(wrong) / np.minimum(near[:, 1:].mean(axis=1), far)
    distances, others = tree.query(cells, k=min(NEIGHBOURS, len(points)))
    indicator = _indicator(rates, distances, others, far)
    own_distances, own_others = tree.query(points, k=min(NEIGHBOURS + 1, len(points)))
    own = _indicator(rates, own_distances[:, 1:], own_others[:, 1:], far)
    tiny = ROUNDING * (high - low) + np.finfo(float).tiny
    factor = float(np.quantile(np.abs(wrong) / (own + tiny), COVERED))
    errors = factor * indicator + ROUNDING * (high - low)
    filled = np.clip(spline, low, high)
    filled[known], errors[known] = values, 0.0
    return Estimate(values=filled, errors=errors, distances=distances[:, 0])


def held_out(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """By how much the spline through the other points misses each point, float64 [n].

    Example:
        >>> line = np.linspace(0, 1, 6)[:, None]
        >>> bool(np.abs(held_out(line, 3 * line[:, 0])).max() < 1e-9)
        True
    """
    return _spline(points, values, points[:1])[1]


def _spline(points: np.ndarray, values: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The spline at all cells, and the residual of every point that was held out."""
    count = len(points)
    linear = np.hstack([np.ones((count, 1)), points - 0.5])
    system = np.zeros((count + linear.shape[1],) * 2)
    system[:count, :count] = _distances(points, points) ** 3
    system[:count, count:], system[count:, :count] = linear, linear.T
    inverse = scipy.linalg.inv(system, check_finite=False)
    weights = inverse[:, :count] @ values
    spline = np.concatenate(
        [
            _distances(part, points) ** 3 @ weights[:count]
            + np.hstack([np.ones((len(part), 1)), part - 0.5]) @ weights[count:]
            for part in np.array_split(cells, max(1, len(cells) * count // 4_000_000))
        ]
    )
    return spline, weights[:count] / np.diag(inverse)[:count]


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=-1)))


def _indicator(rates: np.ndarray, distances: np.ndarray, others: np.ndarray, far: float) -> np.ndarray:
    """Held-out error per distance of the neighbours, times the distance to the nearest of them."""
    weights = 1.0 / (distances / distances.mean(axis=1, keepdims=True) + 0.3)
    # The mean of roots, squared: one wild neighbour counts, but not for everything around it.
    local = ((weights * np.sqrt(rates[others])).sum(axis=1) / weights.sum(axis=1)) ** 2
    return np.asarray(np.hypot(local, FLOOR * np.median(rates)) * np.minimum(distances[:, 0], far))
