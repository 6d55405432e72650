"""How values along one axis are drawn on paper: the loss on the left axis, metrics on the right, runs as a band."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lossatlas.draw.scene import Curve, Scene
from lossatlas.draw.sheet import Entry, Margins, Sheet, shortened, text_width
from lossatlas.draw.static_axes import label_x, lengths, letter, names_row, style_axes
from lossatlas.draw.static_maps import HATCHES, hatch_key, heading
from lossatlas.figure.ranges import Range, forward

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["STYLES", "draw", "name_axis"]

STYLES = ("--", ":", "-.")


def draw(scene: Scene, onto: Figure | SubFigure | None = None) -> Figure:
    """Draw all curves on one pair of axes.

    Args:
        scene: a scene of kind "line".
        onto: the figure or subfigure; by default a new one.

    Returns:
        The figure.
    """
    same, twin = scene.alongside, scene.beside
    styles = dict(zip((*same, *twin), STYLES, strict=False))
    single = len(scene.curves) == 1
    left = max(4.4, 1.6 + _widest(scene, scene.range))
    right = max(4.4, 1.6 + _widest(scene, scene.beside_range)) if twin and scene.beside_range else 1.4
    noted = single and bool(scene.curves[0].members[0].note)
    up, written = names_row(scene, scene.curves[0].axis, [scene.label, ", ".join(twin)])
    margins = Margins(left=left, right=right, top=written + (2.2 + 1.4 * noted if single else 1.2), bottom=3.3)
    sheet = Sheet(scene, 1, 0.66, margins, [*_key(scene, styles), *hatch_key(scene)], onto)
    axes = sheet.axes(sheet.rectangle(0))
    second = axes.twinx() if twin else None
    for index, curve in enumerate(scene.curves):
        colour = scene.theme.lines[index % len(scene.theme.lines)]
        _draw_curve(axes, scene, curve, colour)
        for name in same:
            _draw_metric(axes, curve, name, scene.range, colour=colour, style=styles[name], stroke=scene.theme.stroke)
        for name in twin:
            shown = scene.beside_range
            assert second is not None
            assert shown is not None
            own = _second_colour(scene) if single else colour
            _draw_metric(second, curve, name, shown, colour=own, style=styles[name], stroke=scene.theme.stroke)
    _frame(sheet, axes, scene)
    room = 72.0 * sheet.panel_width / (1 + bool(twin)) + 3.0 * scene.theme.small
    name_axis(axes, scene, shortened(scene.label, scene.theme.text, room), side="left", up=up)
    if second is not None:
        _frame_second(second, scene)
        name_axis(second, scene, shortened(", ".join(twin), scene.theme.text, room), side="right", up=up)
        if single:
            _tint(axes, scene.theme.lines[0])
            _tint(second, _second_colour(scene))
    _hatch(axes, scene)
    if single:
        heading(sheet, sheet.rectangle(0), scene.curves[0].members[0], letter(scene, 0))
    return sheet.figure  # type: ignore[no-any-return]


def _second_colour(scene: Scene) -> str:
    """The colour of the second axis of one curve, and of what belongs to it."""
    return scene.theme.lines[1 % len(scene.theme.lines)]


def _tint(axes: Axes, colour: str) -> None:
    """Numbers and name of a vertical axis in the colour of its lines."""
    axes.tick_params(axis="y", colors=colour)
    for text in axes.texts:
        text.set_color(colour)


def _widest(scene: Scene, shown: Range) -> float:
    """Width of the widest label, in multiples of the small text."""
    size = scene.theme.small
    return max((text_width(label, size) for label in shown.ticks(7)[1]), default=0.0) / size


def _draw_curve(axes: Axes, scene: Scene, curve: Curve, colour: str) -> None:
    """The median as a line, the runs as a band; what is clipped leaves through the top of the picture."""
    stack = (curve.median(scene.value), *curve.band(scene.value))
    line, low, high = (_leaving(values, scene.range) for values in stack)
    x = curve.axis.coordinates
    alone = _alone(line)
    axes.plot(x, line, color=colour, linewidth=2.2 * scene.theme.stroke, zorder=3)
    axes.plot(x[alone], line[alone], ".", color=colour, markersize=4 * scene.theme.stroke, zorder=3)
    if len(curve.members) > 1:
        axes.fill_between(x, low, high, color=colour, alpha=0.22, linewidth=0, zorder=2)


def _leaving(values: np.ndarray, shown: Range) -> np.ndarray:
    """Heights of values, even of those beyond the range, so that a line is seen to leave through its edge."""
    bottom, top = shown.limits
    with np.errstate(divide="ignore", invalid="ignore"):
        heights = forward(values, shown.scale, shown.linear_below)
    lost = np.isfinite(values) & ~np.isfinite(heights)  # zero and below, where a logarithm was asked for
    return np.where(lost, bottom - 10 * (top - bottom), heights)


def _alone(line: np.ndarray) -> np.ndarray:
    """Points without a neighbour, which a line would not show."""
    padded = np.isfinite(np.concatenate([[np.nan], line, [np.nan]]))
    return np.asarray(padded[1:-1] & ~padded[:-2] & ~padded[2:])


def _draw_metric(axes: Axes, curve: Curve, name: str, shown: Range, *, colour: str, style: str, stroke: float) -> None:
    x = curve.axis.coordinates
    axes.plot(x, _leaving(curve.median(name), shown), style, color=colour, linewidth=1.6 * stroke, zorder=2.5)
    if len(curve.members) > 1:
        low, high = (_leaving(edge, shown) for edge in curve.band(name))
        axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0, zorder=1.5)


def _frame(sheet: Sheet, axes: Axes, scene: Scene) -> None:
    theme, axis = scene.theme, scene.curves[0].axis
    bottom, top = scene.range.limits
    pad = 0.04 * (top - bottom)
    axes.set(xlim=scene.limits[axis.name], facecolor=theme.paper)
    # A clipped line must be seen to leave, so there is no room beyond the cut.
    bottom, top = bottom - pad * (scene.range.floored is None), top + pad * (scene.range.clipped is None)
    axes.set_ylim(bottom, top)
    style_axes(axes, scene)
    ticks, labels = scene.range.ticks(7)
    axes.set_yticks(ticks, labels)
    axes.minorticks_off()
    label_x(sheet, axes, scene, axis)
    if len({(curve.axis.name, curve.axis.length) for curve in scene.curves}) == 1:
        lengths(axes, scene, axis, "x")
    if all(member.marks_centre for curve in scene.curves for member in curve.members):
        axes.axvline(0.0, color=theme.faint, linewidth=0.8 * theme.stroke, zorder=1, dashes=(1, 2))
    axes.set_zorder(2)
    axes.patch.set_visible(False)


def _frame_second(axes: Axes, scene: Scene) -> None:
    shown = scene.beside_range
    if shown is None:
        return
    bottom, top = shown.limits
    pad = 0.04 * (top - bottom)
    axes.set_ylim(bottom - pad, top + pad)
    style_axes(axes, scene)
    axes.set_yticks(*shown.ticks(7))


def name_axis(axes: Axes, scene: Scene, words: str, *, side: str, up: float = 2.1) -> None:
    """The name of a vertical axis, horizontal and above its end."""
    theme = scene.theme
    place, anchor = (0, "left") if side == "left" else (1, "right")
    text = axes.annotate(
        words, (place, 1), (4.0 * theme.small * (-1 if side == "left" else 1), up * theme.small),
        "axes fraction", "offset points", ha=anchor, va="bottom", fontsize=theme.text, color=theme.ink,
    )  # fmt: skip
    text.set_parse_math(False)


def _hatch(axes: Axes, scene: Scene) -> None:
    """Hatch the stretches where a run has no value."""
    for curve in scene.curves:
        edges = curve.axis.edges
        for member in curve.members:
            for status, mask in member.hatched(scene.value).items():
                for index in np.flatnonzero(mask):
                    span = axes.axvspan(
                        edges[index], edges[index + 1], facecolor="none", edgecolor=scene.theme.faint,
                        linewidth=0, hatch=HATCHES[status], zorder=0.5,
                    )  # fmt: skip
                    span.set_gid(f"hatched-{status.name.lower()}")


def _key(scene: Scene, styles: Mapping[str, str]) -> list[Entry]:
    """Colours stand for models, where there are several; styles of line for what was measured."""
    theme = scene.theme
    width = 2.2 * theme.stroke
    models = [
        Entry(words=curve.title, style={"color": theme.lines[index % len(theme.lines)], "linewidth": 1.6 * width})
        for index, curve in enumerate(scene.curves)
    ]
    shades = {}
    if len(models) == 1 and scene.beside:
        shades = {name: _second_colour(scene) if name in scene.beside else theme.lines[0] for name in styles}
        shades[scene.label] = theme.lines[0]
    measured = [
        Entry(words=name, style={"color": shades.get(name, theme.ink), "linewidth": width, "linestyle": style})
        for name, style in ((scene.label, "-"), *styles.items())
    ]
    return [*(models if len(models) > 1 else []), *(measured if styles else [])]
