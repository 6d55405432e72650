"""Is curvature right where memory is short: shared weights, three vectors, few rows at once, differences of gradients?"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.curvature import operators, softmax
from lossatlas.curvature.asking import answered
from lossatlas.curvature.kernels import Quick
from lossatlas.curvature.products import Matrix
from lossatlas.curvature.recurrence import recurrence


def net(dtype: torch.dtype = torch.float64, samples: int = 60, batch_size: int = 25) -> la.Objective:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).to(dtype)
    x, y = torch.randn(samples, 4).to(dtype), torch.randint(0, 3, (samples,))
    return la.Objective(model, (x, y), F.cross_entropy, batch_size=batch_size)


def dense(matrix: Matrix) -> np.ndarray:
    return torch.stack([matrix @ row for row in torch.eye(matrix.size).double()]).numpy()


CASES = [
    ((7, 5), (7,), {}),
    ((7, 5), (7,), {"reduction": "sum", "ignore_index": 2}),
    ((7, 5), (7,), {"reduction": "none", "label_smoothing": 0.2}),
    ((3, 5, 2, 2), (3, 2, 2), {"weighted": True, "label_smoothing": 0.1, "ignore_index": 1}),
    ((4, 5), (4, 5), {"weighted": True, "label_smoothing": 0.3}),
    ((5,), (), {}),
]


@pytest.mark.parametrize(("shape", "wanted", "told"), CASES)
def test_the_cross_entropy_and_its_first_and_second_derivatives_are_torchs(shape, wanted, told) -> None:
    torch.manual_seed(1)
    told = dict(told)
    logits = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    target = torch.rand(wanted, dtype=torch.float64) if wanted == shape else torch.randint(0, 5, wanted)
    weight = torch.rand(5, dtype=torch.float64) if told.pop("weighted", False) else None
    found = []
    for function in (softmax.cross_entropy, F.cross_entropy):
        loss = (function(logits, target, weight, **told) ** 2).sum()  # not linear in the cross-entropy
        slope = torch.autograd.grad(loss, logits, create_graph=True)[0]
        along = torch.linspace(-1, 1, logits.numel(), dtype=torch.float64).reshape(shape)
        found.append((loss.detach(), slope.detach(), torch.autograd.grad(slope, logits, along)[0]))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_the_ggn_of_a_softmax_builds_no_second_graph_through_the_logits() -> None:
    logits = torch.randn(4, 1000, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.numel()), t)[1], lambda t: t), Quick():
        loss = F.cross_entropy(logits, torch.zeros(4, dtype=torch.int64))
        torch.autograd.grad(loss, logits, create_graph=True)
    assert sum(size for size in kept if size >= logits.numel()) <= 2 * logits.numel()  # the logits themselves, twice


def test_at_the_origin_a_matrix_shares_the_weights_of_the_model_and_leaves_them_alone() -> None:
    objective = net()
    before = copy.deepcopy(objective.model.state_dict())
    for how in ("derivatives", "differences"):
        matrix = Matrix(objective, how=how)
        own = dict(objective.model.named_parameters())
        assert all(place.data_ptr() == own[name].data_ptr() for name, place in zip(matrix.names, matrix.places))
        matrix @ torch.ones(matrix.size, dtype=torch.float64)
        there = {name: tensor + 0.1 for name, tensor in objective.origin.items()}
        matrix.move(there)
        assert all(place.data_ptr() != own[name].data_ptr() for name, place in zip(matrix.names, matrix.places))
        far = matrix @ torch.ones(matrix.size, dtype=torch.float64)
        matrix.move({})
        matrix @ torch.ones(matrix.size, dtype=torch.float64)
        matrix.move(there)
        np.testing.assert_allclose(matrix @ torch.ones(matrix.size, dtype=torch.float64), far, rtol=1e-9)
        for name, tensor in objective.model.state_dict().items():
            assert torch.equal(tensor, before[name])
        assert not any(tensor.requires_grad is False for tensor in objective.model.parameters())


def test_weights_that_a_forward_pass_writes_to_are_copied() -> None:
    """An embedding with max_norm scales its rows in place, whatever the mode."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(6, 3, max_norm=0.5), nn.Flatten(), nn.Linear(6, 2))
    before = copy.deepcopy(model.state_dict())
    data = torch.randint(0, 6, (10, 2)), torch.randint(0, 2, (10,))
    matrix = Matrix(la.Objective(model, data, F.cross_entropy))
    matrix @ torch.ones(matrix.size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_vectors_stay_in_the_format_that_they_come_in() -> None:
    matrix = Matrix(net(torch.float32))
    vector = torch.randn(matrix.size)
    assert (matrix @ vector).dtype == torch.float32
    assert (matrix @ vector.double()).dtype == torch.float64
    torch.testing.assert_close((matrix @ vector).double(), matrix @ vector.double())


@pytest.mark.parametrize("vectors", [True, False])
def test_three_vectors_find_the_ends_that_a_dense_matrix_has(vectors: bool) -> None:
    objective = net()
    exact = np.linalg.eigvalsh(dense(Matrix(objective)))
    found = la.eigenvalues(objective, tolerance=1e-4, memory=0, vectors=vectors)
    np.testing.assert_allclose(found.values, exact[[0, -1]], rtol=1e-6)
    assert found.converged.all()
    assert len(found.vectors) == (2 if vectors else 0)
    if vectors:
        matrix = Matrix(objective)
        for value, vector in zip(found.values, found.vectors, strict=True):
            flat = matrix.joined(vector)
            assert float((matrix @ flat - value * flat).norm()) <= 1e-3 * abs(value)
            assert float(flat.norm()) == pytest.approx(1)


def test_a_search_with_little_room_finds_what_one_with_much_finds() -> None:
    objective = net()
    matrix = Matrix(objective)
    little = la.eigenvalues(objective, k=2, tolerance=1e-5, memory=9 * 2 * 8 * matrix.size, most=400)
    np.testing.assert_allclose(little.values, la.eigenvalues(objective, k=2, tolerance=1e-5).values, atol=1e-8)


def test_a_recurrence_without_its_vectors_sees_the_same_spectrum() -> None:
    objective = net()
    exact = np.linalg.eigvalsh(dense(Matrix(objective)))
    found = la.spectral_density(objective, probes=30, steps=20, memory=0)
    assert float(found.nodes @ found.weights) == pytest.approx(exact.mean(), rel=0.2)
    assert float(found.nodes**2 @ found.weights) == pytest.approx((exact**2).mean(), rel=0.3)
    matrix = Matrix(objective)
    start = torch.randn(matrix.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kept = answered(matrix, recurrence(start.clone(), 12, room=12))
    free = answered(matrix, recurrence(start.clone(), 12))
    np.testing.assert_allclose(kept[0], free[0], atol=1e-8)


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_rows_change_the_memory_and_not_the_matrix(kind) -> None:
    objective = net()
    np.testing.assert_allclose(
        dense(Matrix(objective, kind=kind, rows=7)), dense(Matrix(objective, kind=kind)), atol=1e-13
    )


def test_rows_can_be_cut_wherever_the_copy_was_left() -> None:
    objective = net()
    objective({name: tensor + 1 for name, tensor in objective.origin.items()})
    np.testing.assert_allclose(dense(Matrix(objective, rows=7)), dense(Matrix(objective)), atol=1e-13)


def test_rows_are_refused_where_a_loss_is_no_mean_over_samples() -> None:
    x, y = torch.randn(20, 4), torch.randn(20, 3)
    spread = lambda f, y: (f - y).square().mean() + f.std()
    with pytest.warns(UserWarning, match="together"):
        objective = la.Objective(nn.Linear(4, 3), (x, y), spread)
        with pytest.raises(la.SpecError, match="leave rows out"):
            la.trace(objective, rows=4, probes=2)
    with pytest.raises(la.SpecError, match="expected at least 1"):
        Matrix(net(), rows=0)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-6), (torch.float32, 0.02)])
