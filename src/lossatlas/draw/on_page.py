"""Where on the page do the coordinates of some axes lie, in points?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lossatlas.draw.words_on_page import Box

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["box_of", "places", "points_a_pixel"]


def points_a_pixel(axes: Axes) -> float:
    """How many points a pixel of the figure has."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return 72.0 / figure.dpi


def box_of(axes: Axes) -> Box:
    """Left, right, low and high of the axes themselves."""
    left, low, right, high = np.array(axes.bbox.extents) * points_a_pixel(axes)
    return left, right, low, high


def places(axes: Axes, x: Any, y: Any) -> np.ndarray:
    """Where some coordinates lie.

    Args:
        axes: what they are coordinates of.
        x: [n], or a number.
        y: the same.

    Returns:
        float64 [n, 2].
    """
    placed = axes.transData.transform(np.column_stack([np.atleast_1d(x), np.atleast_1d(y)]))
    return np.asarray(placed * points_a_pixel(axes))
