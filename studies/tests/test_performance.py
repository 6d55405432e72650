"""Does a study go from the command line to its page, on whatever scale, and go on after it was killed?"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from lossatlas.cli import atlas
from lossatlas.results.landscape import Axis, build
from lossatlas_studies import ORDER, study
from lossatlas_studies.page import view_of
from lossatlas_studies.settings import described, reduced
from lossatlas_studies.study import SCALES, Figure

TINY = {
    "train_samples": 120, "depths": "8", "width": 2, "seeds": 2, "epochs": 2, "until": 0, "matched": 9,
    "points": 5, "samples": 20, "map_points": 3, "map_samples": 20, "authors": "",
}  # fmt: skip
COMMAND = ["study", "skip-connections", *(word for k, v in TINY.items() for word in ("--set", f"{k}={v}"))]


def call(*arguments):
    return CliRunner().invoke(atlas, [*map(str, arguments)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    done = call(*COMMAND, "--out", folder)
    assert done.exit_code == 0, done.output
    return folder, done


def found(folder):
    return json.loads((folder / "small/skip-connections/findings.json").read_text())


def test_a_study_leaves_a_page_figures_and_tables(whole):
    folder, done = whole
    place = folder / "small/skip-connections"
    page = (place / "index.html").read_text()
    for words in ("Question.", "Claim.", "Verdict", "95 % interval", "Caveats", "What was run", "How to run it again"):
        assert words in page
    for name in described(study("skip-connections").small):
        assert name in page
    assert 'src="data:image/svg+xml' in page and "http://" not in page.replace("http://www.w3.org", "")
    assert {path.suffix for path in (place / "figures").iterdir()} == {".png", ".csv"}
    rows = list(csv.DictReader((place / "tables/networks.csv").open()))
    assert len(rows) == 4
    assert "Index:" in done.output and "skip-connections/index.html" in (folder / "small/index.html").read_text()


def test_the_command_on_the_page_does_the_same_and_trains_nothing_again(whole):
    folder, _ = whole
    before = found(folder)
    command = before["command"].split()[1:]
    again = call(*command, "--out", folder)
    assert again.exit_code == 0, again.output
    assert "train " not in again.stderr
    assert found(folder)["verdicts"] == before["verdicts"]


@pytest.mark.slow
def test_a_killed_study_goes_on_and_ends_with_the_same_findings(whole, tmp_path):
    folder, _ = whole
    command = [sys.executable, "-m", "lossatlas", *COMMAND, "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 600
    while len(list(tmp_path.glob("stages/*/done.json"))) < 3:
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("stages/*/done.json")}
    assert not (tmp_path / "small").exists()
    assert call(*COMMAND, "--out", tmp_path).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(list(tmp_path.glob("stages/*/done.json"))) > len(finished)
    assert found(tmp_path)["verdicts"] == found(folder)["verdicts"]
    for name in ("figures/landscapes.csv", "tables/networks.csv"):
        own = (tmp_path / "small/skip-connections" / name).read_text()
        assert own == (folder / "small/skip-connections" / name).read_text()


def test_a_clip_below_all_values_is_left_out():
    """Around networks that were hardly trained no loss is below the clip, and the page is drawn all the same."""
    axis = Axis(coordinates=np.linspace(-1, 1, 3), length=1.0)
    high = build({"x": axis, "y": axis}, {"loss": np.full((3, 3), 200.0)})
    low = high.assign(loss=high["loss"] / 100)
    assert view_of(Figure(name="f", shown=[high], words="", view={"clip": 12.0}))["clip"] == "auto"
    assert view_of(Figure(name="f", shown=[high, low], words="", view={"clip": 12.0}))["clip"] == 12.0


def test_every_study_says_what_it_asks_and_what_can_be_set():
    for name in ORDER:
        found = study(name)
        assert found.name == name
        assert found.question.endswith("?") and found.claim.endswith(".") and not found.source.endswith(".")
        for scale in SCALES:
            settings = found.settings(scale)
            assert settings.__dataclass_params__.frozen
            assert all(meaning for _, meaning in described(settings).values()), f"{name}: a setting without words"
            assert reduced(settings) != settings


def test_the_list_names_all_studies_and_the_settings_of_one():
    listed = call("study", "--list")
    assert [line.split()[0] for line in listed.output.splitlines()] == list(ORDER)
    one = call("study", "skip-connections", "--list", "--scale", "paper")
    assert "depths=20,56,110" in one.output and "epochs=300" in one.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a study or give --all"),
        (["nonsense"], "skip-connections"),
        (["--all", "--set", "seeds=1"], "--set is for one study"),
        (["skip-connections", "--set", "depht=1"], "depths"),
        (["skip-connections", "--set", "data=mnist"], "expected digits, cifar10:FOLDER or npz:TRAIN.npz,TEST.npz"),
        (["skip-connections", "--set", "data=npz:no.npz,no.npz"], "no.npz: no such file"),
        (["skip-connections", "--set", "augment=rotate"], "crop-flip"),
        (["skip-connections", "--set", "depths=9", "--set", "epochs=1"], "expected 6 n [+] 2"),
    ],
)
def test_bad_input_is_named(arguments, words, tmp_path):
    import re

    done = call("study", *arguments, "--out", tmp_path)
    assert done.exit_code == 2
    assert re.search(words, done.stderr)
