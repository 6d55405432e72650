"""May several threads call this function at once: does it write to something that they would share?"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from lossatlas.objective.code import codes_of, of_library, read_by

__all__ = ["shared_by"]

_WRITES = ("STORE_GLOBAL", "STORE_DEREF", "STORE_ATTR", "STORE_SUBSCR", "DELETE_GLOBAL", "DELETE_ATTR", "DELETE_SUBSCR")
_FIXED = (int, float, complex, str, bytes, type(None), torch.Tensor, torch.dtype, torch.device, types.ModuleType, type)
_DEEPEST = 8


def shared_by(function: Any) -> str:
    """What copies of a function would share although one of them may write to it; empty if nothing is found.

    An object or a module is copied with what it holds, but a function is not: what it keeps in its closure or its
    module exists only once. So a user's function must be simple to be called by several threads at once: it only reads
    numbers, tensors and functions, does not write to its closure, module, attributes or entries, and calls no method
    whose name ends in an underscore, which is how torch writes in place. Installed libraries are trusted.

    Args:
        function: any callable: a loss, a metric, or a module for its ``forward``.

    Returns:
        What is shared, in words.

    Example:
        >>> __name__ = "losses"  # as in a file of the user's
        >>> kept = []
        >>> shared_by(lambda outputs, targets: kept.append(outputs)), shared_by(torch.nn.functional.mse_loss)
        ("'kept' of <lambda>", '')
    """
    return next(_shared(function, 0), "")


def _shared(part: Any, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        yield "what lies deep inside"
    elif isinstance(part, functools.partial):
        for inner in (part.func, *part.args, *part.keywords.values()):
            yield from _shared(inner, depth + 1)
    elif isinstance(part, types.MethodType):
        yield from _function(part.__func__, depth, own=True)
    elif isinstance(part, types.FunctionType):
        yield from _function(part, depth, own=False)
    elif isinstance(part, nn.Module):
        yield from _module(part, depth)
    elif not of_library(part) and callable(part) and not isinstance(part, type):
        yield from _function(type(part).__call__, depth, own=True)


def _module(model: nn.Module, depth: int) -> Iterator[str]:
    """What the forward methods of a model share, and the functions that its layers hold."""
    for kind in {type(module) for module in model.modules()}:
        if not of_library(kind):
            yield from _function(kind.forward, depth, own=True)
    for module in model.modules():
        for held in vars(module).values():
            if isinstance(held, (types.FunctionType, functools.partial)):
                yield from _shared(held, depth + 1)


def _function(function: Any, depth: int, *, own: bool) -> Iterator[str]:
    """What a function shares. A method (own) writes to its own object, which is copied."""
    if not isinstance(function, types.FunctionType) or of_library(function):
        return
    name = function.__qualname__.rpartition(".")[2]
    for code in codes_of(function.__code__):
        for step in dis.get_instructions(code):
            if step.opname in _WRITES[: 2 if own else None]:
                yield f"what {name} writes to"
        if not own and any(word.endswith("_") and not word.startswith("_") for word in code.co_names):
            yield f"what {name} writes to in place"
    for word, value in read_by(function):
        if isinstance(value, (tuple, frozenset)):
            if not all(isinstance(one, _FIXED) for one in value):
                yield f"{word!r} of {name}"
        elif isinstance(value, Mapping) or not (isinstance(value, _FIXED) or callable(value)):
            yield f"{word!r} of {name}"
        elif callable(value) and not isinstance(value, (type, types.ModuleType)):
            if isinstance(value, nn.Module) and not of_library(type(value)):
                yield f"{word!r} of {name}"
            yield from _shared(value, depth + 1)
