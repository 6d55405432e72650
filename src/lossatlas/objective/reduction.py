"""How do the values of a loss or a metric on one batch become a mean over samples?"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lossatlas.errors import SpecError
from lossatlas.expected import described_type
from lossatlas.objective.containers import map_tensors
from lossatlas.oneline import number_of, one_line

__all__ = [
    "ByTarget",
    "Derived",
    "Measure",
    "Part",
    "Weighted",
    "by_sample",
    "by_target",
    "length",
    "loss_each",
    "loss_mean",
    "metric_each",
    "metric_mean",
    "name_of",
    "part",
    "separate",
    "stated_reduction",
]

Measure = Callable[[Any, Any], "Tensor | Weighted"]


class Weighted(NamedTuple):
    r"""The return value of a loss or metric whose mean is not over samples but over smaller things, such as tokens.

    The value for all data is :math:`\sum_i w_i v_i / \sum_i w_i` over all elements of all batches: a batch with more
    padding (weight 0) does not weigh more.

    Attributes:
        values: one for each thing that is averaged, any shape.
        weights: of the same shape, not negative; 0 leaves a value out, even one that is not finite.
        unit: what the mean is over, as captions name it.
    """

    values: Tensor
    weights: Tensor
    unit: str = "token"

    def mean(self) -> Tensor:
        """The weighted mean, float64; 0 if nothing has a weight."""
        weights = self.weights.double()
        kept = torch.where(weights > 0, self.values.double() * weights, 0.0).sum()
        return kept / weights.sum().clamp_min(torch.finfo(torch.float64).tiny)

    def total(self) -> Tensor:
        """The weight of all of it, float64."""
        return self.weights.double().sum()


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A number derived from a mean, as the perplexity is from the loss: computed after averaging, not before.

    Attributes:
        of: the value it is derived from: the loss or a metric.
        by: element-wise function of a float64 array.

    Example:
        >>> Derived(of="loss", by=np.exp)(np.array([0.0]))
        array([1.])
    """

    of: str
    by: Callable[[np.ndarray], np.ndarray]

    def __call__(self, means: np.ndarray) -> np.ndarray:
        """The number, for every mean; infinite if it overflows."""
        with np.errstate(over="ignore"):
            return np.asarray(self.by(means), np.float64)


class Part(NamedTuple):
    """One value of one batch, on its way into a mean.

    Attributes:
        mean: over the batch, a scalar.
        weight: of the batch; a number of samples, or a tensor.
        unit: what the mean is over.
        zero_one: whether it is a mean of scores of 0 or 1.
        samples: of the batch, whatever the mean is over.
    """

    mean: Tensor
    weight: int | Tensor
    unit: str
    zero_one: bool
    samples: int

    def weight_on(self, device: torch.device) -> Tensor:
        """The weight as a scalar tensor."""
        exact = torch.float32 if device.type == "mps" else torch.float64
        return torch.as_tensor(self.weight, dtype=exact, device=device)


def part(mean: Tensor, value: Any, size: int) -> Part:
    """A batch's value with its weight: that of its tokens, say, or otherwise the number of its samples."""
    if isinstance(value, Weighted):
        return Part(mean, value.total(), value.unit, zero_one=False, samples=size)
    return Part(mean, size, "sample", zero_one=value.dtype == torch.bool, samples=size)


def length(value: Any) -> int | None:
    """How many values a loss gave, along the first dimension; None if it is a single number."""
    values = value.values if isinstance(value, Weighted) else value
    return values.shape[0] if isinstance(values, Tensor) and values.dim() else None


