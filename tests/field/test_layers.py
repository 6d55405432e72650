"""Do the regions of a map lie where the field says they lie?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossatlas as la
from lossatlas.draw import compile
from lossatlas.draw.payload import payload
from lossatlas.field.layers import MOST, layers
from lossatlas.field.ruggedness import ruggedness

X = np.linspace(-2, 2, 33)
WELLS = (X[:, None] ** 2 - 1) ** 2 + 0.1 * X[:, None] + X**2
"""One well on each side of x = 0, the left one deeper."""


def by_name(loss: np.ndarray, **axes: np.ndarray) -> dict[str, Any]:
    return {one.name: one for one in layers(la.landscape(loss=loss, **(axes or {"x": X, "y": X})))}


def test_each_side_of_a_double_well_is_a_basin() -> None:
    found = by_name(WELLS)["basins"]
    ridge = X[np.argmax(np.where(np.abs(X) < 0.8, (X**2 - 1) ** 2 + 0.1 * X, -np.inf))]
    assert (found.cells[ridge > X] == 0).all()
    assert (found.cells[ridge < X] == 1).all()
    assert found.regions[0].startswith("basin 1: down to −0.1 at x −1, y 0")
    assert found.words.startswith("2 basins")


def test_rugged_cells_are_those_that_the_measures_count() -> None:
    random = np.random.default_rng(0)
    for loss in (WELLS, random.normal(size=(33, 33)) + 3 * X[:, None] ** 2):
        cells = by_name(loss)["ruggedness"].cells
        share = ruggedness(la.landscape(x=X, y=X, loss=loss)).behind
        i, j = np.meshgrid(np.arange(-16, 17), np.arange(-16, 17), indexing="ij")
        asked = np.gcd(i, j) >= 2  # cells with the centre and another before them on their ray
        assert (cells[~asked] == -1).all()
        assert (cells >= 0).sum() == pytest.approx(share * asked.sum())


def test_a_cell_is_rugged_where_its_ray_rose_and_fell() -> None:
    loss = np.add.outer(X**2, X**2)
    loss[24, 16] = 5.0  # at x = 1, y = 0: a peak on the ray along x
    cells = by_name(loss)["ruggedness"].cells
    behind = [i for i in range(25, 33) if X[i] ** 2 < 5.0]
    assert np.argwhere(cells >= 0).tolist() == [[i, 16] for i in behind]
    assert np.argwhere(cells == 1).tolist() == [[25, 16]], "from there on it rises again"


def test_holes_have_no_basins_and_uneven_points_no_ruggedness() -> None:
    holed = WELLS.copy()
    holed[3, 4] = np.nan
    assert list(by_name(holed)) == ["ruggedness"]
    uneven = np.sort(np.r_[X[:-1], 1.99])
    assert list(by_name(WELLS, x=uneven, y=X)) == ["basins", "critical points"]


def test_minima_and_saddles_are_those_of_the_topology() -> None:
    pytest.importorskip("gudhi")
    loss = WELLS + 0.5 * np.sin(9 * X)[None, :]
    found, known = by_name(loss)["critical points"], la.topology(la.landscape(x=X, y=X, loss=loss))
    minima, saddles = found.marks
    assert (minima.label, saddles.label) == ("minimum", "saddle")
    assert len(known.minima) > 2
    assert list(zip(minima.x, minima.y)) == [tuple(one.coordinates.values()) for one in known.minima]
    assert list(zip(saddles.x, saddles.y)) == [tuple(one.coordinates.values()) for _, _, one in known.merges]
    assert minima.words == [str(n) for n in range(1, len(known.minima) + 1)]
    assert f"{len(known.minima)} minima" in found.words


def test_only_so_many_basins_are_drawn_and_the_words_say_so() -> None:
    noise = np.random.default_rng(0).normal(size=(81, 81))
    found = by_name(noise, x=np.linspace(-1, 1, 81), y=np.linspace(-1, 1, 81))["basins"]
    assert len(found.regions) == MOST
    assert found.cells.max() == MOST - 1
    assert f"Only the {MOST} deepest are drawn" in found.words


def test_the_page_gets_them_with_255_for_none() -> None:
    (block,) = payload(compile(la.landscape(x=X, y=X[:9], loss=WELLS[:, :9])))["blocks"]
    basins = next(one for one in block["layers"] if one["name"] == "basins")
    assert basins["cells"].shape == (9, 33)
    assert basins["cells"].dtype == np.uint8
    critical = next(one for one in block["layers"] if one["name"] == "critical points")
    assert [(mark["label"], mark["symbol"]) for mark in critical["marks"]] == [
        ("minimum", "circle"),
        ("saddle", "cross"),
    ]
    holed = np.where(np.add.outer(X**2, X**2) < 4, 1.0, 2.0)
    (block,) = payload(compile(la.landscape(x=X, y=X, loss=holed)))["blocks"]
    rugged = next(one for one in block["layers"] if one["name"] == "ruggedness")
    assert (rugged["cells"] == 255).all()
