"""Where are the tensors of a batch, whatever holds them, and how are they exchanged without changing their container?

Containers keep their class: a named tuple, a ``BatchEncoding``, a dataclass, a graph. What holds no tensor passes
through as it is, and nothing of the user's is written to: what changes is a shallow copy.
"""

from __future__ import annotations

import collections
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

__all__ = ["DEPTH", "attributes", "map_tensors", "moved", "normal", "tensors_of"]

DEPTH = 8
"""How deeply the attributes of unknown objects are searched."""


def map_tensors(function: Callable[[Tensor], Any], batch: Any) -> Any:
    """Apply a function to every tensor of a batch; all else stays as it is, and containers keep their class.

    Tensors are found in mappings, tuples, lists, dataclasses and the attributes of any other object; arrays of numbers
    become tensors. In a packed sequence only the data are mapped.

    Args:
        function: maps a tensor to what replaces it.
        batch: any object.

    Returns:
        The batch with other tensors; itself if it holds none.

    Example:
        >>> map_tensors(lambda t: t.shape[0], {"x": torch.zeros(3, 2), "name": "a"})
        {'x': 3, 'name': 'a'}
    """
    return _mapped(function, batch, None, {}, 0)


def moved(batch: Any, device: torch.device) -> Any:
    """A batch on a device: by the ``.to`` of a container that offers one, and tensor by tensor otherwise.

    Returns:
        The batch there; itself if nothing had to move.

    Example:
        >>> moved((torch.zeros(2), "name"), torch.device("cpu"))
        (tensor([0., 0.]), 'name')
    """
    return _mapped(lambda tensor: normal(tensor.to(device, non_blocking=True)), batch, device, {}, 0)


def normal(tensor: Tensor) -> Tensor:
    """A tensor that can be differentiated: outside inference mode, a copy of one that was made within it.

    Returns:
        The tensor itself wherever it may be used as it is.

    Example:
        >>> with torch.inference_mode():
        ...     made = torch.ones(2) * 3
        >>> normal(made).is_inference(), normal(made).tolist()
        (False, [3.0, 3.0])
    """
    return tensor.clone() if tensor.is_inference() and not torch.is_inference_mode_enabled() else tensor


def tensors_of(batch: Any) -> list[Tensor]:
    """All tensors of a batch, in order."""
    found: list[Tensor] = []

    def seen(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(seen, batch)
    return found


def _mapped(
    function: Callable[[Tensor], Any], part: Any, device: torch.device | None, seen: dict[int, Any], depth: int
) -> Any:
    """One walk for both: with a device, containers that can move themselves do."""
    if isinstance(part, Tensor):
        return function(part)
    if isinstance(part, np.ndarray):
        return function(torch.from_numpy(part)) if part.dtype.kind in "biufc" else part
    if part is None or isinstance(part, (str, bytes, int, float, complex, type, nn.Module)) or callable(part):
        return part
    if device is not None and callable(getattr(type(part), "to", None)):
        there = copy.copy(part).to(device)
        part = part if there is None else there
        if not isinstance(part, Mapping):
            return part
    if isinstance(part, PackedSequence):
        return part._replace(data=function(part.data))

    def inner(value: Any) -> Any:
        return _mapped(function, value, device, seen, depth + 1)

    if isinstance(part, Mapping):
        return _as_mapping(part, {key: inner(value) for key, value in part.items()})
    if isinstance(part, tuple):
        values = [inner(value) for value in part]
        return part._make(values) if hasattr(part, "_make") else _like(part, values)
    if isinstance(part, (list, collections.deque)):
        return _like(part, [inner(value) for value in part])
    if id(part) not in seen and depth < DEPTH:
        seen[id(part)] = part  # an object that holds itself is searched only once
        seen[id(part)] = _as_object(part, {name: inner(value) for name, value in attributes(part)})
    return seen.get(id(part), part)


def attributes(part: Any) -> Iterator[tuple[str, Any]]:
    """What an object holds, by name: its own attributes and its slots.

    Yields:
        Name and value.

    Example:
        >>> from types import SimpleNamespace
        >>> list(attributes(SimpleNamespace(x=1)))
        [('x', 1)]
    """
    yield from list(getattr(part, "__dict__", {}).items())
    for kind in type(part).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(part, name):
                yield name, getattr(part, name)


def _as_mapping(part: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    if type(part) is dict or all(value is part[key] for key, value in values.items()):
        return values if type(part) is dict else part
    try:
        twin: Any = copy.copy(part)
        for key, value in values.items():
            twin[key] = value
    except (TypeError, AttributeError, RuntimeError, ValueError):  # read-only, or for tensors only
        return values
    return twin


def _like(part: Any, values: list[Any]) -> Any:
    """A sequence of the same class with other values."""
    if type(part) in (tuple, list):
        return type(part)(values)
    if all(new is old for new, old in zip(values, part, strict=True)):
        return part
    try:
        twin = type(part)(values)
    except TypeError:  # a class with arguments of its own
        if not isinstance(part, list):
            return tuple(values)
        twin = copy.copy(part)
        twin[:] = values
    return twin


def _as_object(part: Any, values: dict[str, Any]) -> Any:
    changed = {name: value for name, value in values.items() if value is not getattr(part, name, None)}
    if not changed:
        return part
    try:
        twin = copy.copy(part)
        for name, value in changed.items():
            object.__setattr__(twin, name, value)  # a frozen dataclass is one too
    except (TypeError, AttributeError):
        return part
    return twin
