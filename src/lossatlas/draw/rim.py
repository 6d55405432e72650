"""Where does a surface end: triangles over a grid, cut along the contour line of the clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from lossatlas.oneline import one_line

__all__ = ["Surface", "refined", "surface"]


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Triangles over a grid, with a hole where there is no height and a rim where the surface leaves the picture.

    Attributes:
        points: float64 [n, 3].
        triangles: int64 [m, 3], indices of points, anticlockwise seen from above.
        ends: int64 [n, 2], the two places in the flattened grid that each point lies between; twice the same for a
            point of the grid itself.
        share: float64 [n], how far it lies from the first to the second.
    """

    points: np.ndarray
    triangles: np.ndarray
    ends: np.ndarray
    share: np.ndarray

    __repr__ = one_line

    def carry(self, values: np.ndarray) -> np.ndarray:
        """The values of a field on the grid, at the points.

        Args:
            values: float64 [nx, ny, ...].

        Returns:
            float64 [n, ...]; linear along the edges of the grid's triangles.
        """
        flat = values.reshape(-1, *values.shape[2:])
        share = self.share.reshape(-1, *[1] * (flat.ndim - 1))
        start, end = flat[self.ends[:, 0]], flat[self.ends[:, 1]]
        # A point of the grid has its own value, even one that is not finite.
        return np.asarray(np.where(share == 0, start, start * (1 - share) + end * share))


def surface(x: np.ndarray, y: np.ndarray, heights: np.ndarray, *, top: float = np.inf) -> Surface:
    """Make a surface of all cells whose four corners have a height, up to a top.

    A cell is two triangles, split along its flatter diagonal. Where some of its corners lie above the top, it is cut
    along the line on which the linear surface of each triangle has that height: the contour line of the clip.

    Args:
        x: float64 [nx], increasing.
        y: float64 [ny], increasing.
        heights: float64 [nx, ny]; NaN where there is none.
        top: where the surface ends.

    Returns:
        The surface; points that no triangle uses are left out.

    Example:
        >>> ramp = np.array([[0.0, 0.0], [2.0, 2.0]])
        >>> made = surface(np.array([0.0, 1.0]), np.array([0.0, 1.0]), ramp, top=1.0)
        >>> made.points.max(axis=0).tolist()
        [0.5, 1.0, 1.0]
    """
    flat = heights.reshape(-1)
    index = np.arange(flat.size).reshape(heights.shape)
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], axis=-1).reshape(-1, 4)
    quads = quads[np.isfinite(flat[quads]).all(axis=1)]
    steep = np.abs(flat[quads[:, 0]] - flat[quads[:, 2]]) > np.abs(flat[quads[:, 1]] - flat[quads[:, 3]])
    turned = np.where(steep[:, None], np.roll(quads, -1, axis=1), quads)
    whole = np.concatenate([turned[:, [0, 1, 2]], turned[:, [0, 2, 3]]])
    triangles, ends, share = _cut(whole, flat, top)
    used, triangles = np.unique(triangles, return_inverse=True)
    ends, share = ends[used], share[used]
    grid = np.stack([*np.meshgrid(x, y, indexing="ij"), heights], axis=-1).reshape(-1, 3)
    at = share[:, None]
    points = grid[ends[:, 0]] * (1 - at) + grid[ends[:, 1]] * at
    return Surface(points=points, triangles=triangles.reshape(-1, 3), ends=ends, share=share)


def _cut(triangles: np.ndarray, heights: np.ndarray, top: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles up to a height, and for every point (those of the grid first) on which edge it lies, and where."""
    own = np.arange(len(heights))
    above = heights[triangles] > top
    counts = above.sum(axis=1)
    # The corner that lies alone on its side of the top comes first.
    alone = np.where((counts == 1)[:, None], above, ~above).argmax(axis=1)
    turned = triangles[np.arange(len(triangles))[:, None], (alone[:, None] + np.arange(3)) % 3]
    peaks, feet = turned[counts == 1], turned[counts == 2]
    edges = np.sort(np.concatenate([peaks[:, [0, 1]], peaks[:, [0, 2]], feet[:, [0, 1]], feet[:, [0, 2]]]), axis=1)
    crossed, number = np.unique(edges, axis=0, return_inverse=True)
    first, last, left, right = np.split(
        len(heights) + number.reshape(-1), np.cumsum([len(peaks), len(peaks), len(feet)])
    )
    kept = np.concatenate(
        [
            triangles[counts == 0],
            np.column_stack([first, peaks[:, 1], peaks[:, 2]]),
            np.column_stack([first, peaks[:, 2], last]),
            np.column_stack([feet[:, 0], left, right]),
        ]
    )
    low, high = heights[crossed[:, 0]], heights[crossed[:, 1]]
    part = (top - low) / (high - low) if len(crossed) else np.zeros(0)
    ends = np.concatenate([np.column_stack([own, own]), crossed.reshape(-1, 2)])
    return kept, ends, np.concatenate([np.zeros(len(own)), part])


def refined(x: np.ndarray, y: np.ndarray, heights: np.ndarray, times: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Insert points between those of a grid, smoothly and without new hills or hollows along an axis.

    The shape-preserving cubic of Fritsch and Butland (1984) passes through every point and between two neighbours
    stays between their heights. Cells with a corner that has no height stay empty.

    Args:
        x: float64 [nx], increasing.
        y: float64 [ny], increasing.
        heights: float64 [nx, ny]; NaN where there is none.
        times: how many pieces each step of the grid is cut into.

    Returns:
        Finer coordinates, and heights on them.

    Example:
        >>> x, _, fine = refined(np.arange(3.0), np.arange(2.0), np.array([[0.0, 0], [1, 1], [4, 4]]), 2)
        >>> x.tolist(), fine[:, 0].tolist()[::2]
        ([0.0, 0.5, 1.0, 1.5, 2.0], [0.0, 1.0, 4.0])
    """
    if times == 1:
        return x, y, heights
    empty = ~np.isfinite(heights)
    whole = _filled(heights, empty) if empty.any() else heights
    fine_x, fine_y = _between(x, times), _between(y, times)
    fine = PchipInterpolator(y, PchipInterpolator(x, whole, axis=0)(fine_x), axis=1)(fine_y)
    fine[::times, ::times] = whole
    if empty.any():
        touched = empty[:-1, :-1] | empty[1:, :-1] | empty[1:, 1:] | empty[:-1, 1:]
        inside = np.kron(touched, np.ones((times, times), bool))
        # A fine point belongs to a hole if all fine cells around it do.
        padded = np.pad(inside, 1, constant_values=True)
        hole = padded[:-1, :-1] & padded[1:, :-1] & padded[1:, 1:] & padded[:-1, 1:]
        fine[hole] = np.nan
    return fine_x, fine_y, np.asarray(fine)


def _between(coordinates: np.ndarray, times: int) -> np.ndarray:
    """Coordinates with further ones between them, the given ones kept to the last bit."""
    fine = np.interp(np.arange((len(coordinates) - 1) * times + 1) / times, np.arange(len(coordinates)), coordinates)
    fine[::times] = coordinates
    return np.asarray(fine)


def _filled(heights: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Heights with missing ones replaced by the nearest; only to interpolate beside a hole."""
    from scipy.ndimage import distance_transform_edt

    if empty.all():
        return np.zeros_like(heights)
    nearest = distance_transform_edt(empty, return_distances=False, return_indices=True)
    return np.asarray(heights[tuple(nearest)])
