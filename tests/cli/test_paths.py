"""Do `lossatlas trajectory` and `lossatlas connect` say what they found, and what it does not prove?"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib.image import imread
from torch.nn import functional as F

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.connect import curve_training
from lossatlas.figure.overlays import Points
from lossatlas.figure.words import number

USER = """
import lossatlas as la

def make(seed=0):
    return la.zoo.model("mlp", seed=seed, widths=(64, 12, 10), norm=True)
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "user_paths.py").write_text(USER)
    monkeypatch.chdir(tmp_path)
    x, y = (part[:200] for part in la.zoo.data("digits"))
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = la.zoo.model("mlp", seed=seed, widths=(64, 12, 10), norm=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
        recorder = la.Recorder(f"path{seed}", every=4)
        for step in range(21):
            recorder.step(model, epoch=step / 4, lr=optimizer)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            optimizer.param_groups[0]["lr"] = 0.2 if step < 10 else 0.02
        torch.save(model.state_dict(), f"{seed}.pt")
    return tmp_path


def run(*arguments, code: int = 0):
    result = CliRunner().invoke(atlas, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


WHAT = ("--model", "user_paths.py:make", "--data", "zoo:digits", "--samples", "100")


def test_the_checkpoints_alone_give_the_variance_and_its_null(here):
    result = run("trajectory", "path0", "--variance", "variance.svg")
    assert "path: 6 checkpoints, step 0 to 20, 934 parameters" in result.stdout
    assert "random walk" in result.stdout
    assert "nearly flat proves little" in result.stdout
    assert "Random directions meet the line" in result.stdout
    assert "explained variance" in (here / "variance.svg").read_text()
    said = run("trajectory", "--folder", "path0", "--run", "new", code=2).stderr
    assert "--run is for the surface under the path, which needs --model and --data" in said
    assert not (here / "new").exists()


def test_the_path_upon_the_surface_is_drawn_and_kept(here):
    pictures = ("--out", "path.png", "--out", "path.html", "--losses", "losses.svg", "--report", "page.html")
    what = ("--grid", "5", "--run", "plane", "--metric", "error")
    result = run("trajectory", "--folder", "path0", *WHAT, *what, *pictures)
    assert re.search(
        r"^error of the networks: 0\.\d+ at the first checkpoint, [0-9.]+ at the last$", result.stdout, re.M
    )
    assert "off this plane by up to" in result.stdout
    assert "kept: plane (lossatlas draw plane -o picture.html)" in result.stdout
    assert "lr ÷ 10" in (here / "losses.svg").read_text()
    assert "off this plane by up to" in (here / "path.html").read_text()
    assert "nearly flat proves little" in (here / "page.html").read_text()
    landscape = la.open("plane")
    assert landscape["loss"].shape == (5, 5)
    # The centre is the last checkpoint, with its own running statistics.
    model = la.zoo.model("mlp", widths=(64, 12, 10), norm=True)
    la.load_checkpoint(model, "0.pt")
    x, y = (part[:100] for part in la.zoo.data("digits"))
    la.Trajectory.open("path0").load(model)
    model.eval()
    expected = float(F.cross_entropy(model(x), y).detach())
    from lossatlas.results.landscape import structured

    assert structured(landscape, "centre")["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_path_that_a_run_keeps_is_filmed_by_both_commands_alike(here):
    size = ("--seconds", "0.5", "--rate", "6", "--width", "320")
    run("trajectory", "--folder", "path0", *WHAT, "--grid", "5", "--run", "plane", "--film", "one", *size)
    assert "filmed: two" in run("animate", "plane", "-o", "two", "--film", "path", *size).stdout
    frames = [sorted((here / name).iterdir()) for name in ("one", "two")]
    assert [len(files) for files in frames] == [3, 3]
    for one, two in zip(*frames, strict=True):
        assert (pixels := imread(one)).shape[1] == 320  # of the whole frame, map and losses
        assert (pixels == imread(two)).all()
    first, last = imread(frames[1][0]), imread(frames[1][-1])
    assert (first[:, :160] != last[:, :160]).any() and (first[:, 160:] != last[:, 160:]).any()
    dark = run("animate", "plane", "-o", "dark.gif", "--film", "path", *size, "--theme", "dark", "--scale", "log")
    assert "filmed: dark.gif" in dark.stdout


def test_several_runs_are_drawn_under_their_names(here):
    shutil.copytree("path0", "other")
    what = ("trajectory", *WHAT, "--grid", "3", "--out", "both.svg")
    said = run(*what, "--label", "SGD & co=path0", "--folder", "other").stdout
    assert re.search(r"runs: other \(\d+ checkpoints\), SGD & co \(\d+ checkpoints\)", said)
    drawn = Path("both.svg").read_text()
    assert "<!-- other -->" in drawn and "<!-- SGD &amp; co -->" in drawn
    again = run("trajectory", "--folder", "path0", "--label", "path0=other", code=2).stderr
    assert "two runs are called 'path0'; name each with --label NAME=FOLDER" in again
    assert "FOLDER is missing: give a folder of checkpoints, or --label NAME=FOLDER" in run("trajectory", code=2).stderr
    assert "expected NAME=FOLDER, such as" in run("trajectory", "--label", "path0", code=2).stderr


def test_a_run_without_a_path_is_refused_and_told_how_to_get_one(here):
    la.sample(*_bowl(), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), run="plain", progress=False)
    for folder in ("plain", "path0"):
        said = run("animate", folder, "-o", "film.gif", "--film", "path", code=2).stderr
        assert f"{folder} holds no path of a training run over a surface; lossatlas trajectory --folder PATH" in said
    assert "none: no such file or folder" in run("animate", "none", "-o", "film.gif", "--film", "path", code=2).stderr
    said = run("animate", "plain", "plain", "-o", "film.gif", "--film", "path", code=2).stderr
    assert "--film path shows one run, got 2" in said
    assert not (here / "film.gif").exists()


def _bowl():
    objective = la.Objective(torch.nn.Linear(2, 1), (torch.eye(2), torch.zeros(2, 1)), F.mse_loss)
    return objective, la.Plane.random(objective, seed=0)


def test_the_run_of_a_settings_file_is_neither_a_path_nor_ways(here):
    said = 'model = "user_paths.py:make"\ndata = "zoo:digits"\nsamples = 100\nrun = "runs/a"\n'
    (here / "scan.toml").write_text(said)
    note = "note: run = 'runs/a' in the settings is for lossatlas sample"
    path = ("trajectory", "--folder", "path0", "--config", "scan.toml", "--grid", "3")
    ways = ("connect", "--config", "scan.toml", "--checkpoint", "0.pt", "--to", "1.pt", "--steps", "3")
    for words in (path, ways):
        assert note in run(*words).stderr
        assert not (here / "runs").exists()
    run(*ways, "--run", "ways")
    (here / "scan.toml").write_text(said.replace("runs/a", "ways"))
    assert "note: run" not in run(*ways).stderr  # it goes on there


def test_barriers_before_and_after_alignment_and_along_a_curve(here):
    options = ("--to", "1.pt", "--checkpoint", "0.pt", "--steps", "5", "--epochs", "3", "--grid", "5")
    pictures = ("--out", "ways.svg", "--plane", "plane.png", "--report", "page.html")
    result = run("connect", *WHAT, *options, "--align", "--curve", "bezier", *pictures)
    for words in (
        "BatchNorm recalibrated",
        "straight line: barrier",
        "another permutation of the units, may have none",
        "of 12 units in 1 group permuted",
        "straight line after alignment: barrier",
        "local optimum",
        "trained Bézier curve",
        "measure it on held-out data too",
    ):
        assert words in result.stdout
    assert "straight line after alignment" in (here / "ways.svg").read_text()
    assert (here / "plane.png").read_bytes().startswith(b"\x89PNG")
    assert "barrier, straight line" in (here / "page.html").read_text()


def test_a_line_that_alignment_leaves_as_it_is_is_drawn_once_and_said(here):
    again = la.zoo.model("mlp", widths=(64, 12, 10), norm=True)
    la.load_checkpoint(again, "0.pt")
    with torch.no_grad():
        next(again.parameters()).mul_(1.01)
    torch.save(again.state_dict(), "near.pt")
    options = ("--checkpoint", "0.pt", "--to", "near.pt", "--steps", "5", "--align", "--run", "kept", "--out", "a.svg")
    result = run("connect", *WHAT, *options)
    said = "Alignment permuted no units: the line after it is the straight line itself."
    assert "0 of 12 units" in result.stdout
    assert said in result.stdout
    assert "straight line after alignment: barrier" not in result.stdout
    ways = la.open("kept")
    assert list(ways.landscapes) == ["straight line"]
    assert len(ways.plot().panels[0].series) == 1
    picture = (here / "a.svg").read_text()
    assert said in picture
    assert "Barrier of the loss: " in picture


def test_ways_are_kept_and_drawn_again_without_the_model(here, monkeypatch):
    options = (
        "--to",
        "1.pt",
        "--checkpoint",
        "0.pt",
        "--steps",
        "5",
        "--epochs",
        "3",
        "--grid",
        "5",
        "--metric",
        "error",
    )
    command = ("connect", *WHAT, *options, "--align", "--curve", "polygon", "--plane", "plane.svg", "--run", "kept")
    first = run(*command)
    assert "kept: kept (lossatlas draw kept -o picture.html)" in first.stdout
    for name, words in (("line-before-alignment", "straight line"), ("curve", "trained chain of lines")):
        error = la.open(f"kept/{name}")["error"].values
        ends, between = (f"{number(a)} and {number(b)}" for a, b in ((error[0], error[-1]), (error.min(), error.max())))
        said = first.stdout.partition(f"{words}: ")[2] or first.stdout.partition(f"{words}, ")[2]
        assert said.splitlines()[1] == f"  error: ends {ends}; between {between} along the path"
    monkeypatch.setattr(la.Objective, "measure", lambda *_, **__: pytest.fail("measured again"), raising=True)
    monkeypatch.setattr("lossatlas.connect.curve_training._State.epoch", lambda *_: pytest.fail("trained again"))
    run("draw", "kept", "-o", "again.svg", "-o", "again.html")
    picture = (here / "again.svg").read_text()
    for words in ("straight line", "straight line after alignment", "trained chain of lines"):
        assert words in picture
    assert "error" in run("draw", "kept", "-o", "error.svg", "--value", "error").stdout
    run("draw", "kept/plane", "-o", "plane-again.svg")
    assert "the two networks" in (here / "plane-again.svg").read_text()
    facts = json.loads(run("info", "kept", "--json").stdout)
    lines = [line for line in first.stdout.splitlines() if line.startswith("straight line after alignment")]
    assert facts["barriers"]["straight line after alignment"] in lines[0]
    assert facts["samples"] == 100
    assert facts["ways"]["trained chain of lines"]["folder"] == "kept/curve"
    assert "barrier" in run("info", "kept").stdout
    run("report", "kept", "-o", "kept.html")
    page = (here / "kept.html").read_text()
    assert facts["barriers"]["straight line after alignment"] in page
    assert page.count("<figure") == 2  # the ways, and the surface
    run("draw", "kept", "-o", "log.svg", "--scale", "log")
    assert (here / "log.svg").read_text() != picture
    bad = ("draw", "kept", "-o", "a.svg")
    assert "scale='cubic'" in run(*bad, "--scale", "cubic", code=2).stderr
    assert "--levels: kept is drawn as a plot" in run(*bad, "--levels", "4", code=2).stderr
    assert "measured without" in run(*bad, "--value", "accuracy", code=2).stderr
    assert "drawn one at a time" in run("draw", "kept", "kept/line", "-o", "a.svg", code=2).stderr


def test_who_resumes_with_other_flags_is_told_which(here, monkeypatch):
    def typed(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["/usr/bin/lossatlas", *arguments])
        return run(*arguments, code=code)

    ends = ("--checkpoint", "0.pt", "--to", "1.pt")
    ways = ("connect", *WHAT, "--steps", "5", "--epochs", "1", "--curve", "bezier", "--run", "kept")
    typed(*ways, *ends)
    typed(*ways, *ends, "--out", "again.svg")
    line = ("sample", *WHAT, "--x", "-1", "1", "5", "--run", "line")
    typed(*line)
    for command, words in (
        ((*ways, *ends, "--lr", "0.01"), "--lr is 0.01 here and was not given there (training lr differs)."),
        (
            (*ways, "--checkpoint", "1.pt", "--to", "0.pt"),
            "--checkpoint is 0.pt there and 1.pt here; --to is 1.pt there",
        ),
        (
            (*ways, *ends, "--align", "--out", "a.svg"),
            "another run: --align is given here and was not given there (plane",
        ),
        ((*line, "--seed", "3"), "line belongs to another run: --seed is 3 here and was not given there ("),
    ):
        said = typed(*command, code=2).stderr
        assert words in said, (command, said)
        assert not re.search("[0-9a-f]{16}", said)


def test_the_same_command_goes_on_where_it_was(here, monkeypatch):
    options = ("--to", "1.pt", "--checkpoint", "0.pt", "--steps", "5", "--epochs", "6", "--curve", "bezier")
    whole = run("connect", *WHAT, *options)
    monkeypatch.setattr(curve_training, "SECONDS", -1.0)
    epoch = curve_training._State.epoch

    def stop_at_four(self, number):
        if number == 4:
            raise KeyboardInterrupt
        return epoch(self, number)

    with monkeypatch.context() as stopping:
        stopping.setattr(curve_training._State, "epoch", stop_at_four)
        stopped = run("connect", *WHAT, *options, "--run", "kept", code=1)
        assert "safe in kept" in stopped.stderr
    resumed = run("connect", *WHAT, *options, "--run", "kept")
    assert [line for line in resumed.stdout.splitlines() if "kept" not in line] == whole.stdout.splitlines()


CURVE = ("--to", "1.pt", "--checkpoint", "0.pt", "--steps", "5", "--epochs", "3", "--curve", "bezier")


def test_what_is_asked_otherwise_is_refused_before_any_work(here, monkeypatch):
    plane = (*CURVE, "--plane", "p.svg", "--run", "kept", "--grid")
    run("connect", *WHAT, *plane, "5")
    run("trajectory", "--folder", "path0", *WHAT, "--grid", "5", "--run", "plane")
    monkeypatch.setattr("lossatlas.cli.scan.build_model", lambda *_: pytest.fail("loaded"))
    changed = {"--grid": ("7", "kept/plane has 5 points along x, and --grid 7 asks for 7. Ask for 5"),
               "--steps": ("9", "kept/line has 5 points along x, and --steps 9 asks for 9"),
               "--epochs": ("4", "belongs to another training: training epochs is 3 there and 4 here"),
               "--bends": ("2", "bends is 1 there and 2 here")}  # fmt: skip
    for flag, (value, words) in changed.items():
        assert words in run("connect", *WHAT, *plane, "5", flag, value, code=2).stderr
    said = run("trajectory", "--folder", "path0", *WHAT, "--grid", "7", "--run", "plane", code=2).stderr
    assert "plane has 5 points along x, and --grid 7 asks for 7" in said


def test_a_stopped_command_keeps_what_is_there_and_says_what_is_missing(here, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(curve_training._State, "epoch", stop)
        assert "safe in kept" in run("connect", *WHAT, *CURVE, "--run", "kept", code=1).stderr
    run("draw", "kept", "-o", "line.svg")
    assert "The curve is not finished" in (here / "line.svg").read_text()
    plane = ("--plane", "p.svg", "--grid", "5", "--run", "kept")
    with monkeypatch.context() as stopping:
        stopping.setattr("lossatlas.sampling.run._Carrying.finished", stop)
        run("connect", *WHAT, *CURVE, *plane, code=1)
    run("connect", *WHAT, *CURVE, *plane)
    whole = json.loads((here / "kept" / "connection.json").read_text())
    assert "not finished" not in " ".join(whole["caption"])
    with monkeypatch.context() as stopping:
        stopping.setattr("lossatlas.connect.curve.along", stop)  # once more, and stopped on the way
        run("connect", *WHAT, *CURVE, *plane, code=1)
    run("connect", *WHAT, "--to", "1.pt", "--checkpoint", "0.pt", "--steps", "5", "--run", "kept")
    again = json.loads((here / "kept" / "connection.json").read_text())
    assert {name: again[name] for name in ("ways", "barriers", "upon", "caption")} == {
        name: whole[name] for name in ("ways", "barriers", "upon", "caption")
    }
    run("draw", "kept/plane", "-o", "again.svg")
    assert "the two networks" in (here / "again.svg").read_text()


def test_bad_input_is_named(here):
    assert "no such folder" in run("trajectory", "--folder", "none", code=2).stderr
    assert "choose one of: mean, last" in run("trajectory", "--folder", "path0", "--centre", "end", code=2).stderr
    both = ("connect", *WHAT, "--checkpoint", "0.pt")
    assert "choose one of: none, bezier, polygon" in run(*both, "--to", "1.pt", "--curve", "line", code=2).stderr
    assert "add --curve bezier" in run(*both, "--to", "1.pt", "--plane", "a.png", code=2).stderr
    assert "same weights" in run(*both, "--to", "0.pt", code=2).stderr
    assert ".bmp" in run(*both, "--to", "1.pt", "--out", "a.bmp", code=2).stderr


@pytest.mark.parametrize(("film", "drawn"), [("turn", True), ("zoom", True), ("morph", False)])
def test_what_a_run_keeps_upon_its_surface_is_in_its_films(here, monkeypatch, film, drawn):
    axis = np.linspace(-1, 1, 5)
    bowl = la.landscape(x=axis, y=axis, loss=axis[:, None] ** 2 + axis**2)
    asked = {}
    monkeypatch.setattr("lossatlas.draw.film.animate", lambda landscapes, out, made, **view: asked.update(view))
    kept = [Points(x=[0.1], y=[-0.1], words=["SWA"])]
    monkeypatch.setattr("lossatlas.figure.kept.kept", lambda run: kept)
    monkeypatch.setattr("lossatlas.results.opening.landscape_at", lambda run: bowl)
    run("animate", "one", "two", "-o", "a.gif", "--film", film)
    assert [one.panel for one in asked.get("overlays", [])] == ([0, 1] if drawn else [])


def test_the_help_says_how_batchnorm_is_treated_by_default():
    told = " ".join(run("connect", "--help").output.split())
    assert "frozen, recalibrated, interpolated (default: the first; connect: the second)" in told
