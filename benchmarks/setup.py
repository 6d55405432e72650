"""How long until the first point is kept, and what share of a run is set-up, for networks of the zoo?

    python -m benchmarks.setup [--only NAME …] [--out benchmarks/results/setup.json]

Each network is asked for a plane of 15 × 15 points in a process of its own. The clock runs from the call of ``sample``
(imports and the making of model and data are before it). The first point is the centre, which is kept before a plan is
chosen; set-up is what comes before the second, without the time of a point for each. The run is stopped when enough
points are kept to know what one takes; what the whole run takes is that time for all of its points after set-up.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

import lossatlas as la
from benchmarks.clock import environment
from lossatlas.results.store import MemoryRun

SIDE = 15
ENOUGH = 3.0
"""Seconds of points after the first ones were kept."""

LANGUAGE = {"vocabulary": 256, "block": 32}
NETWORKS: dict[str, int] = {
    "resnet20": 100,
    "resnet56": 100,
    "resnet56_noshort": 100,
    "resnet110": 50,
    "resnet18": 20,
    "resnet50": 10,
    "vgg9": 50,
    "densenet121": 10,
    "mlp": 1437,
    "residual_mlp": 1437,
    "lstm": 500,
    "vit": 500,
    "mixer": 500,
    "decoder": 16,
}
"""Samples by network."""


def objective(name: str) -> la.Objective:
    """A network with random data of its kind."""
    count, random = NETWORKS[name], torch.Generator().manual_seed(0)
    if name == "decoder":
        tokens = torch.randint(0, 256, (count, 33), generator=random)
        data = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        model = la.zoo.model(name, seed=0, vocabulary=256, dim=128)
        return la.Objective(model, data, la.objective.language.cross_entropy)
    conv = name.startswith(("resnet", "vgg", "dense"))
    if conv:
        data = torch.randn(count, 3, 32, 32, generator=random), torch.randint(0, 10, (count,), generator=random)
    else:
        x, y = la.zoo.data("digits")
        data = x[:count], y[:count]
    options: dict[str, Any] = {"inputs": 8} if name == "lstm" else {}
    return la.Objective(la.zoo.model(name, seed=0, **options), data, F.cross_entropy, batch_size=250)


def child(name: str) -> dict[str, Any]:
    """One network, in this process."""
    made = objective(name)
    plane = la.Plane.random(made, seed=0)
    made()
    start = time.perf_counter()
    made()
    plain = time.perf_counter() - start
    kept: list[tuple[float, int]] = []
    real = MemoryRun.commit

    def commit(self: MemoryRun, block: Any) -> None:
        real(self, block)
        kept.append((time.perf_counter() - begun, len(block.indices)))
        if len(kept) > 2 and kept[-1][0] - kept[1][0] > ENOUGH:
            raise KeyboardInterrupt

    MemoryRun.commit = commit  # type: ignore[method-assign]
    plan, note = "", MemoryRun.note_evaluation

    def noted(self: MemoryRun, evaluation: dict[str, Any]) -> None:
        nonlocal plan
        plan = evaluation.get("in words", plan)
        note(self, evaluation)

    MemoryRun.note_evaluation = noted  # type: ignore[method-assign]
    begun = time.perf_counter()
    side = (-1.0, 1.0, SIDE)
    with contextlib.suppress(KeyboardInterrupt):
        la.sample(made, plane, la.Grid(x=side, y=side), progress=False)
    first, (second, count) = kept[0][0], kept[1]
    more = sum(number for _, number in kept[2:])
    each = (kept[-1][0] - second) / more if more else (second - first) / count
    before = max(second - (1 + count) * each, 0.0)
    whole = before + SIDE**2 * each
    return {
        "network": name,
        "samples": made.samples,
        "plan": plan,
        "plain point": plain,
        "first point": first,
        "allowed": 1.5 * plain + 2,
        "a point": each,
        "set-up": before,
        "share": before / whole,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """A row for each network."""
    lines = [
        "| network | samples | plan | plain point | first point kept after | allowed | set-up, of 225 points |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        good = "" if row["first point"] <= row["allowed"] else " (more)"
        lines.append(
            f"| {row['network']} | {row['samples']} | {row['plan']} | {row['plain point']:.3f} s "
            f"| {row['first point']:.2f} s{good} | {row['allowed']:.2f} s "
            f"| {row['set-up']:.2f} s, {100 * row['share']:.0f} % |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(NETWORKS), choices=tuple(NETWORKS))
    parser.add_argument("--child")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/setup.json"))
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(child(asked.child)))
        return
    there = json.loads(asked.out.read_text())["setup"] if asked.out.exists() else []
    rows = {row["network"]: row for row in there}
    for name in asked.only:
        command = [sys.executable, "-m", "benchmarks.setup", "--child", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        rows[name] = json.loads(done.stdout.splitlines()[-1])
        print(table([rows[name]]).splitlines()[-1], flush=True)
        ordered = [rows[one] for one in NETWORKS if one in rows]
        kept = {"environment": environment(torch.device("cpu")), "setup": ordered}
        asked.out.write_text(json.dumps(kept, indent=1) + "\n")
        asked.out.with_suffix(".md").write_text(table(ordered) + "\n")


if __name__ == "__main__":
    main()
