"""Does the page show a folder of numbers: its card, each answer with its table, each picture?"""

from __future__ import annotations

import numpy as np
import pytest

from lossatlas.atlas import sheets
from lossatlas.atlas.shelf import Shelf
from lossatlas.errors import SpecError
from lossatlas.figure.parts import Number
from lossatlas.figure.plot import Panel, Plot, Series
from lossatlas.figure.stored import Numbers, Section, keep


def plot(words: str) -> Plot:
    line = Series(x=np.arange(3.0), y=np.array([1.0, 4.0, 9.0]))
    return Plot(panels=[Panel(series=[line], x_label="k", y_label=words)])


def test_a_folder_of_numbers_has_a_card_a_sheet_and_its_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    numbers = (Number("λmax", 2.5, "never above the true one"),)
    ends = Section(about="A Hessian.", plot=plot("eigenvalue"), numbers=numbers, caveats=("Found from inside.",))
    layers = Section(about="By layer.", plot=plot("of each layer"), rows=({"block": "<b>0</b>", "λmax": 1.0},))
    keep(tmp_path / "runs" / "c", Numbers(title="Curvature of net", sections={"ends": ends, "by layer": layers}))
    shelf = Shelf([tmp_path / "runs"])
    (entry,) = shelf.entries()
    card = shelf.card(entry)
    assert (card["kind"], card["words"], card["finished"]) == ("numbers", "numbers and their plots", True)
    told = sheets.sheet(entry)
    assert told["title"] == "Curvature of net" and told["pictures"] == 2
    assert told["words"][:2] == ["ends: A Hessian.", "Found from inside."]
    rows = {table["name"]: table["rows"] for table in told["tables"]}
    assert rows["ends"] == [{"number": "λmax", "value": "2.5", "caveat": "never above the true one"}]
    assert rows["by layer"] == [{"block": "<b>0</b>", "λmax": "1"}]
    assert b"of each layer" in sheets.picture(entry, 1)[0] and b"of each layer" not in sheets.picture(entry, 0)[0]
    with pytest.raises(SpecError, match="picture=2: .* has 2"):
        sheets.picture(entry, 2)
