"""Which pieces of a loss have no second derivative? The kinks that exact derivatives do not see."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from lossatlas.objective import Objective, calling
from lossatlas.objective.reentrant import differentiated
from lossatlas.objective.refusal import asked

__all__ = ["kinks", "kinks_behind", "operations", "surrogates_behind"]

_KINKS = {
    "Relu": "ReLU",
    "Threshold": "ReLU",
    "LeakyRelu": "leaky ReLU",
    "Prelu": "PReLU",
    "RreluWithNoise": "RReLU",
    "Hardtanh": "hardtanh",
    "Hardsigmoid": "hardsigmoid",
    "Hardswish": "hardswish",
    "Hardshrink": "hardshrink",
    "Softshrink": "softshrink",
    "Clamp": "clamp",
    "Abs": "absolute value",
    "SmoothL1Loss": "smooth L1 loss",
    "HuberLoss": "Huber loss",
    "MultiMargin": "margin loss",
    "MultilabelMargin": "margin loss",
    "MaxPool": "max pooling",
    "AdaptiveMaxPool": "max pooling",
    "FractionalMaxPool": "max pooling",
    "MaxBackward": "maximum",
    "MinBackward": "minimum",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Amax": "maximum",
    "Amin": "minimum",
    "Sort": "sorting",
    "Topk": "sorting",
}
"""Beginnings of the names of nodes in a graph of derivatives, and what they are called."""


_STEPS = {
    "Round": "rounding",
    "Floor": "rounding",
    "Ceil": "rounding",
    "Trunc": "rounding",
    "Sign": "sign",
    "FakeQuantize": "fake quantisation",
}
"""The same for what has steps: its derivative is zero between them, or a stand-in."""


def surrogates_behind(loss: Tensor) -> tuple[str, ...]:
    """What has steps, or a derivative written by hand, in the graph of a loss.

    A straight-through estimator that is written with ``detach`` leaves no trace in the graph and is not found.

    Returns:
        Words, each once, in alphabetical order.

    Example:
        >>> import torch
        >>> weight = torch.ones(2, requires_grad=True)
        >>> surrogates_behind(torch.round(weight).sum())
        ('rounding',)
    """
    found = set()
    for kind in _kinds([loss]):
        found |= {word for start, word in _STEPS.items() if kind.__name__.startswith(start)}
        author = getattr(kind, "_forward_cls", None)
        if author is not None and not author.__module__.startswith("lossatlas."):
            found.add(f"{author.__name__} (a derivative written by hand)")
    return tuple(sorted(found))


def kinks(objective: Objective) -> tuple[str, ...]:
    """The kinds of kinks between the parameters and the loss, read from the graph of one batch.

    At a kink the slope jumps. Second derivatives are taken off the kinks and miss what all of them together do to the
    surface: a network of only ReLU and linear layers has a piecewise linear output, yet its loss curves. Differences
    see both, see :func:`lossatlas.curvature.differences.curvature_along`.

    Args:
        objective: whose loss.

    Returns:
        Words, each once, in alphabetical order; empty for a smooth loss.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
        >>> kinks(Objective(net, (torch.ones(4, 2), torch.ones(4, 1)), torch.nn.functional.mse_loss))
        ('ReLU',)
    """
    model = copy.deepcopy(objective.private)
    for tensor in model.parameters():
        tensor.requires_grad_(tensor.is_floating_point())
    with asked(objective), objective.batches.seeded(0), differentiated():
        batch = next(iter(objective.batches))
        outputs, targets = objective.forward(model, batch)
        if objective.loss is None:
            loss = calling.own_loss(outputs)
        else:
            loss = objective.loss(calling.predictions(outputs), targets)
    return kinks_behind(loss)


def kinks_behind(loss: Tensor) -> tuple[str, ...]:
    """The same for a loss that has a graph."""
    names = operations([loss])
    return tuple(sorted({word for start, word in _KINKS.items() if any(name.startswith(start) for name in names)}))


def operations(tensors: Iterable[Tensor | None]) -> set[str]:
    """The names of all nodes in the graph behind some tensors, as torch calls them: ``"MulBackward0"``."""
    return {kind.__name__ for kind in _kinds(tensors)}


def _kinds(tensors: Iterable[Tensor | None]) -> set[type[Any]]:
    """The classes of all nodes in the graph behind some tensors."""
    found: set[type[Any]] = set()
    seen: set[Any] = set()
    pending: list[Any] = [tensor.grad_fn for tensor in tensors if tensor is not None]
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            found.add(type(node))
            pending += [parent for parent, _ in node.next_functions]
    return found
