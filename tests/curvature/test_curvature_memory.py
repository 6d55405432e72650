"""How much memory does the largest eigenvalue of a large model take, beside training it once?"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MEASURED = """
import sys, threading, time, torch
from torch import nn
import scipy.linalg, xarray
import lossatlas as la
from lossatlas import curvature

def taken():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("RssAnon"))

class Peak(threading.Thread):
    most, on = 0.0, True
    def run(self):
        while self.on:
            self.most = max(self.most, taken())
            time.sleep(0.001)

torch.set_num_threads(1)
torch.manual_seed(0)
before = taken()
model = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(1024, 1024), nn.Tanh())))
data = torch.randn(8, 1024), torch.randn(8, 1024)
peak = Peak(daemon=True)
peak.start()
if sys.argv[1] == "training":
    optimiser = torch.optim.AdamW(model.parameters())
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.mse_loss(model(data[0]), data[1]).backward()
        optimiser.step()
else:
    objective = la.Objective(model, data, nn.functional.mse_loss)
    la.eigenvalues(objective, how="differences", memory=0, vectors=False, most=5, tolerance=0.5)
peak.on = False
peak.join()
print((peak.most - before) / (sum(p.numel() for p in model.parameters()) * 4 / 2**20))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc/self/status, which Linux has")
def test_the_largest_eigenvalue_takes_no_more_memory_than_training_the_model_once():
    def weights(what: str) -> float:
        own = {"MALLOC_MMAP_THRESHOLD_": "1000000"}  # what is freed goes back at once, however it came
        command = [sys.executable, "-c", MEASURED, what]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | own)
        return float(done.stdout.splitlines()[-1])

    training, curvature = weights("training"), weights("curvature")
    assert 4 < training < 7  # weights, gradients, two moments, and what a step takes beside them
    assert curvature < 1.05 * training
