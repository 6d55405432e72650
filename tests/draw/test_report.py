"""Does a report hold what it was given, whole, escaped and with every caveat?"""

from __future__ import annotations

import re

import numpy as np
import pytest

import lossatlas as la
from lossatlas.draw.report import report
from lossatlas.figure.parts import Heading, Number, Picture, Table
from lossatlas.figure.plot import Panel, Plot, Series

LINE = Series(x=np.arange(3), y=np.arange(3.0))
PLOT = Plot(panels=[Panel(series=[LINE], x_label="x", y_label="y")], caption=["It proves <nothing>."])


def test_a_page_holds_its_parts_in_order_and_loads_nothing(tmp_path, bowl, tilted) -> None:
    parts = [
        "First & foremost.",
        Heading("Numbers"),
        Number("λmax", 12.3456, "Only at <this> point.", "per squared norm"),
        Number("trace", "1200 ± 40", "An estimate."),
        Table([{"network": "<A>", "error": 0.0312}, {"network": "B", "error": 1e-7}], note="Two prove nothing."),
        Picture(bowl, words="The bowl.", view={"scale": "log"}),
        PLOT,
        [bowl, tilted],
    ]
    page = report(tmp_path / "deep" / "page.html", 'Title with "quotes" & <tags>', parts).read_text(encoding="utf-8")
    places = [page.index(text) for text in ("First &amp; foremost.", "<h2>Numbers", "12.3", "1200 ± 40", "&lt;A&gt;")]
    assert places == sorted(places)
    assert page.count('class="facts"') == 1  # both numbers in one table
    assert page.count("data:image/svg+xml;base64,") == 3
    assert "Only at &lt;this&gt; point." in page
    assert "It proves &lt;nothing&gt;." in page
    assert "A slice that looks convex does not prove that the loss is." in page
    assert "0.0312" in page
    assert "10⁻⁷" in page
    assert "<title>Title with &quot;quotes&quot; &amp; &lt;tags&gt;</title>" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "{{" not in page
    assert not list((tmp_path / "deep").glob(".*"))


def test_bad_parts_are_refused(tmp_path, bowl) -> None:
    with pytest.raises(la.SpecError, match=r"ends in \.html"):
        report(tmp_path / "page.pdf", "T", ["x"])
    with pytest.raises(la.SpecError, match="parts is empty"):
        report(tmp_path / "page.html", "T", [])
    with pytest.raises(la.SpecError, match="same columns"):
        report(tmp_path / "page.html", "T", [Table([{"a": "1"}, {"b": "2"}])])
    with pytest.raises(la.SpecError, match="field of View"):
        report(tmp_path / "page.html", "T", [Picture(bowl, view={"colour": "red"})])
    assert not list(tmp_path.iterdir())
