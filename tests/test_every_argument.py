"""Is each argument of every public callable, given something of another type, named in a sentence that says what it is?"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.extras import MissingExtraError

torch.manual_seed(0)
NET, OTHER = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
DATA = (torch.randn(8, 3), torch.randint(2, (8,)))
OBJECTIVE = la.Objective(NET, DATA, cross_entropy)
PLANE = la.Plane.random(OBJECTIVE, seed=0)
LINE, GRID = la.Grid(x=(-1, 1, 3)), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
LANDSCAPE = la.sample(OBJECTIVE, PLANE, GRID, progress=False)


class Odd:
    """What no function takes."""


WRONG = {
    "a number": 5,
    "a text": "nonsense",
    "nothing": None,
    "a list": [1, "a"],
    "an object": Odd(),
    "a dict": {"a": 1},
}

GOOD = {
    "Objective": (la.Objective, (NET, DATA, cross_entropy), {}),
    "Function": (la.Function, (lambda p: 1.0, {"w": np.ones(2)}), {}),
    "Plane": (la.Plane, (OBJECTIVE, dict(PLANE.directions)), {}),
    "Plane.random": (la.Plane.random, (OBJECTIVE,), {}),
    "Plane.towards": (la.Plane.towards, (OBJECTIVE, OTHER), {}),
    "Plane.at": (PLANE.at, ({"x": 1.0},), {}),
    "Plane.project": (PLANE.project, (OTHER,), {}),
    "Grid": (la.Grid, (), {"x": (-1, 1, 3)}),
    "Adaptive": (la.Adaptive, (), {"x": (-1, 1, 5), "y": (-1, 1, 5)}),
    "Subset": (la.Subset, (), {}),
    "Plan": (la.Plan, (), {}),
    "View": (la.View, (), {}),
    "sample": (la.sample, (OBJECTIVE, PLANE, GRID), {}),
    "seeds": (la.seeds, (OBJECTIVE, LINE), {}),
    "interpolate": (la.interpolate, (OBJECTIVE, NET, OTHER), {"steps": 3}),
    "normalize": (la.normalize, (dict(PLANE.directions["x"]), OBJECTIVE), {}),
    "directions.random": (la.directions.random, (OBJECTIVE,), {}),
    "directions.towards": (la.directions.towards, (OBJECTIVE, OTHER), {}),
    "directions.eigen": (la.directions.eigen, (OBJECTIVE,), {}),
    "directions.gradient": (la.directions.gradient, (OBJECTIVE,), {}),
    "eigenvalues": (la.eigenvalues, (OBJECTIVE,), {"k": 1}),
    "trace": (la.trace, (OBJECTIVE,), {"probes": 2}),
    "spectral_density": (la.spectral_density, (OBJECTIVE,), {"probes": 1, "steps": 3}),
    "critical_map": (la.sharpness.critical_map, (OBJECTIVE, PLANE, GRID), {}),
    "curvature_map": (la.curvature_map, (OBJECTIVE, PLANE, GRID), {}),
    "topology": (la.topology, (LANDSCAPE,), {}),
    "compare": (la.compare, ([LANDSCAPE, LANDSCAPE], [LANDSCAPE, LANDSCAPE]), {}),
    "draw": (la.draw, (LANDSCAPE, "a.html"), {}),
    "plot": (la.plot, (LANDSCAPE.sel(y=0),), {}),
    "animate": (la.animate, (LANDSCAPE, "a.gif"), {"seconds": 2.0, "rate": 1, "width": 120}),
    "landscape": (la.landscape, (), {"x": [0.0, 1.0], "loss": [1.0, 2.0]}),
    "open": (la.open, ("a",), {}),
    "load_checkpoint": (la.load_checkpoint, (NET, "a"), {}),
    "Recorder": (la.Recorder, ("rec",), {}),
    "Trajectory.open": (la.Trajectory.open, ("rec",), {}),
    "align": (la.align, (NET, OTHER), {}),
    "metrics.error": (la.metrics.error, (torch.randn(4, 2), torch.zeros(4, dtype=torch.long)), {}),
    "filters.table": (la.filters.table, (NET,), {}),
    "filters.register": (la.filters.register, (Odd, lambda module, name, tensor: None), {}),
    "zoo.model": (la.zoo.model, ("mlp",), {}),
    "zoo.data": (la.zoo.data, ("digits",), {}),
    **{
        f"sharpness.{name}": (measure, (OBJECTIVE,), {"draws": 100} if name == "llc" else {})
        for name in la.sharpness.__all__
        if inspect.isfunction(measure := getattr(la.sharpness, name))
        and list(inspect.signature(measure).parameters)[:1] == ["objective"]
        and name != "critical_map"
    },
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", GOOD)
def test_an_argument_of_another_type_is_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, args, options = GOOD[name]
    signature = inspect.signature(function)
    raw = []
    for argument, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        for what, wrong in WRONG.items():
            bound = signature.bind(*args, **options)
            bound.arguments[argument] = wrong
            try:
                function(*bound.args, **bound.kwargs)
            except (la.SpecError, la.RunMismatchError, MissingExtraError, FileNotFoundError):
                continue
            except Exception as fault:
                raw.append(f"{argument} = {what}: {type(fault).__name__}: {fault}")
    assert raw == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: la.seeds(OBJECTIVE, 5), r"grid is an int \(5\); expected points such as la.Grid"),
        (lambda: la.seeds(OBJECTIVE, LINE, 5), r"seeds is an int \(5\); expected several seeds, such as range\(5\)"),
        (lambda: la.Plane.random(OBJECTIVE, axes=5), r"axes is an int \(5\); expected names of axes"),
        (lambda: la.Plane.random(OBJECTIVE, seed="a"), r"seed is a str \('a'\); expected a whole number"),
        (lambda: la.Plane.random(OBJECTIVE, still=5), r"still is an int \(5\); expected a tuple of roles"),
        (lambda: la.Plane.random(OBJECTIVE, only=[1]), r"only: an entry is an int \(1\); expected patterns"),
        (lambda: la.Adaptive(x=(-1, 1, 5), tolerance="a"), r"tolerance is a str \('a'\); expected a share"),
        (lambda: la.metrics.error(5, 6), r"outputs is an int \(5\); expected a tensor"),
        (lambda: la.sample(OBJECTIVE, PLANE, GRID, run=5), r"run is an int \(5\); expected a path"),
        (lambda: la.sample(OBJECTIVE, PLANE, GRID, block="a"), r"block is a str \('a'\); expected a whole number"),
        (lambda: la.trace(OBJECTIVE, probes=1), r"probes=1; expected a whole number of at least 2"),
        (lambda: la.trace(OBJECTIVE, seed=1.5), r"seed is a float \(1.5\); expected a whole number"),
    ],
)
def test_what_was_raw_says_what_is_expected(call, message):
    with pytest.raises(la.SpecError, match=message):
        call()
