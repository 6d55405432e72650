"""How long does one point take: the original code, the packages, an expert, every plan of ours, the machine's limit.

    python -m benchmarks points [FOLDER WITH THE AUTHORS' NETWORK] [--only NAME] [--rounds 7] [--device cpu]
    python -m benchmarks whole [FOLDER] [--rows 25 81 …] [--rounds 3]      whole pictures, each in its own process
    python -m benchmarks growth [--rounds 5]
    python -m benchmarks report RESULT.json ...      join results of several calls into a table and a plot

All ways run interleaved in one process on the same plane, data and threads, and must agree in value. Medians are
compared as ratios, since the machine may be shared. ``benchmarks/README.md`` says more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lossatlas as la
from benchmarks import limit, ours, report, ways, whole
from benchmarks.cases import Case, cases
from benchmarks.clock import environment, interleaved, utilisation
from benchmarks.growth import growth

AGREE = {"original": 1e-5, "exact": 1e-5, "loss-landscapes": 1e-3, "landscaper": 1e-3}
"""Relative difference in the loss that each way may have; a short format states its own."""


def measure(case: Case, rounds: int, device: torch.device) -> dict[str, Any]:
    """All ways on one case."""
    objective = case.objective(device)
    plane = la.Plane.random(objective, seed=0)
    timed = {"expert": ways.expert(case, plane, device), "original": ways.original(case, plane, device)}
    truth = timed["expert"].value()
    rate = limit.best_rate(device)
    steps = 2 if limit.flops(case) * len(case.data[0]) > 1e10 else 6
    missing = {}
    packages = {"loss-landscapes": ways.loss_landscapes, "landscaper": ways.landscaper}
    for name, package in packages.items():
        try:
            timed[name] = package(case, plane, device, steps)
        except ImportError as fault:
            missing[name] = str(fault)
    plans, errors = {}, {}
    for precision in ("exact", "bf16", *(["tf32", "fp16"] if device.type == "cuda" else [])):
        try:
            timed[precision], found = mine(objective, plane, precision)
        except la.SpecError as fault:
            missing[precision] = str(fault)
            continue
        plans[precision], errors[precision] = found.to_json(), found.error
    gaps = agreement(timed, truth)
    times = interleaved({name: (way.run, way.points) for name, way in timed.items()}, rounds, device)
    medians = {name: statistics.median(found) for name, found in times.wall.items()}
    medians["limit"] = limit.limit(case, max(rate, limit.best_rate(device)))
    return {
        "case": case.name,
        "seconds": medians,
        "processor seconds": {name: statistics.median(found) for name, found in times.work.items()},
        "rounds": {name: [float(f"{t:.4g}") for t in found] for name, found in times.wall.items()},
        "best rate, GFLOP/s": round(rate / 1e9, 1),
        "relative difference": gaps,
        "notes": {name: way.note for name, way in timed.items() if way.note},
        "not measured": missing,
        "plans": plans,
        "errors at the check points": errors,
        **({"gpu utilisation, %": busy(timed)} if device.type == "cuda" else {}),
    }


def mine(objective: la.Objective, plane: la.Plane, precision: str) -> tuple[ways.Timed, Any]:
    """Our own way in one precision."""
    way, found = ours.calibrated(objective, plane, precision)
    points = np.tile([[ways.AT[axis] for axis in plane.axes]], (found.plan.points, 1))
    run: Callable[[], Any] = lambda: way.values(points)  # noqa: E731
    return ways.Timed(run, found.plan.points, lambda: float(way.values(points)[0, 0])), found


def agreement(timed: dict[str, ways.Timed], truth: float) -> dict[str, float]:
    """How far each way's loss is from what it should be, relative; stops where one is wrong."""
    gaps = {}
    for name, way in timed.items():
        expected = truth if way.truth is None else way.truth
        gaps[name] = float(f"{abs(way.value() / expected - 1):.2g}")
        if gaps[name] > AGREE.get(name, np.inf):
            raise SystemExit(f"{name}: its loss is {gaps[name]:.1e} from {expected:.6g}, relative")
    return gaps


def busy(timed: dict[str, ways.Timed]) -> dict[str, float | None]:
    """How busy each way keeps the GPU."""
    return {name: utilisation(way.run) for name, way in timed.items()}


