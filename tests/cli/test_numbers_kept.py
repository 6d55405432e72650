"""Does a folder of numbers lose none of them to a later answer, whichever command keeps it?"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import atlas

USER = """
import torch

def make_model():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2).double()

torch.manual_seed(1)
pair = (torch.randn(20, 3).double(), torch.randint(2, (20,)))
"""
WHAT = ("--model", "user_kept.py:make_model", "--data", "user_kept.py:pair", "--run", "kept")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "user_kept.py").write_text(USER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "first", "second"),
    [
        (("eigen",), ("--probes", "3"), ("--probes", "5")),
        (("sharpness", "--measure", "lambda_max"), (), ("--measure", "trace")),
        (("quantise", "--layers", "none", "--points", "3"), ("--bits", "4"), ("--bits", "3")),
        (("llc", "--volume"), ("--ways", "20"), ("--ways", "30")),
    ],
)
def test_another_answer_stands_beside_the_first_and_the_same_one_stands_once(here, command, first, second) -> None:
    for more in (first, second, first, second):
        result = CliRunner().invoke(atlas, [*command, *WHAT, *more])
        assert result.exit_code in (0, 1), result.output + repr(result.exception)
        assert ("keeps them" in result.stderr) is (more == second)
    names = list(la.open("kept").sections)
    assert names == [names[0], f"{names[0]} 2"]
