"""Is a function of arrays sampled like anything else: closed forms, resume, failures, adaptive points, identity?"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import lossatlas as la
from lossatlas import RunMismatchError, SpecError
from lossatlas.results.landscape import Status

rng = np.random.default_rng(0)
W, B, A = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(3, 4, 3))
GRID = la.Grid(x=(-1, 1, 5), y=(-0.5, 1, 4))
OFFSET = np.array([0.5, 0.0, -0.5])


def quadratic(p):
    linear = np.tensordot(A, p["w"], ((1, 2), (0, 1)))
    return {"loss": linear @ linear + p["b"] @ p["b"], "largest": np.abs(p["w"]).max()}


def function(loss=quadratic, **options):
    return la.Function(loss, {"w": W.copy(), "b": B.copy()}, **{"layout": "last", **options})


def expected(x, y, plane):
    moved = {"w": W + x * plane.directions["x"]["w"].numpy() + y * plane.directions["y"]["w"].numpy(), "b": B}
    return quadratic(moved)


def check(landscape, plane):
    for x in landscape["x"].values:
        for y in landscape["y"].values:
            found = landscape.sel(x=x, y=y)
            for name, value in expected(x, y, plane).items():
                assert float(found[name]) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("orthogonal", [False, True])
def test_every_cell_has_the_value_of_the_closed_form(tmp_path, orthogonal):
    made = function(samples=7, name="bowl", data_name="normal numbers")
    plane = la.Plane.random(made, seed=1, orthogonal=orthogonal)
    landscape = la.sample(made, plane, GRID, run=tmp_path / "run")
    check(landscape, plane)
    assert landscape.attrs["title"] == "bowl"
    assert (landscape.attrs["samples"], landscape.attrs["data"]) == (7, "normal numbers")
    assert landscape.attrs["dtype"] == "float64"
    assert la.open(tmp_path / "run").equals(landscape)
    la.draw(landscape, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_many_points_at_once_have_the_values_of_one_at_a_time():
    one, seen = function(), []

    def serve(points):
        seen.append(len(points))
        return [quadratic(point) for point in points]

    plane = la.Plane.random(one, seed=0)
    many = function(serve, calls="many", at_once=8)
    assert la.sample(many, plane, GRID, block=20)["loss"].equals(la.sample(one, plane, GRID)["loss"])
    assert max(seen) == 8
    assert seen.count(8) == 2
    assert json.loads(la.sample(many, plane, GRID).attrs["evaluation"])["plan"]["points"] == 8


@pytest.mark.parametrize(
    "wrong",
    [
        lambda points: [quadratic(p)["loss"] for p in points[::-1]],
        lambda points: quadratic(points[0])["loss"] + np.arange(len(points)),
        lambda points: [quadratic(p)["loss"] * (1 + 1e-4 * len(points)) for p in points],
    ],
    ids=["in another order", "of the first alone", "of the company"],
)
def test_an_engine_that_mixes_up_its_points_is_refused(wrong):
    made = function(wrong, calls="many")
    with pytest.raises(SpecError, match=r"calls='many': at x = .* the loss is .* among other points and .* on its own"):
        la.sample(made, la.Plane.random(made, seed=0), GRID)


def test_a_run_resumes_and_another_function_is_refused(tmp_path):
    calls = []

    def counted(p):
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return quadratic(p)["loss"]

    def again(p):
        return quadratic(p)["loss"]

    plane = la.Plane.random(function(), seed=0)
    with pytest.raises(KeyboardInterrupt):
        la.sample(function(counted), plane, GRID, run=tmp_path / "run", block=2)
    with pytest.raises(RunMismatchError, match="loss"):
        la.sample(function(again), plane, GRID, run=tmp_path / "run")
    before = len(calls)
    landscape = la.sample(function(counted), plane, GRID, run=tmp_path / "run", block=2)
    assert len(calls) - before < 20 + 7  # not all over again
    np.testing.assert_array_equal(landscape["loss"], la.sample(function(), plane, GRID)["loss"])


def shifted(p):
    return float(((p["w"] - OFFSET) ** 2).sum())


def test_an_array_of_the_module_belongs_to_the_function(tmp_path, monkeypatch):
    plane = la.Plane.random(function(), seed=0)
    la.sample(function(shifted), plane, GRID, run=tmp_path / "run")
    monkeypatch.setitem(globals(), "OFFSET", OFFSET + np.array([0, 0, 1e-13]))
    with pytest.raises(RunMismatchError, match="code loss OFFSET is"):
        la.sample(function(shifted), plane, GRID, run=tmp_path / "run")


def test_other_arrays_are_another_run(tmp_path):
    plane = la.Plane.random(function(), seed=0)
    la.sample(function(), plane, GRID, run=tmp_path / "run")
    with pytest.raises(RunMismatchError, match="model is"):
        la.sample(la.Function(quadratic, {"w": W, "b": B + 1e-13}, layout="last"), plane, GRID, run=tmp_path / "run")


def test_points_that_fail_or_are_not_finite_say_so_and_the_others_stand():
    def loss(p):
        if p["w"][0, 0] > W[0, 0] + 0.4:
            raise ValueError("too far")
        return np.inf if p["w"][0, 0] < W[0, 0] - 0.6 else 1.0

    for made in (function(loss), function(lambda points: [loss(p) for p in points], calls="many")):
        step = np.zeros_like(W)
        step[0, 0] = 1
        landscape = la.sample(made, la.Plane(made, {"x": {"w": step}}), la.Grid(x=(-1, 1, 5)))
        assert landscape["status"].values.tolist() == [
            Status.NON_FINITE,
            Status.OK,
            Status.OK,
            Status.FAILED,
            Status.FAILED,
        ]
        assert np.isposinf(landscape["loss"].values[0])
        assert np.isnan(landscape["loss"].values[-1])


def test_an_adaptive_run_agrees_with_the_whole_grid():
    made = function(lambda p: np.log1p(quadratic(p)["loss"]))
    plane = la.Plane.random(made, seed=0)
    axes = {"x": (-1, 1, 21), "y": (-1, 1, 21)}
    landscape = la.sample(made, plane, la.Adaptive(**axes, tolerance=0.02))
    whole = la.sample(made, plane, la.Grid(**axes))
    assert int((landscape["status"] == Status.OK).sum()) < 300
    spread = float(whole["loss"].max() - whole["loss"].min())
    assert float(np.abs(landscape["loss"] - whole["loss"]).max()) < 0.05 * spread


def test_a_line_between_two_sets_of_arrays_has_its_ends_at_0_and_1():
    made = function()
    other = {"w": W + 1, "b": B - 1}
    landscape = la.interpolate(made, {"w": W, "b": B}, other, steps=3)
    assert landscape["loss"].values[0] == pytest.approx(quadratic({"w": W, "b": B})["loss"])
    assert landscape["loss"].values[2] == pytest.approx(quadratic(other)["loss"])
    plane = la.Plane.towards(made, other, {"w": W - 1, "b": B})
    assert quadratic(made.arrays(plane.at({"x": 1.0})))["loss"] == pytest.approx(quadratic(other)["loss"])
    assert plane.project(made.named(other)).coordinates["x"] == pytest.approx(1)


def test_seeds_and_trajectories_take_functions_too():
    made = function()
    spread = la.seeds(made, la.Grid(x=(-1, 1, 3)), seeds=range(3)).spread()
    assert float(spread.sel(x=0)) == 0 < float(spread.sel(x=1))
    steps = [made.named({"w": W + t * OFFSET, "b": B + t**2}) for t in range(4)]
    path = la.Trajectory.open(steps)
    plane = la.Plane(made, la.directions.principal(path, axes=("x",)))
    assert la.sample(made, plane, la.Grid(x=(-1, 1, 3)))["loss"].shape == (3,)


def noisy(p):
    return quadratic(p)["loss"] + float(np.random.default_rng().normal())


def test_what_is_not_a_function_is_refused_before_the_first_point():
    with pytest.raises(SpecError, match="two evaluations at the centre differ .* random numbers it draws"):
        la.sample(function(noisy), la.Plane.random(function(), seed=0), GRID)
    with pytest.raises(SpecError, match="loss at the centre is nan"):
        la.sample(function(lambda p: np.nan), la.Plane.random(function(), seed=0), GRID)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plan": "graph"}, "plan='graph' needs a torch module"),
        ({"precision": "bf16"}, "precision='bf16' needs a torch module"),
        ({"standard_error": True}, "standard_error=True needs a torch module"),
        ({"samples": "auto"}, "samples='auto' needs a torch module"),
        ({"samples": la.Subset(size=5)}, r"samples=Subset\(.* needs a torch module"),
    ],
)
def test_what_needs_a_torch_module_says_so(options, message):
    made = function()
    with pytest.raises(SpecError, match=message):
        la.sample(made, la.Plane.random(made, seed=0), GRID, **options)


def test_curvature_says_that_it_needs_a_torch_module():
    with pytest.raises(SpecError, match="objective is a Function; expected a lossatlas.Objective"):
        la.eigenvalues(function())


def test_a_plane_of_another_function_is_refused():
    made = function()
    plane = la.Plane({"other": torch.ones(2)}, {"x": {"other": torch.ones(2)}})
    with pytest.raises(SpecError, match="'other' is not among the parameters|'other'"):
        la.sample(made, plane, la.Grid(x=(-1, 1, 3)))


def test_workers_in_other_processes_give_the_same_values():
    pytest.importorskip("cloudpickle")
    made = function()
    plane = la.Plane.random(made, seed=0)
    there = la.sample(made, plane, GRID, executor="processes:2")
    assert there["loss"].equals(la.sample(made, plane, GRID)["loss"])
