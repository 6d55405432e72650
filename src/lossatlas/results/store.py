"""How does a run survive? In a folder that keeps its specification and every finished block.

A run folder holds ``spec.json`` (what the run is, for people and for the check on resuming), ``journal.sqlite`` (every
finished point), ``evaluation.json`` (how points are evaluated) and, once finished, ``landscape.nc``; a run on a part of
the samples also has ``anchors.npz``, and one whose curvature was computed ``curvature.json``. A block is committed in
one transaction and is on the disk when the call returns, so an interruption of any kind loses at most the block in
flight. Every file carries checksums, which are checked whenever it is read (:mod:`lossatlas.results.journal`).
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import xarray as xr
from filelock import FileLock

from lossatlas import checksum
from lossatlas.atomic import write_text
from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.results import journal as journals
from lossatlas.results import landscape as schema
from lossatlas.results import quantities
from lossatlas.results.asked import differing
from lossatlas.results.folders import (
    ANCHORS,
    ANCHORS_REST,
    CURVATURE,
    EVALUATION,
    JOURNAL,
    LOCK,
    RESULT,
    SPEC,
    bound,
    check_same,
    locked,
    read_curvature,
    read_evaluation,
    repair_command,
    spec_of,
)
from lossatlas.results.journal import Journal
from lossatlas.results.landscape import Status
from lossatlas.results.shards import SHARDS
from lossatlas.results.spec import FIRST, Block, RunSpec

__all__ = [
    "ANCHORS",
    "CURVATURE",
    "EVALUATION",
    "JOURNAL",
    "LOCK",
    "RESULT",
    "SPEC",
    "Complete",
    "MemoryRun",
    "RunFolder",
    "anchors_file",
    "assemble",
    "note_curvature",
    "read_curvature",
    "read_evaluation",
]

Complete = Callable[[xr.Dataset], xr.Dataset]


def _as_it_is(landscape: xr.Dataset) -> xr.Dataset:
    return landscape


class MemoryRun:
    """The same as a run folder, for results that are not kept: nothing is written.

    Args:
        spec: what the run is.
    """

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.size = math.prod(spec.shape)
        self.evaluation: dict[str, Any] = {}
        self._blocks: list[Block] = []

    def told(self) -> Block:
        """Everything committed so far, ordered by index; for a point evaluated twice, the second result."""
        found = Block.joined(self._blocks, len(self.spec.values))
        return found.where(np.append(found.indices[1:] != found.indices[:-1], True)[: len(found.indices)])

    def note_evaluation(self, evaluation: dict[str, Any]) -> None:
        """Keep how the points are evaluated."""
        self.evaluation = evaluation

    def commit(self, block: Block) -> None:
        """Keep a block."""
        self._blocks.append(block)

    def finish(self, complete: Complete = _as_it_is) -> xr.Dataset:
        """The Landscape of what was committed, completed."""
        return complete(assemble(self.spec, self.told(), self.evaluation))

    def __enter__(self) -> Self:
        """Nothing to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


