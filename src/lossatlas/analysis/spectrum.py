"""What the spectrum of a curvature matrix is: both its ends, its trace, its density, each with its error.

Lanczos' method keeps all its vectors at right angles to each other and stops when the wanted ends have converged
relative to the largest eigenvalue. (ARPACK's criterion is relative to each eigenvalue, and at a cluster around zero,
which every network has, it is never met.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from lossatlas.analysis.curvature import Kind, Matrix, Which
from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.space.parameters import Parameters


@dataclass(frozen=True, kw_only=True)
class Eigen:
    """Extreme eigenvalues of a curvature matrix.

    Attributes:
        values: float64 [m], ascending.
        vectors: unit vectors as tensors by name, one for each value.
        residuals: float64 [m], :math:`‖H v - λ v‖ / |λ|_{max}`.
        converged: bool [m], whether the residual is within the tolerance asked for.
        products: matrix-vector products it took.
        kind: "hessian" or "ggn".
        size: number of parameters.
    """

    values: np.ndarray
    vectors: tuple[dict[str, Tensor], ...] = field(repr=False)
    residuals: np.ndarray
    converged: np.ndarray
    products: int
    kind: str
    size: int

    @property
    def ratio(self) -> float:
        """The paper's measure of non-convexity, :math:`|λ_{min} / λ_{max}|`; 0 where no eigenvalue is negative."""
        low, high = float(self.values[0]), float(self.values[-1])
        return abs(low / high) if low < 0 else 0.0


def eigenvalues(
    objective: Objective,
    parameters: Parameters | None = None,
    *,
    k: int = 1,
    kind: Kind = "hessian",
    tensors: Which = "all",
    tolerance: float = 1e-3,
    seed: int = 0,
    start: Tensor | None = None,
    most: int = 120,
    matrix: Matrix | None = None,
) -> Eigen:
    """The k smallest and the k largest eigenvalues, with their vectors, by Lanczos' method.

    Args:
        objective: whose loss.
        parameters: the point; left out, the origin.
        k: how many at either end.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` or ``"weights"``.
        tolerance: wanted residual, relative to the largest eigenvalue in magnitude.
        seed: of the vector to begin with.
        start: a vector to begin with instead, float64 [n]: near the eigenvectors it saves most of the work.
        most: matrix-vector products after which it gives up; what it has then says how good it is. So many vectors of
            the size of the model are kept.
        matrix: a matrix to go on using, already at the point.

    Returns:
        Values, vectors, residuals and whether they have converged.

    Raises:
        SpecError: an unknown option, k < 1, or a curvature that is not finite.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([2.0, 1.0]))
        >>> class Product(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.weight = weight
        ...     def forward(self, x):
        ...         return self.weight[0] * self.weight[1] * x
        >>> data = (torch.ones(4, 1), torch.full((4, 1), 2.0))
        >>> half = lambda f, y: 0.5 * torch.nn.functional.mse_loss(f, y)
        >>> found = eigenvalues(Objective(Product(), data, half))
        >>> [round(float(value), 4) + 0.0 for value in found.values]
        [0.0, 5.0]
    """
    if k < 1:
        raise SpecError(f"k={k}; expected at least one eigenvalue at either end")
    matrix = matrix or Matrix(objective, parameters, kind=kind, tensors=tensors)
    before = matrix.products
    if matrix.size <= max(2 * k + 2, 24):
        values, vectors = _dense(matrix, k)
    else:
        values, vectors = _extreme(matrix, k, tolerance, seed, start, most)
    scale = max(float(np.abs(values).max()), np.finfo(float).tiny)
    products = [(matrix @ torch.from_numpy(np.ascontiguousarray(v))).numpy() for v in vectors.T]
    residuals = np.array(
        [np.linalg.norm(p - value * v) / scale for p, value, v in zip(products, values, vectors.T, strict=True)]
    )
    return Eigen(
        values=values,
        vectors=tuple(matrix.named(np.ascontiguousarray(v)) for v in vectors.T),
        residuals=residuals,
        converged=residuals <= 2 * tolerance,
        products=matrix.products - before,
        kind=matrix.kind,
        size=matrix.size,
    )


def _dense(matrix: Matrix, k: int) -> tuple[np.ndarray, np.ndarray]:
    full = torch.stack([matrix @ row for row in torch.eye(matrix.size, dtype=torch.float64)]).numpy()
    values, vectors = np.linalg.eigh((full + full.T) / 2)
    ends = sorted({*range(min(k, len(values))), *range(max(len(values) - k, 0), len(values))})
    return values[ends], vectors[:, ends]


def _extreme(
    matrix: Matrix, k: int, tolerance: float, seed: int, start: Tensor | None, most: int
) -> tuple[np.ndarray, np.ndarray]:
    first = np.random.default_rng(seed).normal(size=matrix.size) if start is None else start.numpy()

    def enough(values: np.ndarray, last: np.ndarray, beside: float) -> bool:
        """Whether both ends have converged: the residual of a Ritz pair is ``beside * |last entry|``."""
        if len(values) < 2 * k + 2:
            return False
        residuals = beside * np.abs(np.concatenate([last[:k], last[-k:]]))
        return bool((residuals <= tolerance * np.abs(values).max()).all())

    values, vectors, basis = _lanczos(matrix, first, min(most, matrix.size), enough)
    ends = sorted({*range(min(k, len(values))), *range(max(len(values) - k, 0), len(values))})
    return values[ends], np.stack(basis, axis=1) @ vectors[:, ends]


