"""How pictures, tables and numbers stand together on one page, each with its caveat beside it.

Example:
    >>> import numpy as np, tempfile
    >>> from lossatlas.results.landscape import Axis, build
    >>> axis = Axis(coordinates=np.linspace(-1, 1, 5), length=2.0)
    >>> bowl = build({"x": axis}, {"loss": axis.coordinates**2})
    >>> parts = [
    ...     "What was measured, in a paragraph.",
    ...     Heading("Curvature"),
    ...     Number("λmax", 12.3, unit="per squared parameter norm", caveat="Says nothing of other points."),
    ...     Table([{"network": "A", "test error": "3 %"}], note="Two networks prove no correlation."),
    ...     Picture(bowl, words="The same line on a logarithmic scale.", view={"scale": "log"}),
    ...     bowl,
    ... ]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report(f"{folder}/page.html", "One network", parts).name
    'page.html'
"""

from __future__ import annotations

import base64
import html
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from lossatlas.atomic import replacing
from lossatlas.errors import SpecError
from lossatlas.figure.parts import Heading, Number, Part, Picture, Table
from lossatlas.figure.plot import Plot, plot_of
from lossatlas.figure.words import number

__all__ = ["COLUMN", "add_table", "report"]

COLUMN = 400.0
"""Pictures wider than so many points have several panels, and are not made smaller than can be read."""

_PLACE = '<section id="caption"'


def report(path: str | os.PathLike[str], title: str, parts: Iterable[Part | Any]) -> Path:
    """Write one page that needs nothing from elsewhere.

    Args:
        path: the ``.html`` file; it is written whole or not at all.
        title: its heading.
        parts: in order. A text is a paragraph; what is none of the parts above is drawn as a :class:`Picture`.
            Numbers that follow each other stand in one table.

    Returns:
        The path.

    Raises:
        SpecError: another suffix, no parts, or a part that cannot be drawn.
        OSError: the file cannot be written.
        ImportError: matplotlib is not installed; the message has the command that installs it.
    """
    target = Path(path)
    if target.suffix.lower() != ".html":
        raise SpecError(f"{target}: a report is one page; name a file that ends in .html")
    pieces = [part if isinstance(part, Part) else Picture(part) for part in parts]
    if not pieces:
        raise SpecError("parts is empty: a report needs at least one paragraph, number, table or picture")
    body = "\n".join(_written(kind, list(run)) for kind, run in groupby(pieces, key=type))
    filled = {"style": _resource("report.css"), "title": html.escape(title), "body": body}
    page = re.sub(r"\{\{(\w+)\}\}", lambda mark: filled[mark[1]], _resource("report.html"))
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as scratch:
        scratch.write_text(page, encoding="utf-8")
    return target


def _resource(name: str) -> str:
    return resources.files("lossatlas.draw").joinpath("page", name).read_text(encoding="utf-8")


def _written(kind: type, run: Sequence[Any]) -> str:
    """Parts of one kind that follow each other, as html."""
    if kind is Number:
        return _numbers(run)
    if kind is str:
        return "\n".join(f"<p>{html.escape(text)}</p>" for text in run)
    if kind is Heading:
        return "\n".join(f"<h2>{html.escape(part.text)}</h2>" for part in run)
    if kind is Table:
        return "\n".join(_table(part.rows, part.note) for part in run)
    return "\n".join(_figure(part) for part in run)


def _numbers(found: Sequence[Number]) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(one.name)}</th><td>{html.escape(_text(one.value))}</td><td>{html.escape(one.unit)}</td>"
        f"<td>{html.escape(one.caveat)}</td></tr>"
        for one in found
    )
    return f'<table class="facts">{rows}</table>'


def _figure(part: Picture) -> str:
    """A picture inside the page. As an image of its own, so that no name in it meets those of another."""
    drawn, said = _drawn(part)
    image = base64.b64encode(drawn).decode("ascii")
    words = f"<p>{html.escape(part.words)}</p>" if part.words else ""
    width = re.search(rb'<svg[^>]* width="([0-9.]+)pt"', drawn)
    wide = ' class="wide"' if width and float(width[1]) > COLUMN else ""
    return f'<figure{wide}>{words}<img alt="{html.escape(said)}" src="data:image/svg+xml;base64,{image}"></figure>'


def _drawn(part: Picture) -> tuple[bytes, str]:
    """A picture as svg, and what it says of itself."""
    from lossatlas.draw import View, compile, draw

    with tempfile.TemporaryDirectory() as folder:
        drawn = draw(part.shown, Path(folder) / "picture.svg", **{"caption": "full", **part.view}).read_bytes()
    plot: Plot | None = plot_of(part.shown)
    if plot is not None:
        return drawn, " ".join(plot.sentences) or plot.title
    fields = {name: value for name, value in part.view.items() if name in View.__dataclass_fields__}
    return drawn, " ".join(compile(part.shown, View(**fields)).caption.sentences)


def add_table(path: Path, rows: Sequence[Mapping[str, str]], note: str = "") -> Path:
    """Put a table above the caption of a page that :func:`lossatlas.draw` wrote.

    Args:
        path: the ``.html`` file.
        rows: one mapping for each row, with the same keys: the headings of the columns.
        note: a sentence below the table.

    Returns:
        The path.

    Raises:
        SpecError: the file is no such page.
    """
    page = path.read_text(encoding="utf-8")
    if _PLACE not in page or not rows:
        raise SpecError(f"{path} is not a page of lossatlas.draw, or the table has no rows")
    path.write_text(page.replace(_PLACE, _table(rows, note) + _PLACE, 1), encoding="utf-8")
    return path


def _table(rows: Sequence[Mapping[str, float | str]], note: str) -> str:
    if not rows or any(list(row) != list(rows[0]) for row in rows):
        raise SpecError("a table needs at least one row, and the same columns in every row")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
    cells = ("".join(f"<td>{html.escape(_text(cell))}</td>" for cell in row.values()) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f'<div class="numbers"><table><tr>{head}</tr>{body}</table><p>{html.escape(note)}</p></div>'


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else number(float(value))
