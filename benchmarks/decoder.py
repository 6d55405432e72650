"""A decoder of 100 million parameters: whole planes with shared products against built weights, and λmax in memory.

    python -m benchmarks.decoder [--only planes curvature] [--out benchmarks/results/decoder.json]

Each row is a process of its own. Planes of 8 × 8 and of 21 × 21 points are asked for by ``sample``, on one text of 8,
64 or 256 tokens, along directions of rank 4: with ``plan="shared"`` whole, and with ``plan="plain"`` at 16 and at 32
points, in three rounds. The difference of the two medians is the time of a point with built weights, by which the run
of 32 is scaled to 64 and to 441. Its spread goes from the longest short run and the shortest long one to the other
extreme; where that reaches zero, such a point is below what can be resolved, and nothing is scaled. Times are processor
seconds, which other work on the machine disturbs less than those of a clock. For λmax the most memory that a process
had of its own, less what the imports take, stands beside that of three steps of AdamW on the same text.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch

import lossatlas as la
from benchmarks.clock import environment, work
from lossatlas.objective.language import cross_entropy

TOKENS = (8, 64, 256)
SIZE = {"vocabulary": 16_000, "dim": 768, "layers": 12, "heads": 12}
TOY = {"vocabulary": 64, "dim": 32, "layers": 2, "heads": 2}
SIDES, ROUNDS = (8, 21), 3
WIDE, FEWER = 8, (2, 4)
"""Columns and rows of the runs with built weights."""
SEEN = 64
"""Tokens on which curvature is asked for."""


def text(size: dict[str, int], tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One text of random tokens, and the next ones."""
    random = torch.Generator().manual_seed(0)
    drawn = torch.randint(size["vocabulary"], (1, tokens + 1), generator=random)
    return drawn[:, :-1], drawn[:, 1:]


def planes(size: dict[str, int], tokens: int) -> dict[str, Any]:
    """A whole plane by shared products, and by built weights."""
    model = la.zoo.model("decoder", seed=0, **size).eval()
    objective = la.Objective(model, text(size, tokens), cross_entropy)
    plane = la.Plane.random(objective, seed=0, rank=4)
    found: dict[str, Any] = {}

    def took(plan: str, wide: int, high: int) -> float:
        start = work()
        grid = la.Grid(x=(-1, 1, wide), y=(-1, 1, high))
        found[plan] = la.sample(objective, plane, grid, plan=plan, progress=False)
        return work() - start

    objective()
    rounds = [[took("plain", WIDE, rows) for rows in FEWER] for _ in range(ROUNDS)]
    few, more = ([one[index] for one in rounds] for index in (0, 1))
    point = more_points(few, more, WIDE * (FEWER[1] - FEWER[0]))
    runs = []
    for side in reversed(SIDES):
        built = statistics.median(more) + point["median"] * (side**2 - WIDE * FEWER[1])
        shared = took("shared", side, side)
        runs.insert(0, {"points": side**2, "built": built if point["low"] > 0 else None, "shared": shared})
    ends = [found[plan]["loss"].isel(x=[0, -1], y=[0, -1]).values for plan in ("shared", "plain")]
    return {
        "tokens": tokens,
        "parameters": sum(tensor.numel() for tensor in objective.origin.values()),
        "built point": point,
        "runs": runs,
        "off": float(abs(ends[0] / ends[1] - 1).max()),
    }


def more_points(few: list[float], more: list[float], points: int) -> dict[str, float]:
    """Seconds of a point, from repeated runs that differ by so many points: difference of medians, lowest, highest."""
    ends = {
        "median": statistics.median(more) - statistics.median(few),
        "low": min(more) - max(few),
        "high": max(more) - min(few),
    }
    return {name: difference / points for name, difference in ends.items()}


class Peak(threading.Thread):
    """The most memory of its own that this process ever had, in MiB."""

    most, on = 0.0, True

    def run(self) -> None:
        while self.on:
            self.most = max(self.most, taken())
            time.sleep(0.002)


