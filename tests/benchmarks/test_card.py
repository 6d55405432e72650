"""Does the benchmark for a card keep what it has when a row fails or time is up, and do all of its rows work?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # the benchmarks are no part of a package
card = pytest.importorskip("benchmarks.card", reason="the benchmarks are in a checkout alone")


def test_rows_are_on_disk_one_by_one_also_where_one_fails(tmp_path) -> None:
    sheet = card.Sheet(tmp_path, torch.device("cpu"), "toy", budget=100.0)

    def two():
        yield {"first": 1.5}
        kept = json.loads((tmp_path / "card.json").read_text())["rows"]
        assert kept == [{"question": "a", "first": 1.5}]
        raise RuntimeError("the card is lost")

    sheet.row("a", two)
    sheet.row("b", lambda: iter([{"second": 2}]))
    rows = json.loads((tmp_path / "card.json").read_text())["rows"]
    assert next(row for row in rows if "failed" in row)["failed"] == "RuntimeError: the card is lost"
    assert {"question": "b", "second": 2} in rows
    assert "the card is lost" in (tmp_path / "card.md").read_text()


def test_no_row_begins_when_time_is_up(tmp_path) -> None:
    sheet = card.Sheet(tmp_path, torch.device("cpu"), "toy", budget=0.0)
    sheet.row("a", lambda: pytest.fail("it began"))
    assert "were over" in json.loads((tmp_path / "card.json").read_text())["rows"][0]["left out"]


@pytest.mark.soak
def test_every_row_works_at_toy_size(tmp_path) -> None:
    asked = {"DEVICE": "cpu", "SIZE": "toy", "RESULTS": str(tmp_path), "PYTHON": sys.executable}
    asked["SECONDS_AT_MOST"] = "100000"  # a row that a slow machine leaves out has not been seen to work
    subprocess.run([ROOT / "benchmarks/gpu.sh"], env=os.environ | asked, check=True)
    rows = json.loads((tmp_path / "card.json").read_text())["rows"]
    assert not [row for row in rows if "failed" in row or "left out" in row]
    assert len({row["question"] for row in rows}) == 8
    lacking = [row for row in rows if "not here" in row]  # formats of a processor, and what torch has no rule for
    assert all("bf16" in str(row) or row.get("network") == "LSTM" for row in lacking)
