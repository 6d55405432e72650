"""Is the light on the surface that of its slopes?"""

from __future__ import annotations

import numpy as np
import pytest

from lossatlas.draw import relief

X, Y = np.linspace(-1, 1, 7), np.linspace(0, 2, 5)


def test_normals_of_a_plane_are_those_of_its_slopes() -> None:
    heights = 0.5 * X[:, None] - 2.0 * Y[None, :]
    expected = np.array([-0.5, 2.0, 1.0]) / np.sqrt(0.25 + 4 + 1)
    assert relief.vertex_normals(X, Y, heights) == pytest.approx(np.broadcast_to(expected, (7, 5, 3)))


def test_normals_beside_a_hole_come_from_the_cells_that_are_whole() -> None:
    heights = 0.5 * X[:, None] + 0.0 * Y[None, :]
    heights[3, 2] = np.nan
    normals = relief.vertex_normals(X, Y, heights)
    assert normals[2, 2] == pytest.approx(np.array([-0.5, 0.0, 1.0]) / np.sqrt(1.25))


def test_smaller_facets_lie_on_the_same_surface_and_pass_through_its_points() -> None:
    heights = X[:, None] * Y[None, :]
    made = relief.facets(X, Y, heights, -2.0, 2.0, size=np.ones(3), along=28)
    assert len(made.corners) == 4 * 6 * 4**2 * 2
    corners = made.corners.reshape(-1, 3)
    assert corners[:, 0] * corners[:, 1] == pytest.approx(corners[:, 2])
    assert np.linalg.norm(made.normals, axis=1) == pytest.approx(1.0)


def test_a_hole_is_as_wide_as_the_cells_that_touch_it_and_no_wider() -> None:
    heights = np.zeros((7, 5))
    heights[3, 2] = np.nan
    made = relief.facets(X, Y, heights, 0.0, 1.0, size=np.ones(3), along=28)
    times = round(28 / 7)
    assert len(made.corners) == (6 * 4 - 4) * times**2 * 2


def test_a_slope_that_faces_the_light_is_brighter() -> None:
    eye = 90.0 + relief.LEFT_OF_EYE
    towards, away = np.array([[0.0, 0.6, 0.8]]), np.array([[0.0, -0.6, 0.8]])
    assert relief.light(towards, eye)[0, 0] > relief.light(away, eye)[0, 0] + 0.2
    assert relief.light(-towards, eye)[0, 0] == relief.AMBIENT


def test_light_keeps_colours_within_their_range() -> None:
    shade = relief.light(np.array([[0.0, 0.0, 1.0], [0.6, 0.0, 0.8]]), 0.0)
    colours = relief.lit(np.array([[1.0, 0.9, 0.1], [0.0, 0.0, 0.0]]), shade)
    assert colours.min() >= 0
    assert colours.max() <= 1


def test_a_surface_ends_at_the_top_between_its_points_and_has_no_lid() -> None:
    heights = 2.0 * X[:, None] + 0.0 * Y[None, :]
    made = relief.facets(X, Y, heights, -2.0, 1.1, size=np.ones(3), along=28)
    x, z = made.corners[..., 0], made.corners[..., 2]
    assert z == pytest.approx(2.0 * x)
    assert z.max() == pytest.approx(1.1)
    assert x.max() == pytest.approx(0.55)
