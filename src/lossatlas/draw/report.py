"""How numbers stand beside the pictures on a page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from lossatlas.errors import SpecError

_PLACE = '<section id="caption">'
_STYLE = (
    "<style>.numbers{overflow-x:auto;margin:1rem 0}.numbers table{border-collapse:collapse;font-size:.9rem}"
    ".numbers th,.numbers td{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #8884}"
    ".numbers th:first-child,.numbers td:first-child{text-align:left}.numbers th{font-weight:600}"
    ".numbers p{max-width:60rem;opacity:.8;font-size:.85rem}</style>"
)


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
        raise SpecError(f"{path} is no page of lossatlas.draw, or the table has no rows")
    path.write_text(page.replace(_PLACE, _table(rows, note) + _PLACE, 1), encoding="utf-8")
    return path


def _table(rows: Sequence[Mapping[str, str]], note: str) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row.values()) + "</tr>" for row in rows)
    return f'{_STYLE}<div class="numbers"><table><tr>{head}</tr>{body}</table><p>{html.escape(note)}</p></div>'
