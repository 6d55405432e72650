"""How the values of a loss or a metric on one batch become a mean over samples."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective.batches import map_tensors

Measure = Callable[[Any, Any], Tensor]


def loss_mean(loss: Measure, value: Any, size: int) -> Tensor:
    """The mean loss of one batch.

    Args:
        loss: the function that gave the value; only its stated ``reduction`` is looked at.
        value: a scalar (reduced already) or one value for each sample, shape [N] or [N, ...].
        size: the number of samples N.

    Returns:
        A scalar.

    Raises:
        SpecError: the value is no tensor or has another shape.
    """
    if not isinstance(value, Tensor):
        raise SpecError(f"loss {name_of(loss)} returned a {type(value).__name__}; expected a tensor")
    if value.dim() == 0:
        return value / size if stated_reduction(loss) == "sum" else value
    if value.shape[0] != size:
        raise SpecError(
            f"loss {name_of(loss)} returned shape {tuple(value.shape)} for {size} samples; "
            f"expected a scalar or [{size}, ...], one value for each sample"
        )
    return value.double().mean()


def loss_each(loss: Measure, outputs: Any, targets: Any, size: int) -> Tensor:
    """The loss of every sample of one batch, float64 [N].

    A loss that gives the mean of a batch is asked for each sample alone.

    Args:
        loss: as of an Objective.
        outputs: outputs of one batch; any nesting of tensors with the samples first.
        targets: its targets.
        size: the number of samples N.

    Raises:
        SpecError: the loss of a batch is not the mean over its samples.

    Example:
        >>> x, y = torch.tensor([1.0, 3.0]), torch.zeros(2)
        >>> loss_each(torch.nn.functional.mse_loss, x, y, 2).tolist()
        [1.0, 9.0]
    """
    value = loss(outputs, targets)
    mean = loss_mean(loss, value, size)
    if value.dim():
        return value.double().reshape(size, -1).mean(dim=1)

    def alone(*row: Any) -> Tensor:
        return loss(*map_tensors(lambda t: t.unsqueeze(0), row))

    try:
        each = torch.vmap(alone)(outputs, targets).double()
    except (RuntimeError, ValueError):  # an operation that cannot be done for many samples side by side
        rows = [map_tensors(operator.itemgetter(i), (outputs, targets)) for i in range(size)]
        each = torch.stack([alone(*row) for row in rows]).double()
    if not torch.isclose(each.mean(), mean.double(), rtol=1e-4, atol=1e-7, equal_nan=True):
        raise SpecError(
            f"loss {name_of(loss)} of a batch ({float(mean):.6g}) is not the mean over its samples "
            f"({float(each.mean()):.6g}), so no single sample has a loss; "
            "use a loss that gives one value for each sample"
        )
    return each


def metric_mean(name: str, value: Any, size: int) -> Tensor:
    """The mean of one batch of a metric that must give one value for each sample, shape [N].

    Raises:
        SpecError: the value has another shape.
    """
    if not isinstance(value, Tensor) or value.shape != (size,):
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise SpecError(
            f"metric {name!r} returned {got} for {size} samples; expected shape ({size},): one value for each sample, "
            "so that batches of different size can be averaged"
        )
    return value.double().mean()


def stated_reduction(loss: Any) -> str | None:
    """The ``reduction`` that a loss module or a partial states, if it states one."""
    if isinstance(loss, functools.partial):
        return loss.keywords.get("reduction") or stated_reduction(loss.func)
    reduction = getattr(loss, "reduction", None)
    return reduction if isinstance(reduction, str) else None


def name_of(function: Any) -> str:
    """A readable name of a callable."""
    if isinstance(function, functools.partial):
        options = ", ".join(f"{key}={value!r}" for key, value in sorted(function.keywords.items()))
        return f"{name_of(function.func)}({options})"
    name: str = getattr(function, "__qualname__", None) or type(function).__name__
    return name


def looks_like(loss: Measure, outputs: Any, targets: Any) -> str:
    """Whether a scalar loss is a mean over samples, found by cutting one batch in two.

    Args:
        loss: a loss that returns a scalar.
        outputs: outputs of one batch; any nesting of tensors with the samples first.
        targets: its targets.

    Returns:
        ``"mean"``, ``"sum"``, ``"neither"``, or ``"unknown"`` where the batch cannot be cut.

    Example:
        >>> import torch
        >>> x, y = torch.arange(6.0), torch.zeros(6)
        >>> looks_like(torch.nn.MSELoss(reduction="sum"), x, y)
        'sum'
    """
    size = next((t.shape[0] for t in _flat(outputs) if t.dim()), 0)
    cut = size // 3
    if cut < 1 or any(t.shape[:1] != (size,) for t in (*_flat(outputs), *_flat(targets))):
        return "unknown"
    first = map_tensors(lambda t: t[:cut], (outputs, targets))
    second = map_tensors(lambda t: t[cut:], (outputs, targets))
    values = [loss(*part) for part in ((outputs, targets), first, second)]
    whole, a, b = (float(value) for value in values)
    tolerance = 200 * torch.finfo(values[0].dtype).eps * abs(whole)
    if abs(whole - (cut * a + (size - cut) * b) / size) <= tolerance:
        return "mean"
    return "sum" if abs(whole - (a + b)) <= tolerance else "neither"


def _flat(part: Any) -> list[Tensor]:
    found: list[Tensor] = []
    map_tensors(found.append, part)
    return found
