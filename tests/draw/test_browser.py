"""Does the page work in a browser without a network: pictures, switches, one cursor for all?"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from tests.browsing import Visit as Page
from tests.browsing import browser

from lossatlas.draw import draw
from lossatlas.draw.report import report
from lossatlas.draw.statement import statements
from lossatlas.figure.overlays import Path as Way
from lossatlas.figure.overlays import Points
from lossatlas.figure.parts import Table
from lossatlas.results.landscape import with_standard_error

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["Visit", "browser"]

Make = Callable[..., xr.Dataset]


class Visit(Page):
    """A file that is open, without a network."""

    def __init__(self, browser: Any, path: Path, width: int = 1200, *, script: str = "", **settings: Any) -> None:
        view = {"width": width, "height": 900} | settings.pop("viewport", {})
        super().__init__(browser.new_context(viewport=view, offline=True, **settings).new_page())
        self.page.on("request", self._request)
        self.page.add_init_script(script)
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.faults.append(f"asked the network for {request.url}")

    def words(self, name: str) -> str:
        return str(self.page.locator(f"#{name}").inner_text())

    def drawn(self, panel: int, x: float, y: float) -> float:
        """The height of a relief at a place, on the scale that is shown."""
        self.until(f"lossatlas.reliefs.length > {panel} && lossatlas.reliefs[{panel}].pointCount > 0")
        return float(self.ask(f"lossatlas.reliefs[{panel}].heightAt({x}, {y})"))

    def point(self, panel: int, x: float, y: float) -> None:
        """Move the mouse over a place of a map: the frame of its canvas is known."""
        canvas = self.page.locator(f"canvas.cursor[data-panel='{panel}']")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        limits = self.ask(f"lossatlas.content.blocks[{panel}].axes.map((a) => lossatlas.content.limits[a.name])")
        inner = (box["width"] - 60, box["height"] - 48)
        part = [(c - low) / (high - low) for c, (low, high) in zip((x, y), limits, strict=True)]
        left, top = box["x"] + 52 + part[0] * inner[0], box["y"] + 8 + (1 - part[1]) * inner[1]
        self.page.mouse.move(left + 2, top)
        self.page.mouse.move(left, top)


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture
def two(make: Make, tmp_path: Path) -> Path:
    """x + 10 y with a hostile name, and the same with one point as high as a tower."""
    x, y = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), np.array([1.0, 2.0, 4.0])
    tilted = x[:, None] + 10 * y[None, :]
    steep = tilted.copy()
    steep[4, 2] = 1e10
    gentle = make(tilted, x=x, y=y, title=HOSTILE, metrics={"error": tilted / 50})
    cliff = make(steep, x=x, y=y, title="steep", metrics={"error": tilted / 60})
    return draw([gentle, cliff], tmp_path / "a.html", scale="linear", clip=100.0, title=HOSTILE)


def test_a_page_with_two_landscapes_works_offline(browser: Any, two: Path) -> None:
    visit = Visit(browser, two)
    assert visit.page.locator("h2").first.inner_text() == HOSTILE
    assert visit.page.locator("h1").inner_text() == HOSTILE
    for x in (-2, 1, 2):
        for y in (1, 2, 4):
            assert visit.drawn(0, x, y) == x + 10 * y
    # Beyond the clip the surface rises by one range more, so that it is cut where it crosses the clip.
    assert visit.ask("lossatlas.shown.top") == 100
    assert 100 < visit.drawn(1, 2, 4) < 200
    assert "clipped at 100" in visit.words("shown")
    visit.page.locator("#clip").click()
    visit.until("lossatlas.reliefs[1].heightAt(2, 4) === 1e10")
    visit.until("!document.getElementById('shown').innerText.includes('clipped')")
    visit.page.locator("#scale").select_option("log")
    visit.until("lossatlas.reliefs[1].heightAt(2, 4) === 10")
    visit.becomes(lambda: visit.drawn(0, 1, 2), pytest.approx(np.log10(21)))
    visit.until("document.getElementById('shown').innerText.includes('logarithmic scale')")
    visit.page.locator("#value").select_option("error")
    visit.until("Math.abs(lossatlas.reliefs[0].heightAt(1, 2) - Math.log10(21 / 50)) < 1e-12")
    visit.page.locator("#theme").select_option("dark")
    visit.until("getComputedStyle(document.body).backgroundColor === 'rgb(20, 23, 28)'")
    assert visit.faults == []


def test_a_place_and_a_camera_are_shared_by_all_pictures(browser: Any, make: Make, tmp_path: Path) -> None:
    x, y = np.linspace(-1, 1, 9), np.linspace(-1, 1, 7)
    field = x[:, None] ** 2 + y[None, :] ** 2
    first = make(field, title="a", cosines={"x,y": 0.0})
    with_standard_error(first, "loss", np.full(field.shape, 0.25))
    visit = Visit(browser, draw([first, make(field + 1, title="b")], tmp_path / "a.html"))
    visit.point(1, 0.5, -1 / 3)
    visit.until("lossatlas.state.place !== null")
    assert visit.ask("[lossatlas.state.place.x, lossatlas.state.place.y]") == pytest.approx([0.5, -1 / 3])
    readout = visit.words("readout")
    assert "x 0.5 (length 1)" in readout
    assert "distance from the centre 1.414" in readout  # (0.5 · 2)² + (−1/3 · 3)² = 2
    assert "a: loss 0.3611111 (standard error 0.25)" in readout
    assert "b: loss 1.361111" in readout

    visit.page.mouse.down()
    visit.page.mouse.up()
    visit.until("lossatlas.state.kept")
    later = "requestAnimationFrame(() => setTimeout(() => requestAnimationFrame(() => setTimeout(() => moved++))))"
    visit.ask(f"window.moved = 0; addEventListener('pointermove', () => {later}); 0")
    visit.point(1, -0.5, 1 / 3)
    visit.until("moved > 0")  # what the pointer would have changed has been changed by now
    assert visit.ask("lossatlas.state.place.x") == 0.5, "a click keeps the place"

    visit.page.locator("canvas[data-relief='0']").focus()
    poses = "lossatlas.reliefs.map((r) => r.pose().from)"
    for key in ("ArrowLeft", "ArrowUp", "+"):
        before = visit.ask(poses)
        visit.page.keyboard.press(key)
        visit.until(f"JSON.stringify({poses}[0]) !== {json.dumps(json.dumps(before[0], separators=(',', ':')))}")
        both = visit.ask(poses)
        assert both[1] != before[1]
        assert both[0] == pytest.approx(both[1])
    visit.page.locator("#locked").click()
    visit.until("!lossatlas.state.locked")
    visit.page.locator("canvas[data-relief='0']").focus()
    visit.page.keyboard.press("ArrowRight")
    visit.until(f"Math.abs({poses}[0][0] - {both[0][0]}) > 1e-3")
    assert visit.ask(poses)[1] == both[1], "a camera that is free moves alone"
    assert visit.faults == []


def test_the_range_is_chosen_by_hand_and_written_out(browser: Any, bowl: xr.Dataset, tmp_path: Path) -> None:
    visit = Visit(browser, draw(bowl, tmp_path / "a.html", scale="linear"))
    visit.page.locator("#high").fill("500")
    visit.until("lossatlas.state.high !== null")
    visit.becomes("lossatlas.shown.top", pytest.approx(0.1 + (2.1 - 0.1) / 2, rel=1e-3))
    values, top = bowl["loss"].values, visit.ask("lossatlas.shown.top")
    share = f"{100 * np.mean(values > top):.0f} % of the cells lie above"
    visit.until(f"document.getElementById('shown').innerText.includes('{share}')")
    assert "by hand" in visit.words("shown")
    visit.page.locator("#automatic").click()
    visit.until("lossatlas.state.high === null && !document.getElementById('shown').innerText.includes('by hand')")
    assert visit.faults == []


@pytest.mark.parametrize("low", [1e-3, 0.0])
def test_no_label_of_the_colour_bar_hangs_over_its_ends(browser: Any, make: Make, tmp_path: Path, low: float) -> None:
    x = np.linspace(-1, 1, 9)
    field = (x[:, None] ** 2 + 3 * x**2) * 250 + low
    visit = Visit(
        browser, draw(make(field, x=x, y=x), tmp_path / "a.html", scale="log" if low else "linear"), width=500
    )
    left, right, labels = visit.ask(
        "(() => { const at = (one) => one.getBoundingClientRect(); const bar = at(document.querySelector('.bar svg'));"
        "return [bar.left, bar.right, [...document.querySelectorAll('.bar .ticks span')].map((one) => [at(one).left, at(one).right])]; })()"
    )
    assert len(labels) > 2
    assert all(left - 0.5 <= begin < end <= right + 0.5 for begin, end in labels)
    middle, (begin, end) = len(labels) // 2, labels[len(labels) // 2]
    shown = visit.ask("lossatlas.shown")
    part = (shown["ticks"][middle] - shown["bottom"]) / (shown["top"] - shown["bottom"])
    assert (begin + end) / 2 == pytest.approx(left + part * (right - left), abs=1), (
        "in the middle it stands below its place"
    )
    assert visit.faults == []


def test_no_label_of_the_colour_bar_lies_upon_another(browser: Any, make: Make, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 9)
    field = 9.24e-4 * 5.7e4 ** ((x[:, None] ** 2 + x**2) / 2)
    visit = Visit(browser, draw(make(field, x=x, y=x), tmp_path / "a.html", scale="log"), width=400)
    seen = (
        "[...document.querySelectorAll('.bar .ticks span')].filter((one) => getComputedStyle(one).visibility === 'visible')"
        ".map((one) => one.getBoundingClientRect()).map((one) => [one.left, one.right])"
    )
    narrow = visit.ask(seen)
    assert all(end < begin for (_, end), (begin, _) in itertools.pairwise(narrow))
    assert 4 < len(narrow) < visit.ask("lossatlas.shown.ticks.length")
    visit.page.set_viewport_size({"width": 1200, "height": 900})
    visit.becomes(f"{seen}.length", visit.ask("lossatlas.shown.ticks.length"))
    assert visit.faults == []


def test_cells_without_a_value_say_why(browser: Any, make: Make, tmp_path: Path) -> None:
    loss = np.arange(35.0).reshape(7, 5)
    loss[1, 2], loss[3, 0] = np.nan, np.inf
    status = np.where(np.isfinite(loss), 1, 2)
    status[1, 2], status[5, 4], status[6, 4] = 3, 0, 5
    loss[5, 4] = np.nan
    visit = Visit(browser, draw(make(loss, status=status), tmp_path / "a.html"))
    for words in ("not sampled", "failed", "not finite", "interpolated"):
        visit.until(f"document.getElementById('key').innerText.includes('{words}')")
    x, y = np.linspace(-1, 1, 7), np.linspace(-1, 1, 5)
    for (i, j), words in {
        (1, 2): "loss: failed", (3, 0): "loss: not finite (∞)", (5, 4): "loss: not sampled", (6, 4): "loss 34 (interpolated)",
    }.items():  # fmt: skip
        visit.point(0, x[i], y[j])
        visit.until(f"document.getElementById('readout').innerText.includes({words!r})")
    assert visit.faults == []


def test_the_keyboard_alone_reads_a_value(browser: Any, make: Make, tmp_path: Path) -> None:
    x, y = np.linspace(-2, 2, 5), np.linspace(0, 4, 5)
    visit = Visit(browser, draw(make(x[:, None] + 10 * y[None, :], x=x, y=y), tmp_path / "a.html"))
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        if visit.ask("document.activeElement.classList.contains('cursor')"):
            break
    for key in ("ArrowUp", "ArrowUp", "ArrowUp", "ArrowRight"):  # the first one sets the cursor at the centre
        visit.page.keyboard.press(key)
    visit.until("document.getElementById('readout').innerText.includes('loss 21')")
    visit.page.locator("#table summary").focus()
    visit.page.keyboard.press("Enter")
    rows = visit.page.locator("#table table").first.locator("tbody tr")
    visit.becomes(lambda: [row.split()[-1] for row in rows.all_inner_texts()], ["18", "19", "20", "21", "22"])
    assert visit.faults == []


def test_a_path_is_played(browser: Any, bowl: xr.Dataset, tmp_path: Path) -> None:
    way = Way(x=np.linspace(-1, 0, 11), y=np.linspace(1, 0, 11), label="training", words=[(5, "epoch 5")])
    visit = Visit(browser, draw(bowl, tmp_path / "a.html", overlays=[way]))
    visit.page.locator("#time").fill("5")
    visit.until("lossatlas.state.time === 0.5")
    visit.becomes(lambda: visit.page.locator(".player output").inner_text(), "5 of 10, epoch 5")
    visit.page.locator("#play").click()
    visit.until("lossatlas.state.time > 0.5")
    assert visit.faults == []


def test_the_key_shows_a_path_as_a_line_and_places_by_their_symbol(
    browser: Any, bowl: xr.Dataset, tmp_path: Path
) -> None:
    way = Way(x=np.linspace(-1, 0, 11), y=np.linspace(1, 0, 11), label="training")
    places = Points(x=[0.5], y=[0.5], label="networks")
    visit = Visit(browser, draw(bowl, tmp_path / "a.html", overlays=[way, places]))
    shapes = "[...document.querySelectorAll('#key svg')].map((one) => one.firstElementChild.tagName)"
    visit.becomes(shapes, ["line", "path"])
    assert visit.faults == []


def test_an_arrow_of_a_path_lies_on_the_map_and_on_the_relief(browser: Any, bowl: xr.Dataset, tmp_path: Path) -> None:
    way = Way(x=np.linspace(-1, 1, 11), y=np.zeros(11), dots=False, arrows=[5])
    visit = Visit(browser, draw(bowl, tmp_path / "a.html", overlays=[way]), width=1300)
    visit.until("lossatlas.reliefs[0].pointCount > 0")
    seen = (
        "(() => { const canvas = document.querySelector('.stack canvas'); const ratio = canvas.width / canvas.clientWidth;"
        "const [w, h] = [canvas.clientWidth - 60, canvas.clientHeight - 48];"
        "const [[a, b], [c, d]] = lossatlas.content.blocks[0].axes.map((one) => lossatlas.content.limits[one.name]);"
        "const [px, py] = [52 + w * -a / (b - a), 8 + h * d / (d - c)];"  # where the arrow's tip is, at (0, 0)
        "const at = (dx, dy) => [...canvas.getContext('2d').getImageData((px + dx) * ratio, (py + dy) * ratio, 1, 1).data]"
        ".slice(0, 3); return [at(-9, 3), at(-9, -3)]; })()"
    )
    colour = [int(visit.ask("lossatlas.content.overlays[0].colour")[at : at + 2], 16) for at in (1, 3, 5)]
    arrows = (
        "(() => { let n = 0; lossatlas.reliefs[0].scene.traverse((one) => n += one.name === 'arrows'); return n; })()"
    )
    visit.becomes(seen, [colour, colour])
    visit.becomes(arrows, 1)
    visit.page.locator("#time").fill("4")
    visit.until("lossatlas.state.time === 0.4")
    visit.becomes(arrows, 0)
    visit.becomes(lambda: colour in visit.ask(seen), False)
    visit.page.locator("#newest").click()
    visit.becomes(arrows, 1)
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
    visit.theme("dark")
    visit.page.locator("#scale").select_option("log")
    visit.until("lossatlas.state.log")
    assert visit.ask("document.documentElement.scrollWidth") <= 380
    if name == "curves":
        visit.page.locator(".curves svg.plot").first.hover()
        visit.until("document.getElementById('readout').innerText.includes('A: loss')")
    if name == "volume":
        visit.page.locator("#slice").fill("0")
        visit.until("lossatlas.reliefs[0].heightAt(2, 3) !== null")
        visit.until("lossatlas.state.layer === 0")
    assert visit.faults == []


@pytest.mark.parametrize("width", [400, 1280, 1920])
def test_a_report_fits_its_window_and_uses_its_width(browser: Any, make: Make, tmp_path: Path, width: int) -> None:
    x = np.linspace(-1, 1, 15)
    named = {name: make(np.cos(rate * x)[:, None] + x**2, x=x, y=x, title=name) for name, rate in zip("ABC", (3, 4, 5))}
    page = report(tmp_path / "a.html", "T" * 200, [*statements(named), Table([{"a very long heading": "word " * 40}])])
    opened = browser.new_context(viewport={"width": width, "height": 900}, offline=True).new_page()
    opened.goto(page.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    lefts = opened.evaluate("[...document.querySelectorAll('section')].map((s) => s.getBoundingClientRect().left)")
    assert len({round(left) for left in lefts}) == {400: 1, 1280: 2, 1920: 3}[width]
    rights = opened.evaluate("[...document.querySelectorAll('section')].map((s) => s.getBoundingClientRect().right)")
    assert max(rights) > 0.95 * width
    Page(opened).until("[...document.images].every((i) => i.complete)")
    images = opened.evaluate("[...document.images].map((i) => [i.naturalWidth, i.getBoundingClientRect().width])")
    assert images and all(natural > 0 and shown >= min(natural, 330) for natural, shown in images)
    parts = "[...document.querySelectorAll('section > *')].map((e) => [e.getBoundingClientRect()])"
    boxes = [box for (box,) in opened.evaluate(parts)]
    for index, one in enumerate(boxes):  # no part lies on another
        for other in boxes[index + 1 :]:
            across = min(one["right"], other["right"]) - max(one["left"], other["left"])
            down = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
            assert across <= 1 or down <= 1


def test_a_map_of_curvature_lies_over_the_surface_cell_by_cell(browser: Any, make: Make, tmp_path: Path) -> None:
    surface = make(np.add.outer(np.linspace(-1, 1, 9) ** 2, np.linspace(-1, 1, 9) ** 2))
    ratio = np.array([[0.02, 0.3], [0.1, 0.5]])
    status = np.array([[1, 1], [3, 1]])
    found = make(ratio, x=[-0.5, 0.5], y=[-0.5, 0.5], metrics={"ratio": ratio}, status=status)
    visit = Visit(browser, draw(surface, tmp_path / "a.html", ratio=found, kind="filled"))
    assert visit.page.locator("#ratio-ramp").count() == 0
    visit.page.get_by_label("ratio |λmin/λmax|").check()
    visit.until("lossatlas.content.overlays.length === 1")
    cells = visit.ask("[...lossatlas.content.overlays[0].cells.data]")
    rows = np.array(cells).reshape(9, 9)
    inside = [-1, -1, 0, 0, 1, 1, 1, -1, -1]
    assert rows[2].tolist() == [cell if cell != 1 else -1 for cell in inside]
    assert rows[6].tolist() == [-1 if cell < 0 else cell + 2 for cell in inside]
    visit.becomes(lambda: visit.page.locator(".bar").nth(1).locator(".ticks").inner_text().split()[0], "0.05")
    for place, words in {
        (-0.5, -0.5): "ratio 0.02 in the cell around −0.5, −0.5",
        (0.5, -0.5): "ratio: no value in the cell around 0.5, −0.5",
        (0.5, 0.25): "ratio 0.5 in the cell around 0.5, 0.5",
        (-1.0, -1.0): "ratio: outside the map",
    }.items():
        visit.point(0, *place)
        visit.until(f"document.getElementById('readout').innerText.includes({words!r})")
    assert visit.faults == []
