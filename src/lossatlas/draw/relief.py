"""How heights on a grid become lit facets: mesh, normals and light for the surface on paper."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lossatlas.draw import rim
from lossatlas.oneline import one_line

__all__ = [
    "ALTITUDE",
    "AMBIENT",
    "DIFFUSE",
    "GLOSS",
    "LEFT_OF_EYE",
    "Facets",
    "contour_lines",
    "facets",
    "light",
    "lit",
    "vertex_normals",
]

# The light: from above and to the left of the eye. The rest is ambient, so that no side is black.
LEFT_OF_EYE, ALTITUDE = 80.0, 48.0
AMBIENT, DIFFUSE, GLOSS = 0.60, 0.50, 0.10


@dataclass(frozen=True)
class Facets:
    """Triangles of a surface.

    Attributes:
        corners: float64 [m, 3, 3], positions in units of the axes.
        heights: float64 [m], mean height of each.
        normals: float64 [m, 3], unit normals in the box the surface is drawn in.
    """

    corners: np.ndarray
    heights: np.ndarray
    normals: np.ndarray

    __repr__ = one_line


def facets(
    x: np.ndarray, y: np.ndarray, heights: np.ndarray, bottom: float, top: float, *, size: np.ndarray, along: int
) -> Facets:
    """Cut a surface into facets, smaller than the cells so that the light runs smoothly over them.

    The surface ends at the top of the box in a rim, along the contour line of that height. A cell with a corner that
    has no height is a hole.

    Args:
        x: float64 [nx].
        y: float64 [ny].
        heights: float64 [nx, ny], above the top where the surface goes on; NaN where there is none.
        bottom: lowest height of the box.
        top: highest height of the box.
        size: float64 [3], width, depth and height of the box as it is drawn.
        along: about how many facets along an axis.

    Returns:
        The facets.
    """
    scale = size / np.array([np.ptp(x), np.ptp(y), top - bottom])
    fine_x, fine_y, fine = rim.refined(x, y, heights, max(1, round(along / max(len(x), len(y)))))
    made = rim.surface(fine_x, fine_y, fine, top=top)
    normals = made.carry(vertex_normals(fine_x * scale[0], fine_y * scale[1], fine * scale[2]))
    directions = normals[made.triangles].mean(axis=1)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    corners = made.points[made.triangles]
    return Facets(corners, corners[..., 2].mean(axis=1), directions)


def contour_lines(corners: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Pieces of the lines on which a surface of triangles has a height.

    Args:
        corners: float64 [m, 3, 3].
        levels: float64 [n], heights.

    Returns:
        float64 [k, 2, 3], one piece for each triangle and level that cross.

    Example:
        >>> ramp = np.array([[[0.0, 0, 0], [1, 0, 1], [0, 1, 0]]])
        >>> sorted(contour_lines(ramp, np.array([0.5]))[0].tolist())
        [[0.5, 0.0, 0.5], [0.5, 0.5, 0.5]]
    """
    pieces = [np.zeros((0, 2, 3))]
    for level in levels:
        above = corners[..., 2] > level
        count = above.sum(axis=1)
        crossed = (count == 1) | (count == 2)
        alone = np.where(count == 1, above.argmax(axis=1), (~above).argmax(axis=1))[crossed]
        turned = corners[crossed][np.arange(len(alone))[:, None], (alone[:, None] + np.arange(3)) % 3]
        start, ends = turned[:, :1], turned[:, 1:]
        part = (level - start[..., 2:]) / (ends[..., 2:] - start[..., 2:])
        pieces.append(start + part * (ends - start))
    return np.concatenate(pieces)


def vertex_normals(x: np.ndarray, y: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Unit normals at the points of a grid: the mean over the whole cells around each.

    Args:
        x: float64 [nx].
        y: float64 [ny].
        heights: float64 [nx, ny], NaN where there is none.

    Returns:
        float64 [nx, ny, 3], pointing up; upright where no whole cell touches the point.

    Example:
        >>> ramp = np.array([[0.0, 0.0], [1.0, 1.0]])
        >>> vertex_normals(np.array([0.0, 1.0]), np.array([0.0, 1.0]), ramp)[0, 0].round(3).tolist()
        [-0.707, 0.0, 0.707]
    """
    dx, dy = np.diff(x)[:, None], np.diff(y)[None, :]
    slope_x = ((heights[1:, :-1] - heights[:-1, :-1]) + (heights[1:, 1:] - heights[:-1, 1:])) / (2 * dx)
    slope_y = ((heights[:-1, 1:] - heights[:-1, :-1]) + (heights[1:, 1:] - heights[1:, :-1])) / (2 * dy)
    cells = np.stack([-slope_x, -slope_y, np.ones_like(slope_x)], axis=-1)
    cells /= np.linalg.norm(cells, axis=-1, keepdims=True)
    cells = np.nan_to_num(cells, nan=0.0)
    total = np.zeros((*heights.shape, 3))
    for i in (slice(None, -1), slice(1, None)):
        for j in (slice(None, -1), slice(1, None)):
            total[i, j] += cells
    norms = np.linalg.norm(total, axis=-1, keepdims=True)
    return np.where(norms > 0, total / np.where(norms > 0, norms, 1.0), [0.0, 0.0, 1.0])


def light(normals: np.ndarray, eye: float) -> np.ndarray:
    """Light on a surface.

    Args:
        normals: float64 [m, 3], unit normals.
        eye: azimuth of the eye, in degrees.

    Returns:
        float64 [m, 2]: brightness by Lambert's law, and gloss.
    """
    azimuth, altitude = math.radians(eye - LEFT_OF_EYE), math.radians(ALTITUDE)
    towards = np.array(
        [math.cos(altitude) * math.cos(azimuth), math.cos(altitude) * math.sin(azimuth), math.sin(altitude)]
    )
    diffuse = np.clip(normals @ towards, 0.0, 1.0)
    half = towards + np.array([0.0, 0.0, 1.0])
    gloss = np.clip(normals @ (half / np.linalg.norm(half)), 0.0, 1.0) ** 24
    return np.stack([AMBIENT + DIFFUSE * diffuse, GLOSS * gloss], axis=-1)


def lit(colours: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """Colours [m, 3] under a light [m, 2]: darkened by brightness, then moved towards white by gloss."""
    bright = np.clip(colours * shade[:, :1], 0.0, 1.0)
    return np.asarray(bright + (1.0 - bright) * shade[:, 1:])