def picture(folder: Path | None, results: list[dict[str, Any]]) -> dict[str, Any]:
    """The time of a whole picture of the authors' network: points that it takes × time of a point."""
    named = [found for found in results if found["case"].startswith("ResNet-56")]
    if folder is None or not named or not (folder / "resnet56_dense51.npz").exists():
        return {}
    found, s = ours.picture(folder / "resnet56_dense51.npz"), named[0]["seconds"]
    choose = found.pop("seconds to choose")
    times = {"original, full grid": found["of"] * s["original"], "expert, full grid": found["of"] * s["expert"]}
    for way in ("exact", "bf16"):
        times[f"adaptive, {way}"] = found["points"] * s[way] + choose
    return {"case": named[0]["case"], **found, "seconds to choose": choose, "seconds": times}


def points_command(asked: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    found: dict[str, Any] = {"environment": environment(device), "results": []}
    for case in cases(asked.folder, asked.images):
        if asked.only.lower() in case.name.lower():
            found["results"].append(measure(case, asked.rounds, device))
            print(report.table(found["results"][-1:]).splitlines()[-1], flush=True)
    if made := picture(asked.folder, found["results"]):
        found["picture"] = made
    return found


def write(found: dict[str, Any], out: Path) -> None:
    """JSON, a table and a plot, and the table on the screen."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")
    parts = [report.environment_words(found["environment"])]
    if found.get("results"):
        parts.append(report.table(found["results"]))
        report.plot_points(found["results"], found["environment"], out.with_suffix(".svg"))
    if found.get("picture"):
        parts.append(report.picture_table(found["picture"]))
    if found.get("whole"):
        parts.append(whole.table(found["whole"]))
    if found.get("growth"):
        parts.append(report.growth_table(found["growth"]))
        report.plot_growth(found["growth"], found["environment"], out.with_suffix(".svg"))
    out.with_suffix(".md").write_text("\n\n".join(parts) + "\n")
    print("\n\n".join(parts))


def joined(paths: list[Path]) -> dict[str, Any]:
    """Results of several calls on one machine as one."""
    parts = [json.loads(path.read_text()) for path in paths]
    found = {"environment": parts[0]["environment"], "results": [r for part in parts for r in part["results"]]}
    pictures = [part["picture"] for part in parts if "picture" in part]
    return found | ({"picture": pictures[0]} if pictures else {})


def device_of(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device here (torch.cuda.is_available() is false); run without --device cuda")
    return torch.device(name)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = made.add_subparsers(dest="command", required=True)
    points, grow, join, runs = (commands.add_parser(name) for name in ("points", "growth", "report", "whole"))
    points.add_argument("folder", nargs="?", type=Path, help="holds li2018_resnet56.pt and cifar10_train500.npz")
    points.add_argument("--only", default="", help="cases whose name contains this")
    points.add_argument("--images", type=int, default=500, help="for ResNet-56")
    runs.add_argument("folder", nargs="?", type=Path, help="as for points")
    runs.add_argument("--rows", nargs="+", choices=tuple(whole.ROWS), default=list(whole.ROWS), help="which pictures")
    join.add_argument("parts", nargs="+", type=Path)
    for each, rounds, name in ((points, 7, "points"), (grow, 5, "growth"), (join, 0, "points"), (runs, 3, "whole")):
        each.add_argument("--threads", type=int, default=0, help="of torch; 0 for all cores")
        each.add_argument("--rounds", type=int, default=rounds)
        each.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
        each.add_argument("--out", type=Path, default=Path(f"benchmarks/results/{name}.json"))
    return made


def main() -> None:
    asked = parser().parse_args()
    device = device_of(asked.device)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    if asked.command == "points":
        found = points_command(asked, device)
    elif asked.command == "whole":
        for name in asked.rows:  # a run that is cut short keeps what it has
            results = [whole.measure(name, asked.rounds, asked.folder, asked.threads)]
            found = whole.merged(asked.out, environment(device), results)
            write(found, asked.out)
        return
    elif asked.command == "growth":
        found = {"environment": environment(device), "growth": growth(asked.rounds, device)}
    else:
        found = joined(asked.parts)
    write(found, asked.out)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
