"""What is a run folder made of, and how are its files read without writing to them, whatever became of their writer?"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from filelock import FileLock, Timeout

from lossatlas import checksum
from lossatlas.errors import SpecError
from lossatlas.results import journal as journals
from lossatlas.results import landscape as schema
from lossatlas.results.journal import Found
from lossatlas.results.spec import FIRST, SPEC, RunSpec

__all__ = [
    "ANCHORS",
    "ANCHORS_REST",
    "CURVATURE",
    "EVALUATION",
    "FOREIGN",
    "JOURNAL",
    "LOCK",
    "RESULT",
    "SPEC",
    "Seen",
    "bound",
    "check_same",
    "connected",
    "locked",
    "look",
    "read_curvature",
    "read_evaluation",
    "read_json",
    "repair_command",
    "result_of",
    "size_of",
    "spec_of",
    "with_remedy",
]

JOURNAL, RESULT, LOCK = "journal.sqlite", "landscape.nc", ".lock"
EVALUATION, CURVATURE = "evaluation.json", "curvature.json"
ANCHORS, ANCHORS_REST = "anchors.npz", "anchors_rest.npz"

FOREIGN = "belongs to a different run from"
"""How the message begins where a result or a journal does not belong to the specification beside it."""

_HOT = f"{JOURNAL}-journal"
"""Where SQLite keeps the pages as they were before a transaction; one that outlives its writer must be rolled back."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A run folder as it is.

    Attributes:
        spec: what the run is.
        found: what its journal holds.
    """

    spec: RunSpec
    found: Found


def repair_command(folder: Path) -> str:
    """What to do about a damaged run, for a message."""
    return f"`lossatlas repair {folder}` says what is lost and recomputes just that"


def with_remedy(fault: Exception, folder: Path) -> str:
    """What is wrong with a run and, once, what to do about it."""
    words, remedy = str(fault), repair_command(folder)
    return words if remedy in words else f"{words}; {remedy}"


_RUN = "run"
"""The entry of a result's provenance that says which run it is of; in the file of a run folder alone."""


def bound(result: xr.Dataset, key: bytes) -> xr.Dataset:
    """A result that says which run it belongs to.

    Args:
        result: a Landscape.
        key: of the run.

    Returns:
        A shallow copy.
    """
    return _with_run(result, key.hex())


def result_of(folder: Path, spec: RunSpec | None = None) -> xr.Dataset:
    """The result in a folder, checked to be that of its run.

    Args:
        folder: with ``landscape.nc``, and a specification or a journal where it is of a run.
        spec: what the run is; by default what the folder says.

    Returns:
        The Landscape.

    Raises:
        SpecError: it is damaged, or of another run.
    """
    result = schema.load(folder / RESULT)
    told = schema.structured(result, "provenance").get(_RUN)
    if spec is None and not (folder / SPEC).exists() and not (folder / JOURNAL).exists():
        return _with_run(result, None)
    spec = spec or spec_of(folder)
    if told != spec.key.hex() and (told is not None or spec.format != FIRST):
        raise SpecError(f"{folder / RESULT} {FOREIGN} {folder / SPEC}")
    return _with_run(result, None)


def _with_run(result: xr.Dataset, run: str | None) -> xr.Dataset:
    provenance = {name: told for name, told in schema.structured(result, "provenance").items() if name != _RUN}
    if run is None and _RUN not in schema.structured(result, "provenance"):
        return result
    provenance |= {} if run is None else {_RUN: run}
    return result.assign_attrs(provenance=json.dumps(provenance, sort_keys=True))


def look(folder: Path) -> Seen:
    """A run folder as it is, its writer undisturbed and its files untouched.

    Returns:
        What it is, and every point.

    Raises:
        SpecError: this is not a run folder, or it is damaged: the message names the file, which part of it, and what to
            do.
    """
    path, spec = folder / JOURNAL, spec_of(folder)
    if not path.is_file():
        raise SpecError(f"{folder}: {JOURNAL} is missing, and with it every point; {repair_command(folder)}")
    found = _checked(folder, spec)
    if not found.whole:
        raise SpecError(f"{path} is damaged ({found.words}); {repair_command(folder)}")
    return Seen(spec=spec, found=found)


def _checked(folder: Path, spec: RunSpec) -> Found:
    """Every point of a folder's journal, if that is the journal of this run."""
    path = folder / JOURNAL
    try:
        with connected(folder) as connection:
            check_same(folder, spec, connection)
            required = spec.format != FIRST
            return journals.read(connection, spec.key, size_of(spec), len(spec.values), required=required)
    except sqlite3.Error as fault:
        raise SpecError(f"{path} is damaged ({fault}); {repair_command(folder)}") from fault
    except SpecError as fault:
        known = str(path) in str(fault)
        raise SpecError(str(fault) if known else f"{path} is damaged ({fault}); {repair_command(folder)}") from fault


def size_of(spec: RunSpec) -> int:
    """The number of cells of a run."""
    size = 1
    for length in spec.shape:
        size *= length
    return size


