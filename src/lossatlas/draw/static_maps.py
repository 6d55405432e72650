"""How a field is drawn flat on paper: contour lines, filled contours, or a heat map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lossatlas.draw import on_page, static_overlays
from lossatlas.draw.captions import reason
from lossatlas.draw.cuts import alone, strips
from lossatlas.draw.scene import Cells, PictureAxis, Scene
from lossatlas.draw.sheet import Box, Entry, Margins, Sheet, shortened, text_width, touch
from lossatlas.draw.static_axes import bar_width, label_x, lengths, letter, names_row, side_margins, style_axes
from lossatlas.figure.palettes import anchors, rgb
from lossatlas.results.landscape import Status

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.contour import QuadContourSet
    from matplotlib.figure import Figure, SubFigure

__all__ = [
    "HATCHES",
    "band_colours",
    "band_levels",
    "colour_bar",
    "colour_map",
    "draw",
    "fill",
    "filled",
    "hatch_key",
    "heading",
    "point_colours",
]

_DARK = 0.72
"""How much of a map of greys is dark enough for a line on white."""

HATCHES = {
    Status.NOT_SAMPLED: "......",
    Status.OK: "////////",
    Status.NON_FINITE: "////////",
    Status.FAILED: "xxxxxxxx",
    Status.CENSORED: "--------",
    Status.INTERPOLATED: "////////",
}


def draw(scene: Scene, onto: Figure | SubFigure | None = None, *, again: bool = False) -> Figure:
    """Draw all panels with one colour bar.

    Args:
        scene: a scene of kind "contour", "filled" or "heat".
        onto: the figure or subfigure; by default a new one.
        again: the caption already names the words that found no room.

    Returns:
        The figure.
    """
    noted = any(panel.note for panel in scene.panels)
    own_y = not _same_y(scene)
    left, right = side_margins(scene, [panel.axes[1] for panel in scene.panels])
    up, written = _names_row(scene)
    top = written + 2.2 + 1.4 * noted
    margins = Margins(left=left, right=right + (left - 0.2) * own_y, top=top, bottom=3.3, bar=bar_width(scene))
    key = [*static_overlays.key(scene), *hatch_key(scene)]
    sheet = Sheet(scene, len(scene.panels), _aspect(scene), margins, key, onto)
    left_out: list[str] = []
    for index, panel in enumerate(scene.panels):
        axes = sheet.axes(sheet.rectangle(index))
        _frame(sheet, axes, scene, panel, first=index % sheet.columns == 0, up=up)
        fill(axes, scene, panel)
        left_out += static_overlays.draw(axes, scene, panel, index)
        heading(sheet, sheet.rectangle(index), panel, letter(scene, index))
    if left_out and not again:
        sheet.figure.clear()
        return draw(static_overlays.without_room(scene, left_out), onto, again=True)
    colour_bar(sheet, scene)
    return sheet.figure  # type: ignore[no-any-return]


def _names_row(scene: Scene) -> tuple[float, float]:
    named = [scene.paper.y_label or panel.axes[1].name for panel in scene.panels]
    rows = [names_row(scene, panel.axes[0], named) for panel in scene.panels]
    return max(up for up, _ in rows), max(written for _, written in rows)


def fill(axes: Axes, scene: Scene, panel: Cells) -> None:
    """Draw the values of one panel: array axis 0 is x, axis 1 is y."""
    heights = panel.heights(scene.value, scene.range)
    x, y = panel.axes
    if scene.kind == "heat":
        bottom, top = scene.range.limits
        axes.pcolormesh(
            x.edges, y.edges, heights.T, cmap=colour_map(scene), vmin=bottom, vmax=top, rasterized=heights.size > 2500
        )
    elif np.isfinite(heights).any():
        _contours(axes, scene, x, y, heights)
    _hatch(axes, scene, panel)
    if scene.kind != "heat":
        _alone(axes, scene, panel, heights)
    if scene.shows_points:
        at = np.nonzero(panel.evaluated)
        size = 0.45 * scene.theme.small
        colour = scene.theme.ink if scene.kind == "contour" else "white"  # lines leave the paper bare
        axes.plot(
            x.coordinates[at[0]], y.coordinates[at[1]], ".", gid="evaluated", ms=size, mew=0, color=colour, alpha=0.8
        )
    if panel.marks_centre:
        theme = scene.theme
        for colour, width in ((theme.paper, 3.6), (theme.ink, 1.5)):
            stroke = width * theme.stroke
            axes.plot(0, 0, "+", color=colour, markersize=theme.small, markeredgewidth=stroke, zorder=5)


def _contours(axes: Axes, scene: Scene, x: PictureAxis, y: PictureAxis, heights: np.ndarray) -> None:
    levels, labels = scene.range.heights(np.array(scene.range.levels)), scene.range.ticks(99)[1]
    if scene.kind == "filled":
        filled(axes, scene, x, y, heights)
    if not len(levels):
        return
    lines = axes.contour(
        x.coordinates,
        y.coordinates,
        heights.T,
        levels=levels,
        linewidths=scene.theme.stroke if scene.kind == "filled" else 1.5 * scene.theme.stroke,
        **_line_colours(scene),
    )
    _label(axes, scene, lines, dict(zip(levels, labels, strict=True)))


def _alone(axes: Axes, scene: Scene, panel: Cells, heights: np.ndarray) -> None:
    """Isolated points, whose neighbours have no value, as dots of their colour."""
    i, j = np.nonzero(alone(heights))
    if not len(i):
        return
    x, y = (axis.coordinates for axis in panel.axes)
    colours, size = point_colours(scene, heights[i, j]), 0.9 * scene.theme.small
    style: dict[str, Any] = {"edgecolors": scene.theme.faint, "linewidths": 0.5 * scene.theme.stroke, "zorder": 2.2}
    axes.scatter(x[i], y[j], s=size**2 / 2, c=colours, gid="alone", **style)


def point_colours(scene: Scene, heights: np.ndarray) -> np.ndarray:
    """float64 [points, 3]: the colours of heights."""
    bottom, top = scene.range.limits
    return rgb(np.clip((heights - bottom) / (top - bottom), 0, 1), scene.colours)


def _line_colours(scene: Scene) -> dict[str, Any]:
    if scene.kind == "filled":  # on a logarithmic map, heights below zero are not negative values
        solid = {"linestyles": "solid"} if scene.range.scale == "log" else {}
        return {"colors": "white", "alpha": 0.75, **solid}
    bottom, top = scene.range.limits
    return {"cmap": colour_map(scene), "vmin": bottom, "vmax": top}


def filled(
    axes: Axes, scene: Scene, x: PictureAxis, y: PictureAxis, heights: np.ndarray, **style: Any
) -> QuadContourSet:
    """Fill between the levels; the lowest and the highest band reach to the limits of the range."""
    levels = band_levels(scene)
    return axes.contourf(
        x.coordinates,
        y.coordinates,
        heights.T,
        levels=levels,
        colors=[tuple(colour) for colour in band_colours(scene, levels)],
        **style,
    )


def band_levels(scene: Scene) -> np.ndarray:
    """float64 [bands + 1]: the heights between which the bands lie, with both ends of the range."""
    bottom, top = scene.range.limits
    inner = scene.range.heights(np.array(scene.range.levels))
    return np.unique(np.concatenate([[bottom], inner[(inner > bottom) & (inner < top)], [top]]))


def band_colours(scene: Scene, levels: np.ndarray) -> np.ndarray:
    """float64 [bands, 3]: the colour at the middle of each band, stretched so that the ends of the map are used."""
    middles = (levels[1:] + levels[:-1]) / 2
    bottom, top = scene.range.limits
    fractions = (middles - bottom) / (top - bottom)
    spread = fractions[-1] - fractions[0]
    stretched = (fractions - fractions[0]) / spread if spread > 0 and scene.colours != "diverging" else fractions
    return rgb(stretched, scene.colours)


def _label(axes: Axes, scene: Scene, lines: QuadContourSet, labels: dict[float, str]) -> None:
    """Write the value on the lines, upright, where it touches no other label, no edge and not the centre."""
    from matplotlib import patheffects

    colour = "white" if scene.kind == "filled" else scene.theme.ink
    halo = "#00000080" if scene.kind == "filled" else scene.theme.paper
    size, (frame_x, frame_y) = scene.theme.small, on_page.places(axes, axes.get_xlim(), axes.get_ylim()).T
    named = static_overlays.named_places(scene)
    taken = [_box(on_page.places(axes, 0.0, 0.0)[0], "+", size)]
    taken += [_box(on_page.places(axes, *at)[0], "wide", 2 * size) for at in named]
    for text in axes.clabel(lines, fmt=labels, fontsize=size, inline=False):
        text.set(color=colour, rotation=0, parse_math=False)
        text.set_path_effects([patheffects.withStroke(linewidth=2.6 * scene.theme.stroke, foreground=halo)])
        left, right, low, high = box = _box(on_page.places(axes, *text.get_position())[0], text.get_text(), size)
        inside = frame_x[0] < left and right < frame_x[1] and frame_y[0] < low and high < frame_y[1]
        if inside and not any(touch(box, other) for other in taken):
            taken.append(box)
        else:
            text.remove()


def _box(place: np.ndarray, words: str, size: float) -> Box:
    """Left, right, low and high of words centred at a position, in points, with a little room around them."""
    x, y = place.tolist()
    half = text_width(words, size) / 2 + 0.25 * size
    return x - half, x + half, y - 0.7 * size, y + 0.7 * size


def _hatch(axes: Axes, scene: Scene, panel: Cells) -> None:
    """Hatch the cells without a value. No contour reaches half-way to such a cell, so there the hatching does."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    reach = _reach if scene.kind != "heat" else _own
    (left, right), (low, high) = (reach(axis) for axis in panel.axes)
    for status, mask in panel.hatched(scene.value).items():
        boxes = [Path(_corners(left[i], right[i], low[j], high[k]), closed=True) for i, j, k in strips(mask)]
        path = Path.make_compound_path(*boxes)
        patch = PathPatch(path, facecolor=scene.theme.paper, edgecolor=scene.theme.faint, linewidth=0, zorder=0.5)
        patch.set(hatch=HATCHES[status], gid=f"hatched-{status.name.lower()}")
        axes.add_patch(patch)


