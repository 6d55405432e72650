"""Does the script that draws reliefs come after what is flat, from wherever the page is, and does the page do without it?"""

from __future__ import annotations

import base64
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.atlas.conftest import Serve, serve, shelf_folder
from tests.atlas.test_pages import Visit as Served
from tests.browsing import browser
from tests.draw.test_browser import Visit
from tests.draw.test_interactive import Elements

import lossatlas as la
from lossatlas.draw import compiled, interactive, widget

__all__ = ["browser", "serve", "shelf_folder"]

X = np.linspace(-1, 1, 21)
BOWL = la.landscape(x=X, y=X, loss=X[:, None] ** 2 + 3 * X**2 + 0.001)

# What the page looks like at the moment at which the script has run.
ORDER = """(() => { let own; Object.defineProperty(globalThis, "lossatlasThird", { get: () => own, set: (given) => {
    const canvas = document.querySelector(".stack canvas");
    const inside = [canvas.width, canvas.height].map((side) => side / 3);
    globalThis.then = {
      map: canvas.getContext("2d").getImageData(...inside, 1, 1).data[3], lines: document.querySelectorAll(".section path.line").length,
      seen: performance.getEntriesByName("first-contentful-paint").length,
    };
    own = given;
} }); })()"""


def resource(name: str) -> str:
    return interactive._resource(name)


def test_the_first_script_knows_no_third_dimension() -> None:
    assert "WebGLRenderer" in resource("third.js")
    assert "WebGLRenderer" not in resource("atlas.js")
    assert len(resource("atlas.js")) < 150_000


def test_the_file_holds_the_second_script_folded_and_a_page_of_51_by_51_weighs_less_than_450_kb() -> None:
    x = np.linspace(-1, 1, 51)
    large = la.landscape(x=x, y=x, loss=np.random.default_rng(0).normal(size=(51, 51)))
    page = interactive.page(compiled(large, None, {}))
    assert len(page.encode()) < 450_000
    places = [tag for tag, given in Elements(page).found if given.get("id") == "third"]
    assert places == ["script"]
    text = page.partition('id="third">')[2].partition("<")[0]
    assert gzip.decompress(base64.b64decode(text)).decode() == resource("third.js")
    assert page.index("<script>") < page.index('id="third">'), "what is flat does not wait for it"


def test_a_widget_has_both_scripts_in_one() -> None:
    code = widget._code()
    assert code.startswith(resource("atlas.js"))
    assert resource("third.js") in code


@pytest.mark.browser
@pytest.mark.slow
class TestInChromium:
    """What a browser makes of it."""

    def test_map_and_sections_are_there_before_it_runs(self, browser: Any, tmp_path: Path) -> None:
        la.draw(BOWL, tmp_path / "a.html")
        visit = Visit(browser, tmp_path / "a.html", script=ORDER)
        visit.until("lossatlas.reliefs[0].pointCount > 0")
        assert visit.ask("then") == {"map": 255, "lines": 2, "seen": 1}
        assert visit.ask("document.querySelectorAll('head script').length") == 0
        assert visit.faults == []

    @pytest.mark.parametrize(
        "without",
        [
            "delete globalThis.DecompressionStream",
            "document.addEventListener('DOMContentLoaded', () => { document.getElementById('third').textContent = 'AAAA'; })",
        ],
    )
    def test_a_page_that_cannot_unfold_it_says_so_and_goes_on(self, browser: Any, tmp_path: Path, without: str) -> None:
        la.draw(BOWL, tmp_path / "a.html")
        visit = Visit(browser, tmp_path / "a.html", script=without)
        visit.until("document.querySelector('.solid').innerText.includes('the relief is left out')")
        visit.point(0, 0.5, 0.5)
        visit.until("document.getElementById('readout').innerText.includes('loss 1.001')")
        assert visit.faults == []

    def test_another_script_in_its_place_does_not_run(self, browser: Any, tmp_path: Path) -> None:
        la.draw(BOWL, tmp_path / "a.html")
        text = (tmp_path / "a.html").read_text(encoding="utf-8")
        before, _, after = text.partition('id="third">')
        bad = base64.b64encode(gzip.compress(b"globalThis.lossatlasThird = globalThis.bad = {}")).decode()
        rest = after[after.index("<") :]
        (tmp_path / "b.html").write_text(f'{before}id="third">{bad}{rest}', encoding="utf-8")
        visit = Visit(browser, tmp_path / "b.html")
        visit.until("document.querySelector('.solid').innerText.includes('the relief is left out')")
        assert visit.ask("globalThis.bad === undefined")
        assert any("Content Security Policy" in fault for fault in visit.faults)

    def test_the_overview_asks_for_it_only_once_a_relief_is_drawn(
        self, browser: Any, serve: Serve, shelf_folder: Path
    ) -> None:
        visit = Served(browser, serve(shelf_folder))
        visit.until(
            "document.querySelector('.cards canvas').getContext('2d').getImageData(110, 75, 1, 1).data[3] === 255"
        )
        asked = "performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/third.js')).length"
        assert visit.ask(asked) == 0
        visit.open("done")
        assert visit.ask(asked) == 1
        visit.page.go_back()
        visit.page.wait_for_selector(".cards li")
        visit.open("a file")
        assert visit.ask(asked) == 1, "it is fetched once"
        assert visit.faults == []

    def test_one_that_the_server_does_not_send_is_asked_for_again(
        self, browser: Any, serve: Serve, shelf_folder: Path
    ) -> None:
        visit = Served(browser, serve(shelf_folder))
        visit.page.route("**/third.js", lambda route: route.abort())
        visit.page.locator(".cards li", has_text="done").locator("a").click()
        visit.until("document.querySelector('.solid')?.innerText.includes('the relief is left out')")
        visit.page.unroute("**/third.js")
        visit.page.go_back()
        visit.page.wait_for_selector(".cards li")
        visit.open("a file")
