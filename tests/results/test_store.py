"""Does a run folder keep every finished block, whatever happens, and only its own?"""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossatlas import RunMismatchError, SpecError
from lossatlas.results import reading, store
from lossatlas.results.asked import command_of
from lossatlas.results.landscape import About, Axis, Status
from lossatlas.results.spec import Block, RunSpec
from lossatlas.results.store import MemoryRun, RunFolder

OLD = Path(__file__).parent / "version_0_1"


def spec(**identity) -> RunSpec:
    axes = {
        "x": Axis(coordinates=np.linspace(0, 1, 3), length=2.0),
        "y": Axis(coordinates=np.linspace(0, 1, 2), length=1.0),
    }
    return RunSpec(
        identity={"model": "m", **identity}, axes=axes, values=("loss", "error"), about=About(still=("bias",))
    )


def block(*indices: int, value: float = 1.5, status: Status = Status.OK) -> Block:
    n = len(indices)
    return Block(
        indices=np.array(indices, np.int64),
        values=np.full((n, 2), value),
        status=np.full(n, status, np.int8),
        notes=("why",) * n if status == Status.FAILED else (),
    )


@pytest.fixture(params=["folder", "memory"])
def run(request, tmp_path):
    with RunFolder.begin(tmp_path / "run", spec()) if request.param == "folder" else MemoryRun(spec()) as run:
        yield run


def test_cells_lie_where_their_flat_index_says(run):
    run.commit(block(5, value=5))
    run.commit(block(2, value=2))
    landscape = run.finish()
    assert float(landscape["loss"].sel(x=1, y=1)) == 5
    assert float(landscape["loss"].sel(x=0.5, y=0)) == 2
    assert landscape["status"].values.tolist() == [[0, 0], [1, 0], [0, 1]]
    assert run.told().indices.tolist() == [2, 5]


SPECIAL = [math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, -1.0, 1e308]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(SPECIAL) | st.floats(width=64), min_size=2, max_size=2))
def test_every_value_survives_bit_for_bit(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("run") / "run"
    written = np.array([values])
    with RunFolder.begin(folder, spec()) as run:
        run.commit(Block(indices=np.array([3]), values=written, status=np.array([1], np.int8)))
    with RunFolder.begin(folder, spec()) as run:
        assert run.told().values.tobytes() == written.tobytes()


def test_the_same_run_resumes_and_its_specification_reads_back(tmp_path):
    with RunFolder.begin(tmp_path / "run", spec(centre={"loss": 0.1})) as run:
        run.commit(block(0, 1))
    with RunFolder.begin(tmp_path / "run", spec(centre={"loss": 0.1 * (1 + 1e-8)})) as run:
        assert run.told().indices.tolist() == [0, 1]
    there = reading.progress(tmp_path / "run").spec
    assert there.about == spec().about
    assert there.axes["x"].coordinates.tolist() == [0, 0.5, 1]


def test_the_command_of_a_run_is_what_it_was_begun_with_and_nothing_where_none_is_known(tmp_path):
    begun = RunSpec(
        identity={"model": "m"},
        axes={"x": Axis(coordinates=np.linspace(0, 1, 3), length=2.0)},
        values=("loss",),
        about=About(provenance={"command": "lossatlas sample"}),
    )
    RunFolder.begin(tmp_path / "by command", begun).close()
    RunFolder.begin(tmp_path / "by call", spec()).close()
    assert command_of(tmp_path / "by command") == "lossatlas sample"
    assert command_of(tmp_path / "by call") == ""
    assert command_of(tmp_path) == ""


OTHERS = [
    (dict(model="n"), "model is m there and n here"),
    (dict(centre={"loss": 0.2}), "centre loss is 0.1 there and 0.2 here"),
    (dict(extra=1), "extra is null there and 1 here"),
    (dict(grid={"x": "4 points"}), "grid x is 3 points there and 4 points here"),
]


@pytest.mark.parametrize(("change", "message"), OTHERS)
def test_another_run_is_refused_with_the_part_that_differs_and_nothing_touched(tmp_path, change, message):
    mine = dict(centre={"loss": 0.1}, grid={"x": "3 points"})
    with RunFolder.begin(tmp_path / "run", spec(**mine)) as run:
        run.commit(block(0))
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(RunMismatchError, match=f"{message}.*Choose another folder"):
        RunFolder.begin(tmp_path / "run", spec(**(mine | change)))
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_folder_with_other_files_is_refused_and_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(SpecError, match=r"holds other files \(thesis.tex"):
        RunFolder.begin(tmp_path, spec())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("{}", "is damaged"),
        ('{"format": 99}', "has format 99; this version reads formats 1 and 2"),
    ],
)
def test_a_damaged_specification_is_refused(tmp_path, text, message):
    (tmp_path / "spec.json").write_text(text)
    with pytest.raises(SpecError, match=message):
        RunFolder.begin(tmp_path, spec())
    with pytest.raises(SpecError, match=message):
        reading.open(tmp_path)
    assert (tmp_path / "spec.json").read_text() == text


