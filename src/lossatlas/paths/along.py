"""What is known at every point of a path? Its time, learning rate, losses, distance from the plane, noted numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from lossatlas.figure.losses import NETWORK, SURFACE, TRAINING, drops

__all__ = ["Known", "along", "falls"]

_NOTES = 8


class Known(Protocol):
    """What is known about a checkpoint, see :class:`lossatlas.paths.findings.Checkpoint`."""

    @property
    def step(self) -> int:
        """Of the training."""
        ...

    @property
    def epoch(self) -> float | None:
        """Of the training."""
        ...

    @property
    def loss(self) -> float | None:
        """As it was recorded."""
        ...

    @property
    def lr(self) -> float | None:
        """Learning rate."""
        ...

    @property
    def notes(self) -> Mapping[str, Any] | None:
        """Whatever else was recorded."""
        ...


def along(
    checkpoints: Sequence[Known],
    residual: np.ndarray,
    own: np.ndarray | None = None,
    surface: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """What is known at every point of a path, by what it is called; what is known nowhere is left out.

    Args:
        checkpoints: n of them.
        residual: float64 [n], distance from the plane.
        own: float64 [n], loss of the network.
        surface: float64 [n], loss of the surface at the nearest point.

    Returns:
        float64 [n] each, NaN where a number is unknown.

    Example:
        >>> from lossatlas.paths.findings import Checkpoint
        >>> along([Checkpoint(step=3, loss=0.5)], np.array([0.1]))
        {'step': array([3.]), 'loss in training': array([0.5]), 'distance from the plane': array([0.1])}
    """
    rows: dict[str, Any] = {
        "step": [one.step for one in checkpoints],
        "epoch": [one.epoch for one in checkpoints],
        "learning rate": [one.lr for one in checkpoints],
        TRAINING: [one.loss for one in checkpoints],
        NETWORK: own,
        SURFACE: surface,
        "distance from the plane": residual,
        **_noted(checkpoints),
    }
    found = {name: np.array([_float(one) for one in row]) for name, row in rows.items() if row is not None}
    return {name: row for name, row in found.items() if np.isfinite(row).any()}


def falls(checkpoints: Sequence[Known]) -> list[tuple[int, str]]:
    """Where the learning rate fell to half or less.

    Returns:
        The index of the first checkpoint after each fall, and its words.

    Example:
        >>> from lossatlas.paths.findings import Checkpoint
        >>> falls([Checkpoint(step=i, lr=lr) for i, lr in enumerate((0.1, 0.1, 0.01))])
        [(2, 'lr ÷ 10')]
    """
    return drops([math.nan if one.lr is None else one.lr for one in checkpoints])


def _float(number: Any) -> float:
    """A number from a user's file: an integer that no float can hold becomes infinite."""
    try:
        return math.nan if number is None else float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _noted(checkpoints: Sequence[Known]) -> dict[str, list[Any]]:
    """What else was recorded as a number, such as a test error."""
    notes = [one.notes or {} for one in checkpoints]
    names = [name for name in dict.fromkeys(name for one in notes for name in one) if _number(notes, name)]
    return {name: [one.get(name) for one in notes] for name in names[:_NOTES]}


def _number(notes: Sequence[Mapping[str, Any]], name: str) -> bool:
    values = [one[name] for one in notes if name in one]
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
