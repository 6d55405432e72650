"""Does the overview say how rugged each result is, without keeping the list waiting?"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.atlas.conftest import Serve
from tests.atlas.test_server import runs

from lossatlas.atlas import rugged
from lossatlas.atlas.ending import over
from lossatlas.atlas.shelf import Entry, Shelf
from lossatlas.results.landscape import About, Axis, build, save

AXES = {"x": Axis(coordinates=np.arange(-2.0, 3.0), length=1.0)}
FALLS = [2.0, 1.0, 0.0, 2.0, 1.0]
"""From the centre 1 and 1 up on the left, 2 up and 1 down on the right: 1 of 5 falls again."""
BOWL = [4.0, 1.0, 0.0, 1.0, 4.0]


def put(path: Path, loss: list[float], seed: int | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    save(build(AXES, {"loss": np.array(loss)}, about=About(title=path.stem, seed=seed)), path)


def until(address: str, name: str, value: float) -> dict[str, Any]:
    for _ in range(400):
        found = runs(address)
        if found[name].get("ruggedness") == pytest.approx(value):
            return found
        time.sleep(0.05)
    raise AssertionError(f"ruggedness of {name} never became {value}: {found[name]}")


def test_cards_have_their_ruggedness_after_the_first_list_and_anew_when_a_result_changes(
    serve: Serve, tmp_path: Path
) -> None:
    put(tmp_path / "runs" / "falls.nc", FALLS)
    put(tmp_path / "runs" / "bowl.nc", BOWL)
    address = serve(tmp_path / "runs")
    until(address, "runs/falls.nc", 0.2)
    until(address, "runs/bowl.nc", 0.0)
    put(tmp_path / "runs" / "falls.nc", BOWL)
    until(address, "runs/falls.nc", 0.0)


def test_the_list_waits_for_no_ruggedness_and_each_is_found_once(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, looked = threading.Event(), []

    def slow(entry: Entry) -> float:
        release.wait(600)
        looked.append(entry.name)
        return 0.5

    monkeypatch.setattr(rugged, "_descent", slow)
    for name in ("a", "b"):
        put(tmp_path / "runs" / f"{name}.nc", FALLS)
    address = serve(tmp_path / "runs")
    for _ in range(3):
        assert not any("ruggedness" in card for card in runs(address).values())
    release.set()
    for name in ("runs/a.nc", "runs/b.nc"):
        until(address, name, 0.5)
    assert sorted(looked) == ["runs/a.nc", "runs/b.nc"]


def test_at_its_end_the_server_waits_for_what_it_computes_and_for_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, looked, begun = threading.Event(), [], threading.Event()

    def slow(entry: Entry) -> float:
        begun.set()
        release.wait(600)
        looked.append(entry.name)
        return 0.5

    monkeypatch.setattr(rugged, "_descent", slow)
    for name in ("a", "b", "c"):
        put(tmp_path / "runs" / f"{name}.nc", FALLS)
    shelf, found = Shelf([tmp_path / "runs"]), rugged.Rugged()
    for entry in shelf.entries():
        found.card(entry, shelf.card(entry))
    assert begun.wait(600)
    threading.Timer(0.2, release.set).start()
    assert over((found.crew,))
    assert looked == ["runs/a.nc"]


def test_a_result_without_any_has_none(serve: Serve, tmp_path: Path) -> None:
    put(tmp_path / "runs" / "falls.nc", FALLS)
    axis = Axis(coordinates=np.array([0.0, 1.0, 3.0]), length=1.0)
    save(build({"x": axis}, {"loss": np.array([0.0, 1.0, 0.0])}), tmp_path / "runs" / "a_uneven.nc")
    found = until(serve(tmp_path / "runs"), "runs/falls.nc", 0.2)
    assert "ruggedness" not in found["runs/a_uneven.nc"]
