"""Names that are markup, mathematics, control characters or thousands of letters: every picture is drawn, and says them."""

from __future__ import annotations

import xml.dom.minidom

import numpy as np
import pytest

import lossatlas as la
from lossatlas.figure.plot import Panel, Plot, Series
from lossatlas.results.landscape import save

X = np.linspace(-1, 1, 5)
NAMES = {
    "markup": "<script>alert(1)</script><b>&amp;\"x'</b>",
    "mathematics": r"$\frac{a}{$ \undefined{x} ^ $$",
    "control": "a\x1b[31m\x00\x07b\x0bc\r\nd",
    "half a character": "a\ud800b",
    "long": "W" * 3000,
    "turned": "\u202eevil %s {0}",
    "section": "]]></style><script>alert(1)</script><!--",
}


def named(name, dims):
    values = X**2 if dims == 1 else np.add.outer(X**2, X**2)
    axes = {"x": X} if dims == 1 else {"x": X, "y": X}
    return la.landscape(title=name, model=name, data=name, labels={"x": name}, **axes, loss=values)


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("dims", [1, 2])
def test_a_picture_of_any_name_is_drawn_and_runs_nothing(tmp_path, name, dims):
    landscape = named(name, dims)
    for ending in ("svg", "html", "png"):
        la.draw(landscape, tmp_path / f"a.{ending}", title=name)
    for ending in ("svg", "html"):
        text = (tmp_path / f"a.{ending}").read_text(encoding="utf-8")
        assert "<script>alert(1)" not in text
    xml.dom.minidom.parse(str(tmp_path / "a.svg"))
    save(landscape, tmp_path / "a.nc")
    assert la.open(tmp_path / "a.nc").attrs["title"] == landscape.attrs["title"]


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_plot_of_any_names_is_drawn(tmp_path, name):
    series = Series(x=[0, 1], y=[0, 1], label=name, names=[name, "b"], style="points")
    plot = Plot(panels=[Panel(series=[series], title=name, x_label=name, y_label=name)], title=name, caption=(name,))
    for ending in ("svg", "html"):
        la.draw(plot, tmp_path / f"a.{ending}")
        assert "<script>alert(1)" not in (tmp_path / f"a.{ending}").read_text(encoding="utf-8")
    xml.dom.minidom.parse(str(tmp_path / "a.svg"))
