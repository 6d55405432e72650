"""Does the core work without any extra, and does what needs one say how to install it?"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys

import pytest
import torch

import lossatlas as la
from lossatlas.extras import MissingExtraError

MADE_OF = {"lossatlas.draw.picture": "matplotlib"}
"""The one module whose classes are a library's: it is imported where such a picture is asked for."""

TRAIN = """
import torch


def model():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def data():
    torch.manual_seed(1)
    return torch.randn(8, 3), torch.randint(2, (8,))
"""


def measured(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    data = torch.randn(8, 3), torch.randint(2, (8,))
    objective = la.Objective(model, data, torch.nn.functional.cross_entropy)
    plane = la.Plane.random(objective, seed=0)
    grid = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    return objective, la.sample(objective, plane, grid, run=tmp_path / "run", progress=False)


@pytest.mark.parametrize("name", sorted({part.name for part in pkgutil.iter_modules(la.__path__)} - {"__main__"}))
def test_every_module_of_a_room_can_be_imported(name):
    room = importlib.import_module(f"lossatlas.{name}")
    for part in pkgutil.walk_packages(getattr(room, "__path__", ()), f"{room.__name__}."):
        if importlib.util.find_spec(MADE_OF.get(part.name, "sys")):
            importlib.import_module(part.name)


def test_the_command_line_samples_tells_and_draws_a_page(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)

    def run(*words):
        command = [sys.executable, "-m", "lossatlas", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    named = ("--model", "train.py:model", "--data", "train.py:data")
    run("sample", *named, "--x", "-1", "1", "3", "--y", "-1", "1", "3", "--run", "a", "--out", "a.html")
    assert "x: 3 points from -1 to 1" in run("info", "a")
    assert (tmp_path / "a.html").stat().st_size > 5000
    assert "--model" in run("sample", "--help")


def test_the_core_measures_keeps_and_opens(tmp_path):
    objective, landscape = measured(tmp_path)
    assert la.open(tmp_path / "run")["loss"].equals(landscape["loss"])
    found = la.eigenvalues(objective, k=1)
    assert float(found.values[-1]) > 0


@pytest.mark.parametrize(
    ("library", "suffix"), [("matplotlib", "png"), ("matplotlib", "pdf"), ("pyvista", "vtp"), ("trimesh", "glb")]
)
def test_a_picture_without_its_library_names_the_command(tmp_path, library, suffix):
    if importlib.util.find_spec(library):
        pytest.skip(f"{library} is installed")
    _, landscape = measured(tmp_path)
    with pytest.raises(MissingExtraError, match=r"pip install 'lossatlas\[\w+\]'"):
        la.draw(landscape, tmp_path / f"a.{suffix}")
    assert not (tmp_path / f"a.{suffix}").exists()


def test_data_without_their_library_name_the_command():
    if importlib.util.find_spec("sklearn"):
        pytest.skip("scikit-learn is installed")
    with pytest.raises(MissingExtraError, match=r"lossatlas\[zoo\]"):
        la.zoo.data("digits")


def test_the_shape_of_a_field_without_its_library_names_the_command(tmp_path):
    if importlib.util.find_spec("gudhi"):
        pytest.skip("gudhi is installed")
    with pytest.raises(MissingExtraError, match=r"lossatlas\[topology\]"):
        la.topology(measured(tmp_path)[1])
