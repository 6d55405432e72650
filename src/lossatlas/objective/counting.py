"""How many samples are behind the mean of a batch? Its targets, its losses or the user say so.

The first dimension of the first tensor says nothing: it is the nodes of a graph, the channels of an image or the tokens
of a packed text. Each part of a batch leaves some numbers possible; the number on which all parts agree is the answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from lossatlas.errors import SpecError
from lossatlas.objective.containers import attributes, tensors_of

__all__ = ["Size", "checked", "count", "given", "rows"]

Size = int | Callable[[Any], int]
"""``size=``: the samples in every batch, or a function of a batch that gives their number."""

_ADVICE = "pass size= (a number, or a function of the batch that gives it), or a loss with one value for each sample"


def checked(size: Size | None) -> Size | None:
    """A size that the user gave.

    Returns:
        The size, as it was given.

    Raises:
        SpecError: neither a positive whole number nor a callable.
    """
    if size is None or callable(size) or (_whole(size) and size > 0):
        return size
    raise SpecError(f"size={size!r}; expected the number of samples in a batch, or a function of the batch")


def given(size: Size, batch: Any) -> int:
    """The number of samples that the user gives for a batch.

    Returns:
        The number.

    Raises:
        SpecError: the function did not give a positive whole number.
    """
    number: Any = size(batch) if callable(size) else size
    if isinstance(number, (Tensor, np.generic)) and number.ndim == 0:
        number = number.item()
    if not _whole(number) or number < 0:
        raise SpecError(f"size= gave {number!r} for a batch; expected a whole number of samples")
    return int(number)


def count(batch: Any, outputs: Any, targets: Any) -> int:
    """The number of samples of a batch: of its targets or, if there are none, of all that is in it.

    Args:
        batch: as it comes from the data.
        outputs: of the model.
        targets: what the outputs are compared with; None if there is nothing.

    Returns:
        The number.

    Raises:
        SpecError: the number cannot be read.

    Example:
        >>> import torch
        >>> nodes, graphs = torch.zeros(10, 3), torch.zeros(4)
        >>> count({"x": nodes, "y": graphs}, graphs, graphs)
        4
    """
    if isinstance(targets, Tensor) and targets.ndim:
        return len(targets)
    if isinstance(targets, PackedSequence):
        return int(targets.data.shape[0])
    if isinstance(targets, Tensor) and any(targets is tensor for tensor in tensors_of(batch)):
        return 1  # a sample without a batch dimension
    said, whole = rows(targets), _whole_batch(batch)
    said = whole if said is None else said
    for more in (rows(outputs), whole):
        if said is not None and len(said) != 1 and more is not None and said & more:
            said = said & more
    if said is None or len(said) != 1:
        why = "nothing in it has a first dimension" if said is None else _doubt(said)
        raise SpecError(
            f"data: how many samples a batch of type {type(batch).__name__} holds cannot be read: {why}; {_ADVICE}"
        )
    return next(iter(said))


def _whole_batch(batch: Any) -> set[int] | None:
    """For a batch that is a list, its parts come first: a DataLoader turns a tuple into a list."""
    found = rows(tuple(batch)) if isinstance(batch, list) else rows(batch)
    return rows(batch) if isinstance(batch, list) and not found else found


def _doubt(said: set[Any]) -> str:
    numbers = " or ".join(str(number) for number in sorted(said))
    return f"it may be {numbers}" if numbers else "its tensors differ in their first dimension"


def rows(part: Any) -> set[int] | None:
    """The numbers of samples that a part of a batch leaves possible.

    Returns:
        The numbers; None if it says nothing.

    Example:
        >>> import torch
        >>> images = [torch.zeros(3, 8, 8), torch.zeros(3, 8, 9)]
        >>> rows(images), rows(torch.zeros(4, 2)), rows("text")
        ({2, 3}, {4}, None)
    """
    return _rows(part, 0)


def _rows(part: Any, depth: int) -> set[int] | None:
    if isinstance(part, (Tensor, np.ndarray)):
        return {len(part)} if part.ndim else None
    if isinstance(part, PackedSequence):
        return {int(part.data.shape[0]), int(part.batch_sizes[0])}
    if isinstance(part, Mapping):
        return _common([_rows(value, depth + 1) for value in part.values()])
    if isinstance(part, tuple):
        return _common([_rows(value, depth + 1) for value in part])
    if isinstance(part, list):
        if any(isinstance(value, Mapping) for value in part):
            return {len(part)}  # boxes and labels of each image: collating gives a mapping of lists instead
        inner = _common([_rows(value, depth + 1) for value in part])
        return ({len(part)} | (inner or set())) if part else None
    if depth > 4 or part is None or isinstance(part, (str, bytes, int, float, complex)) or callable(part):
        return None
    return _common([_rows(value, depth + 1) for _, value in attributes(part)])


def _common(found: list[set[int] | None]) -> set[int] | None:
    told = [numbers for numbers in found if numbers is not None]
    return set.intersection(*told) if told else None


def _whole(number: Any) -> bool:
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return False
    return math.isfinite(number) and number % 1 == 0
