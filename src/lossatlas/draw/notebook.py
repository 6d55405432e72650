"""What does a notebook show of a picture? A small raster image that any viewer can display."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

from lossatlas.draw import compiled, static
from lossatlas.draw.scene import Scene

__all__ = ["DPI", "bundle", "page", "png"]

DPI = 150
"""Dots per inch of a picture in a notebook, which shows it at its own size: 96 CSS pixels are an inch."""


def png(source: Any) -> bytes:
    """The picture of what :func:`lossatlas.draw` draws.

    Args:
        source: one Landscape, several, a plot or what has one.

    Returns:
        The bytes of a png file.

    Raises:
        SpecError: it cannot be drawn.
        ImportError: matplotlib is not installed.
    """
    return _png(compiled(source, None, {}))


def _png(scene: Any) -> bytes:
    figure, target = static.figure(scene), io.BytesIO()
    with static.own_settings(scene.paper.font):
        figure.savefig(target, format="png", dpi=DPI)
    return target.getvalue()


def page(source: Any, below: str) -> str:
    """The picture and something folded away below it, as a piece of html.

    Args:
        source: as for :func:`png`.
        below: html.

    Returns:
        The piece. Whatever the source calls itself stands in it as text.

    Raises:
        SpecError: it cannot be drawn.
        ImportError: matplotlib is not installed.
    """
    scene = compiled(source, None, {})
    return f"{_image(scene, _png(scene))}<details><summary>values</summary>{below}</details>"


def bundle(scene: Any, name: str) -> dict[str, Any]:
    """The picture alone as an output of a cell.

    Args:
        scene: what is drawn.
        name: the class of the image in html, by which a style can hide it.

    Returns:
        Data by media type.

    Raises:
        ImportError: matplotlib is not installed.
    """
    drawn = _png(scene)
    return {"text/plain": _said(scene), "text/html": _image(scene, drawn, name), "image/png": drawn}


def _image(scene: Any, drawn: bytes, name: str = "") -> str:
    width = int.from_bytes(drawn[16:20], "big") * 96 // DPI
    image = base64.b64encode(drawn).decode("ascii")
    named = f'class="{name}" ' if name else ""
    return (
        f'<img {named}alt="{html.escape(_said(scene))}" style="width:{width}px;max-width:100%" '
        f'src="data:image/png;base64,{image}">'
    )


def _said(scene: Any) -> str:
    return " ".join(scene.caption.sentences if isinstance(scene, Scene) else scene.sentences)