def separate(loss: Measure, outputs: Any, targets: Any) -> bool:
    """Whether the first and the last value of a loss depend on one row of the outputs each.

    So a loss that leaves some samples out is told from one that has mixed them up.

    Returns:
        Whether they do.

    Example:
        >>> x, y = torch.ones(4, 2), torch.zeros(4, 2)
        >>> separate(lambda o, t: (o - t).square()[:3].mean(1), x, y), separate(lambda o, t: (o - t).mean(0), x, y)
        (True, False)
    """
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point() or not outputs.dim():
        return False
    with torch.inference_mode(False), torch.enable_grad():
        leaf = outputs.detach().clone().requires_grad_(True)
        values = loss(leaf, map_tensors(torch.clone, targets))
        if not isinstance(values, Tensor) or not values.requires_grad or not values.numel():
            return False
        for value in (values[0], values[-1]):
            slope = torch.autograd.grad(value.sum(), leaf, retain_graph=True)[0]
            if int(slope.reshape(len(leaf), -1).any(dim=1).sum()) != 1:
                return False
    return True


def loss_mean(loss: Measure, value: Any, size: int, *, told: bool = False) -> Tensor:
    """The mean loss of one batch.

    Args:
        loss: the function that gave the value; only its stated ``reduction`` is used.
        value: a scalar (reduced already), one value for each sample, shape [N] or [N, ...], or :class:`Weighted`.
        size: the number of samples N.
        told: whether the user stated the size, so that there may be more or fewer values.

    Returns:
        A scalar.

    Raises:
        SpecError: the value is not a tensor or has another shape.
    """
    if isinstance(value, Weighted):
        return _checked(f"loss {name_of(loss)}", value).mean()
    if not isinstance(value, Tensor):
        raise SpecError(f"loss {name_of(loss)} returned {described_type(value)}; expected a tensor")
    if value.dim() == 0:
        return value / size if stated_reduction(loss) == "sum" else value
    if value.shape[0] != size and not told:
        raise SpecError(
            f"loss {name_of(loss)} returned shape {tuple(value.shape)} for {number_of(size, 'sample')}; "
            f"expected a scalar or [{size}, ...], one value for each sample (or size=, if {size} is not their number)"
        )
    return value.double().mean()


