"""Where do paths and points lie on a mesh, and what do they become in its files?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossatlas.draw import static_overlays
from lossatlas.draw.scene import Cells, Scene
from lossatlas.figure.overlays import Path, Points, Regions
from lossatlas.oneline import one_line

__all__ = ["SIDES", "Laid", "beads", "cone", "laid", "tube", "with_lines"]

SIDES = 8
"""Of a tube."""


@dataclass(frozen=True, kw_only=True)
class Laid:
    """One path, or some points, on a surface.

    Attributes:
        label: what it is called.
        colour: of it, "#rrggbb".
        pieces: float64 [n, 3] each: a path in as many pieces as the surface leaves of it, every point by itself, or the
            head of every arrow, from where it begins to its tip.
        words: what is written beside points and arrows, by piece; empty for a line.
        arrows: whether the pieces are heads of arrows.
    """

    label: str
    colour: str
    pieces: tuple[np.ndarray, ...]
    words: tuple[str, ...] = ()
    arrows: bool = False

    __repr__ = one_line


def laid(scene: Scene, factors: tuple[float, float, float], step: float) -> Iterator[Laid]:
    """Paths and points on the surfaces of all panels; what lies outside or above the clip is left out.

    Args:
        scene: what is drawn.
        factors: of x, y and height, as the mesh has them.
        step: from one panel to the next.

    Yields:
        What there is on each panel.
    """
    for number, panel in enumerate(scene.panels):
        ground = _Ground(panel=panel, scene=scene, factors=factors, shift=number * step)
        for index, overlay in enumerate(scene.overlays):
            if isinstance(overlay, Regions) or overlay.panel not in (None, number):
                continue
            colour = static_overlays.colour(scene, index)
            if isinstance(overlay, Path):
                yield from _of_path(overlay, colour, ground)
            else:
                yield from _of_points(overlay, colour, ground)


@dataclass(frozen=True, kw_only=True)
class _Ground:
    """The surface of one panel, as the mesh has it."""

    panel: Cells
    scene: Scene
    factors: tuple[float, float, float]
    shift: float

    __repr__ = one_line

    def places(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places on it, float64 [n, 3], and which of them are visible."""
        bottom, top = self.scene.range.limits
        heights = self.panel.heights(self.scene.value, self.scene.range, beyond=1.0)
        x, y, z = static_overlays.lifted(self.panel, heights, x, y)
        with np.errstate(invalid="ignore"):
            seen = np.isfinite(z) & (z <= top)
        by_x, by_y, by_z = self.factors
        return np.column_stack([x * by_x + self.shift, y * by_y, (z - bottom) * by_z]), seen


def _of_path(path: Path, colour: str, ground: _Ground) -> Iterator[Laid]:
    """A line, balls where it begins, ends and has words, and the heads of its arrows."""
    label = path.label or "path"
    places, seen = ground.places(*static_overlays.dense(path))
    runs = np.split(np.arange(len(seen)), np.flatnonzero(np.diff(seen)) + 1)
    yield Laid(label=label, colour=colour, pieces=tuple(places[run] for run in runs if len(run) > 1 and seen[run[0]]))
    ends = {0: f"{label}, first", len(path.x) - 1: f"{label}, last"} if path.dots and len(path.x) else {}
    named = ends | {at: text for at, text in path.words if text}
    x, y = path.x[list(named)], path.y[list(named)]
    yield from _of_points(Points(x=x, y=y, words=list(named.values())), colour, ground)
    heads = [ground.places(*head.T) for head in path.heads]
    there = tuple(ends for ends, seen in heads if seen.all())
    words = (f"{label}, arrow",) * len(there)
    yield Laid(label="", colour=colour, pieces=there, words=words, arrows=True)


def _of_points(points: Points, colour: str, ground: _Ground) -> Iterator[Laid]:
    places, seen = ground.places(points.x, points.y)
    words = points.words or [""] * len(points.x)
    kept = tuple(text for text, here in zip(words, seen, strict=True) if here)
    yield Laid(label=points.label, colour=colour, pieces=tuple(places[seen][:, None]), words=kept)


def cone(head: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A closed cone, the head of an arrow.

    Args:
        head: float64 [2, 3], a place before its tip, and its tip.
        radius: of the path that it lies on.

    Returns:
        Vertices, float64 [SIDES + 2, 3], the tip last, and triangles, int64 [2 * SIDES, 3].

    Example:
        >>> vertices, faces = cone(np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), 0.1)
        >>> vertices[-1].tolist(), len(faces), round(float(np.ptp(vertices[:, 0])), 3)
        ([1.0, 0.0, 0.0], 16, 1.0)
    """
    ahead = (head[1] - head[0]) / np.linalg.norm(head[1] - head[0])
    aside = np.cross(ahead, (0.0, 0.0, 1.0) if abs(ahead[2]) < 0.9 else (1.0, 0.0, 0.0))
    aside /= np.linalg.norm(aside)
    turn = 2 * np.pi * np.arange(SIDES)[:, None] / SIDES
    foot = head[1] - 10 * radius * ahead
    ring = foot + 4 * radius * (np.cos(turn) * aside + np.sin(turn) * np.cross(ahead, aside))
    here, beside = np.arange(SIDES), np.roll(np.arange(SIDES), -1)
    walls = np.column_stack([here, beside, np.full(SIDES, SIDES + 1)])
    base = np.column_stack([beside, here, np.full(SIDES, SIDES)])
    return np.concatenate([ring, foot[None], head[1:]]), np.concatenate([walls, base])


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
    """The tubes, balls and cones of one overlay, in its colour; y is up, as glTF has it.

    Args:
        trimesh: the library.
        laid: the overlay.
        radius: of a tube.

    Yields:
        Name and mesh.
    """
    shade = np.array([int(laid.colour[at : at + 2], 16) for at in (1, 3, 5)] + [255], np.uint8)
    for number, piece in enumerate(laid.pieces):
        if laid.arrows:
            vertices, faces = cone(piece, radius)
        elif len(piece) == 1:
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


def with_lines(pyvista: Any, surface: Any, upon: list[Laid], radius: float) -> Any:
    """A surface of VTK with lines and vertices on it, told apart by the point data ``overlay``: 0 is the surface.

    Args:
        pyvista: the library.
        surface: its ``PolyData``.
        upon: the overlays; the first one is number 1.
        radius: of a path, which the heads of arrows are drawn for.

    Returns:
        All in one ``PolyData``.
    """
    surface.point_data["overlay"] = np.zeros(surface.n_points, np.int32)
    parts = []
    for number, one in enumerate(upon, start=1):
        for piece in one.pieces:
            if one.arrows:  # its outline from the side: wings behind the tip, on the left and the right of the path
                vertices, _ = cone(piece, radius)
                piece = vertices[[0, SIDES + 1, SIDES // 2]]
            line = np.concatenate([[len(piece)], np.arange(len(piece))])
            part = pyvista.PolyData(piece, lines=line) if len(piece) > 1 else pyvista.PolyData(piece)
            for name, array in surface.point_data.items():
                empty = np.nan if array.dtype.kind == "f" else 0
                part.point_data[name] = np.full(len(piece), empty, array.dtype)
            part.point_data["overlay"] = np.full(len(piece), number, np.int32)
            parts.append(part)
    return surface.append_polydata(*parts) if parts else surface
