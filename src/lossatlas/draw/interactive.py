"""How a scene becomes one page that works without a network: html with linked 3-D surface and contour map."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from lossatlas import extras
from lossatlas.draw import cuts
from lossatlas.draw.captions import reason
from lossatlas.draw.scene import Cells, Curve, PictureAxis, Scene
from lossatlas.draw.static_overlays import REGIONS, colour
from lossatlas.figure.overlays import Path as Way
from lossatlas.figure.overlays import Regions, borders
from lossatlas.figure.palettes import THEMES, Theme, anchors
from lossatlas.figure.ranges import Range

__all__ = ["SUFFIXES", "check", "in_script", "page", "payload", "write"]

SUFFIXES = (".html",)


def check(scene: Scene, suffix: str) -> None:
    """Every scene can be drawn; only the library may be missing.

    Args:
        scene: what is to be drawn.
        suffix: the format.

    Raises:
        ImportError: the library is not installed; the message has the command that installs it.
    """
    extras.require("plotly.offline", extra="html", purpose=f"write a {suffix} file")


def write(scene: Scene, path: Path) -> None:
    """Write the page.

    Args:
        scene: what is drawn, from :func:`lossatlas.draw.view.compile`.
        path: the file.

    Raises:
        ImportError: plotly is not installed; the message has the command that installs it.
    """
    path.write_text(page(scene), encoding="utf-8")


def page(scene: Scene) -> str:
    """The page as text: the library, the data and the code are inside, nothing is loaded from elsewhere.

    Args:
        scene: what is drawn.

    Returns:
        A complete html document.
    """
    offline = extras.require("plotly.offline", extra="html", purpose="draw an interactive page")
    parts = {
        "title": html.escape(scene.title or " · ".join(_titles(scene)) or "Loss landscape"),
        "style": _resource("page.css"),
        "library": offline.get_plotlyjs(),
        "data": in_script(payload(scene)),
        "code": _resource("page.js"),
    }
    document = _resource("page.html")
    # One pass over the template: what is put in is never searched for further marks.
    pieces = document.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


def _resource(name: str) -> str:
    return resources.files("lossatlas.draw").joinpath("page", name).read_text(encoding="utf-8")


def in_script(content: Any) -> str:
    r"""JSON that may stand inside a script element: no character in it can end the element.

    Returns:
        The text.

    Example:
        >>> in_script({"title": "</script>"})
        '{"title":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def payload(scene: Scene) -> dict[str, Any]:
    """All that the page draws, as JSON types.

    Values are indexed ``[k][j][i]`` with i along the first axis, j along the second and k along the third: rows
    are y, as the plotting library has it.

    Returns:
        A mapping that :func:`in_script` takes.
    """
    values = list(dict.fromkeys(value for value, _, _ in scene.looks))
    blocks = scene.volumes or scene.panels
    return {
        "heading": scene.title,
        "kind": scene.kind,
        "value": scene.value,
        "label": scene.label,
        "alongside": scene.alongside,
        "values": values,
        "log": scene.range.scale != "linear",
        "clip": scene.range.clipped is not None or scene.range.floored is not None,
        "theme": scene.theme_name,
        "themes": {name: _theme(theme) for name, theme in THEMES.items()},
        "regions": REGIONS,
        "colours": {value: anchors(_colours(scene, value)) for value in values},
        "camera": scene.camera,
        "limits": scene.limits,
        "looks": {_key(*key): {**_look(look.range), "words": look.words} for key, look in scene.looks.items()},
        "beside": _look(scene.beside_range) if scene.beside_range else None,
        "blocks": [_block(block, values, shows_points=scene.shows_points) for block in blocks],
        "overlays": [_overlay(scene, index) for index in range(len(scene.overlays))],
        "curves": [_curve(curve, values) for curve in scene.curves],
        "caption": {
            name: getattr(scene.caption, name)
            for name in ("about", "axes", "centre", "shown", "runs", "empty", "notes", "caveat")
        },
    }


def _overlay(scene: Scene, index: int) -> dict[str, Any]:
    overlay = scene.overlays[index]
    common = {"panel": overlay.panel, "label": overlay.label}
    if isinstance(overlay, Regions):
        panel = scene.panels[overlay.panel or 0]
        edges = [axis.edges for axis in panel.axes]
        x, y = borders(overlay.cells, *edges)
        boxes = [_boxes(overlay.cells == region, *edges) for region in range(int(overlay.cells.max()) + 1)]
        return {**common, "kind": "regions", "boxes": boxes, "x": _plain(x), "y": _plain(y)}
    places = {"x": _plain(overlay.x), "y": _plain(overlay.y), "colour": colour(scene.overlays, index)}
    if isinstance(overlay, Way):
        named = dict(overlay.words)
        text = [named.get(place, "") for place in range(len(overlay.x))]
        return {**common, **places, "kind": "path", "words": text, "dots": overlay.dots}
    words = list(overlay.words) or [""] * len(overlay.x)
    return {**common, **places, "kind": "points", "words": words, "symbol": overlay.symbol}


