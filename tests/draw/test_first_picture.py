"""Is the first picture finished before its canvas is seen, so that a page without a graphics card does not stand still for it?"""

from __future__ import annotations

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

LISTEN = """
window.told = [];
const kind = WebGL2RenderingContext.prototype;
const heard = (name, what) => {
  const own = kind[name];
  kind[name] = function (...given) {
    const answer = own.apply(this, given);
    what(this, answer, ...given);
    return answer;
  };
};
const seen = (canvas) => getComputedStyle(canvas).visibility === "visible";
const drew = (context) => {
  const [, , width, height] = context.getParameter(context.VIEWPORT);
  told.push([seen(context.canvas) ? "shown" : "unseen", width, height]);
};
new MutationObserver((changes) => {
  for (const { target } of changes) if (target.matches(".solid canvas") && seen(target)) told.push(["revealed", target.width, target.height]);
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["style"] });
heard("drawElements", drew);
heard("drawArrays", drew);
heard("fenceSync", (context, mark) => void (mark.number = told.push(["asked"])));
heard("clientWaitSync", (context, answer, mark) => {
  if (answer !== context.TIMEOUT_EXPIRED) told.push(["done", mark.number]);
});
"""


def test_the_first_picture_is_shown_once_all_of_it_was_drawn_unseen(browser: Any, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 21)
    la.draw(la.landscape(x=x, y=x, loss=x[:, None] ** 2 + x**2), tmp_path / "bowl.html")
    visit = Visit(browser, tmp_path / "bowl.html", script=LISTEN)
    visit.until("told.some((one) => one[0] === 'revealed')")
    told = visit.ask("told")
    first = next(n for n, one in enumerate(told) if one[0] == "revealed")
    before, size = told[:first], told[first][1:]
    unseen = [n for n, one in enumerate(before) if one[0] == "unseen"]
    assert all(one[0] != "shown" for one in before), "nothing is drawn on a canvas that is seen"
    assert size in [before[n][1:] for n in unseen], "the whole picture was drawn unseen, as large as it is shown"
    asked = max(n for n, one in enumerate(before) if one[0] == "asked")
    assert asked > unseen[-1], "nothing was drawn since"
    assert ["done", asked + 1] in before, "all of it was finished"
    assert visit.faults == []
