"""How do several jobs that cannot communicate share a run? Each has its own journal in the run folder, read as one.

The jobs of an array each evaluate their share of a grid. Shard 3 of 8 of the run ``runs/a`` keeps its points in
``runs/a/shards/3-of-8``, a run folder like any other. Reading ``runs/a`` shows the points of all shards; merging moves
them into the journal of ``runs/a`` itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.results.folders import JOURNAL, SPEC, Seen, look, read_evaluation, spec_of
from lossatlas.results.journal import Found
from lossatlas.results.spec import Block, RunSpec

__all__ = ["SHARDS", "Shard", "absorb", "evaluation_of", "look_at_all", "missing", "shards_of"]

SHARDS = "shards"
"""The folder within a run folder that holds its shards."""


@dataclass(frozen=True)
class Shard:
    """One of several equal shares of a grid.

    Args:
        number: which, from 1.
        of: how many there are.

    Raises:
        SpecError: no such share.

    Example:
        >>> Shard.named("3/8").folder(Path("runs/a")).as_posix()
        'runs/a/shards/3-of-8'
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise SpecError(f"shard={self}: expected one of 1/{max(self.of, 1)} to {max(self.of, 1)}/{max(self.of, 1)}")

    def __str__(self) -> str:
        """As it is written: "3/8"."""
        return f"{self.number}/{self.of}"

    @classmethod
    def named(cls, given: Any) -> Shard:
        """The share that ``"3/8"``, or a pair of numbers, names.

        Returns:
            The share.

        Raises:
            SpecError: it is not written like that, or there is no such share.
        """
        if isinstance(given, Shard):
            return given
        parts = given.split("/") if isinstance(given, str) else given
        try:
            number, of = (int(part) for part in parts)
        except (TypeError, ValueError) as fault:
            raise SpecError(f'shard={given!r}; expected the number of a share and how many there are, "3/8"') from fault
        return cls(number, of)

    def folder(self, run: Path) -> Path:
        """Where a run keeps the points of this share."""
        return run / SHARDS / f"{self.number}-of-{self.of}"

    def share(self, cells: np.ndarray) -> np.ndarray:
        """The cells of this share, spread evenly over all.

        Returns:
            Every n-th cell for n shards, int64.

        Example:
            >>> Shard(2, 3).share(np.arange(8)).tolist()
            [1, 4, 7]
        """
        own: np.ndarray = cells[self.number - 1 :: self.of]
        return own


def shards_of(run: Path) -> list[Path]:
    """The folders of the shards of a run that have begun, in order; none where the run has none."""
    there = [path for path in (run / SHARDS).glob("*-of-*") if (path / SPEC).is_file() and (path / JOURNAL).is_file()]
    return sorted(there, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])


def look_at_all(run: Path) -> Seen:
    """A run folder as it is, the points of its shards among its own.

    Args:
        run: the folder.

    Returns:
        What it is, and every point.

    Raises:
        SpecError: no run folder, or one that is damaged.
        RunMismatchError: its shards are of different runs.
    """
    shards = shards_of(run)
    if not shards:
        return look(run)
    parts = ([look(run)] if (run / SPEC).is_file() else []) + [look(shard) for shard in shards]
    _check_alike(shards, parts[0].spec)
    told = _joined([part.found.told for part in parts], len(parts[0].spec.values))
    return Seen(spec=parts[0].spec, found=Found(told=told, verified=all(part.found.verified for part in parts)))


def evaluation_of(run: Path) -> dict[str, Any]:
    """How the points of a run are evaluated: as the run itself says, or its first shard."""
    for folder in (run, *shards_of(run)):
        if found := read_evaluation(folder):
            return dict(found)
    return {}


def absorb(journal: Any, run: Path) -> None:
    """Merge the points of all shards into the journal of the run itself; points already there stay as they are.

    Args:
        journal: the open :class:`~lossatlas.results.store.RunFolder` of the run.
        run: its folder.

    Raises:
        RunMismatchError: a shard is of another run, or was evaluated by another plan; the message names it.
        SpecError: a shard is damaged.
    """
    shards = shards_of(run)
    _check_alike(shards, journal.spec)
    plan = journal.evaluation.get("plan")
    for shard in shards:
        how, told = read_evaluation(shard), look(shard).found.told
        if not how and set(told.indices.tolist()) <= {journal.spec.centre_cell}:
            continue  # it died before it had a plan; the centre may be there, and is known without one
        if plan is not None and how.get("plan") != plan:
            raise RunMismatchError(
                f"{shard} was evaluated by the plan {how.get('in words')!r}, others by another plan: their values "
                "differ in the last digits. Delete it, and rerun that shard with the plan of the others"
            )
        if plan is None and how:
            journal.note_evaluation(dict(how))
            plan = how["plan"]
        for block in _new(told, journal.told().indices):
            journal.commit(block)


def _new(told: Block, known: np.ndarray) -> Iterator[Block]:
    fresh = ~np.isin(told.indices, known)
    if fresh.any():
        notes = tuple(note for note, new in zip(told.notes, fresh, strict=True) if new) if told.notes else ()
        yield Block(indices=told.indices[fresh], values=told.values[fresh], status=told.status[fresh], notes=notes)


def _check_alike(shards: list[Path], spec: RunSpec) -> None:
    for shard in shards:
        if differing := spec_of(shard).differences(spec):
            raise RunMismatchError(f"{shard} belongs to another run: {'; '.join(differing)}. Move it elsewhere")


def _joined(parts: list[Block], width: int) -> Block:
    """Points of several journals; of a cell that several have, the first one's."""
    found = Block.joined(parts, width)
    notes = [note for part in parts for note in (part.notes or ("",) * len(part.indices))]
    order = np.argsort(np.concatenate([part.indices for part in parts]), kind="stable")
    _, first = np.unique(found.indices, return_index=True)
    return Block(
        indices=found.indices[first],
        values=found.values[first],
        status=found.status[first],
        notes=tuple(notes[order[at]] for at in first),
    )


def missing(seen: Seen) -> int:
    """How many cells of a run have no point yet."""
    return math.prod(seen.spec.shape) - len(seen.found.told.indices)
