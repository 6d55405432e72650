"""How a field is drawn in relief on paper: a lit surface over its own contour map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lossatlas.draw import relief, static_overlays
from lossatlas.draw.camera import visible
from lossatlas.draw.cuts import alone, strips
from lossatlas.draw.render import Projection, Render, Stage
from lossatlas.draw.scene import RELIEF_HEIGHT, Cells, Scene
from lossatlas.draw.sheet import Margins, Sheet, shortened, text_width
from lossatlas.draw.static_axes import bar_width, letter
from lossatlas.draw.static_maps import HATCHES, colour_bar, filled, hatch_key, heading, point_colours
from lossatlas.figure.palettes import Theme, rgb
from lossatlas.figure.words import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure
    from mpl_toolkits.mplot3d.axes3d import Axes3D  # type: ignore[import-untyped]

__all__ = ["FACETS", "FLOOR", "TICK", "Stages", "bare", "draw", "whole_view"]

# Depth of the floor below the surface in parts of the surface's height.
FLOOR = 0.40
Stages = dict[tuple[int, tuple[int, int]], Stage]

# How long the name of a level axis may be, in multiples of the small text; how much of a panel's height is upright,
# over the distance of two labels in the same unit; and a panel high enough for level axes to have room for five.
_LONGEST = 6.0
_UPRIGHT = 0.24
_ROOMY = 19.0

# What the numbers of the heights are called in an svg.
TICK = "height-tick"

# About how many facets lie along an axis after smoothing the mesh; more is not seen in print.
FACETS = 200


def draw(
    scene: Scene,
    how: Render | None = None,
    *,
    stages: Stages | None = None,
    dpi: float = 0.0,
    steady: bool = False,
    onto: Figure | SubFigure | None = None,
    again: bool = False,
) -> Figure:
    """Draw all panels from the same side, under the same light, with one colour bar.

    Args:
        scene: a scene of kind "surface".
        how: have the reliefs rendered, instead of drawn by matplotlib.
        stages: reliefs that are set up already, by the number of their panel and their size; new ones are added.
        dpi: of the rendered reliefs; by default the theme's.
        steady: leave room for the box from every side, so that one that turns keeps its size.
        onto: the figure or subfigure; by default a new one.
        again: the caption already names the words that found no room.

    Returns:
        The figure.
    """
    left_out: list[str] = []
    noted = any(panel.note for panel in scene.panels)
    margins = Margins(left=0.6, right=0.6, top=4.1 + 1.4 * noted, bottom=0.6, bar=bar_width(scene))
    key = [*static_overlays.key(scene), *hatch_key(scene)]
    sheet = Sheet(scene, len(scene.panels), 0.92, margins, key, onto)
    for index, panel in enumerate(scene.panels):
        heading(sheet, sheet.rectangle(index), panel, letter(scene, index))
        rectangle = sheet.rectangle(index)
        axes: Axes3D = sheet.axes(rectangle, projection="3d", computed_zorder=False)
        _frame(axes, scene, panel, 72.0 * sheet.panel_height)
        if how is not None:
            axes.set_proj_type("ortho")
            axes.grid(visible=False)  # it would lie on the picture instead of behind it
            _hatch(axes, scene, panel)
            _fit(sheet, axes, rectangle, steady=steady)
            view = whole_view(scene, steady=steady)
            _rendered(sheet, axes, scene, index, view, how, stages, dpi or scene.theme.dpi)
        else:
            _panel(axes, scene, panel)
            heights = panel.heights(scene.value, scene.range)
            static_overlays.draw_relief(axes, scene, panel, index, heights, _floor(scene))
            _fit(sheet, axes, rectangle)
        left_out += static_overlays.name_relief(
            axes, scene, panel, index, panel.heights(scene.value, scene.range), sheet.on_page(rectangle)
        )
    if left_out and not (again or steady):  # the words of a film would come and go
        sheet.figure.clear()
        told = static_overlays.without_room(scene, left_out)
        return draw(told, how, stages=stages, dpi=dpi, onto=onto, again=True)
    colour_bar(sheet, scene)
    return sheet.figure  # type: ignore[no-any-return]


def _floor(scene: Scene) -> float:
    bottom, top = scene.range.limits
    return bottom - FLOOR * (top - bottom)


def _panel(axes: Axes3D, scene: Scene, panel: Cells) -> None:
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]

    heights = panel.heights(scene.value, scene.range)
    bottom, top = scene.range.limits
    _hatch(axes, scene, panel)
    if panel.marks_centre:
        style = {"markersize": scene.theme.small, "color": "white", "markeredgewidth": 1.5 * scene.theme.stroke}
        axes.plot([0], [0], [_floor(scene)], "+", zorder=2, **style)
    x, y = panel.axes
    size, along = np.array([1.0, 1.0, RELIEF_HEIGHT]), round(FACETS / len(scene.panels) ** 0.5)
    steep = panel.heights(scene.value, scene.range, beyond=1.0)
    mesh = relief.facets(x.coordinates, y.coordinates, steep, bottom, top, size=size, along=along)
    lonely = np.nonzero(alone(heights))
    if len(lonely[0]):  # above the floor, where the surface has no facet
        z, colours = heights[lonely], point_colours(scene, heights[lonely])
        places = x.coordinates[lonely[0]], y.coordinates[lonely[1]], z
        style = {"s": 0.3 * scene.theme.small**2, "depthshade": False, "linewidths": 0, "zorder": 3}
        axes.scatter(*places, c=colours, gid="alone", **style)
    if not len(mesh.corners):
        return
    filled(axes, scene, x, y, heights, zdir="z", offset=_floor(scene), zorder=1).set_clip_on(False)
    shade = relief.light(mesh.normals, scene.camera[1])
    colours = relief.lit(rgb((mesh.heights - bottom) / (top - bottom), scene.colours), shade)
    # Facets overlap by a hair's breadth, or the page would shine through between them.
    surface = Poly3DCollection(mesh.corners, facecolors=colours, edgecolors=colours, linewidths=0.2, zorder=3)
    surface.set(rasterized=True, clip_on=False)
    axes.add_collection3d(surface, autolim=False)
    if scene.shows_contours:
        _drape(axes, scene, steep, mesh.corners)


def _drape(axes: Axes3D, scene: Scene, heights: np.ndarray, corners: np.ndarray) -> None:
    """Contour lines on the surface, without those behind it."""
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    bottom, top = scene.range.limits
    levels = scene.range.heights(np.asarray(scene.range.levels))
    lines = relief.contour_lines(corners, levels[(levels > bottom) & (levels < top)])
    low = np.array([axis[0] for axis in (axes.get_xlim(), axes.get_ylim())] + [bottom])
    high = np.array([axis[1] for axis in (axes.get_xlim(), axes.get_ylim())] + [top])
    middles = (lines.mean(axis=1) - low) / (high - low) * [1.0, 1.0, RELIEF_HEIGHT]
    seen = visible(middles, (heights - bottom) / (top - bottom), scene.camera, height=RELIEF_HEIGHT)
    style = {"colors": "#00000099", "linewidths": 0.7 * scene.theme.stroke, "capstyle": "round"}
    axes.add_collection3d(Line3DCollection(lines[seen], zorder=3.5, **style), autolim=False)


def _hatch(axes: Axes3D, scene: Scene, panel: Cells) -> None:
    """On the floor, hatch the cells without a value; in the surface they are holes."""
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    x, y = (axis.edges for axis in panel.axes)
    floor = _floor(scene)
    for status, mask in panel.hatched(scene.value).items():
        cells = [
            [(x[i], y[j], floor), (x[i + 1], y[j], floor), (x[i + 1], y[k + 1], floor), (x[i], y[k + 1], floor)]
            for i, j, k in strips(mask)
        ]
        clear = (0.0, 0.0, 0.0, 0.0)  # matplotlib 3.10.0 cannot draw patches in space that have no colour at all
        patches = Poly3DCollection(cells, facecolors=clear, edgecolors=scene.theme.faint, linewidths=0, zorder=0.5)
        patches.set(hatch=HATCHES[status], gid=f"hatched-{status.name.lower()}", clip_on=False)
        axes.add_collection3d(patches, autolim=False)


def _frame(axes: Axes3D, scene: Scene, panel: Cells, tall: float) -> None:
    theme, (x, y) = scene.theme, panel.axes
    axes.set(xlim=scene.limits[x.name], ylim=scene.limits[y.name], facecolor="none")
    axes.set_zlim(_floor(scene), scene.range.limits[1])
    axes.set_box_aspect((1, 1, RELIEF_HEIGHT * (1 + FLOOR)))
    axes.view_init(*scene.camera)
    ticks, labels = scene.range.ticks(int(np.clip(_UPRIGHT * tall / theme.small, 2, 6)))
    for axis, name in ((axes.xaxis, x.name), (axes.yaxis, y.name)):
        places = _inner_ticks(*scene.limits[name], few=tall < _ROOMY * theme.small)
        axis.set_ticks(places, [number(place, 4) for place in places])
    axes.set_zticks(ticks, [""] * len(ticks))
    pad = 0.7 * theme.small - 8.0  # matplotlib adds 8 points to the distance of a tick's label, 21 to that of an axis's
    names = (scene.paper.x_label or x.name, scene.paper.y_label or y.name, "")
    for axis, words in zip((axes.xaxis, axes.yaxis, axes.zaxis), names, strict=True):
        axis.set_pane_color((0, 0, 0, 0))
        axis.line.set(color=theme.faint, linewidth=theme.stroke)
        axis._axinfo["grid"].update(color=f"{theme.faint}30", linewidth=0.6 * theme.stroke)
        axis._axinfo["tick"].update(inward_factor=0.0, outward_factor=0.15)
        axis.set_tick_params(labelsize=theme.small, colors=theme.ink, pad=pad)
        short = shortened(words, theme.text, _LONGEST * theme.small)
        axis.set_label_text(short)
        axis.label.set(fontsize=theme.text, color=theme.ink, rotation=0, parse_math=False)
        axis.labelpad = 2.1 * theme.small - 21.0 + _aside(short, theme)
        axis.set_rotate_label(False)
    _name_height(axes, scene, labels)


def _aside(words: str, theme: Theme) -> float:
    """How much further from its axis a long name is than a single letter, in points."""
    return max(0.0, 0.28 * (text_width(words, theme.text) - 1.5 * theme.small))


def _name_height(axes: Axes3D, scene: Scene, labels: Sequence[str]) -> None:
    """Write what the height is above the upper end of its axis, and its numbers level with their ticks.

    Matplotlib draws the axis on whichever side suits it, and moves its numbers away from it in space, which is also
    downwards on the page.
    """
    from mpl_toolkits.mplot3d.proj3d import proj_transform  # type: ignore[import-untyped]

    axes.get_figure(root=True).draw_without_rendering()
    x, y = (np.asarray(part) for part in axes.zaxis.line.get_data())
    top, theme = int(np.argmax(y)), scene.theme
    style = {"textcoords": "offset points", "color": theme.ink, "parse_math": False, "annotation_clip": False}
    words = shortened(scene.label, theme.text, 6.0 * theme.small)
    above = {"ha": "center", "va": "bottom", "fontsize": theme.text}
    axes.annotate(words, (x[top], y[top]), (0, 0.5 * theme.small), gid="height", **above, **style)
    middle = np.mean([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()], axis=1)
    right = x.mean() > proj_transform(*middle, axes.get_proj())[0]
    aside = ((0.7 if right else -0.7) * theme.small, 0)
    beside = {"ha": "left" if right else "right", "va": "center_baseline", "fontsize": theme.small}
    for index, label in enumerate(labels):
        where = partial(_tick_at, axes, index)
        axes.annotate(label, (0, 0), aside, xycoords=where, gid=TICK, **beside, **style)


def _tick_at(axes: Axes3D, index: int, _: object) -> Any:
    """Where a tick of the heights is now drawn, as a transform of the origin."""
    from matplotlib.transforms import Affine2D

    ends = np.column_stack(axes.zaxis.majorTicks[index].tick1line.get_data())
    return Affine2D().translate(*axes.transData.transform(ends.mean(axis=0)))


def _inner_ticks(low: float, high: float, *, few: bool) -> list[float]:
    """Round coordinates away from the corners, where the labels of two axes would meet."""
    from matplotlib.ticker import MaxNLocator

    room = 0.08 * (high - low)
    long = max(len(number(end, 4)) for end in (low, high)) > 6  # labels of neighbours would touch
    every = MaxNLocator(3 if long or few else 5).tick_values(low, high)
    return [float(tick) for tick in every if low + room < tick < high - room]


def _fit(sheet: Sheet, axes: Axes3D, rectangle: tuple[float, float, float, float], *, steady: bool = False) -> None:
    """Move and scale the axes so that the box, with room for its labels, fills the rectangle."""
    from mpl_toolkits.mplot3d.proj3d import proj_transform

    figure = sheet.figure
    left, bottom, width, height = rectangle
    side = min(width, height)
    axes.set_position((left / sheet.width, bottom / sheet.height, side / sheet.width, side / sheet.height))
    axes.apply_aspect()
    low, high = np.array([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()]).T
    corners = low + _outline(steady) * (high - low)
    flat_x, flat_y, _ = proj_transform(*corners.T, axes.get_proj())
    placed = (axes.transData.transform(np.column_stack([flat_x, flat_y])) - figure.bbox.p0) / figure.dpi
    low, high = placed.min(axis=0), placed.max(axis=0)
    numbers = [text.get_text() for text in axes.texts if text.get_gid() == TICK]
    beside = max((text_width(text, sheet.theme.small) for text in numbers), default=0.0)
    aside = max(_aside(axis.get_label_text(), sheet.theme) for axis in (axes.xaxis, axes.yaxis)) / sheet.theme.small
    room = np.array([[2.4 + aside, 2.2 + aside], [max(3.6, 1.6 + beside / sheet.theme.small), 0.2]]) * sheet.unit
    inner_low, inner_high = np.array([left, bottom]) + room[0], np.array([left + width, bottom + height]) - room[1]
    scale = float(np.min((inner_high - inner_low) / (high - low)))
    centre, middle = (inner_low + inner_high) / 2, (low + high) / 2
    corner = centre + scale * (np.array([left, bottom]) - middle)
    new = (corner[0] / sheet.width, corner[1] / sheet.height, scale * side / sheet.width, scale * side / sheet.height)
    axes.set_position(new)


def _rendered(
    sheet: Sheet,
    axes: Axes3D,
    scene: Scene,
    index: int,
    view: Projection,
    how: Render,
    stages: Stages | None,
    dpi: float,
) -> None:
    """Put the rendered relief behind the axes, exactly where they would have drawn it."""
    from mpl_toolkits.mplot3d.proj3d import proj_transform

    figure = sheet.figure
    right, up, _ = view.frame
    box = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, RELIEF_HEIGHT * (1 + FLOOR))])
    corners = np.array([(x, y, z) for x in axes.get_xlim() for y in axes.get_ylim() for z in axes.get_zlim()])
    flat_x, flat_y, _ = proj_transform(*corners.T, axes.get_proj())
    placed = axes.transData.transform(np.column_stack([flat_x, flat_y])) - figure.bbox.p0
    # A parallel projection is linear, so two of its corners say where all of it lies.
    across = box @ right
    unit = np.ptp(placed[:, 0]) / np.ptp(across)
    origin = placed[0] - unit * np.array([across[0], (box @ up)[0]])
    low, high = origin + unit * view.low, origin + unit * view.high
    scale = dpi / figure.dpi
    pixels = (round(scale * (high - low)[0]), round(scale * (high - low)[1]))
    image = _picture(scene, index, view, pixels, how, stages)
    left, bottom = low / figure.dpi / (sheet.width, sheet.height)
    width, height = (high - low) / figure.dpi / (sheet.width, sheet.height)
    behind = figure.add_axes((left, bottom, width, height), zorder=-1, gid=f"rendered-{index}")
    behind.set_axis_off()
    behind.imshow(image, aspect="auto", interpolation="none")


def _picture(
    scene: Scene, index: int, view: Projection, pixels: tuple[int, int], how: Render, stages: Stages | None = None
) -> np.ndarray:
    """One relief; a stage that is not kept is closed at once."""
    if stages is None:
        stage = Stage(scene, index, how, floor=FLOOR, pixels=pixels)
        try:
            return stage.picture(view)
        finally:
            stage.close()
    if (index, pixels) not in stages:
        stages[index, pixels] = Stage(scene, index, how, floor=FLOOR, pixels=pixels)
    return stages[index, pixels].picture(view)


def _outline(steady: bool) -> np.ndarray:
    """float64 [n, 3]: the corners of a box of side 1, or the cylinder around it, which looks alike from every side."""
    turns = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    around = 0.5 + np.column_stack([np.cos(turns), np.sin(turns)]) * math.sqrt(0.5)
    flat = around if steady else np.array([(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)])
    return np.concatenate([np.column_stack([flat, np.full(len(flat), z)]) for z in (0.0, 1.0)])


def whole_view(scene: Scene, *, steady: bool = False) -> Projection:
    """The view that holds the whole box of a relief, or the cylinder around it."""
    view = Projection(camera=scene.camera, low=np.zeros(2), high=np.zeros(2))
    right, up, _ = view.frame
    box = _outline(steady) * [1.0, 1.0, RELIEF_HEIGHT * (1 + FLOOR)]
    flat = np.column_stack([box @ right, box @ up])
    return replace(view, low=flat.min(axis=0) - 0.02, high=flat.max(axis=0) + 0.02)


def bare(scene: Scene, how: Render) -> np.ndarray:
    """Rendered reliefs side by side, and nothing else.

    Args:
        scene: a scene of kind "surface".
        how: how wide, and what is in the picture.

    Returns:
        uint8 [height, width, 4].
    """
    view = whole_view(scene)
    across, tall = view.high - view.low
    width = how.width // len(scene.panels)
    pixels = (width, round(width * tall / across))
    parts = [_picture(scene, index, view, pixels, how) for index in range(len(scene.panels))]
    whole = np.concatenate(parts, axis=1)
    if how.transparent:
        return whole
    paper = np.array([int(scene.theme.paper[i : i + 2], 16) for i in (1, 3, 5)])
    share = whole[..., 3:] / 255
    solid = np.round(whole[..., :3] * share + paper * (1 - share))
    return np.concatenate([solid, np.full((*solid.shape[:2], 1), 255)], axis=-1).astype(np.uint8)
