"""Is the surface under a path sampled coarse first, within its budget, and on the plane where the path lies?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lossatlas as la
from lossatlas import checksum
from lossatlas.errors import SpecError
from lossatlas.paths.below import Below
from lossatlas.paths.surfaces import LOSSES, SURFACES, add_losses, losses_of, run_of, surfaces

SCALES = torch.tensor([[1.0, 3.0, 0.5]]).double()


def network() -> nn.Module:
    return nn.Linear(3, 1, bias=False).double()


def objective(model: nn.Module) -> la.Objective:
    """Half the sum of scales times weights squared, in closed form: one sample that asks for it."""
    return la.Objective(model, (SCALES.sqrt().diag_embed()[0], torch.zeros(3, 1).double()), loss=nn.functional.mse_loss)


def loss(weights: np.ndarray) -> np.ndarray:
    return (SCALES.numpy() * weights**2).mean(axis=-1)


def walk(count: int, reach: float) -> np.ndarray:
    time = np.linspace(0, 1, count)[:, None]
    return np.array([[2.0, 1.0, 0.5]]) - reach * time * np.array([[1.5, 0.9, 0.0]]) + 0.2 * np.sin(3 * time)


def record(folder: Path, points: np.ndarray, first: int = 0) -> None:
    model, recorder = network(), la.Recorder(folder, resume=first > 0)
    for step, point in enumerate(points[first:], first):
        with torch.no_grad():
            model.weight.copy_(torch.tensor(point)[None])
        recorder.step(model, step=step, lr=0.1)


def all_of(below: Below) -> None:
    while below.step():
        pass


def test_grids_come_coarse_first_and_hold_the_loss_of_the_plane(tmp_path: Path) -> None:
    folder = tmp_path / "path"
    record(folder, walk(8, 1.0))
    all_of(Below(folder, network(), objective, budget=60, points=17))
    assert [one.name for one in surfaces(folder)] == ["001-05", "001-09", "001-17"]
    path = la.Trajectory.open(folder)
    plane, found = path.plane(), la.open(run_of(folder, surfaces(folder)[-1]))
    for x, y in ((0, 0), (16, 3), (5, 12)):
        place = {"x": float(found.x[x]), "y": float(found.y[y])}
        assert float(found["loss"][x, y]) == pytest.approx(float(loss(plane.at(place)["weight"].numpy())[0]))
    over = path.project(plane).coordinates
    assert (over > [float(found.x[0]), float(found.y[0])]).all()
    assert (over < [float(found.x[-1]), float(found.y[-1])]).all()


def test_the_losses_of_the_networks_are_kept_beside(tmp_path: Path) -> None:
    record(tmp_path / "path", walk(6, 1.0))
    all_of(Below(tmp_path / "path", network(), objective, points=5))
    known = losses_of(tmp_path / "path")
    assert [known[step] for step in range(6)] == pytest.approx(loss(walk(6, 1.0)).tolist())


def test_a_path_that_leaves_its_grid_gets_another_plane_with_axes_nearby(tmp_path: Path) -> None:
    folder = tmp_path / "path"
    record(folder, walk(8, 1.0)[:4])
    below = Below(folder, network(), objective, points=9)
    all_of(below)
    before = below._made
    far = np.concatenate([walk(8, 1.0)[:4], walk(8, 1.0)[4:] - 9.0])
    record(folder, far, first=4)
    all_of(below)
    assert [one.name for one in surfaces(folder)] == ["001-05", "001-09", "002-05", "002-09"]
    assert before is not None
    assert below._made is not None
    old, new = before[0].directions, below._made[0].directions
    crossed = np.array([[float((new[a]["weight"] * old[b]["weight"]).sum()) for b in "xy"] for a in "xy"])
    assert crossed == pytest.approx(crossed.T, abs=1e-6), "the turn that brings one nearest to the other leaves none"
    assert np.linalg.eigvalsh(crossed).min() > -1e-6


def test_no_grid_is_begun_that_the_budget_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("lossatlas.paths.below.time.monotonic", lambda: now[0])
    from lossatlas.paths import below as module

    real = module.sample

    def slow(*args: object, **options: object) -> object:
        found = real(*args, **options)  # type: ignore[arg-type]
        now[0] += found["status"].size * 1.0  # a second for each point
        return found

    monkeypatch.setattr(module, "sample", slow)
    record(tmp_path / "path", walk(8, 1.0))
    made = Below(tmp_path / "path", network(), objective, budget=120, points=33)
    all_of(made)
    assert [one.points for one in surfaces(tmp_path / "path")] == [5, 9], "25 + 81 seconds fit, 289 more do not"
    assert made.spent == 106


def test_what_was_said_of_a_checkpoint_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "path"
    record(folder, walk(6, 1.0))
    all_of(Below(folder, network(), objective, points=5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record(folder, np.concatenate([walk(6, 1.0)[:3], walk(6, 1.0)[3:] + 1]), first=3)
    assert sorted(losses_of(folder)) == [0, 1, 2]
    assert surfaces(folder) == [], "its plane went through the last checkpoint"
    all_of(Below(folder, network(), objective, points=5))
    assert [one.name for one in surfaces(folder)] == ["002-05"]


def test_files_that_others_wrote_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "path"
    record(folder, walk(6, 1.0))
    (folder / "surface").mkdir()
    told = {"plane": "../..", "points": 5, "origin": 1, "written": 0}
    (folder / "surface" / SURFACES).write_text(checksum.sealed(told, indent=None) + "\n")
    (folder / "surface" / LOSSES).write_text("no json\n")
    with pytest.raises(SpecError, match="is not such a line"):
        surfaces(folder)
    with pytest.raises(SpecError, match="delete the folder surface"):
        losses_of(folder)


@pytest.mark.parametrize(("name", "tell"), [(SURFACES, surfaces), (LOSSES, losses_of)])
def test_any_byte_that_was_changed_is_noticed(name: str, tell: Callable[[Path], object], tmp_path: Path) -> None:
    folder = tmp_path / "path"
    record(folder, walk(4, 1.0))
    all_of(Below(folder, network(), objective, points=9))
    file, right = folder / "surface" / name, tell(folder)
    whole, refused = file.read_bytes(), 0
    assert whole.count(b"\n") > 1
    for place in range(len(whole)):
        for byte in {whole[place] ^ 1, whole[place] ^ 4, whole[place] ^ 32, 11, 13, 32} - {whole[place]}:
            file.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            told = ""
            try:
                assert tell(folder) == right, (place, byte)
            except SpecError as fault:
                told = str(fault)
                refused += 1
            assert not told or str(file) in told
    assert refused > 4 * len(whole)


def test_a_line_that_was_cut_off_is_neither_read_nor_in_the_way_of_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "path"
    record(folder, walk(4, 1.0))
    add_losses(folder, 0, {"loss": 1.0})
    with (folder / "surface" / LOSSES).open("a") as file:
        file.write('{"loss": 2.0, "ori')
    assert losses_of(folder) == {0: 1.0}
    add_losses(folder, 2, {"loss": 3.0})
    assert losses_of(folder) == {0: 1.0, 2: 3.0}


def test_bad_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="budget=0; expected seconds above 0"):
        Below(tmp_path, network(), objective, budget=0)
    with pytest.raises(SpecError, match="points=20; expected one of 5, 9, 17, 33"):
        Below(tmp_path, network(), objective, points=20)
