"""Does the page look as it did when somebody looked at it? Views of it, compared with small pictures of then.

``LOSSATLAS_REFERENCES=1`` makes the small pictures again: look at each before it is committed. With
``LOSSATLAS_ARTEFACTS=FOLDER`` every view is kept there in full size, as ``.ci/run`` does.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.atlas.conftest import HOSTILE, Serve
from tests.atlas.test_page_parts import BOWL, VALLEY
from tests.atlas.test_pages import Visit as ServedVisit
from tests.atlas.test_trail import shifted
from tests.browsing import browser
from tests.draw.test_browser import Visit

import lossatlas as la

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["browser"]

REFERENCES = Path(__file__).parent / "references"
SIZE = (320, 240)


def compared(name: str, visit: Any, part: Any = None) -> None:
    """Keep a view that has come to rest, and hold it against the one that somebody looked at."""
    shot = visit.settled((part or visit.page).screenshot)
    seen = Image.open(io.BytesIO(shot)).convert("RGB")
    if folder := os.environ.get("LOSSATLAS_ARTEFACTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        seen.save(Path(folder) / f"{name}.png")
    small, there = seen.resize(SIZE), REFERENCES / f"{name}.png"
    if os.environ.get("LOSSATLAS_REFERENCES"):
        there.parent.mkdir(exist_ok=True)
        small.save(there)
    apart = np.abs(np.asarray(small, float) - np.asarray(Image.open(there).convert("RGB"), float))
    assert apart.mean() < 6
    assert np.quantile(apart, 0.98) < 90


def still(visit: Any) -> None:
    """Wait until every relief stands with all its facets."""
    whole = "lossatlas.reliefs.every((one) => one.complete && one.level === 0)"
    visit.until(f"window.lossatlas && lossatlas.reliefs.length && {whole}")


@pytest.mark.parametrize("view", ["relief", "map"])
def test_reference_views_look_as_they_did(browser: Any, tmp_path: Path, view: str) -> None:
    la.draw(BOWL, tmp_path / "a.html", scale="linear", title=HOSTILE)
    visit = Visit(browser, tmp_path / "a.html", width=700)
    still(visit)
    compared(view, visit, visit.page.locator({"relief": ".solid", "map": ".stack"}[view]))


@pytest.mark.parametrize("width", [400, 1280, 1920])
@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_a_page_looks_as_it_did_in_each_theme_and_width(browser: Any, tmp_path: Path, theme: str, width: int) -> None:
    la.draw(VALLEY, tmp_path / "a.html", scale="linear", theme=theme, title="A valley")
    visit = Visit(browser, tmp_path / "a.html", width=width)
    still(visit)
    compared(f"page-{theme}-{width}", visit)


def comparison(visit: Any) -> None:
    visit.page.locator("[id='layer-critical points']").check()
    visit.until("document.querySelector('#legend li')")


def difference(visit: Any) -> None:
    visit.page.locator("#derive").select_option("difference")
    visit.until("lossatlas.content.blocks.length === 1")


@pytest.mark.parametrize("act", [comparison, difference])
def test_two_landscapes_look_as_they_did(browser: Any, tmp_path: Path, act: Callable[[Any], None]) -> None:
    la.draw([BOWL, VALLEY], tmp_path / "a.html", scale="linear")
    visit = Visit(browser, tmp_path / "a.html", width=1280)
    act(visit)
    still(visit)
    compared(act.__name__, visit)


def test_the_overview_and_several_paths_look_as_they_did(browser: Any, serve: Serve, tmp_path: Path) -> None:
    for name, by in (("a", 0.1), ("b", 0.5), ("c", -0.4)):
        shifted(tmp_path / "runs" / name, 9, by)
        os.utime(tmp_path / "runs" / name / "index.jsonl", (1e9, 1e9 + by))
    visit = ServedVisit(browser, serve(tmp_path / "runs"))
    visit.page.locator("#order").select_option("name")
    drawn = "[...document.querySelectorAll('.cards canvas')].every((one) => one.getContext('2d').getImageData(0, 0, 220, 150).data.some(Boolean))"
    visit.until(drawn)
    compared("overview", visit)
    for box in visit.page.locator(".cards input").all():
        box.check()
    visit.page.locator("#compare").click()
    still(visit)
    compared("paths", visit)
