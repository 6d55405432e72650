"""How long does a whole picture take, from the call to the result, each in a process of its own?

A row is a picture: a network, images, points. A way makes it from start to end. Rounds are interleaved, one process of
every way after the other. A loop over a grid that would take most of an hour visits points spread over it and is scaled
to all of them; the table says so. The packages are called as their own documentation says, on the same network and
images, and make their own plane: what is wrong with their picture stands beside its time.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import limit, ways
from benchmarks.cases import Case, cases
from benchmarks.clock import work

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Row:
    """A picture.

    Attributes:
        case: part of the name of the network.
        images: how many, of ResNet-56.
        side: points along each axis.
        ways: who makes it.
        ours: how it is asked for: arguments of ``lossatlas.sample``, and "adaptive".
        visited: points that a loop visits where it does not visit all.
    """

    case: str
    images: int
    side: int
    ways: tuple[str, ...] = ("original", "expert", "lossatlas")
    ours: dict[str, Any] = field(default_factory=dict)
    visited: int = 0


PACKAGES = ("loss-landscapes", "landscaper", "loss-landscape-3d")
BOUND = ("original", "expert", "limit", "lossatlas")
FINE = {"adaptive": True}
ROWS = {
    "25": Row("ResNet-56", 100, 5, ("original", "expert", *PACKAGES, "lossatlas")),
    "81": Row("ResNet-56", 100, 9),
    "225": Row("ResNet-56", 100, 15, visited=50),
    "51x51": Row("ResNet-56", 100, 51, ours=FINE, visited=50),
    "51x51, 500 images": Row("ResNet-56", 500, 51, ours=FINE, visited=12),
    "51x51, 500 images, bf16": Row("ResNet-56", 500, 51, ours=FINE | {"precision": "bf16"}, visited=12),
    "51x51, 8068 images": Row("ResNet-56", 8068, 51, ours=FINE | {"samples": "auto"}, visited=3),
    "MLP": Row("digits MLP", 100, 51, BOUND, visited=400),
    "transformer": Row("digits transformer", 100, 21, BOUND, visited=100),
}
"""Pictures by name; of the first one, a small one, the packages make theirs too."""

WRONG = {
    "loss-landscapes": "directions drawn from U[0, 1], biases and norms moved, points placed by adding step to step",
    "landscaper": "directions scaled tensor by tensor and biases and norms moved; NaN is replaced by the mean, and "
    "noise is added to the largest value",
    "loss-landscape-3d": "BatchNorm's running mean and variance are moved too, so that the variance may be negative",
}
"""What a package's picture does not show as the paper defines it."""


def network(row: Row, folder: Path | None) -> Case:
    """The network and the data of a row."""
    return next(case for case in cases(folder, row.images) if row.case in case.name)


def loop(way: Callable[..., ways.Timed]) -> Callable[[Row, Case], dict[str, Any]]:
    """A loop over the points of a grid; the plane is given to it."""

    def make(row: Row, case: Case) -> dict[str, Any]:
        import lossatlas as la

        plane = la.Plane.random(case.objective(CPU), seed=0)
        side = np.linspace(-1, 1, row.side)
        points = [{"x": float(x), "y": float(y)} for x in side for y in side]
        chosen = points
        if row.visited:
            chosen = [points[i] for i in np.linspace(0, len(points) - 1, row.visited).round().astype(int)]
        start = time.perf_counter()
        run = way(case, plane, CPU).run
        begun, spent = time.perf_counter(), work()
        values = [run(point) for point in chosen]
        times = len(points) / len(chosen)
        seconds = begun - start + (time.perf_counter() - begun) * times
        return {
            "seconds": seconds,
            "processor seconds": (work() - spent) * times,
            "points": len(chosen),
            "of": len(points),
            "first": values[0],
        }

    return make


def bound(row: Row, case: Case) -> dict[str, Any]:
    """The matrix products of all points and nothing else: what no way of evaluation by them can undercut."""
    run, visited, total = limit.kernel(case), row.visited or row.side**2, row.side**2
    with torch.inference_mode():
        run()
        start, spent = time.perf_counter(), work()
        for _ in range(visited):
            run()
    times = total / visited
    took = {"seconds": (time.perf_counter() - start) * times, "processor seconds": (work() - spent) * times}
    return took | {"points": visited, "of": total}