def _corners(left: float, right: float, low: float, high: float) -> list[tuple[float, float]]:
    return [(left, low), (right, low), (right, high), (left, high), (left, low)]


def _own(axis: PictureAxis) -> tuple[np.ndarray, np.ndarray]:
    """Both borders of every cell."""
    return axis.edges[:-1], axis.edges[1:]


def _reach(axis: PictureAxis) -> tuple[np.ndarray, np.ndarray]:
    """Both neighbours of every cell."""
    padded = np.concatenate([axis.coordinates[:1], axis.coordinates, axis.coordinates[-1:]])
    return padded[:-2], padded[2:]


def colour_map(scene: Scene) -> LinearSegmentedColormap:
    """The colour map of the scene; a cell without a value has no colour, which is matplotlib's default."""
    from matplotlib.colors import LinearSegmentedColormap

    points = list(anchors(scene.colours))
    if scene.kind == "contour" and scene.colours == "gray":  # a line has to stand out against the paper
        points = points[: round(_DARK * len(points))]
    return LinearSegmentedColormap.from_list(scene.colours, points, N=512)


def _aspect(scene: Scene) -> float:
    """Height of a panel over its width: as in parameter space, within a factor of two."""
    ratios = []
    for panel in scene.panels:
        (x_low, x_high), (y_low, y_high) = (scene.limits[axis.name] for axis in panel.axes)
        ratio = (y_high - y_low) / (x_high - x_low) * panel.axes[1].length / panel.axes[0].length
        ratios.append(math.log(ratio) if math.isfinite(ratio) and ratio > 0 else 0.0)
    return float(np.clip(math.exp(np.mean(ratios)), 0.5, 1.6))


