"""Does an evaluation draw random numbers? One that does not leaves the global generators alone.

torch has one generator for all threads, so a scan that seeds and restores it disturbs any thread that draws in the
meantime. Torch marks the operators that draw (the tag ``nondeterministic_seeded``), and only this thread is watched.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lossatlas.objective import calling, part

if TYPE_CHECKING:
    from lossatlas.objective.objective import Objective

__all__ = ["draws"]

FEW = 2
"""Number of samples that are tried."""


class _Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes whether an operator draws from a generator."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drawn = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled inside; to find that out, torch would load its compiler, which takes over a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in getattr(func, "tags", ()):
            self.drawn = True
        return func(*args, **(kwargs or {}))


def draws(objective: Objective) -> bool:
    """Whether model, loss or a metric draw random numbers, as seen in the first batch; torch's state stays as it was.

    Args:
        objective: what is evaluated.

    Returns:
        Whether they do, or might.
    """
    # A model that is moved in place is large, perhaps sharded over processes: it is not run once more just to be
    # watched.
    if objective.training or objective.tasks.names or objective.in_place:
        return True
    # A few samples show it. A model that refuses them, as it would any batch of another size, gets all of them.
    with _kept(objective.private):
        return _drawn(lambda: _once(objective, part.few(objective, FEW))) and _drawn(
            lambda: _once(objective, next(iter(objective.batches)))
        )


@contextlib.contextmanager
def _kept(model: nn.Module) -> Iterator[None]:
    """What modules set on themselves, such as a hidden state for as many rows as they saw, is put back.

    Yields:
        Nothing.
    """
    before = [(module, dict(vars(module))) for module in model.modules()]
    buffers = [(module, dict(module._buffers)) for module in model.modules()]
    try:
        yield
    finally:
        for module, held in before:
            vars(module).clear()
            vars(module).update(held)
        for module, held in buffers:
            module._buffers.clear()
            module._buffers.update(held)


def _once(objective: Objective, batch: Any) -> None:
    with objective.posed(), objective.grad_mode():
        outputs, targets = objective.forward(objective.private, batch)
        shown = calling.predictions(outputs)
        if objective.loss is not None:
            objective.loss(shown, targets)
        for name in objective.measured[1:]:
            objective.metrics[name](shown, targets)


def _drawn(evaluate: Callable[[], None]) -> bool:
    """Whether a computation draws; one that fails, or that draws from Python or NumPy, might."""
    own, numpy_own = random.getstate(), np.random.get_state(legacy=False)
    before = torch.get_rng_state()
    try:
        with _Watching() as watching:
            evaluate()
    except Exception:
        watching = _Watching()
        watching.drawn = True
    if watching.drawn:
        torch.set_rng_state(before)
    elsewhere = random.getstate() != own or repr(np.random.get_state(legacy=False)) != repr(numpy_own)
    if elsewhere:
        with contextlib.suppress(ValueError):
            random.setstate(own)
            np.random.set_state(numpy_own)
    return watching.drawn or elsewhere
