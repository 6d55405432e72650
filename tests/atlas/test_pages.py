"""Does the served page show what there is, grow with a run of another process, and ask nobody else?"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tests.atlas.conftest import HOSTILE, TOKEN, Serve
from tests.atlas.test_rugged import BOWL, FALLS, put
from tests.atlas.test_server import write_live
from tests.browsing import Visit as Page
from tests.browsing import browser

import lossatlas as la
from lossatlas.cli import atlas as command_line

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["Visit", "browser"]


class Visit(Page):
    """A page of a server, and any request beyond this machine among its faults."""

    def __init__(self, browser: Any, address: str, width: int = 1100, *, cards: bool = True) -> None:
        super().__init__(browser.new_context(viewport={"width": width, "height": 900}).new_page())
        self.page.on("request", self._request)
        self.page.goto(f"{address}/#token={TOKEN}")
        if cards:
            self.page.wait_for_selector(".cards li")

    def _request(self, request: Any) -> None:
        if not re.match(r"(http://127\.0\.0\.1:\d+/|data:|blob:)", request.url):
            self.faults.append(f"asked {request.url}")

    def open(self, title: str) -> None:
        self.page.locator(".cards li", has_text=title).locator("a").click()
        self.until("window.lossatlas && lossatlas.reliefs[0] && lossatlas.reliefs[0].pointCount > 0")


def test_the_overview_lists_searches_and_compares(browser: Any, serve: Serve, shelf_folder: Path) -> None:
    visit = Visit(browser, serve(shelf_folder))
    assert "token" not in visit.page.url
    titles = visit.page.locator(".cards strong").all_inner_texts
    visit.becomes(lambda: sorted(titles()), sorted(["done", HOSTILE, "a file"]))
    assert "32 of 63 points" in visit.page.locator(".cards li", has_text="half").inner_text()
    visit.until("document.querySelector('.cards canvas').getContext('2d').getImageData(110, 75, 1, 1).data[3] === 255")
    visit.page.locator("#search").fill("finished digits")
    visit.becomes(titles, ["done"])
    visit.page.locator("#search").fill("")
    for title in ("done", "a file"):
        visit.page.locator(".cards li", has_text=title).locator("input").check()
    visit.page.locator("#compare").click()
    visit.until("window.lossatlas && lossatlas.reliefs.length === 2 && lossatlas.reliefs[1].pointCount > 0")
    heights = "lossatlas.reliefs.map((one) => one.heightAt(1, 3))"
    visit.becomes(heights, pytest.approx([31, 31 / 7]))
    assert visit.faults == []


def test_a_cell_is_read_and_a_figure_is_taken_home(
    browser: Any, serve: Serve, shelf_folder: Path, tmp_path: Path
) -> None:
    visit = Visit(browser, serve(shelf_folder))
    visit.open("done")
    visit.page.locator("canvas.cursor").focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowRight"):
        visit.page.keyboard.press(key)
    visit.until("document.getElementById('readout').innerText.includes('loss 10.5')")  # x = 0.5, y = 1
    visit.page.locator("#figure summary").click()
    visit.page.locator("#figure-title").fill("Figure & <1>")
    assert "lossatlas draw" in visit.page.locator("#figure pre").first.inner_text()
    program = visit.page.locator("#figure pre").last.inner_text
    visit.becomes(lambda: 'title="Figure & <1>"' in program(), True)
    exec(compile(program().replace('"figure.pdf"', repr(str(tmp_path / "again.pdf"))), "figure", "exec"), {})
    assert (tmp_path / "again.pdf").read_bytes().startswith(b"%PDF-")
    with visit.page.expect_download() as download:
        visit.page.locator("#figure-save").click()
    download.value.save_as(tmp_path / "figure.pdf")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF-")
    with visit.page.expect_download() as download:
        visit.page.locator("#save-csv").click()
    download.value.save_as(tmp_path / "a.csv")
    table = np.genfromtxt(tmp_path / "a.csv", delimiter=",", skip_header=1, usecols=(1, 2, 4))
    assert len(table) == 63
    assert np.array_equal(table[:, 2], table[:, 0] + 10 * table[:, 1])
    assert visit.faults == []


@pytest.mark.parametrize("ending", ["pdf", "html"])
def test_the_command_for_a_figure_runs_as_it_stands(
    browser: Any, serve: Serve, shelf_folder: Path, tmp_path: Path, ending: str
) -> None:
    visit = Visit(browser, serve(shelf_folder))
    visit.open("done")
    visit.page.locator("#figure summary").click()
    words = {"title": "A figure", "width": "84mm", "height": "3", "font_size": "7", "x_label": "a", "y_label": "b"}
    for name, given in (words | {"value_label": "c", "levels": "5"}).items():
        visit.page.locator(f"#figure-{name}").fill(given)
    for name, chosen in (("font", "serif"), ("caption", "short"), ("theme", "dark"), ("letters", "(a), (b), …")):
        visit.page.locator(f"#figure-{name}").select_option(chosen)
    visit.page.locator("#figure-format").select_option(ending)
    command = visit.page.locator("#figure pre").first.inner_text
    visit.becomes(lambda: f"figure.{ending}" in command() and "dark" in command(), True)
    program, *asked = shlex.split(command().replace("figure.", f"{tmp_path}/figure."))
    assert program == "lossatlas"
    told = CliRunner().invoke(command_line, asked)
    assert (told.exit_code, told.output) == (0, f"drawn: {tmp_path}/figure.{ending}\n")
    assert ("--width" in command()) == (ending == "pdf")
    assert visit.faults == []


def test_names_are_shown_as_they_are_written(browser: Any, serve: Serve, shelf_folder: Path) -> None:
    visit = Visit(browser, serve(shelf_folder), width=400)
    visit.open("half")
    visit.becomes(visit.page.locator("h2").first.inner_text, HOSTILE)
    assert visit.ask("document.documentElement.scrollWidth") <= 400
    visit.until("document.getElementById('key').innerText.includes('interpolated')")
    assert visit.faults == []


def test_a_run_of_another_process_grows_on_the_page(browser: Any, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    address = serve(tmp_path / "runs")
    writer = write_live(tmp_path / "runs" / "live", wait=1.0)
    visit = Visit(browser, address)
    visit.page.locator(".cards a").click()
    visit.until("window.lossatlas && document.getElementById('progress')")
    evaluated = "[...lossatlas.content.blocks[0].status.data].filter((status) => status === 1).length"
    seen = []
    while not seen or seen[-1] < 63:
        visit.page.wait_for_timeout(100)
        if (count := visit.ask(evaluated)) not in seen:
            seen.append(count)
        assert len(seen) < 64
        assert writer.poll() in (None, 0)
    visit.until("document.getElementById('progress').innerText.includes('Finished')")
    assert len(seen) > 3, "it grew while it was watched"
    visit.becomes("lossatlas.reliefs[0].heightAt(2, 6)", 62)
    assert writer.wait(600) == 0
    assert visit.faults == []


SCANNED = """
import time, torch
def make(): torch.manual_seed(0); return Slow()
def data(): return torch.randn(8, 3), torch.zeros(8, 1)
class Slow(torch.nn.Module):
    def __init__(self): super().__init__(); self.line = torch.nn.Linear(3, 1)
    def forward(self, x): time.sleep(0.02); return self.line(x)