def loss_each(loss: Measure, outputs: Any, targets: Any, size: int) -> Tensor:
    """The loss of every sample of one batch, float64 [N].

    A loss that gives the mean of a batch is called for each sample separately.

    Args:
        loss: as of an Objective.
        outputs: outputs of one batch; any nesting of tensors with the samples first.
        targets: its targets.
        size: the number of samples N.

    Returns:
        The losses, in the order of the samples.

    Raises:
        SpecError: the loss of a batch is not the mean over its samples, or its values are not theirs.

    Example:
        >>> x, y = torch.tensor([1.0, 3.0]), torch.zeros(2)
        >>> loss_each(torch.nn.functional.mse_loss, x, y, 2).tolist()
        [1.0, 9.0]
    """
    value = loss(outputs, targets)
    mean = loss_mean(loss, value, size, told=True)
    if isinstance(value, Weighted):
        return _even(f"loss {name_of(loss)}", value, size)
    if value.dim():
        return by_sample(f"loss {name_of(loss)}", value, size).mean(dim=1)

    def alone(*row: Any) -> Any:
        return loss(*map_tensors(lambda t: t.unsqueeze(0), row))

    try:
        each: Tensor = torch.vmap(alone)(outputs, targets).double()
    except (RuntimeError, ValueError):  # an operation that cannot be vectorised over samples
        rows = [map_tensors(operator.itemgetter(i), (outputs, targets)) for i in range(size)]
        each = torch.stack([alone(*row) for row in rows]).double()
    by_sample(f"loss {name_of(loss)}", each, size)
    rounded = 4 * torch.finfo(value.dtype).eps  # in a short format the mean of a batch has few digits
    if not torch.isclose(each.mean(), mean.double(), rtol=max(1e-4, rounded), atol=1e-7, equal_nan=True):
        raise SpecError(
            f"loss {name_of(loss)} of a batch ({float(mean):.6g}) is not the mean over its samples "
            f"({float(each.mean()):.6g}), so single samples have no loss; "
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


def by_sample(what: str, values: Tensor, size: int, *, flat: bool = False) -> Tensor:
    """Values in the rows of the samples that they belong to, float64 [N, ...].

    Args:
        what: whose values.
        values: those of a batch, the samples first.
        size: the number of samples N.
        flat: whether those of the first sample may be followed by those of the second, all along one dimension.

    Returns:
        The values.

    Raises:
        SpecError: it is not known which belong to which sample.

    Example:
        >>> by_sample("loss", torch.arange(4.0), 2, flat=True).tolist()
        [[0.0, 1.0], [2.0, 3.0]]
    """
    if len(values) != size and not (flat and values.dim() == 1 and len(values) % size == 0):
        raise SpecError(
            f"{what} of {number_of(size, 'sample')} has values of shape {tuple(values.shape)}, so it is not known "
            "which belongs to which; use a loss with one value for each sample, or do without the losses of single ones"
        )
    return values.double().reshape(size, -1)


def _even(what: str, value: Weighted, size: int) -> Tensor:
    """Each sample's own mean, float64 [N], if all samples weigh the same."""
    weights = by_sample(what, value.weights, size, flat=True)
    totals = weights.sum(dim=1)
    if not bool((totals == totals[0]).all()):
        raise SpecError(
            f"{what} is a mean over {value.unit}s, and the samples have different numbers of them, so a subset of the "
            "samples cannot stand for all; pack the data into blocks of one length, or use all samples"
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
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else described_type(value)
        raise SpecError(
            f"metric {name!r} returned {got} for {number_of(size, 'sample')}; "
            f"expected shape ({size},): one value for each sample, "
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


@dataclass(frozen=True, kw_only=True)
class ByTarget:
    """A mean of torch's own that is weighted by target: by class, and without the targets that are ignored.

    Attributes:
        classes: weight of each class; None if all weigh the same.
        ignored: a target that counts for nothing.
    """

    classes: Tensor | None
    ignored: int

    __repr__ = one_line

    @property
    def unit(self) -> str:
        """What the mean is over."""
        return "target" if self.classes is None else "class-weighted target"

    def leaves_out(self, targets: Any) -> bool:
        """Whether some of a batch's targets count for nothing."""
        return _numbers(targets) and bool((targets == self.ignored).any())

    def weight(self, targets: Any) -> Tensor | None:
        """The weight of a batch, float64; None if its targets are not class numbers."""
        if not _numbers(targets):
            return None
        exact = torch.float32 if targets.device.type == "mps" else torch.float64  # Apple's GPU has no doubles
        counted: Tensor = targets != self.ignored
        if self.classes is None:
            return counted.sum().to(exact)
        each = self.classes.to(targets.device, exact)[torch.where(counted, targets, 0)]
        total: Tensor = torch.where(counted, each, 0.0).sum()
        return total


def _numbers(targets: Any) -> bool:
    return isinstance(targets, Tensor) and not targets.is_floating_point() and targets.dim() > 0


def by_target(loss: Any, reduced: str = "mean") -> ByTarget | None:
    """How a cross entropy or a negative log-likelihood of torch weighs its targets.

    Args:
        loss: any loss.
        reduced: the reduction that it must have.

    Returns:
        The weights; None for any other loss, and for one of another reduction.

    Example:
        >>> weights = torch.tensor([1.0, 3.0])
        >>> by_target(nn.CrossEntropyLoss(weight=weights)).weight(torch.tensor([0, 1, 1, -100]))
        tensor(7., dtype=torch.float64)
    """
    told: dict[str, Any] = {}
    while isinstance(loss, functools.partial) and not loss.args:
        told = {**loss.keywords, **told}
        loss = loss.func
    if isinstance(loss, nn.Module) and type(loss).forward in (nn.CrossEntropyLoss.forward, nn.NLLLoss.forward):
        told = {name: getattr(loss, name) for name in ("weight", "ignore_index", "reduction")}
    elif loss not in (F.cross_entropy, F.nll_loss):
        return None
    if told.get("reduction", "mean") != reduced or {"reduce", "size_average"} & set(told):
        return None
    return ByTarget(classes=told.get("weight"), ignored=told.get("ignore_index", -100))
