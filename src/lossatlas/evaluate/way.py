"""What is evaluated at points? The protocol that values, standard errors, samples and curvature all follow."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from lossatlas.results.landscape import Status

__all__ = ["Begun", "UnmeasuredError", "Way"]


class Way(Protocol):
    """Something that evaluates points, on one device.

    What every implementation promises (each is a test in ``tests/evaluate/test_ways.py``): a row depends on its
    own coordinates, not on the rows beside it; the same call gives the same bits; at the origin it gives the value of
    the objective; the user's model is left as it was; :meth:`close` may be called twice.
    """

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """The values at some points.

        Args:
            coordinates: float64 [n, k], in the order of the chart's axes, n at least 1.

        Returns:
            float64 [n, number of values].

        Raises:
            UnmeasuredError: a point has no full value; it carries what was found. Any other exception of a point
                makes that point failed too.
        """
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class Begun:
    """A way some of whose values exist already: the points it was tried on need not be evaluated again.

    Args:
        way: evaluates all others.
        points: float64 [m, k].
        values: float64 [m, number of values], by the same way.
    """

    def __init__(self, way: Way, points: np.ndarray, values: np.ndarray) -> None:
        self.way = way
        self._points, self._values = points, values

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """The values at some points, see :class:`Way`.

        Returns:
            float64 [n, number of values].
        """
        same = (coordinates[:, None] == self._points).all(axis=2)
        there = same.any(axis=1)
        found: np.ndarray = self._values[same.argmax(axis=1)]
        if not there.all():
            found[~there] = self.way.values(coordinates[~there])
        return found

    def close(self) -> None:
        """Release what is held."""
        self.way.close()


class UnmeasuredError(Exception):
    """Why a point has no full value, with what was found there. It never reaches the user.

    Args:
        note: why, in words.
        row: float64 [number of values]; NaN where nothing was found.
        status: what the point is.
    """

    def __init__(self, note: str, row: np.ndarray, status: Status = Status.FAILED) -> None:
        super().__init__(note)
        self.note = note
        self.row = row
        self.status = status
