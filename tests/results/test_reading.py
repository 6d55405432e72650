"""Does reading a run write nothing, and work whatever became of its writer, its name and its medium?"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import lossatlas as la
from lossatlas.cli import curvature_kept
from lossatlas.draw import static
from lossatlas.draw.film import animate
from lossatlas.draw.report import add_table, report
from lossatlas.results import folders, reading
from lossatlas.results.landscape import save
from lossatlas.results.store import JOURNAL, RunFolder
from lossatlas.space import planefile
from lossatlas.space.planefile import save_directions
from lossatlas.space.recipes import Seeded

sys.path.insert(0, str(Path(__file__).parent))
from test_store import block, spec

DYING = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store import spec, block, RunFolder
import numpy as np
run = RunFolder.begin(sys.argv[1], spec())
run.commit(block(0, 1, value=1.5))
connection = run._journal.connection
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
for index in range(2, 6):
    connection.execute("INSERT INTO points VALUES (?, 1, ?, ?, x'00')", (index, b"x" * 16, "y" * 9000))
connection.execute("UPDATE points SET v = x'00'")
os._exit(9)
"""


@pytest.fixture
def cut_off(tmp_path) -> Path:
    """A run whose writer died in the middle of a transaction that was partly on the disk."""
    command = [sys.executable, "-c", DYING, str(tmp_path / "run"), os.path.dirname(__file__)]
    assert subprocess.run(command, check=False).returncode == 9
    assert (tmp_path / "run" / f"{JOURNAL}-journal").stat().st_size
    return tmp_path / "run"


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_whose_writer_died_in_mid_commit_shows_what_was_committed_and_stays_as_it_is(cut_off):
    before = state(cut_off)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):  # what it would be without a copy
        folders._opened(cut_off / JOURNAL, "mode=ro")
    assert reading.progress(cut_off).done == 2
    assert la.open(cut_off)["loss"].values.ravel()[:2].tolist() == [1.5, 1.5]
    assert state(cut_off) == before
    with RunFolder.begin(cut_off, spec()) as run:
        assert run.told().indices.tolist() == [0, 1]
        run.commit(block(2))
    assert reading.progress(cut_off).done == 3


