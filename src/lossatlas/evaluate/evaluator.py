"""What was found at the points of a block? Their values, which of them failed, and why."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from lossatlas.evaluate.way import UnmeasuredError, Way
from lossatlas.results.landscape import Status

__all__ = ["FAULTS", "Answer", "Evaluator", "out_of_memory"]

FAULTS = (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError, MemoryError)
"""What a point may raise without ending the run."""

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "out_of_memory", "alloc_failed")
"""What torch's allocators say, in lower case: CUDA and cuBLAS, MPS, XPU, and that of the CPU."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was found at the points of a block, in their order.

    Attributes:
        values: float64 [n, number of values].
        status: int8 [n], see :class:`~lossatlas.results.landscape.Status`.
        notes: n texts: why a point failed, empty if it did not.
        seconds: the time it took, which is not part of what was found.
    """

    values: np.ndarray
    status: np.ndarray
    notes: tuple[str, ...]
    seconds: float = 0.0


class Evaluator:
    """Turns blocks of coordinates into answers, one way or another; a point that raises fails, and the others continue.

    Args:
        way: how points are evaluated.
        width: how many values there are at each point.
        decisive: which of them must be finite for a point to be ok; by default all. A number that is derived, such as a
            perplexity that overflows, does not invalidate the loss it is derived from.
    """

    def __init__(self, way: Way, width: int, decisive: Sequence[int] | None = None) -> None:
        self.way = way
        self._width = width
        self._decisive = list(range(width)) if decisive is None else list(decisive)

    def answer(self, coordinates: np.ndarray) -> Answer:
        """What is found at some points, float64 [n, k].

        Returns:
            Values, statuses and notes, in the order of the points.

        """
        began = time.perf_counter()
        return replace(self._answer(coordinates), seconds=time.perf_counter() - began)

    def _answer(self, coordinates: np.ndarray) -> Answer:
        try:
            return self.measured(coordinates)
        except (UnmeasuredError, *FAULTS) as fault:
            if len(coordinates) == 1:
                return self._failed(fault)
            if out_of_memory(fault):  # half as many may fit
                del fault
                _free()
                return _joined([self._answer(half) for half in np.array_split(coordinates, 2)])
            return _joined([self._answer(row) for row in coordinates[:, None]])  # one by one, to find out which it was

    def measured(self, coordinates: np.ndarray) -> Answer:
        """The same, but a point that raises ends it."""
        values = self.way.values(coordinates)
        finite = np.isfinite(values[:, self._decisive]).all(axis=1)
        status = np.where(finite, Status.OK, Status.NON_FINITE).astype(np.int8)
        return Answer(values=values, status=status, notes=("",) * len(values))

    def _failed(self, fault: Exception) -> Answer:
        if isinstance(fault, UnmeasuredError):
            row, status, note = fault.row, fault.status, fault.note
        else:
            row, status, note = np.full(self._width, math.nan), Status.FAILED, f"{type(fault).__name__}: {fault}"
        return Answer(values=row[None], status=np.array([status], np.int8), notes=(note,))


def out_of_memory(fault: BaseException) -> bool:
    """Whether an allocator, of the CPU or of any device, ran out of memory.

    Returns:
        Whether this was the cause.

    Example:
        >>> out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
        True
    """
    if isinstance(fault, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(fault, RuntimeError) and any(words in str(fault).lower() for words in _OUT_OF_MEMORY)


def _free() -> None:
    """Release what the allocators of devices keep for later."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def _joined(parts: list[Answer]) -> Answer:
    return Answer(
        values=np.concatenate([part.values for part in parts]),
        status=np.concatenate([part.status for part in parts]),
        notes=tuple(note for part in parts for note in part.notes),
    )
