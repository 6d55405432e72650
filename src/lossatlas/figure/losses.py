"""The losses along a path, from what is known at each of its points: the same curves in a plot and beside a film."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from lossatlas.figure.plot import Mark, Panel, Series
from lossatlas.figure.words import number

__all__ = ["NETWORK", "SURFACE", "TRAINING", "clock", "drops", "losses", "when"]

TRAINING, NETWORK, SURFACE = "loss in training", "loss of the network", "loss of the surface"
"""What the losses are called among the numbers of a path, see :attr:`lossatlas.figure.overlays.Path.along`."""

_CURVES = (
    (TRAINING, "as recorded in training", "points", -1, False),
    (NETWORK, "the network itself", "both", 0, False),
    (SURFACE, "the surface below it", "both", 1, True),
)


def clock(along: Mapping[str, np.ndarray]) -> tuple[np.ndarray, str]:
    """The time at every point: in epochs where each point has a whole epoch of its own, otherwise in steps.

    Args:
        along: float64 [n] by what it is; at least one row.

    Returns:
        float64 [n] and its unit, "epoch", "step", or "point" where neither is known.

    Example:
        >>> clock({"epoch": np.array([0.0, 0.5]), "step": np.array([0.0, 4.0])})
        (array([0., 4.]), 'step')
    """
    epochs = along.get("epoch", np.array([math.nan]))
    if all(float(epoch).is_integer() for epoch in epochs) and len(np.unique(epochs)) == len(epochs):
        return epochs, "epoch"
    if "step" in along:
        return along["step"], "step"
    return np.arange(len(next(iter(along.values()))), dtype=np.float64), "point"


def when(along: Mapping[str, np.ndarray], index: int) -> str:
    """The time at one point, in words: its epoch, which may be a fraction, or else its step.

    Args:
        along: as for :func:`clock`.
        index: of the point.

    Returns:
        The words.

    Example:
        >>> when({"epoch": np.array([0.0, 0.5]), "step": np.array([0.0, 4.0])}, 1)
        'epoch 0.5'
    """
    epoch = along.get("epoch")
    if epoch is not None and np.isfinite(epoch[index]):
        return f"epoch {epoch[index]:.4g}"
    times, unit = clock({name: row for name, row in along.items() if name != "epoch"})
    return f"{unit} {times[index]:.15g}"


def drops(rates: Sequence[float]) -> list[tuple[int, str]]:
    """Where the learning rate fell to half or less.

    Args:
        rates: of n points, NaN where it is unknown.

    Returns:
        Index of the first point after each fall, and its words.

    Example:
        >>> drops([0.1, 0.1, 0.01])
        [(2, 'lr ÷ 10')]
    """
    pairs = enumerate(itertools.pairwise(rates), 1)
    return [(i, f"lr ÷ {number(a / b)}") for i, (a, b) in pairs if a and b and b <= a / 2]


def losses(along: Mapping[str, np.ndarray]) -> Panel:
    """The loss in training, of the networks and of the surface below them, as far as they are known.

    Args:
        along: float64 [n] by what it is, with one of the losses.

    Returns:
        The panel, with a mark where the learning rate falls.

    Raises:
        SpecError: none of the losses is there.

    Example:
        >>> panel = losses({"step": np.array([0.0, 4.0]), NETWORK: np.array([2.0, 0.5])})
        >>> panel.x_label, panel.y_scale, [one.label for one in panel.series]
        ('step', 'log', ['the network itself'])
    """
    x, unit = clock(along)
    series = [
        Series(x=x, y=along[name], label=label, style=style, color=color, dashed=dashed)  # type: ignore[arg-type]
        for name, label, style, color, dashed in _CURVES
        if name in along
    ]
    marks = [Mark(x=float(x[i]), label=text) for i, text in drops(along.get("learning rate", x[:0]).tolist())]
    positive = all(np.nanmin(one.y) > 0 for one in series)
    return Panel(series=series, x_label=unit, y_label="loss", y_scale="log" if positive else "linear", marks=marks)
