"""Do the doors let in what another distribution brings: the example of the docs, really built and installed?"""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import lossatlas as la
from lossatlas import doors
from lossatlas.cli import atlas
from lossatlas.draw.renderer import suffixes
from lossatlas.results.landscape import Axis, build
from lossatlas.sampling.workers.named import named

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "extension"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example, built as a wheel and installed into a folder of its own; nothing is fetched."""
    pytest.importorskip("setuptools", minversion="70")
    place = tmp_path_factory.mktemp("outside")
    source = shutil.copytree(EXAMPLE, place / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "--target", place / "site", source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place / "site"


@pytest.fixture
def outside(installed, monkeypatch):
    monkeypatch.syspath_prepend(installed)
    yield installed
    for name in [name for name in sys.modules if name.partition(".")[0] == "lossatlas_example"]:
        del sys.modules[name]


@pytest.fixture
def bowl():
    axes = {
        "x": Axis(coordinates=np.array([-1.0, 0.0, 1.0]), length=1.0),
        "y": Axis(coordinates=np.array([0.0, 2.0]), length=1.0),
    }
    return build(axes, {"loss": np.array([[1.0, 5.0], [0.0, 4.0], [1.0, 5.0]])})


def entry(folder: Path, group: str, name: str, value: str, distribution: str = "broken") -> None:
    """A distribution that brings one entry point."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")


def test_a_suffix_is_drawn_by_the_renderer_that_brings_it(outside, bowl, tmp_path):
    assert ".csv" in suffixes()
    la.draw(bowl, tmp_path / "bowl.csv")
    rows = list(csv.DictReader((tmp_path / "bowl.csv").open()))
    assert [(float(r["x"]), float(r["y"]), float(r["loss"])) for r in rows][:2] == [(-1.0, 0.0, 1.0), (-1.0, 2.0, 5.0)]
    assert len(rows) == 6


def test_a_renderer_may_refuse_and_then_no_file_is_left(outside, tmp_path):
    line = build({"x": Axis(coordinates=np.array([0.0, 1.0]), length=1.0)}, {"loss": np.array([1.0, 2.0])})
    with pytest.raises(la.SpecError, match="holds a plane"):
        la.draw(line, tmp_path / "line.csv")
    assert not list(tmp_path.iterdir())


def test_without_the_package_its_suffix_is_unknown(bowl, tmp_path):
    with pytest.raises(la.SpecError, match=r"'.csv' is unknown; choose one of: .png, .pdf"):
        la.draw(bowl, tmp_path / "bowl.csv")


def test_a_measure_from_outside_stands_in_a_table_beside_ours(outside):
    layer = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 3.0)
    objective = la.Objective(layer, (torch.eye(2), torch.zeros(2, 1)), loss=torch.nn.functional.mse_loss)
    found = la.sharpness.measure("weight_norm", objective)
    assert found.value == pytest.approx(3 * math.sqrt(2))
    assert found.definition.title == "norm of the weights"
    table = la.sharpness.table({"one": objective}, ["trace", "weight_norm"])
    assert [row["measure"] for row in table.rows()] == ["trace of the Hessian", "norm of the weights"]
    assert table.column("weight_norm")[0] == found.value
    with pytest.raises(la.SpecError, match="spectral_margin, weight_norm"):
        la.sharpness.measure("weight", objective)


def test_the_command_line_takes_the_measure_and_its_options_by_name(outside, tmp_path):
    model = ["--model", "zoo:mlp(widths=(64, 8, 10))", "--data", "zoo:digits", "--samples", "20"]
    done = CliRunner().invoke(atlas, ["sharpness", *model, "--measure", "weight_norm", "--json"])
    assert done.exit_code == 0, done.output
    assert "weight_norm" in json.dumps(json.loads(done.stdout))


