"""How heights on a grid become a surface of quadrilaterals, and a closed body that can be printed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Sheet", "closed", "sheet", "triangles"]


@dataclass(frozen=True)
class Sheet:
    """A surface with holes where there is no height.

    Attributes:
        points: float64 [n, 3].
        quads: int64 [m, 4], indices of points, anticlockwise seen from above.
        kept: int64 [n], the place of each point in the flattened grid.
    """

    points: np.ndarray
    quads: np.ndarray
    kept: np.ndarray


def sheet(x: np.ndarray, y: np.ndarray, heights: np.ndarray) -> Sheet:
    """Make a surface of all cells whose four corners have a height.

    Args:
        x: float64 [nx].
        y: float64 [ny].
        heights: float64 [nx, ny], NaN where there is none.

    Returns:
        The surface; points that no cell uses are left out.

    Example:
        >>> heights = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, np.nan]])
        >>> made = sheet(np.array([0.0, 1.0]), np.array([0.0, 1.0, 2.0]), heights)
        >>> made.quads.tolist(), made.kept.tolist()
        ([[0, 2, 3, 1]], [0, 1, 3, 4])
    """
    index = np.arange(heights.size).reshape(heights.shape)
    corners = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], axis=-1)
    whole = np.isfinite(heights.reshape(-1)[corners]).all(axis=-1)
    used, quads = np.unique(corners[whole].reshape(-1, 4), return_inverse=True)
    grid_x, grid_y = np.meshgrid(x, y, indexing="ij")
    points = np.stack([grid_x, grid_y, heights], axis=-1).reshape(-1, 3)[used]
    return Sheet(points, quads.reshape(-1, 4), used)


def triangles(quads: np.ndarray) -> np.ndarray:
    """int64 [2m, 3]: two triangles for each quadrilateral, with its orientation."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def closed(surface: Sheet, base: float) -> tuple[np.ndarray, np.ndarray]:
    """Close a surface by a flat bottom and upright walls along its border and its holes.

    Where two cells touch at a corner only, the upright edge between them would belong to four walls, which is no
    body that can be printed; there one of the two cells is left out, so that the hole is one cell larger.

    Args:
        surface: the surface, at heights from 0.
        base: thickness of the body under height 0.

    Returns:
        Vertices, float64 [n, 3], and triangles, int64 [m, 3], facing outwards.
    """
    quads = _without_corner_contacts(surface.quads)
    top = surface.points
    below = top * [1.0, 1.0, 0.0] - [0.0, 0.0, base]
    count = len(top)
    walls = _border(quads)
    sides = np.column_stack([walls[:, 1], walls[:, 0], walls[:, 0] + count, walls[:, 1] + count])
    faces = np.concatenate([triangles(quads), triangles(quads[:, ::-1] + count), triangles(sides)])
    return np.concatenate([top, below]), faces


def _without_corner_contacts(quads: np.ndarray) -> np.ndarray:
    """Leave out cells until no two touch at a corner only."""
    while True:
        owners: dict[int, list[int]] = {}
        for index, quad in enumerate(quads.tolist()):
            for corner in quad:
                owners.setdefault(corner, []).append(index)
        pairs = [pair for pair in owners.values() if len(pair) == 2]
        touching = {second for first, second in pairs if len(np.intersect1d(quads[first], quads[second])) == 1}
        if not touching:
            return quads
        quads = np.delete(quads, sorted(touching), axis=0)


def _border(quads: np.ndarray) -> np.ndarray:
    """int64 [k, 2]: directed edges that belong to one quadrilateral only."""
    edges = np.concatenate([quads[:, [0, 1]], quads[:, [1, 2]], quads[:, [2, 3]], quads[:, [3, 0]]])
    count = int(edges.max()) + 1
    codes, reversed_codes = edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]
    return np.asarray(edges[~np.isin(codes, reversed_codes)])
