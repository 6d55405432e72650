"""Does la.show give a notebook the page as a widget, with the same data and code, and a picture where it cannot run?"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import lossatlas as la
from lossatlas import extras
from lossatlas.draw import compiled, widget
from lossatlas.draw.payload import packed, payload

X = np.linspace(-1, 1, 7)
BOWL = la.landscape(x=X, y=X, loss=X[:, None] ** 2 + 3 * X**2)


class ZMQInteractiveShell:
    """What a kernel of Jupyter has."""

    events = SimpleNamespace(register=lambda *_: None)

    def enable_gui(self, *_: object) -> None:
        """Which window system is used: none."""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    there = pytest.importorskip("IPython", reason="IPython is not installed")
    monkeypatch.setattr(there, "get_ipython", ZMQInteractiveShell)


@pytest.mark.usefixtures("kernel")
def test_a_notebook_gets_the_data_of_the_page_and_its_code() -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    shown = la.show(BOWL, scale="log")
    content, numbers = packed(payload(compiled(BOWL, None, {"scale": "log"})))
    assert json.loads(shown.words) == json.loads(json.dumps(content))
    assert shown.arrays == numbers
    assert shown._esm == widget._code()
    assert "export default" in shown._esm
    assert set(shown.keys) >= {"words", "arrays", "look"}


@pytest.mark.usefixtures("kernel")
def test_readers_that_run_no_widget_see_its_picture() -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    data, _ = la.show(BOWL)._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in data


@pytest.mark.usefixtures("kernel")
def test_without_anywidget_a_notebook_gets_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed").use("agg")

    def missing(module: str, **words: str) -> object:
        if module == "anywidget":
            raise extras.MissingExtraError("anywidget is needed")
        return real(module, **words)

    real = extras.require
    monkeypatch.setattr(extras, "require", missing)
    assert la.show(BOWL).axes[0].get_xlabel() == "x (multiples of the direction)"


def test_outside_a_notebook_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not widget.available()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not widget.available()
