"""Do help, bad input and a scan say the same with every click that is allowed? Read from what all of them mix: output."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import COMMANDS, atlas
from lossatlas.cli.sections import Sectioned


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(atlas, arguments, prog_name="lossatlas")
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "study"])
def test_help_lists_the_flag_for_help_once_in_a_section_of_its_own(command):
    printed = run(command, "--help")
    assert printed.count("-h, --help") == 1
    made = atlas.get_command(click.Context(atlas), command)
    if isinstance(made, Sectioned):
        assert printed.rstrip().splitlines()[-2:] == ["Help:", "  -h, --help  Show this message and exit."]


def test_bad_input_is_told_in_the_same_words_and_codes():
    assert "Commands:" in run("--help") and run() == run("--help")
    assert "No such option" in run("sample", "--modle", "x", code=2)
    assert "No such command" in run("smaple", code=2)
    assert "Missing option '-o' / '--out'" in run("draw", "none.nc", code=2)
    assert "--model is missing" in run("sample", "--batchnorm", "frozen", code=2)
    assert "--x LOW HIGH POINTS" in run("sample", "--x", "1", "2", code=2)
    assert run("info", "none", code=2).startswith("lossatlas: none")
    debugged = CliRunner().invoke(atlas, ["--debug", "info", "none"])
    assert isinstance(debugged.exception, (la.SpecError, OSError))


def test_a_scan_is_run_kept_and_drawn(tmp_path):
    grid = ("--x", "-1", "1", "5", "--y", "-1", "1", "5")
    words = ("sample", "--model", "zoo:mlp", "--data", "zoo:digits", "--samples", "20", *grid)
    assert "loss: " in run(*words, "--run", str(tmp_path / "a"), "--metric", "error")
    assert "kind: a Landscape" in run("info", str(tmp_path / "a"))
    run("draw", str(tmp_path / "a"), "-o", str(tmp_path / "a.png"), "--scale", "log")
    assert (tmp_path / "a.png").stat().st_size > 1000
