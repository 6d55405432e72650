"""What do workers do that would wait for the end of a round? Points that the next rounds will probably ask for.

A round of an adaptive scan is chosen when all values of the one before are known. While its last points are evaluated,
the other workers would wait. They are given the cells that the next round, and those after it, would ask for if the
missing values were as the others predict. If a round then asks for such a cell, its answer is taken from here; one that
no round asks for is discarded. So the points of a run, their values and their order depend neither on what was given
ahead nor on how long anything took.

Predicting a round takes the driver's time, during which finished points wait to be handled. It is skipped if that is
more than a fraction of a point's time: see :data:`TIMES`.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from lossatlas import stopping
from lossatlas.evaluate.evaluator import Answer
from lossatlas.results.spec import Block
from lossatlas.sampling.executors import Pending

__all__ = ["Ahead", "Foreseeing", "Given", "Later", "Sent", "Sharing", "clock", "joined", "note_given"]

TIMES = 8.0
"""How many times as long as predicting a round a point must take for anything to be given ahead."""

COST = 0.025
"""Seconds that predicting a round is assumed to cost until that has been measured a few times."""

ROUNDS = 4
"""Rounds that are predicted from what is known at one time, at most."""

HELD = 8
"""Points given ahead that no round has asked for, for each worker, at most."""

RECENT = 9
"""How many of the last measured times count, by their median: of points, and of choosing and predicting rounds."""


clock = time.perf_counter
"""The clock by which choosing and predicting are measured."""


@runtime_checkable
class Foreseeing(Protocol):
    """A queue that can say what it will probably ask for."""

    def foresee(self, beside: Block) -> Iterator[np.ndarray]:
        """The rounds to come if missing values were as all others predict; ``beside`` was not asked for yet."""
        ...


class Later(Pending, Protocol):
    """An answer that can be checked for without waiting."""

    def done(self) -> bool:
        """Whether it is there, without waiting."""
        ...


class Sent(Later, Protocol):
    """An answer on its way."""

    ahead: bool
    """Whether it has not been asked for yet."""

    lost: bool
    """Whether it was dropped, and will never come."""


class Sharing(Protocol):
    """A session that knows which workers are idle, and does something else while it waits.

    Attributes:
        workers: how many there are.
        idle: how many more blocks would be begun at once.
        meanwhile: called before it waits, again and again until it says that there was nothing to do.
    """

    workers: int
    idle: int
    meanwhile: Callable[[], bool]

    def submit(self, coordinates: np.ndarray, *, ahead: bool = False) -> Sent:
        """Have a block evaluated; ``ahead`` if it has not been asked for yet, and may be dropped."""
        ...


@dataclass
class Given:
    """How many points were given ahead, and how many of them were asked for.

    Attributes:
        points: that were given.
        asked: of these.
    """

    points: int = 0
    asked: int = 0


class Ahead:
    """The points of a run that idle workers were given before they were asked for.

    Args:
        session: evaluates.
        coordinates: of some cells.
        queue: which cells come next.
        given: counts them.
    """

    def __init__(
        self, session: Sharing, coordinates: Callable[[np.ndarray], np.ndarray], queue: Foreseeing, given: Given
    ) -> None:
        self._session, self._coordinates, self._queue, self.given = session, coordinates, queue, given
        self._sent: dict[int, Sent] = {}
        self._found: dict[int, Answer] = {}
        self._lost: set[int] = set()
        self._news = False
        self._rounds: Iterator[np.ndarray] = iter(())
        self._predicted = 0
        self._likely: list[int] = []
        self._points: deque[float] = deque(maxlen=RECENT)
        self._costs = deque([COST, COST], maxlen=RECENT)  # the first round is fixed, and costs nothing

    @classmethod
    def of(cls, session: Any, coordinates: Callable[[np.ndarray], np.ndarray], queue: Any, given: Given) -> Self | None:
        """What is given ahead, if this session knows its idle workers and this queue its next points; else nothing.

        Returns:
            It, to be called by the session while it waits.
        """
        if not (hasattr(session, "meanwhile") and isinstance(queue, Foreseeing)):
            return None
        made = cls(session, coordinates, queue, given)
        session.meanwhile = made.give
        return made

    def heard(self, answer: Answer) -> None:
        """Note that values are known which were not, and how long a point took."""
        self._news = True
        self._points.append(answer.seconds / len(answer.status))

    def chose(self, began: float) -> None:
        """Note that a round was chosen since then, which takes about as long as predicting one."""
        self._costs.append(clock() - began)

    def submit(self, indices: np.ndarray) -> Later:
        """Have the points of a block evaluated, but for those that were given ahead.

        Returns:
            The answer on its way, in the order of the points.
        """
        here = [self._taken(cell) for cell in indices.tolist()]
        rest = np.array([one is None for one in here])
        if rest.all():
            return self._session.submit(self._coordinates(indices))
        parts: list[Later] = [self._session.submit(self._coordinates(indices[rest]))] if rest.any() else []
        order = np.argsort(np.append(np.flatnonzero(rest), np.flatnonzero(~rest)))
        self.given.asked += int((~rest).sum())
        return _Joined([*parts, *(one for one in here if one is not None)], order)

    def _taken(self, cell: int) -> Later | None:
        """What was given ahead of a cell, which is asked for now."""
        if (answer := self._found.pop(cell, None)) is not None:
            return _Known(answer)
        one = self._sent.pop(cell, None)
        if one is None or one.lost:
            return None
        one.ahead = False
        return one

    def give(self) -> bool:
        """Give something to an idle worker, or predict a further round.

        Returns:
            Whether anything was done, so that the caller checks again before it waits.
        """
        if stopping.asked():
            return False
        self._collect()
        held = len(self._sent) + len(self._found)
        free = min(self._session.idle, HELD * self._session.workers - held)
        if free <= 0:
            return False
        if self._news and not self._pays():
            return False
        if self._news:
            self._rounds, self._predicted, self._likely = self._queue.foresee(_block(self._found)), 0, []
            self._news = False
        if not self._likely:
            return self._predict()
        now, self._likely = self._likely[:free], self._likely[free:]
        for cell in now:
            self._sent[cell] = self._session.submit(self._coordinates(np.array([cell])), ahead=True)
        self.given.points += len(now)
        return True

    def _collect(self) -> None:
        """Take in what is done; a point that gave nothing is not given ahead again."""
        for cell, one in list(self._sent.items()):
            if one.lost:
                self._lost.add(cell)
            elif not one.done():
                continue
            else:
                try:
                    self._found[cell] = one.result()
                    self._news = True
                except Exception:  # whatever a pool raises: it is raised again when the point is asked for
                    self._lost.add(cell)
            del self._sent[cell]

    def _predict(self) -> bool:
        if self._predicted >= ROUNDS or not self._pays():
            return False
        self._predicted += 1
        began = clock()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that have not been used
            cells = next(self._rounds, None)
        self._costs.append(clock() - began)
        if cells is None:
            self._predicted = ROUNDS
            return False
        self._likely = [cell for cell in cells.tolist() if not self._known(cell)]
        return True

    def _known(self, cell: int) -> bool:
        return cell in self._sent or cell in self._found or cell in self._lost

    def _pays(self) -> bool:
        """Whether predicting a round takes a small part of a point's time."""
        return bool(self._points) and statistics.median(self._points) >= TIMES * statistics.median(self._costs)


