"""Where do the names of points go, so that they cover no point, no error bar and no other name?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from lossatlas.draw import on_page
from lossatlas.draw.sheet import Box, text_width, touch
from lossatlas.figure.plot import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
_PLACES = (*_SIDES, *((right, far) for far in (2.5, -2.5, 4.0, -4.0) for right in (1, -1)))
"""Right, left, above, below, the corners, and further up or down: where a name may go; the first free place is
taken."""


def draw(axes: Axes, coloured: Iterable[tuple[Series, str]], size: float) -> None:
    """Write the names of all points, once everything else is drawn and the axes are final.

    Args:
        axes: the axes.
        coloured: the series with their colours.
        size: of the text, in points.
    """
    pairs = list(coloured)
    if not any(series.names for series, _ in pairs):
        return
    axes.autoscale_view()  # otherwise the axes would settle only when drawn
    taken = [
        _around(place, size)
        for series, _ in pairs
        if series.style != "line"
        for place in on_page.places(axes, series.x, series.y)
    ]
    bars = [bar for series, _ in pairs for bar in _bars(axes, series)]
    for series, colour in pairs:
        places = on_page.places(axes, series.x, series.y)
        for place, name in zip(places, series.names, strict=bool(series.names)):
            if not np.isfinite(place).all():
                continue
            boxes = [_box(place, name, size, side) for side in _PLACES]
            free = [box for box in boxes if _free(axes, box, taken)] or boxes[:1]
            taken.append(next((box for box in free if not any(touch(box, bar) for bar in bars)), free[0]))
            _write(axes, taken[-1], name, size, colour)


def _around(place: np.ndarray, size: float) -> Box:
    """What a point takes up."""
    half = 0.3 * size
    return place[0] - half, place[0] + half, place[1] - half, place[1] + half


def _bars(axes: Axes, series: Series) -> list[Box]:
    """What the error bars of points take up."""
    if series.low is None or series.high is None or series.style not in ("points", "both"):
        return []
    ends = zip(on_page.places(axes, series.x, series.low), on_page.places(axes, series.x, series.high), strict=True)
    return [(low[0] - 1.0, low[0] + 1.0, low[1], high[1]) for low, high in ends if np.isfinite([*low, *high]).all()]


def _box(place: np.ndarray, name: str, size: float, side: tuple[float, float]) -> Box:
    """What a name takes up beside a point."""
    width, height, gap = text_width(name, size), 1.1 * size, 0.45 * size
    right, up = side
    left = place[0] + right * gap - width * (1 - right) / 2
    low = place[1] + up * gap - height * (1 - np.clip(up, -1, 1)) / 2
    return left, left + width, low, low + height


def _free(axes: Axes, box: Box, taken: list[Box]) -> bool:
    left, right, low, high = on_page.box_of(axes)
    within = left < box[0] and box[1] < right + 2 and low < box[2] and box[3] < high + 2
    return bool(within) and not any(touch(box, other) for other in taken)


def _write(axes: Axes, box: Box, name: str, size: float, colour: str) -> None:
    middle = np.array([(box[0] + box[1]) / 2, (box[2] + box[3]) / 2]) / on_page.points_a_pixel(axes)
    x, y = axes.transAxes.inverted().transform(middle)
    axes.text(
        x, y, name, transform=axes.transAxes, fontsize=size, color=colour, ha="center", va="center_baseline", zorder=4,
        parse_math=False,
    )  # fmt: skip
