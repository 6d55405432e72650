"""Does the core work without any extra, and does what needs one say how to install it?"""

from __future__ import annotations

import importlib.util

import pytest
import torch

import lossatlas as la
from lossatlas.extras import MissingExtraError


def measured(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    data = torch.randn(8, 3), torch.randint(2, (8,))
    objective = la.Objective(model, data, torch.nn.functional.cross_entropy)
    plane = la.Plane.random(objective, seed=0)
    grid = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    return objective, la.sample(objective, plane, grid, run=tmp_path / "run", progress=False)


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
