"""Does `lossatlas eigen` say what is asked, keep it beside a run, resume its map, and refuse what it must?"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F
from tqdm import tqdm

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.field.convexity import slice_eigenvalues
from lossatlas.figure.words import number

USER = """
import torch

def make_model(width=6):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))
    return net.double()

torch.manual_seed(1)
pair = (torch.randn(20, 3).double(), torch.randint(2, (20,)))
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "user.py").write_text(USER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str, *arguments: object, code: int = 0):
    named = ["--model", "user.py:make_model", "--data", "user.py:pair", "--batch-size", "8"]
    result = CliRunner().invoke(atlas, [command, *named, *map(str, arguments)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_numbers_come_with_their_caveats_and_are_those_of_the_library(here) -> None:
    shown = run("eigen", "--k", 2, "--probes", 4, "--along", "--x", -1, 1, 3).output
    assert "Hessian of make_model, 38 parameters; mean of cross_entropy over 20 samples of pair." in shown
    for word in ("λmin", "λ2 from below", "λ2 from above", "λmax", "|λmin/λmax|", "trace", "along x, by differences"):
        assert word in shown
    assert re.search(r"^λmin +\S+  an upper bound, relative residual \d(\.\d)?\S*$", shown, re.M)
    assert "note: ReLU has kinks" in shown
    found = json.loads(run("eigen", "--json", "--probes", 0, "--tolerance", 1e-5).stdout)
    numbers = {one["name"]: one["value"] for one in found["numbers"]}
    namespace: dict = {}
    exec(USER, namespace)
    objective = la.Objective(namespace["make_model"](), namespace["pair"], F.cross_entropy)
    exact = la.eigenvalues(objective, tolerance=1e-6)
    assert numbers["λmax"] == pytest.approx(exact.values[-1], rel=1e-5)
    assert numbers["λmin"] == pytest.approx(exact.values[0], rel=1e-3)
    assert set(numbers) == {"λmin", "λmax", "|λmin/λmax|"}


def test_a_run_prints_what_was_found_at_its_centre_and_a_report_holds_it_all(here) -> None:
    run("sample", "--x", -1, 1, 5, "--y", -1, 1, 5, "--run", "a", "--metric", "error")
    run("eigen", "--run", "a", "--probes", 2, "--report", "a.html", "--out", "ends.svg")
    assert la.open("a").attrs["curvature"]
    assert "λmin" in json.loads((here / "a" / "curvature.json").read_text())["numbers"][0]["name"]
    page = (here / "a.html").read_text()
    trees = int(find_spec("gudhi") is not None)  # of the minima of the slice
    assert page.count("data:image/svg+xml") == 2 + trees  # the ends and the slice
    assert "Kept with the run a." in page
    facts = json.loads(CliRunner().invoke(atlas, ["info", "a", "--json"]).stdout)
    assert facts["curvature"]["converged"] is True
    again = CliRunner().invoke(atlas, ["report", "a", "-o", "b.html", "--title", "Two"])
    assert again.exit_code == 0, again.output
    page = (here / "b.html").read_text()
    assert "This slice proves" in page
    assert "an upper bound, relative residual " in page
    refused = run("eigen", "--run", "a", "--samples", 10, "--probes", 0, code=2)
    assert "a is a run of something else: " in refused.output
    assert "data is" in refused.output


def test_saved_eigenvectors_are_the_directions_of_a_slice(here) -> None:
    run("eigen", "--save", "ends.safetensors", "--probes", 0, "--tolerance", 1e-6)
    run("sample", "--directions", "ends.safetensors", "--x", -1e-4, 1e-4, 3, "--y", -1e-4, 1e-4, 3, "--run", "b")
    landscape = la.open("b")
    assert landscape["x"].attrs["long_name"].startswith("eigenvector of λmax = ")
    found = json.loads(run("eigen", "--json", "--probes", 0, "--tolerance", 1e-6).stdout)
    numbers = {one["name"]: one["value"] for one in found["numbers"]}
    np.testing.assert_allclose(
        slice_eigenvalues(landscape)[0, 0], [numbers["λmin"], numbers["λmax"]], rtol=1e-3, atol=1e-4
    )


def test_the_map_is_kept_resumed_and_drawn(here, monkeypatch) -> None:
    from lossatlas.curvature import map as module

    original = module.Ends.visit
    calls = []

    def stop(self, index):
        calls.append(index)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, index)

    monkeypatch.setattr(module.Ends, "visit", stop)
    asked = ("--map", "--tensors", "weights", "--x", -1, 1, 3, "--y", -1, 1, 3, "--run", "map")
    stopped = run("eigen", *asked, code=1)
    assert "3 of 9 points are safe in map" in stopped.output
    done = run("eigen", *asked, "--out", "map.svg", "--report", "map.html")
    assert len(calls) == 10
    assert "|λmin/λmax|: " in done.output
    assert "Hessian-vector products" in done.output
    assert "of the weights, without biases and norms," in (here / "map.html").read_text()
    assert (here / "map.svg").is_file()
    info = CliRunner().invoke(atlas, ["info", "map"]).output
    ratio = la.open("map")["ratio"].values
    assert f"  |λmin/λmax|: {number(ratio.min())} to {number(ratio.max())}\n" in info
    assert "does not prove: Over all directions, not just this plane." in info
    assert not any(words in info for words in ("This slice proves", "ruggedness", "lowest:"))


def test_blocks_and_batches_are_those_of_the_library(here) -> None:
    told = json.loads(run("eigen", "--by", "layer", "--probes", 3, "--json", "--tolerance", 1e-5).stdout)
    namespace: dict = {}
    exec(USER, namespace)
    objective = la.Objective(namespace["make_model"](), namespace["pair"], F.cross_entropy, batch_size=8)
    exact = la.eigenvalues(objective, by="layer", tolerance=1e-5)
    assert [row["block"] for row in told["rows"]] == list(exact)
    for row in told["rows"]:
        errors = [row["error of λmin"], row["error of λmax"]]
        np.testing.assert_allclose(errors, exact[row["block"]].errors[[0, -1]], rtol=0.2, atol=1e-6)
        np.testing.assert_allclose([row["λmin"], row["λmax"]], exact[row["block"]].values, rtol=1e-4, atol=1e-6)
    shown = run("eigen", "--by", "*.weight", "--probes", 2, "--out", "layers.svg", "--report", "layers.html").output
    assert "belong to no block" in shown
    assert "residual ‖Hv − λv‖, within which there is an eigenvalue; of a trace its standard error over 2" in shown
    assert re.search(r"^2\.weight +12 .* \d\S* ± \S+$", shown, re.M)
    assert (here / "layers.svg").stat().st_size > 1000
    batches = json.loads(run("eigen", "--batches", "--json", "--out", "b.svg").stdout)
    assert sum(row["samples"] for row in batches["rows"]) == objective.samples
    assert "whole matrix" in run("eigen", "--by", "layer", "--map", code=2).output
    assert "matches no module" in run("eigen", "--by", "h.*", code=2).output


def test_bad_wishes_are_refused(here) -> None:
    assert "choose one of: hessian, ggn" in run("eigen", "--kind", "fisher", code=2).output
    assert "--density is for eigenvalues at the point" in run("eigen", "--map", "--density", code=2).output
    assert "ends in .html" in run("eigen", "--report", "a.pdf", code=2).output
    assert "frozen" in run("eigen", "--batchnorm", "recalibrated", code=2).output
    assert "float32" in run("eigen", "--dtype", "bfloat16", code=2).output
    drawn = run("eigen", "--density", "--vectors", 2, "--out", "d.svg", "--probes", 0)
    assert "drawn: d.svg" in drawn.output
    assert "mean of 2 random vectors" in (here / "d.svg").read_text()


def test_a_new_folder_keeps_the_numbers_and_draw_info_and_report_read_them(here) -> None:
    kept = run("eigen", "--run", "new/c", "--density", "--probes", 2, "--tolerance", 1e-6).output
    assert "kept: new/c (lossatlas draw new/c --value density -o picture.png)" in kept
    run("eigen", "--run", "new/c", "--by", "layer", "--probes", 0)
    run("eigen", "--run", "new/c", "--probes", 0, "--kind", "ggn")
    found = la.open("new/c")
    assert list(found.sections) == ["ends", "density", "by layer", "ends, ggn"]
    namespace: dict = {}
    exec(USER, namespace)
    exact = la.eigenvalues(la.Objective(namespace["make_model"](), namespace["pair"], F.cross_entropy), tolerance=1e-6)
    told = {one.name: one.value for one in found.sections["ends"].numbers}
    assert told["λmax"] == pytest.approx(exact.values[-1], rel=1e-6)
    bars = found.plot("ends").panels[0].series
    assert bars[-1].y[-1] == pytest.approx(exact.values[-1], rel=1e-6)
    assert [row["block"] for row in found.sections["by layer"].rows] == ["0", "2"]

    def say(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(atlas, arguments)
        assert result.exit_code == code, result.output
        return result.output

    info = json.loads(say("info", "new/c", "--json"))
    assert info["ends"]["λmax"]["value"] == told["λmax"]
    for one in found.sections["ends"].numbers:
        assert re.search(rf"  {re.escape(one.name)}: \S+ .*\({re.escape(one.caveat)}\)", say("info", "new/c")), one.name
    assert re.search(r"  λmax seen: \S+ per squared parameter norm \(the highest of 5 random", say("info", "new/c"))
    assert re.search(
        r"    block 0, parameters 24, λmin (none below \S+|\S+ ± \S+), λmax \S+ ± \S+$", say("info", "new/c"), re.M
    )
    assert info["by layer"]["rows"][0]["block"] == "0"
    assert (
        "height of one eigenvalue" in Path(say("draw", "new/c", "--value", "density", "-o", "d.svg")[7:-1]).read_text()
    )
    assert "choose one of: ends, density, by layer" in say("draw", "new/c", "--value", "trace", "-o", "d.svg", code=2)
    page = Path(say("report", "new/c", "-o", "c.html")[9:-1]).read_text()
    assert "Curvature of make_model: by layer" in page
    assert found.sections["ends"].caveats[0] in page


def test_the_bar_says_how_many_products_there_are_at_most(here, monkeypatch) -> None:
    bars = []

    class Bar(tqdm):
        def __init__(self, **told):
            super().__init__(**told)
            bars.append(self)

    monkeypatch.setattr("tqdm.tqdm", Bar)
    run("eigen", "--k", 2, "--probes", 3, "--density", "--vectors", 2)
    (bar,) = bars
    assert 3 + 2 < bar.n <= bar.total == 2 * 200 + 3 + 2 * 40
    assert re.fullmatch(r"curvature: \d+ of at most 483 products \[.*\]", str(bar))
    run("eigen", "--by", "layer", "--probes", 3, "--density", "--vectors", 2)
    most = 24 + 14 + 3 + 2 * (24 + 14)  # both layers are so small that their blocks are built whole
    assert bars[1].total == most >= bars[1].n > 24 + 14
    assert re.fullmatch(rf"curvature: \d+ of at most {most} products \[.*\]", str(bars[1]))


def test_no_answer_of_a_folder_is_lost_to_a_later_one(here) -> None:
    run("eigen", "--run", "c", "--k", 2, "--probes", 0)
    run("eigen", "--run", "c", "--density", "--vectors", 2, "--probes", 0)
    other = run("eigen", "--run", "c", "--probes", 0, "--seed", 3, "--tolerance", 0.2)
    assert "note: c has other numbers called 'ends', and keeps them" in other.stderr
    assert "kept: c (lossatlas draw c --value 'ends 2' -o picture.png)" in other.stdout
    again = run("eigen", "--run", "c", "--k", 2, "--probes", 0)  # the same answer stands there once
    assert "has other numbers" not in again.stderr
    found = la.open("c")
    assert list(found.sections) == ["ends, k = 2", "ends", "density", "ends 2"]
    assert "λ2 from below" in [one.name for one in found.sections["ends, k = 2"].numbers]


def test_a_run_of_sample_keeps_the_numbers_that_a_later_answer_has_not(here) -> None:
    run("sample", "--x", -1, 1, 3, "--run", "a")
    run("eigen", "--run", "a", "--k", 2, "--probes", 2)
    run("eigen", "--run", "a", "--probes", 0, "--tolerance", 1e-6)
    kept = la.open("a").attrs["curvature"]
    kept = json.loads(kept) if isinstance(kept, str) else kept
    values = {one["name"]: one["value"] for one in kept["numbers"]}
    assert list(values) == ["λmin", "λmax", "|λmin/λmax|", "λ2 from below", "λ2 from above", "trace"]
    assert values["λmin"] == kept["lambda_min"]
    other = run("eigen", "--run", "a", "--probes", 0, "--kind", "ggn")
    assert "note: a had numbers of another matrix, which are replaced: Hessian of make_model" in other.stderr
    (here / "a" / "curvature.json").write_text("{")
    run("eigen", "--run", "a", "--probes", 0)  # what is damaged is written anew, as repair says


def test_a_folder_of_something_else_is_said_before_anything_is_computed(here, monkeypatch) -> None:
    run("eigen", "--run", "other", "--probes", 0, "--samples", 10)
    run("sample", "--x", -1, 1, 3, "--run", "slice")
    la.Recorder("path").step(torch.nn.Linear(1, 1))
    monkeypatch.setattr("lossatlas.curvature.spectrum.ends_of", lambda *_, **__: pytest.fail("computed"))
    assert "--run path holds the path of a training run" in run("eigen", "--run", "path", code=2).stderr
    assert "numbers of something else (data differ)" in run("eigen", "--run", "other", code=2).stderr
    assert "but not blocks or batches" in run("eigen", "--by", "layer", "--run", "slice", code=2).stderr


def test_the_run_of_a_settings_file_is_left_to_sample_until_it_has_made_it(here) -> None:
    settings = 'model = "user.py:make_model"\ndata = "user.py:pair"\nbatch_size = 8\nx = [-1, 1, 3]\nrun = "runs/a"\n'
    Path("scan.toml").write_text(settings)

    def say(*arguments: object):
        result = CliRunner().invoke(atlas, [*map(str, arguments), "--config", "scan.toml"])
        assert result.exit_code == 0, result.output
        return result

    note = "note: run = 'runs/a' in the settings is for lossatlas sample; --run FOLDER keeps this answer\n"
    mapped = ("eigen", "--map", "--y", -1, 1, 2)
    for words in (("eigen", "--probes", 0), ("eigen", "--by", "layer", "--probes", 0), ("eigen", "--batches"), mapped):
        assert note in say(*words).stderr
        assert not Path("runs").exists()
    said = say("sample")
    assert "note:" not in said.stderr
    joined = say("eigen", "--probes", 0)
    assert "note: run" not in joined.stderr
    assert "λmin" in CliRunner().invoke(atlas, ["info", "runs/a"]).output
    for words in (("eigen", "--by", "layer", "--probes", 0), mapped):  # a run of sample can keep neither
        assert note in say(*words).stderr
    say(*mapped, "--run", "map")
    Path("scan.toml").write_text(settings.replace("runs/a", "map"))
    assert "kept: map" in say(*mapped).stdout
    say("eigen", "--probes", 0, "--run", "numbers")
    assert list(la.open("numbers").sections) == ["ends"]


@pytest.mark.parametrize(
    "command",
    [
        ("eigen", "--map", "--y", -1, 1, 2, "--tensors", "weights"),
        ("eigen", "--density", "--probes", 2),
        ("quantise", "--bits", 4, "--layers", "none", "--no-forecast"),
        ("sharpness", "--measure", "fisher_rao"),
        ("llc", "--draws", 20, "--burn", 5, "--chains", 2),
    ],
)
def test_the_picture_of_a_settings_file_is_that_of_sample(here, command) -> None:
    model = 'model = "user.py:make_model"\ndata = "user.py:pair"\nbatch_size = 8\nx = [-1, 1, 3]\n'
    Path("scan.toml").write_text(model + 'out = ["best.png"]\n')
    Path("best.png").write_bytes(b"the picture of sample")
    result = CliRunner().invoke(atlas, [*map(str, command), "--config", "scan.toml"])
    assert result.exit_code in (0, 1), result.output
    assert "Traceback" not in result.output and not isinstance(result.exception, (TypeError, KeyError))
    assert Path("best.png").read_bytes() == b"the picture of sample"


def test_samples_auto_means_all_of_them_and_says_so(here) -> None:
    told = json.loads(run("eigen", "--json", "--probes", "0").stdout)
    auto = run("eigen", "--json", "--probes", "0", "--samples", "auto")
    assert json.loads(auto.stdout) == told
    assert "samples: all of them" in auto.stderr
