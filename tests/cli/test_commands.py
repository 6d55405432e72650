"""Do the commands do what their help says, and name what is wrong with bad input?"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import COMMANDS, atlas
from lossatlas.results import reading
from lossatlas.results.store import RunFolder

USER = """
import torch
from torch.nn import functional as F

def make_model(width=4):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(3, width), torch.nn.BatchNorm1d(width), torch.nn.ReLU(), torch.nn.Linear(width, 2)
    )

torch.manual_seed(1)
dataset = torch.utils.data.TensorDataset(torch.randn(20, 3), torch.randint(2, (20,)))
loader = torch.utils.data.DataLoader(dataset, batch_size=6)
pair = dataset.tensors

def make_loader():
    return loader

def margin(outputs, targets):
    return outputs[:, 0] - outputs[:, 1]

def mean_margin(outputs, targets):
    return margin(outputs, targets).mean()

def nan_loss(outputs, targets):
    return outputs.sum() * float("nan")

def slow_loss(outputs, targets):
    import time
    time.sleep(0.02)
    return F.cross_entropy(outputs, targets)

def broken():
    raise KeyError("oops")

empty = []
number = 3
"""

GRID = ["--x", "-1", "1", "3", "--y", "0", "1", "2"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "user.py").write_text(USER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments, code: int = 0):
    result = CliRunner().invoke(atlas, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def sample(*arguments, code: int = 0, model="user.py:make_model", data="user.py:loader"):
    return run("sample", "--model", model, "--data", data, *arguments, code=code)


def test_a_surface_of_ones_own_model_in_one_command(here):
    result = sample(*GRID, "--metric", "error", "--metric", "user.py:margin", "--run", "runs/a", "--out", "a.png")
    assert "loss: " in result.stdout
    assert "at the centre" in result.stdout
    assert "cosine:" in result.stderr
    landscape = la.open("runs/a")
    assert landscape["loss"].sizes == {"x": 3, "y": 2}
    assert {"loss", "error", "margin"} <= set(landscape.data_vars)
    assert (here / "a.png").read_bytes().startswith(b"\x89PNG")


RANDOM = """
import torch

def make_model():
    return torch.nn.Linear(3, 2)

def data():
    return torch.randn(20, 3), torch.randint(2, (20,))
