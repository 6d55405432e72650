r"""How much does the loss curve? The trace, the largest eigenvalue, and the relative flatness of one layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from lossatlas.curvature import spectrum
from lossatlas.curvature import trace as whole
from lossatlas.curvature.products import Matrix
from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_whole
from lossatlas.flatness.ground import mean_and_error
from lossatlas.flatness.result import Sharpness
from lossatlas.objective import Objective
from lossatlas.objective.given import check_objective, check_params
from lossatlas.space import filters
from lossatlas.space.parameters import Parameters

__all__ = ["lambda_max", "relative_flatness", "trace"]


def trace(
    objective: Objective,
    params: Parameters | None = None,
    *,
    probes: int = 30,
    seed: int = 0,
) -> Sharpness:
    """The trace of the Hessian, by Hutchinson's estimator; see :func:`lossatlas.trace`.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        probes: number of random vectors.
        seed: of them.

    Returns:
        The trace with its standard error over the probes.

    Raises:
        SpecError: fewer than two probes.
    """
    found = whole.trace(objective, params, probes=probes, seed=seed)
    return Sharpness(
        measure="trace",
        value=found.value,
        spread=found.standard_error,
        spread_is="standard error over probes",
        settings={"probes": probes, "seed": seed},
        evaluations=probes,
        gradients=2.0 * probes,
    )


def lambda_max(
    objective: Objective,
    params: Parameters | None = None,
    *,
    tolerance: float = 1e-3,
    most: int = 120,
    seed: int = 0,
) -> Sharpness:
    """The largest eigenvalue of the Hessian; see :func:`lossatlas.eigenvalues`.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        tolerance: wanted residual, relative to the size of each eigenvalue.
        most: Hessian-vector products after which it gives up; the note then says so.
        seed: of the vector to begin with.

    Returns:
        The eigenvalue with its residual.

    Raises:
        SpecError: curvature that is not finite.
    """
    found = spectrum.eigenvalues(objective, params, k=1, tolerance=tolerance, most=most, seed=seed)
    value = float(found.values[-1])
    size = max(abs(value), 0.01 * float(np.abs(found.values).max()))  # what residuals are a share of
    residual = float(found.residuals[-1]) * size
    return Sharpness(
        measure="lambda_max",
        value=value,
        spread=residual,
        spread_is="residual",
        settings={"tolerance": tolerance, "most": most, "seed": seed},
        evaluations=found.products,
        gradients=2.0 * found.products,
        note="" if bool(found.converged[-1]) else f"Not converged after {found.products} products.",
    )


def relative_flatness(
    objective: Objective,
    params: Parameters | None = None,
    *,
    layer: str = "",
    probes: int = 50,
    seed: int = 0,
) -> Sharpness:
    r"""Relative flatness of one layer (Petzka et al. 2021).

    .. math:: κ = \sum_{s, t} ⟨w_s, w_t⟩ \, \mathrm{tr} H_{st}, \qquad H_{st} = ∂^2 L / ∂w_s ∂w_t

    over the rows w_s of its weight. With random signs r and v it is the mean of :math:`d^T H d` for
    :math:`d = (W r) v^T`, a Hessian-vector product for each probe.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        layer: name of the weight; by default the last one, whose inputs are the features of the paper.
        probes: number of random vectors, at least 2.
        seed: of them.

    Returns:
        The relative flatness (a large value is sharp) with its standard error over the probes. The paper's invariance
        to rescaling holds for whole layers, for channels before BatchNorm and for the rows of the layer itself; units
        that feed the layer, rescaled one by one, change it.

    Raises:
        SpecError: the layer does not exist or is not a weight.
    """
    check_whole("probes", probes, 2)  # for a standard error
    check_whole("seed", seed)
    check_objective(objective)
    check_params(params)
    rows = filters.table(objective.model)
    weights = [name for name, row in rows.items() if row.role == "weight" and not row.frozen]
    if layer and layer not in weights:
        raise SpecError(unknown("layer", layer, weights))
    if not weights:
        raise SpecError("layer: the model has no trainable weight with two dimensions")
    layer = layer or weights[-1]
    point = {**objective.origin, **(params or {})}
    matrix = Matrix(objective, point)
    weight = point[layer].detach().double().cpu()
    table = weight.reshape(len(weight), -1)
    generator = torch.Generator().manual_seed(seed)

    def signs() -> Any:
        return torch.randint(0, 2, (table.shape[1],), generator=generator).double() * 2 - 1

    found = []
    for _ in range(probes):
        step = matrix.joined({layer: torch.outer(table @ signs(), signs()).reshape(weight.shape)})
        found.append(float(step @ (matrix @ step)))
    value, spread = mean_and_error(found)
    return Sharpness(
        measure="relative_flatness",
        value=value,
        spread=spread if math.isfinite(spread) else math.nan,
        spread_is="standard error over probes",
        settings={"layer": layer, "probes": probes, "seed": seed},
        evaluations=probes,
        gradients=2.0 * probes,
    )
