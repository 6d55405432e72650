"""Fisher matrices, K-FAC, diagonals and further estimators of a trace: what curvlinops has, on an objective.

curvlinops (Dangel et al. 2025, `arXiv:2501.19183 <https://arxiv.org/abs/2501.19183>`_) is the library for what is not
here: ``pip install 'lossatlas[curvature]'``. Its matrices are taken at the same weights, with the same loss and the
same samples; its estimators are run on the products of :class:`lossatlas.curvature.products.Matrix`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lossatlas.curvature.products import GIB, How, Kind, Matrix, Which
from lossatlas.errors import SpecError, unknown
from lossatlas.extras import require
from lossatlas.objective import Objective, calling
from lossatlas.objective.randomness import seeded
from lossatlas.objective.reduction import name_of
from lossatlas.space.parameters import Parameters

__all__ = ["DIAGONALS", "OPERATORS", "TRACES", "diagonal", "operator", "trace"]

Name = Literal["hessian", "ggn", "fisher", "empirical fisher", "kfac", "ekfac"]
_CLASSES: dict[str, str] = {
    "hessian": "HessianLinearOperator",
    "ggn": "GGNLinearOperator",
    "fisher": "FisherMCLinearOperator",
    "empirical fisher": "EFLinearOperator",
    "kfac": "KFACLinearOperator",
    "ekfac": "EKFACLinearOperator",
}
OPERATORS: tuple[str, ...] = get_args(Name)
TRACES = {"hutchinson": "hutchinson_trace", "hutch++": "hutchpp_trace", "xtrace": "xtrace"}
DIAGONALS = {"hutchinson": "hutchinson_diag", "xdiag": "xdiag"}


def operator(
    objective: Objective,
    params: Parameters | None = None,
    name: Name = "fisher",
    *,
    tensors: Which = "all",
    **told: Any,
) -> Any:
    """A curvature matrix of curvlinops.

    Args:
        objective: whose loss: the cross-entropy or the squared error of torch, of batches ``(inputs, targets)``.
        params: the point; by default the origin.
        name: which: the Fisher matrix by sampled targets (``"fisher"``) or by the data's own (``"empirical fisher"``),
            its Kronecker factors (``"kfac"``, ``"ekfac"``), ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` or ``"weights"``.
        told: further arguments of curvlinops, such as ``seed`` and ``mc_samples``.

    Returns:
        A ``curvlinops.PyTorchLinearOperator`` over the tensors of ``Matrix(objective).names``, in their order; ``@``
        multiplies vectors [n].

    Raises:
        SpecError: the name is unknown, or the objective cannot be expressed for curvlinops.
        MissingExtraError: curvlinops is not installed.
    """
    if name not in _CLASSES:
        raise SpecError(unknown("name", name, OPERATORS))
    library = require("curvlinops", extra="curvature", purpose=f"have the matrix {name!r}")
    loss = _known_loss(objective)
    data = [_pair(batch) for batch in objective.batches]
    if objective.forward is not calling.forward or objective.weighing is not None:
        raise SpecError(
            "curvlinops takes batches (inputs, targets) that are weighted by their number of samples, and no forward="
        )
    matrix = Matrix(objective, params, tensors=tensors)
    parameters = [place for place in matrix.places if isinstance(place, nn.Parameter)]
    return getattr(library, _CLASSES[name])(
        matrix.model, loss, parameters, data, **{"check_deterministic": False, **told}
    )


def trace(
    objective: Objective,
    params: Parameters | None = None,
    *,
    method: str = "hutch++",
    products: int = 30,
    kind: Kind = "hessian",
    tensors: Which = "all",
    how: How = "derivatives",
    rows: int | None = None,
    memory: int = 2 * GIB,
    seed: int = 0,
) -> float:
    """The trace by an estimator that keeps what its products have in common.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        method: ``"hutch++"`` (Meyer et al. 2020), ``"xtrace"`` (Epperly et al. 2024) or ``"hutchinson"``.
        products: matrix-vector products, fewer than there are parameters; a multiple of 3 for Hutch++, even for XTrace.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` or ``"weights"``.
        how: ``"derivatives"`` or ``"differences"``.
        rows: samples that are differentiated at once; by default a batch.
        memory: bytes that may hold first derivatives; as many vectors as products are kept beside them.
        seed: of the random vectors.

    Returns:
        The estimate; :func:`lossatlas.trace` has one with a standard error.

    Raises:
        SpecError: an unknown method, or a number of products that it cannot use.
        MissingExtraError: curvlinops is not installed.
    """
    matrix = Matrix(objective, params, kind=kind, tensors=tensors, how=how, rows=rows, memory=memory)
    return float(_estimated(matrix, TRACES, method, products, seed))


def diagonal(
    objective: Objective,
    params: Parameters | None = None,
    *,
    method: str = "xdiag",
    products: int = 30,
    kind: Kind = "hessian",
    tensors: Which = "all",
    how: How = "derivatives",
    rows: int | None = None,
    memory: int = 2 * GIB,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The diagonal of a curvature matrix, estimated.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        method: ``"xdiag"`` (Epperly et al. 2024) or ``"hutchinson"`` (Bekas et al. 2007).
        products: matrix-vector products, fewer than there are parameters; even for XDiag.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` or ``"weights"``.
        how: ``"derivatives"`` or ``"differences"``.
        rows: samples that are differentiated at once; by default a batch.
        memory: bytes that may hold first derivatives; as many vectors as products are kept beside them.
        seed: of the random vectors.

    Returns:
        Tensors by name.

    Raises:
        SpecError: an unknown method, or a number of products that it cannot use.
        MissingExtraError: curvlinops is not installed.
    """
    matrix = Matrix(objective, params, kind=kind, tensors=tensors, how=how, rows=rows, memory=memory)
    return matrix.named(_estimated(matrix, DIAGONALS, method, products, seed))


