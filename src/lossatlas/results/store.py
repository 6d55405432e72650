"""How a run survives: the folder that keeps its specification and every finished block.

A run folder holds ``spec.json`` (what the run is, for people and for the check on resuming), ``journal.sqlite`` (every
finished point), ``evaluation.json`` (how points are evaluated) and, once finished, ``landscape.nc``; a run on a part of
the samples also ``anchors.npz``, one whose centre was looked at ``curvature.json``. A block is committed in one
transaction and is on the disk when the call returns, so an interruption of any kind loses at most the block in flight.
"""

from __future__ import annotations

import contextlib
import json
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
from filelock import FileLock, Timeout

from lossatlas.atomic import write_text
from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.results import landscape as schema
from lossatlas.results import quantities
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block, RunSpec

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
    "read_points",
]

SPEC, JOURNAL, RESULT, LOCK = "spec.json", "journal.sqlite", "landscape.nc", ".lock"
EVALUATION, ANCHORS, CURVATURE = "evaluation.json", "anchors.npz", "curvature.json"


Complete = Callable[[xr.Dataset], xr.Dataset]


def _as_it_is(landscape: xr.Dataset) -> xr.Dataset:
    return landscape


class MemoryRun:
    """The same as a run folder, for results that nobody wants to keep: nothing is written.

    Args:
        spec: what the run is.
    """

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.size = math.prod(spec.shape)
        self.evaluation: dict[str, Any] = {}
        self._blocks: list[Block] = []

    def told(self) -> Block:
        """Everything committed so far, ordered by index."""
        return Block.joined(self._blocks, len(self.spec.values))

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

    def __init__(self, path: Path, spec: RunSpec, lock: FileLock, journal: sqlite3.Connection) -> None:
        self.path = path
        self.spec = spec
        self.size = math.prod(spec.shape)
        self._lock = lock
        self._journal = journal

    @classmethod
    def begin(cls, path: str | os.PathLike[str], spec: RunSpec) -> RunFolder:
        """Open a folder for writing: a new one, or that of the same run.

        Args:
            path: the folder; made where it is missing.
            spec: what the run is.

        Returns:
            The open folder, locked against other writers.

        Raises:
            RunMismatchError: it belongs to another run; the message names the parts that differ.
            SpecError: it holds something else than a run, or its specification is damaged. Nothing in it is touched.
            OSError: it cannot be written, or another process is writing it.
        """
        folder = Path(path)
        _check_free(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise type(fault)(f"run folder {folder} cannot be made: {fault.strerror}") from fault
        lock = _locked(folder)
        try:
            _agree(folder, spec)
            journal = _open_journal(folder)
        except BaseException:
            lock.release()
            raise
        return cls(folder, spec, lock, journal)

    @property
    def evaluation(self) -> dict[str, Any]:
        """How the points are evaluated, as :meth:`note_evaluation` was told; empty where it was not."""
        return read_evaluation(self.path)

    def note_evaluation(self, evaluation: dict[str, Any]) -> None:
        """Keep how the points are evaluated, so that a resumed run goes on in the same way."""
        _write_durably(self.path / EVALUATION, json.dumps(evaluation, indent=2))

    def told(self) -> Block:
        """Everything committed so far, ordered by index."""
        return read_points(self._journal, len(self.spec.values))

    def commit(self, block: Block) -> None:
        """Write a block in one transaction; it is on the disk when this returns.

        Raises:
            OSError: the disk is full or failing. What was committed before is safe, and the block may be committed
                again.
        """
        notes = block.notes or ("",) * len(block.indices)
        values = block.values.astype("<f8")
        # Values go in as bytes: SQLite would turn a NaN into NULL.
        rows = [
            (int(index), int(status), value.tobytes(), note)
            for index, status, value, note in zip(block.indices, block.status, values, notes, strict=True)
        ]
        try:
            with self._journal:
                self._journal.executemany("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?)", rows)
        except sqlite3.OperationalError as fault:
            raise OSError(
                f"run folder {self.path} cannot be written ({fault}): {self._safe()} of {self.size} points are safe "
                "there; make room and run the same command again"
            ) from fault

    def _safe(self) -> int | str:
        with contextlib.suppress(sqlite3.Error):
            count: int = self._journal.execute("SELECT count(*) FROM points").fetchone()[0]
            return count
        return "the committed part"

    def landscape(self) -> xr.Dataset:
        """The Landscape of what was committed; the other cells are NaN and not sampled."""
        return assemble(self.spec, self.told(), self.evaluation)

    def finish(self, complete: Complete = _as_it_is) -> xr.Dataset:
        """Write ``landscape.nc``, whole or not at all, and return it.

        Args:
            complete: what is done to the Landscape of the journal first, such as filling cells nobody evaluated.

        Returns:
            The Landscape that was written.

        Raises:
            OSError: it cannot be written; the journal keeps every point.
        """
        result = complete(self.landscape())
        schema.save(result, self.path / RESULT)
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
        quantities.mark(landscape)
    return landscape


def _check_free(folder: Path) -> None:
    """A folder with other people's files is not ours to write."""
    if not folder.is_dir() or (folder / SPEC).exists():
        return
    strangers = [entry.name for entry in folder.iterdir() if not _ours(entry.name)]
    if strangers:
        raise SpecError(f"run folder {folder} holds other files ({strangers[0]} …) and no {SPEC}; choose another")


def anchors_file(folder: Path) -> Path:
    """Where a run on a part of the samples keeps what all of them gave; the folder is made where it is missing.

    Returns:
        The file, which may not exist yet.

    Raises:
        SpecError: the folder holds something else than a run.
    """
    _check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / ANCHORS


def _ours(name: str) -> bool:
    return name == LOCK or name.startswith((f".{SPEC}", JOURNAL, ANCHORS, f".{ANCHORS}"))


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as fault:
        raise BlockingIOError(
            f"run folder {folder} is being written by another process; wait for it or stop it"
        ) from fault
    except OSError as fault:
        raise type(fault)(f"run folder {folder} cannot be written: {fault.strerror}") from fault
    return lock


def _agree(folder: Path, spec: RunSpec) -> None:
    """Write the specification of a new run, or check it against the one that is there."""
    path = folder / SPEC
    if not path.exists():
        _write_durably(path, spec.to_json())
        return
    there = RunSpec.from_json(path.read_text(), path)
    if differing := there.differences(spec):
        raise RunMismatchError(
            f"{folder} belongs to another run: {'; '.join(differing)}. Choose another folder, or delete this one"
        )


def _write_durably(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as fault:
        raise type(fault)(f"run folder {path.parent} cannot be written: {fault.strerror}") from fault


def _open_journal(folder: Path) -> sqlite3.Connection:
    """The journal, in SQLite's rollback mode: unlike its write-ahead mode it also works on network file systems."""
    journal = sqlite3.connect(folder / JOURNAL, timeout=30)
    try:
        journal.execute("PRAGMA synchronous=FULL")
        with journal:
            journal.execute("CREATE TABLE IF NOT EXISTS points (i INTEGER PRIMARY KEY, status INT, v BLOB, note TEXT)")
    except sqlite3.OperationalError as fault:
        journal.close()
        raise OSError(f"run folder {folder} cannot be written ({fault})") from fault
    except sqlite3.DatabaseError as fault:
        journal.close()
        raise SpecError(f"{folder / JOURNAL} is damaged ({fault}); choose another folder") from fault
    return journal


def note_curvature(folder: Path, found: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Keep the curvature at the centre of a run beside it, so that its pictures can say what the slice does not show.

    Args:
        folder: the run folder.
        found: JSON values; ``lambda_min`` among them.
        identity: what it belongs to: the parts of the run's own identity that must be the same.

    Raises:
        RunMismatchError: the run is of something else; the message names the parts that differ.
        SpecError: no run folder.
    """
    if not (folder / SPEC).is_file():
        raise SpecError(f"{folder} is no run folder: it has no {SPEC}")
    spec = RunSpec.from_json((folder / SPEC).read_text(), folder / SPEC)
    there = replace(spec, identity=_same_parts(spec.identity, identity))
    if differing := there.differences(replace(spec, identity=identity)):
        raise RunMismatchError(f"{folder} is of something else: {'; '.join(differing)}. Name the run of this model")
    _write_durably(folder / CURVATURE, json.dumps(dict(found), indent=2))


def _same_parts(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an identity that another one names."""
    return {
        name: _same_parts(there.get(name) or {}, value) if isinstance(value, Mapping) else there.get(name)
        for name, value in wanted.items()
    }


def read_curvature(folder: Path) -> dict[str, Any]:
    """What is known of the curvature at the centre of a run; empty where nothing is."""
    return _json(folder / CURVATURE)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_evaluation(folder: Path) -> dict[str, Any]:
    """How the points of a run folder are evaluated; empty where it is not known or damaged."""
    return _json(folder / EVALUATION)


def read_points(journal: sqlite3.Connection, width: int) -> Block:
    """Every point of a journal, ordered by index; ``width`` values each."""
    rows = journal.execute("SELECT i, status, v, note FROM points ORDER BY i").fetchall()
    return Block(
        indices=np.array([row[0] for row in rows], np.int64),
        values=np.frombuffer(b"".join(row[2] for row in rows), "<f8").reshape(-1, width),
        status=np.array([row[1] for row in rows], np.int8),
        notes=tuple(row[3] for row in rows),
    )
