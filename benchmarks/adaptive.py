"""How many points does a surface need? Adaptive sampling on surfaces that are known everywhere, and against rivals.

    python -m benchmarks.adaptive [SURFACE.npz] [--tolerance 0.02] [--rivals]

The file has `loss` [51, 51] or any other square; without it only a network without shortcuts and the made surfaces are
used. The rivals need scikit-learn, and the package `adaptive`; what is not installed is left out:

    pip install --target /tmp/rivals --no-deps adaptive cloudpickle loky sortedcollections sortedcontainers versioningit
    PYTHONPATH=/tmp/rivals python -m benchmarks.adaptive SURFACE.npz --rivals
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import lossatlas as la
from lossatlas.results.landscape import Axis, Status, build
from lossatlas.results.spec import Block

NOSKIP = Path(__file__).parents[1] / "tests/sampling/noskip51.npz"
Surface = tuple[np.ndarray, dict[str, object]]
ALL = 0.0125
"""The tolerance at which every cell of the first surface is truly within 2 %."""


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


def surfaces(path: Path | None) -> dict[str, Surface]:
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
    made: dict[str, Surface] = {
        "no shortcuts": (np.load(NOSKIP)["loss"].astype(float), {"scale": "log", "clip": None}),
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


def sampler_of(truth: np.ndarray, view: dict[str, object], tolerance: float) -> la.Adaptive:
    bounds = (-1, 1, len(truth))
    return la.Adaptive(x=bounds, y=bounds, tolerance=tolerance, **view)


def judged(truth: np.ndarray, sampler: la.Adaptive) -> tuple[int, np.ndarray, np.ndarray]:
    """Points; true and stated errors of all cells, as shares of the range of the whole truth."""
    values, stated, points = sampled(truth, sampler)
    shown = sampler.shown(truth)
    true = np.abs(shown.heights(values) - shown.heights(truth)) / float(np.ptp(shown.limits))
    return points, true, stated


def ratio(true: np.ndarray, stated: np.ndarray) -> str:
    """Mean stated over mean true error of the interpolated cells."""
    own = stated > 0
    return f"{stated[own].mean() / true[own].mean():.1f}" if true[own].any() else "no error"


def covered(true: np.ndarray, stated: np.ndarray) -> str:
    """Share of the interpolated cells whose true error is no larger than the stated one."""
    own = stated > 0
    return f"{100 * np.mean(stated[own] >= true[own] - 1e-12):.1f} %" if own.any() else "none interpolated"


def accuracy(found: dict[str, Surface], tolerance: float) -> None:
    heads = "surface | tolerance | points | truly within it | worst cell | covered by the stated error | stated ÷ true"
    print(f"| {heads} |\n|---|---|---|---|---|---|---|")
    for name, (truth, view) in found.items():
        for wanted in (tolerance, ALL) if name == "file, logarithm" else (tolerance,):
            points, true, stated = judged(truth, sampler_of(truth, view, wanted))
            print(
                f"| {name} | {100 * wanted:g} % | {points} | {100 * np.mean(true <= wanted):.1f} % | "
                f"{100 * true.max():.1f} % | {covered(true, stated)} | {ratio(true, stated)} |",
                flush=True,
            )


def rivals(found: dict[str, Surface], tolerance: float) -> None:
    from benchmarks.rivals import RIVALS, needed

    chosen = {name: surface for name, surface in found.items() if name not in ("needle", "noise", "rough")}
    print(f"\nPoints until 99 %, and all, of the cells are truly within {100 * tolerance:g} %:\n")
    print("| | " + " | ".join(chosen) + " |")
    print("|---" * (len(chosen) + 1) + "|")
    for name in RIVALS:
        cells = (needed(truth, sampler_of(truth, view, tolerance), name) for truth, view in chosen.values())
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("surface", nargs="?", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.02)
    parser.add_argument("--rivals", action="store_true", help="compare with other samplers (minutes)")
    asked = parser.parse_args()
    found = surfaces(asked.surface)
    accuracy(found, asked.tolerance)
    if asked.rivals:
        rivals(found, asked.tolerance)


if __name__ == "__main__":
    main()
