"""Draw the pictures of `docs/guides` by running the code that stands on each page.

`python docs/images/draw_guides.py` writes them beside this file; what a page draws as `NAME.png` is `guide-NAME.png`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).resolve().parent


def main(names: list[str]) -> None:
    """Run the pages of these names, or all of them."""
    for page in sorted((IMAGES.parent / "guides").glob("*.md")):
        if names and page.stem not in names:
            continue
        text = page.read_text(encoding="utf-8")
        os.chdir(tempfile.mkdtemp())
        sys.argv = ["docs/images/draw_guides.py", page.stem]  # what a picture says of itself, whoever draws it
        exec("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)), {"__name__": page.stem})
        for name in re.findall(r"\.\./images/guide-([\w-]+\.png)", text):
            shutil.copy(name, IMAGES / f"guide-{name}")


if __name__ == "__main__":
    main(sys.argv[1:])
