"""How does a loss curve along one direction? By derivatives, which do not see kinks, and by differences, which do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossatlas.curvature.products import Matrix
from lossatlas.errors import SpecError
from lossatlas.objective.function import Function, Measurable
from lossatlas.space.parameters import Parameters

__all__ = ["CurvatureAlong", "curvature_along"]


@dataclass(frozen=True, kw_only=True)
class CurvatureAlong:
    """Curvature along one direction, in two ways.

    Attributes:
        autodiff: :math:`d^T H d / ‖d‖^2` by derivatives, which do not see kinks; NaN for a Function, which has none.
        difference: the same by central differences of the loss, which do.
        rounding: how much of the difference rounding alone may be, :math:`4 ε L / h^2`.
        step: how far apart they were taken, h, in parameter norm.
        slope: :math:`g^T d / ‖d‖`; of a Function by central differences.
    """

    autodiff: float
    difference: float
    rounding: float
    step: float
    slope: float


def curvature_along(
    objective: Measurable,
    direction: Parameters,
    params: Parameters | None = None,
    *,
    step: float = 1e-2,
) -> CurvatureAlong:
    """Curvature along a direction by derivatives and by differences.

    At a kink, such as that of ReLU, the slope jumps: the second derivative is zero on both sides and does not exist at
    the kink. Differences see the jump and pictures show it; derivatives do not.

    Args:
        objective: whose loss; for a :class:`~lossatlas.Function` only differences are available.
        direction: tensors by name; those that cannot be trained do not move.
        params: the point; by default the origin.
        step: step of the differences, as a share of the direction. A large step measures the surface as a picture with
            such steps shows it; a small one measures rounding.

    Returns:
        Both numbers, for a direction of length one.

    Raises:
        SpecError: the direction is zero, the step is not positive, or the loss has no second derivative.

    Example:
        >>> import lossatlas as la
        >>> objective = la.Objective(
        ...     torch.nn.Linear(1, 1, bias=False), (torch.ones(2, 1), torch.zeros(2, 1)), torch.nn.functional.mse_loss
        ... )
        >>> found = curvature_along(objective, {"weight": torch.ones(1, 1)})
        >>> round(found.autodiff, 6), round(found.difference, 1)
        (2.0, 2.0)
    """
    if not step > 0:
        raise SpecError(f"step={step}; expected a positive share of the direction")
    if isinstance(objective, Function):
        return _of_values(objective, direction, params, step)
    matrix = Matrix(objective, params)
    vector = matrix.joined(direction)
    length = float(vector.norm())
    if length == 0:
        raise SpecError("direction is zero in every tensor that can be trained")
    unit = vector / length
    apart = step * length
    base = {**objective.origin, **(params or {})}
    values = [objective(_shifted(base, matrix.named(unit), c * apart))["loss"] for c in (-1, 0, 1)]
    return CurvatureAlong(
        autodiff=float(unit @ (matrix @ unit)),
        difference=(values[0] - 2 * values[1] + values[2]) / apart**2,
        rounding=4 * torch.finfo(matrix.dtype).eps * max(map(abs, values)) / apart**2,
        step=apart,
        slope=float(matrix.joined(matrix.gradient()) @ unit),
    )


def _of_values(function: Function, direction: Any, params: Any, step: float) -> CurvatureAlong:
    """The same for a function that has only values."""
    base = {**function.origin, **({} if params is None else function.named(params))}
    parts = dict(function.named(direction))
    length = math.sqrt(sum(float(part.abs().double().square().sum()) for part in parts.values()))
    if length == 0:
        raise SpecError("direction is zero in every array")
    low, here, high = (function(_shifted(base, parts, c * step))["loss"] for c in (-1, 0, 1))
    apart = step * length
    finest = max(torch.finfo(base[name].dtype).eps for name in parts)
    return CurvatureAlong(
        autodiff=math.nan,
        difference=(low - 2 * here + high) / apart**2,
        rounding=4 * finest * max(abs(low), abs(here), abs(high)) / apart**2,
        step=apart,
        slope=(high - low) / (2 * apart),
    )


def _shifted(base: Mapping[str, Tensor], unit: Parameters, distance: float) -> dict[str, Tensor]:
    return {**base, **{name: base[name] + distance * part.to(base[name]) for name, part in unit.items()}}
