"""How paths, points and regions are drawn on a map or a surface on paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from lossatlas.draw import on_page, static_arrows
from lossatlas.draw.scene import Cells, Scene
from lossatlas.draw.sheet import Box, Entry, shortened, text_width, touch
from lossatlas.figure.overlays import Path, Points, Regions, borders

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from mpl_toolkits.mplot3d.axes3d import Axes3D  # type: ignore[import-untyped]

__all__ = [
    "REGIONS",
    "SYMBOLS",
    "colour",
    "dense",
    "draw",
    "draw_relief",
    "key",
    "lifted",
    "name_relief",
    "named_places",
    "without_room",
]

SYMBOLS = {"circle": "o", "triangle": "^", "square": "s", "cross": "X"}
SIDES = ((0.6, 0.5), (-0.6, 0.5), (0.6, -0.6), (-0.6, -0.6))
LEVEL = ((1.0, 0.0), (-1.0, 0.0), (0.0, 0.9), (0.0, -0.9))
FURTHER = tuple((left, up) for up in (1.8, -1.9, 3.1, -3.2) for left in (0.6, -0.6))
"""Where words go beside a place, in units of their text size: at a corner, level with it (0: centred), or further off
where it is crowded."""

REGIONS = ("#ffffff", "#ff8a5c", "#5cc8ff", "#ffd84d", "#c08aff", "#6fe3a1", "#ff7ab8", "#a0a0a0")


@dataclass
class _Room:
    """Where words may go.

    Attributes:
        bounds: the frame they must stay within, in points on the page.
        on_page: places on the page, float64 [n, 2] in points, of coordinates; NaN for what is not drawn.
        write: writes words beside a place, aligned, and returns them.
        plate: whether words get a plate of the paper's colour, since what is behind them may be light or dark.
        taken: what is already occupied.
        lines: paths on the page, float64 [n, 2] in points, which words should avoid.
        left_out: words that found no room.
    """

    bounds: Box
    on_page: Callable[[np.ndarray, np.ndarray], np.ndarray]
    write: Callable[..., Text]
    plate: bool = False
    taken: list[Box] = field(default_factory=list)
    lines: list[np.ndarray] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    written: list[tuple[str, np.ndarray]] = field(default_factory=list)


def draw(axes: Axes, scene: Scene, panel: Cells, number: int) -> list[str]:
    """Draw the overlays of one panel of a map.

    Returns:
        The words that found no room.
    """
    room = _Room(on_page.box_of(axes), partial(on_page.places, axes), partial(_beside, axes))
    before = list(axes.texts)
    for index, overlay in enumerate(scene.overlays):
        if overlay.panel not in (None, number):
            continue
        if isinstance(overlay, Regions):
            _regions(axes, scene, panel, overlay)
        else:
            _line_and_dots(axes.plot, scene, overlay, colour(scene, index), (overlay.x, overlay.y))
            for head in overlay.heads if isinstance(overlay, Path) else ():
                axes.add_patch(static_arrows.on_map(scene, colour(scene, index), head))
    _all_words(scene, number, room)
    _give_way(axes, scene, before, room.taken)
    return room.left_out


def _give_way(axes: Axes, scene: Scene, labels: Sequence[Text], taken: list[Box]) -> None:
    """Remove the values on contour lines that words or a path would cover."""
    size = scene.theme.small
    paths = [on_page.places(axes, *dense(overlay)) for overlay in scene.overlays if isinstance(overlay, Path)]
    for label in labels:
        x, y = on_page.places(axes, *label.get_position())[0]
        half = text_width(label.get_text(), size) / 2
        box = (x - half, x + half, y - 0.6 * size, y + 0.6 * size)
        if any(touch(box, other) for other in taken) or any(_crosses(path, box) for path in paths):
            label.remove()


def _crosses(places: np.ndarray, box: Box) -> float:
    """How far a path on the page runs through a box, in points."""
    x, y = (places[1:] + places[:-1]).T / 2
    inside = (box[0] < x) & (x < box[1]) & (box[2] < y) & (y < box[3])
    return float(np.linalg.norm(np.diff(places, axis=0), axis=1)[inside].sum())


def draw_relief(axes: Axes3D, scene: Scene, panel: Cells, number: int, heights: np.ndarray, floor: float) -> None:
    """Draw paths and points twice: on the surface, and on the map below it. Regions lie only on the map."""
    for index, overlay in enumerate(scene.overlays):
        if overlay.panel not in (None, number):
            continue
        if isinstance(overlay, Regions):
            x, y = borders(overlay.cells, *(axis.edges for axis in panel.axes))
            axes.plot(x, y, np.full(len(x), floor), color="white", linewidth=1.2 * scene.theme.stroke, zorder=1.5)
            continue
        shade = colour(scene, index)
        over = lifted(panel, heights, *dense(overlay))
        _line_and_dots(axes.plot, scene, overlay, shade, (overlay.x, overlay.y, np.full(len(overlay.x), floor)), 2)
        if isinstance(overlay, Path):
            axes.plot(*over, color="#00000090", linewidth=3.2 * scene.theme.stroke, zorder=6)
            axes.plot(*over, color=shade, linewidth=1.8 * scene.theme.stroke, zorder=6)
            _ends(axes.plot, scene, shade, over, 6.1)
            for head in overlay.heads:
                below = np.column_stack([head, (floor, floor)])
                upon = np.column_stack(lifted(panel, heights, *head.T))
                for ends, zorder in ((below, 2), (upon, 6)):
                    if np.isfinite(ends).all():
                        axes.add_artist(static_arrows.in_space(scene, shade, ends, zorder))
        else:
            _line_and_dots(axes.plot, scene, overlay, shade, lifted(panel, heights, overlay.x, overlay.y), 6)


def name_relief(
    axes: Axes3D, scene: Scene, panel: Cells, number: int, heights: np.ndarray, bounds: tuple[float, ...]
) -> list[str]:
    """Write words beside places on the surface, once the axes are in their final place.

    Args:
        axes: those of the relief.
        scene: what is drawn.
        panel: the field.
        number: of the panel.
        heights: of the surface.
        bounds: left, bottom, width and height of the panel in inches on the page.

    Returns:
        The words that found no room.
    """
    if not any(overlay.words for overlay in scene.overlays if not isinstance(overlay, Regions)):
        return []
    axes.get_figure(root=True).draw_without_rendering()  # where the numbers of the axes go is known only when drawn
    left, bottom, width, height = (72.0 * part for part in bounds)
    where, writes = partial(_in_relief, axes, panel, heights), partial(_pinned, axes, panel, heights)
    room = _Room((left, left + width, bottom, bottom + height), where, writes, plate=True)
    each = (axes.xaxis, axes.yaxis, axes.zaxis)
    ticks = [tick.label1 for axis in each for tick in axis.majorTicks]  # get_ticklabels() would move them
    words = [*axes.texts, *(axis.label for axis in each), *ticks]
    for one in (text.get_window_extent() for text in words if text.get_text()):
        scale = on_page.points_a_pixel(axes)
        room.taken.append((one.x0 * scale, one.x1 * scale, one.y0 * scale, one.y1 * scale))
    _all_words(scene, number, room)
    return room.left_out


def without_room(scene: Scene, words: Sequence[str]) -> Scene:
    """A scene whose caption names the words that found no room."""
    said = f"no room to label: {', '.join(dict.fromkeys(words))}"
    known, cut = scene.caption, scene.range.clipped is not None or scene.range.floored is not None
    what = (*known.what[:cut], said, *known.what[cut:])
    notes = f"{known.notes} N{said[1:]}.".strip()
    return replace(scene, caption=replace(known, what=what, notes=notes))


def _in_relief(axes: Axes3D, panel: Cells, heights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Places on a surface, in points on the page, float64 [n, 2]; NaN beyond it."""
    from mpl_toolkits.mplot3d.proj3d import proj_transform  # type: ignore[import-untyped]

    flat_x, flat_y, _ = proj_transform(*lifted(panel, heights, x, y), axes.get_proj())
    return on_page.places(axes, flat_x, flat_y)


