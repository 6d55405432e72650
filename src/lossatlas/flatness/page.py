"""What does a report say about a table of measures? Numbers, picture, definitions, caveats."""

from __future__ import annotations

from collections.abc import Mapping

from lossatlas.figure.parts import Heading, Part, Picture, Table
from lossatlas.flatness.definitions import INVARIANCES, Name
from lossatlas.flatness.door import definition_of
from lossatlas.flatness.table import CAVEAT
from lossatlas.flatness.table import Table as Measured

__all__ = ["definition", "parts"]


def parts(found: Measured) -> list[Part]:
    """The parts of a report on a table of measures.

    Args:
        found: the table.

    Returns:
        Heading, the numbers, the picture, what may be said, and the definitions with their caveats.
    """
    return [
        Heading("How flat"),
        Table(found.rows(), note="± is a standard error or, where the picture says so, a spread. " + CAVEAT),
        Picture(found),
        *found.words[:-1],
        Heading("What the measures are"),
        Table([definition(name) for name in found.results], note=_invariances()),
    ]


def definition(name: Name) -> Mapping[str, str]:
    """A row on one measure: what it is, what it costs, what leaves it unchanged, what it does not prove."""
    what = definition_of(name)
    return {
        "measure": what.title,
        "definition": what.formula,
        "paper": what.source,
        "cost": what.cost,
        "invariant to rescaling": ", ".join(what.invariant_to) or "nothing",
        "caveat": what.caveat,
    }


def _invariances() -> str:
    return "; ".join(f"{name}: {words}" for name, words in INVARIANCES.items()) + "."