"""


def test_a_scan_of_the_command_line_is_watched_to_its_end(browser: Any, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "net.py").write_text(SCANNED, encoding="utf-8")
    address = serve(tmp_path / "runs")
    asked = [
        "--model",
        "net.py:make",
        "--data",
        "net.py:data",
        "--loss",
        "mse",
        "--x",
        "-1",
        "1",
        "21",
        "--y",
        "-1",
        "1",
        "21",
    ]
    command = [sys.executable, "-m", "lossatlas", "sample", *asked, "--run", "runs/scan", "--plan", "plain"]
    scan = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    visit = Visit(browser, address, cards=False)
    visit.until("document.querySelector('.cards a')")
    visit.page.locator(".cards a").click()
    visit.until("window.lossatlas && document.getElementById('progress')")
    statuses = "[...new Set(lossatlas.content.blocks[0].status.data)].join()"
    visit.until(f"{statuses} === '1,5' || {statuses} === '5,1'")  # some evaluated, the others interpolated
    visit.until("document.getElementById('progress').innerText.includes('left')")
    visit.until("document.getElementById('progress').innerText.includes('Finished')")
    visit.until(f"{statuses} === '1'")
    assert scan.wait(600) == 0
    known = la.open(tmp_path / "runs" / "scan")["loss"].values
    assert visit.ask("[...lossatlas.content.blocks[0].values.loss.data]") == known.T.ravel().tolist()
    assert visit.faults == []


def test_the_overview_sorts_by_ruggedness_and_groups_by_seed(browser: Any, serve: Serve, tmp_path: Path) -> None:
    for name, loss, seed in (("bowl", BOWL, 3), ("falls", FALLS, 3), ("again", [0.0, 2.0, 0.0, 2.0, 0.0], None)):
        put(tmp_path / "runs" / f"{name}.nc", loss, seed)
    visit = Visit(browser, serve(tmp_path / "runs"))
    visit.page.locator("#order").select_option("most rugged")
    visit.until("document.querySelectorAll('.chips button[aria-label*=ruggedness]').length === 3")
    titles = visit.page.locator(".cards strong").all_inner_texts
    visit.becomes(titles, ["again", "falls", "bowl"])
    assert "ruggedness 20 %" in visit.page.locator(".cards li", has_text="falls").inner_text()
    assert "falls again" in visit.page.locator("#rugged").inner_text()
    visit.page.locator("#order").select_option("least rugged")
    visit.becomes(titles, ["bowl", "falls", "again"])
    visit.page.locator("#group").select_option("seed")
    visit.becomes(lambda: sorted(visit.page.locator("h2").all_inner_texts()), ["no seed 1", "seed 3 2"])
    assert visit.faults == []
