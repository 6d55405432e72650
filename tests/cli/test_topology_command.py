"""Does `lossatlas topology` say and draw the shape of a result."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.results.landscape import About, Axis, build, save

pytest.importorskip("gudhi")


@pytest.fixture
def wells(tmp_path):
    x, y = np.linspace(-2, 2, 41), np.linspace(-1, 1, 21)
    values = (x[:, None] ** 2 - 1) ** 2 + 0.1 * x[:, None] + y[None] ** 2
    axes = {"x": Axis(coordinates=x, length=1.0), "y": Axis(coordinates=y, length=1.0)}
    return save(build(axes, {"loss": values}, about=About(title="two wells")), tmp_path / "wells.nc")


def run(*arguments):
    return CliRunner().invoke(atlas, [str(argument) for argument in arguments])


def test_the_shape_is_printed_and_drawn(wells, tmp_path) -> None:
    result = run("topology", wells, "--out", tmp_path / "map.png", "--tree", tmp_path / "tree.svg")
    assert result.exit_code == 0, result.output
    assert "2 minima, 1 saddle" in result.output
    assert "1: loss −0.1 at x = −1, y = 0" in result.output
    assert "minimum 2 joins minimum 1 at loss 1" in result.output
    assert "need not be one of the network" in result.output
    assert (tmp_path / "map.png").stat().st_size > 1000
    assert "two wells" in (tmp_path / "tree.svg").read_text()


def test_json_holds_every_point(wells) -> None:
    found = json.loads(run("topology", wells, "--json").stdout)
    assert [m["coordinates"]["x"] for m in found["minima"]] == pytest.approx([-1, 1])
    assert found["merges"] == [{"ends": 2, "goes on": 1, "at": 1.0}]


def test_a_threshold_leaves_the_shallow_well_out(wells) -> None:
    assert "1 minimum, 0 saddles" in run("topology", wells, "--threshold", "0.95").output
    assert run("topology", wells, "--threshold", "deep").exit_code == 2


def test_a_field_with_holes_is_refused(wells, tmp_path) -> None:
    landscape = la.open(wells)
    landscape["loss"][3, 3] = np.nan
    landscape["status"][3, 3] = 0
    result = run("topology", save(landscape, tmp_path / "hole.nc"))
    assert result.exit_code == 2
    assert "1 of 861 cells" in result.output
