"""Is what --json prints JSON, to the letter?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import lossatlas
from lossatlas.cli.as_json import echo_json
from lossatlas.flatness import stored
from lossatlas.flatness.result import Sharpness
from lossatlas.flatness.table import Table


def strict(text: str):
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_no_number_is_null(capsys):
    echo_json({"a": float("nan"), "b": [1.5, -float("inf"), {"c": (np.float64("nan"), 2)}], "d": "NaN", "é": True})
    printed = capsys.readouterr().out
    assert strict(printed) == {"a": None, "b": [1.5, None, {"c": [None, 2]}], "d": "NaN", "é": True}
    assert "é" in printed


@pytest.mark.parametrize(
    "path", sorted((Path(lossatlas.__file__).parent / "cli").glob("*.py")), ids=lambda path: path.stem
)
def test_commands_print_json_in_this_way_alone(path):
    text = path.read_text(encoding="utf-8")
    assert path.stem == "as_json" or "echo(json.dumps" not in text


def test_a_table_of_flatness_is_strict_and_keeps_what_is_not_finite(tmp_path):
    spent = {"spread_is": "", "settings": {}, "evaluations": 3.0, "gradients": 0.0}
    one = Sharpness(measure="radius", value=float("nan"), spread=float("nan"), **spent)
    table = Table(models=("a",), results={"radius": (one,)}, against={}, against_name="test error", correlations={})
    path = stored.save(table, tmp_path / "t.json")
    assert strict(path.read_text())["measures"]["radius"]["values"]["a"]["value"] is None
    again = stored.opened(path).results["radius"][0]
    assert np.isnan(again.value)
    assert again.evaluations == 3.0
