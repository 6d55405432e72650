"""Does a surface end exactly where its height is that of the clip, and nowhere else?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lossatlas.draw import rim, solid

X, Y = np.linspace(-1, 1, 6), np.linspace(0, 3, 5)


def area(made: rim.Surface) -> float:
    a, b, c = np.moveaxis(made.points[made.triangles], 1, 0)
    return float(np.cross(b - a, c - a)[:, 2].sum() / 2)


def test_a_plane_is_cut_along_its_own_contour_line():
    heights = X[:, None] + 0.25 * Y[None, :]
    made = rim.surface(X, Y, heights, top=0.3)
    x, y, z = made.points.T
    assert z == pytest.approx(x + 0.25 * y)
    assert z.max() == pytest.approx(0.3)
    # Of x + y/4 <= 0.3 on [-1, 1] x [0, 3] the area is the integral of min(1, 0.3 - y/4) + 1, never below 0.
    assert area(made) == pytest.approx(3 * 1.3 - 9 / 8)


@settings(max_examples=60, deadline=None)
@given(arrays(float, (5, 6), elements=st.floats(-3, 3, width=32)), st.floats(-2, 2))
def test_whatever_the_heights_the_triangles_face_up_end_at_the_top_and_cover_what_lies_below(heights, top):
    made = rim.surface(np.arange(5.0), np.arange(6.0), heights, top=top)
    rest = rim.surface(np.arange(5.0), np.arange(6.0), -heights, top=-top)
    if len(made.triangles):
        a, b, c = np.moveaxis(made.points[made.triangles], 1, 0)
        assert np.cross(b - a, c - a)[:, 2].min() >= -1e-12
        assert made.points[:, 2].max() <= top + 1e-9
    # Below and above the top together are the whole grid, where no triangle lies exactly at it.
    if not (np.abs(heights - top) < 1e-9).any():
        assert area(made) + area(rest) == pytest.approx(20.0)


def test_values_are_carried_along_the_edges_and_kept_at_the_points():
    heights = X[:, None] + 0.25 * Y[None, :]
    made = rim.surface(X, Y, heights, top=0.3)
    assert made.carry(3 * heights + 1) == pytest.approx(3 * made.points[:, 2] + 1)
    odd = heights.copy()
    odd[0, 0] = np.nan  # at a point of the grid itself nothing else is mixed in
    assert np.isnan(made.carry(odd)).sum() == 1


def test_refining_passes_through_the_points_without_new_hills():
    rng = np.random.default_rng(0)
    heights = np.add.outer(np.sort(rng.normal(size=6)), np.sort(rng.normal(size=5)))
    x, _, fine = rim.refined(X, Y, heights, 7)
    assert np.array_equal(fine[::7, ::7], heights)
    assert np.array_equal(x[::7], X)
    assert (np.diff(fine, axis=0) >= -1e-12).all()
    assert (np.diff(fine, axis=1) >= -1e-12).all()


def test_refining_leaves_a_hole_as_wide_as_the_cells_that_touch_it():
    heights = np.zeros((6, 5))
    heights[2, 3] = np.nan
    x, y, fine = rim.refined(X, Y, heights, 4)
    made = rim.surface(x, y, fine)
    assert area(made) == pytest.approx((5 * 4 - 4) * 0.4 * 0.75)


@pytest.mark.parametrize("clip", [2.0, 5.0, 10.0])
def test_the_body_of_a_chaotic_surface_is_closed(clip):
    trimesh = pytest.importorskip("trimesh")
    with np.load(Path(__file__).parents[1] / "sampling" / "noskip51.npz") as file:
        loss = next(file[name] for name in file.files if file[name].ndim == 2)
    made = rim.surface(np.linspace(-1, 1, loss.shape[0]), np.linspace(-1, 1, loss.shape[1]), loss, top=clip)
    vertices, faces = solid.closed(made.points, made.triangles, base=0.5)
    body = trimesh.Trimesh(vertices, faces, process=True)
    assert body.is_watertight
    assert body.is_winding_consistent
    assert body.volume > 0
