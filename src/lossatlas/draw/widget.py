"""How does a notebook show the page? A widget with the same code, and a picture for readers that run none."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import sys
from importlib import resources
from typing import Any

from lossatlas import extras
from lossatlas.draw import static
from lossatlas.draw.payload import packed, payload
from lossatlas.draw.scene import Scene

__all__ = ["available", "widget"]

_CALL = "\nexport default { render({ model, el }) { return globalThis.lossatlasNotebook(model, el); } };\n"


def available() -> bool:
    """Whether this is a notebook that can show a widget: a kernel of Jupyter in which anywidget is installed."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__):
        return False
    try:
        extras.require("anywidget", extra="notebook", purpose="show a widget")
    except extras.MissingExtraError:
        return False
    return True


def widget(scene: Scene) -> Any:
    """The page as a widget of a notebook.

    Args:
        scene: what is drawn.

    Returns:
        An ``anywidget.AnyWidget``. Where no widget runs, as in a notebook on a web site, its picture is shown.

    Raises:
        MissingExtraError: anywidget is not installed; the message has the command that installs it.
    """
    content, numbers = packed(payload(scene))
    made = _kind()(words=json.dumps(content, allow_nan=False, separators=(",", ":")), arrays=numbers)
    made.picture = _picture(scene)
    return made


def _resource(name: str) -> str:
    return resources.files("lossatlas.draw").joinpath("page", name).read_text(encoding="utf-8")


def _code() -> str:
    """Both scripts as one module, since a widget has a single text; its last words say how it draws."""
    return _resource("atlas.js") + _resource("third.js") + _CALL


def _picture(scene: Scene) -> bytes:
    """The scene as a png; empty where matplotlib is not installed."""
    with contextlib.suppress(extras.MissingExtraError):
        extras.require("matplotlib.figure", extra="draw", purpose="draw a picture")
        file = io.BytesIO()
        static.figure(scene).savefig(file, format="png", dpi=110)
        return file.getvalue()
    return b""


@functools.cache
def _kind() -> Any:
    """The class of the widget, made once anywidget is there."""
    anywidget: Any = extras.require("anywidget", extra="notebook", purpose="show a widget in a notebook")
    traitlets: Any = extras.require("traitlets", extra="notebook", purpose="show a widget in a notebook")

    def bundle(self: Any, **options: Any) -> Any:
        found = anywidget.AnyWidget._repr_mimebundle_(self, **options)
        if found is None or not self.picture:
            return found
        data, metadata = found if isinstance(found, tuple) else (found, {})
        return {**data, "image/png": self.picture}, metadata

    return type(
        "LandscapeWidget",
        (anywidget.AnyWidget,),
        {
            "__doc__": "A Landscape in a notebook.",
            "_esm": _code(),
            "words": traitlets.Unicode().tag(sync=True),
            "arrays": traitlets.Bytes().tag(sync=True),
            "look": traitlets.Unicode(_resource("atlas.css")).tag(sync=True),
            "picture": b"",
            "_repr_mimebundle_": bundle,
        },
    )