def _same_y(scene: Scene) -> bool:
    """Whether all panels have the same vertical axis, so that its labels appear once per row."""
    return len({panel.axes[1].name for panel in scene.panels}) == 1


def _frame(sheet: Sheet, axes: Axes, scene: Scene, panel: Cells, *, first: bool, up: float) -> None:
    """Ticks in multiples of the direction, and in length on the opposite sides."""
    theme, (x, y) = scene.theme, panel.axes
    axes.set(xlim=scene.limits[x.name], ylim=scene.limits[y.name], facecolor=theme.paper)
    style_axes(axes, scene)
    label_x(sheet, axes, scene, x)
    if first or not _same_y(scene):
        start = min(sheet.margins.left, 3.0) * theme.small
        words = shortened(scene.paper.y_label or y.name, theme.text, 72.0 * sheet.panel_width + start)
        axes.annotate(
            words, (0, 1), (-start, up * theme.small), "axes fraction", "offset points",
            ha="left", va="bottom", fontsize=theme.text, color=theme.ink, gid="name of y",
        ).set_parse_math(False)  # fmt: skip
    else:
        axes.tick_params(labelleft=False)
    lengths(axes, scene, x, "x")
    lengths(axes, scene, y, "y")


def heading(sheet: Sheet, rectangle: tuple[float, float, float, float], panel: Cells, before: str = "") -> None:
    """The model's name over a panel, and the coordinate a slice was cut at."""
    theme = sheet.theme
    left, bottom, width, height = rectangle
    room = 72.0 * (width + 0.8 * sheet.margins.right * sheet.unit)
    y = bottom + height + (sheet.margins.top - 1.5) * sheet.unit
    words = before + shortened(panel.title, theme.heading, room - text_width(before, theme.heading))
    sheet.text(left, y, words, theme.heading, theme.ink, va="center")
    if panel.note:
        words = shortened(f"slice at {panel.note}", theme.small, room)
        sheet.text(left, y - 1.6 * sheet.unit, words, theme.small, theme.faint, va="center")


