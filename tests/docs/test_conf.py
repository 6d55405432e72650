"""Does reading the configuration of the documentation leave everything else as it is?"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from tqdm.std import tqdm

CONF = Path(__file__).resolve().parents[2] / "docs" / "conf.py"


def test_only_sphinx_turns_progress_bars_off(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = vars(tqdm)["__init__"]
    found = runpy.run_path(str(CONF))
    assert vars(tqdm)["__init__"] is before
    monkeypatch.setattr(tqdm, "__init__", before)  # put back afterwards
    found["_without_bars"]()
    assert tqdm(range(3)).disable
