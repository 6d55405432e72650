"""Are the values right, at the right place, against closed forms?"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import SpecError
from lossatlas.results import reading
from lossatlas.results.landscape import Status


class Point(nn.Module):
    """A model that is its parameters."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(values, dtype=torch.float64))

    def forward(self, x):
        return self.w.expand(len(x), -1)


ONE_SAMPLE = [torch.zeros(1, 1, dtype=torch.float64)]


def field(function, *values: float, metrics=None) -> la.Objective:
    """An objective whose loss is a function of the parameter vector."""
    return la.Objective(Point(*values), ONE_SAMPLE, loss=lambda w, _: function(w[0]), metrics=metrics)


def unit_plane(objective: la.Objective, axes: str = "xy") -> la.Plane:
    eye = torch.eye(len(objective.origin["w"]), dtype=torch.float64)
    return la.Plane(objective.origin, {axis: {"w": eye[i]} for i, axis in enumerate(axes)})


def test_a_quadratic_is_exact_on_a_grid_that_is_not_square():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(6, 6, generator=generator).double()
    hessian = a @ a.T
    origin = torch.randn(6, generator=generator).double()
    objective = field(lambda w: 0.5 * w @ hessian @ w, *origin.tolist())
    directions = {axis: {"w": torch.randn(6, generator=generator).double()} for axis in "xy"}
    plane = la.Plane(objective.origin, directions)
    landscape = la.sample(objective, plane, la.Grid(x=(-2, 1, 7), y=(0, 3, 5)))
    for i, x in enumerate(landscape["x"].values):
        for j, y in enumerate(landscape["y"].values):
            w = (origin + x * directions["x"]["w"] + y * directions["y"]["w"]).numpy()
            expected = 0.5 * w @ hessian.numpy() @ w
            assert float(landscape["loss"][i, j]) == pytest.approx(expected, rel=1e-12)


def test_x_plus_ten_y_lies_as_it_should_and_lengths_travel_along():
    objective = field(lambda w: w[0] + 10 * w[1], 0.0, 0.0)
    plane = la.Plane(objective.origin, {
        "x": {"w": torch.tensor([1.0, 0.0]).double()}, "y": {"w": torch.tensor([0.0, 2.0]).double()},
    })  # fmt: skip
    landscape = la.sample(objective, plane, la.Grid(x=(0, 4, 5), y=(-1, 1, 3)))
    assert landscape["loss"].dims == ("x", "y")
    assert landscape["loss"].shape == (5, 3)
    assert float(landscape["loss"].sel(x=3, y=1)) == 3 + 20
    assert landscape["x_length"].values.tolist() == [0, 1, 2, 3, 4]
    assert landscape["y_length"].values.tolist() == [-2, 0, 2]
    swapped = la.sample(objective, plane, la.Grid(y=(-1, 1, 3), x=(0, 4, 5)))
    assert swapped["loss"].dims == ("y", "x")
    assert float(swapped["loss"].sel(x=3, y=1)) == 23


def test_linear_and_logistic_regression_against_numpy():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(31, 3, generator=generator).double()
    target = torch.randn(31, 1, generator=generator).double()
    label = (target > 0).double()
    model = nn.Linear(3, 1).double()
    w0, b0 = (p.detach().numpy() for p in model.parameters())
    for loss, by_hand in (
        (F.mse_loss, lambda z: np.mean((z - target.numpy()) ** 2)),
        (
            F.binary_cross_entropy_with_logits,
            lambda z: np.mean(np.log1p(np.exp(-z)) + (1 - label.numpy()) * z),
        ),
    ):
        objective = la.Objective(model, (x, target if loss is F.mse_loss else label), loss=loss, batch_size=8)
        plane = la.Plane.random(objective, seed=2)
        landscape = la.sample(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 4)))
        dx, dy = (plane.directions[axis]["weight"].numpy() for axis in "xy")
        for a in landscape["x"].values:
            for b in landscape["y"].values:
                z = x.numpy() @ (w0 + a * dx + b * dy).T + b0
                assert float(landscape["loss"].sel(x=a, y=b)) == pytest.approx(by_hand(z), rel=1e-12)


@pytest.mark.parametrize("axes", ["x", "xy", "xyz"])
def test_planes_of_one_two_and_three_directions(axes):
    objective = field(lambda w: (w * torch.tensor([1.0, 10.0, 100.0]).double()).sum(), 0.0, 0.0, 0.0)
    grid = la.Grid(**dict.fromkeys(axes, (0, 2, 3)))
    landscape = la.sample(objective, unit_plane(objective, axes), grid)
    point = {axis: number for axis, number in zip(axes, (1, 2, 0), strict=False)}
    expected = sum(v * s for v, s in zip(point.values(), (1, 10, 100), strict=False))
    assert float(landscape["loss"].sel(**point)) == expected


