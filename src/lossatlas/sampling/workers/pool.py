"""Blocks evaluated by any ``concurrent.futures.Executor``: a pool of threads or processes, MPI, or a cluster's own."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.evaluate.evaluator import Answer
from lossatlas.oneline import first_line
from lossatlas.sampling.executors import Session, Work
from lossatlas.sampling.workers.subject import Missing, Parcel, Refused, evaluate, pack

__all__ = ["AHEAD", "BREAKS", "Futures", "PoolSession", "Sent", "workers_of"]

AHEAD = 2
"""Blocks under way for each worker: one being evaluated, and one that is there when it ends."""

BREAKS = 3
"""How often workers may die, with no block finished in between, before the run gives up."""


@dataclass(frozen=True)
class Futures:
    """Any executor of Python's own kind, as it is; whoever made it shuts it down.

    Args:
        pool: the executor. Its workers must be able to import lossatlas.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> class Doubles:
        ...     def values(self, coordinates):
        ...         return 2 * coordinates
        ...     def close(self):
        ...         pass
        >>> work = Work(make=Doubles, width=1, decisive=(0,))
        >>> with ThreadPoolExecutor(2) as pool, Futures(pool).start(work) as found:
        ...     found.submit(np.array([[1.5]])).result().values.tolist()
        [[3.0]]
    """

    pool: futures.Executor

    def start(self, work: Work) -> Session:
        """Pack the work; it is sent when a worker says that it is missing."""
        return PoolSession(self.pool, pack(work))


def workers_of(pool: Any) -> int:
    """How many workers a pool has: the number that it states, or the cores of this machine."""
    for name in ("_max_workers", "num_workers"):
        if isinstance(number := getattr(pool, name, None), int) and number > 0:
            return number
    return os.cpu_count() or 1


class Sent:
    """A block on its way.

    Args:
        session: that it belongs to.
        coordinates: of its points.
        future: of its answer, as it stands.
        ahead: whether it has not been asked for yet.
    """

    def __init__(self, session: PoolSession, coordinates: np.ndarray, future: Any, *, ahead: bool = False) -> None:
        self.session, self.coordinates, self.future = session, coordinates, future
        self.ahead, self.lost = ahead, False

    def done(self) -> bool:
        """Whether the answer, or a fault, is there without waiting.

        Returns:
            Whether it is.
        """
        return self.session.finished(self)

    def result(self) -> Answer:
        """Wait for the answer.

        Returns:
            The answer.

        Raises:
            SpecError: a worker cannot take the work.
            ChildProcessError: workers die again and again.
        """
        return self.session.wait_for(self)


class PoolSession:
    """Blocks handed to a pool. A worker that lacks the work is sent it, whichever block is being waited for.

    Args:
        pool: evaluates the blocks.
        parcel: the work.

    Attributes:
        meanwhile: called while the session waits; returns whether it did anything.
    """

    advice = "Run the same again with fewer workers or a smaller batch"

    def __init__(self, pool: Any, parcel: Parcel) -> None:
        self.pool, self.parcel = pool, parcel
        self._sent: list[Sent] = []
        self._breaks = 0
        self.meanwhile: Callable[[], bool] = _nothing

    @property
    def room(self) -> int:
        """Two blocks for each worker."""
        return AHEAD * self.workers

    @property
    def workers(self) -> int:
        """How many there are."""
        return workers_of(self.pool)

    @property
    def at_once(self) -> int:
        """How many of them evaluate at the same time: within one process they take turns (:func:`evaluate`)."""
        return 1 if isinstance(self.pool, futures.ThreadPoolExecutor) else self.workers

    @property
    def idle(self) -> int:
        """How many workers have nothing to do."""
        return self.at_once - sum(not sent.future.done() for sent in self._sent)

    def submit(self, coordinates: np.ndarray, *, ahead: bool = False) -> Sent:
        """Hand over a block; one that is given ahead is dropped if a worker dies."""
        sent = Sent(self, coordinates, self._given(coordinates), ahead=ahead)
        self._sent.append(sent)
        return sent

    def wait_for(self, sent: Sent) -> Answer:
        """The answer of one block; whatever another worker lacks in the meantime is sent to it."""
        while True:
            # Listed before they are checked: one that ends in between ends the wait at once.
            pending = [other.future for other in self._sent if not other.future.done()]
            if sent in [other for other in list(self._sent) if self.finished(other)]:
                break
            if not self.meanwhile() and pending:
                self.wait(pending)
        self._sent.remove(sent)
        self._breaks = 0
        try:
            answer: Answer = sent.future.result()
        except futures.BrokenExecutor as fault:
            raise ChildProcessError(_broken(fault)) from fault
        return answer

    def finished(self, sent: Sent) -> bool:
        """Whether a block has its answer, or a fault to raise in its turn; what came back undone is sent again.

        Returns:
            Whether it has.

        Raises:
            SpecError: a worker cannot take the work.
            ChildProcessError: workers die again and again.
        """
        if sent.lost or not sent.future.done():
            return False
        try:
            found = sent.future.result()
        except Exception as fault:
            if not self.lost(fault):
                return True
            self._breaks += 1
            if self._breaks > BREAKS:
                raise ChildProcessError(
                    f"executor: the workers died {self._breaks} times, with no block finished in between "
                    f"({type(fault).__name__}: {first_line(fault)}); out of memory? "
                    f"Committed points are safe. {self.advice}"
                ) from fault
            self.revive()
            return False
        if isinstance(found, Refused):
            raise SpecError(found.note)
        if isinstance(found, Missing):
            sent.future = self.give(sent.coordinates, self._whole if found.whole else self.parcel, found.worker)
            return False
        return True

    @functools.cached_property
    def _whole(self) -> Parcel:
        """The work with all its bytes, packed when a worker first needs them."""
        return self.parcel.whole()

    def _given(self, coordinates: np.ndarray) -> Any:
        try:
            return self.give(coordinates)
        except futures.BrokenExecutor as fault:
            if not self.lost(fault):
                raise ChildProcessError(_broken(fault)) from fault
            self.revive()
            return self.give(coordinates)

    def give(self, coordinates: np.ndarray, parcel: Parcel | None = None, worker: str = "") -> Any:
        """Hand a block to the pool, along with the work if that was missing."""
        return self.pool.submit(evaluate, self.parcel.fingerprint, coordinates, parcel)

    def wait(self, pending: Iterable[Any]) -> None:
        """Wait until one of some futures is done."""
        futures.wait(pending, return_when=futures.FIRST_COMPLETED)

    def lost(self, fault: BaseException) -> bool:
        """Whether a fault means that workers died, and others can take their place."""
        return False

    def revive(self) -> None:
        """Replace workers that died, and hand all blocks over again."""

    def again(self) -> None:
        """Hand over again all blocks without an answer, except those given ahead: one may have killed the worker."""
        for sent in list(self._sent):
            if not sent.future.done() or sent.future.cancelled() or sent.future.exception() is not None:
                if sent.ahead:
                    sent.lost = True
                    self._sent.remove(sent)
                else:
                    sent.future = self.give(sent.coordinates)

    def __enter__(self) -> Self:
        """At work."""
        return self

    def __exit__(self, *_: object) -> None:
        """Call back what has not begun."""
        for sent in self._sent:
            sent.future.cancel()
        self._sent.clear()


def _nothing() -> bool:
    return False


def _broken(fault: BaseException) -> str:
    return (
        f"executor: the pool is broken ({fault}); committed points are safe: make another pool and run the same again"
    )
