"""Is every damage to a run folder noticed, named, and made good without a wrong number?"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from torch.nn import functional as F

import lossatlas as la
from lossatlas import RunMismatchError, SpecError
from lossatlas.cli import atlas
from lossatlas.results import reading, repair, store
from lossatlas.results.spec import Block
from lossatlas.results.store import JOURNAL, RESULT, SPEC, RunFolder

sys.path.insert(0, str(Path(__file__).parent))
import flipping
from test_store import block, spec

OLD = Path(__file__).parent / "version_0_1"


NET = """
import torch
def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""


def scan(folder: Path, seed: int = 0) -> None:
    torch.manual_seed(seed)
    model, x, y = torch.nn.Linear(3, 2), torch.randn(12, 3), torch.randint(2, (12,))
    objective = la.Objective(model, (x, y), loss=F.cross_entropy, metrics={"error": la.metrics.error})
    la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 5), y=(-1, 1, 4)), run=folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    scan(folder)
    store.note_curvature(folder, {"lambda_min": -1.5}, {})
    return folder


@pytest.fixture
def run(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.fixture
def growing(run) -> Path:
    """A run that is not finished: what it says comes from its journal."""
    (run / RESULT).unlink()
    return run


def change(folder: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(folder / JOURNAL) as connection:
        connection.execute(statement, values)
    connection.close()


def flips(folder: Path, count: int, seed: int) -> dict[str, int]:
    for kind, make in flipping.MAKERS.items():
        make(folder / kind)
    command = [sys.executable, str(Path(__file__).parent / "flipping.py"), str(count), str(seed), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert not found["bad"], "\n".join(found["bad"])
    assert found["files"] > 40
    counts: dict[str, int] = found["counts"]
    assert sum(n for name, n in counts.items() if name.endswith(": error")) > count / 3, "the check sees damage"
    return counts


def test_a_flipped_byte_in_any_file_is_an_error_or_harmless(tmp_path):
    flips(tmp_path, count=55, seed=1)


@pytest.mark.soak
def test_five_hundred_flipped_bytes_give_no_wrong_value_no_traceback_and_no_hang(tmp_path):
    print(flips(tmp_path, count=528, seed=0))


def test_the_result_of_another_run_is_refused_and_repair_sets_it_aside(run, tmp_path):
    scan(tmp_path / "other", seed=1)
    shutil.copy(tmp_path / "other" / RESULT, run / RESULT)
    with pytest.raises(SpecError, match=r"landscape.nc belongs to a different run from .*spec.json.*lossatlas repair"):
        la.open(run)
    examined = repair.examine(run)
    assert [damage.file for damage in examined.damages] == [RESULT]
    repair.mend(examined)
    assert int((la.open(run)["status"] == 1).sum()) == 20
    scan(run)
    assert la.open(run).identical(la.open(Path(shutil.copytree(run, tmp_path / "copy"))))


def test_a_result_that_names_no_run_is_refused_in_a_run_folder_and_read_outside_of_one(run, tmp_path):
    from lossatlas.results import landscape as schema

    schema.save(la.open(run), tmp_path / "alone.nc")
    assert la.open(tmp_path / "alone.nc").equals(la.open(run))
    (tmp_path / "folder").mkdir()
    shutil.copy(tmp_path / "alone.nc", tmp_path / "folder" / RESULT)
    assert la.open(tmp_path / "folder").equals(la.open(run))
    shutil.copy(tmp_path / "alone.nc", run / RESULT)
    with pytest.raises(SpecError, match="belongs to a different run"):
        la.open(run)


def test_the_checkpoint_of_another_step_or_path_is_noticed(tmp_path):
    flipping.path(tmp_path / "path")
    first, second = (tmp_path / "path" / f"step-00000000{number}.safetensors" for number in (1, 2))
    shutil.copy(first, second)
    with pytest.raises(SpecError, match=r"step-000000002.safetensors is damaged, or not the file that was recorded"):
        la.Trajectory.open(tmp_path / "path")


def test_a_line_of_a_path_whose_end_was_changed_is_no_line_that_was_cut_off(tmp_path):
    flipping.path(tmp_path / "path")
    index = tmp_path / "path" / "index.jsonl"
    whole = index.read_bytes()
    index.write_bytes(whole[:-1])
    assert len(la.Trajectory.open(tmp_path / "path")) == 3
    index.write_bytes(whole[:-1] + b" ")
    with pytest.raises(SpecError, match="its last line does not end where it should"):
        la.Trajectory.open(tmp_path / "path")


def test_a_path_and_ways_of_version_0_1_have_no_checksums_and_open(tmp_path):
    flipping.path(tmp_path / "path")
    layout, index = tmp_path / "path" / "path.json", tmp_path / "path" / "index.jsonl"
    without = json.loads(layout.read_text())
    del without["checksum"]
    layout.write_text(json.dumps(without | {"format": 1}))
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    old = [{key: told for key, told in line.items() if key not in ("checksum", "weights")} for line in lines]
    index.write_text("".join(json.dumps(line) + "\n" for line in old))
    assert len(la.Trajectory.open(tmp_path / "path")) == 4
    la.Recorder(tmp_path / "path", resume=True).step(torch.nn.Linear(4, 3))
    assert len(la.Trajectory.open(tmp_path / "path")) == 5
    layout.write_text(json.dumps(without))
    with pytest.raises(SpecError, match="its checksum is missing"):
        la.Trajectory.open(tmp_path / "path")


@pytest.mark.parametrize("harm", ["bends", "losses", "order", "cut"])
def test_a_training_of_a_curve_that_is_damaged_is_named_and_touches_nothing(tmp_path, harm):
    from safetensors.torch import load_file, save_file

    flipping.ways(tmp_path / "ways")
    file = tmp_path / "ways" / "training.safetensors"
    with safe_open(file, framework="pt") as there:
        facts = there.metadata()
    facts.pop("checksums")
    tensors = load_file(file)
    if harm == "bends":
        tensors["1/weight"] = torch.zeros(2, 2)
    elif harm == "losses":
        tensors["losses"] = torch.zeros(9, dtype=torch.float64)
    elif harm == "order":
        facts["order"] = "[[["
    save_file(tensors, file, metadata=facts)
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(SpecError, match=r"training.safetensors .*(delete it to start training|does not lie within)"):
        flipping.ways(tmp_path / "ways")


def test_a_changed_value_is_named_with_its_point_and_the_way_to_mend_it(growing):
    other = np.array([1.0, 2.0]).tobytes()
    change(growing, "UPDATE points SET v = ? WHERE i IN (4, 5, 9)", other)
    with pytest.raises(SpecError, match=r"journal.sqlite is damaged \(3 points are not what was written: 4 to 5, 9\)"):
        la.open(growing)
    with pytest.raises(SpecError, match=f"`lossatlas repair {growing}`"):
        reading.progress(growing)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE points SET i = 400 WHERE i = 3",
        "UPDATE points SET i = -1 WHERE i = 3",
        "UPDATE points SET status = 9 WHERE i = 3",
        "UPDATE points SET status = 2 WHERE i = 3",
        "UPDATE points SET status = 'ok' WHERE i = 3",
        "UPDATE points SET v = x'00' WHERE i = 3",
        "UPDATE points SET v = NULL WHERE i = 3",
        "UPDATE points SET note = 'why' WHERE i = 3",
        "UPDATE points SET sum = NULL WHERE i = 3",
        "UPDATE points SET v = (SELECT v FROM points WHERE i = 4) WHERE i = 3",
    ],
)
def test_a_point_out_of_its_range_or_size_is_refused_whoever_reads_it(growing, statement):
    change(growing, statement)
    with pytest.raises(SpecError, match="1 point is not what was written"):
        la.open(growing)
    with pytest.raises(SpecError, match="1 point is not what was written"):
        scan(growing)


def test_points_that_are_lost_are_missed(growing):
    change(growing, "DELETE FROM points WHERE i IN (2, 3)")
    with pytest.raises(SpecError, match="2 points are lost"):
        la.open(growing)


def test_a_point_put_in_without_the_tally_is_noticed(growing):
    change(growing, "DELETE FROM points WHERE i = 2")
    change(growing, "INSERT INTO points SELECT 2, status, v, note, sum FROM points WHERE i = 3")
    with pytest.raises(SpecError, match="is damaged"):
        la.open(growing)


def test_the_journal_of_another_run_is_refused_also_where_the_specification_is_gone(growing, tmp_path):
    scan(tmp_path / "other", seed=1)
    shutil.copy(tmp_path / "other" / JOURNAL, growing / JOURNAL)
    with pytest.raises(SpecError, match=r"journal.sqlite belongs to a different run from .*spec.json: centre error"):
        la.open(growing)
    with pytest.raises(SpecError, match="belongs to a different run"):
        scan(growing)
    with pytest.raises(SpecError, match="belongs to a different run"):
        repair.examine(growing)
    (growing / SPEC).unlink()
    with pytest.raises(RunMismatchError, match=r"journal.sqlite belongs to another run: .*data is"):
        scan(growing)
    assert not (growing / SPEC).exists()


def test_a_specification_that_was_deleted_comes_back_from_the_journal(growing):
    text = (growing / SPEC).read_text()
    (growing / SPEC).unlink()
    with pytest.raises(SpecError, match=r"spec.json is missing beside journal.sqlite, which holds a copy; .*repair"):
        la.open(growing)
    repair.mend(repair.examine(growing))
    assert (growing / SPEC).read_text() == text
    assert int((la.open(growing)["status"] == 1).sum()) == 20


def test_a_folder_or_a_journal_that_is_gone_is_said_to_be_gone(growing):
    with pytest.raises(SpecError, match="no such folder"):
        reading.progress(growing / "nothing")
    (growing / JOURNAL).unlink()
    for read in (la.open, reading.progress, scan):
        with pytest.raises(SpecError, match="journal.sqlite is missing, and with it every point"):
            read(growing)


def test_a_run_whose_journal_vanishes_under_it_does_not_say_its_points_are_safe(tmp_path):
    with RunFolder.begin(tmp_path / "a", spec()) as run:
        run.commit(block(0))
        (tmp_path / "a" / JOURNAL).unlink()
        with pytest.raises(OSError, match="is gone: its journal.sqlite was removed"):
            run.commit(block(1))
    with RunFolder.begin(tmp_path / "b", spec()) as run:
        run.commit(block(0))
        (tmp_path / "b").rename(tmp_path / "c")
        with pytest.raises(OSError, match="is gone: it was moved or deleted"):
            run.commit(block(1))


def test_repair_computes_the_damaged_points_again_and_only_those(growing, whole):
    change(growing, "UPDATE points SET v = ? WHERE i IN (4, 5)", np.array([1.0, 2.0]).tobytes())
    examined = repair.examine(growing)
    assert [damage.file for damage in examined.damages] == [JOURNAL]
    assert examined.affected == 2
    repair.mend(examined)
    assert int((la.open(growing)["status"] == 0).sum()) == 2
    assert (growing / repair.ASIDE / JOURNAL).is_file()
    scan(growing)
    np.testing.assert_array_equal(la.open(growing)["loss"].values, la.open(whole)["loss"].values)


def test_a_journal_whose_pages_are_damaged_keeps_what_can_be_read(tmp_path):
    values = np.arange(12.0).reshape(6, 2)
    with RunFolder.begin(tmp_path / "run", spec()) as run:
        notes = ("w" * 3000,) * 6
        run.commit(Block(indices=np.arange(6), values=values, status=np.full(6, 3, np.int8), notes=notes))
    data = bytearray((tmp_path / "run" / JOURNAL).read_bytes())
    data[4096 * 5 : 4096 * 5 + 64] = b"\xff" * 64
    (tmp_path / "run" / JOURNAL).write_bytes(data)
    with pytest.raises(SpecError, match="is damaged"):
        la.open(tmp_path / "run")
    examined = repair.examine(tmp_path / "run")
    kept = examined.found.told
    assert 0 < len(kept.indices) < 6
    np.testing.assert_array_equal(kept.values, values[kept.indices])
    repair.mend(examined)
    assert reading.progress(tmp_path / "run").done == len(kept.indices)


def test_the_command_says_what_it_will_do_and_does_it_when_told(growing):
    runner = CliRunner()
    assert (
        "is whole: 20 of 20 points, and every checksum matches" in runner.invoke(atlas, ["repair", str(growing)]).output
    )
    change(growing, "UPDATE points SET v = ? WHERE i IN (4, 5)", np.array([1.0, 2.0]).tobytes())
    before = (growing / JOURNAL).read_bytes()
    said = runner.invoke(atlas, ["repair", str(growing)])
    assert said.exit_code == 1
    assert "2 points are not what was written: 4 to 5" in said.output
    assert "to recompute: 2 of 20 points (4 to 5)" in said.output
    assert "nothing was changed" in said.output
    assert (growing / JOURNAL).read_bytes() == before
    done = runner.invoke(atlas, ["repair", str(growing), "--yes"])
    assert done.exit_code == 0, done.output
    assert reading.progress(growing).done == 18


def test_a_run_of_lossatlas_is_repaired_by_the_command_that_began_it(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    model = f"{tmp_path / 'net.py'}:model"
    words = ["sample", "--model", model, "--data", "zoo:digits", "--samples", "50", "--x", "-1", "1", "5"]
    command = [sys.executable, "-m", "lossatlas", *words, "--run", str(tmp_path / "run")]
    subprocess.run(command, check=True, capture_output=True)
    whole = la.open(tmp_path / "run")
    change(tmp_path / "run", "UPDATE points SET v = ? WHERE i = 2", np.array([1.0]).tobytes())
    again = [sys.executable, "-m", "lossatlas", "repair", str(tmp_path / "run"), "--yes"]
    done = subprocess.run(again, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "by the command that began the run: lossatlas sample --model" in done.stdout
    assert la.open(tmp_path / "run")["loss"].equals(whole["loss"])
    assert reading.progress(tmp_path / "run").done == 5


def test_a_run_of_version_0_1_opens_says_it_is_unverified_and_gains_checksums_when_it_goes_on(tmp_path):
    folder = Path(shutil.copytree(OLD, tmp_path / "run"))
    assert la.open(folder)["loss"].shape == (3, 3)
    assert not reading.progress(folder).verified
    said = CliRunner().invoke(atlas, ["info", str(folder)])
    assert "checksums: none: version 0.1 did not write any" in said.output
    assert "version 0.1 wrote no checksums" in CliRunner().invoke(atlas, ["repair", str(folder)]).output
    there = reading.progress(folder).spec
    before = la.open(folder)["loss"].values
    with RunFolder.begin(folder, there) as run:
        assert len(run.told().indices) == 9
    assert reading.progress(folder).verified
    (folder / RESULT).unlink()
    np.testing.assert_array_equal(la.open(folder)["loss"].values, before)
    change(folder, "UPDATE points SET v = ? WHERE i = 2", np.array([1.0, 2.0]).tobytes())
    with pytest.raises(SpecError, match="1 point is not what was written"):
        la.open(folder)


def test_the_way_to_mend_the_specification_of_a_finished_run_is_told_once(run):
    damaged = bytearray((run / SPEC).read_bytes())
    damaged[300] ^= 16
    (run / SPEC).write_bytes(damaged)
    said = CliRunner().invoke(atlas, ["info", str(run)])
    assert said.output.count("lossatlas repair") == 1
