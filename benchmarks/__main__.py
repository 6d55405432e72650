"""How long does one point take: the original code's way, an expert's loop, every plan of ours, the machine's limit.

    python -m benchmarks [FOLDER WITH THE AUTHORS' NETWORK] [--rounds 7] [--only NAME] [--out benchmarks/results.json]

All ways run interleaved in one process on the same plane, data and threads, and must agree in value. Medians are
compared as ratios, since the machine may be shared.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

import lossatlas as la
from benchmarks.cases import Case, cases
from lossatlas.sampling.calibration import calibrate
from lossatlas.sampling.evaluator import Plain
from lossatlas.sampling.graphs import Graphs

AT = {"x": 0.1, "y": -0.05}


def original(case: Case, plane: la.Plane) -> Callable[[], float]:
    """The original code's method: weights set tensor by tensor, a DataLoader with two workers read anew, batch 128."""
    model = case.make().eval()
    loader = DataLoader(TensorDataset(*case.data), batch_size=128, num_workers=2)
    base = {name: p.detach().clone() for name, p in model.named_parameters()}

    def run() -> float:
        for name, parameter in model.named_parameters():
            step = sum(AT[a] * d[name] for a, d in plane.directions.items() if name in d)
            parameter.data = base[name] + step
        total, correct = 0.0, 0
        with torch.no_grad():
            for x, y in loader:
                outputs = model(x)
                total += F.cross_entropy(outputs, y).item() * len(x)
                correct += outputs.argmax(1).eq(y).sum().item()
        return total / len(case.data[0])

    return run


def expert(case: Case, plane: la.Plane) -> Callable[[], float]:
    """What an expert writes in twenty minutes: data resident, inference mode, batch 250, weights copied in place."""
    model = case.make().eval().requires_grad_(False)
    batches = list(zip(*(part.split(250) for part in case.data), strict=True))
    base = {name: p.clone() for name, p in model.named_parameters()}
    moved = {name for d in plane.directions.values() for name in d}

    def run() -> float:
        total, wrong = 0.0, 0
        with torch.inference_mode():
            for name, parameter in model.named_parameters():
                if name in moved:
                    parameter.copy_(base[name])
                    for axis, direction in plane.directions.items():
                        if name in direction:
                            parameter.add_(direction[name], alpha=AT[axis])
            for x, y in batches:
                outputs = model(x)
                total += F.cross_entropy(outputs, y, reduction="sum").item()
                wrong += outputs.argmax(1).ne(y).sum().item()
        return total / len(case.data[0])

    return run


def ours(objective: la.Objective, plane: la.Plane, precision: str) -> tuple[Callable[[], float], int, str]:
    """The plan that a long run would choose; gives the loss, for how many points at once, and the plan in words."""
    axes = la.Grid(x=(-1, 1, 51), y=(-1, 1, 51)).axes
    graphs, plain = Graphs(objective, plane), Plain(objective, plane)
    found = calibrate(plain, graphs, axes, remaining=10_000_000, precision=precision)
    way: Any = plain if found.plan.name == "plain" else graphs.way(found.plan)
    points = np.tile(np.array([[AT["x"], AT["y"]]]), (found.plan.points, 1))
    return lambda: float(way.values(points)[0, 0]), found.plan.points, str(found.plan)


def limit(case: Case) -> tuple[float, float]:
    """Seconds that the arithmetic of one point takes at the best rate measured here, and that rate in GFLOP/s."""
    with FlopCounterMode(display=False) as counter:
        case.make().eval()(case.data[0][:10])
    a, b = torch.randn(2, 2048, 2048)
    works = [(2 * 2048**3, lambda: a @ b)]
    for channels, side in ((16, 32), (32, 16), (64, 8)):
        x = torch.randn(50, channels, side, side).contiguous(memory_format=torch.channels_last)
        w = torch.randn(channels, channels, 3, 3).contiguous(memory_format=torch.channels_last)
        works.append((2 * 50 * channels**2 * 9 * side**2, lambda x=x, w=w: F.conv2d(x, w, padding=1)))
    with torch.inference_mode():
        best = max(flops / min(seconds(run) for _ in range(15)) for flops, run in works)
    return counter.get_total_flops() * len(case.data[0]) / 10 / best, best / 1e9


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """All ways on one case."""
    objective = la.Objective(
        case.make(), case.data, F.cross_entropy, metrics={"error": la.metrics.error}, batch_size=250
    )
    plane = la.Plane.random(objective, seed=0)
    exact, points, plan = ours(objective, plane, "exact")
    short, short_points, short_plan = ours(objective, plane, "bf16")
    ways = {
        "original": (original(case, plane), 1),
        "expert": (expert(case, plane), 1),
        "exact": (exact, points),
        "bf16": (short, short_points),
    }
    values = {name: run() for name, (run, _) in ways.items()}
    for name in ("original", "exact"):
        assert abs(values[name] / values["expert"] - 1) < 1e-5, (case.name, values)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (run, count) in ways.items():
            times[name].append(seconds(run) / count)
    medians = {name: statistics.median(found) for name, found in times.items()}
    floor, rate = limit(case)
    return {
        "case": case.name,
        "seconds": medians,
        "limit": floor,
        "limit GFLOP/s": rate,
        "plans": {"exact": plan, "bf16": short_plan},
        "bf16 relative error": abs(values["bf16"] / values["expert"] - 1),
    }


def table(results: list[dict[str, Any]]) -> str:
    rows = [
        "| network | original, ms | expert, ms | exact, ms | bf16, ms | ÷ original | ÷ expert | of the limit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for found in results:
        s = {name: 1000 * value for name, value in found["seconds"].items()}
        rows.append(
            f"| {found['case']} | {s['original']:.4g} | {s['expert']:.4g} | {s['exact']:.4g} | {s['bf16']:.4g} | "
            f"{s['original'] / s['exact']:.2f} × | {s['expert'] / s['exact']:.2f} × | "
            f"{100 * 1000 * found['limit'] / s['exact']:.0f} % |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="holds li2018_resnet56.pt and cifar10_train500.npz")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results.json"))
    asked = parser.parse_args()
    results = []
    for case in cases(asked.folder):
        if asked.only in case.name:
            results.append(measure(case, asked.rounds))
            print(table(results[-1:]).splitlines()[-1], results[-1]["plans"], flush=True)
    versions = {"torch": torch.__version__, "python": platform.python_version(), "threads": torch.get_num_threads()}
    processor = {"processor": platform.machine(), "capability": torch.backends.cpu.get_cpu_capability()}
    asked.out.write_text(
        json.dumps({"date": time.strftime("%Y-%m-%d"), **versions, **processor, "results": results}, indent=1)
    )
    print("\n" + table(results))


if __name__ == "__main__":
    main()