def _pinned(axes: Axes3D, panel: Cells, heights: np.ndarray, at: tuple[float, float], text: str, **style: Any) -> Text:
    """Words that stay beside their place when the surface is turned."""
    place = tuple(float(part[0]) for part in lifted(panel, heights, np.array([at[0]]), np.array([at[1]])))
    return axes.annotate(text, (0, 0), xycoords=partial(_seen_at, axes, place), **style)  # type: ignore[no-any-return]


def _seen_at(axes: Axes3D, place: tuple[float, ...], _: object) -> Any:
    """Where a place in space now appears, as a transform of the origin."""
    from matplotlib.transforms import Affine2D
    from mpl_toolkits.mplot3d.proj3d import proj_transform

    x, y, _depth = proj_transform(*place, axes.get_proj())
    return Affine2D().translate(*axes.transData.transform((x, y)))


def named_places(scene: Scene) -> list[tuple[float, float]]:
    """Places beside which words will stand, so that no other words are put there."""
    places = []
    for overlay in scene.overlays:
        if isinstance(overlay, Regions):
            continue
        words = overlay.words if isinstance(overlay, Path) else enumerate(overlay.words)
        places += [(float(overlay.x[index]), float(overlay.y[index])) for index, text in words if text]
    return places


def colour(scene: Scene, index: int) -> str:
    """The colour of an overlay: paths and points take turns."""
    before = sum(not isinstance(overlay, Regions) for overlay in scene.overlays[:index])
    return scene.theme.upon[before % len(scene.theme.upon)]


