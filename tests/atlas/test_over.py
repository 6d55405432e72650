"""Does the page of a surface offer the map of curvature that belongs over it, and no other?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from tests.atlas.conftest import TOKEN, Serve
from tests.atlas.test_server import ask, opened, runs
from tests.browsing import browser
from torch import nn

import lossatlas as la
from lossatlas.atlas.over import candidates, over
from lossatlas.atlas.shelf import Shelf
from lossatlas.results import reading
from lossatlas.results.landscape import save

__all__ = ["browser"]

GRID, FEW = la.Grid(x=(-1, 1, 9), y=(-1, 1, 9)), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))


def made(seed: int) -> tuple[la.Objective, Any]:
    """A network and a plane through it."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    objective = la.Objective(model, (x, (x[:, 0] > 0).long()), nn.functional.cross_entropy)
    return objective, la.Plane.random(objective, seed=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A surface, its map, and the maps of another network and of another plane."""
    root = tmp_path_factory.mktemp("over") / "runs"
    objective, plane = made(0)
    la.sample(objective, plane, GRID, run=root / "surface", progress=False)
    la.curvature_map(objective, plane, FEW, run=root / "map", progress=False)
    la.curvature_map(objective, la.Plane.random(objective, seed=1), FEW, run=root / "plane", progress=False)
    la.curvature_map(*made(1), FEW, run=root / "network", progress=False)
    return root


def found(root: Path, name: str = "runs/surface") -> xr.Dataset | None:
    shelf = Shelf([root])
    (entry,) = [one for one in shelf.entries() if one.name == name]
    return over(reading.open(entry.path), candidates(shelf, [entry]))


def test_the_map_of_this_network_and_plane_is_found_among_others(folder: Path) -> None:
    lies = found(folder)
    assert lies is not None
    assert np.array_equal(lies["ratio"], la.open(folder / "map")["ratio"])
    shelf = Shelf([folder])
    (entry,) = [one for one in shelf.entries() if one.name == "runs/surface"]
    others = [one for one in candidates(shelf, [entry]) if one.name != "runs/map"]
    assert len(others) == 2
    assert over(reading.open(entry.path), others) is None
    assert candidates(shelf, [entry, entry]) == ()
    assert found(folder, "runs/map") is None


def test_the_newest_of_several_is_taken_and_a_file_is_one_of_them(folder: Path, tmp_path: Path) -> None:
    again = la.open(folder / "map").copy(deep=True)
    again["ratio"] = again["ratio"] * 0 + 0.5
    save(again, tmp_path / "runs" / "file.nc")
    shelf = Shelf([folder, tmp_path / "runs"])
    (entry,) = [one for one in shelf.entries() if one.name == "runs/surface"]
    lies = over(reading.open(entry.path), candidates(shelf, [entry]))
    assert lies is not None
    assert float(lies["ratio"].max()) == 0.5
    os.utime(tmp_path / "runs" / "file.nc", (0, 0))
    lies = over(reading.open(entry.path), candidates(shelf, [entry]))
    assert lies is not None
    assert np.array_equal(lies["ratio"], la.open(folder / "map")["ratio"])


def test_names_alone_do_not_make_two_results_one_network(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for name in ("surface", "map"):
        nameless = la.open(folder / name).copy(deep=True)
        nameless.attrs["provenance"] = "{}"
        save(nameless, tmp_path / "runs" / f"{name}.nc")
    assert found(tmp_path / "runs", "runs/surface.nc") is None


def test_the_scene_has_it_and_a_thumbnail_and_a_printed_figure_go_without(serve: Serve, folder: Path) -> None:
    address = serve(folder)
    number = runs(address)["runs/surface"]["id"]
    content, array = opened(ask(address, f"/api/scene?run={number}")[2])
    wanted = la.open(folder / "map")["ratio"].values
    assert np.array_equal(array(content["blocks"][0]["ratio"]["values"]).T, wanted)
    assert "ratio" not in opened(ask(address, f"/api/scene?run={number}&small=1")[2])[0]["blocks"][0]
    for kind, mark in (("html", b'"ratio":{'), ("svg", b"<svg")):
        status, _, body = ask(address, f"/api/figure?run={number}", "POST", {"format": kind}, x_lossatlas_token=TOKEN)
        assert status == 200
        assert mark in body


def test_a_map_that_comes_later_is_in_the_next_scene(
    serve: Serve, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossatlas.atlas.shelf._FRESH", 0.0)
    (tmp_path / "runs").mkdir()
    save(la.open(folder / "surface"), tmp_path / "runs" / "surface.nc")
    address = serve(tmp_path / "runs")
    number = runs(address)["runs/surface.nc"]["id"]

    def has() -> bool:
        return "ratio" in opened(ask(address, f"/api/scene?run={number}")[2])[0]["blocks"][0]

    assert not has()
    save(la.open(folder / "map"), tmp_path / "runs" / "map.nc")
    assert has()


@pytest.mark.browser
@pytest.mark.slow
def test_the_served_page_lays_it_over_the_surface(browser: Any, serve: Serve, folder: Path) -> None:
    from tests.atlas.test_pages import Visit

    visit = Visit(browser, serve(folder))
    visit.page.locator(".cards li", has_text="runs/surface").locator("a").click()
    visit.until("window.lossatlas && lossatlas.reliefs[0] && lossatlas.reliefs[0].pointCount > 0")
    assert visit.page.locator("#ratio-ramp").count() == 0
    visit.page.get_by_label("ratio |λmin/λmax|").check()
    visit.until("lossatlas.content.overlays.length === 1")
    assert visit.page.locator("#ratio-ramp").count() == 1
    visit.page.locator("canvas.cursor").focus()
    visit.page.keyboard.press("ArrowUp")  # the cursor at the centre
    centre = float(la.open(folder / "map")["ratio"].values[1, 1])
    words = f"ratio {centre:.4g}"[:9]
    visit.until(f"document.getElementById('readout').innerText.includes('{words}')")
    assert visit.faults == []
