"""How paths, points and regions are drawn on a map or a surface on paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from lossatlas.draw.scene import Cells, Scene
from lossatlas.draw.sheet import Box, Entry, text_width, touch
from lossatlas.figure.overlays import Path, Points, Regions, borders

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from mpl_toolkits.mplot3d.axes3d import Axes3D  # type: ignore[import-untyped]

__all__ = ["REGIONS", "SYMBOLS", "colour", "dense", "draw", "draw_relief", "key", "lifted", "named_places"]

SYMBOLS = {"circle": "o", "triangle": "^", "square": "s", "cross": "X"}
REGIONS = ("#ffffff", "#ff8a5c", "#5cc8ff", "#ffd84d", "#c08aff", "#6fe3a1", "#ff7ab8", "#a0a0a0")


def draw(axes: Axes, scene: Scene, panel: Cells, number: int) -> None:
    """Draw the overlays of one panel of a map."""
    taken: list[Box] = []
    before = list(axes.texts)
    for index, overlay in enumerate(scene.overlays):
        if overlay.panel not in (None, number):
            continue
        if isinstance(overlay, Regions):
            _regions(axes, scene, panel, overlay)
        else:
            _line_and_dots(axes.plot, scene, overlay, colour(scene, index), (overlay.x, overlay.y))
            _words(axes, scene, overlay, taken)
    _give_way(axes, scene, before, taken)


def _give_way(axes: Axes, scene: Scene, labels: Sequence[Text], taken: list[Box]) -> None:
    """Take away the values on contour lines that words or a path lie upon."""
    size = scene.theme.small
    for label in labels:
        x, y = _on_page(axes, *(np.array([part]) for part in label.get_position()))[0]
        half = text_width(label.get_text(), size) / 2
        box = (x - half, x + half, y - 0.6 * size, y + 0.6 * size)
        paths = [overlay for overlay in scene.overlays if isinstance(overlay, Path)]
        if any(touch(box, other) for other in taken) or any(_crosses(axes, path, box) for path in paths):
            label.remove()


def _on_page(axes: Axes, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Places in points on the page, float64 [n, 2]."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return np.asarray(axes.transData.transform(np.column_stack([x, y])) * 72.0 / figure.dpi)


def _crosses(axes: Axes, path: Path, box: Box) -> float:
    """How far a path runs through a box, in points."""
    places = _on_page(axes, *dense(path))
    x, y = (places[1:] + places[:-1]).T / 2
    inside = (box[0] < x) & (x < box[1]) & (box[2] < y) & (y < box[3])
    return float(np.linalg.norm(np.diff(places, axis=0), axis=1)[inside].sum())


def draw_relief(axes: Axes3D, scene: Scene, panel: Cells, number: int, heights: np.ndarray, floor: float) -> None:
    """Draw paths and points twice: on the surface, and on the map below it. Regions lie on the map alone."""
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
            axes.plot(*over, color=shade, linewidth=1.8 * scene.theme.stroke, zorder=6)
        else:
            _line_and_dots(axes.plot, scene, overlay, shade, lifted(panel, heights, overlay.x, overlay.y), 6)


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
        ends = tuple(part[[0, -1]] for part in places)
        style = {"markersize": 0.65 * size, "mew": 1.2 * stroke, "zorder": zorder, "color": shade}
        plot(*(end[:1] for end in ends), "o", mec="#000000b0", mfc="white", **{**style, "color": None})
        plot(*(end[1:] for end in ends), "o", mec="#000000b0", **style)
    else:
        style = {"markersize": 0.7 * size, "mew": 0.9 * stroke, "mec": "#000000b0", "zorder": zorder + 0.5}
        plot(*places, SYMBOLS[overlay.symbol], color=shade, **style)


def _words(axes: Axes, scene: Scene, overlay: Path | Points, taken: list[Box]) -> None:
    """Words beside places, those left out that would lie on others or beyond the frame."""
    from matplotlib import patheffects

    words = overlay.words if isinstance(overlay, Path) else enumerate(overlay.words)
    size = scene.theme.small
    for index, text in words:
        at = float(overlay.x[index]), float(overlay.y[index])
        side = _free_side(axes, at, text, size, taken, overlay)
        if not text or side is None:
            continue
        left, up = side
        written = axes.annotate(
            text, at, (left * size, up * size), "data", "offset points",
            ha="left" if left > 0 else "right", va="bottom" if up > 0 else "top", fontsize=size,
            color="white", zorder=8, parse_math=False,
        )  # fmt: skip
        halo = patheffects.withStroke(linewidth=2.4 * scene.theme.stroke, foreground="#000000a0")
        written.set_path_effects([halo])


def _free_side(
    axes: Axes, at: tuple[float, float], text: str, size: float, taken: list[Box], overlay: Path | Points
) -> tuple[float, float] | None:
    """Where beside a place there is room for words, in their size, best off the path; what they take is noted."""
    found = []
    for left, up in ((0.6, 0.5), (-0.6, 0.5), (0.6, -0.6), (-0.6, -0.6)):
        box = _box(axes, at, text, size, left, up)
        if _fits(axes, box) and not any(touch(box, other) for other in taken):
            crossed = _crosses(axes, overlay, box) if isinstance(overlay, Path) else 0.0
            found.append((crossed, left, up, box))
    if not found:
        return None
    _, left, up, box = min(found, key=lambda side: side[0])
    taken.append(box)
    return left, up


def _box(axes: Axes, at: tuple[float, float], text: str, size: float, left: float, up: float) -> Box:
    figure = axes.get_figure(root=True)
    assert figure is not None
    x, y = axes.transData.transform(at) * 72.0 / figure.dpi
    width, low = text_width(text, size), y + up * size - (0 if up > 0 else 1.2 * size)
    start = x + left * size - (0 if left > 0 else width)
    return start, start + width, low, low + 1.2 * size


def _fits(axes: Axes, box: Box) -> bool:
    figure = axes.get_figure(root=True)
    assert figure is not None
    left, low, right, high = np.array(axes.bbox.extents) * 72.0 / figure.dpi
    return bool(left < box[0] and box[1] < right and low < box[2] and box[3] < high)


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
            style["markevery"] = (1, 2)  # a key is a line of two points, and one symbol is enough
            style |= {"markersize": size, "markeredgecolor": "#000000b0", "markeredgewidth": 0.9 * scene.theme.stroke}
        entries.append(Entry(words=overlay.label, style=style, swatch=isinstance(overlay, Regions)))
    return entries
