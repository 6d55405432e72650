"""Is a path that has got its surface seen from where both are, unless the reader has chosen a side?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.atlas.conftest import Serve
from tests.atlas.test_pages import Visit
from tests.atlas.test_trail import objective, train
from tests.browsing import browser
from torch import nn

from lossatlas.paths.below import Below

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["browser"]

EYE = """
(() => {
  const { from: [x, y, z], at: [a, b, c] } = lossatlas.reliefs[0].pose(), degrees = 180 / Math.PI;
  return [Math.atan2(z - c, Math.hypot(x - a, y - b)) * degrees, Math.atan2(y - b, x - a) * degrees].map(Math.round);
})()
"""
WANTED = "lossatlas.content.camera.map((one, n) => Math.round(n ? ((one + 540) % 360) - 180 : one))"


def opened(browser: Any, address: str) -> Visit:
    visit = Visit(browser, address)
    visit.page.locator(".cards a").click()
    visit.until("window.lossatlas && lossatlas.reliefs[0]?.complete")
    return visit


def test_the_eye_goes_where_path_and_surface_are_seen(browser: Any, serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "path"
    train(folder, range(3))
    address = serve(tmp_path / "runs")
    follower, chooser = opened(browser, address), opened(browser, address)
    first = follower.settled(EYE)
    assert first == follower.ask(WANTED)
    chooser.page.locator(".solid canvas").focus()
    chooser.page.keyboard.press("Shift+ArrowRight")
    chosen = chooser.settled(EYE)
    assert chosen != first
    train(folder, range(3, 24))
    below = Below(folder, nn.Linear(3, 1, bias=False), objective, points=9)
    while below.step():
        pass
    for visit in (follower, chooser):
        visit.until("lossatlas.content.blocks[0].status.data.some((one) => one !== 0)")
        assert visit.ask(WANTED) != first, "the path has taken another way"
    follower.until(f"String({EYE.strip()}) === String({WANTED})")
    assert chooser.settled(EYE) == chosen
    assert follower.faults == chooser.faults == []
