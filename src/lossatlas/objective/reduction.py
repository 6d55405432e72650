"""How the values of a loss or a metric on one batch become a mean over samples."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective.batches import map_tensors

__all__ = [
    "Derived",
    "Measure",
    "Part",
    "Weighted",
    "looks_like",
    "loss_each",
    "loss_mean",
    "metric_each",
    "metric_mean",
    "name_of",
    "part",
    "stated_reduction",
]

Measure = Callable[[Any, Any], "Tensor | Weighted"]


class Weighted(NamedTuple):
    r"""What a loss or a metric returns whose mean is not over samples but over smaller things, such as tokens.

    The value of all data is :math:`\sum_i w_i v_i / \sum_i w_i`, over all elements of all batches: a batch with more
    padding (weight 0) does not weigh more.

    Attributes:
        values: one for each thing that is averaged, any shape.
        weights: of the same shape, not negative; 0 leaves a value out, also one that is not finite.
        unit: what the mean is over, as a caption says it.
    """

    values: Tensor
    weights: Tensor
    unit: str = "token"

    def mean(self) -> Tensor:
        """The weighted mean, float64; 0 where nothing has a weight."""
        weights = self.weights.double()
        kept = torch.where(weights > 0, self.values.double() * weights, 0.0).sum()
        return kept / weights.sum().clamp_min(torch.finfo(torch.float64).tiny)

    def total(self) -> Tensor:
        """The weight of all of it, float64."""
        return self.weights.double().sum()


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A number that follows from a mean, such as the perplexity from the loss: computed after the mean, not before.

    Attributes:
        of: the value it follows from: the loss or a metric.
        by: element-wise function of a float64 array.

    Example:
        >>> Derived(of="loss", by=np.exp)(np.array([0.0]))
        array([1.])
    """

    of: str
    by: Callable[[np.ndarray], np.ndarray]

    def __call__(self, means: np.ndarray) -> np.ndarray:
        """The number, for every mean; what overflows is infinite."""
        with np.errstate(over="ignore"):
            return np.asarray(self.by(means), np.float64)


class Part(NamedTuple):
    """One value of one batch, on its way into a mean.

    Attributes:
        mean: over the batch, a scalar.
        weight: of the batch; a number of samples, or a tensor.
        unit: what the mean is over.
        zero_one: whether it is a mean of scores of 0 or 1.
    """

    mean: Tensor
    weight: int | Tensor
    unit: str
    zero_one: bool

    def weight_on(self, device: torch.device) -> Tensor:
        """The weight as a scalar tensor."""
        exact = torch.float32 if device.type == "mps" else torch.float64
        return torch.as_tensor(self.weight, dtype=exact, device=device)


def part(mean: Tensor, value: Any, size: int) -> Part:
    """A batch's value with its weight: that of its tokens, say, or else the number of its samples."""
    if isinstance(value, Weighted):
        return Part(mean, value.total(), value.unit, zero_one=False)
    return Part(mean, size, "sample", zero_one=value.dtype == torch.bool)


def loss_mean(loss: Measure, value: Any, size: int) -> Tensor:
    """The mean loss of one batch.

    Args:
        loss: the function that gave the value; only its stated ``reduction`` is looked at.
        value: a scalar (reduced already), one value for each sample, shape [N] or [N, ...], or :class:`Weighted`.
        size: the number of samples N.

    Returns:
        A scalar.

    Raises:
        SpecError: the value is no tensor or has another shape.
    """
    if isinstance(value, Weighted):
        return _checked(f"loss {name_of(loss)}", value).mean()
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

    Returns:
        The losses, in the order of the samples.

    Raises:
        SpecError: the loss of a batch is not the mean over its samples.

    Example:
        >>> x, y = torch.tensor([1.0, 3.0]), torch.zeros(2)
        >>> loss_each(torch.nn.functional.mse_loss, x, y, 2).tolist()
        [1.0, 9.0]
    """
    value = loss(outputs, targets)
    mean = loss_mean(loss, value, size)
    if isinstance(value, Weighted):
        return _even(f"loss {name_of(loss)}", value, size)
    if value.dim():
        return value.double().reshape(size, -1).mean(dim=1)

    def alone(*row: Any) -> Any:
        return loss(*map_tensors(lambda t: t.unsqueeze(0), row))

    try:
        each: Tensor = torch.vmap(alone)(outputs, targets).double()
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


def _checked(what: str, value: Weighted) -> Weighted:
    if value.values.shape != value.weights.shape:
        raise SpecError(
            f"{what} returned values of shape {tuple(value.values.shape)} with weights of shape "
            f"{tuple(value.weights.shape)}; expected the same shape"
        )
    return value


def _even(what: str, value: Weighted, size: int) -> Tensor:
    """Each sample's own mean, float64 [N], where all samples weigh the same."""
    weights = value.weights.double().reshape(size, -1)
    totals = weights.sum(dim=1)
    if not bool((totals == totals[0]).all()):
        raise SpecError(
            f"{what} is a mean over {value.unit}s, and the samples have different numbers of them, so a part of the "
            f"samples does not stand for all; pack the data into blocks of one length, or use all samples"
        )
    kept = torch.where(weights > 0, value.values.double().reshape(size, -1) * weights, 0.0)
    return kept.sum(dim=1) / totals


def metric_each(name: str, value: Any, size: int) -> Tensor:
    """A metric of every sample of one batch, float64 [N]; see :func:`loss_each`."""
    metric_mean(name, value, size)
    if isinstance(value, Weighted):
        return _even(f"metric {name!r}", value, size)
    return torch.as_tensor(value).double()


def metric_mean(name: str, value: Any, size: int) -> Tensor:
    """The mean of one batch of a metric: one value for each sample, shape [N], or :class:`Weighted`.

    Returns:
        The mean, float64 [].

    Raises:
        SpecError: the value has another shape.
    """
    if isinstance(value, Weighted):
        return _checked(f"metric {name!r}", value).mean()
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
    values: list[Any] = [loss(*part) for part in ((outputs, targets), first, second)]
    whole, a, b = (float(value) for value in values)
    tolerance = 200 * torch.finfo(values[0].dtype).eps * abs(whole)
    if abs(whole - (cut * a + (size - cut) * b) / size) <= tolerance:
        return "mean"
    return "sum" if abs(whole - (a + b)) <= tolerance else "neither"


def _flat(part: Any) -> list[Tensor]:
    found: list[Tensor] = []
    map_tensors(found.append, part)
    return found
