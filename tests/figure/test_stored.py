"""Does a folder of numbers give back what was kept, bit for bit, and refuse what is damaged or belongs elsewhere?"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import lossatlas as la
from lossatlas import checksum
from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.figure.parts import Number
from lossatlas.figure.plot import Mark, Panel, Plot, Series
from lossatlas.figure.stored import FILE, Numbers, Section, keep, opened

SERIES = Series(
    x=np.array([0.0, 1.0, 2.0]),
    y=np.array([1 / 3, np.nan, -1e-300]),
    low=np.array([0.0, 0.0, -np.inf]),
    high=np.array([1.0, 1.0, np.inf]),
    label="a < b",
    style="points",
    color=-1,
    dashed=True,
    names=("p", "q", "r"),
)
PANEL = Panel(
    series=[SERIES], x_label="k", y_label="λ", title="t", y_scale="symlog", marks=[Mark(y=0.0, label="zero")],
    x_ticks=[(0.0, "λmin")],
)  # fmt: skip
PLOT = Plot(panels=[PANEL], title="Both ends", caption=("What it is.", "What it does not prove."))
ENDS = Section(
    about="A Hessian.",
    plot=PLOT,
    numbers=(Number("ratio", math.inf, "of this point", "1"), Number("trace", "1 ± 2", "", "")),
    rows=({"block": "0", "λmin": math.nan, "parameters": 3},),
    caveats=("One.",),
)


def test_what_was_kept_comes_back_bit_for_bit(tmp_path) -> None:
    keep(tmp_path / "a", Numbers(title="Curvature", sections={"ends": ENDS}, identity={"model": "m"}))
    found = la.open(tmp_path / "a")
    back = found.sections["ends"]
    for name in ("x", "y", "low", "high"):
        np.testing.assert_array_equal(getattr(back.plot.panels[0].series[0], name), getattr(SERIES, name))
    for name in ("label", "style", "color", "dashed", "names"):
        assert getattr(back.plot.panels[0].series[0], name) == getattr(SERIES, name)
    for name in ("x_label", "y_label", "title", "x_scale", "y_scale", "marks", "x_ticks"):
        assert getattr(back.plot.panels[0], name) == getattr(PANEL, name)
    assert (back.plot.title, back.plot.caption) == (PLOT.title, PLOT.caption)
    assert (back.about, back.numbers, back.caveats) == (ENDS.about, ENDS.numbers, ENDS.caveats)
    assert back.rows[0]["block"] == "0" and math.isnan(back.rows[0]["λmin"])
    assert found.plot() == back.plot or found.plot() is back.plot


def test_another_answer_stands_beside_the_first_and_the_same_one_is_replaced(tmp_path) -> None:
    one = Numbers(title="Curvature", sections={"ends": ENDS}, identity={"model": "m"})
    keep(tmp_path, one)
    keep(tmp_path, Numbers(title="Curvature", sections={"density": ENDS}, identity={"model": "m"}))
    newer = Section(about="Measured again.", plot=PLOT)
    keep(tmp_path, Numbers(title="Curvature", sections={"ends": newer}, identity={"model": "m"}))
    assert {name: section.about for name, section in opened(tmp_path).sections.items()} == {
        "ends": "Measured again.",
        "density": "A Hessian.",
    }
    with pytest.raises(RunMismatchError, match="something else \\(model differ"):
        keep(tmp_path, Numbers(title="Curvature", sections={"ends": newer}, identity={"model": "n"}))
    assert opened(tmp_path).sections["ends"].about == "Measured again."


def test_a_folder_of_another_kind_is_left_as_it_is(tmp_path) -> None:
    x = np.linspace(-1, 1, 3)
    landscape = la.landscape(x=x, loss=x**2)
    landscape.to_netcdf(tmp_path / "landscape.nc")
    with pytest.raises(SpecError, match="holds a Landscape; choose another folder for numbers and their plots"):
        keep(tmp_path, Numbers(title="Curvature", sections={"ends": ENDS}))
    assert [path.name for path in tmp_path.iterdir()] == ["landscape.nc"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.update(format=9),
        lambda told: told.update(sections={}),
        lambda told: told["sections"]["ends"].update(rows=[{"a": [1]}]),
        lambda told: told["sections"]["ends"].update(numbers=[{"name": "a"}]),
        lambda told: told["sections"]["ends"]["plot"].update(panels=[]),
        lambda told: told["sections"]["ends"]["plot"]["panels"][0]["series"][0].update(y=[1.0]),
        lambda told: told["sections"]["ends"]["plot"]["panels"][0]["series"][0].update(style="knots"),
        lambda told: told["sections"]["ends"]["plot"]["panels"][0].update(odd=1),
        lambda told: told["sections"]["ends"]["plot"]["panels"][0].update(x_ticks=7),
    ],
)
def test_a_file_that_says_something_else_is_refused_in_a_sentence(tmp_path, spoil) -> None:
    keep(tmp_path, Numbers(title="Curvature", sections={"ends": ENDS}))
    content = json.loads((tmp_path / FILE).read_text())
    content.pop(checksum.CHECKSUM)
    spoil(content)
    (tmp_path / FILE).write_text(checksum.sealed(content))
    with pytest.raises(SpecError, match=FILE):
        la.open(tmp_path)


def test_a_changed_letter_is_noticed(tmp_path) -> None:
    keep(tmp_path, Numbers(title="Curvature", sections={"ends": ENDS}))
    text = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(text.replace("A Hessian.", "A hessian."))
    with pytest.raises(SpecError, match="checksum does not match"):
        la.open(tmp_path)
