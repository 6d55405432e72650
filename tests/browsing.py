"""A page that is open in Chromium, asked until it has become what is expected: on a busy machine it answers late."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

__all__ = ["CHROMIUM", "PATIENCE", "SWITCHES", "Visit", "browser"]

CHROMIUM = "/usr/bin/chromium"
SWITCHES = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
]
PATIENCE = 120.0
"""Seconds after which what has not come is held to be a fault; nothing waits longer than it must."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not os.access(CHROMIUM, os.X_OK):
        pytest.skip(f"no Chromium at {CHROMIUM}")
    with playwright.sync_playwright() as library:
        opened = library.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield opened
        opened.close()


class Visit:
    """A page, and all that went wrong on it."""

    def __init__(self, page: Any) -> None:
        self.faults: list[str] = []
        self.page = page
        page.set_default_timeout(1000 * PATIENCE)
        page.on("pageerror", lambda fault: self.faults.append(str(fault)))
        page.on("console", lambda note: self.faults.append(note.text) if note.type == "error" else None)
        page.on("dialog", lambda dialog: (self.faults.append("dialog"), dialog.dismiss()))

    def ask(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def until(self, expression: str) -> None:
        """Wait for something to become true, by asking: the policy of the page forbids code that waits inside it."""
        end = time.monotonic() + PATIENCE
        while not self.ask(f"Boolean({expression})"):
            assert time.monotonic() < end, f"never came true: {expression}"
            self.page.wait_for_timeout(50)

    def becomes(self, read: Callable[[], Any] | str, wanted: Any, patience: float = PATIENCE) -> None:
        """Wait until what is read, by a function or an expression of the page, is what is wanted."""
        asked = (lambda: self.ask(read)) if isinstance(read, str) else read
        end = time.monotonic() + patience
        while (found := asked()) != wanted and time.monotonic() < end:
            self.page.wait_for_timeout(50)
        assert found == wanted, f"after {patience:g} s there is {found!r}, not {wanted!r}"

    def answers(self, act: Callable[[], object], read: Callable[[], Any] | str, wanted: Any) -> None:
        """Touch, and once more if nothing came of it: a browser that is kept waiting may take a touch for another gesture."""
        for _ in range(3):
            act()
            try:
                return self.becomes(read, wanted, PATIENCE / 6)
            except AssertionError:
                continue
        act()
        return self.becomes(read, wanted)

    def settled(self, read: Callable[[], Any] | str) -> Any:
        """What is read as soon as it is the same in five looks, one after another, with frames between them."""
        asked = (lambda: self.ask(read)) if isinstance(read, str) else read
        end, seen = time.monotonic() + PATIENCE, [asked()]
        while len(seen) < 5 or any(one != seen[-1] for one in seen[-5:]):
            assert time.monotonic() < end, "never came to rest"
            self.frames(3)
            seen = [*seen[-4:], asked()]
        return seen[-1]

    def frames(self, count: int) -> None:
        """Let so many frames of the page go by."""
        frame = "new Promise((go) => requestAnimationFrame(() => setTimeout(go)))"
        for _ in range(count):
            self.ask(frame)

    def theme(self, name: str) -> None:
        """Choose the colours of the page, and wait until it has them."""
        self.page.locator("#theme").select_option(name)
        for one in ("dark", "print"):
            self.until(f"document.documentElement.hasAttribute('data-{one}') === {str(one == name).lower()}")
