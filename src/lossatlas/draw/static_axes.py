"""How the axes of a printed picture are labelled, and how much room their labels need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from lossatlas.draw import on_page
from lossatlas.draw.scene import PictureAxis, Scene
from lossatlas.draw.sheet import Printed, Sheet, shortened, text_width
from lossatlas.figure.words import WAY, number
from lossatlas.results.moves import TOWARDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bar_width", "label_x", "lengths", "letter", "names_row", "scaled", "side_margins", "style_axes"]

_TICKS = 5


def style_axes(axes: Axes, scene: Scene) -> None:
    """Thin frame, small ticks, the theme's colours."""
    theme = scene.theme
    axes.tick_params(colors=theme.ink, **_ticks(scene))
    for spine in axes.spines.values():
        spine.set(color=theme.faint, linewidth=theme.stroke)
    axes.locator_params(nbins=_TICKS)
    axes.locator_params(axis="x", nbins=_horizontal_ticks(axes, theme.small))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_short)


def _ticks(scene: Scene) -> dict[str, Any]:
    """How ticks look: their size, and whether they point out, in, or are left out."""
    from matplotlib import rcParams

    theme, kind = scene.theme, scene.paper.ticks
    length = 0.0 if kind == "none" else 0.35 * theme.small
    pad = (0.65 if kind != "out" else 0.3) * theme.small
    return {
        "labelsize": theme.small, "width": theme.stroke, "length": length, "pad": pad,
        "direction": "in" if kind == "in" else "out", "labelfontfamily": rcParams["font.family"],
    }  # fmt: skip


def letter(scene: Printed, index: int) -> str:
    """What precedes the title of a panel: "(a) "; nothing unless letters are asked for."""
    if not scene.paper.letters:
        return ""
    more, last = divmod(index, 26)
    return f"({chr(96 + more) if more else ''}{chr(97 + last)}) "


def scaled(scene: Scene, axis: PictureAxis) -> bool:
    """Whether an axis has a second scale, of length."""
    return scene.paper.units and math.isfinite(axis.length) and axis.length > 0


def names_row(scene: Scene, axis: PictureAxis, names: Sequence[str]) -> tuple[float, float]:
    """Where the names of vertical axes go above a panel, clear of the labels of the upper scale.

    Returns:
        Height of their foot above the panel, and of all that is written there, in multiples of the small text.
    """
    if not scaled(scene, axis):
        return 0.6, 2.0
    size = scene.theme.small
    long = any(text_width(name, scene.theme.text) > _BESIDE * size for name in names)
    return (3.5, 5.0) if long else (2.1, 3.4)


_BESIDE = 4.2
"""How long the name of a vertical axis may be beside that of the upper scale, in multiples of the small text."""


def _short(value: float, _: float = 0.0) -> str:
    return number(value, 4)


def _horizontal_ticks(axes: Axes, size: float, by: float = 1.0) -> int:
    """As many ticks as there is room for, five at most."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    room = 72.0 * axes.get_position().width * figure.get_figwidth() / size
    return int(min(_TICKS, max(2, room // (_widest(axes.get_xlim(), by, size) + 1.5))))


def label_x(sheet: Sheet, axes: Axes, scene: Scene, axis: PictureAxis) -> None:
    """The horizontal axis: its name and unit, only the name if the panel is narrow."""
    theme, room = scene.theme, 72.0 * sheet.panel_width
    name = scene.paper.x_label or axis.name
    long = f"{name} ({axis.counted})" if axis.counted and scene.paper.units and not scene.paper.x_label else name
    way = WAY.match(axis.label)
    if (way or axis.label.startswith(TOWARDS)) and scene.curves and not scene.paper.x_label:
        name = " → ".join(end.removeprefix("the ") for end in way.groups()) if way else axis.label
        long = f"{name} ({axis.counted})" if scene.paper.units else name
    words = long if text_width(long, theme.text) <= room else shortened(name, theme.text, room)
    axes.set_xlabel(words, labelpad=1.5, fontsize=theme.text, color=theme.ink, parse_math=False)


def lengths(axes: Axes, scene: Scene, axis: PictureAxis, which: Literal["x", "y"]) -> None:
    """The second scale: distance in the norm of what moves, where the norm of the direction is known."""
    if not scaled(scene, axis):
        return
    theme, norm = scene.theme, axis.length
    functions = (lambda c: c * norm, lambda d: d / norm)
    second = (
        axes.secondary_xaxis("top", functions=functions)
        if which == "x"
        else axes.secondary_yaxis("right", functions=functions)
    )
    second.tick_params(colors=theme.faint, **_ticks(scene))
    for spine in second.spines.values():
        spine.set(color=theme.faint, linewidth=theme.stroke)
    second.locator_params(axis=which, nbins=_TICKS if which == "y" else _horizontal_ticks(axes, theme.small, norm))
    (second.xaxis if which == "x" else second.yaxis).set_major_formatter(_short)
    if which == "x":
        room = axes.bbox.width * on_page.points_a_pixel(axes) - 2 * _BESIDE * theme.small
        known = (f"length in {axis.unit}", "length")
        fitting = (words for words in known if text_width(words, theme.small) <= room + 6.0 * theme.small)
        second.set_xlabel(next(fitting, ""), fontsize=theme.small, color=theme.faint, labelpad=2)


def side_margins(scene: Scene, vertical: Sequence[PictureAxis]) -> tuple[float, float]:
    """Room left and right of a panel for the labels of its vertical axis, in multiples of the small text."""
    size = scene.theme.small
    lengths = [axis.length if math.isfinite(axis.length) else 0.0 for axis in vertical]
    widest = [max(_widest(scene.limits[axis.name], by, size) for axis, by in zip(vertical, bys, strict=True))
        for bys in ([1.0] * len(lengths), lengths)]  # fmt: skip
    right = max(3.2, 1.3 + widest[1]) if scene.paper.units else 1.4
    return max(3.0, 1.1 + widest[0]), right


def _widest(limits: tuple[float, float], by: float, size: float) -> float:
    """Width of the widest label of an axis, in multiples of the size of its text."""
    from matplotlib.ticker import MaxNLocator

    low, high = sorted((limits[0] * by, limits[1] * by))
    ticks = [
        tick for tick in MaxNLocator(_TICKS, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= tick <= high
    ]
    return max((text_width(_short(tick), size) for tick in ticks), default=0.0) / size


def bar_width(scene: Scene) -> float:
    """Room for the colour bar and its labels, in multiples of the small text."""
    widest = max((text_width(label, scene.theme.small) for label in scene.range.ticks(16)[1]), default=0.0)
    return max(5.4, 3.2 + widest / scene.theme.small)