def test_a_study_from_outside_is_listed_run_and_kept(outside, tmp_path):
    listed = CliRunner().invoke(atlas, ["study", "--list"])
    assert "linear-bowl             Is linear regression a bowl?" in listed.output
    done = CliRunner().invoke(atlas, ["study", "linear-bowl", "--set", "seeds=2", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "seen at this scale" in (tmp_path / "small/linear-bowl/index.html").read_text()


def test_an_executor_from_outside_gives_the_same_values_bit_for_bit(outside, tmp_path):
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 1)
    objective = la.Objective(layer, (torch.randn(8, 3), torch.randn(8, 1)), loss=torch.nn.functional.mse_loss)
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 5), y=(-1, 1, 3))
    there = la.sample(objective, plane, grid, executor=f"timed:{tmp_path / 'blocks.csv'}")
    assert np.array_equal(there["loss"], la.sample(objective, plane, grid)["loss"])
    rows = [line.split(",") for line in (tmp_path / "blocks.csv").read_text().splitlines()]
    assert sum(int(points) for points, _ in rows) == 14  # all but the centre, which is known before
    assert all(float(seconds) >= 0 for _, seconds in rows)


def test_an_executor_from_outside_is_named_on_the_command_line(outside, tmp_path):
    model = ["--model", "zoo:mlp(widths=(64, 8, 10))", "--data", "zoo:digits", "--samples", "50"]
    words = ["sample", *model, *["--x", "-1", "1", "3"], *["--y", "-1", "1", "3"], "--run"]
    for text, code in ((f"timed:{tmp_path / 'blocks.csv'}", 0), ("timed", 2), ("tmed", 2)):
        done = CliRunner().invoke(atlas, [*words, str(tmp_path / "run"), "--executor", text])
        assert done.exit_code == code, done.output
    assert "timed" in done.output
    assert (tmp_path / "blocks.csv").read_text()


@pytest.mark.parametrize(
    ("group", "name", "ask"),
    [
        ("lossatlas.renderers", "csv", lambda bowl, folder: la.draw(bowl, folder / "a.csv")),
        ("lossatlas.measures", "mine", lambda bowl, folder: la.sharpness.measure("mine", None)),
        ("lossatlas.executors", "mine", lambda bowl, folder: named("mine:4")),
    ],
)
def test_a_broken_distribution_is_named(group, name, ask, bowl, tmp_path, monkeypatch):
    entry(tmp_path / "site", group, name, "no_such_module:thing")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(la.SpecError, match=f"{group}: '{name}', brought by broken, cannot be imported"):
        ask(bowl, tmp_path)


@pytest.mark.parametrize(
    ("group", "name", "ask", "expected"),
    [
        ("lossatlas.renderers", "csv", lambda bowl, folder: la.draw(bowl, folder / "a.csv"), r"check\(scene, suffix\)"),
        ("lossatlas.measures", "mine", lambda bowl, folder: la.sharpness.measure("mine", None), "attribute definition"),
        (
            "lossatlas.executors",
            "mine",
            lambda bowl, folder: named("mine:4"),
            r"'mine' gives a float \(.*\); .* start\(work\)",
        ),
    ],
)
def test_something_else_behind_a_door_is_told_what_was_expected(
    group, name, ask, expected, bowl, tmp_path, monkeypatch
):
    entry(tmp_path / "site", group, name, "math:pi")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(la.SpecError, match=expected):
        ask(bowl, tmp_path)


def test_two_distributions_with_one_name_are_both_named(tmp_path, monkeypatch):
    for distribution, value in (("first", "math:pi"), ("second", "math:e")):
        entry(tmp_path / "site", "lossatlas.measures", "mine", value, distribution)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(la.SpecError, match="first and by second|second and by first"):
        doors.brought("lossatlas.measures", "mine")


def test_our_own_back_ends_cannot_be_replaced(tmp_path, monkeypatch, bowl):
    entry(tmp_path / "site", "lossatlas.renderers", "svg", "no_such_module:thing")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert la.draw(bowl, tmp_path / "a.svg").read_text().startswith("<?xml")


def test_a_missing_distribution_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("lossatlas.cli.entry_points", lambda **_: ())
    for words in (["study"], ["study", "skip-connections", "--set", "seeds=1"]):
        done = CliRunner().invoke(atlas, words)
        assert done.exit_code == 2
        assert "pip install lossatlas-studies" in done.output
    assert "pip install lossatlas-studies" in CliRunner().invoke(atlas, ["study", "--help"]).output
