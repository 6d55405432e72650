"""What is in a journal? Points that carry checksums, the specification they belong to, and a tally of them.

A point is a row of the table ``points``: index, status, values as bytes, note, and the checksum of all four under the
key of the run, so that a point of another run cannot pass for one of this run. The table ``meta`` holds the
specification, how points are evaluated, and the tally: how many points there are, and the exclusive or of their
checksums, which reveals lost points. A block, its tally included, is one transaction.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lossatlas import checksum
from lossatlas.errors import SpecError
from lossatlas.oneline import number_of
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block

__all__ = ["EVALUATION", "SPEC", "Found", "Journal", "in_words", "one", "read", "text_of"]

SPEC, TALLY, EVALUATION = "spec", "tally", "evaluation"
_STATUSES = frozenset(int(status) for status in Status)
_TABLES = (
    "CREATE TABLE points (i INTEGER PRIMARY KEY, status INT, v BLOB, note TEXT, sum BLOB)",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT)",
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a journal holds.

    Attributes:
        told: the points that are whole, ordered by index.
        broken: what the index of each damaged point seems to be.
        lost: number of points that were there and are not.
        tally: whether the tally is as it was written.
        verified: whether the journal has checksums; one of version 0.1 has none.
    """

    told: Block
    broken: tuple[int, ...] = ()
    lost: int = 0
    tally: bool = True
    verified: bool = True

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.broken and not self.lost and self.tally

    @property
    def words(self) -> str:
        """What is damaged."""
        parts = []
        if self.broken:
            parts.append(
                f"{number_of(len(self.broken), 'point', verb='is')} not what was written: {in_words(self.broken)}"
            )
        if self.lost:
            parts.append(f"{number_of(self.lost, 'point', verb='is')} lost")
        if not self.tally:
            parts.append("the tally of points is not what was written")
        return "; ".join(parts)


def in_words(indices: Iterable[int]) -> str:
    """Indices as ranges: ``4 to 6, 9``; long lists are cut."""
    found = sorted(set(indices))
    runs: list[list[int]] = []
    for index in found:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    words = [str(a) if a == b else f"{a} to {b}" for a, b in runs[:5]]
    return ", ".join(words) + (" …" if len(runs) > 5 else "")