class RunFolder:
    """A folder that a run is writing. Use :meth:`begin`, and close it or leave its ``with`` block.

    Example:
        >>> import tempfile
        >>> from lossatlas.results.landscape import About, Axis
        >>> axis = Axis(coordinates=np.array([0.0, 1.0]), length=1.0)
        >>> spec = RunSpec(identity={"model": "a"}, axes={"x": axis}, values=("loss",), about=About())
        >>> with RunFolder.begin(Path(tempfile.mkdtemp()) / "run", spec) as run:
        ...     point = Block(indices=np.array([1]), values=np.array([[2.5]]), status=np.array([1], np.int8))
        ...     run.commit(point)
        ...     float(run.finish()["loss"].sel(x=1))
        2.5
    """

    def __init__(self, path: Path, spec: RunSpec, lock: FileLock, journal: Journal) -> None:
        self.path = path
        self.spec = spec
        self.size = math.prod(spec.shape)
        self._lock = lock
        self._journal = journal
        self._file = (path / JOURNAL).stat().st_ino

    @classmethod
    def begin(cls, path: str | os.PathLike[str], spec: RunSpec) -> RunFolder:
        """Open a folder for writing: a new one, or that of the same run.

        Args:
            path: the folder; created if missing.
            spec: what the run is.

        Returns:
            The open folder, locked against other writers.

        Raises:
            RunMismatchError: it belongs to another run; the message names the parts that differ.
            SpecError: it holds something other than a run, or one of its files is damaged. Nothing in it is touched.
            OSError: it cannot be written, or another process is writing it.
        """
        folder = Path(path)
        _check_free(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise type(fault)(f"run folder {folder} cannot be made: {fault.strerror}") from fault
        lock = locked(folder)
        try:
            _sweep(folder)
            journal = _open_journal(folder, spec)
        except BaseException:
            lock.release()
            raise
        return cls(folder, spec, lock, journal)

    @property
    def evaluation(self) -> dict[str, Any]:
        """How the points are evaluated, as :meth:`note_evaluation` was told; empty where it was not."""
        return dict(read_evaluation(self.path))

    def note_evaluation(self, evaluation: dict[str, Any]) -> None:
        """Keep how the points are evaluated, so that a resumed run goes on in the same way."""
        text = checksum.sealed(evaluation)
        self._written(lambda: self._journal.note(journals.EVALUATION, text))
        _write_durably(self.path / EVALUATION, text)

    def told(self) -> Block:
        """Everything committed so far, ordered by index."""
        return self._journal.told().told

    def commit(self, block: Block) -> None:
        """Write a block in one transaction; it is on the disk when this returns.

        Raises:
            OSError: the disk is full or failing. What was committed before is safe, and the block may be committed
                again.
        """
        self._written(lambda: self._journal.commit(block))

    def _written(self, write: Callable[[], None]) -> None:
        """Write to the journal, and check that it is still in place: SQLite would go on writing to a deleted file."""
        try:
            write()
        except sqlite3.OperationalError as fault:
            self._check_there()
            raise OSError(
                f"run folder {self.path} cannot be written ({fault}): {self._safe()} of {self.size} points are safe "
                "there; make room and run the same command again"
            ) from fault
        self._check_there()

    def _check_there(self) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if (self.path / JOURNAL).stat().st_ino == self._file:
                return
        what = f"its {JOURNAL} was removed" if self.path.is_dir() else "it was moved or deleted"
        raise OSError(
            f"run folder {self.path} is gone: {what} while the run was going on, and its points with it. Put it back, "
            "or run the same command again to start over"
        )

    def _safe(self) -> int | str:
        with contextlib.suppress(sqlite3.Error):
            count: int = self._journal.connection.execute("SELECT count(*) FROM points").fetchone()[0]
            return count
        return "the committed"

    def landscape(self) -> xr.Dataset:
        """The Landscape of what was committed; the other cells are NaN and not sampled."""
        return assemble(self.spec, self.told(), self.evaluation)

    def finish(self, complete: Complete = _as_it_is) -> xr.Dataset:
        """Write ``landscape.nc``, whole or not at all, and return it.

        Args:
            complete: what is first done to the Landscape of the journal, such as filling cells that were not evaluated.

        Returns:
            The Landscape that was written.

        Raises:
            OSError: it cannot be written; the journal keeps every point.
        """
        result = complete(self.landscape())
        schema.save(bound(result, self._journal.key), self.path / RESULT)
        return result

    def close(self) -> None:
        """Let go of the journal and the lock."""
        self._journal.close()
        self._lock.release()

    def __enter__(self) -> Self:
        """The open folder."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, whatever happened."""
        self.close()


def assemble(spec: RunSpec, told: Block, evaluation: Mapping[str, Any]) -> xr.Dataset:
    """The Landscape of some finished points."""
    size = math.prod(spec.shape)
    values = np.full((size, len(spec.values)), np.nan)
    status = np.full(size, Status.NOT_SAMPLED, np.int8)
    values[told.indices] = told.values
    status[told.indices] = told.status
    columns = {name: values[:, i].reshape(spec.shape) for i, name in enumerate(spec.values)}
    errors = {name: columns.pop(name) for name in spec.identity.get("standard errors", ())}
    about = replace(spec.about, evaluation=evaluation)
    landscape = schema.build(spec.axes, columns, status.reshape(spec.shape), about=about)
    for name, found in errors.items():
        schema.with_standard_error(landscape, name.removesuffix("_se"), found)
    if "curvature" in spec.identity:
        quantities.mark(landscape, spec.identity["curvature"])
    return landscape


def _check_free(folder: Path) -> None:
    """A folder with other people's files is not ours to write."""
    if not folder.is_dir() or (folder / SPEC).exists():
        return
    strangers = [entry.name for entry in folder.iterdir() if not _ours(entry.name)]
    if strangers:
        raise SpecError(f"run folder {folder} holds other files ({strangers[0]} …) and no {SPEC}; choose another")


def anchors_file(folder: Path, *, rest: bool = False) -> Path:
    """Where a run on a part of the samples keeps the values of more of them; the folder is created if missing.

    Args:
        folder: the run folder.
        rest: the file of the samples that are not in a first phase, see :mod:`lossatlas.sampling.phases`.

    Returns:
        The file, which may not exist yet.

    Raises:
        SpecError: the folder holds something other than a run.
    """
    _check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / (ANCHORS_REST if rest else ANCHORS)


def _ours(name: str) -> bool:
    known = (SPEC, JOURNAL, EVALUATION, RESULT, CURVATURE, ANCHORS, ANCHORS_REST)
    return name in (LOCK, SHARDS) or name.startswith((*known, *(f".{one}" for one in known), "directions."))


def _open_journal(folder: Path, spec: RunSpec) -> Journal:
    """The journal of this run: a new one, or the one that is there."""
    new = not (folder / SPEC).exists()
    begun = not new or (folder / JOURNAL).exists()
    there = spec if new else spec_of(folder)
    if differing := there.differences(spec):
        raise RunMismatchError(
            f"{folder} belongs to another run: {'; '.join(differing)}. Choose another folder, or delete this one",
            str(there.about.provenance.get("command", "")),
            differing,
        )
    if not new and there.format != FIRST and not (folder / JOURNAL).exists():
        raise SpecError(f"{folder}: {JOURNAL} is missing, and with it every point; {repair_command(folder)}")
    text = spec.to_json() if new else (folder / SPEC).read_text(encoding="utf-8")
    connection = sqlite3.connect((folder / JOURNAL).absolute(), timeout=30)
    try:
        journal = _checked(folder, connection, there, text, new=new)
        if new:
            _write_durably(folder / SPEC, journals.text_of(connection, journals.SPEC) or text)
        return journal
    except BaseException as fault:
        connection.close()
        if not begun and not (folder / SPEC).exists():  # a run that never began leaves nothing to be repaired
            (folder / JOURNAL).unlink(missing_ok=True)
        if isinstance(fault, sqlite3.OperationalError):
            raise OSError(f"run folder {folder} cannot be written ({fault})") from fault
        if isinstance(fault, sqlite3.DatabaseError):
            raise SpecError(f"{folder / JOURNAL} is damaged ({fault}); {repair_command(folder)}") from fault
        raise


def _checked(folder: Path, connection: sqlite3.Connection, spec: RunSpec, text: str, *, new: bool) -> Journal:
    # SQLite's rollback mode, unlike its write-ahead mode, also works on network file systems.
    connection.execute("PRAGMA synchronous=FULL")
    if new and (kept := journals.text_of(connection, journals.SPEC)) is not None:
        spec = _left(folder, kept, spec)  # stopped before the specification, or it was deleted
    elif not new:
        check_same(folder, spec, connection)
    journal = Journal(connection, spec.key, math.prod(spec.shape), len(spec.values))
    if not new:
        found = journals.read(connection, spec.key, journal.size, journal.width, required=spec.format != FIRST)
        if not found.whole:
            raise SpecError(f"{folder / JOURNAL} is damaged ({found.words}); {repair_command(folder)}")
    journal.prepare(text)
    return journal


def _left(folder: Path, kept: str, spec: RunSpec) -> RunSpec:
    """The specification that the journal of a folder without one holds, if it is of the same run."""
    there = RunSpec.from_json(kept, folder / JOURNAL)
    if differing := there.differences(spec):
        raise RunMismatchError(
            f"{folder / JOURNAL} belongs to another run: {'; '.join(differing)}. Choose another folder, or delete it"
        )
    return there


def _sweep(folder: Path) -> None:
    """Remove what dead writers left unfinished; nothing else writes here, since the folder is locked."""
    for name in (SPEC, EVALUATION, CURVATURE, RESULT, ANCHORS, ANCHORS_REST):
        for scratch in folder.glob(f".{name}.*"):
            with contextlib.suppress(OSError):
                scratch.unlink()


def _write_durably(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as fault:
        raise type(fault)(f"run folder {path.parent} cannot be written: {fault.strerror}") from fault


def note_curvature(folder: Path, found: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Keep the curvature at the centre with a run, so that its pictures can say what the slice does not show.

    Args:
        folder: the run folder.
        found: JSON values; ``lambda_min`` among them.
        identity: what it belongs to: the parts of the run's own identity that must be the same.

    Raises:
        RunMismatchError: the run is of something else; the message names the parts that differ.
        SpecError: no run folder.
    """
    if parts := differing(folder, identity):
        raise RunMismatchError(f"{folder} is a run of something else: {'; '.join(parts)}. Name the run of this model")
    _write_durably(folder / CURVATURE, checksum.sealed(found))
