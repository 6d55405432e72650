"""Is this the same network? If its weights are equal, it depends on what its own classes do in a forward pass."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from lossatlas.objective.code import code_of, codes_of, of_library

__all__ = ["code_of_model"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_UNTOLD = ("training",)
"""Attributes that an Objective sets itself."""


def code_of_model(model: nn.Module, called: Iterable[Any] = ()) -> dict[str, str]:
    r"""What the user's own classes in a model do when it is evaluated.

    From ``forward`` on, and from whatever the functions in ``called`` name, every method and property of the class that
    can be reached by its name counts, with what it reads from its module, and so do the plain attributes (numbers,
    text, and tuples and lists of them) read there. What is not reached, such as the optimiser or the training step of a
    Lightning module, may be edited. Classes of installed libraries are identified by the weights' fingerprint and the
    values at the centre.

    Args:
        model: the network.
        called: the functions that call it, such as ``forward=``.

    Returns:
        Hashes by the names of methods and attributes, as ``Net.forward``; empty without classes of the user's.

    Example:
        >>> users = {"__name__": "train", "nn": nn}  # a module of the user's
        >>> exec("class Twice(nn.Module):\n    def forward(self, x):\n        return 2 * x", users)
        >>> list(code_of_model(nn.Sequential(users["Twice"]())))
        ['Twice.forward']
    """
    begin = {"forward"} | {name for function in called for name in _names(function)}
    told: dict[str, str] = {}
    plain: dict[str, list[tuple[str, Any]]] = {}
    reached = {kind: _reached(kind, begin) for kind in dict.fromkeys(type(module) for module in model.modules())}
    for kind, names in reached.items():
        told |= {name: code for owner in _of_users(kind) for name, code in _methods(owner, names).items()}
    for path, module in model.named_modules():
        if (replaced := _function(vars(module).get("forward"))) is not None:
            told[f"{path or type(module).__qualname__}.forward"] = _hash(sorted(code_of(replaced).items()))
        if not of_library(type(module)):
            for name, value in _attributes(module, reached[type(module)]):
                plain.setdefault(f"{type(module).__qualname__}.{name}", []).append((path, value))
    return told | {name: _hash(values) for name, values in plain.items()}


def _of_users(kind: type) -> list[type]:
    return [one for one in kind.__mro__ if not of_library(one)]


def _reached(kind: type, begin: set[str]) -> set[str]:
    """All names that may be read from there on, through the methods of the user's classes."""
    reached: set[str] = set()
    waiting = set(begin)
    while waiting:
        name = waiting.pop()
        reached.add(name)
        for one in _of_users(kind):
            waiting |= set(_names(_function(vars(one).get(name)))) - reached
    return reached


def _methods(kind: type, reached: set[str]) -> dict[str, str]:
    """The code of each method of a class that a forward pass may reach."""
    found = {name: _function(vars(kind)[name]) for name in sorted(reached & vars(kind).keys())}
    return {
        f"{kind.__qualname__}.{name}": _hash(sorted(code_of(function).items()))
        for name, function in found.items()
        if function is not None
    }


def _function(attribute: Any) -> types.FunctionType | None:
    """The function of a method, of a property or of either kind of method of a class."""
    for inner in ("fget", "func", "__func__", "__wrapped__"):
        attribute = getattr(attribute, inner, attribute)
    return attribute if isinstance(attribute, types.FunctionType) else None


def _names(function: Any) -> Iterator[str]:
    if isinstance(function, types.FunctionType) and not of_library(function):
        for code in codes_of(function.__code__):
            yield from code.co_names


def _attributes(module: nn.Module, reached: set[str]) -> Iterator[tuple[str, Any]]:
    """The plain values that a forward pass may read from a module."""
    for name, value in sorted(vars(module).items()):
        if name in reached and name not in _UNTOLD and _is_plain(value):
            yield name, value


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, (tuple, list)) and all(_is_plain(one) for one in value))


def _hash(value: Any) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=8).hexdigest()
