"""Derivatives are those of the loss, with respect to all weights, whatever a model does to its gradients in training.

Reentrant checkpoints, which would silently leave weights out, are refused; and an embedding whose gradients are scaled
by how often a row occurs gets those of the loss.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointFunction

from lossatlas.errors import SpecError

__all__ = ["differentiated"]

_lock = threading.Lock()
_inside = threading.local()
_open: list[int] = []
_put_back = contextlib.ExitStack()


@contextlib.contextmanager
def differentiated() -> Iterator[None]:
    """A stretch in which all gradients are recorded, on this thread.

    What runs below ``torch.utils.checkpoint.checkpoint(…, use_reentrant=True)`` is differentiated only if one of its
    inputs is: in a first block, whose input is the data, the weights silently get no gradient. And
    ``torch.autograd.grad`` does not work through it at all. ``scale_grad_by_freq=True`` of an embedding divides
    gradients by counts, so they belong to no function. Other threads are left alone.

    Yields:
        Nothing.

    Raises:
        SpecError: the model calls a reentrant checkpoint.

    Example:
        >>> from torch.utils.checkpoint import checkpoint
        >>> with differentiated():
        ...     checkpoint(torch.sin, torch.ones(1), use_reentrant=False).item() == torch.ones(1).sin().item()
        True
    """
    with _lock:
        _open.append(1)
        if len(_open) == 1:
            for owner, name, instead in _INSTEAD:
                _put_back.enter_context(_replaced(owner, name, instead))
    _inside.depth = getattr(_inside, "depth", 0) + 1
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        _inside.depth -= 1
        with _lock:
            _open.pop()
            if not _open:
                _put_back.close()


@contextlib.contextmanager
def _replaced(owner: Any, name: str, instead: Callable[..., Any]) -> Iterator[None]:
    """A function of torch that takes another route for threads that take derivatives."""
    own, there = vars(owner).get(name), getattr(owner, name)

    def either(*arguments: Any, **options: Any) -> Any:
        if getattr(_inside, "depth", 0):
            return instead(there, *arguments, **options)
        return there(*arguments, **options)

    setattr(owner, name, staticmethod(either) if isinstance(owner, type) else either)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def _refused(*_: Any, **__: Any) -> Any:
    raise SpecError(
        "the model calls torch.utils.checkpoint with use_reentrant=True, which silently loses derivatives; use "
        "use_reentrant=False, or switch checkpointing off for measuring"
    )


def _unscaled(there: Any, *arguments: Any, **options: Any) -> Any:
    """An embedding without ``scale_grad_by_freq``, its fourth argument."""
    options |= {"scale_grad_by_freq": False} if "scale_grad_by_freq" in options else {}
    return there(*arguments[:3], *(False for _ in arguments[3:4]), *arguments[4:], **options)


_INSTEAD = (
    (CheckpointFunction, "apply", _refused),
    (torch, "embedding", _unscaled),
    (torch, "embedding_bag", _unscaled),
)
