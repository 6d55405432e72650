"""Where do paths and points lie upon a mesh, and what do they become in its files?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossatlas.draw import static_overlays
from lossatlas.draw.scene import Scene
from lossatlas.figure.overlays import Path, Regions
from lossatlas.oneline import one_line

__all__ = ["SIDES", "Laid", "beads", "laid", "tube", "with_lines"]

SIDES = 8
"""Of a tube."""


@dataclass(frozen=True, kw_only=True)
class Laid:
    """One path, or some points, upon a surface.

    Attributes:
        label: what it is called.
        colour: of it, "#rrggbb".
        pieces: float64 [n, 3] each: a path in as many pieces as the surface leaves of it, or every point by itself.
        words: what is written beside points, by piece; empty for a path.
    """

    label: str
    colour: str
    pieces: tuple[np.ndarray, ...]
    words: tuple[str, ...] = ()

    __repr__ = one_line


def laid(scene: Scene, factors: tuple[float, float, float], step: float) -> Iterator[Laid]:
    """Paths and points upon the surfaces of all panels; what lies outside or above the clip is left out.

    Args:
        scene: what is drawn.
        factors: of x, y and height, as the mesh has them.
        step: from one panel to the next.

    Yields:
        What there is upon each panel.
    """
    bottom, top = scene.range.limits
    for number, panel in enumerate(scene.panels):
        heights = panel.heights(scene.value, scene.range, beyond=1.0)
        for index, overlay in enumerate(scene.overlays):
            if isinstance(overlay, Regions) or overlay.panel not in (None, number):
                continue
            x, y, z = static_overlays.lifted(panel, heights, *static_overlays.dense(overlay))
            with np.errstate(invalid="ignore"):
                seen = np.isfinite(z) & (z <= top)
            places = np.column_stack([x * factors[0] + number * step, y * factors[1], (z - bottom) * factors[2]])
            colour = static_overlays.colour(scene, index)
            if isinstance(overlay, Path):
                runs = np.split(np.arange(len(seen)), np.flatnonzero(np.diff(seen)) + 1)
                pieces = tuple(places[run] for run in runs if len(run) > 1 and seen[run[0]])
                yield Laid(label=overlay.label or "path", colour=colour, pieces=pieces)
            else:
                words = overlay.words or [""] * len(x)
                kept = tuple(text for text, here in zip(words, seen, strict=True) if here)
                yield Laid(label=overlay.label, colour=colour, pieces=tuple(places[seen][:, None]), words=kept)


def tube(line: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A closed tube around a line.

    Args:
        line: float64 [n, 3].
        radius: of the tube.

    Returns:
        Vertices, float64 [n * SIDES, 3], and triangles, int64 [m, 3].

    Example:
        >>> vertices, faces = tube(np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), 0.1)
        >>> float(np.linalg.norm(vertices[:, 1:], axis=1).round(6).max()), len(faces)
        (0.1, 28)
    """
    line = line[np.concatenate([[True], np.linalg.norm(np.diff(line, axis=0), axis=1) > 0])]
    if len(line) < 2:
        return np.empty((0, 3)), np.empty((0, 3), np.int64)
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-300)
    flat = np.cross(along, (0.0, 0.0, 1.0))
    steep = np.linalg.norm(flat, axis=1) < 1e-6
    flat[steep] = np.cross(along[steep], (1.0, 0.0, 0.0))
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    up = np.cross(flat, along)
    turn = 2 * np.pi * np.arange(SIDES) / SIDES
    rings = line[:, None] + radius * (
        np.cos(turn)[None, :, None] * flat[:, None] + np.sin(turn)[None, :, None] * up[:, None]
    )
    here = np.arange(len(line) - 1)[:, None] * SIDES + np.arange(SIDES)
    beside = np.arange(len(line) - 1)[:, None] * SIDES + np.roll(np.arange(SIDES), -1)
    walls = np.stack([here, beside, here + SIDES, beside, beside + SIDES, here + SIDES], axis=-1).reshape(-1, 3)
    fan = np.column_stack([np.zeros(SIDES - 2, int), np.arange(1, SIDES - 1), np.arange(2, SIDES)])
    ends = np.concatenate([fan[:, ::-1], fan + (len(line) - 1) * SIDES])
    return rings.reshape(-1, 3), np.concatenate([walls, ends])


def beads(trimesh: Any, laid: Laid, radius: float) -> Iterator[tuple[str, Any]]:
    """The tubes and balls of one overlay, in its colour; y is up, as glTF has it.

    Args:
        trimesh: the library.
        laid: the overlay.
        radius: of a tube.

    Yields:
        Name and mesh.
    """
    shade = np.array([int(laid.colour[at : at + 2], 16) for at in (1, 3, 5)] + [255], np.uint8)
    for number, piece in enumerate(laid.pieces):
        if len(piece) == 1:
            ball = trimesh.creation.icosphere(subdivisions=2, radius=2.2 * radius)
            vertices, faces = ball.vertices + piece[0], ball.faces
        else:
            vertices, faces = tube(piece, radius)
        if not len(faces):
            continue
        x, y, z = vertices.T
        colours = np.tile(shade, (len(vertices), 1))
        shape = trimesh.Trimesh(np.column_stack([x, z, -y]), faces, vertex_colors=colours, process=False)
        name = laid.words[number] if laid.words else ""
        yield name or laid.label or "place", shape


def with_lines(pyvista: Any, surface: Any, upon: list[Laid]) -> Any:
    """A surface of VTK with lines and vertices upon it, told apart by the point data ``overlay``: 0 is the surface.

    Args:
        pyvista: the library.
        surface: its ``PolyData``.
        upon: the overlays; the first one is number 1.

    Returns:
        All in one ``PolyData``.
    """
    surface.point_data["overlay"] = np.zeros(surface.n_points, np.int32)
    parts = []
    for number, one in enumerate(upon, start=1):
        for piece in one.pieces:
            line = np.concatenate([[len(piece)], np.arange(len(piece))])
            part = pyvista.PolyData(piece, lines=line) if len(piece) > 1 else pyvista.PolyData(piece)
            for name, array in surface.point_data.items():
                empty = np.nan if array.dtype.kind == "f" else 0
                part.point_data[name] = np.full(len(piece), empty, array.dtype)
            part.point_data["overlay"] = np.full(len(piece), number, np.int32)
            parts.append(part)
    return surface.append_polydata(*parts) if parts else surface
