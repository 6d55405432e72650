"""Does the page work in a browser without a network: pictures, switches, linked marks?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from lossatlas.draw import draw

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHROMIUM = "/usr/bin/chromium"
SWITCHES = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
]
Make = Callable[..., xr.Dataset]

WIDTH = "p.element.querySelector('.main-svg').getBoundingClientRect().width"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not os.access(CHROMIUM, os.X_OK):
        pytest.skip(f"no Chromium at {CHROMIUM}")
    with playwright.sync_playwright() as library:
        opened = library.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield opened
        opened.close()


class Visit:
    """A page that is open, and all that went wrong on it."""

    def __init__(self, browser: Any, path: Path, width: int = 1200) -> None:
        self.faults: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
        self.page = context.new_page()
        self.page.on("pageerror", lambda fault: self.faults.append(str(fault)))
        self.page.on("console", lambda note: self.faults.append(note.text) if note.type == "error" else None)
        self.page.on("dialog", lambda dialog: (self.faults.append("dialog"), dialog.dismiss()))
        self.page.on("request", self._request)
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]", timeout=60_000)

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.faults.append(f"asked the network for {request.url}")

    def ask(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def drawn(self, picture: int, trace: str, key: str = "z") -> np.ndarray:
        rows = self.ask(
            f"(() => {{ const t = lossatlas.pictures[{picture}].element.data.find((t) => t.name === '{trace}');"
            f" return Array.from(t.{key}, (row) => Array.from(row)); }})()"
        )
        return np.array(rows, float)

    def switch(self, name: str) -> None:
        self.page.locator(f"#{name}").click()
        self.page.wait_for_timeout(300)


def test_a_page_with_two_landscapes_works_offline(browser: Any, make: Make, tmp_path: Path) -> None:
    x, y = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), np.array([1.0, 2.0, 4.0])
    tilted = x[:, None] + 10 * y[None, :]
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    steep = tilted.copy()
    steep[4, 2] = 1e10
    gentle = make(tilted, x=x, y=y, title=hostile, metrics={"error": tilted / 50})
    cliff = make(steep, x=x, y=y, title="steep", metrics={"error": tilted / 60})
    visit = Visit(browser, draw([gentle, cliff], tmp_path / "a.html", scale="linear", clip=100.0, title=hostile))

    assert visit.page.locator("h2").first.inner_text() == hostile
    assert visit.page.locator("h1").inner_text() == hostile
    for picture, trace in ((0, "surface"), (1, "field")):
        assert np.array_equal(visit.drawn(picture, trace), tilted.T)
    assert visit.drawn(3, "field").max() == 100
    assert visit.ask("lossatlas.pictures[1].element.data[0].x.length") == 5

    words = visit.page.locator("#shown").inner_text()
    assert "clipped at 100" in words
    # Where the surface is cut off, points stand between those of the grid, with the words of the nearest.
    cut = "lossatlas.pictures[2].element.data[0]"
    assert visit.ask(f"{cut}.x.length") == 4 * 4 + 1
    assert visit.ask(f"[{cut}.text[1][1] === {cut}.text[0][0], {cut}.text[3][3] === {cut}.text[4][4]]") == [True, True]
    assert visit.drawn(2, "surface").max() == 100
    visit.switch("clip")
    assert visit.drawn(3, "field").max() == 1e10
    assert "clipped" not in visit.page.locator("#shown").inner_text()
    visit.switch("log")
    assert visit.drawn(0, "surface") == pytest.approx(np.log10(tilted.T))
    assert "logarithmic scale" in visit.page.locator("#shown").inner_text()
    visit.switch("clip")
    assert visit.drawn(3, "field").max() == pytest.approx(2.0)
    visit.switch("dark")
    assert visit.ask("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    assert visit.ask("lossatlas.pictures[0].element.layout.paper_bgcolor") == "#14171c"
    visit.page.locator("#value").select_option("error")
    visit.page.wait_for_timeout(300)
    assert visit.drawn(1, "field") == pytest.approx(np.log10(tilted.T / 50))
    assert visit.faults == []


MARK = """(k) => {
  const mark = lossatlas.pictures[k].element.data.find((trace) => trace.name === "mark");
  return [mark.x, mark.y, mark.z].filter(Boolean).map((values) => values[values.length - 1]);
}"""
PIXEL = """([k, x, y]) => {
  const element = lossatlas.pictures[k].element, layout = element._fullLayout, box = element.getBoundingClientRect();
  return [box.left + layout.xaxis._offset + layout.xaxis.l2p(x), box.top + layout.yaxis._offset + layout.yaxis.l2p(y)];
}"""
TURN = """() => Plotly.relayout(lossatlas.pictures[0].element, {
  "scene.camera": { eye: { x: 1, y: 2, z: 0.5 }, up: { x: 0, y: 0, z: 1 }, center: { x: 0, y: 0, z: 0 } },
})"""


def test_a_place_and_a_camera_are_shared_by_all_pictures(browser: Any, make: Make, tmp_path: Path) -> None:
    x, y = np.linspace(-1, 1, 9), np.linspace(-1, 1, 7)
    field = x[:, None] ** 2 + y[None, :] ** 2
    visit = Visit(browser, draw([make(field, title="a"), make(field + 1, title="b")], tmp_path / "a.html"))
    visit.page.locator(".plot").nth(1).scroll_into_view_if_needed()
    left, top = visit.page.evaluate(PIXEL, [1, 0.5, -1 / 3])
    for step in (3, 0):
        visit.page.mouse.move(left + step, top + step)
        visit.page.wait_for_timeout(400)
    for picture in (1, 3):
        assert visit.page.evaluate(MARK, picture) == pytest.approx([0.5, -1 / 3])
    assert visit.page.evaluate(MARK, 2) == pytest.approx([0.5, -1 / 3, 0.25 + 1 / 9 + 1])
    readout = visit.page.locator("#readout").inner_text()
    assert "x 0.5 (length 1)" in readout
    assert "b: loss 1.3611" in readout

    visit.page.mouse.down()
    visit.page.mouse.up()
    visit.page.wait_for_timeout(400)
    visit.page.mouse.move(left - 60, top - 60)
    visit.page.wait_for_timeout(400)
    assert visit.page.evaluate(MARK, 3) == pytest.approx([0.5, -1 / 3]), "a click keeps the place"

    visit.page.evaluate(TURN)
    visit.page.wait_for_timeout(700)
    assert visit.ask("lossatlas.pictures[2].element.layout.scene.camera.eye") == {"x": 1, "y": 2, "z": 0.5}
    assert visit.faults == []


@pytest.mark.parametrize("name", ["bowl", "volume", "curves", "nothing"])
def test_every_sort_of_landscape_opens_on_a_narrow_window(
    browser: Any, bowl: xr.Dataset, volume: xr.Dataset, line: Make, make: Make, tmp_path: Path, name: str
) -> None:
    landscapes = {
        "bowl": bowl,
        "volume": volume,
        "curves": [line([1.0, np.nan, 3.0, 2.0]), line([2.0, 5.0, 1.0, 1.0], title="B" * 60)],
        "nothing": make(np.full((4, 3), np.nan)),
    }[name]
    visit = Visit(browser, draw(landscapes, tmp_path / "a.html", theme="dark"), width=380)
    for switch in ("dark", "log"):
        visit.switch(switch)
    assert visit.ask("document.documentElement.scrollWidth") <= 380
    widths = visit.ask(f"lossatlas.pictures.map((p) => {WIDTH})")
    assert all(0 < width <= 380 for width in widths)
    visit.page.set_viewport_size({"width": 900, "height": 800})
    visit.page.wait_for_timeout(500)
    assert visit.ask(f"((p) => {WIDTH})(lossatlas.pictures[0])") > 380
    assert visit.faults == []
