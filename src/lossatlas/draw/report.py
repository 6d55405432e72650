"""How pictures, tables and numbers appear together on one page, each with its caveat beside it.

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
from typing import TYPE_CHECKING, Any

from lossatlas.atomic import replacing, sweep, write_text
from lossatlas.errors import SpecError
from lossatlas.figure.parts import Heading, Note, Number, Part, Picture, Table
from lossatlas.figure.plot import Plot, plot_of
from lossatlas.figure.words import number

__all__ = ["COLUMN", "Report", "add_table", "report"]

COLUMN = 400.0
"""Pictures wider than this many points have several panels, and are not shrunk until they are illegible."""

_COLUMNS = 5
_BETWEEN, _LETTERS = 3.5, 72
"""Characters that fit beside a column, and in half of a wide page."""
"""A table of more columns takes the width of the page."""

_LONG = 18
"""Characters of a cell whose column is broken into lines."""

_SHOWN = 12
"""How many headings are listed in a notebook."""

_PLACE = '<section id="caption"'


if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # before Python 3.12, Path itself has no subclasses of its own


class Report(_Path):
    """The file of a report: a path, of which a notebook shows the content.

    Attributes:
        title: heading of the page.
        headings: of its sections.

    Example:
        >>> Report("page.html")._repr_html_()
        '<p><strong>page</strong>: <code>page.html</code></p>'
    """

    title: str = ""
    headings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """What a notebook shows: title, sections, where the file is and how large it is."""
        size = f" ({number(self.stat().st_size / 1000)} kB)" if self.is_file() else ""
        items = "".join(f"<li>{html.escape(text)}</li>" for text in self.headings[:_SHOWN])
        more = f"<li>{len(self.headings) - _SHOWN} more</li>" if len(self.headings) > _SHOWN else ""
        name, place = html.escape(self.title or self.stem), html.escape(str(self))
        listed = f"<ul>{items}{more}</ul>" if items else ""
        return f"<p><strong>{name}</strong>: <code>{place}</code>{size}</p>{listed}"


def report(path: str | os.PathLike[str], title: str, parts: Iterable[Part | Any]) -> Report:
    """Write one self-contained page.

    Args:
        path: the ``.html`` file; it is written whole or not at all.
        title: its heading.
        parts: in order. A text is a paragraph; anything else is drawn as a :class:`Picture`. Consecutive numbers share
            one table.

    Returns:
        The path, which a notebook shows with the headings of the page.

    Raises:
        SpecError: another suffix, no parts, or a part that cannot be drawn.
        OSError: the file cannot be written.
        ImportError: matplotlib is not installed; the message has the command that installs it.
    """
    target = Report(path)
    if target.suffix.lower() != ".html":
        raise SpecError(f"{target}: a report is one page; name a file that ends in .html")
    pieces = [part if isinstance(part, Part) else Picture(part) for part in parts]
    if not pieces:
        raise SpecError("parts is empty: a report needs at least one paragraph, number, table or picture")
    said: set[str] = set()
    body = "\n".join(_section(part, said) for part in _sections(pieces))
    filled = {"style": _resource("report.css"), "title": html.escape(title), "body": body}
    page = re.sub(r"\{\{(\w+)\}\}", lambda mark: filled[mark[1]], _resource("report.html"))
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    with replacing(target) as scratch:
        scratch.write_text(page, encoding="utf-8")
    target.title = title
    target.headings = tuple(piece.text for piece in pieces if isinstance(piece, Heading))
    return target


def _resource(name: str) -> str:
    return resources.files("lossatlas.draw").joinpath("page", name).read_text(encoding="utf-8")


def _sections(pieces: Sequence[Any]) -> list[list[Any]]:
    """The parts from one heading to the next."""
    found: list[list[Any]] = [[]]
    for piece in pieces:
        if isinstance(piece, Heading):
            found.append([])
        found[-1].append(piece)
    return [section for section in found if section]


def _section(pieces: Sequence[Any], said: set[str]) -> str:
    """A part of the page under one heading; what needs room takes the full width."""
    here: set[str] = set()
    body = "\n".join(_written(kind, list(run), said, here) for kind, run in groupby(pieces, key=type))
    lead = not isinstance(pieces[0], Heading)
    broad = any(isinstance(piece, Table) and _is_broad(piece.rows) for piece in pieces)
    joint = any(isinstance(piece, Picture) and isinstance(piece.shown, (list, tuple)) for piece in pieces)
    name = "lead" if lead else "broad" if broad else "wide" if joint else ""
    return f'<section class="{name}">\n{body}\n</section>' if name else f"<section>\n{body}\n</section>"


def _is_broad(rows: Sequence[Mapping[str, float | str]]) -> bool:
    """Whether a table has no room in half of a wide page, by its columns or by characters that cannot be wrapped."""
    if not rows or len(rows[0]) > _COLUMNS:
        return bool(rows)
    needed = 0.0
    for name in rows[0]:
        cells = [len(_text(row[name])) for row in rows if name in row]
        longest = max([*map(len, name.split()), *cells], default=0)
        needed += min(longest, _LONG) + _BETWEEN
    return needed > _LETTERS


def _once(text: str, said: set[str]) -> str:
    """A sentence, or nothing if it has been said already."""
    if text in said:
        return ""
    said.add(text)
    return text


def _written(kind: type, run: Sequence[Any], said: set[str], here: set[str]) -> str:
    """Parts of one kind that follow each other, as html: notes once on a page, any sentence once in a section."""
    if kind is Number:
        return _numbers(run)
    if kind is str:
        return "\n".join(f"<p>{html.escape(text)}</p>" for text in run if _once(text, here))
    if kind is Note:
        notes = [one.text for one in run if one.text not in here and _once(one.text, said)]
        return "\n".join(f'<p class="note">{html.escape(note)}</p>' for note in notes)
    if kind is Heading:
        return "\n".join(f"<h2>{html.escape(part.text)}</h2>" for part in run)
    if kind is Table:
        return "\n".join(_table(part.rows, _once(part.note, said)) for part in run)
    return "\n".join(_figure(part, here) for part in run)


def _numbers(found: Sequence[Number]) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(one.name)}</th><td>{html.escape(_text(one.value))}</td><td>{html.escape(one.unit)}</td>"
        f"<td>{html.escape(one.caveat)}</td></tr>"
        for one in found
    )
    return f'<table class="facts">{rows}</table>'


def _figure(part: Picture, here: set[str]) -> str:
    """A picture inside the page. It is an image of its own, so that no name in it clashes with those of another."""
    drawn, sentences, caption = _drawn(part)
    image = base64.b64encode(drawn).decode("ascii")
    words = f"<p>{html.escape(part.words)}</p>" if part.words and _once(part.words, here) else ""
    below = html.escape(" ".join(sentence for sentence in caption if _once(sentence, here)))
    width = re.search(rb'<svg[^>]* width="([0-9.]+)pt"', drawn)
    wide = ' class="wide"' if width and float(width[1]) > COLUMN else ""
    return (
        f'<figure{wide}>{words}<img alt="{html.escape(" ".join(sentences))}" '
        f'src="data:image/svg+xml;base64,{image}">{f"<figcaption>{below}</figcaption>" if below else ""}</figure>'
    )


def _drawn(part: Picture) -> tuple[bytes, Sequence[str], Sequence[str]]:
    """A picture as svg, all that it says about itself, and which part of that goes below it as text of the page."""
    from lossatlas.draw import View, compile, draw

    with tempfile.TemporaryDirectory() as folder:
        drawn = draw(part.shown, Path(folder) / "picture.svg", **{"caption": "none", **part.view}).read_bytes()
    plot: Plot | None = plot_of(part.shown)
    printed = part.view.get("caption", "none") != "none"
    if plot is not None:
        return drawn, plot.sentences or [plot.title], [] if printed else plot.sentences
    fields = {name: value for name, value in part.view.items() if name in View.__dataclass_fields__}
    caption = compile(part.shown, View(**fields)).caption
    known = (caption.about, caption.axes, caption.shown, caption.runs, caption.empty)
    below = [one for one in known if one] if part.stated else caption.sentences
    return drawn, caption.sentences, [] if printed else below


def add_table(path: Path, rows: Sequence[Mapping[str, str]], note: str = "") -> Path:
    """Put a table above the caption of a page that :func:`lossatlas.draw` wrote.

    Args:
        path: the ``.html`` file.
        rows: one mapping for each row, with the same keys: the headings of the columns.
        note: a sentence below the table.

    Returns:
        The path.

    Raises:
        SpecError: the file is not such a page.
        OSError: it cannot be written; the page stays as it was.
    """
    page = path.read_text(encoding="utf-8")
    if _PLACE not in page or not rows:
        raise SpecError(f"{path} is not a page of lossatlas.draw, or the table has no rows")
    write_text(path, page.replace(_PLACE, _table(rows, note) + _PLACE, 1))
    return path


def _table(rows: Sequence[Mapping[str, float | str]], note: str) -> str:
    if not rows or any(list(row) != list(rows[0]) for row in rows):
        raise SpecError("a table needs at least one row, and the same columns in every row")
    long = {name for row in rows for name, cell in row.items() if len(_text(cell)) > _LONG}
    head = "".join(_cell("th", name, long=name in long) for name in rows[0])
    cells = ("".join(_cell("td", _text(row[name]), long=name in long) for name in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    below = f"<p>{html.escape(note)}</p>" if note else ""
    return f'<div class="numbers"><table><tr>{head}</tr>{body}</table>{below}</div>'


def _cell(tag: str, text: str, *, long: bool) -> str:
    kind = ' class="words"' if long else ""
    return f"<{tag}{kind}>{html.escape(text)}</{tag}>"


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return number(float(value), 15 if float(value).is_integer() else 3)  # a count is given in full
