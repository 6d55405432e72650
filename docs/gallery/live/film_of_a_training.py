"""How the film of a training is made: ``python docs/gallery/live/film_of_a_training.py docs/images/live.webp``.

It runs ``lossatlas demo --live``, watches its page in Chromium, and puts a picture for every second or so into one
file. Needs playwright, Pillow and Chromium; takes about a minute and a half.
"""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
SWITCHES = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SECONDS, EVERY, WIDTH, HELD = 84.0, 1.5, 760, 12
TALL = 740
"""Of a picture: with the numbers below the map."""


def whole(shot: Image.Image) -> bool:
    """Whether there is a surface in either half: at first the page has a path alone, and it may be seen half drawn."""
    middle = shot.width // 2
    halves = [shot.crop((left, 60, left + middle, TALL)).convert("HSV").getchannel("S") for left in (0, middle)]
    return all(sum(half.histogram()[80:]) > 0.02 * half.width * half.height for half in halves)


def frames(address: str) -> list[Image.Image]:
    """What is seen of the relief and the map while the network learns."""
    found: list[Image.Image] = []
    with sync_playwright() as library:
        page = library.chromium.launch(executable_path=CHROMIUM, args=SWITCHES).new_page()
        page.set_viewport_size({"width": 1160, "height": 900})
        page.goto(address)
        page.wait_for_selector(".solid canvas", timeout=60_000)
        began = time.monotonic()
        while time.monotonic() - began < SECONDS:
            shot = Image.open(io.BytesIO(page.locator(".panels").screenshot(animations="allow"))).convert("RGB")
            if whole(shot):
                found.append(shot.crop((0, 0, shot.width, min(shot.height, TALL))))
            page.wait_for_timeout((EVERY - (time.monotonic() - began) % EVERY) * 1000)
    return found


def main(target: Path) -> None:
    """Make the film, and beside it its last picture as png."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lossatlas", "demo", "--live", "--no-open", "--port", "0", "--out", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            address = next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
            try:
                seen = frames(address)
            finally:
                process.send_signal(signal.SIGINT)
    tall = max(one.height for one in seen)
    scaled = []
    for one in seen:
        paper = Image.new("RGB", (one.width, tall), "white")
        paper.paste(one, (0, 0))
        scaled.append(paper.resize((WIDTH, tall * WIDTH // one.width), Image.Resampling.LANCZOS))
    last = [scaled[-1]] * HELD
    options = {"duration": 160, "loop": 0, "quality": 62, "method": 4}
    scaled[0].save(target, save_all=True, append_images=[*scaled[1:], *last], **options)
    seen[-1].save(target.with_suffix(".png"), optimize=True)
    print(f"{target}: {len(scaled)} pictures, {target.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
