"""How does the time grow with the points, the images, the parameters and the directions."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lossatlas as la
from benchmarks.cases import Case
from benchmarks.clock import interleaved, seconds
from benchmarks.ours import chosen
from benchmarks.ways import AT, expert


def growth(rounds: int, device: torch.device) -> dict[str, list[dict[str, Any]]]:
    """All four, each with the expert's loop and ours: seconds for each point."""
    digits = la.zoo.data("digits")
    net = Case("digits ResNet-20", lambda: la.zoo.model("resnet20", channels=1), digits)
    few = Case(net.name, net.source, tuple(part[:200] for part in digits))
    return {
        "points": [points(few, count, device) for count in (10, 100, 1000)],
        "images": [
            pair(dataclasses.replace(net, data=tuple(p[:n] for p in digits)), n, 2, rounds, device)
            for n in (50, 200, 800, 1437)
        ],
        "parameters": [wide(width, digits, rounds, device) for width in (16, 64, 256, 1024)],
        "directions": [pair(few, count, count, rounds, device) for count in (1, 2, 3)],
    }


def pair(case: Case, size: int, directions: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """Expert and ours on one case, interleaved."""
    axes = tuple(AT)[:directions]
    objective = case.objective(device)
    plane = la.Plane.random(objective, seed=0, axes=axes)
    way, plan = chosen(objective, plane, "exact")
    at = np.tile([[AT[axis] for axis in axes]], (plan.points, 1))
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "expert": (expert(case, plane, device).run, 1),
        "exact": (lambda: way.values(at), plan.points),
    }
    times = interleaved(ways, rounds, device)
    way.close()
    medians = {name: statistics.median(found) for name, found in times.wall.items()}
    return {"size": size, "seconds": medians, "plan": str(plan)}


def wide(width: int, digits: Any, rounds: int, device: torch.device) -> dict[str, Any]:
    """A perceptron with two hidden layers of some width."""
    case = Case(f"MLP {width}", lambda: la.zoo.model("mlp", widths=(64, width, width, 10)), digits)
    parameters = sum(p.numel() for p in case.make().parameters())
    return pair(case, parameters, 2, rounds, device)


def points(case: Case, count: int, device: torch.device) -> dict[str, Any]:
    """A whole run with its folder, search for a plan included, against as many turns of the expert's loop."""
    objective = case.objective(device)
    plane = la.Plane.random(objective, seed=0)
    loop = expert(case, plane, device)
    loop.run()
    grid = la.Grid(x=(-1, 1, count // 10), y=(-1, 1, 10)) if count > 10 else la.Grid(x=(-1, 1, 5), y=(-1, 1, 2))
    with tempfile.TemporaryDirectory() as folder:
        ours = seconds(lambda: la.sample(objective, plane, grid, run=Path(folder) / "a", progress=False), device)
    each = statistics.median(seconds(loop.run, device) for _ in range(min(count, 50)))
    return {"size": count, "seconds": {"exact": ours / count, "expert": each}}
