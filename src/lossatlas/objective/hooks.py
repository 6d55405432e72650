"""Does the model itself translate the names of an older file? Asked on a copy, as `load_state_dict` would ask it.

Modules may have hooks that rename what they are given: torch's own for files from before ``parametrizations``, or a
user's for an older version of his network. The file's code is never run; the model's is.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lossatlas.objective.contents import Contents, contents_of
from lossatlas.objective.hub import Translated
from lossatlas.objective.matching import Match, places

__all__ = ["translated"]


def translated(model: nn.Module, contents: Contents, matched: Match) -> Translated | None:
    """The tensors of a file as the model's own hooks name them.

    Args:
        model: which may have such hooks; it is not changed.
        contents: what the file holds.
        matched: what was found by comparing names.

    Returns:
        All of them; None if the model has no hooks, or if not every tensor was filled.
    """
    if not any(_renames(module) for module in model.modules()):
        return None
    for state in _states(contents, matched):
        with contextlib.suppress(Exception):  # a user's code, which may fail in any way at another network's file
            twin = copy.deepcopy(model)
            _empty(twin)
            twin.load_state_dict(dict(state), strict=True)
            found = places(twin)
            if not any(_unfilled(tensor) for tensor in found.values()):
                named = contents_of(dict(found), contents.source)
                return Translated(contents=dataclasses.replace(named, keys=contents.keys), by=type(model).__name__)
    return None


def _renames(module: nn.Module) -> bool:
    """Whether loading a module may rename: by a hook, or by a method that is not torch's."""
    own = [getattr(type(module), name) for name in ("_load_from_state_dict", "load_state_dict")]
    return bool(module._load_state_dict_pre_hooks) or any(not method.__module__.startswith("torch.") for method in own)


def _states(contents: Contents, matched: Match) -> Iterator[dict[str, Tensor]]:
    """What may be the model's state dict: the dictionary in which some names fit, or else each that there is."""
    for key, state in contents.by_key().items():
        if matched.found and key != matched.key:
            continue
        yield {name.removeprefix(matched.prefix): t for name, t in state.items() if name.startswith(matched.prefix)}


def _empty(model: nn.Module) -> None:
    """Mark all weights, so that those that were not filled are known."""
    with torch.no_grad():
        for tensor in places(model).values():
            if tensor.is_floating_point() or tensor.is_complex():
                tensor.fill_(torch.nan)


def _unfilled(tensor: Tensor) -> bool:
    weights = tensor.is_floating_point() or tensor.is_complex()
    return weights and bool(tensor.numel()) and bool(tensor.isnan().all())
