"""How a scene becomes one page that works without a network: relief, map and sections with one cursor."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

from lossatlas.draw.payload import packed, payload
from lossatlas.draw.scene import Scene

__all__ = ["SUFFIXES", "check", "in_script", "page", "payload", "policy", "write"]

SUFFIXES = (".html",)


def check(scene: Scene, suffix: str) -> None:
    """Every scene can be drawn, with nothing to install."""


def write(scene: Scene, path: Path) -> None:
    """Write the page.

    Args:
        scene: what is drawn, from :func:`lossatlas.draw.view.compile`.
        path: the file.
    """
    path.write_text(page(scene), encoding="utf-8")


def page(scene: Scene) -> str:
    """The page as text: the code, its style and the data are inside, nothing is loaded from elsewhere.

    Args:
        scene: what is drawn.

    Returns:
        A complete html document.
    """
    code, third, style = _resource("atlas.js"), _resource("third.js"), _resource("atlas.css")
    content, numbers = packed(payload(scene))
    parts = {
        "title": html.escape(scene.title or " · ".join(_titles(scene)) or "Loss landscape"),
        "policy": policy((code, third), style),
        "style": style,
        "caption": _caption(scene),
        "data": in_script(content),
        "arrays": base64.b64encode(numbers).decode("ascii"),
        "code": code,
        "third": _folded(third),
    }
    # One pass over the template: what is inserted is never searched for further marks.
    pieces = _resource("page.html").split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


@functools.cache
def _folded(text: str) -> str:
    """A text that the page unpacks itself: a reader who is still downloading it waits for a quarter of it."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def policy(codes: Sequence[str], style: str) -> str:
    """The content security policy of the page: its own code and style by their hashes, and no request to anywhere.

    Args:
        codes: the texts of its scripts.
        style: the text of its only style sheet.

    Returns:
        The policy, for a ``meta`` element.
    """
    scripts = " ".join(map(_hash, codes))
    return (
        f"default-src 'none'; script-src {scripts}; style-src {_hash(style)}; "
        "img-src data: blob:; worker-src blob:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _resource(name: str) -> str:
    return resources.files("lossatlas.draw").joinpath("page", name).read_text(encoding="utf-8")


def _caption(scene: Scene) -> str:
    """The words of the picture as text of the page, readable even without its code."""
    brief = ("what", "proves")  # for paper, where the rest has no room
    names = [field.name for field in fields(scene.caption) if field.name not in brief]
    known = {name: getattr(scene.caption, name) for name in names}
    said = {name: html.escape(words) for name, words in known.items() if words}
    return "\n".join(f'<p id="{name}">{words}</p>' for name, words in said.items())


def _titles(scene: Scene) -> list[str]:
    titles = [*(panel.title for panel in scene.panels), *(curve.title for curve in scene.curves)]
    return list(dict.fromkeys(titles))


def in_script(content: Any) -> str:
    r"""JSON that may stand inside a script element: no character in it can end the element.

    Args:
        content: JSON types.

    Returns:
        The text.

    Example:
        >>> in_script({"title": "</script>"})
        '{"title":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
