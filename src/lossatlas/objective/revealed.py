r"""Which weights has a loss whose weighted mean is written by hand? Its own values reveal them.

``loss = lambda outputs, targets: (w[targets] * each(outputs, targets)).sum() / w[targets].sum()`` leaves no weighted
mean of torch's own in its graph. But with :math:`L_a` and :math:`L_b` its values on two parts of a batch, its value on
both together is :math:`U = (w_a L_a + w_b L_b) / (w_a + w_b)`, so

.. math:: \frac{w_a}{w_b} = \frac{U - L_b}{L_a - U},

and parts that hold one class each reveal the weight of every class. A class that counts for nothing (``each[targets !=
-1].mean()``) has :math:`U = L_b`. The model is not called: existing rows of outputs serve for every class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from lossatlas.objective.reduction import ByTarget, Measure

__all__ = ["MANY", "by_class"]

MANY = 1000
"""With more classes than this, their weights are not determined."""

ROWS = 8
"""Outputs, and as many made ones of their kind, from which two are chosen whose losses differ."""

TIMES = 8
"""A part repeats its row, so that a divisor that is bounded below (``clamp(min=1)``) is its weight."""

SAME = 1e-6
"""Relative difference up to which weights count as equal."""

CLOSE = 1e-3
"""Relative difference between the losses of two parts below which they are uninformative."""


def by_class(loss: Measure, outputs: Tensor, targets: Tensor, classes: Iterable[int]) -> ByTarget | None:
    """The weight of every class in a loss that is a weighted mean.

    Whether it is one is not checked: the caller must verify that with these weights the losses of parts of real batches
    add up.

    Args:
        loss: gives one number for a batch.
        outputs: of one batch, floating point, samples first.
        targets: of it, class numbers, samples first.
        classes: those of all data.

    Returns:
        The weights, relative to one of them; None if all are equal, if they cannot be determined, or if a class below 0
        has a weight.

    Raises:
        Exception: whatever the loss raises.

    Example:
        >>> w = torch.tensor([1.0, 3.0])
        >>> def loss(outputs, targets):
        ...     return (w[targets] * (outputs - targets).square()).sum() / w[targets].sum()
        >>> found = by_class(loss, torch.tensor([0.2, 0.7, 1.5]), torch.tensor([0, 1, 1]), [0, 1])
        >>> [round(weight, 9) for weight in found.classes.tolist()]
        [1.0, 3.0]
    """
    asked = _Asked(loss, _wide(loss, outputs, targets), targets)
    alone = {number: asked(0, number) for number in sorted(classes)}
    base = next((number for number, value in alone.items() if math.isfinite(value) and value != 0), None)
    if base is None or len(alone) < 2:
        return None
    others = [asked(row, base) for row in range(len(asked.outputs))]
    weights = {number: _weight(asked, value, base, others, number) for number, value in alone.items()}
    if any(weight is None or not weight >= 0 for weight in weights.values()):
        return None
    return _made({number: float(weight or 0.0) for number, weight in weights.items()})


class _Asked:
    """The loss of parts that hold one row of outputs and one class.

    Attributes:
        outputs: the given rows, and as many made ones.
    """

    def __init__(self, loss: Measure, outputs: Tensor, targets: Tensor) -> None:
        self._loss, self._target = loss, targets[:1]
        self.outputs = torch.cat([outputs[:ROWS], _more(outputs)])  # an untrained network may answer alike

    def __call__(self, *parts: int) -> float:
        """The loss of parts together, each a row and a class."""
        rows, classes = parts[::2], parts[1::2]
        outputs = [self.outputs[row : row + 1] for row in rows for _ in range(TIMES)]
        targets = [torch.full_like(self._target, number) for number in classes for _ in range(TIMES)]
        return float(self._loss(torch.cat(outputs), torch.cat(targets)))  # type: ignore[arg-type]


def _more(outputs: Tensor) -> Tensor:
    """Rows like the given ones with noise; where these may be probabilities, or their logarithms, so are the others.

    A loss may be undefined elsewhere, and a GPU does not forgive the cross-entropy of what is no probability.

    Returns:
        As many rows as the first of the given ones, up to ROWS.
    """
    rows = outputs[:ROWS]
    noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(outputs)
    many = outputs.dim() > 1 and outputs.shape[1] > 1
    if bool(((outputs >= 0) & (outputs <= 1)).all()):
        whole = many and torch.allclose(outputs.sum(1), torch.ones_like(outputs.sum(1)), atol=1e-3)
        return noise.softmax(1) if whole else noise.sigmoid()
    if bool((outputs <= 0).all()):
        return noise.log_softmax(1) if many else -noise.abs()
    return rows + noise


def _weight(asked: _Asked, alone: float, base: int, others: list[float], number: int) -> float | None:
    """The weight of a class as a share of that of another; None if it cannot be determined."""
    if not math.isfinite(alone):  # a mean of nothing
        together = asked(0, number, 0, base)
        return 0.0 if abs(together - others[0]) <= SAME * abs(together) else None
    finite = [each for each, value in enumerate(others) if math.isfinite(value)]
    row = max(finite, key=lambda each: abs(others[each] - alone))
    other = others[row]
    if not abs(alone - other) > CLOSE * max(abs(alone), abs(other)):
        return None
    together = asked(0, number, row, base)
    return (together - other) / (alone - together) if together != alone else None


def _made(weights: dict[int, float]) -> ByTarget | None:
    none = [number for number, weight in weights.items() if weight <= SAME]
    counted = {number: weight for number, weight in weights.items() if weight > SAME}
    ignored = none[0] if none else -100
    if not counted or min([*counted, *none[1:]]) < 0:
        return None
    even = max(counted.values()) - min(counted.values()) <= SAME * max(counted.values())
    if even and len(none) < 2:
        return ByTarget(classes=None, ignored=ignored) if none else None
    table = torch.zeros(max(weights) + 1, dtype=torch.float64)
    for number, weight in counted.items():
        table[number] = weight
    return ByTarget(classes=table, ignored=ignored)


def _wide(loss: Measure, outputs: Tensor, targets: Tensor) -> Tensor:
    """The outputs in double precision, if device and loss accept that."""
    if outputs.device.type == "mps":
        return outputs
    try:
        loss(outputs.double(), targets)
    except Exception:  # a user's loss with weights in a format of its own
        return outputs
    return outputs.double()
