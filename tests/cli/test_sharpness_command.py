"""Does `lossatlas sharpness` say each measure with its error, cost, invariances and caveat, and refuse what it must?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

import lossatlas as la
from lossatlas import sharpness
from lossatlas.cli import atlas
from lossatlas.cli.sharpness import QUICK

USER = """
import torch

def make_model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)).double()

torch.manual_seed(1)
pair = (torch.randn(20, 3).double(), torch.randint(2, (20,)))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "user.py").write_text(USER)
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    exec(USER, namespace)
    for number in range(9):
        torch.manual_seed(number)
        net = namespace["make_model"]()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(1 + 0.2 * number)
        torch.save(net.state_dict(), f"{chr(97 + number)}.pt")
    return namespace


def run(*arguments, code=0):
    named = ["--model", "user.py:make_model", "--data", "user.py:pair"]
    result = CliRunner().invoke(atlas, ["sharpness", *named, *map(str, arguments)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_the_numbers_are_those_of_the_library_for_each_checkpoint(here) -> None:
    picked = ["--measure", "sam", "--measure", "trace", "--set", "sam.rho=0.2", "--seed", 3]
    found = json.loads(run("--checkpoint", "a.pt", "--checkpoint", "c.pt", *picked, "--json").stdout)
    net = here["make_model"]()
    for name in ("a", "c"):
        net.load_state_dict(torch.load(f"{name}.pt"))
        objective = la.Objective(net, here["pair"], F.cross_entropy)
        exact = sharpness.sam(objective, rho=0.2, seed=3)
        assert found["measures"]["sam"]["values"][name]["value"] == pytest.approx(exact.value)
        trace = sharpness.trace(objective, seed=3)
        assert found["measures"]["trace"]["values"][name]["spread"] == pytest.approx(trace.spread)
    assert found["measures"]["sam"]["values"]["a"]["value"] != found["measures"]["sam"]["values"]["c"]["value"]


def test_every_number_stands_with_its_error_cost_invariances_and_caveat(here) -> None:
    shown = run("--checkpoint", "a.pt").output
    for name in QUICK:
        assert f"({name}; flatter is" in shown
    for head in ("definition", "cost", "unchanged by", "caveat"):
        assert shown.count(f"  {head}: ") == len(QUICK)
    assert "±: standard error over probes" in shown
    assert "rescaling layers, units, filters" in shown
    assert "Dinh et al. 2017" in shown.splitlines()[-1]


def test_models_are_ranked_against_a_column_and_few_claim_nothing(here, tmp_path) -> None:
    many = [part for letter in "abcdefghi" for part in ("--checkpoint", f"{letter}.pt")]
    column = ",".join(str(0.1 * number) for number in range(9))
    shown = run(*many, "--measure", "fisher_rao", "--against", f"test_error={column}", "--out", "flat.png").output
    assert "test error: one rises with the other over these models" in shown
    assert "n = 9" in shown
    assert (tmp_path / "flat.png").stat().st_size > 1000
    few = run(*many[:6], "--measure", "fisher_rao", "--against", "test_error=1,2,3").output
    assert "n = 3 models are too few for any claim" in few


def test_the_report_holds_numbers_definitions_and_caveats(here, tmp_path) -> None:
    run("--checkpoint", "a.pt", "--checkpoint", "b.pt", "--measure", "sam", "--report", "flat.html")
    page = (tmp_path / "flat.html").read_text()
    for words in ("Flatness of 2 models", "Foret et al. 2021", "Rescaling layers or units or filters", "<img"):
        assert words in page


def test_what_was_printed_as_json_is_a_section_of_a_report(here, tmp_path) -> None:
    shown = run("--checkpoint", "a.pt", "--measure", "sam", "--measure", "trace", "--json").stdout
    (tmp_path / "flat.json").write_text(shown)
    result = CliRunner().invoke(atlas, ["report", "flat.json", "-o", "page.html"])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.html").read_text()
    for words in (
        "<h2>How flat</h2>",
        "trace of the Hessian",
        "nothing",
        "Rescaling layers or units or filters",
        " ± ",
    ):
        assert words in page
    (tmp_path / "other.json").write_text("{}")
    for name, words in (("other.json", "no measures of flatness"), ("missing.json", "no such file")):
        refused = CliRunner().invoke(atlas, ["report", name, "-o", "page.html"])
        assert (refused.exit_code, words in refused.output) == (2, True)


def test_a_settings_file_may_name_the_checkpoint(here, tmp_path) -> None:
    (tmp_path / "scan.toml").write_text('model = "user.py:make_model"\ndata = "user.py:pair"\ncheckpoint = "b.pt"\n')
    result = CliRunner().invoke(atlas, ["sharpness", "--config", "scan.toml", "--measure", "sam", "--json"])
    assert list(json.loads(result.stdout)["measures"]["sam"]["values"]) == ["b"]


def test_a_measure_that_does_not_apply_says_why_beside_the_others(here) -> None:
    with open("user.py", "a") as file:
        file.write("\nnumbers = (pair[0], pair[0][:, :2])\n")
    line = "sharpness --model user.py:make_model --data user.py:numbers --loss mse --measure input_margin --measure sam"
    result = CliRunner().invoke(atlas, line.split())
    assert result.exit_code == 0
    assert "not everywhere: make_model: margins need" in result.output
    assert "SAM sharpness" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--measure", "flatness"], "epsilon_sharpness"),
        (["--set", "sam.radius=1"], "rho, m, steps, seed"),
        (["--set", "lpf.sigma=1"], "sam, adaptive_worst"),
        (["--set", "sam"], "MEASURE.OPTION=VALUE"),
        (["--against", "test_error=1,2"], "2 values for 1 checkpoint;"),
        (["--against", "test_error=x"], "expected NAME=V1,V2"),
        (["--checkpoint", "a.pt", "--checkpoint", "a.pt"], "given twice"),
        (["--out", "flat.doc"], ".png"),
        (["--report", "flat.pdf"], "ends in .html"),
    ],
)
def test_bad_input_is_refused_with_what_would_be_good(here, arguments, words) -> None:
    assert words in run(*arguments, code=2).output