def _titles(scene: Scene) -> list[str]:
    titles = [*(panel.title for panel in scene.panels), *(curve.title for curve in scene.curves)]
    return list(dict.fromkeys(titles))


def _key(value: str, scale: str, clipped: bool) -> str:
    return f"{scale}|{'clip' if clipped else 'whole'}|{value}"


def _colours(scene: Scene, value: str) -> Any:
    if value == scene.value:
        return scene.colours
    return "viridis" if value == "loss" else "cividis"


def _theme(theme: Theme) -> dict[str, Any]:
    return {"paper": theme.paper, "ink": theme.ink, "faint": theme.faint, "lines": theme.lines}


def _look(shown: Range) -> dict[str, Any]:
    heights, labels = shown.ticks(10)
    bottom, top = shown.limits
    return {
        "scale": shown.scale,
        "low": shown.low,
        "high": shown.high,
        "linear_below": shown.linear_below if np.isfinite(shown.linear_below) else None,
        "bottom": bottom,
        "top": top,
        "levels": shown.heights(np.array(shown.levels, float)).tolist(),
        "ticks": heights.tolist(),
        "labels": labels,
        "clipped": shown.clipped is not None or shown.floored is not None,
    }


def _axis(axis: PictureAxis) -> dict[str, Any]:
    known = np.isfinite(axis.length) and axis.length > 0
    return {
        "name": axis.name,
        "label": axis.label,
        "coordinates": axis.coordinates.tolist(),
        "length": axis.length if known else None,
    }


def _block(block: Cells, values: Sequence[str], *, shows_points: bool = False) -> dict[str, Any]:
    """A panel, or a volume as one panel for each coordinate of its third axis."""
    volume = len(block.axes) == 3
    return {
        "title": block.title,
        "axes": [_axis(axis) for axis in block.axes],
        "centre": block.marks_centre,
        "evaluated": _rows(block.evaluated.astype(float)) if shows_points else None,
        "values": {value: _rows(np.where(block.drawable(value), block.values[value], np.nan)) for value in values},
        "why": {value: _reasons(block, value) for value in values},
        "hatched": {
            value: [_hatched(layer, value) for layer in (_layers(block) if volume else [block])] for value in values
        },
    }


def _rows(array: np.ndarray) -> Any:
    """``[k][j][i]`` from an array [i, j] or [i, j, k]; null where there is no number."""
    stacked = array[..., None] if array.ndim == 2 else array
    return _plain(stacked.transpose(2, 1, 0))


def _plain(array: np.ndarray) -> Any:
    plain = array.astype(object)
    plain[~np.isfinite(array)] = None
    return plain.tolist()


def _reasons(block: Cells, value: str) -> Mapping[str, Any]:
    """For the hover: indices ``[k, j, i]`` of cells without a value, by reason."""
    return {
        reason(status): np.argwhere(mask[..., None] if mask.ndim == 2 else mask)[:, ::-1].tolist()
        for status, mask in block.hatched(value).items()
    }


def _layers(block: Cells) -> list[Cells]:
    return [
        Cells(
            title=block.title,
            axes=block.axes[:2],
            values={name: array[..., k] for name, array in block.values.items()},
            status=block.status[..., k],
        )
        for k in range(block.status.shape[2])
    ]


def _hatched(block: Cells, value: str) -> dict[str, list[tuple[float, float, float, float]]]:
    """By reason, the hatched rectangles: left, right, low, high."""
    edges = [axis.edges for axis in block.axes]
    return {reason(status): _boxes(mask, *edges) for status, mask in block.hatched(value).items()}


def _boxes(mask: np.ndarray, x: np.ndarray, y: np.ndarray) -> list[tuple[float, float, float, float]]:
    """The true cells as few rectangles: left, right, low, high."""
    left, low = x.tolist(), y.tolist()
    return [(left[i], left[i + 1], low[first], low[last + 1]) for i, first, last in cuts.strips(mask)]


def _curve(curve: Curve, values: Sequence[str]) -> dict[str, Any]:
    edges = curve.axis.edges
    empty = {
        value: sorted(
            {
                (float(edges[index]), float(edges[index + 1]), reason(status))
                for member in curve.members
                for status, mask in member.hatched(value).items()
                for index in np.flatnonzero(mask)
            }
        )
        for value in values
    }
    return {
        "title": curve.title,
        "axis": _axis(curve.axis),
        "runs": len(curve.members),
        "centre": all(member.marks_centre for member in curve.members),
        "median": {value: _plain(curve.median(value)) for value in values},
        "band": {value: [_plain(edge) for edge in curve.band(value)] for value in values},
        "empty": empty,
    }