def _lanczos(
    matrix: Matrix,
    start: np.ndarray,
    steps: int,
    enough: Callable[[np.ndarray, np.ndarray, float], bool] = lambda *_: False,
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Lanczos' method with full reorthogonalisation.

    Args:
        matrix: multiplies vectors.
        start: float64 [n].
        steps: at most so many products.
        enough: told Ritz values, the last entries of their vectors and the next off-diagonal entry, says when to stop.

    Returns:
        Ritz values ascending, their vectors in the basis, and the basis.
    """
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        new = (matrix @ torch.from_numpy(basis[-1])).numpy()
        diagonal.append(float(new @ basis[-1]))
        for _ in range(2):  # twice is enough: all earlier vectors taken out again
            for vector in basis:
                new = new - (new @ vector) * vector
        length = float(np.linalg.norm(new))
        values, vectors = scipy.linalg.eigh_tridiagonal(np.array(diagonal), np.array(beside))
        exhausted = length <= 1e-10 * np.abs(values).max()
        if exhausted or len(diagonal) == steps or enough(values, vectors[-1], length):
            return values, vectors, basis
        beside.append(length)
        basis.append(new / length)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """An estimate of a trace.

    Attributes:
        value: the estimate.
        standard_error: its standard error over the probes.
        probes: number of probes.
    """

    value: float
    standard_error: float
    probes: int


def trace(
    objective: Objective,
    parameters: Parameters | None = None,
    *,
    probes: int = 30,
    kind: Kind = "hessian",
    tensors: Which = "all",
    seed: int = 0,
) -> Trace:
    r"""The sum of all eigenvalues, by Hutchinson's estimator (1990): the mean of :math:`v^T H v` over signs v.

    Args:
        objective: whose loss.
        parameters: the point; left out, the origin.
        probes: number of random vectors, each a matrix-vector product; at least 2.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` or ``"weights"``.
        seed: of the signs.

    Returns:
        The estimate with its standard error.

    Raises:
        SpecError: fewer than two probes, or an unknown option.

    Example:
        >>> x, y = torch.eye(3), torch.zeros(3, 1)
        >>> objective = Objective(torch.nn.Linear(3, 1, bias=False), (x, y), torch.nn.functional.mse_loss)
        >>> round(trace(objective, probes=2).value, 6)
        2.0
    """
    if probes < 2:
        raise SpecError(f"probes={probes}; a standard error needs at least 2")
    matrix = Matrix(objective, parameters, kind=kind, tensors=tensors)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(probes):
        signs = torch.randint(0, 2, (matrix.size,), generator=generator).double() * 2 - 1
        found.append(float(signs @ (matrix @ signs)))
    spread = float(np.std(found, ddof=1)) / math.sqrt(probes)
    return Trace(value=float(np.mean(found)), standard_error=spread, probes=probes)


@dataclass(frozen=True, kw_only=True)
class Density:
    """A spectral density.

    Attributes:
        eigenvalues: float64 [points], where it is given.
        density: float64 [points], non-negative; its integral is 1.
        standard_error: float64 [points], over the probes.
        width: standard deviation of the Gaussian that every eigenvalue is smeared into.
        nodes: float64 [probes * steps], Ritz values.
        weights: float64 [probes * steps], their weights, which sum to 1.
    """

    eigenvalues: np.ndarray
    density: np.ndarray
    standard_error: np.ndarray
    width: float
    nodes: np.ndarray
    weights: np.ndarray


def spectral_density(
    objective: Objective,
    parameters: Parameters | None = None,
    *,
    probes: int = 5,
    steps: int = 40,
    points: int = 400,
    kind: Kind = "hessian",
    tensors: Which = "all",
    seed: int = 0,
) -> Density:
    """The density of the eigenvalues, by stochastic Lanczos quadrature (Ghorbani, Krishnan, Xiao 2019).

    Args:
        objective: whose loss.
        parameters: the point; left out, the origin.
        probes: number of random vectors.
        steps: Lanczos steps for each of them, a matrix-vector product each.
        points: where the density is given.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` or ``"weights"``.
        seed: of the random vectors.

    Returns:
        The density, smeared by a hundredth of the spectrum's width.

    Raises:
        SpecError: an unknown option.
    """
    matrix = Matrix(objective, parameters, kind=kind, tensors=tensors)
    steps = min(steps, matrix.size)
    random = np.random.default_rng(seed)
    runs = [_lanczos(matrix, random.normal(size=matrix.size), steps) for _ in range(probes)]
    found = [(values, vectors[0] ** 2) for values, vectors, _ in runs]  # nodes and weights of a Gauss quadrature
    nodes = np.concatenate([node for node, _ in found])
    width = max(float(np.ptp(nodes)) / 100, np.finfo(float).tiny)
    grid = np.linspace(nodes.min() - 4 * width, nodes.max() + 4 * width, points)
    each = np.array([_smeared(grid, node, weight, width) for node, weight in found])
    error = each.std(axis=0, ddof=1) / math.sqrt(probes) if probes > 1 else np.full(points, np.nan)
    return Density(
        eigenvalues=grid,
        density=each.mean(axis=0),
        standard_error=error,
        width=width,
        nodes=nodes,
        weights=np.concatenate([weight for _, weight in found]) / probes,
    )


def _smeared(grid: np.ndarray, nodes: np.ndarray, weights: np.ndarray, width: float) -> np.ndarray:
    bells = np.exp(-(((grid[:, None] - nodes) / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))
    return np.asarray(bells @ weights)