def test_a_second_loss_or_other_data_is_seen_along_the_gradient_of_the_first(here) -> None:
    with Path("user.py").open("a") as code:
        code.write("\nearlier = (1.5 * pair[0][:15], pair[1][:15])\n")
        code.write("def steeper(out, y): return torch.nn.functional.cross_entropy(2 * out, y)\n")
    exec(Path("user.py").read_text(), here)
    picked = ["--checkpoint", "a.pt", "--checkpoint", "c.pt", "--measure", "critical"]
    found = json.loads(run(*picked, "--second-data", "user.py:earlier", "--json").stdout)["measures"]["critical"]
    net = here["make_model"]()
    for name in ("a", "c"):
        net.load_state_dict(torch.load(f"{name}.pt"))
        first, then = (la.Objective(net, here[data], F.cross_entropy) for data in ("pair", "earlier"))
        exact = sharpness.critical(first, second=then)
        assert found["values"][name]["value"] == pytest.approx(exact.value)
        assert exact.value != pytest.approx(sharpness.critical(first).value, rel=1e-3)
    other = run(*picked[2:], "--second-loss", "user.py:steeper").stdout
    assert "Relative: steeper on pair along the update of cross_entropy on pair." in other
    map_ = ["eigen", "--model", "user.py:make_model", "--data", "user.py:pair", "--map", "--x", "-1", "1", "3"]
    told = ["--checkpoint", "a.pt", "--critical", "--second-data", "user.py:earlier", "--run", "map"]
    result = CliRunner().invoke(atlas, [*map_, *told])
    assert result.exit_code == 0, result.output
    net.load_state_dict(torch.load("a.pt"))
    first, then = (la.Objective(net, here[data], F.cross_entropy) for data in ("pair", "earlier"))
    assert la.open("map")["critical"].sel(x=0).item() == pytest.approx(sharpness.critical(first, second=then).value)


def test_a_second_loss_that_says_nothing_new_is_refused(here) -> None:
    named = ["--measure", "critical"]
    assert "add --measure critical" in run("--second-loss", "mse", code=2).output
    assert "are the same as the first data and loss" in run(*named, "--second-data", "user.py:pair", code=2).output
    told = ["eigen", "--model", "user.py:make_model", "--data", "user.py:pair", "--second-loss", "mse"]
    assert "add --map --critical" in CliRunner().invoke(atlas, told).output
