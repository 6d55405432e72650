"""How we evaluate a point: the plan that a long run would choose, exact or in a short format; and a whole picture."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

import lossatlas as la
from lossatlas.evaluate.agreement import Agreement, check_points
from lossatlas.evaluate.calibration import Calibration, fastest
from lossatlas.evaluate.choice import Ways
from lossatlas.evaluate.plans import Plan
from lossatlas.results.landscape import Axis, Status, build
from lossatlas.results.spec import Block

LONG = 10_000_000
"""Points of a run so long that every plan is worth a try."""


def chosen(objective: la.Objective, plane: la.Plane, precision: str) -> tuple[Any, Plan]:
    """The way that a long run would take, and its plan."""
    way, found = calibrated(objective, plane, precision)
    return way, found.plan


def calibrated(objective: la.Objective, plane: la.Plane, precision: str) -> tuple[Any, Calibration]:
    """The way that a long run would take, and what was measured to find it."""
    points = check_points(dict.fromkeys(plane.axes, np.linspace(-1, 1, 51)))
    ways = Ways(objective, plane)
    plain, start = ways.way(Plan()), time.perf_counter()
    held = Agreement(objective, plane, points, plain.values(points))
    each = (time.perf_counter() - start) / len(points)
    found = Calibration(plan=Plan(), seconds={"plain": each})
    fastest(ways, objective, held, found, each=each, remaining=LONG, precision=precision)
    return ways.way(found.plan), found


def picture(path: Path, tolerance: float = 0.02) -> dict[str, float]:
    """How many points an adaptive picture of a known surface takes, and what it costs to choose them.

    Args:
        path: an .npz file with ``loss`` [n, n].
        tolerance: share of the range in the logarithmic view.

    Returns:
        "points", "of", "share within" (cells truly within the tolerance) and "seconds to choose".
    """
    truth = np.load(path)["loss"]
    bounds = (-1, 1, len(truth))
    sampler = la.Adaptive(x=bounds, y=bounds, tolerance=tolerance, scale="log", clip=None)
    seen = np.zeros(truth.size, bool)
    start = time.perf_counter()
    queue = sampler.start(Block.joined([], 1))
    while len(indices := queue.ask(500)):
        seen[indices] = True
        values = truth.ravel()[indices, None]
        queue.tell(Block(indices=indices, values=values, status=np.ones(len(indices), np.int8)))
    known = seen.reshape(truth.shape)
    axes = {name: Axis(coordinates=c, length=1.0) for name, c in sampler.axes.items()}
    status = np.where(known, Status.OK, Status.NOT_SAMPLED)
    found = sampler.finish(build(axes, {"loss": np.where(known, truth, np.nan)}, status))["loss"].values
    took = time.perf_counter() - start
    shown = sampler.shown(truth)
    heights, span = shown.heights(truth), float(np.ptp(shown.limits))
    within = float(np.mean(np.abs(shown.heights(found) - heights) <= tolerance * span))
    return {"points": int(seen.sum()), "of": truth.size, "share within": within, "seconds to choose": took}