def test_negative_zero_nan_and_infinite_values_stay_what_they_are():
    objective = field(
        lambda w: torch.where(
            w[0] > 1.5, math.nan, torch.where(w[0] > 0.5, math.inf, torch.where(w[0] < -0.5, -1.0, 0.0))
        ),
        0.0,
    )
    landscape = la.sample(objective, unit_plane(objective, "x"), la.Grid(x=(-1, 2, 4)))
    np.testing.assert_array_equal(landscape["loss"].values, [-1, 0, math.inf, math.nan])
    assert landscape["status"].values.tolist() == [Status.OK, Status.OK, Status.NON_FINITE, Status.NON_FINITE]


def test_a_point_that_raises_has_failed_says_why_and_does_not_stop_the_run(tmp_path):
    def loss(w):
        if w[0] > 0.5:
            raise ValueError("too far")
        return w[0] ** 2

    objective = field(loss, 0.0)
    landscape = la.sample(objective, unit_plane(objective, "x"), la.Grid(x=(-1, 1, 3)), run=tmp_path / "run")
    assert landscape["status"].values.tolist() == [Status.OK, Status.OK, Status.FAILED]
    assert math.isnan(float(landscape["loss"].sel(x=1)))
    assert reading.progress(tmp_path / "run").failures == {"ValueError: too far": 1}


def test_metrics_travel_with_the_loss():
    objective = field(lambda w: w[0] ** 2, 1.0, metrics={"height": lambda w, _: w[:, 0] * 3})
    landscape = la.sample(objective, unit_plane(objective, "x"), la.Grid(x=(-1, 1, 3)))
    assert landscape["height"].values.tolist() == [0, 3, 6]
    assert json.loads(landscape.attrs["centre"]) == {"loss": 1.0, "height": 3.0}


def test_values_do_not_depend_on_order_or_blocks():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    data = torch.randn(20, 4), torch.randint(3, (20,))
    results = []
    for block in (1, 7, 1000):
        objective = la.Objective(model, data, loss=F.cross_entropy)
        plane = la.Plane.random(objective, seed=0)
        results.append(la.sample(objective, plane, la.Grid(x=(-1, 1, 6), y=(-1, 1, 5)), block=block))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0]["loss"].values, other["loss"].values)


def test_a_line_between_two_models_has_them_at_its_ends():
    x, y = torch.randn(20, 4).double(), torch.randint(3, (20,))
    models = [nn.Linear(4, 3).double() for _ in range(3)]
    objective = la.Objective(models[2], (x, y), loss=F.cross_entropy)
    line = la.interpolate(objective, models[0], models[1].state_dict(), steps=5, x=(-1, 3))
    for position, model in zip((0, 1), models[:2], strict=True):
        assert float(line["loss"].sel(x=position)) == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-12)
    with pytest.raises(SpecError, match="norm zero"):
        la.interpolate(objective, models[0], models[0])
    with pytest.raises(SpecError, match="1 of 2 tensors has another shape"):
        la.interpolate(objective, models[0], nn.Linear(5, 3))


def test_bad_requests_are_named():
    objective = field(lambda w: w[0] ** 2, 1.0)
    plane = unit_plane(objective, "x")
    with pytest.raises(SpecError, match=r"grid has the axes \['y'\], the plane \['x'\]"):
        la.sample(objective, plane, la.Grid(y=(0, 1, 2)))
    with pytest.raises(SpecError, match="block=0; expected a whole number of at least 1"):
        la.sample(objective, plane, la.Grid(x=(0, 1, 2)), block=0)
    stranger = la.Plane({"v": torch.ones(1)}, {"x": {"v": torch.ones(1)}})
    with pytest.raises(SpecError, match="'v'"):
        la.sample(objective, stranger, la.Grid(x=(0, 1, 2)))


def test_a_progress_bar_shows_points_rate_and_remaining_time(capsys):
    objective = field(lambda w: w[0] ** 2, 1.0)
    la.sample(objective, unit_plane(objective, "x"), la.Grid(x=(0, 1, 40)), progress=True, block=5)
    printed = capsys.readouterr().err
    assert "40/40" in printed
    assert "point/s" in printed
    la.sample(objective, unit_plane(objective, "x"), la.Grid(x=(0, 1, 3)))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("exponent", [2, 40])
def test_the_bar_of_an_adaptive_run_counts_to_what_is_expected_and_ends_full(capsys, exponent):
    objective = field(lambda w: (w[0] ** 2 + w[1] ** 2).mul(exponent).sin().abs() + w[0] ** 2, 1.0, 1.0)
    sampler = la.Adaptive(x=(-1, 1, 21), y=(-1, 1, 21))
    found = la.sample(objective, unit_plane(objective), sampler, progress=True)
    printed = capsys.readouterr().err
    many = int(np.sum(found["status"] == Status.OK))
    assert f"1/{sampler.expected} " in printed  # the centre is there
    assert f"100%|██████████| {many}/{many} " in printed
