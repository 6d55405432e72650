"""Does one `la.open` open every kind of folder and file, those of version 0.1 too, and do draw, info and report?"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner
from torch import nn

import lossatlas as la
from lossatlas import SpecError, checksum
from lossatlas.cli import atlas
from lossatlas.connect.connections import Ways
from lossatlas.connect.curve_training import Training
from lossatlas.field.uncertainty import Seeds
from lossatlas.figure.stored import Numbers, Section, keep
from lossatlas.flatness.stored import save
from lossatlas.results import landscape as landscapes
from lossatlas.results.opening import KINDS, kind_of, landscape_at, name_kind
from lossatlas.results.spec import SPEC


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def objective(seed=0):
    generator = torch.Generator().manual_seed(7)
    data = torch.randn(12, 3, generator=generator), torch.randint(2, (12,), generator=generator)
    return la.Objective(network(seed), data, nn.functional.cross_entropy)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One result of each kind: folder or file by the name of the kind."""
    place = tmp_path_factory.mktemp("kinds")
    measured = objective()
    plane = la.Plane.random(measured, axes=("x",))
    grid = la.Grid(x=(-1, 1, 5))
    la.sample(measured, plane, grid, run=place / "landscape", progress=False)
    la.curvature_map(measured, plane, la.Grid(x=(-1, 1, 3)), run=place / "curvature map", progress=False)
    la.seeds(measured, grid, range(3), run=place / "seeds", progress=False)
    training = Training(epochs=2, lr=0.01)
    la.connect(measured, network(0), network(1), steps=5, run=place / "connection", progress=False, training=training)
    recorder = la.Recorder(place / "path")
    for step in range(4):
        recorder.step(network(step), loss=1.0 / (1 + step))
    nets = {f"net {seed}": objective(seed) for seed in range(2)}
    against = {"net 0": 0.1, "net 1": 0.2}
    save(la.sharpness.table(nets, ["fisher_rao", "trace"], against=against), place / "flatness.json")
    ends = la.eigenvalues(measured)
    section = Section(about="The Hessian at the origin.", plot=ends.plot(), caveats=ends.caveats)
    keep(place / "numbers", Numbers(title="Curvature", sections={"ends": section}))
    (place / "table.csv").write_text("x,loss\n-1,4.0\n0,0.5\n1,1.0\n")
    found = {name: place / name for name in KINDS if name not in ("flatness", "table", "surface")}
    return found | {"flatness": place / "flatness.json", "table": place / "table.csv"}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("landscape", xr.Dataset),
        ("curvature map", xr.Dataset),
        ("seeds", Seeds),
        ("connection", Ways),
        ("path", la.Trajectory),
        ("numbers", Numbers),
        ("flatness", la.sharpness.Table),
        ("table", xr.Dataset),
    ],
)
def test_every_kind_is_opened_as_what_it_is(made, kind, expected):
    assert isinstance(la.open(made[kind]), expected)
    assert kind_of(made[kind]).name == kind


@pytest.mark.parametrize("kind", ["landscape", "curvature map", "seeds", "connection", "path"])
def test_every_folder_names_its_kind(made, kind):
    assert json.loads((made[kind] / SPEC).read_text())["kind"] == kind


