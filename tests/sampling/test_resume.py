"""Does a run survive Ctrl-C and kill -9 at any moment, and refuse to mix with another run?"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import RunMismatchError

SCRIPT = """
import sys, time
import torch
from torch.nn import functional as F
import lossatlas as la
torch.set_num_threads(1)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
data = torch.randn(64, 4), torch.randint(3, (64,))
def slow(outputs, targets):
    time.sleep(float(sys.argv[2]))
    return F.cross_entropy(outputs, targets)
objective = la.Objective(model, data, loss=slow)
print("ready", flush=True)
la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 12), y=(-1, 1, 11)), run=sys.argv[1], block=3)
"""


def start(folder, delay=0.004):
    command = [sys.executable, "-c", SCRIPT, str(folder), str(delay)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_a_run_stopped_at_random_moments_equals_an_uninterrupted_one_bit_for_bit(tmp_path, request):
    process = start(tmp_path / "whole", delay=0)
    assert process.wait() == 0
    whole = la.open(tmp_path / "whole")
    chance = random.Random(0)
    kills = request.config.getoption("--count-kills")
    for number in range(kills):
        process = start(
            tmp_path / "broken", delay=0.004 if number else 0.5
        )  # the first is not over however late we wake
        time.sleep(chance.uniform(0, 0.35))
        process.send_signal(chance.choice([signal.SIGINT, signal.SIGKILL]))
        process.communicate()
        if number == 0:
            assert process.returncode != 0
    process = start(tmp_path / "broken", delay=0)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    broken = la.open(tmp_path / "broken")
    for name in whole.data_vars:
        np.testing.assert_array_equal(whole[name].values.view(np.uint8), broken[name].values.view(np.uint8))


def small(seed: int = 0, width: int = 8, shift: float = 0.0, loss=F.cross_entropy, **options) -> la.Objective:
    torch.manual_seed(0)
    x, y = torch.randn(30, 4), torch.randint(3, (30,))
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 3))
    return la.Objective(model, (x + shift, y), loss=loss, **options)


def scan(folder, objective=None, plane_seed=0, points=4):
    objective = objective or small()
    grid = la.Grid(x=(-1, 1, points), y=(-1, 1, 3))
    return la.sample(objective, la.Plane.random(objective, seed=plane_seed), grid, run=folder)


OTHERS = {
    "model": (dict(objective=lambda: small(seed=1)), "model"),
    "architecture": (dict(objective=lambda: small(width=9)), "model"),
    "data": (dict(objective=lambda: small(shift=0.1)), "data"),
    "loss": (dict(objective=lambda: small(loss=nn.CrossEntropyLoss())), "loss"),
    "metrics": (dict(objective=lambda: small(metrics={"error": la.metrics.error})), "metrics"),
    "batchnorm": (dict(objective=lambda: small(batchnorm="recalibrated")), "batchnorm"),
    "plane": (dict(plane_seed=1), "plane"),
    "grid": (dict(points=5), "grid"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_folder_of_another_run_is_refused_with_the_part_that_differs(case, tmp_path):
    change, part = OTHERS[case]
    first = scan(tmp_path / "run")
    change = {key: value() if callable(value) else value for key, value in change.items()}
    with pytest.raises(RunMismatchError, match=rf"\b{part}\b"):
        scan(tmp_path / "run", **change)
    assert la.open(tmp_path / "run").identical(first)


def test_two_losses_of_the_same_name_are_told_apart_by_the_centre(tmp_path):
    scan(tmp_path / "run", small(loss=lambda o, t: F.cross_entropy(o, t)))
    with pytest.raises(RunMismatchError, match="centre"):
        scan(tmp_path / "run", small(loss=lambda o, t: 2 * F.cross_entropy(o, t)))


def test_a_finished_run_is_not_computed_again(tmp_path):
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        return F.cross_entropy(outputs, targets)

    scan(tmp_path / "run", small(loss=loss))
    first = len(calls)
    scan(tmp_path / "run", small(loss=loss))
    assert len(calls) - first < first / 2


def test_an_interrupted_run_can_be_opened_and_goes_on(tmp_path):
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        if len(calls) == 16:
            raise KeyboardInterrupt
        return F.cross_entropy(outputs, targets)

    objective = small(loss=loss)
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 4), y=(-1, 1, 3))
    with pytest.raises(KeyboardInterrupt):
        la.sample(objective, plane, grid, run=tmp_path / "run", block=2)
    partial = la.open(tmp_path / "run")
    assert 0 < int((partial["status"] == 1).sum()) < 12
    whole = la.sample(objective, plane, grid, run=tmp_path / "run", block=2)
    assert int((whole["status"] == 1).sum()) == 12
    in_one_go = la.sample(objective, plane, grid)
    np.testing.assert_array_equal(whole["loss"].values, in_one_go["loss"].values)


def test_the_folder_explains_itself(tmp_path):
    import json

    scan(tmp_path / "run")
    spec = json.loads((tmp_path / "run" / "spec.json").read_text())
    text = json.dumps(spec)
    for part in ("torch", "command", "fingerprints", "cross_entropy", "4 points from -1 to 1", "filter"):
        assert part in text
    assert (tmp_path / "run" / "directions.safetensors").exists()
    assert (tmp_path / "run" / "landscape.nc").exists()


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        scan(tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("factor", "same"), [(1 + 1e-7, True), (1 + 1e-5, False), (1 - 1e-3, False), (1 + 9e-3, False)]
)
def test_the_centre_tells_runs_apart_from_a_millionth_on(factor, same, tmp_path):
    class Scaled:
        scale = 1.0  # of the class: neither its source nor what the loss holds tells that it changed

        def __call__(self, outputs, targets):
            return self.scale * F.cross_entropy(outputs, targets)

    scan(tmp_path / "run", small(loss=Scaled()))
    Scaled.scale = factor
    if same:
        scan(tmp_path / "run", small(loss=Scaled()))
    else:
        with pytest.raises(RunMismatchError, match="centre loss is"):
            scan(tmp_path / "run", small(loss=Scaled()))
