r"""What are the values between evaluated cells, and how wrong may they be?

The values, or their logarithms where these are foretold better, are interpolated by a cubic radial-basis spline with a
quadratic part. Every evaluated cell is held out in turn (a closed form: the residual of point i is
:math:`c_i / (A^{-1})_{ii}`; S. Rippa, Adv. Comput. Math. 11, 1999), which gives an honest error e_i at each of them, as
it would be seen on a picture: after its logarithm and clip. The error stated for another cell x is

.. math:: κ \, s(x) \, P(x)^β, \qquad s(x) = \Big(\sum_j w_j \sqrt{e_j / P_j^β}\Big)^2,

with P(x) the size of the hole that x lies in (:mod:`lossatlas.sampling.holes`), P_j the size of the hole that holding
out point j leaves, and j the nearest evaluated cells. κ is a high quantile (``COVERED``) of what the same formula,
applied to every held-out cell, would have needed. Both κ and the weights count a point by the number of cells without
a value around it: points that crowd along a cliff say nothing of the plain beyond, where most cells are.

Nothing depends on the order in which points were evaluated: the same points always give the same estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import scipy.linalg
from scipy.spatial import KDTree

from lossatlas.sampling import holes

__all__ = [
    "AROUND",
    "COVERED",
    "DECADES",
    "FLOOR",
    "GROWS",
    "NEIGHBOURS",
    "ROUNDING",
    "AsIs",
    "Estimate",
    "Guess",
    "Show",
    "Shown",
    "Spline",
    "estimate",
    "fewest",
    "held_out",
    "places",
    "quantile",
]

NEIGHBOURS = 20
"""Held-out errors that are averaged around a place."""

AROUND = 10
"""Evaluated cells by which the size of a hole is known."""

GROWS = 0.9
"""β: how the error grows with the size of a hole. Smooth surfaces have up to 2.5, where the error stated is careful."""

COVERED = 0.95
FLOOR = 0.1
"""Share of the median scale that no place goes below: a few neighbours may agree by chance."""

ROUNDING = 1e-9
DECADES = 300.0


class Shown(Protocol):
    """What a picture makes of values, such as :class:`lossatlas.figure.ranges.Range`."""

    @property
    def limits(self) -> tuple[float, float]:
        """Heights of the smallest and of the largest value shown."""
        ...

    def heights(self, values: np.ndarray) -> np.ndarray:
        """Heights of values."""
        ...


Show = Callable[[np.ndarray], Shown]
"""Chooses how some values are shown."""


class AsIs:
    """A picture whose heights are the values, so that errors have their unit."""

    limits = (0.0, 1.0)

    def __init__(self, values: np.ndarray) -> None:
        """Every value is shown alike."""

    def heights(self, values: np.ndarray) -> np.ndarray:
        """The values."""
        return np.asarray(values, float)


@dataclass(frozen=True)
class Estimate:
    """What is known of every cell.

    Attributes:
        values: float64 [cells], interpolated; exact at the evaluated cells.
        errors: float64 [cells], stated error as a share of the shown range; 0 at the evaluated cells.
        distances: float64 [cells], distance to the nearest evaluated cell.
        doubt: at least 1: by how much larger the errors would be, had the less favourable half of the held-out cells
            set κ. Who stops as soon as the errors are small should ask for this too, else luck stops early.
    """

    values: np.ndarray
    errors: np.ndarray
    distances: np.ndarray
    doubt: float


def places(shape: tuple[int, ...]) -> np.ndarray:
    """The cells of a grid as points of a cube with sides of length 1, float64 [cells, axes], in C order.

    Returns:
        A row for each cell.

    Example:
        >>> places((2, 3)).tolist()
        [[0.0, 0.0], [0.0, 0.5], [0.0, 1.0], [1.0, 0.0], [1.0, 0.5], [1.0, 1.0]]
    """
    sides = [np.arange(length) / max(length - 1, 1) for length in shape]
    return np.stack([side.ravel() for side in np.meshgrid(*sides, indexing="ij")], axis=1)


def fewest(axes: int) -> int:
    """The number of evaluated cells that an estimate needs.

    Returns:
        The number.

    Example:
        >>> [fewest(axes) for axes in (1, 2, 3)]
        [5, 8, 12]
    """
    return (axes + 1) * (axes + 2) // 2 + 2


def estimate(
    cells: np.ndarray, known: np.ndarray, values: np.ndarray, show: Show = AsIs, *, reach: float = np.inf
) -> Estimate:
    """Interpolate between evaluated cells.

    Args:
        cells: float64 [cells, axes], see :func:`places`.
        known: int64 [n], which of them were evaluated; at least :func:`fewest`.
        values: float64 [n], finite.
        show: how the values of all cells are shown. Left out, errors have the unit of the values.
        reach: size of a hole beyond which the error no longer grows, in holes that held-out cells leave; for values
            that bend more often than they were evaluated.

    Returns:
        Values and stated errors of all cells.

    Example:
        >>> cells = places((21,))
        >>> known = np.arange(0, 21, 4)
        >>> found = estimate(cells, known, np.sin(2 * cells[known, 0]))
        >>> bool(np.abs(found.values - np.sin(2 * cells[:, 0])).max() < 0.01)
        True
    """
    order = np.argsort(known)  # among cells that are equally near, the order decides
    known, values = known[order], values[order]
    spline = Spline(cells[known])
    first = show(values)
    guess = min(spline.guesses(values), key=lambda guess: float(np.sqrt(_apart(first, guess.held_out, values)).mean()))
    filled = guess.at(cells)
    filled[known] = values
    shown = show(filled)
    found = _errors(cells, spline.points, _apart(shown, guess.held_out, values), reach)
    found.errors[known] = 0.0
    return replace(found, values=filled)


def held_out(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """By how much the spline through the other points misses each point, float64 [n].

    Returns:
        An error for each point.

    Example:
        >>> line = np.linspace(0, 1, 6)[:, None]
        >>> bool(np.abs(held_out(line, 3 * line[:, 0])).max() < 1e-9)
        True
    """
    return Spline(points).coefficients(values)[1]


class Spline:
    """The cubic radial-basis spline through some points; one factorisation serves all values.

    Args:
        points: float64 [n, axes].
    """

    def __init__(self, points: np.ndarray) -> None:
        self.points = points
        self._terms = _terms(points)
        tail, count = self._tail(points), len(points)
        system = np.zeros((count + tail.shape[1],) * 2)
        system[:count, :count] = _cubes(points, points)
        system[:count, count:], system[count:, :count] = tail, tail.T
        inverse = scipy.linalg.inv(system, check_finite=False)
        self._columns, self._diagonal = inverse[:, :count], np.diag(inverse)[:count]

    def coefficients(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The coefficients of the spline through some values, and the residual of every point that was held out."""
        found = self._columns @ values
        return found, found[: len(values)] / self._diagonal

    def at(self, cells: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """The spline at some cells, float64 [cells]."""
        count = len(self.points)
        parts = np.array_split(cells, max(1, len(cells) * count // 4_000_000))
        rows = (_cubes(part, self.points) @ coefficients[:count] for part in parts)
        return np.asarray(np.concatenate(list(rows)) + self._tail(cells) @ coefficients[count:])

    def guesses(self, values: np.ndarray) -> Iterator[Guess]:
        """The ways to interpolate these values: as they are, and by their logarithms where there are any."""
        yield Guess(self, values, values, _as_it_is)
        if values.min() > 0:
            yield Guess(self, values, np.log10(values), _from_logarithm)

    def _tail(self, places: np.ndarray) -> np.ndarray:
        centred = places - 0.5
        return np.stack([np.prod(centred**powers, axis=1) for powers in self._terms], axis=1)


class Guess:
    """One way to interpolate: values of any cell, and of the evaluated ones were they not known.

    Args:
        spline: through which points.
        values: at them.
        heights: what the spline goes through.
        back: values from these.
    """

    def __init__(
        self, spline: Spline, values: np.ndarray, heights: np.ndarray, back: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        self._spline, self._back = spline, back
        self._bounds = float(values.min()), float(values.max())
        self._coefficients, residuals = spline.coefficients(heights)
        self.held_out = self._valued(heights - residuals)

    def at(self, cells: np.ndarray) -> np.ndarray:
        """The values at some cells, never beyond what was seen, float64 [cells]."""
        return self._valued(self._spline.at(cells, self._coefficients))

    def _valued(self, heights: np.ndarray) -> np.ndarray:
        low, high = self._bounds
        return np.asarray(np.clip(self._back(heights), low, high))


def _as_it_is(heights: np.ndarray) -> np.ndarray:
    return heights


def _from_logarithm(heights: np.ndarray) -> np.ndarray:
    return np.asarray(10.0 ** np.clip(heights, -DECADES, DECADES))


def _terms(points: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """Powers of the polynomial part: quadratic, or as much of that as the points tell apart."""
    axes = points.shape[1]
    units = [tuple(int(i == axis) for i in range(axes)) for axis in range(axes)]
    squares = [tuple(np.add(units[i], units[j]).tolist()) for i in range(axes) for j in range(i, axes)]
    for terms in ([(0,) * axes, *units, *squares], [(0,) * axes, *units]):
        columns = np.stack([np.prod((points - 0.5) ** powers, axis=1) for powers in terms], axis=1)
        if np.linalg.matrix_rank(columns) == len(terms) < len(points):
            return tuple(terms)
    return ((0,) * axes,)


def _cubes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = np.zeros((len(a), len(b)))
    for left, right in zip(a.T, b.T, strict=True):
        squares += (left[:, None] - right[None]) ** 2
    return np.asarray(squares * np.sqrt(squares))


def _apart(shown: Shown, guesses: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How far guesses are from values on a picture, as a share of its range."""
    low, high = shown.limits
    return np.asarray(np.abs(shown.heights(guesses) - shown.heights(values)) / max(high - low, np.finfo(float).tiny))


def _errors(cells: np.ndarray, points: np.ndarray, wrong: np.ndarray, reach: float) -> Estimate:
    """Stated errors of all cells, from the held-out errors of the points."""
    tree, count = KDTree(points), len(points)
    most = min(max(NEIGHBOURS, AROUND), count - 1)
    distances, others = tree.query(cells, k=most)
    own_distances, own_others = tree.query(points, k=most + 1)
    nothing = Estimate(values=np.empty(0), errors=np.zeros(len(cells)), distances=distances[:, 0], doubt=1.0)
    here = _sizes(cells, points, others)
    left = _sizes(points, points, own_others[:, 1:])
    widest = reach**1.5 * float(np.median(left)) if np.isfinite(reach) else np.inf
    here, left = np.minimum(here, widest) ** GROWS, np.minimum(left, widest) ** GROWS
    area = np.bincount(others[distances[:, 0] > 0, 0], minlength=count).astype(float)
    if not area.any():
        return nothing
    scale = _Scale(wrong / left, area)
    needed = wrong / (scale.around(own_distances[:, 1:], own_others[:, 1:]) * left + ROUNDING)
    factor = quantile(needed, area, COVERED)
    errors = factor * scale.around(distances, others) * here + ROUNDING
    return replace(nothing, errors=errors, doubt=_doubt(needed, area, factor))


def _doubt(needed: np.ndarray, area: np.ndarray, factor: float) -> float:
    order = np.random.default_rng(len(needed)).permutation(len(needed))
    halves = (order[0::2], order[1::2])
    return max(1.0, *(quantile(needed[half], area[half], COVERED) / (factor + ROUNDING) for half in halves))


def _sizes(places: np.ndarray, points: np.ndarray, others: np.ndarray) -> np.ndarray:
    return holes.sizes(places, points, others[:, :AROUND])


class _Scale:
    """Held-out error for a hole of size 1, averaged around any place."""

    def __init__(self, scales: np.ndarray, area: np.ndarray) -> None:
        self._roots = np.sqrt(scales)
        self._shares = np.minimum(area / area.mean(), 1.0) + 1e-3
        self._floor = FLOOR * quantile(scales, area, 0.5)

    def around(self, distances: np.ndarray, others: np.ndarray) -> np.ndarray:
        distances, others = distances[:, :NEIGHBOURS], others[:, :NEIGHBOURS]
        weights = self._shares[others] / (distances / distances.mean(axis=1, keepdims=True) + 0.3)
        # The mean of roots, squared: one wild neighbour counts, but not for everything around it.
        local = ((weights * self._roots[others]).sum(axis=1) / weights.sum(axis=1)) ** 2
        return np.asarray(np.hypot(local, self._floor))


def quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    """The smallest value that is not below ``share`` of the weight.

    Returns:
        One of the values.

    Example:
        >>> quantile(np.array([3.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0]), 0.95)
        2.0
    """
    order = np.argsort(values, kind="stable")
    weight = np.cumsum(weights[order])
    return float(values[order][min(int(np.searchsorted(weight, share * weight[-1])), len(values) - 1)])
