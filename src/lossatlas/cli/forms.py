"""Which forms does a command draw, and which of its flags does each of them show?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lossatlas.cli.needed import Need

__all__ = ["BODY", "LINE", "MAP", "MESH", "PAGE", "RELIEF", "VOLUME", "WEB", "forms", "shown_by"]

LINE, MAP, RELIEF = "line", "map", "relief"
"""Set on a page, as png, pdf, svg and their like."""
WEB, MESH, BODY, VOLUME = "web", "mesh", "body", "volume"
"""A page of the browser (html), a mesh (glb, vtp), a body for printing (stl), a field in space (vti)."""
PAGE = (LINE, MAP, RELIEF)
OTHER = "other"
"""Of another distribution: it may show anything."""

_BY_SUFFIX = {".html": WEB, ".glb": MESH, ".vtp": MESH, ".stl": BODY, ".vti": VOLUME}


def forms(paths: Iterable[str | Path], own: Iterable[str], axes: int, kind: str, *, render: bool = False) -> set[str]:
    """What is drawn.

    Args:
        paths: of the pictures.
        own: suffixes of pictures on a page.
        axes: how many the results have.
        kind: that was asked for.
        render: whether a relief is rendered.

    Returns:
        The form of each, once.

    Example:
        >>> sorted(forms(["a.png", "a.html"], (".png",), 2, "surface"))
        ['relief', 'web']
        >>> forms(["a.pdf"], (".pdf",), 1, "auto"), forms(["a.new"], (".pdf",), 2, "auto")
        ({'line'}, {'other'})
    """
    relief = render or kind == "surface"
    page = LINE if axes == 1 else RELIEF if relief else MAP
    suffixes = [Path(path).suffix.lower() for path in paths]
    return {page if suffix in own else _BY_SUFFIX.get(suffix, OTHER) for suffix in suffixes}


def shown_by(*kinds: str, words: str) -> Need:
    """The need for one of the forms that show a flag.

    Args:
        *kinds: the forms.
        words: for the sentence.

    Returns:
        It.

    Example:
        >>> shown_by(RELIEF, words="reliefs").sentence("--camera")
        '--camera is for reliefs: leave it out'
    """
    shown = {*kinds, OTHER}
    return Need(words=words, met=lambda told: bool(told["forms"] & shown), fact="forms", so="leave it out")
