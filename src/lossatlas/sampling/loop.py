"""The one and only loop over points: ask, evaluate, store, tell."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from tqdm.auto import tqdm

from lossatlas import stopping
from lossatlas.errors import SpecError
from lossatlas.evaluate.evaluator import Answer
from lossatlas.oneline import one_line
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block
from lossatlas.sampling.ahead import Ahead, Given, clock, joined, note_given
from lossatlas.sampling.executors import Executor, Pending, Session, Work
from lossatlas.sampling.samplers import Queue

__all__ = ["PATIENCE_SECONDS", "Journal", "Places", "visit"]

BLOCK_SECONDS = 2.0
"""How much work an interruption may cost."""

FIRST_SHARE = 10
"""The first block is one part in this many of the others: a first point is kept, and seen, at once."""

PATIENCE_SECONDS = 2.0
"""How long a run may take before it shows a progress bar unprompted."""


MOST = 500
"""Points of a block, at most."""

SHARES = 4
"""At least this many blocks for each that may be under way, so that few wait at the end."""


class Journal(Protocol):
    """Where every finished block is kept, in the order in which the points were asked for."""

    def commit(self, block: Block) -> None:
        """Keep a block; it is safe when this returns."""
        ...


@dataclass(frozen=True)
class Places:
    """Where the cells of a grid are.

    Args:
        axes: coordinates of every axis, in the order of the dimensions.
        order: the names of the axes in the order of the chart.

    Example:
        >>> places = Places({"x": np.array([0.0, 1.0]), "y": np.array([5.0, 6.0, 7.0])}, ("y", "x"))
        >>> places.of(np.array([0, 4])).tolist()
        [[5.0, 0.0], [6.0, 1.0]]
    """

    axes: Mapping[str, np.ndarray]
    order: Sequence[str]

    __repr__ = one_line

    def of(self, indices: np.ndarray) -> np.ndarray:
        """The coordinates of some cells.

        Args:
            indices: flat indices, int64 [n], in C order of the axes.

        Returns:
            float64 [n, k], in the order of the chart.
        """
        at = np.unravel_index(indices, tuple(len(c) for c in self.axes.values()))
        columns = {axis: self.axes[axis][cells] for axis, cells in zip(self.axes, at, strict=True)}
        return np.stack([columns[axis] for axis in self.order], axis=1)


def visit(
    work: Work,
    places: Places,
    queue: Queue,
    journal: Journal,
    executor: Executor,
    *,
    seconds: float,
    done: int = 0,
    size: int = 0,
    expected: int | None = None,
    block: int | None = None,
    together: int = 1,
    progress: bool | None = None,
    strict: bool = False,
) -> None:
    """Evaluate all points that a queue asks for, block by block, and keep each in the journal.

    As many blocks are under way as the executor has room for; they are committed and told in the order in which they
    were asked for. Workers that would wait are given points ahead (:mod:`lossatlas.sampling.ahead`), which are neither
    committed nor told before they are asked for.

    Args:
        work: what the points are evaluated with.
        places: where they are.
        queue: which come next.
        journal: where they are kept.
        executor: what evaluates them.
        seconds: what a point is expected to take.
        done: number of points that exist already.
        size: number of points of the whole grid.
        expected: how many of these the queue is expected to ask for; by default all.
        block: points of a block; by default as many as take about two seconds.
        together: points that are evaluated at once, so that fewer take just as long; unless chosen, blocks are
            multiples of it.
        progress: show a progress bar; by default if the rest is expected to take more than two seconds.
        strict: end at the first point that fails, when its block has been kept.

    Raises:
        OSError: the journal cannot be written; what was committed before is safe.
        SpecError: a point failed, and strict was asked for.
    """
    count = block or int(np.clip(BLOCK_SECONDS / max(seconds, 1e-6), 1, MOST))
    ahead = max(size if expected is None else expected, done)
    show = (ahead - done) * seconds > PATIENCE_SECONDS if progress is None else progress
    with stopping.listening(), executor.start(work) as session, _bar(ahead, done, show) as bar:
        if block is None and session.room > 1:  # the last blocks should keep all workers busy
            count = int(np.clip((size - done) // (SHARES * session.room), 1, count))
        count = block or _whole(count, together)
        under_way = _UnderWay(session, places, queue, block=1 if work.in_order else count, in_order=work.in_order)
        under_way.most = block or MOST
        under_way.first = count if block else _whole(max(1, count // FIRST_SHARE), together)
        _go(under_way, queue, journal, bar, places if strict else None)
    note_given(journal, under_way.given)


def _whole(count: int, together: int) -> int:
    """A number of points that fills every group evaluated at once, at least as many as asked for."""
    return -(-count // together) * together


class _UnderWay:
    """The blocks that were asked for and have not been told yet, the oldest first."""

    def __init__(self, session: Session, places: Places, queue: Queue, *, block: int, in_order: bool) -> None:
        self._session, self._places, self._queue = session, places, queue
        self._block, self._in_order = block, in_order
        self.first = block
        self.most = MOST
        self.given = Given()
        self._ahead = None if in_order else Ahead.of(session, places.of, queue, self.given)
        self._blocks: deque[tuple[np.ndarray, Any]] = deque()

    def oldest(self) -> tuple[np.ndarray, Answer] | None:
        """Wait for the next block in the order of asking; before that, send off all that there is room for."""
        while len(self._blocks) < (1 if self._in_order else self._session.room):
            began = clock()
            indices = self._queue.ask(min(self.first, self._share()))
            if self._ahead is not None and not self._blocks:  # all of a round has been told, so a new one is chosen
                self._ahead.chose(began)
            self.first = self._block
            for sent, _ in self._blocks:  # a queue that waits to be told may ask for the same points again
                indices = indices[~np.isin(indices, sent)]
            if not len(indices):
                break
            self._blocks.append((indices, self._sent(indices)))
        if not self._blocks:
            return None
        indices, pending = self._blocks.popleft()
        return (indices, pending.result()) if self._ahead is None else self._with_all_that_is_done(indices, pending)

    def _sent(self, indices: np.ndarray) -> Any:
        return self._session.submit(self._places.of(indices)) if self._ahead is None else self._ahead.submit(indices)

    def _with_all_that_is_done(self, indices: np.ndarray, pending: Pending) -> tuple[np.ndarray, Answer]:
        """Wait for a block, and join those after it that are finished: they are kept in one go."""
        assert self._ahead is not None
        cells, answers = [indices], [pending.result()]
        while self._blocks and self._blocks[0][1].done():
            if sum(map(len, cells)) + len(self._blocks[0][0]) > self.most:
                break
            indices, pending = self._blocks.popleft()
            cells.append(indices)
            answers.append(pending.result())
        for answer in answers:
            self._ahead.heard(answer)
        return np.concatenate(cells), joined(answers)

    def _share(self) -> int:
        """Points of the next block: if a queue has few before it must be told, all evaluators get some of them."""
        ready: int | None = getattr(self._queue, "ready", None)
        free = self._session.room - len(self._blocks)
        if ready is None or self._in_order or self._session.room == 1:
            return self._block
        return max(1, min(self._block, -(-ready // free)))


def _go(under_way: _UnderWay, queue: Queue, journal: Journal, bar: Any, strict: Places | None) -> None:
    failures = 0
    while (block := under_way.oldest()) is not None:
        indices, answer = block
        found = Block(
            indices=np.asarray(indices, np.int64), values=answer.values, status=answer.status, notes=answer.notes
        )
        journal.commit(found)
        queue.tell(found)
        bar.total = max(bar.total, bar.n + len(indices))  # an adaptive run may need more points than were expected
        bar.update(len(indices))
        failures += int(np.sum(found.status == Status.FAILED))
        bar.set_postfix(_aside(failures, under_way.given), refresh=False)
        if failures and strict:
            raise SpecError(_failed(found, strict))
        stopping.after_block()
    bar.total = bar.n  # … or fewer
    bar.refresh()


def _aside(failures: int, given: Given) -> dict[str, object]:
    """The text after the bar, if there is anything to say."""
    told: dict[str, object] = {"failed": failures} if failures else {}
    if given.points:
        told["given ahead"] = f"{given.points}, {given.asked} asked for"
    return told


def _failed(block: Block, places: Places) -> str:
    first = int(np.argmax(block.status == Status.FAILED))
    point = places.of(block.indices[first : first + 1])[0]
    where = ", ".join(f"{axis} = {value:g}" for axis, value in zip(places.order, point, strict=True))
    why = block.notes[first] if block.notes else "no reason given"
    return (
        f"strict: the point {where} failed ({why}), and the run stopped. If the run has a folder, what was evaluated "
        "is kept there; the same call resumes and tries this point again, and without strict it goes on past it"
    )


def _bar(size: int, done: int, show: bool) -> contextlib.AbstractContextManager[Any]:
    return tqdm(total=size, initial=done, unit="point", smoothing=0.1, disable=not show, dynamic_ncols=True)
