"""Do eigenvectors and gradients make planes, and do slices, runs and pictures say what is known of the curvature?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.draw.view import View, compile
from lossatlas.field.convexity import proof, slice_eigenvalues
from lossatlas.results.store import note_curvature
from lossatlas.space.parameters import dot, norm


def objective() -> la.Objective:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, y = torch.randn(50, 4).double(), torch.randint(0, 3, (50,))
    return la.Objective(net, (x, y), F.cross_entropy, batch_size=20)


def test_along_eigenvectors_the_slice_bends_as_the_eigenvalues_say() -> None:
    measured = objective()
    found = la.eigenvalues(measured, k=2, tolerance=1e-6)
    top, bottom = la.directions.eigen(found), la.directions.eigen(found, which="smallest")
    second = la.directions.eigen(measured, index=1, tolerance=1e-6, length=0.5)
    assert top.label == f"eigenvector of λmax = {found.values[-1]:.3g}"
    assert bottom.label == f"eigenvector of λmin = {found.values[0]:.3g}"
    assert second.label == f"eigenvector of λ (2 from λmax) = {found.values[-2]:.3g}"
    assert norm(top) == pytest.approx(1)
    assert norm(second) == pytest.approx(0.5)
    assert abs(dot(top, bottom)) < 1e-6
    plane = la.Plane(measured, {"x": top, "y": bottom})
    step = 1e-3
    landscape = la.sample(measured, plane, la.Grid(x=(-step, step, 3), y=(-step, step, 3)))
    bends = slice_eigenvalues(landscape)[0, 0]
    np.testing.assert_allclose(bends, found.values[[0, -1]], atol=1e-3)
    assert landscape["x"].attrs["long_name"] == top.label
    assert top.label in compile(landscape).caption.axes


def test_an_unsure_eigenvector_says_so() -> None:
    found = la.eigenvalues(objective(), most=4, tolerance=1e-9)
    assert not found.converged.all()
    assert "residual" in la.directions.eigen(found).label


def test_down_the_gradient_the_loss_falls_as_it_says() -> None:
    measured = objective()
    direction = la.directions.gradient(measured)
    plane = la.Plane(measured, {"x": direction})
    step = 1e-5
    losses = la.sample(measured, plane, la.Grid(x=(-step, step, 3)))["loss"].values
    assert (losses[2] - losses[0]) / (2 * step) == pytest.approx(norm(direction) ** 2, rel=1e-6)
    assert plane.recipe.labels["x"].startswith("gradient, of norm ")
    reference = {n: p.clone().requires_grad_() for n, p in measured.origin.items()}
    x, y = (torch.cat(parts) for parts in zip(*measured.batches, strict=True))
    loss = F.cross_entropy(torch.func.functional_call(measured.model, reference, (x,)), y)
    exact = torch.autograd.grad(loss, list(reference.values()))
    for name, tensor in zip(reference, exact, strict=True):
        torch.testing.assert_close(direction[name], tensor)


def test_bad_directions_are_refused() -> None:
    found = la.eigenvalues(objective())
    with pytest.raises(la.SpecError, match="largest, smallest"):
        la.directions.eigen(found, which="middle")
    with pytest.raises(la.SpecError, match=r"index=2; 2 eigenvectors.*larger k"):
        la.directions.eigen(found, index=2)
    with pytest.raises(la.SpecError, match="expected an Objective"):
        la.directions.eigen("top")
    flat = la.Objective(nn.Linear(2, 1), (torch.zeros(2, 2), torch.zeros(2, 1)), lambda f, y: 0 * f.mean())
    with pytest.raises(la.SpecError, match="zero here"):
        la.directions.gradient(flat)


def test_a_run_keeps_what_is_known_of_its_centre_and_its_pictures_say_it(tmp_path) -> None:
    torch.manual_seed(0)
    data = torch.randn(50, 4).double(), torch.randint(0, 3, (50,))
    measured = la.Objective(nn.Linear(4, 3).double(), data, F.cross_entropy)  # convex
    plane = la.Plane.random(measured, seed=0)
    la.sample(measured, plane, la.Grid(x=(-0.01, 0.01, 5), y=(-0.01, 0.01, 5)), run=tmp_path / "a")
    before = la.open(tmp_path / "a")
    assert "λmin" not in compile(before).caption.caveat
    identity = {"model": measured.fingerprint, "data": measured.batches.fingerprint}
    note_curvature(tmp_path / "a", {"lambda_min": -0.125}, identity)
    after = la.open(tmp_path / "a")
    caveat = compile(after).caption.caveat
    assert "A slice that looks convex does not prove that the loss is." in caveat
    assert "λmin = −0.125 at its centre: the loss is not convex all the same." in caveat
    assert proof(after).lambda_min == -0.125
    assert "λmin at the centres: unknown / −0.125." in compile([before, after]).caption.caveat
    with pytest.raises(la.RunMismatchError, match=r"data is .* there and x here"):
        note_curvature(tmp_path / "a", {"lambda_min": 0.0}, {"data": "x"})
    with pytest.raises(la.SpecError, match="not a run folder"):
        note_curvature(tmp_path, {"lambda_min": 0.0}, identity)


def test_a_map_of_the_ratio_has_a_fixed_scale_and_its_caveat(tmp_path) -> None:
    measured = objective()
    grid = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    found = la.curvature_map(measured, la.Plane.random(measured, seed=0), grid, run=tmp_path / "map")
    scene = compile(found, View(value="ratio"))
    assert scene.value == "|λmin/λmax|"
    assert scene.range.low == 0
    assert scene.range.high in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
    assert scene.range.high >= float(found["ratio"].max())
    assert "Hessian of all tensors" in scene.caption.caveat
    assert "Over all directions, not just this plane" in scene.caption.caveat
    assert "|λmin/λmax| from 0 to " in scene.caption.shown
    assert compile(la.open(tmp_path / "map"), View(value="lambda_min")).value == "λmin"
    line = la.curvature_map(measured, la.Plane.random(measured, seed=0, axes=("x",)), la.Grid(x=(-1, 1, 4)))
    assert compile(line, View(value="ratio")).beside == ()
    la.draw(line, tmp_path / "line.svg", value="ratio")
    la.draw(found, tmp_path / "map.html", value="ratio")


@pytest.mark.parametrize("best", [0, 2, 5])
def test_the_worst_direction_is_the_worst_that_was_visited_and_not_the_last(monkeypatch, best):
    from lossatlas.curvature import directions as ways

    visited = []

    def at(self, direction, radius):
        visited.append({name: tensor.clone() for name, tensor in direction.items()})
        generator = torch.Generator().manual_seed(len(visited))
        slope = {name: torch.randn(tensor.shape, generator=generator) for name, tensor in direction.items()}
        return (9.0 if len(visited) == best + 1 else 1.0 / len(visited)), slope

    monkeypatch.setattr(ways._Slope, "at", at)
    objective = la.Objective(
        torch.nn.Linear(4, 3), (torch.randn(5, 4), torch.randn(5, 3)), torch.nn.functional.mse_loss
    )
    found = la.directions.worst(objective, steps=5)
    assert len(visited) == 6
    torch.testing.assert_close(dict(found), visited[best], rtol=0, atol=0)
