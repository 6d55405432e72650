"""Does `lossatlas llc` say the estimate with its checks, and refuse what it must with exit code 1?"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import atlas

USER = """
import torch

def make_model():
    net = torch.nn.Sequential(torch.nn.Linear(3, 2, bias=False), torch.nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        for layer in net:
            layer.weight.zero_()
            layer.weight[0, 0] = 1.0
    return net

def make_bowl():
    net = torch.nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.eye(3)[:1])
    return net

pair = (torch.eye(3).double() * 3**0.5, torch.tensor([[3**0.5], [0.0], [0.0]]).double())
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "user.py").write_text(USER)
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0, model="make_model"):
    named = ["--model", f"user.py:{model}", "--data", "user.py:pair", "--loss", "mse"]
    result = CliRunner().invoke(atlas, ["llc", *named, *map(str, arguments)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_the_estimate_of_a_layer_is_said_and_drawn(tmp_path):
    """The first layer: the second reads its first row alone, three of six parameters."""
    done = run(
        "--only", "0.*", "--nbeta", 3000, "--gamma", 300, "--draws", 400, "--burn", 400, "--out", "a.png", "--json"
    )
    found = json.loads(done.stdout)
    assert abs(found["coefficient"] - 1.5) < 4 * found["error"] + 0.1
    assert found["parameters"] == 6
    assert found["problems"] == []
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_a_refused_estimate_ends_with_exit_code_1_and_says_what_to_change():
    done = run("--nbeta", 3000, "--gamma", 30, "--draws", 50, "--step", 1.0, code=1)
    assert "take a smaller step (step=0.25)" in done.output
    assert "the estimate is refused: diverged" in done.output


def test_a_volume_and_a_scan_are_said():
    done = run("--volume", "--heights", 1e-4, 1e-2, "--ways", 20, "--json", model="make_bowl")
    assert abs(json.loads(done.stdout)["coefficient"] - 1.5) < 0.01
    done = run("--only", "1.*", "--scan", "--nbeta", 3000, "--gamma", 30, "--draws", 60)
    assert "Step size ε" in done.stdout
    assert "Pull γ" in done.stdout
    run("--scan", "--volume", code=2)


def test_the_help_teaches():
    text = CliRunner().invoke(atlas, ["llc", "--help"]).output
    for word in ("d/2", "refused", "Examples", "--only", "minimum", "arXiv 2308.12108"):
        assert word in text


def test_a_folder_keeps_estimate_and_scan_side_by_side_and_refuses_another_network(monkeypatch):
    """A refused estimate is kept too, as refused, and the command still ends with exit code 1."""
    walk = ("--nbeta", 3000, "--gamma", 300, "--draws", 400, "--burn", 400, "--run", "kept")
    said = run("--only", "0.*", *walk, "--json")
    assert "kept: kept (lossatlas draw kept --value 'llc of 0.*' -o picture.png)" in said.stderr
    run("--only", "1.*", "--scan", "--nbeta", 3000, "--gamma", 30, "--draws", 60, "--run", "kept")
    run("--nbeta", 3000, "--gamma", 30, "--draws", 50, "--step", 1.0, "--run", "kept", code=1)
    found = la.open("kept")
    assert list(found.sections) == ["llc of 0.*", "llc, scan of 1.*", "llc"]
    value = json.loads(said.stdout)["coefficient"]
    assert float(found.sections["llc of 0.*"].numbers[0].value.partition(" ")[0]) == pytest.approx(value, rel=1e-3)
    assert len(found.plot("llc of 0.*").panels[0].series[0].y) == 800
    assert {row["varied"] for row in found.sections["llc, scan of 1.*"].rows} == {"step", "nbeta", "gamma"}
    assert found.sections["llc"].numbers[0].value == "refused"
    for command in (["info", "kept"], ["draw", "kept", "-o", "a.png"], ["report", "kept", "-o", "a.html"]):
        done = CliRunner().invoke(atlas, command)
        assert done.exit_code == 0, done.output
    monkeypatch.setattr("lossatlas.flatness.degeneracy.llc", lambda *_, **__: pytest.fail("computed"))
    assert "numbers of something else (model differ)" in run("--run", "kept", model="make_bowl", code=2).stderr