def lifted(panel: Cells, heights: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Places with the height of the surface there; NaN beyond it."""
    known = tuple(axis.coordinates for axis in panel.axes)
    surface = RegularGridInterpolator(known, heights, bounds_error=False, fill_value=np.nan)
    return x, y, surface(np.column_stack([x, y]))


def dense(overlay: Path | Points) -> tuple[np.ndarray, np.ndarray]:
    """A path with points between its own, so that it follows the surface."""
    if isinstance(overlay, Points) or len(overlay.x) < 2:
        return overlay.x, overlay.y
    at = np.linspace(0, len(overlay.x) - 1, max(200, 4 * len(overlay.x)))
    own = np.arange(len(overlay.x))
    return np.interp(at, own, overlay.x), np.interp(at, own, overlay.y)


def _line_and_dots(
    plot: Callable[..., Any], scene: Scene, overlay: Path | Points, shade: str, places: Any, zorder: float = 6
) -> None:
    stroke, size = scene.theme.stroke, scene.theme.small
    if isinstance(overlay, Path):
        plot(*places, color="#00000090", linewidth=3.2 * stroke, zorder=zorder, solid_joinstyle="round")
        plot(*places, color=shade, linewidth=1.8 * stroke, zorder=zorder, solid_joinstyle="round")
        if overlay.dots:
            plot(*places, ".", color=shade, markersize=0.55 * size, mew=0, zorder=zorder)
        _ends(plot, scene, shade, places, zorder)
    else:
        style = {"markersize": 0.7 * size, "mew": 0.9 * stroke, "mec": "#000000b0", "zorder": zorder + 0.5}
        plot(*places, SYMBOLS[overlay.symbol], color=shade, **style)


def _ends(plot: Callable[..., Any], scene: Scene, shade: str, places: Any, zorder: float) -> None:
    """Where a path begins, a ring, and where it ends, a disc."""
    style = {"markersize": 0.65 * scene.theme.small, "mew": 1.2 * scene.theme.stroke, "zorder": zorder}
    for at, fill in ((slice(None, 1), "white"), (slice(-1, None), shade)):
        plot(*(part[at] for part in places), "o", mec="#000000b0", mfc=fill, **style)


def _all_words(scene: Scene, number: int, room: _Room) -> None:
    """The words of all paths and points, which cover no mark and no other words."""
    upon = [one for one in scene.overlays if not isinstance(one, Regions) and one.panel in (None, number)]
    half = 0.4 * scene.theme.small
    room.lines += [room.on_page(*dense(overlay)) for overlay in upon if isinstance(overlay, Path)]
    for overlay in upon:
        for x, y in room.on_page(overlay.x, overlay.y) if isinstance(overlay, Points) else ():
            if np.isfinite(x + y):
                room.taken.append((x - half, x + half, y - half, y + half))
    for overlay in upon:
        _words(scene, overlay, room)


def _words(scene: Scene, overlay: Path | Points, room: _Room) -> None:
    """Words beside places; those are left out that would cover others, leave the frame, or cover their own path."""
    from matplotlib import patheffects

    words = overlay.words if isinstance(overlay, Path) else enumerate(overlay.words)
    size, widest = scene.theme.small, 0.6 * (room.bounds[1] - room.bounds[0])
    places = room.on_page(overlay.x, overlay.y)
    on_path = isinstance(overlay, Path)
    sides = (*SIDES, *LEVEL, *FURTHER) if on_path else (*SIDES, *FURTHER)
    for index, known in words:
        text = shortened(known, size, widest)
        # Runs that begin at the same weights have one start, and one name for it is enough.
        if any(text == said and np.linalg.norm(places[index] - at) < size / 2 for said, at in room.written):
            continue
        side = _free_side(places[index], text, size, room, sides, clear=on_path) if text else None
        if side is None:
            if text and _fits(room.bounds, tuple(places[index].repeat(2))):
                room.left_out.append(known)
            continue
        left, up = side
        room.written.append((text, places[index]))
        written = room.write(
            (float(overlay.x[index]), float(overlay.y[index])), text, xytext=(left * size, up * size),
            textcoords="offset points", ha=_aligned(left, "left", "right"), va=_aligned(up, "bottom", "top"),
            fontsize=size, color=scene.theme.ink if room.plate else "white", zorder=8, parse_math=False, gid="name",
        )  # fmt: skip
        if room.plate:
            plate = {"facecolor": scene.theme.paper, "alpha": 0.7, "linewidth": 0, "boxstyle": "round,pad=0.12"}
            written.set_bbox(plate)
            continue
        halo = patheffects.withStroke(linewidth=2.4 * scene.theme.stroke, foreground="#000000a0")
        written.set_path_effects([halo])


def _aligned(offset: float, ahead: str, behind: str) -> str:
    return "center" if offset == 0 else ahead if offset > 0 else behind


def _beside(axes: Axes, at: tuple[float, float], text: str, **style: Any) -> Text:
    return axes.annotate(text, at, xycoords="data", **style)


def _free_side(
    place: np.ndarray, text: str, size: float, room: _Room, sides: Sequence[tuple[float, float]], *, clear: bool
) -> tuple[float, float] | None:
    """Where beside a place words have room, in units of their size, best clear of all paths; their room is noted.

    Returns:
        The side; none where there is no room, or none ``clear`` of all paths where that is wanted.
    """
    found = []
    for left, up in sides:
        box = _box(place, text, size, left, up)
        if _fits(room.bounds, box) and not any(touch(box, other) for other in room.taken):
            found.append((sum(_crosses(line, box) for line in room.lines), left, up, box))
    crossed, left, up, box = min(found, key=lambda side: side[0], default=(np.inf, 0.0, 0.0, (0.0, 0.0, 0.0, 0.0)))
    if not found or (clear and crossed > 0):
        return None
    room.taken.append(box)
    return left, up


def _box(place: np.ndarray, text: str, size: float, left: float, up: float) -> Box:
    x, y = place
    width = text_width(text, size)
    low = y + up * size - 1.2 * size * (1 - np.sign(up)) / 2
    start = x + left * size - width * (1 - np.sign(left)) / 2
    return start, start + width, low, low + 1.2 * size


def _fits(bounds: Box, box: Box) -> bool:
    return bool(bounds[0] < box[0] and box[1] < bounds[1] and bounds[2] < box[2] and box[3] < bounds[3])


def _regions(axes: Axes, scene: Scene, panel: Cells, overlay: Regions) -> None:
    from matplotlib.colors import ListedColormap

    x, y = (axis.edges for axis in panel.axes)
    tints = np.ma.masked_less(overlay.cells.T, 0) % len(REGIONS)
    shades = ListedColormap(list(REGIONS))
    axes.pcolormesh(
        x, y, tints, cmap=shades, vmin=-0.5, vmax=len(REGIONS) - 0.5, alpha=0.3, linewidth=0, zorder=2.5,
        rasterized=True, gid="regions",
    )  # fmt: skip
    axes.plot(*borders(overlay.cells, x, y), color="white", linewidth=1.4 * scene.theme.stroke, zorder=2.6)


def key(scene: Scene) -> list[Entry]:
    """The words of the overlays that have any."""
    from matplotlib import patheffects

    entries: list[Entry] = []
    size = 0.7 * scene.theme.small
    for index, overlay in enumerate(scene.overlays):
        style: dict[str, object]
        if not overlay.label or overlay.label in [entry.words for entry in entries]:
            continue
        if isinstance(overlay, Regions):
            style = {"facecolor": REGIONS[1], "alpha": 0.5, "edgecolor": scene.theme.faint, "linewidth": 0.4}
        elif isinstance(overlay, Path):
            halo = patheffects.withStroke(linewidth=3.8 * scene.theme.stroke, foreground="#00000090")
            style = {"color": colour(scene, index), "linewidth": 2.4 * scene.theme.stroke, "path_effects": [halo]}
        else:
            style = {"color": colour(scene, index), "linestyle": "none", "marker": SYMBOLS[overlay.symbol]}
            style |= {"markersize": size, "markeredgecolor": "#000000b0", "markeredgewidth": 0.9 * scene.theme.stroke}
        entries.append(Entry(words=overlay.label, style=style, swatch=isinstance(overlay, Regions)))
    return entries
