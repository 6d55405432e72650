r"""Which smooth surface goes through the evaluated cells, and what would it predict for each if that one were unknown?

The values, or their logarithms where these are predicted better, are interpolated by a cubic radial-basis spline with a
quadratic part. Points that are held out need no second fit: with A the system of the spline and c its coefficients, the
residuals of a group of points B that is left out together solve :math:`(A^{-1})_{BB} \, r_B = c_B`, for one point
:math:`c_i / (A^{-1})_{ii}` (S. Rippa, Adv. Comput. Math. 11, 1999).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

__all__ = ["Guess", "Spline", "cubes", "farthest"]

DECADES = 300.0

TELLS = 1e-12
"""Share of the largest singular value: a smaller one is zero up to rounding, and points left out cannot be
predicted."""


class Spline:
    """The cubic radial-basis spline through some points; one factorisation serves all values.

    Args:
        points: float64 [n, axes].
    """

    def __init__(self, points: np.ndarray) -> None:
        import scipy.linalg

        self.points = points
        self._terms = _terms(points)
        tail, count = self._tail(points), len(points)
        system = np.zeros((count + tail.shape[1],) * 2)
        system[:count, :count] = cubes(points, points)
        system[:count, count:], system[count:, :count] = tail, tail.T
        inverse = scipy.linalg.inv(system, check_finite=False)
        self._columns, self._inverse = inverse[:, :count], inverse[:count, :count]

    def coefficients(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The coefficients of the spline through some values, and the residual of every point that was held out.

        Args:
            values: float64 [n].

        Returns:
            The coefficients, and the residuals, float64 [n]: NaN where the other points do not determine the quadratic
            part, as when all of them lie on two lines, so that nothing predicts the value.
        """
        found, own = self._columns @ values, np.diag(self._inverse)
        told = np.abs(own) > TELLS * np.abs(own).max()
        return found, np.divide(found[: len(values)], own, out=np.full(len(values), np.nan), where=told)

    def left_out(self, coefficients: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """The residuals of groups of points, each group left out together.

        Args:
            coefficients: of the spline through all points.
            groups: int64 [groups, k], positions of points.

        Returns:
            float64 [groups, k]; NaN for a group without which the others do not determine the quadratic part.
        """
        blocks = self._inverse[groups[:, :, None], groups[:, None, :]]
        sizes = np.linalg.svd(blocks, compute_uv=False)
        told = sizes[:, -1] > TELLS * sizes[:, 0]
        found = np.full(groups.shape, np.nan)
        found[told] = np.linalg.solve(blocks[told], coefficients[groups[told]][..., None])[..., 0]
        return found

    def at(self, cells: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """The spline at some cells, float64 [cells]."""
        count = len(self.points)
        parts = np.array_split(cells, max(1, len(cells) * count // 4_000_000))
        rows = (cubes(part, self.points) @ coefficients[:count] for part in parts)
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
    """One way to interpolate: the values of any cell, and of the evaluated ones as if they were unknown.

    Args:
        spline: through which points.
        values: at them.
        heights: what the spline goes through.
        back: values from these.
    """

    def __init__(
        self, spline: Spline, values: np.ndarray, heights: np.ndarray, back: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        self._spline, self._back, self._heights, self._values = spline, back, heights, values
        self._bounds = float(values.min()), float(values.max())
        self._coefficients, residuals = spline.coefficients(heights)
        self.held_out = self._valued(heights - residuals, values)

    def at(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The values at some cells within the range that was seen, and even beyond it, float64 [cells] each."""
        unbounded = np.asarray(self._back(self._spline.at(cells, self._coefficients)))
        return np.clip(unbounded, *self._bounds), unbounded

    def left_out(self, groups: np.ndarray) -> np.ndarray:
        """The values at the points of each group if the whole group were unknown, float64 [groups, k]."""
        return self._valued(
            self._heights[groups] - self._spline.left_out(self._coefficients, groups), self._values[groups]
        )

    def _valued(self, heights: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values from heights; where nothing predicts one, the worst guess among all that was seen."""
        low, high = self._bounds
        return np.where(np.isnan(heights), farthest(values, self._bounds), np.clip(self._back(heights), low, high))


def cubes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The third power of every distance between two sets of points.

    Args:
        a: float64 [n, axes].
        b: float64 [m, axes].

    Returns:
        float64 [n, m].

    Example:
        >>> cubes(np.array([[0.0]]), np.array([[1.0], [-2.0]])).tolist()
        [[1.0, 8.0]]
    """
    squares = np.zeros((len(a), len(b)))
    for left, right in zip(a.T, b.T, strict=True):
        squares += (left[:, None] - right[None]) ** 2
    return np.asarray(squares * np.sqrt(squares))


def farthest(values: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """The worst guess of each value if nothing predicts it: the end of the seen range that is farthest off.

    Args:
        values: float64, of any shape.
        bounds: the smallest and the largest value that was seen.

    Returns:
        One of the bounds for each value.

    Example:
        >>> farthest(np.array([0.0, 2.0, 6.0]), (0.0, 6.0)).tolist()
        [6.0, 6.0, 0.0]
    """
    low, high = bounds
    return np.where(values - low > high - values, low, high)


def _as_it_is(heights: np.ndarray) -> np.ndarray:
    return heights


def _from_logarithm(heights: np.ndarray) -> np.ndarray:
    return np.asarray(10.0 ** np.clip(heights, -DECADES, DECADES))


def _terms(points: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """Powers of the polynomial part: quadratic, or as much of that as the points determine."""
    axes = points.shape[1]
    units = [tuple(int(i == axis) for i in range(axes)) for axis in range(axes)]
    squares = [tuple(np.add(units[i], units[j]).tolist()) for i in range(axes) for j in range(i, axes)]
    for terms in ([(0,) * axes, *units, *squares], [(0,) * axes, *units]):
        columns = np.stack([np.prod((points - 0.5) ** powers, axis=1) for powers in terms], axis=1)
        if np.linalg.matrix_rank(columns) == len(terms) < len(points):
            return tuple(terms)
    return ((0,) * axes,)