def test_differences_of_gradients_are_products_and_say_how_far_off_they_are(dtype, close: float) -> None:
    objective = net(dtype)
    exact, cheap = Matrix(objective), Matrix(objective, how="differences")
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for _ in range(9):
        vector = torch.randn(exact.size, generator=generator, dtype=torch.float64)
        right = exact @ vector
        worst = max(worst, float((cheap @ vector - right).norm() / right.norm()))
    assert worst < close
    steps = cheap._steps
    assert steps is not None
    assert steps.compared == 4  # when it was chosen, and at the products 2, 4 and 8
    assert steps.error < 10 * close
    assert worst < 10 * steps.error
    assert "differences of gradients" in cheap.subject.caveats[0]
    top = la.eigenvalues(objective, how="differences").values[-1]
    assert top == pytest.approx(la.eigenvalues(objective).values[-1], rel=close)


def test_differences_need_no_second_derivative() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, slope):
            return 3 * ctx.saved_tensors[0] ** 2 * slope

    class Cubed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Once.apply(self.weight).sum().expand(len(x))

    objective = la.Objective(Cubed(), (torch.zeros(2, 1), torch.zeros(2)), lambda f, y: f.square().mean() / 2)
    with pytest.raises(la.SpecError, match="second derivative"):
        Matrix(objective) @ torch.ones(2, dtype=torch.float64)
    found = Matrix(objective, how="differences") @ torch.ones(2, dtype=torch.float64)
    np.testing.assert_allclose(found, [99.0, 288.0], rtol=1e-6)
    with pytest.raises(la.SpecError, match="differ by the Hessian"):
        Matrix(net(), how="differences", kind="ggn")


