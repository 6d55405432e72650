"""How a surface of triangles becomes a closed body that can be printed."""

from __future__ import annotations

import numpy as np

__all__ = ["closed"]


def closed(points: np.ndarray, triangles: np.ndarray, base: float) -> tuple[np.ndarray, np.ndarray]:
    """Close a surface by a flat bottom and upright walls along its rim and its holes.

    Where two parts touch at a single point, the upright edge below it would belong to four walls, and such a body
    cannot be printed; there the smaller part is cut back by one triangle.

    Args:
        points: float64 [n, 3], at heights from 0.
        triangles: int64 [m, 3], anticlockwise seen from above.
        base: thickness of the body under height 0.

    Returns:
        Vertices, float64 [2n, 3], and triangles, int64 [k, 3], facing outwards.
    """
    kept = _without_point_contacts(triangles)
    below = points * [1.0, 1.0, 0.0] - [0.0, 0.0, base]
    count = len(points)
    walls = _border(kept)
    sides = np.column_stack([walls[:, 1], walls[:, 0], walls[:, 0] + count, walls[:, 1] + count])
    upright = np.concatenate([sides[:, [0, 1, 2]], sides[:, [0, 2, 3]]])
    return np.concatenate([points, below]), np.concatenate([kept, kept[:, ::-1] + count, upright])


def _without_point_contacts(triangles: np.ndarray) -> np.ndarray:
    """Leave out triangles until the border passes through every point at most once."""
    while True:
        starts, counts = np.unique(_border(triangles)[:, 0], return_counts=True)
        pinched = starts[counts > 1]
        if not len(pinched):
            return triangles
        dropped: set[int] = set()
        for point in pinched.tolist():
            around = np.flatnonzero((triangles == point).any(axis=1)).tolist()
            fans = _fans(triangles, around, point)
            dropped.update(index for fan in sorted(fans, key=len)[:-1] for index in fan)
        triangles = np.delete(triangles, sorted(dropped), axis=0)


def _fans(triangles: np.ndarray, around: list[int], point: int) -> list[list[int]]:
    """The triangles at a point, in groups that are connected by edges through it."""
    fans: list[tuple[set[int], list[int]]] = []
    for index in around:
        others = set(triangles[index].tolist()) - {point}
        joined = [fan for fan in fans if fan[0] & others]
        merged = (others.union(*(fan[0] for fan in joined)), [index, *(i for fan in joined for i in fan[1])])
        fans = [fan for fan in fans if fan not in joined] + [merged]
    return [fan[1] for fan in fans]


def _border(triangles: np.ndarray) -> np.ndarray:
    """int64 [k, 2]: directed edges that belong to one triangle only."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    count = int(edges.max()) + 1
    codes, reversed_codes = edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]
    return np.asarray(edges[~np.isin(codes, reversed_codes)])
