"""What does the page show besides reliefs: words, tables and pictures of a result, and the numbers of a comparison?"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lossatlas.atlas.cards import FINDINGS
from lossatlas.atlas.rugged import spreads
from lossatlas.atlas.shelf import Entry, named
from lossatlas.draw import draw
from lossatlas.errors import SpecError
from lossatlas.field.ruggedness import MEASURES
from lossatlas.field.uncertainty import Seeds, compare
from lossatlas.figure.words import number
from lossatlas.results import opening, reading
from lossatlas.untrusted import json_object, printable, text_of

__all__ = ["compared", "picture", "sheet"]

_MOST_ROWS = 500


def sheet(entry: Entry) -> dict[str, Any]:
    """Words, tables and the number of pictures of a result that is not a field.

    Args:
        entry: a connection, a table of flatness, numbers or a study.

    Returns:
        ``title``, ``words`` (a list of sentences), ``tables`` (each with ``name`` and ``rows``, which are mappings of
        text), and ``pictures``, how many :func:`picture` has.

    Raises:
        SpecError: it is damaged, or of a kind that has no sheet.
    """
    return _maker(entry)[0](entry)


def picture(entry: Entry, place: int) -> tuple[bytes, str]:
    """One of the pictures of a result.

    Args:
        entry: as for :func:`sheet`.
        place: which, counted from 0.

    Returns:
        The file, and its media type.

    Raises:
        SpecError: there is no such picture.
    """
    return _maker(entry)[1](entry, place)


def _maker(entry: Entry) -> tuple[Callable[[Entry], dict[str, Any]], Callable[[Entry, int], tuple[bytes, str]]]:
    if entry.kind == "study":
        return _study, _figure
    if entry.kind in ("connection", "flatness", "numbers"):
        return _result, _drawn
    raise SpecError(f"{entry.name} is drawn as a field; ask /api/scene for it")


def _result(entry: Entry) -> dict[str, Any]:
    found = opening.KINDS[entry.kind].open(entry.path)
    if entry.kind == "connection":
        rows = [{"way": way, "barrier": words} for way, words in found.barriers.items()]
        return _told(found.title, found.caption, [("barriers", rows)], 1)
    if entry.kind == "numbers":
        return _numbers(found)
    return _told(entry.name, found.words, [("measures", found.rows())], 1)


def _numbers(found: Any) -> dict[str, Any]:
    """Every answer that the folder holds: its numbers, its table, its picture."""
    words, tables = [], []
    for name, one in found.sections.items():
        words += [f"{name}: {one.about}", *one.caveats]
        numbers = [{"number": each.name, "value": each.value, "caveat": each.caveat} for each in one.numbers]
        for rows in filter(None, (numbers, one.rows)):
            read = [{k: number(cell) if isinstance(cell, float) else cell for k, cell in row.items()} for row in rows]
            tables.append((name, read))
    return _told(found.title, words, tables, len(found.sections))


def _drawn(entry: Entry, place: int) -> tuple[bytes, str]:
    found = opening.KINDS[entry.kind].open(entry.path)
    shown = [one.plot for one in found.sections.values()] if entry.kind == "numbers" else [found]
    if not 0 <= place < len(shown):
        raise SpecError(f"picture={place}: {entry.name} has {len(shown)}, counted from 0")
    with tempfile.TemporaryDirectory() as folder:
        return draw(shown[place], Path(folder) / "picture.svg").read_bytes(), "image/svg+xml"


def _pictures(entry: Entry) -> list[Path]:
    """The figures of a study, never through a link."""
    there = entry.path / "figures"
    return [one for one in sorted(there.glob("*.png")) if one.is_file() and not one.is_symlink()]


def _study(entry: Entry) -> dict[str, Any]:
    found = json_object(entry.path / FINDINGS, "the findings of a study")
    verdicts = [one for one in found.get("verdicts", []) if isinstance(one, dict)]
    words = [f"{one.get('word', '')}: {one.get('words', '')} {one.get('caveat', '')}" for one in verdicts]
    tables = []
    for path in sorted((entry.path / "tables").glob("*.csv")):
        if path.is_file() and not path.is_symlink():
            rows = csv.DictReader(io.StringIO(text_of(path, "a table")))
            tables.append((path.stem, [row for row, _ in zip(rows, range(_MOST_ROWS), strict=False)]))
    return _told(str(found.get("title") or entry.name), words, tables, len(_pictures(entry)))


def _figure(entry: Entry, place: int) -> tuple[bytes, str]:
    found = _pictures(entry)
    if not 0 <= place < len(found):
        raise SpecError(f"picture={place}: {entry.name} has {len(found)}")
    return found[place].read_bytes(), "image/png"


def _told(title: str, words: Sequence[str], tables: Sequence[tuple[str, Any]], pictures: int) -> dict[str, Any]:
    def text(cell: Any) -> str:
        return printable(cell if isinstance(cell, str) else "" if cell is None else str(cell))

    return {
        "title": printable(title),
        "words": [printable(one) for one in words if one.strip()],
        "tables": [
            {"name": printable(name), "rows": [{text(key): text(cell) for key, cell in row.items()} for row in rows]}
            for name, rows in tables
        ],
        "pictures": pictures,
    }


def compared(entries: Sequence[Entry]) -> dict[str, Any]:
    """What the numbers of several landscapes say: measures, and whether they differ by more than directions do.

    Args:
        entries: two or more.

    Returns:
        As :func:`sheet`. An interval, and a verdict, need several direction seeds; the words say so if these are
        missing.

    Raises:
        SpecError: one is damaged.
    """
    sides = {name: _runs(entry) for name, entry in zip(named(entries), entries, strict=True)}
    rows = [{"measure": "direction seeds", **{name: str(len(runs)) for name, runs in sides.items()}}]
    for what, of in (("smallest loss", np.min), ("mean loss over the grid", np.mean), ("largest loss", np.max)):
        rows.append({"measure": what, **{name: _over(runs, of) for name, runs in sides.items()}})
    rugged = {name: _rugged(runs) for name, runs in sides.items()}
    if all(rugged.values()):
        rows += [{"measure": what, **{name: rugged[name][key] for name in sides}} for key, what in MEASURES.items()]
    words = [*_verdicts(sides)]
    if any(len(runs) > 1 for runs in sides.values()):
        student = "; of ruggedness, Student's 95 % interval of the mean over them" if all(rugged.values()) else ""
        words.append(f"In brackets, where there are several direction seeds: of losses, the range over them{student}.")
    return _told("Measures", words, [("measures", rows)], 0)


def _runs(entry: Entry) -> list[xr.Dataset]:
    if entry.kind == "seeds":
        return list(Seeds.open(entry.path).runs)
    return entry.seen()[0] if entry.kind == "path" else [reading.open(entry.path)]


def _over(runs: Sequence[xr.Dataset], of: Callable[[np.ndarray], float]) -> str:
    values = [one["loss"].values[np.isfinite(one["loss"].values)] for one in runs if "loss" in one]
    found = [float(of(each)) for each in values if each.size]
    if not found:
        return "not known"
    if len(found) == 1:
        return number(found[0])
    return f"{number(float(np.mean(found)))} ({number(min(found))} to {number(max(found))} over seeds)"


def _rugged(runs: Sequence[xr.Dataset]) -> dict[str, str]:
    return {name: one.words for name, one in spreads(runs).items()}


def _verdicts(sides: dict[str, list[xr.Dataset]]) -> list[str]:
    """Each of the others against the first."""
    (first, runs), *others = sides.items()
    found = []
    for name, theirs in others:
        if len(runs) < 2 or len(theirs) < 2:
            found.append(
                f"No verdict on {first} and {name}: to tell whether two models differ by more than their directions do "
                "takes several direction seeds of each (lossatlas sample --seeds 5)."
            )
            continue
        try:
            said = compare(runs, theirs)
        except SpecError as fault:
            found.append(f"No verdict on {first} and {name}: {fault}.")
        else:
            found.append(f"{said.words} {said.caveat}")
    return found
