"""What is said to somebody who passes something of another type: what was expected, and how to make it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lossatlas as la

MODEL = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
DATA = (torch.randn(8, 4), torch.randint(0, 2, (8,)))
MEASURED = la.Objective(MODEL, DATA, loss=F.cross_entropy)
D = la.directions.random(MEASURED)
P = la.Plane.random(MEASURED)
G = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
LANDSCAPE = la.sample(MEASURED, P, G, progress=False)


def objective(**change):
    return la.Objective(**{"model": MODEL, "data": DATA, "loss": F.cross_entropy, **change})


MADE = r"is a Sequential; expected a lossatlas\.Objective, made as la\.Objective\(model, data, loss="
POINT = r"params is .*; expected tensors by name"
CALLS = {
    "a model that is a class": (
        lambda: objective(model=nn.Linear),
        "the class Linear, not an instance.*torch.nn.Module",
    ),
    "a loss by its name": (
        lambda: objective(loss="mse"),
        r"loss is a str \('mse'\); expected a callable .*cross_entropy",
    ),
    "a loss that is a class": (lambda: objective(loss=nn.MSELoss), r"loss is the class MSELoss.*MSELoss\(\)"),
    "a metric without a name": (
        lambda: objective(metrics=la.metrics.error),
        r'metrics .*\{"error": la.metrics.error\}',
    ),
    "metrics in a list": (
        lambda: objective(metrics=[la.metrics.error]),
        "metrics is a list; expected callables by name",
    ),
    "a number for a metric's name": (lambda: objective(metrics={1: la.metrics.error}), "metrics: a name is an int"),
    "tasks that are none": (lambda: objective(tasks=5), "tasks is an int .*; expected callables"),
    "a forward that is none": (lambda: objective(forward="x"), "forward is a str .*expected a callable"),
    "a device that is none": (
        lambda: objective(device="gpu"),
        "device='gpu': expected one that torch knows, such as 'cpu'",
    ),
    "a batch size in words": (lambda: objective(batch_size="100"), "batch_size is a str .*a number of samples"),
    "a point that is a number": (lambda: MEASURED(5), POINT),
    "a point that is a model": (lambda: MEASURED(MODEL), POINT),
    "a point of numbers": (lambda: MEASURED({"0.weight": 5}), r"params\['0.weight'\] is an int .*a tensor"),
    "a direction that is a tensor": (
        lambda: la.Plane(MEASURED, {"x": torch.ones(3)}),
        r"directions\['x'\] is a Tensor; expected tensors by name, .*la\.directions\.random\(objective, seed=0\)",
    ),
    "directions that are a tensor": (
        lambda: la.Plane(MEASURED, torch.ones(3)),
        "directions is a Tensor; expected directions by axis",
    ),
    "directions in a list": (lambda: la.Plane(MEASURED, [D]), "directions is a list; .*by axis"),
    "an axis that is a number": (lambda: la.Plane(MEASURED, {1: D}), "the name of an axis is an int"),
    "an origin that is a number": (lambda: la.Plane(5, {"x": D}), "origin is an int .*tensors by name"),
    "an origin that is a model": (lambda: la.Plane(MODEL, {"x": D}), r"origin .*dict\(model.named_parameters\(\)\)"),
    "a direction of numbers": (
        lambda: la.Plane(MEASURED, {"x": {"0.weight": 5}}),
        r"direction\['0.weight'\] is an int",
    ),
    "a direction that is a model": (lambda: la.Plane(MEASURED, {"x": MODEL}), r"directions\['x'\] is a Sequential"),
    "a recipe that is none": (lambda: la.Plane(MEASURED, {"x": D}, 5), "recipe is an int .*Recipe"),
    "a place without axes": (lambda: P.at((0.5, 0.2)), r'coordinates is a tuple; .*\{"x": 0.5'),
    "a place in words": (lambda: P.at({"x": "a"}), r"coordinates\['x'\] is a str"),
    "a place that is a number": (lambda: P.project(5), "expected a model or tensors by name"),
    "a place that is a file": (lambda: P.project("b.pt"), r"load_checkpoint\(model, 'b\.pt'\) reads a file"),
    "a line without an objective": (lambda: la.interpolate(MODEL, MODEL, MODEL), MADE),
    "eigenvalues of a model": (lambda: la.eigenvalues(MODEL), MADE),
    "eigenvalues at a model": (lambda: la.eigenvalues(MEASURED, MODEL), rf"{POINT}; for a model: dict\(model.named"),
    "eigenvalues at a number": (lambda: la.eigenvalues(MEASURED, 5), POINT),
    "how many eigenvalues in words": (lambda: la.eigenvalues(MEASURED, k="a"), "k is a str .*how many eigenvalues"),
    "the trace of a model": (lambda: la.trace(MODEL), MADE),
    "the density of a model": (lambda: la.spectral_density(MODEL), MADE),
    "the map of a model": (lambda: la.curvature_map(MODEL, P, G), MADE),
    "the gradient of a model": (lambda: la.directions.gradient(MODEL), MADE),
    "the worst way from a model": (lambda: la.directions.worst(MODEL), MADE),
    "the principal ways of a number": (lambda: la.directions.principal(5), r"trajectory is an int .*Trajectory\.open"),
    "a direction at right angles to a number": (
        lambda: la.directions.orthogonal(5, 5, MEASURED),
        "direction is an int",
    ),
    "a number as a direction": (lambda: la.normalize(5, MEASURED), "direction is an int .*tensors by name"),
    "a tensor as a direction": (
        lambda: la.normalize(torch.ones(3), MEASURED),
        "direction is a Tensor; expected tensors by name",
    ),
    "the sharpness of a model": (lambda: la.sharpness.sam(MODEL), MADE),
    "the Fisher-Rao norm of a model": (lambda: la.sharpness.fisher_rao(MODEL), MADE),
    "the flatness of a model": (lambda: la.sharpness.relative_flatness(MODEL), MADE),
    "the margin of a model": (lambda: la.sharpness.input_margin(MODEL), MADE),
    "the sharpness at a number": (lambda: la.sharpness.sam(MEASURED, 5), POINT),
    "a table of a list": (lambda: la.sharpness.table([MEASURED]), "models is a list; expected objectives by name"),
    "a table of models": (lambda: la.sharpness.table({"a": MODEL}), rf"models\['a'\] {MADE}"),
    "a picture of a number": (
        lambda: la.draw(5, "a.png"),
        r"landscapes is an int .*la\.open\('runs/a'\), or what la\.sample",
    ),
    "a picture of an objective": (
        lambda: la.draw(MEASURED, "a.png"),
        "landscapes is an Objective; expected a Landscape",
    ),
    "a picture of an array": (lambda: la.draw([np.ones((3, 3))], "a.png"), "holds a ndarray; expected a Landscape"),
    "a picture in a number": (lambda: la.draw(LANDSCAPE, 5), "path is an int .*a path"),
    "a view that is a number": (lambda: la.draw(LANDSCAPE, "a.png", 5), r"view is an int .*lossatlas\.View"),
    "overlays that are a number": (
        lambda: la.draw(LANDSCAPE, "a.png", overlays=5),
        "overlays is an int .*a list of Path",
    ),
    "a folder that is a number": (lambda: la.open(5), "path is an int"),
    "a folder that is a result": (lambda: la.open(LANDSCAPE), "path is a (Dataset|Landscape); expected a path"),
    "the shape of a number": (lambda: la.topology(5), "landscape is an int .*Landscape"),
    "the shape of a folder": (lambda: la.topology("runs/a"), r"landscape is a str .*la\.open"),
    "a way between models without an objective": (lambda: la.connect(MODEL, MODEL, MODEL), MADE),
    "a recorder of a number": (lambda: la.Recorder(5), "folder is an int"),
    "a path that is a number": (lambda: la.Trajectory.open(5), "source is an int .*folder of a Recorder"),
    "a checkpoint into a number": (lambda: la.load_checkpoint(5, "a.pt"), "model is an int .*torch.nn.Module"),
    "a checkpoint that is a number": (lambda: la.load_checkpoint(MODEL, 5), "path is an int"),
    "the filters of a number": (lambda: la.filters.table(5), "model is an int .*torch.nn.Module"),
    "a rule for a number": (lambda: la.filters.register(5, len), "module_type is an int .*class"),
    "a rule that is a number": (lambda: la.filters.register(nn.Linear, 5), "rule is an int .*callable"),
}


@pytest.mark.parametrize("call", CALLS)
def test_another_type_gets_a_sentence(call):
    function, words = CALLS[call]
    with pytest.raises(la.SpecError, match=words):
        function()
