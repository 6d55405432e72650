"""How many points does a surface need? Adaptive sampling against splines on whole grids, on surfaces known everywhere.

    python -m benchmarks.adaptive [SURFACE.npz] [--tolerance 0.02]

The file has `loss` [51, 51] or any other square; without it only the made surfaces are used.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.interpolate import RectBivariateSpline

import lossatlas as la
from lossatlas.results.landscape import Axis, Status, build
from lossatlas.results.spec import Block


def sampled(truth: np.ndarray, sampler: la.Adaptive) -> tuple[np.ndarray, np.ndarray, int]:
    """The adaptive sampler on a known surface: values, stated errors, points."""
    flat, seen = truth.ravel(), np.zeros(truth.size, bool)
    queue = sampler.start(Block.joined([], 1))
    while len(indices := queue.ask(500)):
        seen[indices] = True
        queue.tell(Block(indices=indices, values=flat[indices, None], status=np.ones(len(indices), np.int8)))
    axes = {name: Axis(coordinates=c, length=1.0) for name, c in sampler.axes.items()}
    known = seen.reshape(truth.shape)
    status = np.where(known, Status.OK, Status.NOT_SAMPLED)
    found = sampler.finish(build(axes, {"loss": np.where(known, truth, np.nan)}, status))
    stated = found["loss_uncertainty"].values if "loss_uncertainty" in found else np.zeros(truth.shape)
    return found["loss"].values, stated, int(seen.sum())


def splined(truth: np.ndarray, side: int) -> np.ndarray:
    """Cubic splines through a uniform grid of side × side points."""
    every = np.linspace(0, len(truth) - 1, side).round().astype(int)
    spline = RectBivariateSpline(every, every, truth[np.ix_(every, every)], s=0)
    return np.asarray(spline(np.arange(len(truth)), np.arange(len(truth))))


def surfaces(path: Path | None) -> dict[str, tuple[np.ndarray, dict[str, object]]]:
    """Surfaces with the view in which they are looked at."""
    x, y = np.meshgrid(np.linspace(-1, 1, 51), np.linspace(-1, 1, 51), indexing="ij")
    random = np.random.default_rng(3)
    rough = x**2 + y**2
    for _ in range(60):
        a, b = random.normal(0, 9, 2)
        rough = rough + 0.25 * np.abs(np.sin(a * x + b * y + random.uniform(0, 6))) / (1 + 0.05 * np.hypot(a, b))
    needle = x**2 + y**2
    needle[33, 17] += 5
    linear: dict[str, object] = {"scale": "linear", "clip": None}
    made: dict[str, tuple[np.ndarray, dict[str, object]]] = {
        "rough": (rough, linear),
        "noise": (random.uniform(size=(51, 51)), linear),
        "cliff": (np.where(x + 0.3 * y > 0.13, 1.0, 0.0) + 0.1 * x**2, linear),
        "needle": (needle, linear),
    }
    if path is None:
        return made
    loss = np.load(path)["loss"]
    return {
        "file, logarithm": (loss, {"scale": "log", "clip": None}),
        "file, clip 10": (loss, {"scale": "linear", "clip": 10.0}),
        **made,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("surface", nargs="?", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.02)
    asked = parser.parse_args()
    print(
        "| surface | points | truly within | covered by the stated error | stated ÷ true | splines 11², 26²: within |"
    )
    print("|---|---|---|---|---|---|")
    for name, (truth, view) in surfaces(asked.surface).items():
        bounds = (-1, 1, len(truth))
        sampler = la.Adaptive(x=bounds, y=bounds, tolerance=asked.tolerance, **view)
        values, stated, points = sampled(truth, sampler)
        shown = sampler.shown(truth)
        heights, span = shown.heights(truth), float(np.ptp(shown.limits))
        true = np.abs(shown.heights(values) - heights) / span
        splines = [np.mean(np.abs(splined(heights, side) - heights) <= asked.tolerance * span) for side in (11, 26)]
        ratio = f"{stated.mean() / true.mean():.1f}" if true.any() else "no error"
        print(
            f"| {name} | {points} | {100 * np.mean(true <= asked.tolerance):.1f} % | "
            f"{100 * np.mean(stated >= true - 1e-12):.1f} % | {ratio} | "
            + ", ".join(f"{100 * share:.0f} %" for share in splines)
            + " |"
        )


if __name__ == "__main__":
    main()
