"""Which content of a scene does the page draw? Words as JSON, numbers as typed arrays beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lossatlas.draw.captions import reason
from lossatlas.draw.ratio import RatioMap
from lossatlas.draw.scene import Cells, Curve, PictureAxis, Scene
from lossatlas.draw.static_overlays import REGIONS, colour
from lossatlas.field.layers import Layer, layers
from lossatlas.figure.overlays import Path as Way
from lossatlas.figure.overlays import Points, Regions
from lossatlas.figure.palettes import OWN, THEMES, Theme, anchors
from lossatlas.figure.ranges import Range
from lossatlas.results.landscape import Status

__all__ = ["packed", "payload"]

_NO_REGION = 255


def payload(scene: Scene) -> dict[str, Any]:
    """All that the page draws: JSON types, and NumPy arrays where there are numbers.

    Arrays are indexed ``[k, j, i]`` with i along the first axis, j along the second and k along the third.

    Args:
        scene: what is drawn.

    Returns:
        A mapping that :func:`packed` takes.
    """
    values = list(dict.fromkeys(value for value, _, _ in scene.looks))
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
        "maps": {name: anchors(name) for name in dict.fromkeys((*OWN, scene.colours))},
        "colours": {value: _colours(scene, value) for value in values},
        "camera": scene.camera,
        "limits": scene.limits,
        "looks": {_key(*key): {**_look(look.range), "words": look.words} for key, look in scene.looks.items()},
        "first": {**_look(scene.range), "words": scene.caption.shown},
        "beside": {**_look(scene.beside_range), "names": scene.beside} if scene.beside_range else None,
        "reasons": {str(int(status)): _said(status) for status in Status if status != Status.OK},
        "points": scene.shows_points,
        "contours": scene.shows_contours,
        "blocks": _blocks(scene, values),
        "overlays": [_overlay(scene, index) for index in range(len(scene.overlays))],
        "curves": [_curve(curve, values) for curve in scene.curves],
        "facts": scene.facts,
        "caption": {
            name: getattr(scene.caption, name)
            for name in ("about", "axes", "centre", "shown", "runs", "empty", "notes", "caveat")
        },
    }


def packed(content: Any) -> tuple[Any, bytes]:
    """Take the arrays out of a payload, so that what is left is JSON.

    Args:
        content: as :func:`payload` gives it.

    Returns:
        The same with ``{"$": [offset, kind, shape]}`` in place of every array, kind "f8" (little-endian float64) or
        "u1"; and the bytes of all arrays. Every offset is a multiple of 8.

    Example:
        >>> packed({"x": np.array([1.0, 2.0]), "name": "a"})[0]
        {'x': {'$': [0, 'f8', [2]]}, 'name': 'a'}
    """
    pieces: list[bytes] = []
    size = 0

    def taken(part: Any) -> Any:
        nonlocal size
        if isinstance(part, np.ndarray):
            kind = "u1" if part.dtype in (np.int8, np.uint8, np.bool_) else "f8"
            raw = np.ascontiguousarray(part, "u1" if kind == "u1" else "<f8").tobytes()
            place, padded = size, raw + bytes(-len(raw) % 8)
            pieces.append(padded)
            size += len(padded)
            return {"$": [place, kind, list(part.shape)]}
        if isinstance(part, dict):
            return {name: taken(inner) for name, inner in part.items()}
        if isinstance(part, (list, tuple)):
            return [taken(inner) for inner in part]
        return part

    return taken(content), b"".join(pieces)


def _said(status: Status) -> str:
    return "interpolated" if status == Status.INTERPOLATED else reason(status)


def _overlay(scene: Scene, index: int) -> dict[str, Any]:
    overlay = scene.overlays[index]
    common = {"panel": overlay.panel, "label": overlay.label}
    if isinstance(overlay, Regions):
        return {**common, "kind": "regions", "cells": overlay.cells.T.astype(float)}
    places = {"x": overlay.x, "y": overlay.y, "colour": colour(scene, index)}
    if isinstance(overlay, Way):
        named = dict(overlay.words)
        text = [named.get(place, "") for place in range(len(overlay.x))]
        return {
            **common,
            **places,
            "kind": "path",
            "words": text,
            "dots": overlay.dots,
            "arrows": list(overlay.arrows),
            "along": dict(overlay.along),
        }
    assert isinstance(overlay, Points)
    words = list(overlay.words) or [""] * len(overlay.x)
    return {**common, **places, "kind": "points", "words": words, "symbol": overlay.symbol}


def _key(value: str, scale: str, clipped: bool) -> str:
    return f"{scale}|{'clip' if clipped else 'whole'}|{value}"


def _colours(scene: Scene, value: str) -> str:
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
        "coordinates": axis.coordinates,
        "length": axis.length if known else None,
        "counted": axis.counted,
    }


def _blocks(scene: Scene, values: Sequence[str]) -> list[dict[str, Any]]:
    if scene.volumes or len(scene.sources) != len(scene.panels):
        return [_block(block, values) for block in scene.volumes or scene.panels]
    over = {} if scene.ratio is None else {"ratio": _ratio(scene.ratio)}
    return [
        {**_block(block, values), "layers": [_layer(one) for one in layers(source, scene.value)], **over}
        for block, source in zip(scene.panels, scene.sources, strict=True)
    ]


def _layer(one: Layer) -> dict[str, Any]:
    cells = np.where(one.cells < 0, _NO_REGION, one.cells).astype(np.uint8)
    marks = [
        {"label": each.label, "x": each.x, "y": each.y, "words": list(each.words), "symbol": each.symbol}
        for each in one.marks
    ]
    return {"name": one.name, "words": one.words, "regions": list(one.regions), "cells": cells.T, "marks": marks}


def _ratio(found: RatioMap) -> dict[str, Any]:
    """A map with a grid of its own, [j, i]."""
    return {"x": found.x, "y": found.y, "values": found.values.T, "status": found.status.T}


def _block(block: Cells, values: Sequence[str]) -> dict[str, Any]:
    """A panel, or a volume as one panel for each coordinate of its third axis."""
    return {
        "title": block.title,
        "note": block.note,
        "axes": [_axis(axis) for axis in block.axes],
        "centre": block.marks_centre,
        "status": _rows(block.status),
        "values": {value: _rows(block.values[value]) for value in values},
        "errors": {
            value: {words: _rows(array) for words, array in block.errors[value].items()}
            for value in values
            if value in block.errors
        },
    }


def _rows(array: np.ndarray) -> np.ndarray:
    """``[k, j, i]`` from an array [i, j] or [i, j, k]."""
    stacked = array[..., None] if array.ndim == 2 else array
    return stacked.transpose(2, 1, 0)


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
        "median": {value: curve.median(value) for value in values},
        "band": {value: list(curve.band(value)) for value in values},
        "empty": empty,
    }
