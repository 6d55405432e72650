"""Does `lossatlas sample --function` measure a function of arrays, and refuse what only a model has?"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.figure.kept import kept

USER = """
import numpy as np
import lossatlas as la

def energy(p):
    return {"loss": float((p["kernel"] ** 2).sum()), "first": float(p["kernel"][0, 0])}

def make(scale=1.0):
    return la.Function(energy, {"kernel": scale * np.arange(6.0).reshape(2, 3)}, layout="first", samples=5)

ready = make()
number = 7
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "user.py").write_text(USER)
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0):
    result = CliRunner().invoke(atlas, ["sample", *map(str, arguments)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


@pytest.mark.parametrize(("name", "scale"), [("make", 1.0), ("make(scale=2.0)", 2.0), ("ready", 1.0)])
def test_the_values_are_those_of_the_function_at_the_points_of_the_plane(name, scale, tmp_path):
    said = run("--function", f"user.py:{name}", "--x", -1, 1, 5, "--seed", 3, "--run", "kept", "--out", "a.png")
    found = la.open(tmp_path / "kept")
    origin = scale * np.arange(6.0).reshape(2, 3)
    function = la.Function(lambda p: 0.0, {"kernel": origin}, layout="first")
    way = la.Plane.random(function, seed=3, axes=("x",)).directions["x"]["kernel"].numpy()
    expected = [float(((origin + t * way) ** 2).sum()) for t in (-1, -0.5, 0, 0.5, 1)]
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-12)
    np.testing.assert_allclose(found["first"], [(origin + t * way)[0, 0] for t in (-1, -0.5, 0, 0.5, 1)], atol=1e-12)
    assert "function of 1 array, 6 numbers" in said
    assert (tmp_path / "a.png").stat().st_size > 3000


def test_a_settings_file_and_a_program_say_the_same(tmp_path):
    words = ("--function", "user.py:make", "--x", -1, 1, 3, "--run", "again")
    (tmp_path / "scan.toml").write_text(run(*words, "--print-config"))
    program = run(*words, "--print-python")
    run("--config", "scan.toml")
    first = la.open("again")["loss"].values
    exec(program.replace("again", "third"), {})
    np.testing.assert_array_equal(la.open("third")["loss"].values, first)


def test_what_only_a_model_has_is_refused_by_name():
    for flag, value in (
        ("--model", "zoo:mlp"),
        ("--samples", 5),
        ("--towards", "b.pt"),
        ("--batchnorm", "recalibrated"),
    ):
        said = run("--function", "user.py:make", flag, value, code=2)
        assert f"{flag} is about a torch model" in said
    (Path.cwd() / "b.pt").write_text("")
    assert "a function of arrays has no checkpoints; expected NAME=X,Y" in run(
        "--function", "user.py:make", "--mark", "Adam=b.pt", code=2
    )
    assert "expected a lossatlas.Function, or a callable that" in run("--function", "user.py:number", code=2)
    assert "has no 'mak'; it has make" in run("--function", "user.py:mak", code=2)


def test_other_commands_say_that_they_need_a_model(tmp_path):
    (tmp_path / "scan.toml").write_text('function = "user.py:make"\n')
    result = CliRunner().invoke(atlas, ["eigen", "--config", "scan.toml"])
    assert result.exit_code == 2
    assert (
        "has only values, for lossatlas sample, sharpness, and eigen --map --critical; this command needs"
        in result.output
    )


def test_the_map_of_critical_sharpness_needs_values_alone(tmp_path):
    words = ["eigen", "--function", "user.py:make", "--map", "--critical", "--x", "-1", "1", "3", "--y", "-1", "1", "3"]
    done = CliRunner().invoke(atlas, [*words, "--run", "a", "--out", "a.png"])
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(
        la.open("a")["critical"], 2.0, rtol=1e-6
    )  # L = ‖w‖² has the Hessian 2 in every direction
    assert "critical sharpness: 2 to 2 at 9 points" in done.output
    other = CliRunner().invoke(atlas, [*words[:4], *words[5:]])
    assert other.exit_code == 2
    assert "has only values" in other.output


def test_places_are_marked_on_the_surface_of_a_function_and_kept_with_its_run(tmp_path):
    grid = ("--x", -1, 1, 3, "--y", -1, 1, 3)
    words = ("--function", "user.py:make", *grid, "--mark", "start=0.5,-0.5", "--run", "a", "--out", "a.png")
    assert "marked: start at (0.5, −0.5)" in run(*words)
    exec(run(*words, "--print-python").replace("'a'", "'b'").replace("'a.png'", "'b.png'"), {})
    for folder in "ab":
        (points,) = kept(folder)
        assert (points.words, points.x.tolist(), points.y.tolist()) == (["start"], [0.5], [-0.5])
        assert (tmp_path / f"{folder}.png").stat().st_size > 3000


def test_a_function_has_the_one_measure_of_flatness_that_needs_values_alone(tmp_path):
    said = CliRunner().invoke(atlas, ["sharpness", "--function", "user.py:make", "--out", "a.png"])
    assert said.exit_code == 0, said.output
    assert "critical" in said.output
    assert re.search(r"^  energy  2$", said.output, re.MULTILINE)  # L = ‖w‖² has the Hessian 2 in every direction
    other = CliRunner().invoke(atlas, ["sharpness", "--function", "user.py:make", "--measure", "sam"])
    assert other.exit_code == 2
    assert "--measure sam needs a torch model and its data; a function of arrays has only values" in other.output
