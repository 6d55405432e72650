"""Does the live demo train, sample the surface below, and serve both, and does serve sample while others train?"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import atlas, demo_live
from lossatlas.paths.surfaces import surfaces

NETWORK = """
import torch
def make():
    return torch.nn.Linear(3, 1, bias=False)
def data():
    return torch.eye(3), torch.zeros(3, 1)
"""


def served(command: list[str], folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A server of its own, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lossatlas", *command], stdout=subprocess.PIPE, text=True, cwd=folder
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/#token=", line):
            return process, found[1]
    raise AssertionError(f"no address; it ended with {process.wait()}")


def runs(address: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{address}/api/runs", timeout=600) as answer:
        found: list[dict[str, Any]] = json.load(answer)
        return found


def until(what: Any, seconds: float = 400.0) -> Any:
    ends = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < ends
        time.sleep(0.2)
    return found


def end(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=600)
    return rest


@pytest.mark.slow
def test_the_demo_serves_a_path_that_grows_and_a_surface_below_it(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    process, address = served(["demo", "--live", "--no-open", "--port", "0", "--out", "demo"], tmp_path)
    try:
        folder = tmp_path / "demo" / "learning to read digits"
        first = until(lambda: next((card["counts"]["done"] for card in runs(address)), 0))
        until(lambda: runs(address)[0]["counts"]["done"] > first + 5)
        until(lambda: len(surfaces(folder)) > 1)
        (card,) = runs(address)
        assert (card["kind"], card["title"]) == ("path", "learning to read digits")
    finally:
        end(process)
    assert process.returncode == 0
    before = (folder / "index.jsonl").read_text()
    time.sleep(1.0)
    assert (folder / "index.jsonl").read_text() == before, "the training ends with the server"


def test_the_network_of_the_demo_learns(tmp_path: Path) -> None:
    demo_live.learn(tmp_path / "path", os.getppid(), steps=120, seconds=0.0)
    path = la.Trajectory.open(tmp_path / "path")
    errors = [one.notes["test error"] for one in path.checkpoints if one.notes]
    assert len(path) == 61
    assert errors[0] > 0.7
    assert errors[-1] < 0.1
    assert path.checkpoints[0].lr == pytest.approx(5 * path.checkpoints[-12].lr)  # type: ignore[operator]


@pytest.mark.slow
def test_serve_samples_the_surface_under_a_path_of_somebody_else(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    import torch

    (tmp_path / "net.py").write_text(NETWORK)
    recorder, model = la.Recorder(tmp_path / "paths" / "a"), torch.nn.Linear(3, 1, bias=False)
    for step in range(6):
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[1.0 - 0.1 * step, 0.2 * step**2, 1.0]]))
        recorder.step(model)
    command = ["serve", "paths", "--port", "0", "--no-browser", "--sample-while-training", "--grid", "9"]
    process, _ = served([*command, "--model", "net.py:make", "--data", "net.py:data", "--loss", "mse"], tmp_path)
    try:
        until(lambda: [one.points for one in surfaces(tmp_path / "paths" / "a")] == [5, 9])
    finally:
        end(process)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sample-while-training"], "--model is missing"),
        (["--model", "net.py:make"], "--model is for --sample-while-training"),
        (["--sample-while-training", "--model", "zoo:mlp", "--data", "zoo:digits", "--budget", "0"], "budget=0"),
        (["--sample-while-training", "--model", "zoo:mlp", "--data", "zoo:digits", "--grid", "10"], "points=10"),
    ],
)
def test_bad_flags_are_refused_before_anything_starts(tmp_path: Path, options: list[str], words: str) -> None:
    done = CliRunner().invoke(atlas, ["serve", str(tmp_path), "--no-browser", *options])
    assert done.exit_code == 2
    assert words in done.output
