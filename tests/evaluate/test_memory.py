"""How much memory does a scan take beside a plain evaluation of the same model?

Method: the peak resident set (``ru_maxrss``) of a fresh process that evaluates a network like ResNet-56 on 300 images
of CIFAR's shape, batch by batch, against one that scans six points with the same batches. What reads a graph
(``torch.export``) takes some 100 MiB however large the model is, so there both processes load it.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
sys.modules["pyarrow"] = None  # pandas would load it where another extra has installed it; a scan has no use for it
from torch import nn
from torch.nn import functional as F

class Block(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.one, self.two = nn.Conv2d(before, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
        self.three, self.four = nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        self.short = nn.Conv2d(before, channels, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x):
        return torch.relu(self.four(self.three(torch.relu(self.two(self.one(x))))) + self.short(x))

sizes = [(16, 16, 1)] * 9 + [(16, 32, 2)] + [(32, 32, 1)] * 8 + [(32, 64, 2)] + [(64, 64, 1)] * 8
net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), *(Block(*size) for size in sizes),
                    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
x, y = torch.randn(300, 3, 32, 32), torch.randint(0, 10, (300,))
if sys.argv[1].startswith("evaluate"):
    if sys.argv[1] != "evaluate alone":
        import lossatlas as la, lossatlas.sampling.run
        la.Objective, la.Plane
    if sys.argv[1] == "evaluate, traced":
        torch.export.export(nn.Linear(2, 2), (torch.zeros(3, 2),), strict=False)
    net.eval()
    with torch.inference_mode():
        for _ in range(2):
            for part, target in zip(x.split(100), y.split(100)):
                F.cross_entropy(net(part), target).item()
else:
    import lossatlas as la
    objective = la.Objective(net, (x, y), F.cross_entropy)
    plane = la.Plane.random(objective, seed=0)
    la.sample(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 2)), plan=sys.argv[1], progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak(how: str) -> float:
    """Peak resident set in MiB."""
    return float(
        subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize(
    ("plan", "other"),
    [
        pytest.param("plain", "evaluate alone", id="plain, against PyTorch alone"),
        pytest.param("graph", "evaluate, traced", id="graph, against the same libraries loaded"),
    ],
)
def test_a_scan_takes_little_more_than_an_evaluation(plan, other) -> None:
    assert peak(plan) < 1.3 * peak(other)
