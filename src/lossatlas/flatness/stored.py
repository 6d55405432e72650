"""How a table of measures is kept as JSON, and opened again."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from lossatlas import checksum
from lossatlas.atomic import write_text
from lossatlas.errors import SpecError
from lossatlas.figure.words import number
from lossatlas.flatness.definitions import Name
from lossatlas.flatness.door import definition_of
from lossatlas.flatness.ranking import Correlation
from lossatlas.flatness.result import Sharpness
from lossatlas.flatness.table import Table
from lossatlas.untrusted import json_object, reading, shown

__all__ = ["facts", "lines", "opened", "save", "text"]

_ASK = "write it with lossatlas sharpness --json, or lossatlas.flatness.stored.save"


def save(table: Table, path: str | os.PathLike[str]) -> Path:
    """Write a table of measures to a file that :func:`lossatlas.open` reads.

    Args:
        table: the table.
        path: the ``.json`` file.

    Returns:
        The path.

    Raises:
        SpecError: another suffix.
    """
    target = Path(path)
    if target.suffix.lower() != ".json":
        raise SpecError(f"path={str(target)!r}; expected a name that ends in .json")
    write_text(target, text(table))
    return target


def text(table: Table) -> str:
    """Everything that a table holds and says, as JSON text with its checksum."""
    return checksum.sealed(checksum.strict(facts(table)), ascii=False)


def facts(table: Table) -> dict[str, Any]:
    """Everything that a table holds and says, as JSON values."""
    measures = {
        name: {
            "values": {
                model: None if one is None else {**asdict(one), "caveat": one.caveat}
                for model, one in zip(table.models, column, strict=True)
            },
            **dict(lines(table, name)),
        }
        for name, column in table.results.items()
    }
    return {
        "kind": "flatness",
        "measures": measures,
        "against": {"name": table.against_name, "values": dict(table.against)} if table.against else None,
        "correlations": {name: asdict(one) for name, one in table.correlations.items()},
        "words": list(table.words),
    }


def lines(table: Table, name: Name) -> Iterator[tuple[str, str]]:
    """What is said about one measure.

    Args:
        table: the table.
        name: the measure.

    Yields:
        Heads and their words.
    """
    what = definition_of(name)
    known = [one for one in table.results[name] if one is not None]
    yield "definition", f"{what.formula} ({what.source})"
    if known:
        if known[0].spread_is:
            yield "±", known[0].spread_is
        evaluations, gradients = known[-1].evaluations, known[-1].gradients
        passes = f"{_counted(evaluations, 'evaluation')} of the data, {_counted(gradients, 'gradient')}"
        yield "cost", f"{passes}; {what.cost}"
    yield "unchanged by", f"rescaling {', '.join(what.invariant_to)}" if what.invariant_to else "no rescaling"
    notes = dict.fromkeys(one.note for one in known if one.note)
    yield "caveat", " ".join((*notes, what.caveat))
    if name in table.correlations:
        yield "ranking", table.correlations[name].words
    if name in table.failures:
        yield "not everywhere", table.failures[name]


def _counted(count: float, unit: str) -> str:
    return f"{number(count)} {unit}" + ("" if count == 1 else "s")


def opened(path: str | os.PathLike[str]) -> Table:
    """Read a table of measures back.

    Args:
        path: the ``.json`` file of ``lossatlas sharpness --json``, or of :func:`save`.

    Returns:
        The table.

    Raises:
        SpecError: the file is missing, damaged, or holds something else.
    """
    content = checksum.verified(json_object(path, "measures of flatness"), Path(path))
    if not isinstance(content.get("measures"), dict) or not content["measures"]:
        raise SpecError(f"{shown(path)} holds no measures of flatness; {_ASK}")
    with reading(path, "measures of flatness", _ASK):
        table = _table(content)
        table.rows()  # a value that is not a number is caught here
        return table


def _table(content: Mapping[str, Any]) -> Table:
    measures = content["measures"]
    models = tuple(next(iter(measures.values()))["values"])
    for name in measures:
        definition_of(name)
    correlations = content.get("correlations") or {}
    against = content.get("against") or {"name": "test error", "values": {}}
    return Table(
        models=models,
        results={name: tuple(_one(told["values"][model]) for model in models) for name, told in measures.items()},
        against=dict(against["values"]),
        against_name=against["name"],
        correlations={name: Correlation(**_read(Correlation, one)) for name, one in correlations.items()},
        failures={name: told["not everywhere"] for name, told in measures.items() if "not everywhere" in told},
    )


def _one(told: Mapping[str, Any] | None) -> Sharpness | None:
    return None if told is None else Sharpness(**_read(Sharpness, {k: v for k, v in told.items() if k != "caveat"}))


def _read(kind: type[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record; a number that is null was not finite."""
    numbers = {field.name for field in fields(kind) if field.type == "float"}
    return {name: math.nan if value is None and name in numbers else value for name, value in told.items()}
