"""Does a path that grows lie where a principal component analysis puts it, and stay where it was drawn?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from torch import nn

import lossatlas as la
from lossatlas.errors import SpecError
from lossatlas.paths.growing import Growing

RNG = np.random.default_rng(0)


def record(folder: Path, points: np.ndarray, first: int = 0) -> None:
    """Keep points of R^5 as checkpoints of a linear model."""
    model = nn.Linear(4, 1).double()
    recorder = la.Recorder(folder, resume=first > 0)
    for step, point in enumerate(points[first:], first):
        with torch.no_grad():
            model.weight.copy_(torch.tensor(point[:4])[None])
            model.bias.copy_(torch.tensor(point[4:]))
        recorder.step(model, step=step, loss=1.0 / (1 + step))


def turned_onto(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    turn, _ = orthogonal_procrustes(a, b)
    return a @ turn


def test_coordinates_and_distances_are_those_of_a_singular_value_decomposition(tmp_path: Path) -> None:
    points = np.cumsum(RNG.normal(size=(12, 5)), axis=0)
    record(tmp_path / "path", points)
    found = Growing(tmp_path / "path").look()
    assert found is not None
    centred = points - points.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    known = left[:, :2] * sizes[:2]
    here = found.coordinates - found.coordinates.mean(axis=0)
    assert turned_onto(known, here) == pytest.approx(here, abs=1e-9)
    assert found.residual == pytest.approx(np.linalg.norm(centred - left[:, :2] * sizes[:2] @ _[:2], axis=1), abs=1e-9)
    assert found.shares == pytest.approx(sizes[:2] ** 2 / (sizes**2).sum())
    assert found.coordinates[0] == pytest.approx([0, 0], abs=1e-12)


def test_what_was_drawn_stays_where_it_was_while_the_path_turns(tmp_path: Path) -> None:
    """In a path within one plane every turn of the principal axes is undone; eigenvectors alone would turn."""
    basis, _ = np.linalg.qr(RNG.normal(size=(5, 2)))
    angle = np.linspace(0, 5, 40)
    points = (np.column_stack([angle * np.cos(angle), angle * np.sin(angle)])) @ basis.T
    growing, before = Growing(tmp_path / "path"), np.zeros((0, 2))
    for count in (3, 4, 9, 25, 40):
        record(tmp_path / "path", points[:count], first=len(before))
        found = growing.look()
        assert found is not None
        if len(before):
            assert found.coordinates[: len(before)] == pytest.approx(before, abs=1e-9)
        before = found.coordinates
    assert found.residual == pytest.approx(np.zeros(40), abs=1e-9)
    apart = np.linalg.norm(points[-1] - points[20])
    assert np.linalg.norm(before[-1] - before[20]) == pytest.approx(apart)


def test_several_paths_lie_in_the_principal_plane_of_all_their_points_and_stay_there_while_one_grows(
    tmp_path: Path,
) -> None:
    one, other = (np.cumsum(RNG.normal(size=(count, 5)), axis=0) + shift for count, shift in ((9, 0.0), (6, 3.0)))
    record(tmp_path / "one", one[:7])
    record(tmp_path / "other", other)
    growing = Growing(tmp_path / "one", tmp_path / "other")
    before = growing.look()
    assert before is not None
    record(tmp_path / "one", one, first=7)
    found = growing.look()
    assert found is not None
    assert found.lengths == (9, 6)
    whole = np.concatenate([one, other])
    centred = whole - whole.mean(axis=0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    known, here = left[:, :2] * sizes[:2], found.coordinates - found.coordinates.mean(axis=0)
    assert turned_onto(known, here) == pytest.approx(here, abs=1e-9)
    assert found.residual == pytest.approx(np.linalg.norm(centred - known @ right[:2], axis=1), abs=1e-9)
    first, second = found.parts()
    assert [one.step for one in second.checkpoints] == list(range(6))
    assert second.coordinates == pytest.approx(found.coordinates[9:])
    assert first.residual == pytest.approx(found.residual[:9])
    # The axes are those that bring the points seen before nearest to where they were: no turn brings them nearer.
    seen = [*range(7), *range(9, 15)]
    apart = np.linalg.norm(found.coordinates[seen] - before.coordinates)
    nearest = np.linalg.norm(turned_onto(found.coordinates[seen], before.coordinates) - before.coordinates)
    assert apart == pytest.approx(nearest)


def test_paths_of_two_networks_have_no_plane_in_common(tmp_path: Path) -> None:
    record(tmp_path / "one", RNG.normal(size=(3, 5)))
    recorder, wide = la.Recorder(tmp_path / "wide"), nn.Linear(5, 1).double()
    for step in range(3):
        recorder.step(wide, step=step)
    with pytest.raises(SpecError, match=r"wide: the network trained here is not that of .*one"):
        Growing(tmp_path / "one", tmp_path / "wide").look()


def test_over_a_plane_it_lies_where_a_trajectory_does(tmp_path: Path) -> None:
    points = np.cumsum(RNG.normal(size=(9, 5)), axis=0)
    record(tmp_path / "path", points)
    growing, path = Growing(tmp_path / "path"), la.Trajectory.open(tmp_path / "path")
    growing.look()
    plane = path.plane()
    for _ in range(2):
        here, there = growing.over("plane", plane.origin, plane.directions), path.project(plane)
        assert here.coordinates == pytest.approx(there.coordinates)
        assert here.residual == pytest.approx(there.residual)


def test_a_long_path_keeps_its_first_and_its_last_point(tmp_path: Path) -> None:
    record(tmp_path / "path", np.cumsum(RNG.normal(size=(30, 5)), axis=0))
    found = Growing(tmp_path / "path", most=8).look()
    assert found is not None
    steps = [one.step for one in found.checkpoints]
    assert steps == [0, 4, 8, 12, 16, 20, 24, 28, 29]


def test_a_training_that_went_back_is_read_again(tmp_path: Path) -> None:
    points = np.cumsum(RNG.normal(size=(10, 5)), axis=0)
    record(tmp_path / "path", points)
    growing = Growing(tmp_path / "path")
    growing.look()
    other = np.concatenate([points[:4], points[4:8] + 1.0])
    with pytest.warns(UserWarning, match="went back"):
        record(tmp_path / "path", other, first=4)
    found, fresh = growing.look(), Growing(tmp_path / "path").look()
    assert found is not None
    assert fresh is not None
    assert [one.step for one in found.checkpoints] == list(range(8))
    assert np.linalg.norm(np.diff(found.coordinates, axis=0), axis=1) == pytest.approx(
        np.linalg.norm(np.diff(fresh.coordinates, axis=0), axis=1)
    )


def test_nothing_and_a_single_point_are_no_path_yet(tmp_path: Path) -> None:
    growing = Growing(tmp_path / "path")
    assert growing.look() is None
    record(tmp_path / "path", np.zeros((1, 5)))
    assert growing.look() is None
