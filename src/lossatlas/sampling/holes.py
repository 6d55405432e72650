r"""How far is a place from what was evaluated: how wrong may a spline be there for geometric reasons alone?

Distance to the nearest evaluated cell would say little about a place at the edge, or on a line between two cells. The
size of a hole is the power function of the cubic spline through the nearest evaluated cells,

.. math:: P(x)^2 = |v^T S^{-1} v|, \qquad S = \begin{pmatrix} Φ & T \\ T^T & 0 \end{pmatrix}, \; Φ_{jk} = |x_j - x_k|^3,

with T the constant and linear terms and v the row that S would have for x. Up to a factor, it is the standard deviation
that kriging with this kernel gives, and grows with the distance h as :math:`h^{3/2}`. Source: R. Schaback, "Error
estimates and condition numbers for radial basis function interpolation", Adv. Comput. Math. 3, 1995.
"""

from __future__ import annotations

import numpy as np

from lossatlas.sampling.spline import cubes

__all__ = ["BATCH", "ROUNDING", "sizes"]

ROUNDING = 1e-9
BATCH = 10_000
"""Places whose small systems are solved at once."""


def sizes(places: np.ndarray, points: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """The size of the hole around each place, float64 [m].

    Args:
        places: float64 [m, axes].
        points: float64 [n, axes], the evaluated cells.
        nearest: int64 [m, k], which of the points are taken into account at each place.

    Returns:
        Sizes, 0 on a point; multiplied by :math:`s^{3/2}` where all distances are multiplied by s.

    Example:
        >>> points = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> found = sizes(np.array([[1.5], [1.1], [4.0]]), points, np.array([[0, 1, 2, 3]] * 3))
        >>> bool(found[1] < found[0] < found[2])
        True
    """
    parts, between = range(0, len(places), BATCH), cubes(points, points)
    return np.concatenate([_sizes(places[i : i + BATCH], points, nearest[i : i + BATCH], between) for i in parts])


def _sizes(places: np.ndarray, points: np.ndarray, nearest: np.ndarray, between: np.ndarray) -> np.ndarray:
    """The same for some places, where ``between`` are the third powers of the distances between all points."""
    (count, k), terms = nearest.shape, 1 + points.shape[1]
    away = points[nearest] - places[:, None]
    distances = np.sqrt((away**2).sum(axis=-1))
    unit = np.maximum(distances.mean(axis=1), np.finfo(float).tiny)
    away, distances = away / unit[:, None, None], distances / unit[:, None]
    system = np.zeros((count, k + terms, k + terms))
    system[:, :k, :k] = between[nearest[:, :, None], nearest[:, None]] / (unit**3)[:, None, None]
    system[:, :k, k] = system[:, k, :k] = 1.0
    system[:, :k, k + 1 :] = away
    system[:, k + 1 :, :k] = away.transpose(0, 2, 1)
    system[:, range(k, k + terms), range(k, k + terms)] = -ROUNDING  # neighbours on one line have no slope across it
    row = np.zeros((count, k + terms))
    row[:, :k], row[:, k] = distances * distances * distances, 1.0
    solved = np.linalg.solve(system, row[..., None])[..., 0]
    return np.asarray(np.sqrt(np.abs((solved * row).sum(axis=1))) * unit**1.5)
