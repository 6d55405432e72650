"""Do PyHessian and hessian-eigenthings find the same products, eigenvalues and traces, each with its own estimators?"""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.curvature.products import Matrix


def pyhessian_of(objective: la.Objective) -> Any:
    """PyHessian's Hessian of a copy of the model; it weights batches by their samples."""
    library = pytest.importorskip("pyhessian", reason="PyHessian is not installed: the dependency group oracles has it")
    model, data = copy.deepcopy(objective.model), list(objective.batches)
    return library.hessian(model, nn.CrossEntropyLoss(), dataloader=data, cuda=False)


def eigenthings_of(objective: la.Objective) -> Any:
    """hessian-eigenthings' Hessian of a copy of the model; it weights all batches alike, so they must be."""
    reason = "hessian-eigenthings 1 is not installed: the dependency group oracles has it"
    operators = pytest.importorskip("hessian_eigenthings.operators", reason=reason)
    model, data = copy.deepcopy(objective.model).eval(), list(objective.batches)
    assert len({len(x) for x, _ in data}) == 1
    return operators.HessianOperator(model, data, lambda net, batch: F.cross_entropy(net(batch[0]), batch[1]))


def small(batch_size: int = 50) -> la.Objective:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).double()
    net(torch.randn(64, 1, 6, 6).double())  # statistics that are not those of a new network
    x, y = torch.randn(200, 1, 6, 6).double(), torch.randint(0, 3, (200,))
    return la.Objective(net.eval(), (x, y), F.cross_entropy, batch_size=batch_size)


def resnet56(shared: Any, images: int, batch_size: int) -> la.Objective:
    model = la.zoo.model("resnet56")
    la.load_checkpoint(model, shared / "li2018_resnet56.pt")
    x, y = la.zoo.data("npz", path=shared / "cifar10_train500.npz")
    return la.Objective(model.eval(), (x[:images], y[:images]), F.cross_entropy, batch_size=batch_size)


def vector_for(matrix: Matrix) -> torch.Tensor:
    return torch.randn(matrix.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def check_products(objective: la.Objective, library: str, tolerance: float) -> None:
    matrix = Matrix(objective)
    vector = vector_for(matrix)
    if library == "pyhessian":
        found = pyhessian_of(objective)
        theirs = torch.cat([part.reshape(-1) for part in found.dataloader_hv_product(matrix.split(vector))[1]])
    else:
        theirs = eigenthings_of(objective).matvec(vector.to(matrix.dtype))
    ours = matrix @ vector
    assert float((ours - theirs.detach()).norm() / ours.norm()) < tolerance


@pytest.mark.parametrize("library", ["pyhessian", "hessian-eigenthings"])
def test_products_agree_on_a_small_net(library) -> None:
    check_products(small(), library, 1e-12)


def test_pyhessian_weights_a_short_last_batch_as_we_do() -> None:
    check_products(small(batch_size=64), "pyhessian", 1e-12)


def test_the_eigenvalues_and_the_trace_of_pyhessian_agree_on_a_small_net() -> None:
    objective = small()
    theirs = pyhessian_of(objective)
    torch.manual_seed(0)
    ours = la.eigenvalues(objective, tolerance=1e-4)
    top = theirs.eigenvalues(maxIter=1000, tol=1e-9)[0][0]  # power iteration: the largest in size
    assert top == pytest.approx(ours.values[np.abs(ours.values).argmax()], rel=1e-4)
    probes = theirs.trace(maxIter=200, tol=0)
    estimate = la.trace(objective, probes=200)
    error = np.hypot(estimate.standard_error, np.std(probes, ddof=1) / np.sqrt(len(probes)))
    assert abs(np.mean(probes) - estimate.value) < 4 * error


def test_the_eigenvalues_and_the_trace_of_hessian_eigenthings_agree_on_a_small_net() -> None:
    objective = small()
    operator = eigenthings_of(objective)
    from hessian_eigenthings.algorithms import lanczos, trace

    ours = la.eigenvalues(objective, tolerance=1e-6)
    for which, value in (("LA", ours.values[-1]), ("SA", ours.values[0])):
        theirs = lanczos(operator, k=1, max_iter=90, which=which, reorthogonalize=True, seed=0)
        assert float(theirs.eigenvalues[0]) == pytest.approx(value, abs=1e-4 * ours.values[-1])
    estimate, found = la.trace(objective, probes=200), trace(operator, num_matvecs=200, method="hutchinson", seed=0)
    assert abs(found.estimate - estimate.value) < 4 * np.hypot(estimate.standard_error, found.stderr)


@pytest.mark.shared
@pytest.mark.parametrize("library", ["pyhessian", "hessian-eigenthings"])
def test_products_agree_on_the_authors_network(shared_data, library) -> None:
    check_products(resnet56(shared_data, 10, 5), library, 1e-4)


@pytest.mark.shared
@pytest.mark.soak
@pytest.mark.parametrize("library", ["pyhessian", "hessian-eigenthings"])
def test_both_ends_and_the_trace_agree_on_30_images_of_the_authors_network(shared_data, library, capsys) -> None:
    """PyHessian 0.1 has the largest eigenvalue and the trace alone; it computes the largest eigenvalue by power iteration."""
    objective = resnet56(shared_data, 30, 15)
    began = time.process_time()
    ours, estimate = la.eigenvalues(objective, tolerance=0.01), la.trace(objective, probes=30)
    own, began = time.process_time() - began, time.process_time()
    torch.manual_seed(0)
    if library == "pyhessian":
        theirs = pyhessian_of(objective)
        top = theirs.eigenvalues(maxIter=60, tol=1e-3)[0][0]
        nodes = np.array([top])  # its density calls torch.eig, which is gone
        probes = theirs.trace(maxIter=30, tol=0)
        mean, error = float(np.mean(probes)), float(np.std(probes, ddof=1) / np.sqrt(len(probes)))
    else:
        operator = eigenthings_of(objective)
        from hessian_eigenthings.algorithms import lanczos, trace

        nodes = lanczos(operator, k=30, max_iter=30, reorthogonalize=True, seed=0).eigenvalues.numpy()
        found = trace(operator, num_matvecs=30, method="hutchinson", seed=0)
        top, mean, error = float(nodes.max()), float(found.estimate), float(found.stderr)
    with capsys.disabled():
        print(f"\nlossatlas: λmax {ours.values[-1]:.4f}, λmin {ours.values[0]:.4f}, residuals {ours.residuals}, "
              f"trace {estimate.value:.2f} ± {estimate.standard_error:.2f}, {ours.products} + 30 products, {own:.0f} s")  # fmt: skip
        print(f"{library}: λmax {top:.4f}, ends by Lanczos {nodes.min():.4f} and {nodes.max():.4f}, "
              f"trace {mean:.2f} ± {error:.2f}, {time.process_time() - began:.0f} s")  # fmt: skip
    assert top == pytest.approx(ours.values[-1], rel=5e-3)
    assert nodes.max() == pytest.approx(ours.values[-1], rel=5e-3)
    assert library == "pyhessian" or nodes.min() == pytest.approx(ours.values[0], rel=5e-2)
    assert abs(mean - estimate.value) < 4 * np.hypot(error, estimate.standard_error)