def lossatlas(row: Row, case: Case) -> dict[str, Any]:
    """Our own, objective and plane included."""
    start, spent = time.perf_counter(), work()
    import lossatlas as la

    asked = dict(row.ours)
    side = (-1, 1, row.side)
    fine = asked.pop("adaptive", False)
    sampler = la.Adaptive(x=side, y=side, scale="log", clip=None) if fine else la.Grid(x=side, y=side)
    objective = case.objective(CPU)
    found = la.sample(objective, la.Plane.random(objective, seed=0), sampler, progress=False, **asked)
    took = {"seconds": time.perf_counter() - start, "processor seconds": work() - spent}
    plan = json.loads(found.attrs["evaluation"])["in words"]
    values = found["loss"].values
    count = int((found["status"].values == 1).sum())
    if "samples" in row.ours:
        plan += "; " + json.loads(found.attrs["sampling"])["verdict"]
    return took | {"points": count, "of": values.size, "plan": plan, "first": float(values[0, 0])}


def loss_landscapes(row: Row, case: Case) -> dict[str, Any]:
    """``random_plane`` with its own metric of all images."""
    package, metrics = importlib.import_module("loss_landscapes"), importlib.import_module("loss_landscapes.metrics")
    model = case.make().eval()
    start = time.perf_counter(), work()
    with torch.no_grad():
        metric = metrics.Loss(F.cross_entropy, *case.data)
        found = package.random_plane(model, metric, 1, row.side, normalization="filter", deepcopy_model=True)
    return _told(found, start)


def landscaper(row: Row, case: Case) -> dict[str, Any]:
    """``compute_loss_landscape`` along two random directions."""
    compute, model = ways.landscaper_module(), case.make().eval()
    start = time.perf_counter(), work()
    directions = [[torch.randn_like(p) for p in model.parameters()] for _ in range(2)]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found, _ = compute.compute_loss_landscape(
            model,
            case.data,
            directions,
            lambda m, d: F.cross_entropy(m(d[0]), d[1]).item(),
            row.side,
            1.0,
            2,
            "cpu",
        )
    return _told(found, start)


def loss_landscape_3d(row: Row, case: Case) -> dict[str, Any]:
    """``LossLandscapeCalculator.calculate`` in a plane of its own random directions; its plotting is not loaded."""
    sys.modules.setdefault("plotly", importlib.import_module("types").ModuleType("plotly"))
    for name in ("plotly.graph_objects", "plotly.subplots", "loss_landscape_3d.visualizer"):
        stand = importlib.import_module("types").ModuleType(name)
        stand.LossLandscapeVisualizer = stand.make_subplots = None
        sys.modules[name] = stand
    package, model = importlib.import_module("loss_landscape_3d"), case.make().eval()
    start = time.perf_counter(), work()
    loader = DataLoader(TensorDataset(*case.data), batch_size=128)
    calculator = package.LossLandscapeCalculator(model, loader, F.cross_entropy)
    centre = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    side = np.linspace(-1, 1, row.side)
    found = calculator.calculate(side, side, *package.generate_random_directions(model), centre)
    return _told(found, start)


def _told(found: Any, start: tuple[float, float]) -> dict[str, Any]:
    took = {"seconds": time.perf_counter() - start[0], "processor seconds": work() - start[1]}
    values = np.asarray(found)
    bad = int((~np.isfinite(values)).sum())
    return took | {"points": values.size, "of": values.size, "not finite": bad}


WAYS: dict[str, Callable[[Row, Case], dict[str, Any]]] = {
    "original": loop(ways.original),
    "expert": loop(ways.expert),
    "limit": bound,
    "loss-landscapes": loss_landscapes,
    "landscaper": landscaper,
    "loss-landscape-3d": loss_landscape_3d,
    "lossatlas": lossatlas,
}


