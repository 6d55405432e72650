"""Which curves of a picture cannot be told apart because one lies on the other?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lossatlas.draw.scene import Curve
from lossatlas.figure.ranges import Range

__all__ = ["hidden_words"]

NEAR = 0.005
"""A share of the range shown: half a line's width on a panel that is as high as a column of text is wide."""


def hidden_words(curves: Sequence[Curve], value: str, shown: Range) -> str:
    """Name every group of curves that lie on each other; empty if each can be seen.

    Args:
        curves: in the order of the key.
        value: what is drawn.
        shown: the range shown.

    Returns:
        A sentence for each group.
    """
    groups: list[list[Curve]] = []
    for curve in curves:
        for group in groups:
            if _apart(group[0], curve, value, shown) <= NEAR:
                group.append(curve)
                break
        else:
            groups.append([curve])
    return " ".join(_sentence(group, value) for group in groups if len(group) > 1)


def _apart(one: Curve, other: Curve, value: str, shown: Range) -> float:
    """The largest distance between two lines, as a share of the range shown; infinite where one shows more points."""
    if not np.array_equal(one.axis.coordinates, other.axis.coordinates):
        return np.inf
    heights = [shown.heights(curve.median(value)) for curve in (one, other)]
    there = [np.isfinite(each) for each in heights]
    if not there[0].any() or not np.array_equal(*there):
        return np.inf
    bottom, top = shown.limits
    return float(np.abs(heights[0] - heights[1])[there[0]].max() / max(top - bottom, np.finfo(float).tiny))


def _sentence(group: Sequence[Curve], value: str) -> str:
    titles = [curve.title for curve in group]
    names = f"{', '.join(titles[:-1])} and {titles[-1]}"
    medians = [curve.median(value) for curve in group]
    if all(np.array_equal(medians[0], other, equal_nan=True) for other in medians[1:]):
        return f"{names} coincide: their values are equal."
    return f"{names} coincide: they agree within {100 * NEAR:g} % of the range shown everywhere."
