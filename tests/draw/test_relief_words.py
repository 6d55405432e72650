"""Can the words around a relief be read from every side: none upon another, none upon the surface?"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.browsing import browser
from tests.draw.test_browser import Visit

import lossatlas as la

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["browser"]

WORDS = """
[...document.querySelectorAll(".labels span")].map((one) => {
  const { left, right, top, bottom } = one.getBoundingClientRect();
  return [one.className, one.textContent, left, right, top, bottom];
})
"""
CORNERS = """
(() => {
  const relief = lossatlas.reliefs[0], { left, top } = relief.canvas.getBoundingClientRect(), { sides: [a, b], tall } = relief.frameOf;
  const at = ([x, y]) => relief.project(x * a / 2, y * b / 2, tall);
  return [[-1, -1], [1, 1]].map(at).map(([x, y]) => [x + left, y + top]);
})()
"""


@pytest.fixture
def bowl(browser: Any, tmp_path: Path) -> Visit:
    x = np.linspace(-1, 1, 21)
    la.draw(la.landscape(x=x, y=x, loss=x[:, None] ** 2 + x**2), tmp_path / "bowl.html")
    visit = Visit(browser, tmp_path / "bowl.html")
    visit.until("'ready' in document.documentElement.dataset")
    return visit


@pytest.mark.parametrize("view", ["reset", "above", "front", "side"])
def test_no_word_lies_upon_another(bowl: Visit, view: str) -> None:
    bowl.page.click(f"[data-view={view}]")
    words = bowl.settled(WORDS)
    assert {"x", "y"} <= {text for kind, text, *_ in words if kind == "name"}
    for (_, one, left, right, top, bottom), (_, two, x0, x1, y0, y1) in itertools.combinations(words, 2):
        assert left >= x1 or right <= x0 or top >= y1 or bottom <= y0, f"{one} and {two}, seen by {view}"


def test_from_above_the_ticks_stand_beside_the_surface(bowl: Visit) -> None:
    bowl.page.click("[data-view=above]")
    ticks = [word for word in bowl.settled(WORDS) if word[0] == "tick"]
    (x0, y0), (x1, y1) = bowl.ask(CORNERS)
    assert len(ticks) >= 6
    for _, text, left, right, top, bottom in ticks:
        across, upright = (left + right) / 2, (top + bottom) / 2
        assert not (x0 < across < x1 and min(y0, y1) < upright < max(y0, y1)), f"{text} lies upon the surface"
