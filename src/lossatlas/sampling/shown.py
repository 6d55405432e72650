"""How far are values apart on a picture, and how much of their errors does it show?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from lossatlas.field.stated import BEYOND, LEFT_ABOVE

__all__ = ["AsIs", "Show", "Shown", "apart", "seen"]


class Shown(Protocol):
    """How a picture shows values, such as :class:`lossatlas.figure.ranges.Range`."""

    @property
    def limits(self) -> tuple[float, float]:
        """Heights of the smallest and of the largest value shown."""
        ...

    def heights(self, values: np.ndarray, *, beyond: float = 0.0) -> np.ndarray:
        """Heights of values, clipped ``beyond`` ranges above the largest."""
        ...


Show = Callable[[np.ndarray], Shown]
"""Chooses how some values are shown."""


class AsIs:
    """A picture whose heights are the values, so that errors have their unit."""

    limits = (0.0, 1.0)

    def __init__(self, values: np.ndarray) -> None:
        """Every value is shown alike."""

    def heights(self, values: np.ndarray, *, beyond: float = 0.0) -> np.ndarray:
        """The values, never clipped."""
        return np.asarray(values, float)


def apart(shown: Shown, guesses: np.ndarray, values: np.ndarray, *, beyond: float = 0.0) -> np.ndarray:
    """How far guesses are from values on a picture, as a share of its range.

    Args:
        shown: the picture.
        guesses: float64 [n].
        values: float64 [n].
        beyond: ranges above the clip within which differences count.

    Returns:
        float64 [n].

    Example:
        >>> apart(AsIs(np.zeros(1)), np.array([1.5]), np.array([1.0])).tolist()
        [0.5]
    """
    low, high = shown.limits
    heights = [shown.heights(each, beyond=beyond) for each in (guesses, values)]
    return np.asarray(np.abs(heights[0] - heights[1]) / max(high - low, np.finfo(float).tiny))


def seen(shown: Shown, values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """The part of errors that a clipped picture shows: above the clip, as much as reaches below it.

    Args:
        shown: the picture.
        values: float64 [n].
        errors: float64 [n], shares of its range as if nothing were clipped.

    Returns:
        float64 [n], shares of its range; above the clip never less than a tenth of the error.

    Example:
        >>> from lossatlas.figure.ranges import choose
        >>> clipped = choose(np.array([0.0, 1.0, 9.0]), scale="linear", clip=2.0)
        >>> seen(clipped, np.array([1.0, 2.5, 9.0]), np.full(3, 0.5)).tolist()
        [0.5, 0.25, 0.05]
    """
    low, high = shown.limits
    above = shown.heights(values, beyond=BEYOND) - shown.heights(values)
    return np.asarray(np.maximum(errors - above / max(high - low, np.finfo(float).tiny), LEFT_ABOVE * errors))
