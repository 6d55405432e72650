"""Do two workers finish a scan nearly twice as fast as one, where a point takes 50 ms on one thread?

    python -m benchmarks.two [--points 31] [--rounds 1] [--out benchmarks/results/two.json]

Each scan is a process of its own, from the call of ``la.sample`` to its result: workers are started, take the work,
evaluate with one thread each, and the driver keeps a journal on the disk. Needs two free cores with nothing else on
them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import lossatlas as la
from benchmarks.clock import environment

SECONDS = 0.05
"""Of a point, on one thread."""

WANTED = 1.8


def objective(batches: int) -> la.Objective:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    data = torch.randn(200 * batches, 256), torch.randint(10, (200 * batches,))
    return la.Objective(net, data, nn.functional.cross_entropy, batch_size=200)


def batches() -> int:
    """How many batches take 50 ms here."""
    few = objective(20)
    few()
    times = []
    for _ in range(9):
        started = time.perf_counter()
        few()
        times.append(time.perf_counter() - started)
    return max(1, round(20 * SECONDS / statistics.median(times)))


def scan(workers: int, points: int, batches: int) -> dict[str, float]:
    """Seconds of one scan, in this process, and of one of its points here."""
    subject = objective(batches)
    plane, axis = la.Plane.random(subject, seed=0), (-1, 1, points)
    subject()
    started = time.perf_counter()
    subject()
    point = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        how: dict[str, Any] = {"executor": f"processes:{workers}", "plan": "plain", "block": 5, "progress": False}
        la.sample(subject, plane, la.Grid(x=axis, y=axis), run=Path(folder) / "run", **how)
        return {"seconds": time.perf_counter() - started, "point": point}


def compare(points: int, rounds: int) -> dict[str, Any]:
    """One worker and two, in turn, each in a fresh process."""
    size, found = batches(), {1: [], 2: []}  # type: ignore[var-annotated]
    for _ in range(rounds):
        for workers in found:
            command = [sys.executable, "-m", "benchmarks.two", "--scan", str(workers), str(points), str(size)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[workers].append(json.loads(done.stdout))
    seconds = {workers: statistics.median(one["seconds"] for one in scans) for workers, scans in found.items()}
    return {
        "environment": environment(torch.device("cpu")),
        "points": points**2,
        "seconds of a point": statistics.median(one["point"] for scans in found.values() for one in scans),
        "seconds": seconds,
        "ratio": seconds[1] / seconds[2],
        "wanted": WANTED,
        "scans": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=31, help="along each axis")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/two.json"))
    parser.add_argument("--scan", type=int, nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.scan:
        print(json.dumps(scan(*asked.scan)))
        return
    found = compare(asked.points, asked.rounds)
    asked.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps({name: found[name] for name in ("points", "seconds of a point", "seconds", "ratio", "wanted")}))


if __name__ == "__main__":
    main()
