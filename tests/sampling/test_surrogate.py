"""Is the spline that of other people, its held-out errors those of real refits, and a half-done surface marked as such?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from lossatlas.figure.ranges import choose
from lossatlas.results.landscape import Axis, Status, build, structured
from lossatlas.sampling import holes, surrogate
from lossatlas.sampling.filling import preview
from lossatlas.sampling.samplers import coarse_to_fine

CELLS = surrogate.places((21, 17))
KNOWN = np.sort(np.random.default_rng(1).choice(len(CELLS), 60, replace=False))
VALUES = np.sin(3 * CELLS[:, 0]) + CELLS[:, 1] ** 3 + 0.1 * CELLS[:, 0] * CELLS[:, 1]


def test_the_spline_is_that_of_scipy():
    found = surrogate.estimate(CELLS, KNOWN, VALUES[KNOWN]).values
    scipy = RBFInterpolator(CELLS[KNOWN], VALUES[KNOWN], kernel="cubic", degree=2)(CELLS)
    assert np.allclose(found, np.clip(scipy, VALUES[KNOWN].min(), VALUES[KNOWN].max()), atol=1e-8)


def test_held_out_errors_are_those_of_fitting_again_without_the_point():
    points, values = CELLS[KNOWN], VALUES[KNOWN]
    found = surrogate.held_out(points, values)
    for i in (0, 17, 59):
        rest = np.arange(len(points)) != i
        again = RBFInterpolator(points[rest], values[rest], kernel="cubic", degree=2)(points[[i]])[0]
        assert found[i] == pytest.approx(values[i] - again, abs=1e-8)


@pytest.mark.filterwarnings("error")
def test_points_without_which_no_spline_is_determined_are_as_far_off_as_can_be():
    """Any part of the first coarse grid: without one or four of its points the others may lie on a conic."""
    cells = surrogate.places((21, 21))
    coarse = np.array([21 * i + j for i in range(0, 21, 5) for j in range(0, 21, 5)])
    rng = np.random.default_rng(0)
    for count in range(surrogate.fewest(2), len(coarse)):
        for _ in range(30):
            known = np.sort(rng.choice(coarse, count, replace=False))
            values = (cells[known] ** 2).sum(axis=1) + 0.1 * np.sin(9 * cells[known, 0])
            for fresh in (None, known[:3]):
                found = surrogate.estimate(cells, known, values, fresh=fresh)
                assert np.isfinite(found.errors).all() and np.isfinite(found.values).all(), known.tolist()
            assert np.isfinite(surrogate.held_out(cells[known], values)).all(), known.tolist()
    lines = np.array([[0, 0], [0.5, 0], [1, 0], [0, 1], [0.25, 1], [1, 1], [0.5, 0.5]])  # and one point off both
    assert surrogate.held_out(lines, np.arange(7.0))[-1] == 6.0


def test_the_size_of_a_hole_is_the_standard_deviation_of_kriging():
    points, place = CELLS[KNOWN][:10], np.array([[0.4, 0.35]])
    found = holes.sizes(place, points, np.arange(10)[None])
    tail = np.hstack([np.ones((10, 1)), points])
    cubes = np.linalg.norm(points[:, None] - points[None], axis=-1) ** 3
    system = np.block([[cubes, tail], [tail.T, np.zeros((3, 3))]])
    row = np.concatenate([np.linalg.norm(points - place, axis=-1) ** 3, [1.0], place[0]])
    weights = np.linalg.solve(system, row)[:10]  # the variance of kriging with a generalised covariance
    variance = weights @ cubes @ weights - 2 * weights @ row[:10]
    assert found[0] == pytest.approx(np.sqrt(abs(variance)), rel=1e-6)
    assert holes.sizes(4 * place, 4 * points, np.arange(10)[None])[0] == pytest.approx(8 * found[0], rel=1e-6)


def test_the_order_of_the_points_changes_nothing():
    order = np.random.default_rng(2).permutation(len(KNOWN))
    one = surrogate.estimate(CELLS, KNOWN, VALUES[KNOWN])
    other = surrogate.estimate(CELLS, KNOWN[order], VALUES[KNOWN[order]])
    assert np.allclose(one.values, other.values, atol=1e-9)
    assert np.allclose(one.errors, other.errors, rtol=1e-5, atol=1e-12)


def test_logarithms_are_taken_where_they_predict_better():
    steep = np.exp(12 * CELLS[:, 0] + 3 * CELLS[:, 1])
    found = surrogate.estimate(CELLS, KNOWN, steep[KNOWN], choose)
    inside = (steep <= steep[KNOWN].max()) & (steep >= steep[KNOWN].min())
    assert np.abs(found.values / steep - 1)[inside].max() < 1e-6


def test_grids_too_thin_for_a_quadratic_are_fine():
    cells = surrogate.places((41, 2))
    known = np.union1d(np.arange(0, 82, 5), [80, 81])
    truth = cells[:, 0] + cells[:, 1]
    found = surrogate.estimate(cells, known, truth[known])
    assert np.allclose(found.values, truth, atol=1e-6)
    one_row = np.arange(0, 41, 4) * 2
    assert np.isfinite(surrogate.estimate(cells, one_row, truth[one_row]).values).all()


def unfinished(points: int):
    x, y = np.linspace(-1, 1, 25), np.linspace(-2, 2, 21)
    truth = 0.1 + x[:, None] ** 2 + y[None, :] ** 2
    seen = np.zeros(truth.size, bool)
    seen[coarse_to_fine(truth.shape)[:points]] = True
    seen = seen.reshape(truth.shape)
    axes = {"x": Axis(coordinates=x, length=1.0), "y": Axis(coordinates=y, length=1.0)}
    status = np.where(seen, Status.OK, Status.NOT_SAMPLED)
    return truth, seen, build(axes, {"loss": np.where(seen, truth, np.nan)}, status)


def test_a_half_done_grid_is_a_whole_picture_that_says_so():
    truth, seen, landscape = unfinished(40)
    found = preview(landscape)
    assert np.abs(found["loss"].values - truth).max() < 0.01 * np.ptp(truth)
    assert np.array_equal(found["loss"].values[seen], truth[seen])
    assert (found["status"].values[~seen] == Status.INTERPOLATED).all()
    assert (found["loss_uncertainty"].values[seen] == 0).all()
    assert (
        "unfinished: 40 of 525 points evaluated, the others interpolated and not checked"
        in structured(found, "sampling")["verdict"]
    )
    assert np.isnan(landscape["loss"].values[~seen]).all()


def test_a_preview_changes_nothing_where_too_little_or_everything_is_known():
    for points in (5, 525):
        _, _, landscape = unfinished(points)
        assert preview(landscape).identical(landscape)