class Journal:
    """A journal that is written to.

    Args:
        connection: to its file.
        key: of the run, see :attr:`~lossatlas.results.spec.RunSpec.key`.
        size: number of cells of the run.
        width: number of values at each.
    """

    def __init__(self, connection: sqlite3.Connection, key: bytes, size: int, width: int) -> None:
        self.connection = connection
        self.key, self.size, self.width = key, size, width

    def prepare(self, spec: str) -> None:
        """Make the tables of a new journal, or give one of version 0.1 its checksums."""
        with self.connection:
            tables = _tables(self.connection)
            if "meta" in tables:
                return
            self.connection.execute("BEGIN IMMEDIATE")
            rows: list[Any] = []
            if "points" in tables:
                rows = self.connection.execute("SELECT i, status, v, note FROM points").fetchall()
                self.connection.execute("DROP TABLE points")
            for table in _TABLES:
                self.connection.execute(table)
            self._note(SPEC, spec)
            self._put([(*row, _sum(self.key, *row)) for row in rows])

    def commit(self, block: Block) -> None:
        """Write a block in one transaction."""
        notes = block.notes or ("",) * len(block.indices)
        values = block.values.astype("<f8")
        # Values go in as bytes: SQLite would turn a NaN into NULL.
        rows = [
            (int(index), int(status), value.tobytes(), note.encode("utf-8", "backslashreplace").decode())
            for index, status, value, note in zip(block.indices, block.status, values, notes, strict=True)
        ]
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            self._put([(*row, _sum(self.key, *row)) for row in rows])

    def _put(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Put points in the place of those that are there, and keep the tally."""
        points, total = _tally(self.connection) or (0, 0)
        for row in rows:
            before = self.connection.execute("SELECT sum FROM points WHERE i = ?", (row[0],)).fetchone()
            if before is None:
                points += 1
            else:
                total ^= _number(before[0])
            total ^= _number(row[4])
            self.connection.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?)", row)
        self._note(TALLY, checksum.sealed({"points": points, "xor": f"{total:016x}"}))

    def _note(self, name: str, text: str) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, text))

    def note(self, name: str, text: str) -> None:
        """Keep a text beside the points."""
        with self.connection:
            self._note(name, text)

    def told(self) -> Found:
        """Everything there is."""
        return read(self.connection, self.key, self.size, self.width, required=True)

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()


def read(connection: sqlite3.Connection, key: bytes, size: int, width: int, *, required: bool) -> Found:
    """Every point of a journal, each checked against its checksum, its ranges and its size, and all against the tally.

    Args:
        connection: to a journal.
        key: of the run.
        size: number of cells.
        width: number of values at each.
        required: whether it must have checksums; where not, one of version 0.1 is read too.

    Returns:
        What is whole, and what is not.

    Raises:
        SpecError: its tables are damaged.
        sqlite3.DatabaseError: its pages are damaged.
    """
    connection.text_factory = _text
    tables = _tables(connection)
    old = "meta" not in tables and not required
    if old and "points" not in tables:  # stopped between making the file and its first table
        return Found(told=Block.joined([], width), verified=False)
    if not old and not {"meta", "points"} <= tables:
        raise SpecError("its tables are missing")
    columns = "i, status, v, note" + ("" if old else ", sum")
    rows = connection.execute(f"SELECT {columns} FROM points ORDER BY i").fetchall()
    good = [row for row in rows if _whole(row, key, size, width)]
    broken = tuple(row[0] for row in rows if not _whole(row, key, size, width)) if len(good) < len(rows) else ()
    told = _block(good, width)
    if old:
        return Found(told=told, broken=broken, verified=False)
    tally = _tally(connection)
    if tally is None:
        return Found(told=told, broken=broken, tally=False)
    total = 0
    for row in rows:
        total ^= _number(row[4])
    return Found(
        told=told,
        broken=broken,
        lost=max(0, tally[0] - len(rows)),
        tally=bool(broken) or len(rows) < tally[0] or tally == (len(rows), total),
    )


def one(connection: sqlite3.Connection, index: int, key: bytes, size: int, width: int) -> Block | None:
    """A single point of a journal whose other pages may be damaged.

    Returns:
        A block of one, or ``None`` where there is none that is whole.

    Raises:
        sqlite3.DatabaseError: the pages on the way to it are damaged.
    """
    connection.text_factory = _text
    row = connection.execute("SELECT i, status, v, note, sum FROM points WHERE i = ?", (index,)).fetchone()
    return _block([row], width) if row is not None and _whole(row, key, size, width) else None


def text_of(connection: sqlite3.Connection, name: str) -> str | None:
    """A text that is kept beside the points, as it is there.

    Returns:
        The text, or ``None``.

    Raises:
        sqlite3.DatabaseError: the journal's pages are damaged.
    """
    connection.text_factory = _text
    if "meta" not in _tables(connection):
        return None
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return row[0] if row is not None and isinstance(row[0], str) else None


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}


def _tally(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """How many points there should be, and the exclusive or of their checksums; ``None`` where that is damaged."""
    text = text_of(connection, TALLY)
    with contextlib.suppress(SpecError, KeyError, TypeError, ValueError):
        if text is not None:
            told = checksum.unsealed(text, Path(TALLY), required=True)
            return int(told["points"]), int(told["xor"], 16)
    return None


def _sum(key: bytes, index: int, status: int, values: bytes, note: str) -> bytes:
    return checksum.of(json.dumps([index, status]).encode(), values, note.encode("utf-8", "surrogateescape"), key=key)


def _whole(row: Sequence[Any], key: bytes, size: int, width: int) -> bool:
    index, status, values, note = row[:4]
    if not (type(index) is int and 0 <= index < size and type(status) is int and status in _STATUSES):
        return False
    if not (isinstance(values, bytes) and len(values) == 8 * width and isinstance(note, str)):
        return False
    return len(row) == 4 or row[4] == _sum(key, index, status, values, note)


def _number(total: Any) -> int:
    return int.from_bytes(total[:8], "little") if isinstance(total, bytes) else 0


def _block(rows: Sequence[Sequence[Any]], width: int) -> Block:
    return Block(
        indices=np.array([row[0] for row in rows], np.int64),
        values=np.frombuffer(b"".join(row[2] for row in rows), "<f8").reshape(-1, width),
        status=np.array([row[1] for row in rows], np.int8),
        notes=tuple(row[3] for row in rows),
    )