def child(name: str, way: str, folder: Path | None) -> None:
    """One picture, in this process; a line of JSON."""
    row = ROWS[name]
    found = WAYS[way](row, network(row, folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found | {"peak MiB": round(peak)}))


def measure(name: str, rounds: int, folder: Path | None, threads: int = 0) -> dict[str, Any]:
    """All ways on one row, rounds interleaved."""
    own = {} if not threads else {"OMP_NUM_THREADS": str(threads)}
    row = ROWS[name]
    told: dict[str, list[dict[str, Any]]] = {}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        for way in row.ways:
            if way in missing:
                continue
            command = [sys.executable, "-m", "benchmarks.whole", "--child", name, way]
            done = subprocess.run(
                [*command, *([str(folder)] if folder else [])],
                capture_output=True,
                text=True,
                check=False,
                env=os.environ | own,
            )
            if done.returncode:
                if way in ("original", "expert", "lossatlas"):
                    raise SystemExit(done.stderr)
                missing[way] = done.stderr.strip().splitlines()[-1]
                continue
            told.setdefault(way, []).append(json.loads(done.stdout.splitlines()[-1]))
            last = told[way][-1]
            print(f"{name}: {way} {last['seconds']:.2f} s, {last['processor seconds']:.2f} s of work", flush=True)
    kinds = ("seconds", "processor seconds")
    medians = {k: {way: statistics.median(one[k] for one in each) for way, each in told.items()} for k in kinds}
    firsts = {way: each[0]["first"] for way, each in told.items() if "first" in each[0]}
    allowed = 0.1 if row.ours.keys() & {"precision", "samples"} else 1e-5
    off = max(abs(value / firsts["expert"] - 1) for value in firsts.values())
    if off > allowed:
        raise SystemExit(f"{name}: the first point differs by {off:.1e}: {firsts}")
    return {"row": name, **medians, "runs": told, "not measured": missing}


def table(results: list[dict[str, Any]]) -> str:
    """A row for each picture and way: the median, all runs, the ratio to ours."""
    rows = [
        "| picture | way | points | seconds (each run) | times ours | in processor time | peak, MiB | note |",
        "|---" * 8 + "|",
    ]
    for found in results:
        for way, seconds in found["seconds"].items():
            runs = found["runs"][way]
            each = ", ".join(f"{one['seconds']:.3g}" for one in runs)
            count = f"{runs[0]['points']} of {runs[0]['of']}"
            notes = [runs[0].get("plan", ""), WRONG.get(way, "")]
            if way == "lossatlas" and "environment" in found:  # rows may have been measured on several machines
                notes.append("{date}, {processor}".format(**found["environment"]))
            notes += (
                [f"{runs[0]['not finite']} of {runs[0]['of']} cells not finite"] if runs[0].get("not finite") else []
            )
            if way == "limit":
                notes.append(
                    f"the matrix products alone: ours runs at {seconds / found['seconds']['lossatlas']:.0%} of it"
                )
            if way in ("original", "expert", "limit") and runs[0]["points"] < runs[0]["of"]:
                notes.append("scaled from the points visited")
            ratio = "" if way == "lossatlas" else f"{seconds / found['seconds']['lossatlas']:.2f} ×"
            spent = found["processor seconds"]
            worked = "" if way == "lossatlas" else f"{spent[way] / spent['lossatlas']:.2f} ×"
            peak = statistics.median(one["peak MiB"] for one in runs)
            rows.append(
                f"| {found['row']} | {way} | {count} | **{seconds:.3g}** ({each}) | {ratio} | {worked} | {peak:.0f} | "
                f"{'; '.join(filter(None, notes))} |"
            )
    return "\n".join(rows)


def merged(out: Path, environment: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any]:
    """What a file holds, with rows measured now in place of the same rows measured before."""
    there = json.loads(out.read_text())["whole"] if out.exists() else []
    new = {one["row"]: one | {"environment": environment} for one in found}
    rows = {one["row"]: one for one in there} | new
    return {"environment": environment, "whole": [rows[name] for name in ROWS if name in rows]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", nargs="+", required=True)
    asked = parser.parse_args().child
    child(asked[0], asked[1], Path(asked[2]) if len(asked) > 2 else None)
