"""Which examples, directions and ranges does a plane of inputs accept, and what is wrong with others?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, described_type
from lossatlas.objective import Objective
from lossatlas.objective.given import check_objective

__all__ = ["another", "by_axis", "by_batch", "check_asked", "checked_clamp", "numbers"]


def check_asked(objective: Objective) -> None:
    """Check that an objective can be evaluated on moving inputs.

    Raises:
        SpecError: it is evaluated in a way that does not allow that.
    """
    check_objective(objective)
    for wrong, why in {
        "training=True": objective.training,
        "in_place=True": objective.in_place,
        "batchnorm='recalibrated'": objective.batchnorm == "recalibrated",
        "tasks=": bool(objective.tasks.given),
    }.items():
        if why:
            raise SpecError(
                f"objective: {wrong} cannot be used with an InputPlane, whose network stays as it was trained while "
                "the inputs move; make the Objective without it"
            )


def numbers(examples: Any) -> tuple[int, ...] | None:
    """The numbers of the examples in increasing order; None for all.

    Returns:
        The numbers.

    Raises:
        SpecError: anything other than whole numbers from 0, each once.

    Example:
        >>> numbers([3, 0]), numbers(2), numbers(None)
        ((0, 3), (2,), None)
    """
    if examples is None:
        return None
    given = (examples,) if isinstance(examples, (int, np.integer)) else examples
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise SpecError(f"examples={examples!r}; expected a number of an example, several of them, or nothing for all")
    found = list(given)
    if not found or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0 for n in found):
        raise SpecError(f"examples={examples!r}; expected whole numbers counted from 0, such as [0, 3, 7]")
    if len(set(found)) < len(found):
        raise SpecError(f"examples={examples!r}: one is named twice; name each once")
    return tuple(sorted(int(number) for number in found))


def by_axis(what: str, given: Sequence[Any], axes: Sequence[str]) -> dict[str, Any]:
    """The inputs that the axes lead to, one for each axis in order.

    Returns:
        What is given, by the name of its axis.

    Raises:
        SpecError: none, or more than there are axes.

    Example:
        >>> by_axis("tokens", (17, 4), ("x", "y", "z"))
        {'x': 17, 'y': 4}
    """
    if not 1 <= len(given) <= len(axes):
        raise SpecError(f"{what}: {len(given)} for the axes {', '.join(axes)}; expected one, and at most one an axis")
    return dict(zip(axes, given, strict=False))


def another(other: Any) -> str:
    """What another input is called if no name is given.

    Returns:
        An example by its number.

    Raises:
        SpecError: it is neither a tensor nor a number.
    """
    if isinstance(other, Tensor):
        return "another input"
    if isinstance(other, bool) or not isinstance(other, (int, np.integer)):
        raise SpecError(
            f"others: {described_type(other)}; expected numbers of examples, such as 7, or tensors shaped like the "
            "inputs"
        )
    return f"example {other}"


def checked_clamp(clamp: Any, layer: str) -> tuple[float, float] | None:
    """The lowest and the highest valid entry of an input.

    Returns:
        Both, or None.

    Raises:
        SpecError: it is not such a pair, or a layer is moved, whose output has no valid range.
    """
    if clamp is None:
        return None
    if layer:
        raise SpecError(f"clamp={clamp!r} is for inputs; the output of layer={layer!r} has no valid range")
    try:
        low, high = (float(end) for end in clamp)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise SpecError(f"clamp={clamp!r}; expected the lowest and the highest valid entry, such as (0, 1)")
    return low, high


def by_batch(axis: str, way: Any, like: Sequence[Tensor]) -> dict[str, Tensor]:
    """A direction as a tensor for each batch, by its number.

    Args:
        axis: the name of the axis, for messages.
        way: as it was given.
        like: what is moved, a tensor for each batch.

    Returns:
        Tensors by the number of the batch, as text.

    Raises:
        SpecError: it has other shapes.
    """
    if isinstance(way, Tensor):
        rows = sum(len(tensor) for tensor in like)
        if way.dim() == 0 or len(way) != rows:
            raise SpecError(
                f"directions[{axis!r}] has shape {tuple(way.shape)}; expected one row for each of {rows} examples"
            )
        way = torch.split(way, [len(tensor) for tensor in like])
    if not isinstance(way, Sequence) or len(way) != len(like):
        raise SpecError(f"directions[{axis!r}]: expected a tensor [n, …], or a list of {len(like)}, one for each batch")
    for step, tensor in zip(way, like, strict=True):
        check_kind(f"directions[{axis!r}]", step, Tensor, "tensors")
        if step.shape != tensor.shape:
            raise SpecError(f"directions[{axis!r}] has shape {tuple(step.shape)}; the input has {tuple(tensor.shape)}")
    return {str(number): step.detach().to(tensor) for number, (step, tensor) in enumerate(zip(way, like, strict=True))}
