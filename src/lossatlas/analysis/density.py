"""How the eigenvalues of a curvature matrix are spread: the spectral density, by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch

from lossatlas.analysis.curvature import Kind, Matrix, Which
from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.space.parameters import Parameters


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
        SpecError: an unknown option, or too few probes, steps or points.
    """
    for name, count, least in (("probes", probes, 1), ("steps", steps, 2), ("points", points, 2)):
        if count < least:
            raise SpecError(f"{name}={count}; expected at least {least}")
    matrix = Matrix(objective, parameters, kind=kind, tensors=tensors)
    steps = min(steps, matrix.size)
    random = np.random.default_rng(seed)
    found = [_lanczos(matrix, random.normal(size=matrix.size), steps) for _ in range(probes)]
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


def _lanczos(matrix: Matrix, start: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Lanczos' method: nodes and weights of a Gauss quadrature of the spectrum as the start sees it.

    Every vector is put at right angles to all earlier ones; without it, eigenvalues that have converged come again.
    """
    basis = torch.empty(steps, matrix.size, dtype=matrix.dtype)
    vector = torch.from_numpy(start / np.linalg.norm(start)).to(basis)
    diagonal: list[float] = []
    beside: list[float] = []
    for step in range(steps):
        basis[step] = vector
        new = (matrix @ vector.double()).to(basis)
        diagonal.append(float(new.double() @ vector.double()))
        for _ in range(2):  # twice is enough
            new -= basis[: step + 1].T @ (basis[: step + 1] @ new)
        length = float(new.double().norm())
        if step == steps - 1 or length <= 10 * torch.finfo(matrix.dtype).eps * max(map(abs, diagonal)):
            break
        beside.append(length)
        vector = new / length
    values, vectors = scipy.linalg.eigh_tridiagonal(np.array(diagonal), np.array(beside))
    return values, vectors[0] ** 2
