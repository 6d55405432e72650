"""Is the map of critical sharpness the Rayleigh quotient at every point, and does an optimiser's own step come out right?"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.draw import captions
from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.results.landscape import Status

CURVES = np.array([1.0, 4.0, 0.5])
POINT = np.array([1.0, -0.5, 2.0])


def quadratic(curves=CURVES, weights=POINT) -> la.Objective:
    """L(w) = 1/2 Σ λ_i w_i²."""
    n = len(curves)
    model = nn.Linear(n, 1, bias=False).double()
    model.weight.data.copy_(torch.as_tensor(weights, dtype=torch.float64))
    x = torch.diag(torch.from_numpy(np.sqrt(curves * n / 2)))
    return la.Objective(model, (x, torch.zeros(n, 1).double()), F.mse_loss)


def plane(objective):
    first, second = (torch.eye(3, dtype=torch.float64)[i : i + 1] for i in (0, 1))
    return la.Plane(objective.origin, {"x": {"weight": first}, "y": {"weight": second}})


def rayleigh(w, update, curves=CURVES, slope=CURVES):
    return update @ (curves * update) / ((slope * w) @ update)


def points(found):
    for i, x in enumerate(found["x"].values):
        for j, y in enumerate(found["y"].values):
            yield i, j, POINT + np.array([x, y, 0.0])


GRID = la.Grid(x=(-1.5, 1, 4), y=(-1, 2, 3))


def test_every_cell_is_the_rayleigh_quotient_of_its_own_gradient():
    objective = quadratic()
    found = la.sharpness.critical_map(objective, plane(objective), GRID, tolerance=1e-9)
    assert found["critical"].dims == ("x", "y")
    for i, j, w in points(found):
        assert float(found["critical"][i, j]) == pytest.approx(rayleigh(w, CURVES * w), rel=1e-8)
        assert float(found["loss"][i, j]) == pytest.approx(0.5 * CURVES @ w**2)


def test_a_scaled_gradient_and_a_second_loss_have_their_own_quotients():
    objective, other, scale = quadratic(), np.array([2.0, 1.0, 3.0]), np.array([1.0, 0.5, 2.0])
    scaled = {"weight": torch.from_numpy(scale)[None]}
    options = {"tolerance": 1e-9, "second": quadratic(other), "scaled": scaled}
    found = la.sharpness.critical_map(objective, plane(objective), GRID, **options)
    for i, j, w in points(found):
        update = scale * CURVES * w
        expected = rayleigh(w, update, other, other)
        assert float(found["critical"][i, j]) == pytest.approx(expected, rel=1e-8)


def test_a_cell_without_a_gradient_fails_and_one_that_never_rises_is_censored(tmp_path):
    objective = quadratic(weights=np.zeros(3))
    found = la.sharpness.critical_map(objective, plane(objective), la.Grid(x=(0, 1, 2), y=(0, 1, 2)))
    assert int(found["status"][0, 0]) == Status.FAILED
    assert int((found["status"] == Status.OK).sum()) == 3
    layer = nn.Linear(1, 1, bias=False).double()
    slope = la.Objective(layer, (torch.ones(3, 1).double(), torch.ones(3, 1).double()), lambda out, _: -out.mean())
    line = la.Plane(slope.origin, {"x": {"weight": torch.ones(1, 1).double()}})
    bound = la.sharpness.critical_map(slope, line, la.Grid(x=(0, 1, 2)), run=tmp_path / "a")
    assert (bound["status"] == Status.CENSORED).all()
    assert float(bound["critical"].max()) < 1e-6


def test_a_map_goes_on_where_it_was_and_is_drawn_under_its_name(tmp_path):
    objective = quadratic()
    whole = la.sharpness.critical_map(objective, plane(objective), GRID, run=tmp_path / "a")
    again = la.sharpness.critical_map(objective, plane(objective), GRID, run=tmp_path / "a")
    np.testing.assert_array_equal(whole["critical"], again["critical"])
    np.testing.assert_array_equal(whole["critical"], la.open(tmp_path / "a")["critical"])
    with pytest.raises(RunMismatchError):
        la.sharpness.critical_map(objective, plane(objective), GRID, run=tmp_path / "a", tolerance=0.1)
    la.draw(whole, tmp_path / "a.png", value="critical")
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_a_map_refuses_a_scale_that_is_none():
    objective = quadratic()
    with pytest.raises(SpecError, match="scaled\\['weight'\\] has negative"):
        la.sharpness.critical_map(objective, plane(objective), GRID, scaled={"weight": -torch.ones(1, 3)})
    with pytest.raises(SpecError, match="'bias' is not a tensor that can be trained"):
        la.sharpness.critical_map(objective, plane(objective), GRID, scaled={"bias": torch.ones(1)})
    with pytest.raises(SpecError, match="start=0"):
        la.sharpness.critical_map(objective, plane(objective), GRID, start=0)


def trained(make, steps=3):
    """A quadratic whose model has made some steps with an optimiser, and that optimiser."""
    objective = quadratic()
    optimizer = make(objective.model.parameters())
    x, y = next(iter(objective.batches))
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(objective.model(x), y).backward()
        optimizer.step()
    fresh = la.Objective(objective.model, (x, y), F.mse_loss)
    return fresh, optimizer


MAKERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05),
}


@pytest.mark.parametrize("name", MAKERS)
def test_an_optimizer_stands_for_the_step_that_it_really_takes_next(name):
    objective, optimizer = trained(MAKERS[name])
    before = objective.model.weight.detach().clone()
    state = copy.deepcopy(optimizer.state_dict())
    found = la.sharpness.critical(objective, update=optimizer, tolerance=1e-9)
    assert torch.equal(before, objective.model.weight)
    for key, entry in state["state"].items():
        assert all(
            np.array_equal(v, optimizer.state_dict()["state"][key][k]) for k, v in entry.items() if v is not None
        )
    optimizer.zero_grad()
    x, y = next(iter(objective.batches))
    F.mse_loss(objective.model(x), y).backward()
    optimizer.step()
    step = ((before - objective.model.weight.detach()) / optimizer.param_groups[0]["lr"]).numpy()[0]
    w = before.numpy()[0]
    if (CURVES * w) @ step > 0:
        assert found.value == pytest.approx(rayleigh(w, step), rel=1e-8)
    else:
        assert found.value == np.inf


def test_an_optimizer_of_another_model_is_refused():
    with pytest.raises(SpecError, match="trains none of the objective's tensors"):
        la.sharpness.critical(quadratic(), update=torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1))
    with pytest.raises(SpecError, match="LBFGS cannot take a single gradient step"):
        objective = quadratic()
        la.sharpness.critical(objective, update=torch.optim.LBFGS(objective.model.parameters()))
    with pytest.raises(SpecError, match="update is a str"):
        la.sharpness.critical(quadratic(), update="adam")


def test_a_profile_shows_where_the_loss_rises(tmp_path):
    objective, optimizer = trained(MAKERS["sgd"])
    found = la.sharpness.profile(objective, update=optimizer)
    w = objective.model.weight.detach().numpy()[0]
    assert found.critical == pytest.approx(rayleigh(w, CURVES * w), rel=0.02)
    assert found.rate == 0.1
    middle = len(found.steps) // 2  # at the critical step it is as high as where it began
    assert found.losses[middle] == pytest.approx(found.losses[0], rel=0.05)
    la.draw(found, tmp_path / "a.png")
    assert {mark.label for mark in found.plot().panels[0].marks} >= {"loss now", "η = 0.1"}


def function(curves=CURVES, weights=POINT, dtype=np.float64):
    """The same bowl as a function of arrays, which says nothing but its values."""
    halves = np.split(np.asarray(weights, dtype), [2])
    return la.Function(
        lambda p: float(curves @ np.concatenate([p["a"], p["b"]]).astype(np.float64) ** 2 / 2),
        dict(zip("ab", halves, strict=True)),
    )


def slope(p):
    return {"a": (CURVES[:2] * p["a"]).astype(p["a"].dtype), "b": (CURVES[2:] * p["b"]).astype(p["b"].dtype)}


def ways(found):
    unit = {"a": np.zeros(2), "b": np.zeros(1)}
    return la.Plane(found, {"x": unit | {"a": np.array([1.0, 0.0])}, "y": unit | {"a": np.array([0.0, 1.0])}})


@pytest.mark.parametrize(
    ("update", "dtype", "rtol"), [(None, np.float64, 1e-6), (slope, np.float64, 1e-8), (slope, np.float32, 1e-3)]
)
def test_of_a_function_of_arrays_every_cell_is_the_rayleigh_quotient_too(update, dtype, rtol):
    bowl = function(dtype=dtype)
    found = la.sharpness.critical_map(bowl, ways(bowl), GRID, update=update, tolerance=1e-9)
    for i, j, w in points(found):
        assert float(found["critical"][i, j]) == pytest.approx(rayleigh(w, CURVES * w), rel=rtol)
    least = 1 if update else 7  # a difference takes two values for each of three numbers
    assert float(found["evaluations"].min()) > least
    words = "the given gradient" if update else "the gradient by differences"
    assert words in found.attrs["evaluation"]


def test_of_a_function_a_scaled_gradient_and_a_second_function_have_their_own_quotients():
    bowl, other, scale = function(), np.array([2.0, 1.0, 3.0]), np.array([1.0, 0.5, 2.0])
    options = {"second": function(other), "scaled": {"a": scale[:2], "b": scale[2:]}, "tolerance": 1e-9}
    found = la.sharpness.critical_map(bowl, ways(bowl), GRID, **options)
    for i, j, w in points(found):
        update = scale * CURVES * w
        assert float(found["critical"][i, j]) == pytest.approx(rayleigh(w, update, other, other), rel=1e-6)


def test_a_map_says_along_whose_update_it_is_and_what_bounds_it():
    bowl, scale = function(), {"a": np.ones(2), "b": np.array(2.0)}
    for options, label, caveat in (
        (
            {},
            "2/ηc",
            "along its gradient at which the loss first rises. For that one direction; to second order never above λmax",
        ),
        ({"scaled": scale}, "2/ηc, scaled gradient", "not bounded by λmax of the unscaled Hessian"),
        ({"second": function(np.array([2.0, 1.0, 3.0]))}, "2/ηc, relative", "not bounded by λmax of either loss"),
    ):
        found = la.sharpness.critical_map(bowl, ways(bowl), GRID, tolerance=0.1, **options)
        assert found["critical"].attrs["long_name"] == label
        assert caveat in " ".join(captions.proved([found], "critical").split())


def test_a_map_of_a_function_resumes_and_knows_its_gradient(tmp_path):
    bowl = function()
    whole = la.sharpness.critical_map(bowl, ways(bowl), GRID, update=slope, run=tmp_path / "a")
    again = la.sharpness.critical_map(bowl, ways(bowl), GRID, update=slope, run=tmp_path / "a")
    np.testing.assert_array_equal(whole["critical"], again["critical"])
    with pytest.raises(RunMismatchError):
        la.sharpness.critical_map(bowl, ways(bowl), GRID, run=tmp_path / "a")


def test_what_does_not_go_with_a_function_is_said():
    bowl, objective = function(), quadratic()
    with pytest.raises(
        SpecError, match="update is a dict; expected a function of the parameters that gives the gradient"
    ):
        la.sharpness.critical_map(bowl, ways(bowl), GRID, update={"a": np.ones(2)})
    with pytest.raises(SpecError, match="update is for a lossatlas.Function"):
        la.sharpness.critical_map(objective, plane(objective), GRID, update=slope)
    with pytest.raises(SpecError, match="second is .*; expected another lossatlas.Function"):
        la.sharpness.critical_map(bowl, ways(bowl), GRID, second=objective)
    wide = la.Function(lambda p: float((p["w"] ** 2).sum()), {"w": np.ones(1001)})
    with pytest.raises(SpecError, match="1,001 numbers, at most 1,000 by differences; give update="):
        la.sharpness.critical_map(wide, la.Plane(wide, {"x": {"w": np.ones(1001)}}), la.Grid(x=(0, 1, 2)))
    with pytest.raises(SpecError, match="InputPlane moves the inputs"):
        la.sharpness.critical_map(objective, la.InputPlane.random(objective), GRID)


def test_the_gradient_may_come_from_jax():
    jax = pytest.importorskip("jax")
    weights = {"w": jax.numpy.asarray(POINT, jax.numpy.float32)}

    def loss(p):
        return (CURVES * p["w"] ** 2).sum() / 2

    bowl = la.Function(loss, weights)
    found = la.sharpness.critical(bowl, update=jax.grad(loss), tolerance=1e-4)
    assert found.value == pytest.approx(rayleigh(POINT, CURVES * POINT), rel=1e-2)
    way = la.Plane.random(bowl, seed=0, axes=("x",), still=())
    mapped = la.sharpness.critical_map(bowl, way, la.Grid(x=(-1, 1, 3)), update=jax.grad(loss))
    assert float(mapped["critical"].sel(x=0)) == pytest.approx(found.value, rel=0.05)