def test_a_damaged_journal_is_refused(tmp_path):
    with RunFolder.begin(tmp_path / "run", spec()) as run:
        run.commit(block(0))
    (tmp_path / "run" / "journal.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(SpecError, match="journal.sqlite is damaged"):
        RunFolder.begin(tmp_path / "run", spec())
    with pytest.raises(SpecError, match="journal.sqlite is damaged"):
        reading.open(tmp_path / "run")


def test_leftovers_of_a_run_that_died_at_birth_are_taken_over(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".spec.json.123").write_text("{")
    with RunFolder.begin(tmp_path, spec()) as run:
        run.commit(block(0))


def test_two_writers_cannot_share_a_folder(tmp_path):
    with (
        RunFolder.begin(tmp_path / "run", spec()),
        pytest.raises(BlockingIOError, match="being written by another process"),
    ):
        RunFolder.begin(tmp_path / "run", spec())
    RunFolder.begin(tmp_path / "run", spec()).close()


def test_a_reader_does_not_disturb_the_writer(tmp_path):
    with RunFolder.begin(tmp_path / "run", spec()) as run:
        for index in range(6):
            run.commit(block(index))
            progress = reading.progress(tmp_path / "run")
            assert progress.done == index + 1
            assert not progress.finished
            assert int((reading.open(tmp_path / "run")["status"] == 1).sum()) == index + 1
        run.finish()
    assert reading.progress(tmp_path / "run").finished


def test_failures_are_counted_by_their_reason(tmp_path):
    with RunFolder.begin(tmp_path / "run", spec()) as run:
        run.commit(block(0, 1, value=math.nan, status=Status.FAILED))
        run.commit(block(2))
    progress = reading.progress(tmp_path / "run")
    assert progress.failures == {"why": 2}
    assert progress.counts == {
        "not_sampled": 3,
        "ok": 1,
        "non_finite": 0,
        "failed": 2,
        "censored": 0,
        "interpolated": 0,
    }


def test_a_full_disk_loses_nothing_that_was_committed(tmp_path):
    with RunFolder.begin(tmp_path / "run", spec()) as run:
        run.commit(block(0))
        run._journal.connection.execute("PRAGMA max_page_count=2")
        big = Block(
            indices=np.array([1]), values=np.ones((1, 2)), status=np.array([3], np.int8), notes=("x" * 100_000,)
        )
        with pytest.raises(OSError, match=r"cannot be written \(database or disk is full\): 1 of 6 points are safe"):
            run.commit(big)
        run._journal.connection.execute("PRAGMA max_page_count=1000000")
        run.commit(big)
        assert run.told().indices.tolist() == [0, 1]


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[2])))
from test_store import spec, block, RunFolder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with RunFolder.begin(sys.argv[1], spec()) as run:
    run.commit(block(0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
    big = block(1, status=3)
    object.__setattr__(big, "notes", ("x" * 100_000,))
    try:
        run.commit(big)
    except OSError as fault:
        print(fault)
"""


def test_a_disk_that_really_takes_no_more(tmp_path):
    command = [sys.executable, "-c", FULL, str(tmp_path / "run"), os.path.dirname(__file__)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "make room and run the same command again" in done.stdout, done.stderr
    with RunFolder.begin(tmp_path / "run", spec()) as run:
        assert run.told().indices.tolist() == [0]


@pytest.mark.parametrize("where", ["journal", "specification"])
def test_a_run_for_which_there_is_no_room_to_begin_leaves_nothing_to_be_repaired(tmp_path, monkeypatch, where):
    def full(*_, **__):
        raise {"journal": sqlite3.OperationalError("disk is full"), "specification": OSError(28, "No space")}[where]

    there = {
        "journal": "lossatlas.results.journal.Journal.prepare",
        "specification": "lossatlas.results.store.write_text",
    }
    with monkeypatch.context() as patched:
        patched.setattr(there[where], full)
        with pytest.raises(OSError, match="run cannot be written"):
            RunFolder.begin(tmp_path / "run", spec())
    assert [file.name for file in (tmp_path / "run").iterdir()] in ([], [".lock"])
    with RunFolder.begin(tmp_path / "run", spec()) as run:
        run.commit(block(0))
    (tmp_path / "run" / "spec.json").unlink()  # a journal with points in it is never removed
    with monkeypatch.context() as patched, pytest.raises(OSError, match="run cannot be written"):
        patched.setattr(there[where], full)
        RunFolder.begin(tmp_path / "run", spec())
    with RunFolder.begin(tmp_path / "run", spec()) as run:
        assert run.told().indices.tolist() == [0]


def test_a_folder_that_cannot_be_made_or_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"run folder .*file/run cannot be made: Not a directory"):
        RunFolder.begin(tmp_path / "file" / "run", spec())
    with pytest.raises(OSError, match="run folder /proc/lossatlas cannot be made"):
        RunFolder.begin("/proc/lossatlas", spec())


def test_commits_are_durable_against_power_loss(tmp_path):
    with RunFolder.begin(tmp_path / "run", spec()) as run:
        assert run._journal.connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert run._journal.connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


def test_opening_what_is_no_result_says_what_to_do(tmp_path):
    with pytest.raises(SpecError, match="is not a run folder"):
        reading.open(tmp_path)
    with pytest.raises(SpecError, match="no such file"):
        reading.open(tmp_path / "none.nc")
    (tmp_path / "a.h5").write_text("")
    with pytest.raises(SpecError, match="lossatlas import"):
        reading.open(tmp_path / "a.h5")
    (tmp_path / "b.nc").write_text("not netcdf")
    with pytest.raises(SpecError, match="cannot be read as a Landscape"):
        reading.open(tmp_path / "b.nc")


def test_a_run_killed_before_its_specification_goes_on(tmp_path):
    RunFolder.begin(tmp_path / "run", spec()).close()
    (tmp_path / "run" / store.SPEC).unlink()
    with RunFolder.begin(tmp_path / "run", spec()) as run:
        run.commit(block(0))
    assert reading.progress(tmp_path / "run").done == 1


def test_a_run_of_version_0_1_killed_before_its_first_table_reads_as_empty(tmp_path):
    shutil.copytree(OLD, tmp_path / "run")
    (tmp_path / "run" / store.JOURNAL).unlink()
    (tmp_path / "run" / store.RESULT).unlink()
    sqlite3.connect(tmp_path / "run" / store.JOURNAL).close()
    assert reading.progress(tmp_path / "run").done == 0
