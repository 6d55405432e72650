"""What a report is made of: headings, numbers, tables and pictures, each with its caveat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossatlas.oneline import one_line

__all__ = ["Heading", "Note", "Number", "Part", "Picture", "Table"]


@dataclass(frozen=True)
class Heading:
    """The heading of what follows."""

    text: str


@dataclass(frozen=True)
class Note:
    """A sentence that applies to everything of its kind: a page says it once, where it first applies."""

    text: str


@dataclass(frozen=True)
class Number:
    """One number with what it does not prove.

    Attributes:
        name: what it is.
        value: a number, or text where it has an error: "1200 ± 40".
        caveat: what it proves and what it does not.
        unit: its unit; empty where it has none.
    """

    name: str
    value: float | str
    caveat: str
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """Rows with the same keys, the headings of the columns.

    Attributes:
        rows: one mapping for each row; numbers are written with three digits.
        note: what the table does not prove, and what its columns mean; printed below it.
    """

    rows: Sequence[Mapping[str, float | str]]
    note: str = ""

    __repr__ = one_line


@dataclass(frozen=True)
class Picture:
    """Anything that :func:`lossatlas.draw` draws: Landscapes, plots, results with a ``plot()``.

    Attributes:
        shown: what is drawn; its own caption, with its caveat, is part of the picture.
        words: a paragraph above it.
        view: options of :func:`lossatlas.draw`, such as ``{"scale": "log"}``.
        stated: whether the page says in words beside the picture what it proves; the caption then says only what it
            shows.
    """

    shown: Any
    words: str = ""
    view: Mapping[str, Any] = field(default_factory=dict)
    stated: bool = False

    __repr__ = one_line


Part = str | Heading | Note | Number | Table | Picture