def taken() -> float:
    """Memory that is this process's own, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def curvature(size: dict[str, int], what: str) -> dict[str, Any]:
    """The peak memory of training, or of the largest eigenvalue."""
    import scipy.linalg  # noqa: F401  what is loaded later would count

    before = taken()
    model = la.zoo.model("decoder", seed=0, **size).eval()
    x, y = text(size, SEEN)
    peak = Peak(daemon=True)
    peak.start()
    start = time.perf_counter()
    if what == "training":
        optimiser = torch.optim.AdamW(model.parameters())
        for _ in range(3):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
            optimiser.step()
    else:
        objective = la.Objective(model, (x, y), cross_entropy)
        la.eigenvalues(objective, how="differences", memory=0, vectors=False, most=5, tolerance=0.5)
    seconds = time.perf_counter() - start
    peak.on = False
    peak.join()
    weights = sum(p.numel() for p in model.parameters()) * 4 / 2**20
    kept = {"what": what, "peak MiB": peak.most - before, "weights MiB": weights, "seconds": seconds}
    return kept | {"resident MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def table(found: dict[str, Any]) -> str:
    """Processor seconds of whole runs, by tokens and points; memory."""
    heads = ("tokens", "a point, weights built", "points", "run, weights built", "run, shared", "ratio")
    lines = [f"| {' | '.join(heads)} | differ by |"]
    lines.append("|---" * 7 + "|")
    for row in found.get("planes", []):
        point = row["built point"]
        spread = f"({point['low']:.2g} to {point['high']:.2g} s)"
        for run in row["runs"]:
            shared, built = run["shared"], run["built"]
            seen, whole, ratio = f"below what can be resolved {spread}", "—", "—"
            if built is not None:
                seen, whole, ratio = f"{point['median']:.2g} s {spread}", f"{built:.3g} s", f"{built / shared:.1f} ×"
            cells = [str(row["tokens"]), seen, str(run["points"]), whole, f"{shared:.3g} s", ratio]
            lines.append(f"| {' | '.join(cells)} | {row['off']:.0e} |")
    lines += ["", "| what | peak, in the weights' size | seconds |", "|---|---|---|"]
    lines += [
        f"| {row['what']} | {row['peak MiB'] / row['weights MiB']:.1f} | {row['seconds']:.0f} |"
        for row in found.get("curvature", [])
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["planes", "curvature"], choices=("planes", "curvature"))
    parser.add_argument("--child", nargs=2)
    parser.add_argument("--toy", action="store_true", help="a small decoder, to see that every row works")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/decoder.json"))
    asked = parser.parse_args()
    size = TOY if asked.toy else SIZE
    if asked.child:
        kind, which = asked.child
        print(json.dumps(planes(size, int(which)) if kind == "planes" else curvature(size, which)))
        return
    found: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    own = {"MALLOC_MMAP_THRESHOLD_": "1000000"}  # what is freed goes back at once, however it came
    for kind in asked.only:
        found[kind] = []
        for which in map(str, TOKENS) if kind == "planes" else ("training", "largest eigenvalue"):
            command = [sys.executable, "-m", "benchmarks.decoder", "--child", kind, which]
            env = os.environ | (own if kind == "curvature" else {})
            done = subprocess.run(
                [*command, *(["--toy"] if asked.toy else [])], capture_output=True, text=True, check=False, env=env
            )
            if done.returncode:
                raise SystemExit(done.stderr)
            found[kind].append(json.loads(done.stdout.splitlines()[-1]))
            print(found[kind][-1], flush=True)
        found["environment"] = environment(torch.device("cpu"))
        asked.out.write_text(json.dumps(found, indent=1) + "\n")
        asked.out.with_suffix(".md").write_text(table(found) + "\n")


if __name__ == "__main__":
    main()
