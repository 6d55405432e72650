"""Does the page show a folder of numbers: its card, each answer with its table, each picture?"""

from __future__ import annotations

import numpy as np
import pytest

import lossatlas as la
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


def test_brackets_are_explained_where_there_are_several_seeds_and_as_what_they_are(tmp_path):
    objective = la.Function(lambda p: float((p["w"] ** 2).sum()), {"w": np.array([[1.0, 2.0, 3.0]])}, layout="first")
    for name, number in (("one", 0), ("two", 1)):
        plane = la.Plane.random(objective, seed=number)
        la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 5)), run=tmp_path / "single" / name)
        la.seeds(objective, la.Grid(x=(-1, 1, 5), y=(-1, 1, 5)), range(3), run=tmp_path / "several" / name)
    single = sheets.compared(Shelf([tmp_path / "single"]).entries())
    assert not any("bracket" in words for words in single["words"])
    assert not any("(" in cell for row in single["tables"][0]["rows"] for cell in list(row.values())[1:])
    several = sheets.compared([one for one in Shelf([tmp_path / "several"]).entries() if one.kind == "seeds"])
    assert several["words"][-1] == (
        "In brackets, where there are several direction seeds: of losses, the range over them; of ruggedness, "
        "Student's 95 % interval of the mean over them."
    )