def spec_of(folder: Path) -> RunSpec:
    """What the run in a folder is.

    Returns:
        Its specification.

    Raises:
        SpecError: there is none, or it is damaged.
    """
    path = folder / SPEC
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as fault:
        if not folder.is_dir():
            raise SpecError(f"{folder}: no such folder") from fault
        hint = f": it has no {SPEC}"
        if (folder / JOURNAL).is_file():
            hint = f" any more: {SPEC} is missing beside {JOURNAL}, which holds a copy; {repair_command(folder)}"
        if (folder / ANCHORS).is_file():
            hint = f" yet: it has {ANCHORS}, the points that correct its subset; run the same command again to "
            "continue"
        raise SpecError(f"{folder} is not a run folder{hint}") from fault
    except (OSError, ValueError) as fault:
        raise SpecError(f"{path} is damaged ({fault}); {repair_command(folder)}") from fault
    try:
        return RunSpec.from_json(text, path)
    except SpecError as fault:
        again = "" if "this version reads" in str(fault) else f"; {repair_command(folder)}"
        raise SpecError(f"{fault}{again}") from fault


def check_same(folder: Path, spec: RunSpec, connection: sqlite3.Connection) -> None:
    """Check that a journal belongs to a specification.

    Raises:
        SpecError: it belongs to another run, or does not say to which it belongs.
    """
    path = folder / JOURNAL
    text = journals.text_of(connection, journals.SPEC)
    if text is None:
        if spec.format == FIRST:
            return
        raise SpecError(f"{path} is damaged (it does not say to which run it belongs); {repair_command(folder)}")
    try:
        there = RunSpec.from_json(text, path)
    except SpecError as fault:
        raise SpecError(with_remedy(fault, folder)) from fault
    if there.key != spec.key:
        parts = "; ".join(there.differences(spec)) or f"begun {there.about.created}, and this one {spec.about.created}"
        raise SpecError(
            f"{path} {FOREIGN} {folder / SPEC}: {parts}. Restore the journal that belongs here, "
            "or move this one to where it belongs"
        )


def locked(folder: Path) -> FileLock:
    """The lock of a run folder, taken; release it in the end.

    Returns:
        The lock.

    Raises:
        BlockingIOError: another process has it.
        OSError: the folder cannot be written.
    """
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


@contextlib.contextmanager
def connected(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a folder's journal that writes nothing, not even to roll back what a dead writer left.

    Where a transaction was cut off, it is rolled back in a copy, so that what was committed is read and the folder
    stays as it is: it may be on a read-only medium, or belong to somebody else.

    Yields:
        The connection.

    Raises:
        sqlite3.Error: it is not a journal.
    """
    path = folder / JOURNAL
    try:
        connection = _opened(path, "mode=ro")
    except sqlite3.OperationalError:
        if (folder / _HOT).is_file():
            with _rolled_back(folder) as connection:
                yield connection
            return
        connection = _opened(path, "mode=ro&immutable=1")  # a file system without locks
    with contextlib.closing(connection):
        yield connection


def _opened(path: Path, how: str) -> sqlite3.Connection:
    """A connection that has been used once: what is wrong with it shows at its first use."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=30)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _rolled_back(folder: Path) -> Iterator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory(prefix="lossatlas-") as beside:
        for _ in range(10):  # a writer that comes back in between rolls back itself
            before = _state(folder)
            for name in (JOURNAL, _HOT):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(folder / name, Path(beside) / name)
            if _state(folder) == before:
                break
        connection = sqlite3.connect(Path(beside) / JOURNAL)
        with contextlib.closing(connection):
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            yield connection


def _state(folder: Path) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for name in (JOURNAL, _HOT):
        try:
            about = (folder / name).stat()
            found.append((about.st_mtime_ns, about.st_size))
        except FileNotFoundError:
            found.append(None)
    return found


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file of a run folder; empty where there is none.

    Returns:
        The content.

    Raises:
        SpecError: it is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as fault:
        raise SpecError(f"{path} is damaged ({fault}); {repair_command(path.parent)}") from fault
    required = _has_checksums(path.parent)
    try:
        return checksum.unsealed(text, path, required=required)
    except SpecError as fault:
        raise SpecError(with_remedy(fault, path.parent)) from fault


def _has_checksums(folder: Path) -> bool:
    try:
        return spec_of(folder).format != FIRST
    except SpecError:
        return False


def read_evaluation(folder: str | os.PathLike[str]) -> Mapping[str, Any]:
    """How the points of a run folder are evaluated; empty where it is not known.

    It is noted in the journal and then in a file: a writer that died in between leaves only the first.

    Returns:
        JSON values by name.

    Raises:
        SpecError: the file, or the journal's copy, is damaged.
    """
    folder = Path(folder)
    if (found := read_json(folder / EVALUATION)) or not (folder / JOURNAL).is_file():
        return found
    try:
        with connected(folder) as connection:
            text = journals.text_of(connection, journals.EVALUATION)
    except sqlite3.Error as fault:
        raise SpecError(f"{folder / JOURNAL} is damaged ({fault}); {repair_command(folder)}") from fault
    return checksum.unsealed(text, folder / JOURNAL, required=True) if text else {}


def read_curvature(folder: str | os.PathLike[str]) -> Mapping[str, Any]:
    """What is known of the curvature at the centre of a run; empty where nothing is.

    Returns:
        JSON values by name.

    Raises:
        SpecError: the file is damaged.
    """
    return read_json(Path(folder) / CURVATURE)
