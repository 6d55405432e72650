"""Which pieces of a loss have no second derivative? The kinks that exact derivatives do not see."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from lossatlas.objective import Objective, calling
from lossatlas.objective.reentrant import differentiated
from lossatlas.objective.refusal import asked

__all__ = ["Stepped", "kinks", "kinks_behind", "operations", "surrogates_behind"]

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


_CALLS = {
    "round": "rounding",
    "floor": "rounding",
    "ceil": "rounding",
    "trunc": "rounding",
    "fix": "rounding",
    "int": "rounding",
    "long": "rounding",
    "sign": "sign",
    "sgn": "sign",
    "heaviside": "sign",
    "argmax": "a choice by argmax",
    "argmin": "a choice by argmin",
    "bucketize": "rounding",
    "searchsorted": "rounding",
}
"""Functions and methods of torch that have steps, by their names."""


_JOINED = {
    *("add", "radd", "iadd", "sub", "rsub", "isub", "subtract", "lerp"),
    *("matmul", "rmatmul", "mm", "bmm", "addmm", "linear", "bilinear", "einsum", "conv1d", "conv2d", "conv3d"),
}
"""Functions and methods in which a step of one argument is a step of the result. A product of single numbers is none:
``x * (x > 0)`` is a ReLU."""


_SHAPE = {"type_as", "to", "view_as", "reshape_as", "expand_as"}
"""Methods that take no values from their other arguments; nor do those of ``_like``, from any."""


class Stepped(TorchFunctionMode):
    """Notes what has steps among the functions of torch that get something which depends on the weights.

    ``x + (x.round() - x).detach()`` has the derivative of ``x``, and the rounding is not in the graph. A comparison has
    steps as well, but it may only choose a piece, so what it gives is followed to where it is added to something.

    Attributes:
        found: what was called, in words.
        spacing: the largest spacing of numbers around 1, of the formats in which something came out.

    Example:
        >>> import torch
        >>> weight = torch.ones(2, requires_grad=True)
        >>> with Stepped() as stepped:
        ...     _ = weight + (weight.round() - weight).detach(), torch.ones(2).argmax()
        >>> stepped.found
        {'rounding'}
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.spacing = 0.0
        self._cut: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # depends on the weights, without a history
        self._compared: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # such that depend through comparisons only

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Look at a call, and make it."""
        result = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "").strip("_")
        given = [one for one in args[: 1 if name in _SHAPE else None] if self._depends(one)]
        if given and not name.endswith("_like"):
            self._note(name, given, result)
        return result

    def _depends(self, one: Any) -> bool:
        """Whether it is a tensor that depends on the weights."""
        return isinstance(one, Tensor) and (one.requires_grad or one in self._cut)

    def _note(self, name: str, given: list[Tensor], result: Any) -> None:
        """Note what has steps, and what the result depends on."""
        word = _CALLS.get(name)
        if word is not None and any(one.is_floating_point() for one in given):
            self.found.add(word)
        compared = [one in self._compared for one in given]
        if name in _JOINED and any(compared) and not all(compared):
            self.found.add("a comparison")
        for made in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(made, Tensor) and (made.is_floating_point() or made.is_complex()):
                self.spacing = max(self.spacing, torch.finfo(made.dtype).eps)
            if isinstance(made, Tensor) and not made.requires_grad:
                self._cut[made] = True
                if made.dtype == torch.bool or all(compared):
                    self._compared[made] = True


def surrogates_behind(loss: Tensor) -> tuple[str, ...]:
    """What has steps, or a derivative written by hand, in the graph of a loss.

    A straight-through estimator that is written with ``detach`` leaves no trace in the graph; :class:`Stepped` sees it.

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
