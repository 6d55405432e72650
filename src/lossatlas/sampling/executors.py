"""What evaluates the blocks: this process, or others elsewhere? The protocol, the null object, and the door for more.

The loop hands blocks of coordinates to a session and takes answers from it, in the order in which it asked. What the
blocks are evaluated with, the :class:`Work`, travels once, when the session starts. The journal stays with the loop:
evaluators write nothing.

An installed package offers an executor under a name in the entry-point group ``lossatlas.executors``: a callable that
takes the text after the colon, so that ``dask:4`` is the entry point ``dask`` called with ``"4"``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from lossatlas.evaluate.evaluator import Answer, Evaluator
from lossatlas.evaluate.way import Way

__all__ = ["GROUP", "HERE", "Executor", "Pending", "Serial", "Session", "Work"]

GROUP = "lossatlas.executors"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What blocks are evaluated with. It can be pickled wherever the user's model, data and loss can.

    Attributes:
        make: makes the way; called once by each evaluator.
        width: how many values there are at each point.
        decisive: which of them must be finite for a point to be ok.
        in_order: whether a point may begin where the one before it ended, so that one evaluator must take the blocks
            one after the other.
        device: where it is evaluated, as torch names it.
        subject: what is measured, where random directions can be drawn for it again.
    """

    make: Callable[[], Way]
    width: int
    decisive: tuple[int, ...]
    in_order: bool = False
    device: str = "cpu"
    subject: Any = None

    def evaluator(self) -> Evaluator:
        """The evaluator, made here. Close its way in the end."""
        return Evaluator(self.make(), self.width, self.decisive)


class Pending(Protocol):
    """An answer that is on its way; a future of ``concurrent.futures`` is one."""

    def result(self) -> Answer:
        """Wait for the answer."""
        ...


class Session(Protocol):
    """An executor at work, within a ``with`` block that it is started for.

    One that knows which of its workers have nothing to do, and can do something else while it waits, is a
    :class:`lossatlas.sampling.ahead.Sharing` too: those workers of an adaptive scan are then given points ahead.
    """

    @property
    def room(self) -> int:
        """How many blocks may be under way at once, at least 1; it may change from call to call."""
        ...

    def submit(self, coordinates: np.ndarray) -> Pending:
        """Have a block evaluated: float64 [n, k], in the order of the chart's axes.

        Whatever evaluates it, the answer must be what :meth:`Evaluator.answer` gives for that block, bit for bit. A
        point that raises is part of the answer; an error raised here ends the run, and committed points are safe.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release everything, blocks under way included, whatever happened."""
        ...


class Executor(Protocol):
    """Evaluates blocks of points, here or elsewhere. It is a specification and can serve any number of runs."""

    def start(self, work: Work) -> Session:
        """Begin: take the work to where it will be done.

        Raises:
            SpecError: the work cannot be done here, for instance because it is ``in_order`` or cannot be sent.
        """
        ...


@dataclass(frozen=True)
class Serial:
    """One block after the other, in this process: the default if no executor is named.

    Example:
        >>> class Doubles:
        ...     def values(self, coordinates):
        ...         return 2 * coordinates
        ...     def close(self):
        ...         pass
        >>> with Serial().start(Work(make=Doubles, width=1, decisive=(0,))) as session:
        ...     session.submit(np.array([[1.5]])).result().values.tolist()
        [[3.0]]
    """

    def start(self, work: Work) -> Session:
        """Make the way here."""
        return _SerialSession(work.evaluator())


HERE = Serial()
"""This process: the executor if none is named."""


class _SerialSession:
    room = 1

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def submit(self, coordinates: np.ndarray) -> Pending:
        return _Here(self._evaluator.answer(coordinates))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._evaluator.way.close()


@dataclass(frozen=True)
class _Here:
    answer: Answer

    def result(self) -> Answer:
        return self.answer
