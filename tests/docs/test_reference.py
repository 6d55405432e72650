"""Does the reference list what a user calls, first, and only what a module names as public?"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import lossatlas as la

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md")}


def test_every_name_of_the_package_is_listed_before_the_modules_behind_it():
    first = {name: page.split("## Further names")[0] for name, page in PAGES.items()}
    missing = [name for name in la.__all__ if not any(f"`la.{name}`" in page for page in first.values())]
    assert missing == []


def test_the_table_of_the_reference_names_everything():
    assert [name for name in la.__all__ if f"`{name}`" not in PAGES["index.md"]] == []


def test_every_module_of_the_reference_says_what_is_public():
    named = {name for page in PAGES.values() for name in re.findall(r"automodule:: (\S+)", page)}
    assert len(named) > 40
    assert [name for name in sorted(named) if not hasattr(importlib.import_module(name), "__all__")] == []
