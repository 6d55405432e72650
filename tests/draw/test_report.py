"""Does a report hold what it was given, whole, escaped and with every caveat?"""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import lossatlas as la
from lossatlas.cli.kinds import Result, parts_of
from lossatlas.draw import View, compile
from lossatlas.draw.report import report
from lossatlas.figure.parts import Heading, Note, Number, Picture, Table
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


def test_a_sentence_is_said_once(tmp_path, bowl) -> None:
    table = Table([{"network": "A", "error": "3 %"}], note="Two prove nothing.")
    parts = [
        Heading("A"),
        Note("Of every slice."),
        "Flat.",
        table,
        Heading("B"),
        Note("Of every slice."),
        "Flat.",
        table,
    ]
    page = report(tmp_path / "page.html", "T", parts).read_text(encoding="utf-8")
    assert page.count("Of every slice.") == page.count("Two prove nothing.") == 1
    assert page.count("<p>Flat.</p>") == 2, "what is found of a run is said of each"
    assert page.count("<section>") == 2
    stated = report(tmp_path / "page.html", "T", [Picture(bowl, stated=True)]).read_text(encoding="utf-8")
    below = re.findall("<figcaption>(.*)</figcaption>", stated)[0]
    assert "Quadratic" in below and "1500 samples" in below
    assert "Ruggedness" not in below and "does not prove" not in below


def test_runs_of_one_report_share_a_scale_and_have_names_of_their_own(tmp_path, make) -> None:
    x = np.linspace(-1, 1, 9)
    low, high = (make(scale * (x[:, None] ** 2 + x**2), x=x, y=x, title="net") for scale in (1.0, 5.0))
    results = [Result(f"runs/{name}", "landscape", one) for name, one in (("a", low), ("b", high))]
    parts = parts_of([*results, Result("runs/line", "landscape", low.isel(y=4))])
    headings = [part.text for part in parts if isinstance(part, Heading)]
    assert headings == ["Side by side", "net (a)", "net (b)", "net"]
    joint, _ = [part for part in parts if isinstance(part, Picture)]
    scene = compile(joint.shown, View(**joint.view))
    assert [panel.title for panel in scene.panels] == ["net (a)", "net (b)"]
    assert scene.range.low == 0 and scene.range.high > 2, "both on the scale of the steeper"
    (rows,) = [part.rows for part in parts if isinstance(part, Table) and "net (a)" in part.rows[0]]
    assert set(rows[0]) == {"ruggedness", "net (a)", "net (b)", "proves"}


def test_runs_that_are_called_like_a_column_of_ours_keep_theirs(tmp_path, make) -> None:
    x = np.linspace(-1, 1, 9)
    names = ("ruggedness", "proves")
    results = [
        Result(f"runs/{name}", "landscape", make(scale * (x[:, None] ** 2 + x**2), x=x, y=x, title=name))
        for name, scale in zip(names, (1.0, 5.0), strict=True)
    ]
    (rows,) = [part.rows for part in parts_of(results) if isinstance(part, Table) and "proves" in part.rows[0]]
    assert list(rows[0]) == ["(ruggedness)", "ruggedness", "proves", "(proves)"]


def test_a_report_shows_itself_in_a_notebook(tmp_path) -> None:
    parts = ["words", *(Heading(f"<b>{number}</b>") for number in range(40))]
    made = report(tmp_path / "page.html", "<script>", parts)
    shown = made._repr_html_()
    assert shown.startswith("<p><strong>&lt;script&gt;</strong>")
    assert "<b>" not in shown and "&lt;b&gt;3&lt;/b&gt;" in shown and "28 more" in shown
    assert len(shown) < 2000
    assert isinstance(made, Path) and made == tmp_path / "page.html"
    assert made.with_suffix(".pdf").name == "page.pdf" and pickle.loads(pickle.dumps(made)) == made


def test_a_table_of_sentences_takes_the_whole_width_and_a_small_one_does_not(tmp_path: Path) -> None:
    words = "That the loss is neither convex nor an increasing function of a convex one."
    wide = Table([{"ruggedness": words, "make_model (a)": 0.1, "make_model (b)": 0.2, "plane": 0.3, "proves": words}])
    small = Table([{"measure": "a", "first": 0.1, "second": 0.2}])
    page = report(tmp_path / "a.html", "A", [Heading("Wide"), wide, Heading("Small"), small]).read_text()
    assert page.count('<section class="broad">') == 1
    assert page.index('<section class="broad">') < page.index("ruggedness") < page.index("<section>")


def test_a_count_in_a_table_is_given_whole(tmp_path):
    page = report(tmp_path / "page.html", "T", [Table([{"parameters": 8256, "share": 0.123456}])])
    assert "<td>8256</td><td>0.123</td>" in page.read_text()


def test_a_note_that_stands_below_the_picture_is_not_said_again(tmp_path):
    page = report(tmp_path / "page.html", "T", [PLOT, Note("It proves <nothing>."), Note("Another one.")]).read_text()
    assert page.count("<figcaption>It proves &lt;nothing&gt;.</figcaption>") == 1
    assert '<p class="note">It proves' not in page
    assert '<p class="note">Another one.</p>' in page
