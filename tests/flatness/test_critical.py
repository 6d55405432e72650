"""Is critical sharpness the curvature along the update: closed forms, other updates, other losses?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.curvature.differences import curvature_along
from lossatlas.errors import SpecError
from lossatlas.flatness.first_rise import first_rise
from lossatlas.flatness.rise import critical

CURVES = np.array([1.0, 4.0, 0.5, 9.0])
POINT = np.array([1.0, -0.5, 2.0, 0.3])


def quadratic(curves=CURVES, weights=POINT) -> la.Objective:
    """L(w) = 1/2 Σ λ_i w_i²."""
    n = len(curves)
    model = nn.Linear(n, 1, bias=False).double()
    model.weight.data.copy_(torch.as_tensor(weights, dtype=torch.float64))
    x = torch.diag(torch.from_numpy(np.sqrt(curves * n / 2)))
    return la.Objective(model, (x, torch.zeros(n, 1).double()), F.mse_loss)


def tensors(values):
    return {"weight": torch.as_tensor(np.atleast_2d(values), dtype=torch.float64)}


@pytest.mark.parametrize("start", [1e-6, 0.1, 1.0, 1e5])
def test_along_the_gradient_of_a_quadratic_it_is_the_rayleigh_quotient(start):
    gradient = CURVES * POINT
    found = critical(quadratic(), start=start, tolerance=1e-9)
    assert found.value == pytest.approx(gradient @ (CURVES * gradient) / (gradient @ gradient), rel=1e-8)
    assert found.gradients == 1


def test_fewer_than_ten_evaluations_from_a_sensible_start():
    found = critical(quadratic(), start=0.1)
    assert found.evaluations < 10
    assert found.value == pytest.approx(float(np.sum(CURVES**3 * POINT**2) / np.sum((CURVES * POINT) ** 2)), rel=0.02)


def test_a_preconditioned_update_has_the_curvature_along_itself():
    gradient = CURVES * POINT
    update = gradient / CURVES**0.5
    found = critical(quadratic(), update=tensors(update), tolerance=1e-9)
    assert found.value == pytest.approx(update @ (CURVES * update) / (gradient @ update), rel=1e-8)


def test_a_second_loss_is_seen_along_the_update_of_the_first():
    other = np.array([2.0, 1.0, 3.0, 0.2])
    update, slope = CURVES * POINT, other * POINT
    found = critical(quadratic(), second=quadratic(other), tolerance=1e-9)
    assert found.value == pytest.approx(update @ (other * update) / (slope @ update), rel=1e-8)


def test_a_second_loss_may_be_made_from_the_first_and_is_named():
    other = np.array([2.0, 1.0, 3.0, 0.2])
    exact = critical(quadratic(), second=quadratic(other), tolerance=1e-9)
    found = la.sharpness.table(
        {"a": quadratic(), "b": quadratic()},
        ["critical"],
        options={"critical": {"second": lambda one: quadratic(other), "tolerance": 1e-9}},
    )
    assert found.column("critical") == pytest.approx([exact.value] * 2)
    assert "Relative: " in exact.note
    assert " along the update of " in exact.note


def test_an_update_that_leads_uphill_is_said():
    found = critical(quadratic(), update=tensors(-CURVES * POINT))
    assert math.isinf(found.value)
    assert "rises along this update at once" in found.note


def test_a_loss_that_never_rises_gives_a_bound():
    layer = nn.Linear(1, 1, bias=False).double()
    objective = la.Objective(layer, (torch.ones(3, 1).double(), torch.ones(3, 1).double()), lambda out, _: -out.mean())
    found = critical(objective)
    assert "upper bound" in found.note
    assert 0 <= found.value < 1e-6


def test_a_point_whose_gradient_is_zero_is_refused():
    with pytest.raises(SpecError, match="the gradient is zero here"):
        critical(quadratic(weights=np.zeros(4)))
    with pytest.raises(SpecError, match="'bias' is not a tensor that can be trained"):
        critical(quadratic(), update={"bias": torch.ones(1)})
    with pytest.raises(SpecError, match="tolerance=0"):
        critical(quadratic(), tolerance=0)


def test_groups_of_samples_have_a_mean_and_its_error():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 4, generator=generator).double()
    model = nn.Linear(4, 1, bias=False).double()
    objective = la.Objective(model, (x, x.sum(1, keepdim=True)), F.mse_loss)
    found = critical(objective, m=10)
    assert found.spread > 0
    # Each group is a quadratic of its own: the mean of the four Rayleigh quotients.
    rayleigh = []
    for part in np.split(np.random.default_rng(0).permutation(40), 4):
        some = x[np.sort(part)]
        hessian = 2 * some.T @ some / 10
        gradient = (2 * (some @ model.weight.detach().T - some.sum(1, keepdim=True)).T @ some / 10)[0]
        rayleigh.append(float(gradient @ hessian @ gradient / (gradient @ gradient)))
    assert found.value == pytest.approx(np.mean(rayleigh), rel=0.02)


def test_a_loss_that_overflows_counts_as_a_rise():
    step, note = first_rise(lambda t: -t if t < 7.3 else math.nan, tolerance=1e-3)
    assert step == pytest.approx(7.3, rel=2e-3)
    assert note == ""


@pytest.mark.parametrize("seed", range(3))
def test_it_is_at_most_the_largest_eigenvalue_near_a_point_where_the_loss_is_nearly_quadratic(seed):
    torch.manual_seed(seed)
    x = torch.randn(30, 5).double()
    objective = la.Objective(nn.Linear(5, 3).double(), (x, torch.randint(0, 3, (30,))), F.cross_entropy)
    assert critical(objective).value <= 1.3 * la.eigenvalues(objective, k=1).values[-1]


BENDS = np.array([4.0, 1.0, 0.5])


def bowl(dtype=np.float64):
    """L = 1/2 Σ h w², whose curvature along the gradient is Σ h³w² / Σ h²w²."""
    return la.Function(lambda p: float(0.5 * (BENDS * p["w"].astype(np.float64) ** 2).sum()), {"w": np.ones(3, dtype)})


def test_a_function_of_arrays_has_the_critical_sharpness_of_its_quadratic():
    along = (BENDS**3).sum() / (BENDS**2).sum()
    assert critical(bowl(), tolerance=1e-9).value == pytest.approx(along, rel=1e-6)
    assert critical(bowl(np.float32), tolerance=1e-6).value == pytest.approx(along, rel=1e-3)
    given = critical(bowl(), update={"w": BENDS}, tolerance=1e-9)
    assert given.value == pytest.approx(along, rel=1e-9)
    assert given.gradients == 0
    assert given.evaluations < 15
    one = {"w": np.array([0.0, 1.0, 0.0])}  # along one axis: h w / w
    assert critical(bowl(), {"w": np.array([1.0, 2.0, 1.0])}, update=one, tolerance=1e-9).value == pytest.approx(
        1 / 2, rel=1e-9
    )


def test_a_function_and_its_torch_twin_have_the_same_critical_sharpness():
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1).double()
    x, y = torch.randn(7, 3).double(), torch.randn(7, 1).double()
    objective = la.Objective(net, (x, y), torch.nn.functional.mse_loss)

    def loss(p):
        return float(np.mean((x.numpy() @ p["weight"].T + p["bias"] - y.numpy()) ** 2))

    function = la.Function(loss, {name: t.detach().numpy().copy() for name, t in net.named_parameters()})
    ours, theirs = (critical(one, tolerance=1e-9).value for one in (function, objective))
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_what_a_function_does_not_have_is_refused():
    with pytest.raises(SpecError, match="m and second need an Objective"):
        critical(bowl(), m=4)
    with pytest.raises(SpecError, match="the update is zero"):
        critical(bowl(), {"w": np.zeros(3)})
    with pytest.raises(SpecError, match=r"1,001 numbers, at most 1,000 by differences; give update="):
        critical(la.Function(lambda p: float((p["w"] ** 2).sum()), {"w": np.ones(1001)}))
    with pytest.raises(SpecError, match="steps by the gradient of a torch model"):
        critical(bowl(), update=torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1))
    with pytest.raises(SpecError, match="loss is nan at this point"):
        critical(la.Function(lambda p: math.nan, {"w": np.ones(2)}))


def test_curvature_along_a_direction_of_a_function_is_that_of_its_quadratic():
    way = np.array([1.0, 2.0, -1.0])
    found = curvature_along(bowl(), {"w": way}, step=0.1)
    assert found.difference == pytest.approx((BENDS * way**2).sum() / (way**2).sum(), rel=1e-9)
    assert found.slope == pytest.approx((BENDS * way).sum() / np.linalg.norm(way), rel=1e-9)
    assert math.isnan(found.autodiff)
    with pytest.raises(SpecError, match="direction is zero"):
        curvature_along(bowl(), {"w": np.zeros(3)})


@pytest.mark.parametrize(
    ("update", "said"),
    [(np.ones(3), r"has shape \(3,\); expected \(2,\)"), (np.array([math.nan, 1.0]), "is not finite")],
    ids=["shape", "not a number"],
)
def test_an_update_of_a_function_that_fits_no_array_of_it_is_refused(update, said):
    function = la.Function(lambda p: float((p["w"] ** 2).sum()), {"w": np.ones(2)})
    with pytest.raises(SpecError, match=rf"update\['w'\] {said}"):
        critical(function, update={"w": update})