def colour_bar(sheet: Sheet, scene: Scene) -> None:
    """One bar for all panels, with the same bands as they have."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize

    bottom, top = scene.range.limits
    theme = scene.theme
    axes = sheet.axes(sheet.bar_rectangle(), label="colour bar")
    if scene.kind == "filled" and len(scene.range.levels):
        inner = scene.range.heights(np.array(scene.range.levels))
        levels = np.unique(np.concatenate([[bottom], inner, [top]]))
        shade: ScalarMappable = ScalarMappable(
            BoundaryNorm(levels, len(levels) - 1), ListedColormap(list(band_colours(scene, levels)))
        )
    else:
        shade = ScalarMappable(Normalize(bottom, top), colour_map(scene))
    most = int(sheet.bar_rectangle()[3] / (1.5 * sheet.unit))
    ticks, labels = scene.range.ticks(min(most, 16))
    bar = sheet.figure.colorbar(shade, cax=axes, spacing="proportional", ticks=ticks)
    bar.ax.set_yticklabels(labels)
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=theme.small, width=theme.stroke, length=0.3 * theme.small, colors=theme.ink)
    bar.outline.set(edgecolor=theme.faint, linewidth=theme.stroke)
    left, low, _, high = sheet.bar_rectangle()
    # How far a long name may begin to the left of the bar; between two rows there are numbers.
    reach = (4.0 if sheet.rows == 1 else 0.4) * sheet.unit
    name = shortened(scene.label, theme.text, 72.0 * (sheet.width - left + reach))
    start = max(left - reach, min(left, sheet.width - text_width(name, theme.text) / 72.0))
    sheet.text(start, low + high + 0.65 * sheet.unit, name, theme.text, theme.ink, va="bottom")
    for cut, end, mark in ((scene.range.clipped, 1, "▲"), (scene.range.floored, 0, "▼")):
        if cut is not None:
            axes.annotate(
                mark, (0.5, end), (0, 0.5 if end else -0.5), "axes fraction", "offset points", ha="center",
                va="bottom" if end else "top", color=theme.faint, fontsize=3,
            )  # fmt: skip


def hatch_key(scene: Scene) -> list[Entry]:
    """A swatch and a word for every kind of hatching that occurs."""
    blocks = [*scene.panels, *(member for curve in scene.curves for member in curve.members)]
    reasons = sorted({status for block in blocks for status in block.hatched(scene.value)})
    style = {"facecolor": "none", "edgecolor": scene.theme.faint, "linewidth": 0.4}
    return [Entry(words=reason(s), style={**style, "hatch": HATCHES[s]}, swatch=True) for s in reasons]
