"""Is the curvature right: closed forms, a dense Hessian, a second library, and batches of any size."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.curvature.asking import answered
from lossatlas.curvature.density import spectral_density
from lossatlas.curvature.differences import curvature_along
from lossatlas.curvature.kinks import kinks
from lossatlas.curvature.products import Matrix
from lossatlas.curvature.spectrum import eigenvalues
from lossatlas.curvature.subspace import extreme
from lossatlas.curvature.trace import trace
from lossatlas.field.convexity import proof
from lossatlas.results.landscape import Axis, build
from lossatlas.space.curves import Curve


def small(batch_size: int = 100, samples: int = 250) -> la.Objective:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, y = torch.randn(samples, 4).double(), torch.randint(0, 3, (samples,))
    return la.Objective(net, (x, y), F.cross_entropy, batch_size=batch_size)


def dense(matrix: Matrix) -> np.ndarray:
    return torch.stack([matrix @ row for row in torch.eye(matrix.size).double()]).numpy()


def autograd_hessian(objective: la.Objective) -> np.ndarray:
    """The Hessian of the mean over all samples at once, by torch.func: another way to the same numbers."""
    names, shapes = zip(*((n, p.shape) for n, p in objective.model.named_parameters()), strict=True)
    x, y = (torch.cat(parts) for parts in zip(*objective.batches, strict=True))

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([s.numel() for s in shapes])
        point = {n: p.reshape(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return F.cross_entropy(torch.func.functional_call(objective.model, point, (x,)), y)

    flat = torch.cat([p.detach().reshape(-1) for p in objective.model.parameters()])
    return torch.func.hessian(loss)(flat).numpy()


@pytest.mark.parametrize("batch_size", [250, 100, 63, 1])
def test_the_hessian_is_that_of_the_mean_whatever_the_batches(batch_size: int) -> None:
    samples = 250 if batch_size > 1 else 20
    objective = small(batch_size, samples)
    np.testing.assert_allclose(dense(Matrix(objective)), autograd_hessian(objective), atol=1e-12)


def test_curvlinops_agrees() -> None:
    curvlinops = pytest.importorskip("curvlinops")
    objective = small(100)
    net = objective.model
    data = [(x, y) for x, y in objective.batches]
    arguments = (net, nn.CrossEntropyLoss(), list(net.parameters()), data)
    vector = torch.randn(Matrix(objective).size, generator=torch.Generator().manual_seed(1)).double()
    for kind, operator in (
        ("hessian", curvlinops.HessianLinearOperator(*arguments)),
        ("ggn", curvlinops.GGNLinearOperator(*arguments)),
    ):
        torch.testing.assert_close(Matrix(objective, kind=kind) @ vector, operator @ vector, atol=1e-10, rtol=1e-10)


def test_both_ends_the_trace_and_the_density_agree_with_the_dense_matrix() -> None:
    objective = small()
    matrix = dense(Matrix(objective))
    exact = np.linalg.eigvalsh(matrix)
    found = eigenvalues(objective, k=2, tolerance=1e-8)
    np.testing.assert_allclose(found.values, exact[[0, 1, -2, -1]], atol=1e-7)
    assert found.converged.all()
    assert found.products < len(exact) + 5
    vector = Matrix(objective).joined(found.vectors[0]).numpy()
    assert np.linalg.norm(matrix @ vector - exact[0] * vector) < 1e-6
    estimate = trace(objective, probes=200)
    assert abs(estimate.value - exact.sum()) < 4 * estimate.standard_error
    assert estimate.standard_error < 0.1 * abs(exact.sum())
    density = spectral_density(objective, probes=20, steps=len(exact))
    assert np.trapezoid(density.density, density.eigenvalues) == pytest.approx(1, abs=1e-3)
    # Moments of the density against those of the exact spectrum.
    for power in (1, 2):
        moment = float(density.weights @ density.nodes**power)
        assert moment == pytest.approx(np.mean(exact**power), rel=0.25)


def test_a_scalar_factorisation_has_the_known_eigenvalues() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([2.0, 1.0]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.weight[0] * self.weight[1] * x

    data = (torch.ones(4, 1), torch.full((4, 1), 2.0))
    objective = la.Objective(Product(), data, lambda f, y: 0.5 * F.mse_loss(f, y))
    np.testing.assert_allclose(eigenvalues(objective).values, [0, 5], atol=1e-6)


def test_the_ggn_of_a_linear_model_is_its_hessian() -> None:
    torch.manual_seed(0)
    x = torch.randn(30, 4).double()
    for loss, y in ((F.mse_loss, torch.randn(30, 3).double()), (F.cross_entropy, torch.randint(0, 3, (30,)))):
        objective = la.Objective(nn.Linear(4, 3).double(), (x, y), loss, batch_size=7)
        np.testing.assert_allclose(dense(Matrix(objective)), dense(Matrix(objective, kind="ggn")), atol=1e-12)


def test_weights_alone_leave_biases_and_norms_out() -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3))
    objective = la.Objective(net, (torch.randn(8, 4), torch.randint(0, 3, (8,))), F.cross_entropy)
    assert Matrix(objective, tensors="weights").names == ["0.weight", "2.weight"]
    assert Matrix(objective).size == sum(p.numel() for p in net.parameters())
    net[0].weight.requires_grad_(False)
    assert (
        "0.weight"
        not in Matrix(la.Objective(net, (torch.randn(8, 4), torch.randint(0, 3, (8,))), F.cross_entropy)).names
    )


def test_differences_see_the_kinks_that_derivatives_do_not() -> None:
    """For f(w) = mean relu(w + b_i), the exact second derivative is zero and the density of kinks is not."""

    class Kinks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, b: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.w + b)

    b = torch.linspace(-1, 1, 20001, dtype=torch.float64)[:, None]
    objective = la.Objective(Kinks(), (b, torch.zeros_like(b)), lambda f, y: f.mean(), batch_size=30000)
    found = curvature_along(objective, {"w": torch.ones(1, dtype=torch.float64)}, step=0.1)
    assert found.autodiff == pytest.approx(0, abs=1e-9)
    assert found.difference == pytest.approx(0.5, rel=0.02)  # one kink of height 1 for every 2 / 20001
    assert found.slope == pytest.approx(0.5, rel=1e-3)


def test_the_model_is_left_alone() -> None:
    objective = small()
    before = {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}
    eigenvalues(objective)
    assert all(torch.equal(tensor, before[name]) for name, tensor in objective.model.state_dict().items())
    assert all(p.grad is None for p in objective.model.parameters())


def test_the_map_is_the_eigenvalues(tmp_path) -> None:
    objective = small()
    plane = la.Plane.random(objective, seed=0)
    grid = la.Grid(x=(-1, 1, 4), y=(-0.5, 0.5, 3))
    warm = la.curvature_map(objective, plane, grid, tolerance=1e-4, run=tmp_path / "map")
    for x, y in ((-1, -0.5), (1, 0.5)):
        exact = np.linalg.eigvalsh(dense(Matrix(objective, plane.at({"x": x, "y": y}))))
        cell = warm.sel(x=x, y=y)
        assert float(cell["lambda_min"]) == pytest.approx(exact[0], abs=2e-4 * exact[-1])
        assert float(cell["lambda_max"]) == pytest.approx(exact[-1], rel=2e-4)
        assert float(cell["ratio"]) == pytest.approx(max(-exact[0], 0) / exact[-1], abs=5e-4)
        assert float(cell["loss"]) == pytest.approx(objective(plane.at({"x": x, "y": y}))["loss"])


@pytest.mark.parametrize(
    "where", [("Ends", "visit"), ("_Shelf", "keep"), ("RunFolder", "commit"), ("_Shelf", "only")], ids="-".join
)
def test_an_interrupted_map_goes_on_bit_for_bit(tmp_path, monkeypatch, where) -> None:
    from lossatlas.curvature import map as module
    from lossatlas.results import store

    objective = small()
    plane = la.Plane.random(objective, seed=0)
    grid = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    whole = la.curvature_map(objective, plane, grid)
    original, calls = getattr(store if where[0] == "RunFolder" else module, where[0]), []
    method = getattr(original, where[1])

    def stop_at_five(self, *arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return method(self, *arguments)

    monkeypatch.setattr(original, where[1], stop_at_five)
    with pytest.raises(KeyboardInterrupt):
        la.curvature_map(objective, plane, grid, run=tmp_path / "map")
    resumed = la.curvature_map(objective, plane, grid, run=tmp_path / "map")
    assert len(calls) <= 10
    for name in resumed.data_vars:
        np.testing.assert_array_equal(resumed[name], whole[name])
    assert len(list((tmp_path / "map").glob("*eigenvectors*"))) == 1
    with pytest.raises(la.RunMismatchError, match="curvature"):
        la.curvature_map(objective, plane, grid, run=tmp_path / "map", tensors="weights")


def test_warm_starts_save_work_and_are_checked_against_cold_ones() -> None:
    objective = small()
    plane = la.Plane.random(objective, seed=0, axes=("x",))
    fine = la.Grid(x=(0, 0.1, 8))
    warm = la.curvature_map(objective, plane, fine)
    cold = la.curvature_map(objective, plane, fine, warm=False)
    assert float(warm["products"][1:].sum()) < 0.8 * float(cold["products"][1:].sum())
    np.testing.assert_allclose(warm["lambda_max"], cold["lambda_max"], rtol=0.02)
    checks = json.loads(warm.attrs["evaluation"])
    assert checks["check points"] == 3
    assert checks["products of a warm start"] < checks["products of a cold start"]
    assert 0 < checks["largest difference from a cold start"] < 0.02


def test_a_negative_end_far_smaller_than_the_positive_one_is_not_taken_for_zero() -> None:
    """A random vector passes for an eigenvector where residuals are held against the largest eigenvalue alone."""
    n = 400
    spectrum = torch.cat([torch.tensor([-0.05]), torch.zeros(n - 2), torch.tensor([1.0])]).double()
    spectrum[1:-1] = torch.linspace(-0.03, 0.03, n - 2)

    class Quadratic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(n, dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 0.5 * (spectrum * self.w**2).sum() + x.sum() * 0

    objective = la.Objective(Quadratic(), (torch.zeros(2, 1).double(), torch.zeros(2)), lambda f, y: f)
    found = la.eigenvalues(objective, tolerance=0.1)
    np.testing.assert_allclose(found.values, [-0.05, 1], rtol=0.03)
    assert found.ratio == pytest.approx(0.05, rel=0.03)


def test_a_subspace_that_is_cut_down_finds_the_same_ends() -> None:
    matrix = Matrix(small())
    exact = np.linalg.eigvalsh(dense(matrix))
    start = torch.randn(1, matrix.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = answered(matrix, extreme(matrix, start, k=2, tolerance=1e-6, most=400, room=14))
    np.testing.assert_allclose(found.values, exact[[0, 1, -2, -1]], atol=1e-9)
    few = answered(matrix, extreme(matrix, start, k=2, tolerance=1e-6, most=6))
    assert few.residuals.max() > 1e-3  # it gave up, and says so
    assert (few.values[:2] >= exact[:2] - 1e-12).all()
    assert (few.values[2:] <= exact[-2:] + 1e-12).all()


def test_derivatives_that_are_kept_give_the_same_products() -> None:
    for kind in ("hessian", "ggn"):
        kept, fresh = Matrix(small(), kind=kind), Matrix(small(), kind=kind, memory=0)
        first, second = dense(kept), dense(fresh)
        assert kept._kept
        assert not fresh._kept
        np.testing.assert_array_equal(first, second)
        there = {name: tensor + 0.1 for name, tensor in small().origin.items()}
        kept.move(there)
        fresh.move(there)
        np.testing.assert_array_equal(dense(kept), dense(fresh))


def test_attention_has_second_derivatives() -> None:
    torch.manual_seed(0)

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 12)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.mix(x)[:, None].chunk(3, dim=-1)
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0]

    x = torch.randn(6, 5, 4)
    found = la.eigenvalues(la.Objective(Attention(), (x, torch.randn(6, 5, 4)), F.mse_loss))
    assert found.converged.all()


def test_interpolated_statistics_move_with_the_point() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)).double()
    data = torch.randn(9, 3).double(), torch.randn(9, 1).double()
    objective = la.Objective(net, data, F.mse_loss, batchnorm="interpolated")
    moved = {**objective.origin, "1.running_var": objective.origin["1.running_var"] * 4}
    twin = nn.Sequential(*net)
    twin[1].running_var.mul_(4)
    there = la.Objective(twin, data, F.mse_loss)
    np.testing.assert_allclose(dense(Matrix(objective, moved)), dense(Matrix(there)), atol=1e-12)


class Looked(nn.Module):
    """Rows of a table, whose gradient is sparse or not."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.out, self.sparse = nn.Parameter(torch.randn(5, 3)), nn.Linear(3, 2), sparse

    def forward(self, x):
        return self.out(F.embedding(x, self.table, sparse=self.sparse).mean(1).tanh())


