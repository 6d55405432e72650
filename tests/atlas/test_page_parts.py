"""Are the parts of the page right: comparison, paths, widget, quality in motion, and is it open to everybody?"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.atlas.conftest import Serve
from tests.atlas.test_pages import Visit as ServedVisit
from tests.atlas.test_trail import objective, shifted, train
from tests.browsing import browser
from tests.draw.test_browser import Visit
from torch import nn

import lossatlas as la
from lossatlas.draw import compiled, widget
from lossatlas.draw.payload import packed, payload
from lossatlas.paths.below import Below
from lossatlas.results.landscape import Status

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["browser"]

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
X, Y = np.linspace(-1, 1, 21), np.linspace(0, 2, 11)
BOWL = la.landscape(x=X, y=Y, loss=X[:, None] ** 2 + 3 * (Y - 1) ** 2 + 0.1, title="bowl")
VALLEY = la.landscape(x=X, y=Y, loss=np.abs(X[:, None]) + (Y - 1) ** 2 + 0.1, title="valley")


def faults(visit: Any) -> list[str]:
    """What axe calls serious or worse, with the element."""
    visit.ask(AXE.read_text(encoding="utf-8") + "\n; true")
    found = visit.ask("axe.run().then((told) => told.violations.filter((one) => !['minor', 'moderate'].includes(one.impact))"
                      ".map((one) => one.id + ': ' + one.nodes[0].html))")  # fmt: skip
    assert visit.ask("axe.version").startswith("4.")
    return list(found)


needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed (npm ci in web/)")


@needs_axe
def test_axe_finds_nothing_serious_in_files(browser: Any, tmp_path: Path) -> None:
    la.draw([BOWL, VALLEY], tmp_path / "two.html", title="مقارنة")
    visit = Visit(browser, tmp_path / "two.html", width=400)
    assert visit.ask("document.documentElement.scrollWidth") <= 400
    for theme in ("light", "dark", "print"):
        visit.theme(theme)
        assert faults(visit) == []
    assert visit.page.locator("h1").get_attribute("dir") == "auto"
    assert visit.faults == []


@needs_axe
def test_axe_finds_nothing_serious_on_the_overview_and_on_a_path(
    browser: Any, serve: Serve, shelf_folder: Path
) -> None:
    train(shelf_folder / "path", range(8))
    visit = ServedVisit(browser, serve(shelf_folder), width=400)
    assert faults(visit) == []
    visit.page.locator("#kind").select_option("path")
    visit.becomes(visit.page.locator(".cards li").count, 1)
    visit.page.locator(".cards a").click()
    visit.until("window.lossatlas && document.querySelector('#routes td')")
    assert faults(visit) == []
    assert visit.faults == []
    whole = ServedVisit(browser, serve(shelf_folder), width=1280)
    whole.open("a file")
    whole.ask("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    whole.page.locator("#figure-preview").click()
    whole.until("document.querySelector('#figure img')")
    whole.page.locator("[id='layer-basins']").check()
    whole.until("document.querySelector('#legend [data-layer]')")
    for theme in ("light", "dark", "print"):
        whole.theme(theme)
        assert faults(whole) == []
    assert whole.faults == []


def test_axe_would_find_a_fault(browser: Any, tmp_path: Path) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (npm ci in web/)")
    la.draw(BOWL, tmp_path / "one.html")
    visit = Visit(browser, tmp_path / "one.html")
    visit.ask("document.querySelector('#floor').closest('label').querySelector('span').remove()")
    assert any(one.startswith("label") for one in faults(visit))


def value(visit: Any, i: int, j: int, panel: int = 0) -> float:
    return float(visit.ask(f"lossatlas.content.blocks[{panel}].values.loss.data[{j} * 21 + {i}]"))


def test_a_difference_and_a_morph_are_made_of_the_values(browser: Any, tmp_path: Path) -> None:
    la.draw([BOWL, VALLEY], tmp_path / "two.html", scale="linear")
    visit = Visit(browser, tmp_path / "two.html")
    a, b = BOWL["loss"].values, VALLEY["loss"].values
    visit.page.locator("#derive").select_option("difference")
    visit.until("lossatlas.content.blocks.length === 1 && lossatlas.reliefs.length === 1")
    visit.becomes(lambda: value(visit, 3, 7), b[3, 7] - a[3, 7])
    far = np.abs(b - a).max()
    visit.becomes("[lossatlas.shown.low, lossatlas.shown.high]", pytest.approx([-far, far]))
    visit.becomes(visit.page.locator("h2").first.inner_text, "valley − bowl")
    assert "no network was measured here" in visit.page.locator(".card").inner_text()
    visit.page.locator("#derive").select_option("morph")
    visit.page.locator("#morph").focus()
    for _ in range(25):
        visit.page.keyboard.press("ArrowRight")
    visit.until("lossatlas.state.part === 0.75")
    visit.becomes(lambda: value(visit, 3, 7), pytest.approx(a[3, 7] + 0.75 * (b[3, 7] - a[3, 7])))
    visit.page.locator("#derive").select_option("side by side")
    visit.until("lossatlas.content.blocks.length === 2")
    assert visit.faults == []


def test_scale_and_cursor_are_shared_until_they_are_freed(browser: Any, tmp_path: Path) -> None:
    la.draw([BOWL, VALLEY], tmp_path / "two.html", scale="linear")
    visit = Visit(browser, tmp_path / "two.html")
    visit.until("lossatlas.reliefs.length === 2 && lossatlas.reliefs[1].pointCount > 0")
    visit.becomes(visit.page.locator(".bar").count, 1)
    visit.page.locator("#one-range").uncheck()
    visit.becomes(visit.page.locator(".bar").count, 2)
    visit.page.locator("#one-cursor").uncheck()
    visit.until("!lossatlas.state.oneCursor")
    for panel, key in ((0, "ArrowRight"), (1, "ArrowLeft")):
        visit.page.locator(f"canvas.cursor[data-panel='{panel}']").focus()
        visit.page.keyboard.press(key)
        visit.until(f"lossatlas.state.places[{panel}]")
        visit.page.keyboard.press(key)
        visit.until(f"lossatlas.state.places[{panel}].x !== 0")
    visit.becomes("lossatlas.state.places.map((one) => one.x)", pytest.approx([0.1, -0.1]))
    assert visit.faults == []


def test_a_path_tells_what_is_known_at_each_time(browser: Any, serve: Serve, tmp_path: Path) -> None:
    train(tmp_path / "runs" / "path", range(8))
    visit = ServedVisit(browser, serve(tmp_path / "runs"))
    visit.page.locator(".cards a").click()
    visit.until("window.lossatlas && document.querySelector('#routes td')")

    def told() -> dict[str, str]:
        rows = visit.page.locator(".route tr").all()
        return {row.locator("th").inner_text(): row.locator("td").inner_text() for row in rows}

    visit.becomes(lambda: told()["step"], "7")
    visit.page.locator("#time").focus()
    for _ in range(3):
        visit.page.keyboard.press("ArrowLeft")
    visit.until("document.querySelector('.route td').innerText === '4'")
    assert told() | {"distance from the plane": ""} == {
        "step": "4", "epoch": "1", "learning rate": "0.1", "loss in training": "0.6", "note": "4", "distance from the plane": "",
    }  # fmt: skip
    train(tmp_path / "runs" / "path", range(8, 9))
    visit.until("lossatlas.content.overlays[0].x.length === 9")
    assert told()["step"] in ("4", "5"), "the time that was chosen stays"
    assert visit.faults == []


def test_while_it_moves_slowly_facets_are_left_out_and_come_back(browser: Any, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 201)
    la.draw(la.landscape(x=x, y=x, loss=x[:, None] ** 2 + x**2), tmp_path / "large.html")
    visit = Visit(browser, tmp_path / "large.html")
    visit.until("lossatlas.reliefs[0].pointCount === 201 * 201")
    visit.ask(
        "window.lowest = 0; const turn = (n) => { const one = lossatlas.reliefs[0]; one.turn(2, 0);"
        "const until = performance.now() + 60; while (performance.now() < until); window.lowest = Math.max(lowest, one.level);"
        "if (n) requestAnimationFrame(() => turn(n - 1)); }; turn(12)"
    )
    visit.until("lowest === 3")
    visit.until("lossatlas.reliefs[0].level === 0")
    assert visit.faults == []


def test_the_relief_that_is_saved_is_the_one_that_is_seen(browser: Any, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 21)
    la.draw(la.landscape(x=x, y=x, loss=x[:, None] ** 2 + x**2), tmp_path / "a.html")
    visit = Visit(browser, tmp_path / "a.html")
    visit.until("lossatlas.reliefs[0]?.pointCount > 0")
    with visit.page.expect_download() as download:
        visit.page.locator("#save-png").click()
    download.value.save_as(tmp_path / "relief.png")
    alpha = np.asarray(Image.open(tmp_path / "relief.png").convert("RGBA"))[..., 3]
    assert (alpha == 255).mean() > 0.1, "the surface covers part of the picture"
    assert (alpha == 0).mean() > 0.1, "around it there is nothing"
    assert visit.faults == []


def test_a_finger_turns_the_relief_two_come_nearer_and_a_tap_keeps_a_place(browser: Any, tmp_path: Path) -> None:
    la.draw(BOWL, tmp_path / "one.html", scale="linear")
    visit = Visit(browser, tmp_path / "one.html", width=400, has_touch=True, is_mobile=True)
    page = visit.page
    canvas = page.locator("canvas[data-relief]")
    canvas.scroll_into_view_if_needed()
    box, finger = canvas.bounding_box(), page.context.new_cdp_session(page)
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def drag(*ways: tuple[float, float, float, float]) -> None:
        for kind, part in (("touchStart", 0.0), ("touchMove", 0.5), ("touchMove", 1.0), ("touchEnd", 1.0)):
            at = [
                {"x": middle[0] + x0 + part * (x1 - x0), "y": middle[1] + y0 + part * (y1 - y0), "id": n}
                for n, (x0, y0, x1, y1) in enumerate(ways)
            ]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else at})

    def pose() -> tuple[np.ndarray, np.ndarray]:
        found = page.evaluate("lossatlas.reliefs[0].pose()")
        return np.array(found["from"]), np.array(found["from"]) - np.array(found["at"])

    # A touch is answered before the page has been told of the gesture that it is the end of: each is waited for.
    first, away = pose()
    visit.answers(lambda: drag((0, 0, 60, 10)), lambda: bool(np.linalg.norm(pose()[0] - first) > 0.1), True)
    still = np.linalg.norm(pose()[1])
    assert still == pytest.approx(np.linalg.norm(away))

    def pinched() -> bool:
        return bool(np.linalg.norm(pose()[1]) < 0.8 * still)

    visit.answers(lambda: drag((-20, 0, -80, 0), (20, 0, 80, 0)), pinched, True)
    visit.answers(page.locator("[data-view=reset]").tap, lambda: pose()[0].tolist(), pytest.approx(first.tolist()))
    above = pytest.approx(np.linalg.norm(away), rel=1e-3)
    visit.answers(page.locator("[data-view=above]").tap, lambda: pose()[1][2], above)
    page.locator("canvas.cursor").tap()
    page.wait_for_selector("#readout .hint >> text=Held")
    visit.until("lossatlas.state.kept && lossatlas.state.place !== null")  # told after it is shown
    assert visit.ask("document.documentElement.scrollWidth") <= 400
    assert visit.faults == []


def taken(visit: Any, button: str, into: Path) -> Path:
    with visit.page.expect_download() as download:
        visit.page.locator(button).click()
    download.value.save_as(into)
    return into


def test_arrays_and_solid_that_are_saved_are_those_of_the_landscape(browser: Any, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    la.draw([BOWL, VALLEY], tmp_path / "two.html", scale="linear", clip=None)
    visit = Visit(browser, tmp_path / "two.html")
    with np.load(taken(visit, "#save-npz", tmp_path / "two.npz")) as arrays:
        for n, landscape in enumerate((BOWL, VALLEY), 1):
            for name in ("x", "y", "loss"):
                assert np.array_equal(arrays[f"{n}/{name}"], landscape[name].values), name
        assert len(arrays.files) == 6, "every cell was evaluated, which nothing has to say"
    holed = BOWL.assign(status=BOWL["status"].where(BOWL["x"] < 0.9, 5).astype(np.int8))
    la.draw(holed, tmp_path / "holed.html")
    with np.load(taken(Visit(browser, tmp_path / "holed.html"), "#save-npz", tmp_path / "holed.npz")) as arrays:
        assert np.array_equal(arrays["status of cells"], holed["status"].values)
    la.draw(BOWL, tmp_path / "one.html", scale="linear", clip=None)
    visit = Visit(browser, tmp_path / "one.html")
    back = la.open(taken(visit, "#save-npz", tmp_path / "one.npz"))
    assert np.array_equal(back["loss"].values, BOWL["loss"].values)
    scene = trimesh.load(taken(visit, "#save-glb", tmp_path / "one.glb"))
    (mesh,) = scene.geometry.values()
    assert len(mesh.vertices) == visit.ask("lossatlas.reliefs[0].pointCount")
    x, up, y = mesh.vertices.T  # y upwards, as glTF has it
    low, high = BOWL["loss"].values.min(), BOWL["loss"].values.max()
    # The box is as wide as both lengths of the plane, which are unknown here: half of each is ±0.5 at most.
    loss = low + up / 0.6 * (high - low)
    wide = np.ptp(x)
    assert loss == pytest.approx((2 * x / wide) ** 2 + 3 * (2 * y / np.ptp(y)) ** 2 + 0.1, abs=0.02)
    assert visit.faults == []


def test_a_dark_page_is_printed_on_white_paper_and_is_dark_again(browser: Any, tmp_path: Path) -> None:
    la.draw(BOWL, tmp_path / "one.html", theme="dark")
    visit = Visit(browser, tmp_path / "one.html")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = visit.ask(paper)
    assert dark != "rgb(255, 255, 255)"
    seen = visit.ask(f"(() => {{ dispatchEvent(new Event('beforeprint')); return {paper}; }})()")
    assert seen == "rgb(255, 255, 255)"
    visit.ask("dispatchEvent(new Event('afterprint'))")
    visit.until(f"{paper} === '{dark}'")
    visit.page.locator("#theme").select_option("print")
    visit.until("document.documentElement.hasAttribute('data-print')")
    visit.until("document.getElementById('colours').value === 'gray'")
    pixel = (
        "(() => { const canvas = document.querySelector('.stack canvas'); return [...canvas.getContext('2d')"
        ".getImageData(canvas.width / 3, canvas.height / 3, 1, 1).data]; })()"
    )
    visit.becomes(lambda: len(set(visit.ask(pixel)[:3])), 1)  # grey
    assert visit.faults == []


NOTEBOOK = """<!doctype html><html><head><title>notebook</title><style>h2 { color: rgb(1, 2, 3); }</style></head>
<body><h2>mine</h2><div id="cell"></div><script type="module">
const model = JSON.parse(document.getElementById("model").textContent);
const arrays = Uint8Array.from(atob(model.arrays), (letter) => letter.charCodeAt(0));
const code = URL.createObjectURL(new Blob([model.code], { type: "text/javascript" }));
const widget = await import(code);
const known = { words: model.words, look: model.look, arrays: new DataView(arrays.buffer) };
widget.default.render({ model: { get: (name) => known[name] }, el: document.getElementById("cell") });
document.documentElement.dataset.ready = "";
</script><script type="application/json" id="model">MODEL</script></body></html>"""


def test_the_widget_draws_in_its_cell_and_leaves_the_notebook_alone(browser: Any, tmp_path: Path) -> None:
    content, numbers = packed(payload(compiled(BOWL, None, {"scale": "linear"})))
    model = {
        "words": json.dumps(content),
        "arrays": base64.b64encode(numbers).decode(),
        "look": widget._resource("atlas.css"),
        "code": widget._code(),
    }
    page = NOTEBOOK.replace("MODEL", json.dumps(model).replace("<", "\\u003c"))
    (tmp_path / "notebook.html").write_text(page, encoding="utf-8")
    visit = Visit(browser, tmp_path / "notebook.html")
    visit.until("window.lossatlas && lossatlas.reliefs[0]?.pointCount > 0")
    assert visit.ask("lossatlas.reliefs[0].heightAt(1, 2)") == pytest.approx(4.1)
    inside = "document.getElementById('cell').shadowRoot"
    visit.becomes(f"{inside}.querySelector('h2').innerText", "bowl")
    assert visit.ask("getComputedStyle(document.querySelector('h2')).color") == "rgb(1, 2, 3)"
    assert visit.ask(f"getComputedStyle({inside}.querySelector('h2')).color") != "rgb(1, 2, 3)"
    choose = f"{inside}.querySelector('#theme')"
    visit.ask(f"{choose}.value = 'dark'; {choose}.dispatchEvent(new Event('change', {{ bubbles: true }}))")
    visit.until("document.getElementById('cell').hasAttribute('data-dark')")
    assert not visit.ask("document.documentElement.hasAttribute('data-dark')")
    assert visit.faults == []


def test_the_map_lies_as_that_of_matplotlib_does(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib import colormaps

    x, y = np.linspace(-1, 1, 9), np.linspace(0, 1, 9)
    tilted = x[:, None] + 10 * y
    la.draw(la.landscape(x=x, y=y, loss=tilted), tmp_path / "a.html", scale="linear", clip=None)
    visit = Visit(browser, tmp_path / "a.html")
    visit.page.locator("#contours").uncheck()
    visit.until("!lossatlas.state.contours")
    seen = (
        "(() => { const canvas = document.querySelector('.stack canvas'); const ratio = canvas.width / canvas.clientWidth;"
        "const [w, h] = [canvas.clientWidth - 60, canvas.clientHeight - 48]; const draw = canvas.getContext('2d');"
        "return [[0.05, 0.05], [0.95, 0.05], [0.05, 0.95], [0.95, 0.95]].map(([u, v]) =>"
        "[...draw.getImageData((52 + u * w) * ratio, (8 + (1 - v) * h) * ratio, 1, 1).data].slice(0, 3)); })()"
    )
    heights = [
        (2 * u - 1 + 10 * v - tilted.min()) / np.ptp(tilted)
        for u, v in [(0.05, 0.05), (0.95, 0.05), (0.05, 0.95), (0.95, 0.95)]
    ]
    colours = [255 * np.array(colormaps["viridis"](height)[:3]) for height in heights]
    visit.becomes(lambda: np.ravel(visit.ask(seen)).tolist(), pytest.approx(np.ravel(colours).tolist(), abs=6))


def test_an_interpolated_cell_is_marked_by_a_slanting_stroke_that_is_no_dot(browser: Any, tmp_path: Path) -> None:
    x, loss = np.linspace(-1, 1, 9), np.full((9, 9), 1.0)
    loss[0, 0] = 2.0
    landscape = la.landscape(x=x, y=x, loss=loss)
    landscape["status"][1:-1, 1:-1] = Status.INTERPOLATED
    la.draw(landscape, tmp_path / "a.html", kind="heat", scale="linear")
    visit = Visit(browser, tmp_path / "a.html")
    visit.page.locator("#contours").uncheck()
    slope = (  # of what is bright about the middle of a cell: 0 for a dot
        "(() => { const canvas = document.querySelector('.stack canvas'); const ratio = canvas.width / canvas.clientWidth;"
        "const [x, y] = [52 + (canvas.clientWidth - 60) * 0.75, 8 + (canvas.clientHeight - 48) * 0.25];"
        "const half = Math.round(4 * ratio), wide = 2 * half + 1; const [left, top] = [x * ratio - half, y * ratio - half];"
        "const seen = canvas.getContext('2d').getImageData(Math.floor(left), Math.floor(top), wide, wide).data;"
        "let sum = 0; for (let n = 0; n < wide * wide; n++) sum += seen[4 * n] * (n % wide - half) * (half - Math.floor(n / wide));"
        "return sum / ratio ** 4; })()"
    )
    visit.becomes(lambda: visit.ask(slope) > 100, True)
    assert visit.faults == []


def test_layers_are_chosen_and_are_told_in_colours_and_words(browser: Any, tmp_path: Path) -> None:
    x = np.linspace(-2, 2, 21)
    loss = (x[:, None] ** 2 - 1) ** 2 + 0.1 * x[:, None] + x**2
    la.draw(la.landscape(x=x, y=x, loss=loss), tmp_path / "a.html", scale="linear")
    visit = Visit(browser, tmp_path / "a.html")
    visit.until("lossatlas.reliefs[0]?.pointCount > 0")
    pixel = (
        "((x, y) => { const canvas = document.querySelector('.stack canvas'); const ratio = canvas.width / canvas.clientWidth;"
        "const [w, h] = [canvas.clientWidth - 60, canvas.clientHeight - 48];"
        "return [...canvas.getContext('2d').getImageData((52 + (x + 2) / 4 * w) * ratio, (8 + (2 - y) / 4 * h) * ratio, 1, 1).data]; })"
    )
    shapes = "(() => { let n = 0; lossatlas.reliefs[0].scene.traverse((one) => n += one.isLineSegments ? 1 : 0); return n; })()"
    lines = visit.ask(shapes) - 1
    visit.page.locator("#contours").uncheck()
    visit.until(f"{shapes} === {lines}")
    both = f"[...{pixel}(-1.2, 0.6).slice(0, 3), ...{pixel}(1.2, 0.6).slice(0, 3)]"
    plain = visit.settled(both)
    visit.page.locator("#layer-basins").check()
    visit.until(f"{shapes} === {lines} + 1")
    regions = [int(colour[at : at + 2], 16) for colour in ("#ffffff", "#ff8a5c") for at in (1, 3, 5)]
    mixed = [0.6 * a + 0.4 * b for a, b in zip(plain, regions, strict=True)]
    visit.becomes(both, pytest.approx(mixed, abs=3))
    legend = visit.page.locator("#legend").inner_text()
    assert "2 basins" in legend
    assert "basin 2: down to 0.1 at x 1, y 0" in legend
    visit.page.locator("canvas.cursor").focus()
    visit.page.keyboard.press("ArrowLeft")
    visit.page.keyboard.press("ArrowLeft")
    visit.until("document.getElementById('readout').innerText.includes('basin 1')")
    visit.page.locator("#layer-ruggedness").check()
    visit.until("document.querySelectorAll('#legend [data-layer]').length === 2")
    visit.page.locator("#table summary").click()
    visit.becomes(lambda: "basin 1" in visit.page.locator("#table td").first.inner_text(), True)
    visit.page.locator("#layer-basins").uncheck()
    visit.page.locator("#layer-ruggedness").uncheck()
    visit.page.locator("[id='layer-critical points']").check()
    visit.until("lossatlas.content.overlays.length === 2")
    places = visit.ask("lossatlas.content.overlays.map((one) => [one.symbol, ...one.x])")
    assert places == [["circle", -1.0, 1.0], ["cross", pytest.approx(0.0, abs=0.2)]]
    visit.becomes(visit.page.locator("#legend li").all_inner_texts, ["minimum", "saddle"])
    visit.page.locator("[id='layer-critical points']").uncheck()
    visit.page.locator("canvas.cursor").press("Escape")
    visit.until(f"{shapes} === {lines}")
    visit.becomes(both, plain)
    assert visit.faults == []


def test_several_paths_have_names_and_colours_one_slider_and_can_be_hidden(
    browser: Any, serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "runs"
    train(folder / "long", range(9))
    shifted(folder / "short", 5, 0.3)
    below = Below(folder / "long", nn.Linear(3, 1, bias=False), objective, points=9)
    while below.step():
        pass
    visit = ServedVisit(browser, serve(folder))
    for title in ("long", "short"):
        visit.page.locator(".cards li", has_text=title).locator("input").check()
    visit.page.locator("#compare").click()
    visit.until("window.lossatlas && lossatlas.reliefs.length === 1 && lossatlas.reliefs[0]?.pointCount > 0")
    assert sorted(visit.page.locator(".paths bdi").all_inner_texts()) == ["long", "short"]
    colours = visit.ask(
        "[...document.querySelectorAll('.paths .swatch')].map((one) => getComputedStyle(one).backgroundColor)"
    )
    assert len(set(colours)) == 2
    assert "No verdict" not in visit.page.locator("main").inner_text(), "one surface is compared with nothing"
    assert visit.page.locator("#time").get_attribute("max") == "8"
    visit.page.locator("#time").focus()
    for _ in range(4):
        visit.page.keyboard.press("ArrowLeft")
    visit.until("lossatlas.state.time === 0.5")
    captions = visit.page.locator(".route caption").all_inner_texts
    visit.becomes(lambda: sorted(captions()), ["long, checkpoint 4 of 8", "short, checkpoint 2 of 4"])
    place = visit.ask("lossatlas.content.overlays.findIndex((one) => one.label === 'short')")
    visit.page.locator(f"#path-{place}").uncheck()
    visit.until("lossatlas.content.overlays.length === 1")
    visit.becomes(visit.page.locator(".route caption").all_inner_texts, ["long, checkpoint 4 of 8"])
    visit.page.locator(f"#path-{place}").check()
    visit.until("lossatlas.content.overlays.length === 2")
    assert visit.faults == []