"""


@pytest.mark.parametrize(
    ("model", "data"), [("zoo:mlp(widths=(64, 8, 10))", "zoo:digits"), ("drawn.py:make_model", "drawn.py:data")]
)
def test_weights_drawn_at_random_are_the_same_each_time_so_that_a_command_resumes(here, model, data):
    (here / "drawn.py").write_text(RANDOM)
    before = torch.get_rng_state()
    first = sample(*GRID, "--run", "a", model=model, data=data)
    assert (torch.get_rng_state() == before).all()
    torch.randn(3)
    second = sample(*GRID, "--run", "a", model=model, data=data)
    assert "initial weights (seed 0, if they are random)" in first.stderr
    assert first.stdout.splitlines()[0] == second.stdout.splitlines()[0]


def test_retry_and_strict_mean_the_same_on_the_command_line_in_toml_and_in_python(here):
    (here / "far.py").write_text(
        "from torch.nn import functional as F\n\ndef loss(outputs, targets):\n"
        "    if outputs.abs().max() > 4: raise ValueError('too far')\n    return F.cross_entropy(outputs, targets)\n"
    )
    line = ["--loss", "far.py:loss", "--x", "-40", "40", "9"]
    refused = sample(*line, "--strict", "--run", "a", code=2)
    assert "strict: the point x = " in refused.stderr and "failed (ValueError: too far)" in refused.stderr
    assert "failed: lossatlas info says why" in sample(*line, "--retry", "--run", "a").stderr
    assert "give one of them" in sample(*line, "--retry", "--strict", code=2).stderr
    written = sample(*line, "--strict", "--print-config").stdout
    assert "strict = true" in written
    (here / "scan.toml").write_text(written)
    assert "strict: the point x = " in run("sample", "--config", "scan.toml", code=2).stderr
    assert ", strict=True)" in run("sample", "--config", "scan.toml", "--print-python").stdout
    assert ", retry=True)" in sample(*line, "--retry", "--print-python").stdout


def test_a_part_of_the_samples_is_said_to_be_no_choice_where_all_are_taken(here):
    for words in (["eigen"], ["sharpness", "--measure", "sam"]):
        told = run(*words, "--model", "user.py:make_model", "--data", "user.py:pair", "--samples", "auto")
        assert "samples: all of them; a subset, as 'auto' takes" in told.stderr


@pytest.mark.parametrize("plan", ["plain", "graph"])
def test_a_plan_whose_points_were_not_timed_is_named_and_the_picture_is_drawn(here, plan):
    result = run("sample", "--model", "user.py:make_model", "--data", "user.py:pair", *GRID, "--plan", plan,
                 "--out", "a.png")  # fmt: skip
    assert f"plan: {plan}" in result.output
    assert (here / "a.png").is_file()


def test_a_range_that_was_found_is_said_once_and_stands_in_the_caption_of_an_adaptive_run(here):
    result = run("sample", "--model", "user.py:make_model", "--data", "user.py:pair", "--radius", "auto",
                 "--x", -1, 1, 25, "--adaptive", 0.1, "--run", "found")  # fmt: skip
    assert re.search(r"^range:   ±", result.output, re.MULTILINE)
    assert "range ±" in " ".join(la.draw.compile(la.open("found")).caption.about.split())


def test_info_draws_no_conclusion_from_points_without_neighbours(here):
    data = torch.linspace(-1, 1, 8)[:, None], torch.zeros(8, 1)
    objective = la.Objective(torch.nn.Linear(1, 1), data, loss=torch.nn.functional.mse_loss)
    la.sample(objective, la.Plane.random(objective, axes="x"), la.Grid(x=(-1, 1, 5)), run="bowl")
    bowl = la.open("bowl").copy(deep=True)
    bowl["loss"][1::2] = np.nan
    bowl.to_netcdf("few.nc")
    assert "proves: This slice proves nothing" in run("info", "bowl").output
    assert "proves: nothing: too few neighbouring points are known" in run("info", "few.nc").output
    assert "ruggedness: " not in run("info", "few.nc").output


def test_the_command_gives_what_python_gives(here):
    sample(*GRID, "--seed", "5", "--normalize", "layer", "--still", "norm", "--run", "a")
    sys.path.insert(0, str(here))
    try:
        import user
    finally:
        sys.path.remove(str(here))
    objective = la.Objective(user.make_model(), user.loader, loss=torch.nn.functional.cross_entropy)
    plane = la.Plane.random(objective, seed=5, by="layer", still=("norm",))
    expected = la.sample(objective, plane, la.Grid(x=(-1, 1, 3), y=(0, 1, 2)))
    np.testing.assert_array_equal(la.open("a")["loss"].values, expected["loss"].values)


def test_python_that_is_printed_does_the_same(here):
    arguments = [*GRID, "--seed", "5", "--metric", "error", "--orthogonal"]
    sample(*arguments, "--run", "a")
    program = sample(*arguments, "--run", "b", "--print-python").stdout
    exec(compile(program, "printed", "exec"), {})  # the program is the thing under test
    np.testing.assert_array_equal(la.open("a")["loss"].values, la.open("b")["loss"].values)
    known = json.loads(la.open("a").attrs["provenance"])
    assert known["python"].strip() == program.strip().replace("'b'", "'a'")
    assert "python" not in json.loads(la.open("b").attrs["provenance"]), "a program is its own record"


def test_a_toml_file_says_how_its_pictures_are_drawn(here):
    text = sample(*GRID, "--out", "a.svg", "--print-config").stdout
    (here / "scan.toml").write_text(text + '\n[view]\nvmin = 0\nvmax = 9.5\nclip = "none"\n')
    assert "Loss from 0 to 9.5" not in sample(*GRID, "--out", "b.svg").stdout
    run("sample", "--config", "scan.toml")
    assert "from 0 to 9.5" in re.sub(r"<[^>]*>|\s+", " ", (here / "a.svg").read_text())
    again = run("sample", "--config", "scan.toml", "--print-config").stdout
    assert again.endswith('[view]\nvmin = 0\nvmax = 9.5\nclip = "none"\n')
    assert "'a.svg', vmin=0, vmax=9.5, clip=None" in run("sample", "--config", "scan.toml", "--print-python").stdout


def test_a_toml_file_says_the_same_and_flags_win_over_it(here):
    arguments = [*GRID, "--seed", "5", "--still", "none", "--title", "a \\ name"]
    text = sample(*arguments, "--print-config").stdout
    (here / "scan.toml").write_text(text)
    assert run("sample", "--config", "scan.toml", "--print-config").stdout == text
    assert "seed = 6" in run("sample", "--config", "scan.toml", "--seed", "6", "--print-config").stdout
    run("sample", "--config", "scan.toml", "--run", "a")
    sample(*arguments, "--run", "b")
    np.testing.assert_array_equal(la.open("a")["loss"].values, la.open("b")["loss"].values)
    assert la.open("a").attrs["title"] == "a \\ name"


def test_a_printed_config_says_the_same_whatever_the_title_holds(here):
    for title in ('a "quoted" \\ title', 'a"\ntrust_pickle = true #', "tab\there", "[view]", "模型 🙂", "x\x1b[31m"):
        text = sample("--title", title, "--print-config").stdout
        content = tomllib.loads(text)
        assert content["title"] == title
        assert "trust_pickle" not in content


def test_a_line_a_space_and_a_default_square(here):
    sample("--x", "-1", "1", "3", "--run", "line")
    assert la.open("line")["loss"].dims == ("x",)
    sample("--x", "0", "1", "2", "--y", "0", "1", "2", "--z", "0", "1", "2", "--run", "space")
    assert la.open("space")["loss"].dims == ("x", "y", "z")
    assert "x = " not in sample("--print-config").stdout
    assert "x=(-1.0, 1.0, 51), y=(-1.0, 1.0, 51)" in sample("--print-python").stdout


def test_towards_another_checkpoint(here):
    for seed, name in ((1, "a.pt"), (2, "b.pt")):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(
            *(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        )
        torch.save(model.state_dict(), name)
    sample("--checkpoint", "a.pt", "--towards", "b.pt", "--x", "0", "1", "3", "--run", "line")
    sample("--checkpoint", "b.pt", "--x", "0", "1", "2", "--run", "end")
    end = float(la.open("end")["loss"].sel(x=0))
    assert float(la.open("line")["loss"].sel(x=1)) == pytest.approx(end, rel=1e-5)
    sample("--checkpoint", "a.pt", "--towards", "b.pt", *GRID, "--run", "mixed")
    assert la.open("mixed")["x"].attrs["long_name"] == "towards b.pt"
    assert la.open("line")["x"].attrs["long_name"] == "from a.pt (0) to b.pt (1)"
    program = sample("--checkpoint", "a.pt", "--towards", "b.pt", "--x", "0", "1", "3", "--print-python").stdout
    scope: dict = {}
    exec(compile(program, "printed", "exec"), scope)
    assert float(scope["landscape"]["loss"].sel(x=1)) == pytest.approx(end, rel=1e-5)


@pytest.mark.parametrize(("mode", "said"), [("frozen", True), ("recalibrated", False)])
def test_batchnorm_that_belongs_to_one_end_of_a_line_is_said(here, mode, said):
    names: dict = {}
    exec(USER, names)
    torch.save(names["make_model"](width=4).state_dict(), "b.pt")
    torch.save({name: 2 * tensor for name, tensor in torch.load("b.pt").items()}, "b.pt")
    result = sample("--towards", "b.pt", "--x", 0, 1, 3, "--batchnorm", mode)
    assert ("BatchNorm keeps the statistics" in result.output) is said


def test_a_subset_another_format_and_batchnorm_modes(here):
    sample(*GRID, "--samples", "8", "--dtype", "float64", "--batchnorm", "recalibrated", "--run", "a")
    attributes = la.open("a").attrs
    assert (attributes["samples"], attributes["dtype"], attributes["batchnorm"]) == (8, "float64", "recalibrated")
    refused = sample(*GRID, "--samples", "1", "--batchnorm", "recalibrated", code=2)
    assert "a single sample has no variance" in refused.stderr
    sample(*GRID, "--samples", "7", "--data", "user.py:pair", "--run", "b")
    assert la.open("b").attrs["samples"] == 7


def test_files_of_the_original_code_go_both_ways(here):
    sample("--x", "-1", "1", "3", "--y", "-1", "1", "3", "--metric", "accuracy", "--run", "a")
    run("export", "a", "s.h5", "--directions", "d.h5", "--model", "user.py:make_model")
    run("import", "s.h5", "-o", "s.nc")
    np.testing.assert_allclose(la.open("s.nc")["loss"], la.open("a")["loss"], rtol=1e-12)
    sample("--x", "-1", "1", "3", "--y", "-1", "1", "3", "--directions", "d.h5", "--run", "b")
    np.testing.assert_allclose(la.open("b")["loss"], la.open("a")["loss"], rtol=1e-6)
    run("import", "d.h5", "--model", "user.py:make_model", "-o", "d.safetensors")
    sample("--x", "-1", "1", "3", "--directions", "d.safetensors", "--run", "c")
    assert (
        "exists; choose another"
        in run("import", "d.h5", "--model", "user.py:make_model", "-o", "d.safetensors", code=2).output
    )
    assert "--model NAME says whose" in run("import", "d.h5", code=2).output
    assert "needs --model" in run("export", "a", "s.h5", "--directions", "e.h5", code=2).output


def test_a_run_of_low_rank_is_written_as_adapters(here):
    sample("--x", "-1", "1", "3", "--rank", "1", "--only", "0.weight", "--run", "a")
    assert "of rank 1" in la.open("a")["x"].attrs["long_name"]
    shown = run("export", "a", "adapters", "--lora", "--model", "user.py:make_model").output
    assert "written: adapters/x" in shown
    assert (here / "adapters" / "x" / "adapter_config.json").is_file()
    assert "--lora needs --model" in run("export", "a", "other", "--lora", code=2).output


def test_explain_prints_every_tensor(here):
    printed = run("explain", "user.py:make_model").stdout
    assert "0.weight  4×3" in printed
    assert "still (norm)" in printed
    assert "6 tensors; 2 move, in 6 filters" in printed
    rows = json.loads(run("explain", "user.py:make_model(width=8)", "--still", "none", "--json").stdout)
    assert {row[""] for row in rows} == {"moves"}
    assert rows[0]["filters"] == 8


def test_explain_takes_its_model_as_other_commands_do(here):
    printed = run("explain", "user.py:make_model").stdout
    assert run("explain", "--model", "user.py:make_model").stdout == printed
    assert "| resnet20 |" in run("explain", "--sizes", "zoo:resnet56", "--model", "zoo:resnet20").stdout
    assert "MODEL is missing: name it as file.py:callable" in run("explain", code=2).stderr


def test_explain_counts_heads_and_layers_and_says_what_is_not_fixed():
    rows = json.loads(run("explain", "zoo:vit", "--normalize", "head", "--json").stdout)
    counts = {row["tensor"]: (row["filters"], row["size"]) for row in rows}
    assert counts["layers.0.attention.qkv.weight"] == (12, 256)
    assert counts["layers.0.mlp.0.weight"] == (64, 32)
    assert "not fixed: 4 norms pass their gain" in run("explain", "zoo:vit").stdout
    assert "choose one of: filter, head, layer" in run("explain", "zoo:vit", "--normalize", "row", code=2).output


def test_explain_shows_a_part_and_the_canonical_form():
    printed = run("explain", "zoo:resnet20(width=4)", "--only", "layer3.*").stdout
    assert "still (--only)" in printed
    assert "65 tensors; 7 move" in printed
    printed = run("explain", "zoo:resnet20(width=4)", "--canonical").stdout
    assert "canonical form: 21 BatchNorm layers folded" in printed
    assert "left as it is: sums (shortcuts)" in printed
    assert "has no canonical form here" in run("explain", "zoo:lstm", "--canonical", code=2).output


def test_explain_says_why_a_rule_is_the_default_one(here):
    (here / "own.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Strange(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.table = nn.Parameter(torch.ones(4, 2))\n"
    )
    printed = run("explain", "own.py:Strange").stdout
    assert "rows of the first dimension (default rule)" in printed
    assert "no rule for Strange; give one by lossatlas.filters.register" in printed
    assert "1 by the default rule" in printed


def test_a_part_and_the_canonical_form_are_sampled(here):
    shape = ("--x", -1, 1, 3, "--y", -1, 1, 2)
    common = ("--model", "zoo:mlp(widths=(64, 9, 10))", "--data", "zoo:digits", "--samples", 20, *shape)
    run("sample", *common, "--only", "layers.0.*", "--run", "part")
    assert "random direction 1 of layers.0.*" in json.dumps(json.loads(run("info", "part", "--json").stdout))
    run("sample", *common, "--canonical", "--run", "form")
    a, b = (la.open(path)["loss"] for path in ("part", "form"))
    assert float(a.sel(x=0).mean()) != float(b.sel(x=0).mean())
    program = run("sample", *common, "--canonical", "--only", "layers.2.*", "--print-python").stdout
    assert "model = canonical(model, first_inputs(data)).model" in program
    assert "only=('layers.2.*',)" in program
    exec(compile(program, "program", "exec"), {})
    wrong = run("sample", *common, "--canonical", "--batchnorm", "recalibrated", code=2).output
    assert "--canonical needs random directions and frozen BatchNorm" in wrong
    assert "no canonical form" in run("sample", "--model", "zoo:lstm", *common[2:], "--canonical", code=2).output
    assert (
        "only='nothing.*' matches none of the 4 tensors" in run("sample", *common, "--only", "nothing.*", code=2).output
    )


def test_info_of_finished_and_unfinished_runs(here):
    sample(*GRID, "--run", "a")
    printed = run("info", "a").stdout
    for part in ("model: Sequential", "done: 6 of 6", "loss: cross_entropy", "x,y:", "command:", "captured: no"):
        assert part in printed
    lines = printed.splitlines()
    start = lines.index("  python:") + 1
    program = lines[start : next(at for at in range(start, len(lines)) if lines[at].startswith("  seconds per point:"))]
    assert program[0] == "    import lossatlas as la"
    assert all(line.startswith("    ") or not line for line in program)
    assert not any(line.endswith((": None", ": False", ": True")) for line in lines)
    facts = json.loads(run("info", "a", "--json").stdout)
    assert facts["cells"] == {"ok": 6}
    assert facts["samples"] == 20


def test_a_resumed_run_says_how_long_it_took_itself(here, monkeypatch):
    commit = RunFolder.commit

    def stop(self, block):
        if block.indices.tolist() == [2]:  # the centre, which is there before anything is evaluated
            commit(self, block)
            return
        commit(self, block.where(block.indices < 2))
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(RunFolder, "commit", stop)
        sample("--x", -1, 1, 3, "--y", 0, 1, 2, "--run", "a", "--plan", "plain", code=1)
    resumed = sample("--x", -1, 1, 3, "--y", 0, 1, 2, "--run", "a", "--plan", "plain").stderr
    assert re.search(r"^plan: plain(, \S+ s for each point)? when the run began; 3 points .* now$", resumed, re.M)
    finished = sample("--x", -1, 1, 3, "--y", 0, 1, 2, "--run", "a", "--plan", "plain").stderr
    assert re.search(r"when the run began; no point was left$", finished, re.M)


def test_drawing_several_runs_with_options(here):
    for seed in (1, 2):
        sample(*GRID, "--seed", seed, "--run", f"r{seed}")
    run("draw", "r1", "r2", "-o", "a.svg", "-o", "b.html", "--kind", "heat", "--scale", "log", "--clip", "none")
    assert (here / "a.svg").exists()
    assert (here / "b.html").exists()
    assert "expected a number, auto or none" in run("draw", "r1", "-o", "a.png", "--clip", "much", code=2).output
    assert "choose one of: .png" in run("draw", "r1", "-o", "a.bmp", code=2).output
    assert "is not a run folder" in run("draw", ".", "-o", "a.png", code=2).output


def test_an_unfinished_run_is_drawn_coarse_and_says_so(here, monkeypatch):
    commit, left = RunFolder.commit, [25]

    def some(run, block):
        keep, left[0] = min(left[0], len(block.indices)), left[0] - len(block.indices)
        notes = block.notes[:keep]
        commit(
            run,
            replace(
                block, indices=block.indices[:keep], values=block.values[:keep], status=block.status[:keep], notes=notes
            ),
        )
        if left[0] <= 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(RunFolder, "commit", some)
        sample("--x", -1, 1, 15, "--y", -1, 1, 11, "--run", "a", data="user.py:pair", code=1)
    run("draw", "a", "-o", "a.svg", "-o", "a.html", "--points")
    assert "unfinished: 25 of 165 points evaluated" in (here / "a.html").read_text()
    run("draw", "a", "-o", "b.html", "--holes")
    assert "140 not sampled" in (here / "b.html").read_text()


def test_the_same_command_resumes_and_another_is_refused(here):
    sample(*GRID, "--run", "a")
    sample(*GRID, "--run", "a")
    assert "belongs to another run: plane" in sample(*GRID, "--run", "a", "--seed", "1", code=2).stderr


def checkpoint(here, width):
    model = torch.nn.Sequential(
        *(torch.nn.Linear(3, width), torch.nn.BatchNorm1d(width), torch.nn.ReLU(), torch.nn.Linear(width, 2))
    )
    torch.save(model.state_dict(), "w.pt")


BAD = {
    "no model": (dict(model=""), [], "--model is missing: name it as file.py:callable, package.module:callable, torch"),
    "no data": (
        dict(data=""),
        [],
        "--data is missing: name it as file.py:callable, package.module:callable, zoo:NAME, im",
    ),
    "no colon": (dict(model="make_model"), [], "'make_model' is not a name of the form file.py:callable"),
    "no file": (dict(model="none.py:f"), [], "none.py: no such file"),
    "no function": (dict(model="user.py:make_modle"), [], "user.py has no 'make_modle'; it has make_model"),
    "no module": (dict(model="no.such:f"), [], "no module 'no'"),
    "no zoo model": (dict(model="zoo:resnet21"), [], "choose one of: resnet20, resnet20_noshort"),
    "not literal": (dict(model="user.py:make_model(width=f())"), [], "must be literals with names"),
    "raises": (dict(model="user.py:broken"), [], "raised KeyError: 'oops'"),
    "no model made": (dict(model="user.py:make_loader"), [], "gave a DataLoader; expected a torch.nn.Module"),
    "empty data": (dict(data="user.py:empty"), [], "data is empty"),
    "data a number": (dict(data="user.py:number"), [], "data is an int"),
    "loss": ({}, ["--loss", "hinge"], "loss='hinge' is unknown; choose one of: cross_entropy, mse, l1"),
    "nan": ({}, ["--loss", "user.py:nan_loss"], "the loss at the centre is nan"),
    "metric name": ({}, ["--metric", "f2"], "metric='f2' is unknown; choose one of: error, accuracy"),
    "metric shape": ({}, ["--metric", "user.py:mean_margin"], "metric 'mean_margin' returned shape ()"),
    "normalize": ({}, ["--normalize", "row"], "normalize='row' is unknown; choose one of: filter, layer"),
    "still": ({}, ["--still", "conv"], "still='conv' is unknown; choose one of: weight, bias, norm"),
    "batchnorm": ({}, ["--batchnorm", "thaw"], "batchnorm='thaw' is unknown; choose one of: frozen"),
    "dtype": ({}, ["--dtype", "int8"], "dtype='int8' is unknown; choose one of: float16"),
    "one point": ({}, ["--x", "0", "1", "1"], "x=(0.0, 1.0, 1) has 1 point;"),
    "reversed": ({}, ["--x", "1", "0", "3"], "reversed bounds"),
    "samples": ({}, ["--samples", "-1"], "--samples -1"),
    "missing checkpoint": ({}, ["--checkpoint", "none.pt"], "checkpoint none.pt: no such file"),
    "picture": ({}, ["--out", "a.bmp"], "choose one of: .png, .pdf"),
    "too many towards": ({}, ["--x", "0", "1", "2", "--towards", "a", "--towards", "b"], "--towards is given 2 times"),
    "both ways": ({}, ["--directions", "a.h5", "--towards", "b.pt"], "give one of them"),
    "unwritable": ({}, ["--x", "0", "1", "2", "--run", "user.py/run"], "cannot be made"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_without_a_traceback(case, here):
    names, arguments, message = BAD[case]
    result = sample(*arguments, code=1 if case == "unwritable" else 2, **names)
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_bad_checkpoints_are_named(here):
    checkpoint(here, 5)
    assert "belongs to another architecture" in sample("--checkpoint", "w.pt", code=2).stderr
    (here / "w.pt").write_bytes((here / "w.pt").read_bytes()[:100])
    assert "truncated" in sample("--checkpoint", "w.pt", code=2).stderr
    torch.save(torch.nn.Linear(1, 1), "m.pt")
    assert "--trust-pickle" in sample("--checkpoint", "m.pt", code=2).stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model =", "cannot be read as TOML"),
        ("modle = 'a'", "unknown key 'modle'; the valid keys are model, data, function"),
        ("seed = 'a'", "seed = 'a' is a str; expected an int"),
        ("orthogonal = 1", "orthogonal = 1 is an int; expected a bool"),
        ("[view]\nvman = 1", "'vman' is unknown; choose one of: width, height, aspect"),
        ("[view]\nscale = 'ln'", "scale='ln' is unknown; choose one of: auto, linear, log"),
        ("view = 3", "expected a table [view]"),
        ("x = [0, 1]", "expected x = [low, high, points]"),
    ],
)
def test_bad_toml_is_named(here, text, message):
    (here / "scan.toml").write_text(text)
    assert message in run("sample", "--config", "scan.toml", code=2).stderr
    assert "no such file" in run("sample", "--config", "none.toml", code=2).stderr


def test_unknown_options_and_commands_exit_with_2_and_debug_shows_the_traceback(here):
    assert "No such option" in run("sample", "--modle", "x", code=2).output
    assert "No such command" in run("smaple", code=2).output
    result = CliRunner().invoke(atlas, ["--debug", "sample", "--model", "none.py:f", "--data", "user.py:pair"])
    assert isinstance(result.exception, la.SpecError)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(command):
    printed = run(command, "--help").stdout
    assert "Example" in printed
    assert f"lossatlas {command}" in printed


def test_help_does_not_wait_for_torch():
    code = "import sys; from lossatlas.cli import atlas\ntry: atlas(['--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_drawing_does_not_import_torch():
    code = "import sys, lossatlas as la; la.draw, la.open, la.View; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def points(run: str) -> int:
    try:
        return reading.progress(run).done
    except la.SpecError:
        return 0


def test_ctrl_c_says_what_is_safe_and_how_to_go_on(here):
    command = [sys.executable, "-m", "lossatlas", "sample", "--model", "user.py:make_model", "--data", "user.py:loader"]
    command += [
        "--loss",
        "user.py:slow_loss",
        "--x",
        "-1",
        "1",
        "30",
        "--y",
        "-1",
        "1",
        "30",
        "--run",
        "a",
        "--plan",
        "plain",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    while not points("a"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "of 900 points are safe in a. To continue: lossatlas sample --model user.py:make_model" in errors
    assert int((la.open("a")["status"] == 1).sum()) > 0


@pytest.mark.slow
def test_the_demo_runs_from_start_to_page(here):
    printed = run("demo", "--quick", "--no-open").stdout
    assert "area that bends down" in printed
    page = (here / "lossatlas-demo" / "index.html").read_text()
    assert "area that bends down" in page
    kept = {path: path.stat().st_mtime_ns for path in here.rglob("*") if path.suffix in (".pt", ".sqlite")}
    run("demo", "--quick", "--no-open")
    assert kept and kept == {path: path.stat().st_mtime_ns for path in kept}  # nothing is trained or measured again
    with h5py.File(here / "lossatlas-demo" / "skip" / "seed0" / "landscape.nc") as file:
        assert "loss" in file


def test_the_help_of_sample_groups_every_flag_by_what_where_how_and_out():
    from lossatlas.cli.options import FLAGS, Measuring

    grouped = [name for names in Measuring.sections.values() for name in names]
    assert len(grouped) == len(set(grouped))
    assert set(FLAGS) <= set(grouped)
    printed = run("sample", "--help").stdout
    places = [printed.index(f"\n{title}:") for title in Measuring.sections]
    assert places == sorted(places)
    assert (
        printed.index("\nWhere:")
        < printed.index("\n  --seed ")
        < printed.index("\nHow:")
        < printed.index("\n  --plan ")
    )


@pytest.mark.parametrize(
    ("command", "own"),
    [
        ("eigen", "Curvature"),
        ("connect", "Second network and curve"),
        ("sharpness", "Which measures"),
        ("trajectory", "The path"),
        ("draw", "Range and colours"),
    ],
)
def test_the_help_of_a_long_command_has_sections_and_shows_every_flag_once(command, own):
    printed = run(command, "--help").stdout
    assert f"\n{own}:" in printed
    assert "\nOptions:" not in printed
    sections = printed[re.search(r"^What is \w+:$", printed, flags=re.M).start() :]
    flags = {flag for option in atlas.get_command(None, command).params for flag in option.opts if flag[:2] == "--"}
    assert sorted(re.findall(r"^  (?:-\w, )?(--[\w-]+)", sections, flags=re.M)) == sorted({*flags, "--help"})


def test_inputs_move_in_one_command_and_in_the_python_it_prints(here):
    arguments = [*GRID, "--input-plane", "adversarial", "--examples", "0,2-4", "--clamp", "-3,3"]
    result = sample(*arguments, "--run", "a", "--out", "a.png")
    assert "attack: PGD reaches a mean loss of" in result.stdout
    assert "neither robustness nor faithful gradients" in result.stdout
    exec(compile(sample(*arguments, "--run", "b", "--print-python").stdout, "printed", "exec"), {})
    np.testing.assert_array_equal(la.open("a")["loss"].values, la.open("b")["loss"].values)
    assert int(la.open("a").attrs["samples"]) == 4
    assert "input norm" in run("info", "a").stdout
    assert 'examples = "0,2-4"' in sample(*arguments, "--print-config").stdout
    said = sample(*GRID, "--input-plane", "random", "--norm", "2").stdout
    assert "inputs: moved at random, the weights fixed" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--examples", "1"], "--examples needs --input-plane"),
        (["--input-plane", "sideways"], "expected adversarial, random, towards:"),
        (["--input-plane", "random", "--norm", "3"], "choose one of: inf, 2"),
        (["--input-plane", "random", "--examples", "1-x"], "such as 0,3,7 or 0-9"),
        (["--input-plane", "random", "--clamp", "1"], "expected LOW,HIGH"),
        (["--input-plane", "random", "--orthogonal"], "--orthogonal is for two random directions of weights"),
    ],
)
def test_bad_flags_of_inputs_say_what_is_good(here, arguments, words):
    assert words in sample(*GRID, *arguments, code=2).stderr


def test_info_leaves_out_what_is_empty_and_prints_rows_line_by_line(capsys):
    from lossatlas.cli.info import _print

    rows = [{"block": "conv1", "λmax": 6.734846663360816}, {"block": "head", "λmax": 1.106}]
    _print({"created": "", "software": "the original code", "by layer": {"rows": rows}})
    table = ["by layer:", "  rows:", "    block conv1, λmax 6.73485", "    block head, λmax 1.106"]
    assert capsys.readouterr().out.splitlines() == ["software: the original code", *table]