@pytest.mark.parametrize("kind", ["landscape", "curvature map", "seeds", "connection", "path"])
def test_folders_of_version_0_1_are_known_by_their_files(made, kind, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(made[kind], old)
    for result in old.rglob("landscape.nc"):
        landscapes.save(la.open(result.parent), result)  # which names no run, as then
    for spec in old.rglob(SPEC):
        content = checksum.unsealed(spec.read_text(), spec)
        del content["kind"]
        spec.write_text(json.dumps(content | {"format": 1}))
    if kind in ("seeds", "connection", "path"):
        (old / SPEC).unlink()
    assert kind_of(old).name == kind
    assert type(la.open(old)) is type(la.open(made[kind]))


def test_the_folder_of_a_run_that_version_0_1_wrote_is_a_landscape():
    old = Path(__file__).parent / "version_0_1"
    assert kind_of(old).name == "landscape" and "loss" in la.open(old)


@pytest.mark.parametrize("kind", ["path", "connection", "seeds", "landscape"])
def test_a_damaged_specification_hides_no_kind(made, kind, tmp_path):
    shutil.copytree(made[kind], tmp_path / "a")
    (tmp_path / "a" / SPEC).write_text((tmp_path / "a" / SPEC).read_text().replace('"kind": "', '"kind": "x'))
    assert kind_of(tmp_path / "a").name == kind


def test_a_result_reads_back_as_it_was(made):
    assert la.open(made["seeds"]).seeds == (0, 1, 2)
    assert len(la.open(made["path"])) == 4
    ways = la.open(made["connection"])
    assert len(ways.landscapes) == 2 and all(0 in way["x"] for way in ways.landscapes.values())
    np.testing.assert_array_equal(la.open(made["table"])["loss"], [4.0, 0.5, 1.0])
    table = la.open(made["flatness"])
    again = la.sharpness.table({"net 0": objective(0)}, ["fisher_rao", "trace"])
    assert table.results["fisher_rao"][0] == again.results["fisher_rao"][0]
    assert table.results["trace"][0].value == again.results["trace"][0].value
    assert table.against == {"net 0": 0.1, "net 1": 0.2} and table.correlations["trace"].n == 2


def test_measures_that_could_not_be_taken_survive_the_file(tmp_path):
    data = torch.randn(8, 3), torch.randn(8, 2)
    regression = la.Objective(network(0), data, nn.functional.mse_loss)
    table = la.sharpness.table({"a": regression}, ["input_margin", "trace"])
    again = la.open(save(table, tmp_path / "t.json"))
    assert table.failures and again.failures == table.failures and again.results["input_margin"] == (None,)


@pytest.mark.parametrize("kind", list(KINDS))
def test_draw_info_and_report_take_every_kind(made, kind, tmp_path):
    if kind == "surface":
        pytest.skip("written by the original code; tests/results/test_interchange.py")
    runner, path = CliRunner(), str(made[kind])
    for words in (["draw", path, "-o", "a.png"], ["report", path, "-o", "a.html"], ["info", path, "--json"]):
        words = [str(tmp_path / word) if word.startswith("a.") else word for word in words]
        done = runner.invoke(atlas, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert json.loads(done.output)["kind"] == KINDS[kind].words
    assert (tmp_path / "a.png").stat().st_size > 5000 and "<img" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize("kind", ["seeds", "connection", "path", "flatness"])
def test_every_result_can_be_drawn_as_it_was_opened(made, kind, tmp_path):
    assert la.draw(la.open(made[kind]), tmp_path / "a.svg").stat().st_size > 1000


@pytest.mark.parametrize("kind", ["path", "connection", "seeds", "flatness"])
def test_what_needs_a_landscape_says_what_it_got(made, kind):
    with pytest.raises(SpecError, match=f"holds {KINDS[kind].words}; expected a Landscape"):
        landscape_at(made[kind])


@pytest.mark.parametrize("kind", ["seeds", "connection", "path"])
def test_a_run_does_not_move_into_the_folder_of_another_kind(made, kind):
    before = sorted(path.name for path in made[kind].rglob("*") if path.name != ".lock")
    with pytest.raises(SpecError, match=f"holds a result of the kind '{kind}'"):
        la.sample(objective(), la.Plane.random(objective(), axes=("x",)), la.Grid(x=(-1, 1, 3)), run=made[kind])
    assert sorted(path.name for path in made[kind].rglob("*") if path.name != ".lock") == before


def test_another_kind_does_not_move_into_the_folder_of_a_run(made):
    with pytest.raises(SpecError, match="holds a Landscape; choose another folder for the paths between two networks"):
        la.connect(objective(), network(0), network(1), run=made["landscape"])
    with pytest.raises(SpecError, match="holds the path of a training run; choose another folder for one scan"):
        la.seeds(objective(), la.Grid(x=(-1, 1, 3)), range(2), run=made["path"])


def test_a_kind_of_a_later_version_is_refused_by_name(tmp_path):
    (tmp_path / SPEC).write_text(json.dumps({"format": 1, "kind": "hologram"}))
    with pytest.raises(SpecError, match="names the kind 'hologram'; this version knows connection, path"):
        la.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot be read"), ("{}", "holds no measures of flatness"), ("[]", "needs an object"),
     ('{"measures": {}}', "no measures of flatness"), ('{"measures": {"sam": {"values": {"a": 5}}}}', "cannot be read"),
     ('{"measures": {"sam": {"values": {"a": {"measure": "sam", "value": "x"}}}}}', "cannot be read"),
     ('{"measures": {"nonsense": {"values": {"a": null}}}}', "measure='nonsense' is unknown")],
)  # fmt: skip
def test_a_json_that_is_no_table_is_refused(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(SpecError, match=message):
        la.open(tmp_path / "a.json")


def test_nothing_there_and_nothing_known_are_told_apart(tmp_path):
    with pytest.raises(SpecError, match="no such file or folder"):
        la.open(tmp_path / "none")
    with pytest.raises(SpecError, match=r"is not a run folder.*lossatlas\.Trajectory\.open"):
        la.open(tmp_path)


def test_a_folder_can_be_named_twice_the_same(tmp_path):
    name_kind(tmp_path / "a", "seeds")
    name_kind(tmp_path / "a", "seeds")
    assert kind_of(tmp_path / "a").name == "seeds"


def test_a_landscape_is_opened_without_torch(made):
    code = f"import sys, lossatlas as la; la.open({str(made['landscape'])!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
