"""Does work of every kind that is killed at random moments go on to the result of work that was not?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def kills(count: int, seed: int) -> dict[str, int]:
    command = [sys.executable, str(Path(__file__).parent / "killing.py"), str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=7200)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert not found["bad"], "\n".join(found["bad"])
    counts: dict[str, int] = found["counts"]
    assert sum(number for name, number in counts.items() if name.endswith(": killed")) == count
    assert sum(number for name, number in counts.items() if name.endswith(": readable")), "no kill came after a commit"
    return counts


@pytest.mark.slow
def test_work_of_every_kind_goes_on_where_it_was_killed():
    kills(100, seed=0)


@pytest.mark.soak
def test_a_thousand_kills_over_all_kinds_of_work_lose_nothing_and_change_nothing():
    print(kills(1000, seed=1))
