"""Which parts of a run folder are damaged, what can be saved, and how is it repaired without losing a good point?"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lossatlas import checksum
from lossatlas.atomic import write_text
from lossatlas.errors import SpecError
from lossatlas.oneline import number_of, one_line
from lossatlas.results import folders, journal
from lossatlas.results.folders import CURVATURE, EVALUATION, JOURNAL, RESULT, SPEC, locked
from lossatlas.results.journal import Found, Journal
from lossatlas.results.spec import FIRST, Block, RunSpec

__all__ = ["ASIDE", "Damage", "Examination", "examine", "mend"]

ASIDE = "damaged"
"""The folder below a run where damaged files are put."""

_WRITTEN_AGAIN = "is set aside, and rewritten when the run is finished"


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A file that is not what was written.

    Attributes:
        file: its name in the run folder.
        what: which part of it.
        remedy: what :func:`mend` does about it.
    """

    file: str
    what: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What is known of a run folder.

    Attributes:
        folder: which.
        spec: what the run is.
        text: its specification as it was written.
        found: what the journal holds.
        damages: what is damaged.
        evaluation: how points are evaluated, as the journal has it.
    """

    folder: Path
    spec: RunSpec
    text: str
    found: Found
    damages: tuple[Damage, ...]
    evaluation: str | None

    __repr__ = one_line

    @property
    def total(self) -> int:
        """The number of cells of the run."""
        return folders.size_of(self.spec)

    @property
    def affected(self) -> int:
        """The number of points that were there and are to be computed again."""
        return len(self.found.broken) + self.found.lost

    @property
    def command(self) -> str:
        """What was called to begin the run; empty where it is not known."""
        told = self.spec.about.provenance.get("command", "")
        return told if isinstance(told, str) else ""


def examine(path: Path, checks: Mapping[str, Callable[[Path], object]] | None = None) -> Examination:
    """Read every file of a run folder and check it. Nothing is written.

    Args:
        path: the run folder.
        checks: further files by name, each with what raises a SpecError where it is damaged.

    Returns:
        What is whole and what is not.

    Raises:
        SpecError: not a run folder, its journal is of another run, or nothing says any longer what the run is.
    """
    kept, evaluation, trouble = _kept(path)
    damages: list[Damage] = []
    try:
        spec = folders.spec_of(path)
        text = (path / SPEC).read_text(encoding="utf-8")
    except SpecError as fault:
        if kept is None:
            if not path.is_dir() or not (path / JOURNAL).exists():
                raise
            raise SpecError(
                f"{path} cannot be repaired: {_said(fault)}, and {JOURNAL} has no copy of it that can be read"
            ) from fault
        spec, text = RunSpec.from_json(kept, path / JOURNAL), kept
        damages.append(Damage(file=SPEC, what=_said(fault), remedy=f"is rewritten from the copy in {JOURNAL}"))
    found, what = _points(path, spec, trouble)
    if what:
        damages.append(Damage(file=JOURNAL, what=what, remedy="keeps its undamaged points; the others are dropped"))
    damages += _beside(path, spec, evaluation, checks or {})
    return Examination(folder=path, spec=spec, text=text, found=found, damages=tuple(damages), evaluation=evaluation)


def _said(fault: SpecError) -> str:
    return str(fault).partition("; `lossatlas repair")[0]


def _kept(path: Path) -> tuple[str | None, str | None, str]:
    """The specification and the evaluation that a journal holds, where they are whole, and what is wrong with it."""
    if not (path / JOURNAL).is_file():
        return None, None, "it is missing, and with it every point"
    texts: list[str | None] = []
    try:
        with folders.connected(path) as connection:
            for name in (journal.SPEC, journal.EVALUATION):
                text = journal.text_of(connection, name)
                with contextlib.suppress(SpecError):
                    if text is not None:
                        (_read_spec if name == journal.SPEC else _read_sealed)(text, path)
                        texts.append(text)
                        continue
                texts.append(None)
    except sqlite3.Error as fault:
        return None, None, str(fault)
    return texts[0], texts[1], ""


def _read_spec(text: str, path: Path) -> object:
    return RunSpec.from_json(text, path / JOURNAL)


def _read_sealed(text: str, path: Path) -> object:
    return checksum.unsealed(text, path / JOURNAL, required=True)


def _points(path: Path, spec: RunSpec, trouble: str) -> tuple[Found, str]:
    """The points that are whole, and what is damaged of the others, in words."""
    width, size = len(spec.values), folders.size_of(spec)
    nothing = Found(told=Block.joined([], width))
    if not (path / JOURNAL).is_file():
        return nothing, "" if spec.format == FIRST else trouble
    try:
        with folders.connected(path) as connection:
            whose = ""
            try:
                folders.check_same(path, spec, connection)
            except SpecError as fault:
                if folders.FOREIGN in str(fault):
                    raise
                whose = _said(fault).partition(" is damaged (")[2].removesuffix(")")
            found = journal.read(connection, spec.key, size, width, required=spec.format != FIRST)
            return found, "; ".join(filter(None, (found.words, whose)))
    except sqlite3.Error as fault:
        found = _salvaged(path, spec)
        return found, f"{fault}; {number_of(len(found.told.indices), 'point')} can still be read"
    except SpecError as fault:
        if folders.FOREIGN in str(fault):
            raise
        return nothing, f"{_said(fault)}; no point can be read"


def _salvaged(path: Path, spec: RunSpec) -> Found:
    """What can be read of a journal whose pages are damaged, point by point."""
    blocks: list[Block] = []
    with contextlib.suppress(sqlite3.Error), folders.connected(path) as connection:
        for index in range(folders.size_of(spec)):
            with contextlib.suppress(sqlite3.Error):
                if block := journal.one(connection, index, spec.key, folders.size_of(spec), len(spec.values)):
                    blocks.append(block)
    told = Block.joined(blocks, len(spec.values))
    return Found(told=replace(told, notes=tuple(note for block in blocks for note in block.notes)))


def _beside(
    path: Path, spec: RunSpec, evaluation: str | None, checks: Mapping[str, Callable[[Path], object]]
) -> Iterator[Damage]:
    """What is damaged beside specification and journal."""
    known: dict[str, Callable[[Path], object]] = {
        EVALUATION: folders.read_json,
        CURVATURE: folders.read_json,
        RESULT: lambda file: folders.result_of(file.parent, spec),
        **checks,
    }
    remedies = {
        EVALUATION: f"is rewritten from the copy in {JOURNAL}" if evaluation else "is set aside",
        CURVATURE: "is set aside; `lossatlas eigen` rewrites it",
    }
    for name, read in known.items():
        if (path / name).exists():
            try:
                read(path / name)
            except SpecError as fault:
                yield Damage(file=name, what=_said(fault), remedy=remedies.get(name, _WRITTEN_AGAIN))
    if evaluation and spec.format != FIRST and not (path / EVALUATION).exists():
        yield Damage(file=EVALUATION, what="it is missing", remedy=remedies[EVALUATION])


def mend(examined: Examination) -> None:
    """Make a run folder whole again: damaged files are set aside, whole points stay, and all others must be recomputed.

    Args:
        examined: what :func:`examine` found.

    Raises:
        OSError: another process is writing there, or the folder cannot be written.
    """
    lock = locked(examined.folder)
    try:
        _set_aside(examined)
        _write_again(examined)
    finally:
        lock.release()


def _set_aside(examined: Examination) -> None:
    folder, aside = examined.folder, examined.folder / ASIDE
    for damage in examined.damages:
        for name in (damage.file, f"{damage.file}-journal"):
            if (folder / name).exists():
                aside.mkdir(exist_ok=True)
                (folder / name).replace(_free(aside, name))


def _write_again(examined: Examination) -> None:
    folder, damaged = examined.folder, {damage.file for damage in examined.damages}
    if JOURNAL in damaged:
        _write_journal(examined)
    if SPEC in damaged:
        write_text(folder / SPEC, examined.text)
    if EVALUATION in damaged and examined.evaluation:
        write_text(folder / EVALUATION, examined.evaluation)


def _free(folder: Path, name: str) -> Path:
    number, target = 1, folder / name
    while target.exists():
        number += 1
        target = folder / f"{name}.{number}"
    return target


def _write_journal(examined: Examination) -> None:
    """A new journal of the points that are whole."""
    spec, path = examined.spec, examined.folder / JOURNAL
    with contextlib.closing(sqlite3.connect(path.absolute())) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        new = Journal(connection, spec.key, examined.total, len(spec.values))
        new.prepare(examined.text)
        new.commit(examined.found.told)
        evaluation = examined.evaluation
        with contextlib.suppress(SpecError):
            if evaluation is None and (beside := folders.read_evaluation(examined.folder)):
                evaluation = checksum.sealed(beside)
        if evaluation:
            new.note(journal.EVALUATION, evaluation)
