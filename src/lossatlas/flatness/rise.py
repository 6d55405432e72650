r"""How far can one step before the loss rises? Curvature along an update, from a handful of forward passes.

Along an update :math:`θ - η Δ` the loss first falls and, if the step is too long, rises above where it began. That step
:math:`η_c`, the critical learning rate, turns into a curvature, :math:`λ_c = 2 / η_c` (arXiv 2601.16979). To second
order

.. math:: L(θ - η Δ) - L(θ) = -η\, g^T Δ + \tfrac{η^2}{2} Δ^T H Δ, \qquad λ_c = \frac{Δ^T H Δ}{g^T Δ},

which for the gradient itself is :math:`g^T H g / g^T g`, at most λmax. No derivative beyond the update is taken, so it
costs only a few evaluations, even where second derivatives do not fit into memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.expected import check_number
from lossatlas.flatness.first_rise import Step, first_rise
from lossatlas.flatness.function_rise import critical_of
from lossatlas.flatness.ground import Ground, groups, mean_and_error
from lossatlas.flatness.result import Sharpness
from lossatlas.flatness.update import Update, update_of
from lossatlas.objective import Objective
from lossatlas.objective.function import Function, Measurable
from lossatlas.objective.given import check_measurable, check_objective
from lossatlas.objective.reduction import name_of
from lossatlas.space.parameters import Parameters

__all__ = ["critical"]


def critical(
    objective: Measurable,
    params: Parameters | None = None,
    *,
    update: Update | Callable[[Any], Any] | None = None,
    second: Objective | Callable[[Objective], Objective] | None = None,
    m: int | None = None,
    start: Step = 1.0,
    tolerance: float = 0.02,
    seed: int = 0,
) -> Sharpness:
    r"""Critical sharpness, :math:`2 / η_c` with :math:`η_c` the step along an update at which the loss first rises.

    Args:
        objective: whose loss; for a :class:`~lossatlas.Function` only values are needed.
        params: the point; by default the origin.
        update: tensors by name, of which a step of η subtracts η times as much: a gradient with momentum, or
            preconditioned; or a ``torch.optim.Optimizer`` of the model, for its next step with the gradient of each
            group, with its momenta and preconditioner and divided by its learning rate. By default the gradient of each
            group. For a Function also a function that gives the update at the point, such as ``jax.grad(loss)``; by
            default the gradient by central differences, which costs two values for each of at most 1,000 numbers.
        second: another objective on the same network; the value then says how its loss bends along the first one's
            update (relative critical sharpness). For a table of models, a function that makes it from the objective.
        m: samples in a group, such as the batch that an optimiser sees; by default all of them. The value is the mean
            over groups.
        start: the step to begin with; a learning rate saves evaluations.
        tolerance: wanted accuracy of the step, relative.
        seed: of the groups.

    Returns:
        The value with its standard error over the groups. If the loss does not rise within the steps tried, it is an
        upper bound, and the note says so; if it rises at once, it is infinite.

    Raises:
        SpecError: a step or a tolerance is not positive, the gradient is zero, or the update is of other tensors.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 1, bias=False).double()
        >>> layer.weight.data = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
        >>> x = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))  # L = (4 w1² + w2²) / 2
        >>> objective = Objective(layer, (x, torch.zeros(2, 1).double()), torch.nn.functional.mse_loss)
        >>> found = critical(objective)
        >>> round(found.value, 9) == round((4 * 16 + 1) / (16 + 1), 9)  # gᵀHg / gᵀg
        True
    """
    check_measurable(objective)
    for name, value in (("start", start), ("tolerance", tolerance)):
        check_number(name, value)
        if not (math.isfinite(value) and value > 0):
            raise SpecError(f"{name}={value!r}; expected a positive number")
    if isinstance(objective, Function):
        if m is not None or second is not None:
            raise SpecError("m and second need an Objective and its samples; a Function has only values")
        return critical_of(objective, params, update=update, start=start, tolerance=tolerance)
    other = _second(objective, second)
    found, notes, evaluations, gradients = [], set(), 0.0, 0.0
    parts = groups(objective, m, seed)
    for part in parts:
        ground = Ground(part, params)
        way = update_of(ground, update)
        seen = ground if other is None else Ground(other, ground.base)
        step, note = first_rise(_change(seen, way), start, tolerance)
        found.append(2 / step if step > 0 else math.inf)
        notes.add(note)
        share = part.samples / objective.samples
        evaluations += share * ground.evaluations + (0.0 if other is None else seen.evaluations)
        gradients += share * ground.gradients
    value, spread = mean_and_error(found) if len(found) > 1 else (found[0], math.nan)
    return Sharpness(
        measure="critical",
        value=value,
        spread=spread,
        spread_is="standard error over groups of samples" if len(found) > 1 else "",
        settings={"m": m, "start": start, "tolerance": tolerance, "seed": seed, "second": second is not None},
        evaluations=evaluations,
        gradients=gradients,
        note=" ".join([*_relative(objective, other), *sorted(notes - {""})]),
    )


def _second(objective: Objective, given: Objective | Callable[[Objective], Objective] | None) -> Objective | None:
    """The second objective itself, even if a function makes it."""
    made = given(objective) if callable(given) and not isinstance(given, Objective) else given
    if made is not None:
        check_objective(made, "second")
    return made


def _relative(objective: Objective, second: Objective | None) -> list[str]:
    """Whose loss along whose update, if there are two."""
    if second is None:
        return []
    losses = [name_of(one.loss) for one in (second, objective)]
    first, then = (f"{loss} on {one.data_name}" for loss, one in zip(losses, (second, objective), strict=True))
    return [f"Relative: {first} along the update of {then}."]


def _change(ground: Ground, way: Tensor) -> Callable[[float], float]:
    return lambda step: ground.loss(-step * way) - ground.height
