"""Has every guide by field a picture, drawn by the code that stands on its page?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lossatlas.draw import record

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = sorted(path for path in (DOCS / "guides").glob("*.md") if path.stem != "index")


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_shows_what_its_own_code_draws(page):
    text = page.read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    shown = re.findall(r"!\[([^\]]+)\]\(\.\./images/guide-([\w-]+\.png)\)", text)
    drawn = set(re.findall(r'la\.draw\(.*?"([\w-]+\.png)"', code))
    assert {name for _, name in shown} == drawn != set()
    for words, name in shown:
        assert len(words.split()) > 5, "what is to be seen, for whoever cannot see it"
        assert record.read(DOCS / "images" / f"guide-{name}")["caption"]