NAMES = ["100%", "%41", "a?mode=rw", "a#b", "two words", "größe – 山", "file:x", "~root", "-x", "a;b", "a'b\"c"]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_opens_itself_and_nothing_else(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for number, other in enumerate(["a", "A", "x", "100"]):
        with RunFolder.begin(Path(other), spec(decoy=number)) as run:
            run.commit(block(0, 1, 2))
    with RunFolder.begin(Path(name), spec()) as run:
        run.commit(block(4, value=7.5))
        assert reading.progress(Path(name)).done == 1
        assert float(la.open(Path(name))["loss"].max()) == 7.5
        run.finish()
    assert float(la.open(Path(name))["loss"].max()) == 7.5
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a", "A", "x", "100", name])


def mounted(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """A command in a namespace of its own in which a folder is on a read-only mount."""
    script = f'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && {command}'
    words = ["unshare", "-m", "sh", "-c", script, str(folder)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


CAN_MOUNT = shutil.which("unshare") is not None and subprocess.run(
    ["unshare", "-m", "true"], check=False, capture_output=True
).returncode == 0  # fmt: skip


@pytest.mark.skipif(not CAN_MOUNT, reason="needs the right to mount")
def test_a_run_cut_off_is_shown_on_a_read_only_mount(cut_off):
    done = mounted(cut_off, f'touch "$0/x" 2>&1; {sys.executable} -m lossatlas info --json "$0"')
    assert "Read-only file system" in done.stdout
    assert '"done": "2 of 6"' in done.stdout, done.stderr


AGAIN = """
import sys
sys.path.insert(0, sys.argv[2])
from test_damage import scan
scan(__import__("pathlib").Path(sys.argv[1]))
import lossatlas as la
print(float(la.open(sys.argv[1])["loss"].sum()))
"""


@pytest.mark.skipif(not CAN_MOUNT, reason="needs the right to mount")
def test_a_finished_run_on_a_read_only_mount_returns_its_result(tmp_path):
    from test_damage import scan

    scan(tmp_path / "run")
    (tmp_path / "again.py").write_text(AGAIN)
    command = f'{sys.executable} {tmp_path / "again.py"} "$0" {os.path.dirname(__file__)}'
    done = mounted(tmp_path / "run", command)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(float(done.stdout), float(la.open(tmp_path / "run")["loss"].sum()), rtol=0)


EACH = """
import contextlib, io, json, os, resource, sys, traceback
def full():
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
def each(work):
    for target in sys.argv[1:]:
        if not (child := os.fork()):
            said, code = io.StringIO(), 0
            with contextlib.redirect_stdout(said):
                try:
                    work(target)
                except OSError as fault:
                    print("refused:", fault)
                except BaseException:
                    traceback.print_exc(file=said)
                    code = 1
            print(json.dumps([target, said.getvalue()]), flush=True)
            os._exit(code)
        _, status = os.waitpid(child, 0)
        if status:
            print(json.dumps([target, f"ended with {status}"]), flush=True)
"""


def each_said(program: str, targets: list[Path]) -> dict[Path, str]:
    """What work says of each target; each in a process of its own, which its limit dies with, by one start for all."""
    command = [sys.executable, "-c", EACH + program, *map(str, targets)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)
    said = dict.fromkeys(targets, "")
    for target, words in map(json.loads, done.stdout.splitlines()):
        said[Path(target)] += words
    return said


FULL = """
import signal
import numpy as np
import lossatlas as la, lossatlas.draw.static
from lossatlas.results.landscape import save
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
x = np.linspace(-1, 1, 60)
found = la.landscape(x=x, y=x, loss=np.random.default_rng(0).normal(size=(60, 60)))
def work(target):
    la.draw(found, target) if not target.endswith(".nc") else None
    full()
    save(found, target) if target.endswith(".nc") else la.draw(found, target)
each(work)
"""


FULL_OTHERS = """
import warnings
from pathlib import Path
import numpy as np, torch
import lossatlas as la, lossatlas.draw.static
from lossatlas.draw.film import Zoom, animate
from lossatlas.space.planefile import save_directions
from lossatlas.zoo.fit import _save
x = np.linspace(-1, 1, 9)
found = la.landscape(x=x, y=x, loss=np.add.outer(x**2, x**2))
def work(told):
    target, kind, model = Path(told), Path(told).parent.name, torch.nn.Linear(40, 40)
    recorder = la.Recorder(target) if kind == "path" else None
    def write():
        if kind == "path":  # a training goes on, so it is warned
            with warnings.catch_warnings(record=True) as told:
                kept = recorder.step(model)
            if not kept:
                raise OSError(str(told[0].message))
        elif kind == "pt":
            _save(target, {}, model, [])
        elif kind == "safetensors":
            origin = {name: p.detach() for name, p in model.named_parameters()}
            save_directions(la.Plane(origin, {"x": origin}), target)
        else:
            animate(found, target, Zoom(factor=2), seconds=0.5, rate=10, width=200, progress=False)
    for _ in range(0 if kind == "safetensors" else 2 if kind == "path" else 1):
        write()
    full()
    write()
each(work)
"""
OTHERS = ("gif", "webp", "mp4", "frames", "path", "pt", "safetensors")
PICTURES = ("nc", "png", "pdf", "svg", "html", "vtp", "vti", "glb", "stl")


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> dict[str, tuple[Path, str]]:
    """Films and weights that are written again on a full disk: the file, and what was said."""
    folder = tmp_path_factory.mktemp("others")
    targets = {kind: folder / kind / ("a" if kind in ("frames", "path") else f"a.{kind}") for kind in OTHERS}
    for target in targets.values():
        target.parent.mkdir()
    said = each_said(FULL_OTHERS, list(targets.values()))
    return {kind: (target, said[target]) for kind, target in targets.items()}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> dict[str, tuple[Path, str]]:
    """Pictures that are drawn again on a full disk: the file, and what was said."""
    folder = tmp_path_factory.mktemp("pictures")
    targets = {suffix: folder / suffix / f"a.{suffix}" for suffix in PICTURES}
    for target in targets.values():
        target.parent.mkdir()
    said = each_said(FULL, list(targets.values()))
    return {suffix: (target, said[target]) for suffix, target in targets.items()}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_full_disk_is_an_error_for_films_and_weights_too_and_leaves_what_was_there(others, kind):
    if kind == "mp4":
        pytest.importorskip("imageio_ffmpeg")
    target, said = others[kind]
    assert said.startswith("refused:") and "cannot be written" in said and "a" in said, said
    assert "[Errno 0]" not in said and "ended with" not in said
    assert not [path.name for path in target.parent.rglob(".*")], "nothing half-written stays"
    if kind == "path":
        assert len(la.Trajectory.open(target)) == 2
    elif kind == "safetensors":
        assert not target.exists()
    elif kind != "frames":
        assert target.stat().st_size > 4096
    else:
        assert {path.stat().st_size > 0 for path in target.iterdir()} == {True}


@pytest.mark.parametrize("name", ["a.png", "a.html", "a.nc", "report.html", "odd [1].png"])
def test_what_a_killed_writer_left_beside_a_file_goes_when_it_is_written_again(tmp_path, name):
    values = np.arange(9.0).reshape(3, 3)
    landscape = la.landscape(x=[-1.0, 0.0, 1.0], y=[-1.0, 0.0, 1.0], loss=values)
    ending = "" if name in ("a.nc", "report.html") else Path(name).suffix
    mine, fresh, other = (tmp_path / f".{what}{ending}" for what in (f"{name}.123", f"{name}.124", "b.png.123"))
    theirs = tmp_path / f".{name}.old"
    for file in (mine, fresh, other, theirs):
        file.write_text("half a picture")
    for file in (mine, other, theirs):
        os.utime(file, (0, 0))
    if name == "a.nc":
        save(landscape, tmp_path / name)
    elif name == "report.html":
        report(tmp_path / name, "title", ["words"])
    else:
        la.draw(landscape, tmp_path / name)
    assert (tmp_path / name).stat().st_size > 0
    assert sorted(tmp_path.glob(".*")) == sorted([fresh, other, theirs])


@pytest.mark.parametrize("suffix", PICTURES)
def test_a_full_disk_is_an_error_and_leaves_the_old_picture(pictures, suffix):
    if suffix in ("vtp", "vti"):
        pytest.importorskip("pyvista")
    if suffix in ("glb", "stl"):
        pytest.importorskip("trimesh")
    target, said = pictures[suffix]
    assert said.startswith("refused:") and str(target) in said and "ended with" not in said, said
    assert [path.name for path in target.parent.iterdir()] == ([] if suffix == "nc" else [target.name])
    assert suffix == "nc" or target.stat().st_size > 4096


class _Cut:
    """A film whose disk is full at the third frame."""

    def frames(self, scenes, view, moments, size):
        for number in range(len(moments)):
            if number == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            yield np.full((40, 40, 3), number / 9)


def test_a_film_in_a_folder_that_cannot_be_written_whole_leaves_the_older_one(tmp_path):
    found = la.landscape(x=[-1.0, 0.0, 1.0], loss=[1.0, 0.0, 1.0])
    (tmp_path / "film").mkdir()
    for number in range(3):
        (tmp_path / "film" / f"{number:05d}.png").write_text("older")
    with pytest.raises(OSError, match="film cannot be written: No space left"):
        animate(found, tmp_path / "film", _Cut(), seconds=0.4, rate=10, width=100, progress=False)
    assert [file.read_text() for file in sorted((tmp_path / "film").iterdir())] == ["older"] * 3
    with pytest.raises(OSError, match="film cannot be written: No space left"):
        animate(found, tmp_path / "new", _Cut(), seconds=0.4, rate=10, width=100, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["film"]


@pytest.mark.parametrize("which", ["page", "recipe"])
def test_what_is_written_again_in_its_place_is_never_half_there(tmp_path, monkeypatch, which):
    def full(path, text, **_):
        path.write_bytes(text[:20].encode())
        raise OSError(errno.ENOSPC, "No space left on device")

    page = la.draw(la.landscape(x=[-1.0, 0.0, 1.0], loss=[1.0, 0.0, 1.0]), tmp_path / "a.html")
    before = page.read_text()
    layer = torch.nn.Linear(3, 2)
    plane = la.Plane({name: tensor.detach() for name, tensor in layer.named_parameters()}, {"x": Seeded(layer, seed=0)})
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        if which == "page":
            add_table(page, [{"name": "a", "value": "1"}])
        else:
            save_directions(plane, tmp_path / "directions.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    assert page.read_text() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("kind", [one.lstrip(".") for one in static.SUFFIXES])
def test_a_disk_with_no_room_at_all_is_an_error_of_the_system_whatever_the_picture(tmp_path, monkeypatch, kind):
    found = la.landscape(x=[-1.0, 0.0, 1.0], y=[-1.0, 0.0, 1.0], loss=np.arange(9.0).reshape(3, 3))
    scratch = tmp_path / f".a.{kind}.{os.getpid()}.{kind}"
    scratch.symlink_to("/dev/full")
    monkeypatch.setattr(sys.modules["lossatlas.draw"], "sweep", lambda _: None)  # the device is old
    with pytest.raises(OSError, match="picture cannot be written: No space left"):
        la.draw(found, tmp_path / f"a.{kind}")


def test_eigenvectors_on_a_full_disk_leave_the_older_file(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    layer = torch.nn.Linear(3, 2)
    objective = la.Objective(layer, (torch.ones(4, 3), torch.ones(4, 2)), torch.nn.MSELoss())
    (tmp_path / "ends.safetensors").write_text("older")
    monkeypatch.setattr(planefile, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        curvature_kept._save_vectors(str(tmp_path / "ends.safetensors"), objective, la.eigenvalues(objective))
    assert (tmp_path / "ends.safetensors").read_text() == "older"
