"""How does a run of Weights & Biases get pictures and numbers, without its own steps being moved?

Every call of ``log`` there ends a row and counts a step on, and what is then logged to an earlier step is discarded. A
training that names its steps would thus lose its own losses because of our pictures. Our values therefore stay in the
open row, which the training's next ``log`` completes, and have an axis of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["STEP", "log_to_wandb"]

STEP = "lossatlas/step"
"""The axis of everything logged here: the step of the training, whatever the run counts."""


@dataclass
class _Left:
    """What was left in an open row of a run: its number, our step, and the names that already have their axis."""

    row: int | None = None
    step: int = -1
    named: set[str] = field(default_factory=set)


_left: WeakKeyDictionary[Any, _Left] = WeakKeyDictionary()


def log_to_wandb(run: Any, values: Mapping[str, Any], step: int) -> None:
    """Log some values at a step of the training.

    Args:
        run: of Weights & Biases.
        values: numbers or pictures, by name.
        step: of the training.
    """
    left = _left.setdefault(run, _Left())
    for name in sorted(values.keys() - left.named):
        if "*" not in name:  # which stands for other names there
            run.define_metric(name, step_metric=STEP)
        left.named.add(name)
    row = _open_row(run)
    if row is not None and row == left.row and step != left.step:  # the row of an earlier step was never completed
        run.log({}, commit=True)
        row = _open_row(run)
    run.log({**values, STEP: step}, commit=None if row is None else False)
    left.row, left.step = row, step


def _open_row(run: Any) -> int | None:
    """The number of the row that is open; none if several processes write one run, since they share no row."""
    try:
        return int(run.step)
    except Exception:  # the exception of a run in that mode has no public name
        return None