def test_curvlinops_matrices_and_estimators_are_of_the_same_objective() -> None:
    pytest.importorskip("curvlinops", reason="curvlinops is not installed: the dependency group oracles has it")
    objective = net(batch_size=60)
    there = {name: tensor + 0.05 for name, tensor in objective.origin.items()}
    for kind in ("hessian", "ggn"):
        theirs = operators.operator(objective, there, kind)
        eye = torch.eye(Matrix(objective).size, dtype=torch.float64)
        np.testing.assert_allclose((theirs @ eye).detach(), dense(Matrix(objective, there, kind=kind)), atol=1e-10)
    exact = dense(Matrix(objective))
    for method in ("hutch++", "xtrace", "hutchinson"):
        assert operators.trace(objective, method=method, products=90) == pytest.approx(np.trace(exact), rel=0.2)
    found = Matrix(objective).joined(operators.diagonal(objective, products=100))
    assert float((found - torch.from_numpy(np.diag(exact).copy())).norm()) < 0.1 * float(np.linalg.norm(np.diag(exact)))
    ggn = Matrix(objective, kind="ggn")
    fisher = operators.operator(objective, name="fisher", mc_samples=400, seed=1) @ torch.ones(ggn.size).double()
    right = ggn @ torch.ones(ggn.size, dtype=torch.float64)  # the Fisher matrix of a softmax is its Gauss-Newton matrix
    assert float((fisher.detach() - right).norm()) < 0.15 * float(right.norm())
    for name in ("empirical fisher", "kfac", "ekfac"):
        assert operators.operator(objective, name=name).shape == (ggn.size, ggn.size)
    with pytest.raises(la.SpecError, match="unknown"):
        operators.operator(objective, name="fischer")
    with pytest.raises(la.SpecError, match="products=999"):
        operators.trace(objective, products=999)


def test_curvlinops_is_told_no_loss_that_it_does_not_know() -> None:
    pytest.importorskip("curvlinops", reason="curvlinops is not installed: the dependency group oracles has it")
    x, y = torch.randn(6, 4), torch.randint(0, 3, (6,))
    with pytest.raises(la.SpecError, match="unknown to curvlinops"):
        operators.operator(la.Objective(nn.Linear(4, 3), (x, y), lambda f, y: F.cross_entropy(f, y)))
