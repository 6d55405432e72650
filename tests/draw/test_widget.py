"""Does la.show give a notebook the page as a widget, with the same data and code, and a picture where it cannot run?"""

from __future__ import annotations

import base64
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


WIDGET, STATE = "application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json"


@pytest.fixture
def outputs(kernel: None, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What a cell gets that ends with the surface."""
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    display = pytest.importorskip("IPython.display")
    found: list[dict[str, object]] = []
    monkeypatch.setattr(display, "display", lambda data, **_: found.append(data))
    shown = la.show(BOWL)
    shown._ipython_display_()
    assert shown.still in found[0]["text/html"]
    assert 'model.get("still")' in shown._esm
    return found


def test_readers_that_run_no_widget_see_its_picture(outputs: list[dict[str, object]]) -> None:
    """As GitHub does; the widget beside it has nothing for them, so that they show nothing twice."""
    picture, interactive = outputs
    assert set(picture) == {"text/plain", "text/html", "image/png"}
    assert picture["image/png"].startswith(b"\x89PNG")
    assert set(interactive) == {WIDGET}


def test_a_page_that_nbconvert_exports_has_the_picture_without_a_network(outputs: list[dict[str, object]]) -> None:
    """It takes the widget of every output that has one, as long as its state is in the notebook."""
    exporters = pytest.importorskip("nbconvert", reason="nbconvert is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    cell = nbformat.v4.new_code_cell("la.show(bowl)", execution_count=1)
    for data in outputs:
        texts = {kind: base64.b64encode(one).decode() if isinstance(one, bytes) else one for kind, one in data.items()}
        cell.outputs.append(nbformat.v4.new_output("display_data", data=texts))
    (model,) = (data[WIDGET]["model_id"] for data in outputs if WIDGET in data)
    kept = {"version_major": 2, "version_minor": 0, "state": {model: {"model_name": "AnyModel", "state": {}}}}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {STATE: kept}})
    exported, _ = exporters.HTMLExporter().from_notebook_node(notebook)
    assert WIDGET in exported, "the widget is there too, for readers with a network"
    shown = base64.b64encode(outputs[0]["image/png"]).decode()
    assert exported.count(f"data:image/png;base64,{shown}") == 1


@pytest.mark.usefixtures("kernel")
def test_without_matplotlib_a_notebook_gets_the_widget_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed")

    def missing(*_: object) -> None:
        raise extras.MissingExtraError("matplotlib is needed")

    monkeypatch.setattr(widget.notebook, "bundle", missing)
    display = pytest.importorskip("IPython.display")
    found: list[dict[str, object]] = []
    monkeypatch.setattr(display, "display", lambda data, **_: found.append(data))
    la.show(BOWL)._ipython_display_()
    assert [set(data) for data in found] == [{WIDGET, "text/plain"}]


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