def _estimated(matrix: Matrix, known: dict[str, str], method: str, products: int, seed: int) -> Tensor:
    if method not in known:
        raise SpecError(unknown("method", method, known))
    library = require("curvlinops", extra="curvature", purpose=f"estimate by {method!r}")
    estimator: Callable[[Any, int], Tensor] = getattr(library, known[method])
    with seeded(seed, None):
        try:
            return estimator(_Columns(matrix), products)
        except ValueError as fault:
            raise SpecError(f"products={products}: {' '.join(str(fault).split())}") from fault


class _Columns:
    """A matrix as curvlinops' estimators want one: symmetric, of a shape, and multiplied by many vectors at once."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        self.shape = (matrix.size, matrix.size)
        self.dtype = matrix.dtype
        self.device = matrix.device

    def __matmul__(self, columns: Tensor) -> Tensor:
        if columns.dim() == 1:
            return self._matrix @ columns
        return torch.stack([self._matrix @ column.contiguous() for column in columns.T], dim=1)

    def adjoint(self) -> _Columns:
        """Itself."""
        return self


def _known_loss(objective: Objective) -> nn.Module:
    loss = objective.loss
    if loss is F.cross_entropy:
        return nn.CrossEntropyLoss()
    if loss is F.mse_loss:
        return nn.MSELoss()
    if isinstance(loss, (nn.CrossEntropyLoss, nn.MSELoss, nn.BCEWithLogitsLoss)) and loss.reduction == "mean":
        return loss
    raise SpecError(
        f"loss {name_of(loss) if loss is not None else 'of the model itself'} is unknown to curvlinops; use "
        "torch.nn.functional.cross_entropy or mse_loss, or their modules with reduction='mean'"
    )


def _pair(batch: Any) -> tuple[Tensor, Tensor]:
    if isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch):
        return batch[0], batch[1]
    raise SpecError(f"data: curvlinops takes batches (inputs, targets) of tensors; a batch is {type(batch).__name__}")
