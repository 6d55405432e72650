"""Which pictures has an example of the gallery written? They are moved to its page."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

PICTURES = (".png", ".gif")


def scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any], **_: Any) -> str:
    """Sphinx-gallery calls this after each block of code; the example has run in the folder of its source."""
    moved = []
    for path in sorted(Path(block_vars["src_file"]).parent.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        if path.suffix in PICTURES:
            target = Path(next(block_vars["image_path_iterator"])).with_suffix(path.suffix)
            shutil.move(path, target)
            moved.append(str(target))
    return figure_rst(moved, gallery_conf["src_dir"])