def note_given(journal: Any, given: Given) -> None:
    """Keep with a run how many of its points were given ahead, with those of its earlier starts.

    Args:
        journal: of the run; one that does not keep how points are evaluated is left alone.
        given: in this start.
    """
    if given.points and hasattr(journal, "note_evaluation"):
        before = journal.evaluation.get("given ahead", {"points": 0, "asked for": 0})
        both = {"points": before["points"] + given.points, "asked for": before["asked for"] + given.asked}
        journal.note_evaluation({**journal.evaluation, "given ahead": both})


@dataclass(frozen=True)
class _Known:
    """An answer that is already there."""

    answer: Answer

    def done(self) -> bool:
        return True

    def result(self) -> Answer:
        return self.answer


@dataclass(frozen=True)
class _Joined:
    """A block in several parts; ``order`` says where its points stand in them, one after the other."""

    parts: Sequence[Later]
    order: np.ndarray

    def done(self) -> bool:
        return all(part.done() for part in self.parts)

    def result(self) -> Answer:
        return joined([part.result() for part in self.parts], self.order)


def joined(answers: Sequence[Answer], order: np.ndarray | None = None) -> Answer:
    """Several answers as one.

    Args:
        answers: at least one.
        order: of their points, one after the other; left out, as they are.

    Returns:
        One answer.

    Example:
        >>> one, two = (Answer(values=np.ones((1, 1)) * n, status=np.ones(1, np.int8), notes=("",)) for n in (1, 2))
        >>> joined([one, two], np.array([1, 0])).values.tolist()
        [[2.0], [1.0]]
    """
    notes = [note for answer in answers for note in answer.notes]
    order = np.arange(len(notes)) if order is None else order
    return Answer(
        values=np.concatenate([answer.values for answer in answers])[order],
        status=np.concatenate([answer.status for answer in answers])[order],
        notes=tuple(notes[at] for at in order),
        seconds=sum(answer.seconds for answer in answers),
    )


def _block(found: dict[int, Answer]) -> Block:
    if not found:
        return Block.joined([], 1)
    answer = joined(list(found.values()))
    return Block(indices=np.array(list(found), np.int64), values=answer.values, status=answer.status)
