"""Does a training run that begins in a folder continue the path already there, or is it another one?

A path may only be continued from where it ended. The weights tell: a resumed training is within a few steps of the last
checkpoint; one that was restarted is where the path began, or somewhere else altogether.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lossatlas.errors import RunMismatchError
from lossatlas.figure.words import percent
from lossatlas.oneline import number_of
from lossatlas.paths import streams

__all__ = ["check", "steps_in_words"]

REACH = 3.0
"""A training that continues is at most this many of the path's longest steps from where the path ended."""

ALIKE = 0.1
"""If the path has only one checkpoint, at most this share of its norm."""

ROUNDED = 2.0**-8
"""A weight rounded to bfloat16 may differ by this share."""


def check(
    folder: Path, entries: Sequence[Mapping[str, Any]], here: Mapping[str, Tensor], *, epoch: float | None
) -> None:
    """Check that a network is where a recorded path ended.

    Args:
        folder: of the path.
        entries: the checkpoints that stay, one at least.
        here: the parameters of the network.
        epoch: of the training, if given.

    Raises:
        RunMismatchError: it is not; the message says how to start over, and how to continue anyway.
    """
    last = entries[-1]
    if epoch is not None and last["epoch"] is not None and epoch < last["epoch"]:
        _refuse(folder, entries, f"this training is at epoch {epoch:g}, but the path ended at epoch {last['epoch']:g}")
    sources = [streams.Stored(folder / entry["file"]) for entry in entries]
    steps = [_distance(a, b, list(here)) for a, b in itertools.pairwise(sources[-9:])]
    size = math.sqrt(math.fsum(float(t.double().square().sum()) for t in here.values()))
    rounding = ROUNDED * size if any(t.dtype == torch.bfloat16 for t in _sample(sources[-1], here)) else 0.0
    held = streams.Held(here)
    away = _distance(held, sources[-1], list(here))
    if len(entries) == 1:
        if not away <= ALIKE * size + rounding:
            _refuse(folder, entries, f"the weights are {percent(away / size)} of their norm from its only checkpoint")
        return
    longest = max(*steps, _distance(sources[0], sources[1], list(here)))
    if longest == 0:
        return  # a path that never moved says nothing
    if not away <= REACH * longest + rounding:  # even if one of them is not a number
        _refuse(
            folder, entries,
            f"the weights are {away:.3g} from where the path ended, {away / longest:.0f} times its longest step",
        )  # fmt: skip
    if _distance(held, sources[0], list(here)) < 0.5 * away - rounding:
        _refuse(folder, entries, "the weights are where the path began, not where it ended")


def steps_in_words(first: int, last: int) -> str:
    """Which steps checkpoints are of.

    Returns:
        The words.

    Example:
        >>> steps_in_words(3, 3), steps_in_words(0, 7)
        ('step 3', 'steps 0 to 7')
    """
    return f"step {first}" if first == last else f"steps {first} to {last}"


def _refuse(folder: Path, entries: Sequence[Mapping[str, Any]], why: str) -> None:
    first, last = entries[0]["step"], entries[-1]["step"]
    raise RunMismatchError(
        f"{folder} holds the path of another training ({number_of(len(entries), 'checkpoint')}, "
        f"{steps_in_words(first, last)}): {why}. Two training runs are not one path. Recorder(folder, overwrite=True) "
        "replaces it; Recorder(folder, resume=True) continues it anyway; or choose another folder"
    )


def _distance(a: streams.Source, b: streams.Source, names: Sequence[str]) -> float:
    """The distance of two checkpoints over some tensors."""
    shapes = {name: a.shapes[name] for name in names if name in a.shapes and name in b.shapes}
    squares = [float((block[0] - block[1]).square().sum()) for *_, block in streams.blocks([a, b], shapes)]
    return math.sqrt(math.fsum(squares))


def _sample(source: streams.Source, names: Mapping[str, Tensor]) -> list[Tensor]:
    return [source.part(name, 0, min(1, math.prod(source.shapes[name]))) for name in names if name in source.shapes]