def test_sparse_gradients_are_differenced_as_dense_ones_are() -> None:
    torch.manual_seed(1)
    data = torch.randint(0, 5, (8, 4)), torch.randint(0, 2, (8,))
    dense, sparse = (
        Matrix(la.Objective(Looked(sparse), data, F.cross_entropy), how="differences") for sparse in (False, True)
    )
    vector = torch.randn(dense.size)
    torch.testing.assert_close(sparse.gradient(), dense.gradient())
    torch.testing.assert_close(sparse @ vector, dense @ vector)


def test_kinks_are_named_and_a_missing_derivative_is_an_error() -> None:
    x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
    smooth = nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3))
    assert kinks(la.Objective(smooth, (x, y), F.cross_entropy)) == ()
    kinked = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4), nn.LeakyReLU(), nn.Linear(4, 3))
    assert kinks(la.Objective(kinked, (x, y), F.cross_entropy)) == ("ReLU", "leaky ReLU")
    assert kinks(la.Objective(nn.Linear(4, 3), (x, torch.randn(8, 3)), F.l1_loss)) == ("absolute value",)

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return g * 2

    once = la.Objective(nn.Linear(4, 3), (x, y), lambda f, t: F.cross_entropy(Once.apply(f), t))
    with pytest.raises(la.SpecError, match="no second derivative"):
        la.eigenvalues(once)
    counted = la.Objective(nn.Linear(4, 3), (x, y), lambda f, t: (f.argmax(1) != t).float())
    with pytest.raises(la.SpecError, match=r"argmax.*differentiable loss"):
        la.eigenvalues(counted)


