"""How are the values of every sample at the anchors kept? In one file, complete after each block."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lossatlas import checksum
from lossatlas.atomic import replacing
from lossatlas.errors import SpecError
from lossatlas.results.spec import Block
from lossatlas.results.store import anchors_file
from lossatlas.untrusted import check_zip, reading

__all__ = ["AnchorTable"]

WRITE_SECONDS = 2.0
"""How much work an interruption may cost: the file is written whole each time."""


_PARTS = ("of", "indices", "values", "status")


class AnchorTable:
    """A journal of wide rows, in ``anchors.npz`` of a run folder, or in memory.

    Args:
        folder: the run folder; ``None`` where nothing is kept.
        of: what the rows belong to; those of something else, or a damaged file, are not read.
        width: numbers in a row.
        rest: whether the rows are of the samples that are not in a first phase, which are kept in a file of their own.
    """

    def __init__(self, folder: Path | None, of: Sequence[str], width: int, *, rest: bool = False) -> None:
        self._file = None if folder is None else anchors_file(folder, rest=rest)
        self._of = list(of)
        self._width = width
        self._blocks = self._read()
        self._written = time.monotonic()

    def told(self) -> Block:
        """Everything committed so far, ordered by index; on the disk when this returns."""
        found = Block.joined(self._blocks, self._width)
        self._write(found)
        return found

    def commit(self, block: Block) -> None:
        """Keep a block; it is on the disk at the latest two seconds after the one before."""
        self._blocks.append(block)
        if time.monotonic() - self._written > WRITE_SECONDS:
            self.told()

    def _read(self) -> list[Block]:
        if self._file is None or not self._file.is_file():
            return []
        try:
            check_zip(self._file)
            with reading(self._file, "anchors"), np.load(self._file, allow_pickle=False) as there:
                if there["of"].tolist() != self._of or there["sum"].tolist() != _sum(*(there[name] for name in _PARTS)):
                    return []
                found = Block(indices=there["indices"], values=there["values"], status=there["status"])
                return [found] if found.values.shape[1:] == (self._width,) else []
        except SpecError:
            return []  # evaluated again: nothing of it is lost but time

    def _write(self, found: Block) -> None:
        self._written = time.monotonic()
        if self._file is None or not len(found.indices):
            return
        with replacing(self._file) as scratch, scratch.open("wb") as file:
            parts = {"of": np.array(self._of), **{name: getattr(found, name) for name in _PARTS[1:]}}
            np.savez(file, sum=np.array(_sum(*parts.values())), **parts)


def _sum(*parts: np.ndarray) -> str:
    """The checksum of some arrays."""
    return checksum.of(*(b"".join([str((p.dtype.str, p.shape)).encode(), p.tobytes()]) for p in parts)).hex()
