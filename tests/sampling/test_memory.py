"""How much memory does a scan take beside a plain evaluation of the same model?

Method: the peak resident set (``ru_maxrss``) of a fresh process that evaluates ResNet-56 on 500 images of CIFAR's shape,
batch by batch, against one that scans twelve points with the same batches.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from torch.nn import functional as F
import lossatlas as la
net = la.zoo.model("resnet56", seed=0)
x, y = torch.randn(500, 3, 32, 32), torch.randint(0, 10, (500,))
if sys.argv[1] == "evaluate":
    net.eval()
    with torch.inference_mode():
        for _ in range(3):
            for part, target in zip(x.split(100), y.split(100)):
                F.cross_entropy(net(part), target).item()
else:
    objective = la.Objective(net, (x, y), F.cross_entropy)
    plane = la.Plane.random(objective, seed=0)
    la.sample(objective, plane, la.Grid(x=(-1, 1, 4), y=(-1, 1, 3)), plan=sys.argv[1], progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak(how: str) -> float:
    """Peak resident set in MiB."""
    return float(
        subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_a_scan_takes_little_more_than_an_evaluation() -> None:
    assert peak("plain") < 1.3 * peak("evaluate")