def test_a_tensor_that_does_not_enter_the_loss_is_named() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(4, 3), nn.Linear(30, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
    found = la.eigenvalues(la.Objective(Idle(), (x, y), F.cross_entropy))
    assert found.subject.idle == ("spare.weight", "spare.bias")
    alone = la.eigenvalues(la.Objective(nn.Linear(4, 3), (x, y), F.cross_entropy))
    assert alone.subject.idle == ()


def test_short_formats_and_recalibrated_statistics_are_refused() -> None:
    x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
    with pytest.raises(la.SpecError, match=r"bfloat16.*float32"):
        la.eigenvalues(la.Objective(nn.Linear(4, 3).bfloat16(), (x.bfloat16(), y), F.cross_entropy))
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    with pytest.raises(la.SpecError, match="frozen"):
        la.trace(la.Objective(net, (x, y), F.cross_entropy, batchnorm="recalibrated"))


def test_bad_input_is_refused() -> None:
    objective = small()
    with pytest.raises(la.SpecError, match="hessian"):
        la.eigenvalues(objective, kind="fisher")
    with pytest.raises(la.SpecError, match="all, weights"):
        la.eigenvalues(objective, tensors="biases")
    with pytest.raises(la.SpecError, match="k=0"):
        la.eigenvalues(objective, k=0)
    with pytest.raises(la.SpecError, match="probes=1; expected a whole number of at least 2"):
        la.trace(objective, probes=1)
    frozen = nn.Linear(2, 1).requires_grad_(False)
    with pytest.raises(la.SpecError, match="no tensor is left"):
        la.eigenvalues(la.Objective(frozen, (torch.ones(2, 2), torch.ones(2, 1)), F.mse_loss))
    huge = {name: torch.full_like(t, torch.inf) for name, t in objective.origin.items()}
    with pytest.raises(la.SpecError, match="not finite"):
        la.eigenvalues(objective, huge)


def bowl(values: np.ndarray, **more: object) -> object:
    axis = Axis(coordinates=np.linspace(-1, 1, len(values)), length=1.0)
    return build({"x": axis, "y": axis}, {"loss": values}, **more)


def test_a_slice_proves_what_it_shows_and_no_more() -> None:
    x = np.linspace(-1, 1, 21)
    convex = proof(bowl(x[:, None] ** 2 + x[None] ** 2))
    assert not convex.proves
    assert "proves nothing" in convex.words
    assert "λmin = −2" in proof(bowl(x[:, None] ** 2 + x[None] ** 2), lambda_min=-2).words
    saddle = proof(bowl(x[:, None] ** 2 - x[None] ** 2))
    assert saddle.proves
    assert saddle.shares[0.05] == 1
    assert "proves the loss non-convex" in saddle.words
    # Rounding of a large constant bends down everywhere, and proves nothing.
    noise = 1e4 + np.random.default_rng(0).normal(size=(21, 21)) * 1e-4
    assert not proof(bowl(noise)).proves
    # What was interpolated proves nothing either.
    from lossatlas.results.landscape import Status

    status = np.full((21, 21), Status.INTERPOLATED)
    assert proof(bowl(x[:, None] ** 2 - x[None] ** 2, status=status)).cells == 0


def test_four_equal_batches_give_what_one_does_and_no_quarter_of_it() -> None:
    whole, quarters = small(200, 200), small(50, 200)
    assert len(list(quarters.batches)) == 4
    np.testing.assert_allclose(dense(Matrix(quarters)), dense(Matrix(whole)), atol=1e-12)
    np.testing.assert_allclose(dense(Matrix(quarters, kind="ggn")), dense(Matrix(whole, kind="ggn")), atol=1e-12)
    found, expected = (la.eigenvalues(one, tolerance=1e-6).values for one in (quarters, whole))
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert la.trace(quarters, probes=3).value == pytest.approx(la.trace(whole, probes=3).value, rel=1e-12)


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_scipy_on_curvlinops_finds_the_same_ends_trace_and_density(kind) -> None:
    """A second library for products, and another for eigenvalues, on ragged batches: to 1e-4 of the largest."""
    curvlinops = pytest.importorskip("curvlinops")
    objective = small(100)
    net = objective.model
    classes = {"hessian": curvlinops.HessianLinearOperator, "ggn": curvlinops.GGNLinearOperator}
    theirs = classes[kind](net, nn.CrossEntropyLoss(), list(net.parameters()), list(objective.batches)).to_scipy()
    matrix = theirs @ np.eye(theirs.shape[0])
    exact = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    # Their columns, and not their products one by one: of a GGN, whose lowest value is zero many times, ARPACK asks 1100.
    highest = scipy.sparse.linalg.eigsh(matrix, k=1, which="LA", return_eigenvectors=False)
    lowest = scipy.sparse.linalg.eigsh(matrix, k=1, which="SA", return_eigenvectors=False)
    ours = la.eigenvalues(objective, kind=kind, tolerance=1e-4)
    np.testing.assert_allclose(ours.values, [lowest[0], highest[0]], atol=1e-4 * highest[0])
    # The mean over signs of v' H v is exact for the trace in the limit; each probe is exact for its own vector.
    generator = torch.Generator().manual_seed(0)
    signs = [torch.randint(0, 2, (len(exact),), generator=generator).double().numpy() * 2 - 1 for _ in range(8)]
    estimates = [vector @ matrix @ vector for vector in signs]
    estimate = la.trace(objective, probes=8, kind=kind)
    assert estimate.value == pytest.approx(np.mean(estimates), abs=1e-4 * exact[-1])
    assert estimate.standard_error == pytest.approx(np.std(estimates, ddof=1) / 8**0.5, rel=1e-4)
    # A Gauss quadrature of m nodes is exact for polynomials of degree 2 m - 1, as its start vector sees the spectrum.
    density = la.spectral_density(objective, probes=1, steps=6, kind=kind)
    start = np.random.default_rng(0).normal(size=len(exact))
    start /= np.linalg.norm(start)
    scaled, power = matrix / exact[-1], start
    for degree in range(12):
        assert density.weights @ (density.nodes / exact[-1]) ** degree == pytest.approx(start @ power, abs=1e-4)
        power = scaled @ power


@pytest.mark.shared
@pytest.mark.soak
def test_the_authors_network_has_the_ends_that_scipy_finds_on_curvlinops(shared_data) -> None:
    curvlinops = pytest.importorskip("curvlinops")
    model = la.zoo.model("resnet56")
    la.load_checkpoint(model, shared_data / "li2018_resnet56.pt")
    x, y = la.zoo.data("npz", path=shared_data / "cifar10_train500.npz")
    objective = la.Objective(model, (x[:20], y[:20]), F.cross_entropy, batch_size=12)
    ours = la.eigenvalues(objective, tolerance=1e-2)
    arguments = (model.eval(), nn.CrossEntropyLoss(), list(model.parameters()), list(objective.batches))
    theirs = curvlinops.HessianLinearOperator(*arguments, check_deterministic=False)
    for vector, value in zip(ours.vectors, ours.values, strict=True):
        flat = torch.cat([vector[name].reshape(-1) for name, _ in model.named_parameters()])
        product = theirs @ flat
        assert float(flat @ product) == pytest.approx(value, rel=1e-3)
        assert float((product - value * flat).norm()) < 2e-2 * max(abs(value), 0.01 * ours.values[-1])
    highest = scipy.sparse.linalg.eigsh(theirs.to_scipy(), k=1, which="LA", tol=1e-3, return_eigenvectors=False)
    assert ours.values[-1] == pytest.approx(float(highest[0]), rel=1e-3)


def raising_at(number: int) -> la.Objective:
    """A loss that raises at one point: the third call after the probe of the centre, and so on."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))
    calls = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if float(outputs.detach().abs().max()) > number:
            raise RuntimeError("the loss met what it cannot take")
        return F.cross_entropy(outputs, targets)

    return la.Objective(net, (torch.randn(12, 3), torch.randint(0, 2, (12,))), loss)


def test_a_map_whose_loss_raises_at_a_point_goes_on_as_a_scan_does(tmp_path) -> None:
    objective = raising_at(1000)
    plane = la.Plane(objective, {"x": {"2.bias": torch.tensor([1.0, 1.0])}})
    grid = la.Grid(x=(-1, 3, 5))
    whole = la.curvature_map(objective, plane, grid)
    far = la.Plane(objective, {"x": {"2.bias": torch.tensor([1.0, 1.0])}})
    one = raising_at(3)  # only x=3 has an output that large
    found = la.curvature_map(one, far, grid, run=tmp_path / "map")
    assert found["status"].values.tolist() == [1, 1, 1, 1, 3]
    assert np.isnan(found["lambda_max"].values[-1])
    np.testing.assert_array_equal(found["lambda_max"].values[:4], whole["lambda_max"].values[:4])
    import sqlite3

    note = sqlite3.connect(tmp_path / "map" / "journal.sqlite").execute("SELECT note FROM points WHERE i = 4")
    assert note.fetchone()[0] == "RuntimeError: the loss met what it cannot take"


def test_a_map_takes_an_adaptive_sampler_and_a_curve() -> None:
    objective = small()
    plane = la.Plane.random(objective, seed=0)
    sampler = la.Adaptive(x=(-0.1, 0.1, 9), y=(-0.1, 0.1, 9), tolerance=0.2)
    few = la.curvature_map(objective, plane, sampler)
    assert 25 <= int((few["status"] == 1).sum()) < 81
    assert int((few["status"] == 5).sum()) > 0
    assert np.isfinite(few["lambda_max"].values[few["status"].values == 1]).all()
    points = [dict(objective.origin), {name: t + 0.1 for name, t in objective.origin.items()}]
    along = la.curvature_map(objective, Curve(points, "polygon"), la.Grid(x=(0, 1, 3)), tolerance=1e-4)
    exact = np.linalg.eigvalsh(dense(Matrix(objective, points[1])))
    assert float(along["lambda_max"][-1]) == pytest.approx(exact[-1], rel=1e-3)
