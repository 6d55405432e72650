"""How does a notebook show the page? A widget with the same code, and a picture for viewers that run no widgets.

The picture is an output of its own, before the widget. Within one output nbconvert takes the widget wherever the
notebook holds its state, and what runs widgets in the exported page is fetched from the network: without one the cell
was empty. Where the widget does run, it hides the picture.
"""

from __future__ import annotations

import functools
import json
import sys
import uuid
from importlib import resources
from typing import Any

from lossatlas import extras
from lossatlas.draw import notebook
from lossatlas.draw.payload import packed, payload
from lossatlas.draw.scene import Scene

__all__ = ["available", "widget"]

_CALL = """
export default {
  render({ model, el }) {
    const end = globalThis.lossatlasNotebook(model, el);
    const still = model.get("still");
    const hiding = document.createElement("style");
    hiding.textContent = `.${still}, .jp-OutputArea-child:has(.${still}) { display: none !important; }`;
    document.head.append(hiding);
    return () => {
      hiding.remove();
      end();
    };
  },
};
"""


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
    words = json.dumps(content, allow_nan=False, separators=(",", ":"))
    still = f"lossatlas-still-{uuid.uuid4().hex[:12]}"
    made = _kind()(words=words, arrays=numbers, still=still)
    made.picture = _picture(scene, still)
    return made


def _resource(name: str) -> str:
    return resources.files("lossatlas.draw").joinpath("page", name).read_text(encoding="utf-8")


def _code() -> str:
    """Both scripts as one module, since a widget has a single text; its end says how it draws."""
    return _resource("atlas.js") + _resource("third.js") + _CALL


def _picture(scene: Scene, still: str) -> dict[str, Any]:
    """The scene as a picture; nothing where matplotlib is not installed."""
    try:
        return notebook.bundle(scene, still)
    except extras.MissingExtraError:
        return {}


@functools.cache
def _kind() -> Any:
    """The class of the widget, made once anywidget is there."""
    anywidget: Any = extras.require("anywidget", extra="notebook", purpose="show a widget in a notebook")
    traitlets: Any = extras.require("traitlets", extra="notebook", purpose="show a widget in a notebook")

    display: Any = extras.require("IPython.display", extra="notebook", purpose="show a widget in a notebook")

    def displayed(self: Any, **_: Any) -> None:
        if self.picture:
            display.display(self.picture, raw=True)
        found = self._repr_mimebundle_()
        if found is not None:
            data, metadata = found if isinstance(found, tuple) else (found, {})
            # Viewers without widgets show the picture; beside it, the name of a widget would say nothing.
            shown = {kind: content for kind, content in data.items() if not (self.picture and kind == "text/plain")}
            display.display(shown, raw=True, metadata=metadata)

    return type(
        "LandscapeWidget",
        (anywidget.AnyWidget,),
        {
            "__doc__": "A Landscape in a notebook.",
            "_esm": _code(),
            "words": traitlets.Unicode().tag(sync=True),
            "arrays": traitlets.Bytes().tag(sync=True),
            "look": traitlets.Unicode(_resource("atlas.css")).tag(sync=True),
            "still": traitlets.Unicode().tag(sync=True),
            "picture": {},
            "_ipython_display_": displayed,
        },
    )
