"""How a plot of plain numbers becomes a page, or a part of one: a drawing inside the text, its words as text."""

from __future__ import annotations

import html
import io
from dataclasses import replace
from pathlib import Path

from lossatlas import extras
from lossatlas.draw import static
from lossatlas.figure.plot import Plot

__all__ = ["fragment", "write"]

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
body {{ margin: 0; background: {paper}; color: {ink}; font: 16px/1.5 system-ui, sans-serif; }}
main {{ max-width: {width}rem; margin: 0 auto; padding: 1.5rem 1rem; }}
figure {{ margin: 0; }}
figure svg {{ width: 100%; height: auto; }}
</style>
</head>
<body><main>{figure}</main></body>
</html>
"""


def write(plot: Plot, path: Path) -> None:
    """Write one self-contained page.

    Args:
        plot: what is drawn.
        path: the file.

    Raises:
        ImportError: matplotlib is not installed; the message has the command that installs it.
    """
    words = {
        "title": html.escape(plot.title or plot.panels[0].title or plot.panels[0].y_label),
        "width": 44 if len(plot.panels) == 1 else 72,
        "figure": fragment(plot),
    }
    path.write_text(_PAGE.format(paper=plot.theme.paper, ink=plot.theme.ink, **words), encoding="utf-8")


def fragment(plot: Plot) -> str:
    """A figure element for any page, its caption included.

    Args:
        plot: what is drawn.

    Returns:
        Escaped html.
    """
    extras.require("matplotlib.figure", extra="draw", purpose="draw a plot")
    drawn = io.StringIO()
    static.save(replace(plot, paper=replace(plot.paper, caption="full")), drawn, "svg")
    text = drawn.getvalue()
    said = html.escape(" ".join(plot.sentences) or plot.title)
    return f'<figure role="img" aria-label="{said}">{text[text.index("<svg") :]}</figure>'
