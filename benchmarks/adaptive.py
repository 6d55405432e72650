"""How many points does a surface need? Adaptive sampling on surfaces that are known everywhere, and against rivals.

    python -m benchmarks.adaptive [SURFACE.npz] [--tolerance 0.02] [--rivals] [--workers]

Where a run ends is partly luck, so each surface is looked at from eight sides (turned and mirrored), and means are
given; the worst cell is that of all. With ``--workers`` it is simulated how long workers wait, where the times of
points vary by a tenth.

The file has `loss` [51, 51] or any other square; without it only a network without shortcuts and the made surfaces are
used. The rivals need scikit-learn, and the package `adaptive`; what is not installed is left out:

    pip install --target /tmp/rivals --no-deps adaptive cloudpickle loky sortedcollections sortedcontainers versioningit
    PYTHONPATH=/tmp/rivals python -m benchmarks.adaptive SURFACE.npz --rivals
"""

from __future__ import annotations

import argparse
import heapq
from pathlib import Path

import numpy as np

import lossatlas as la
from lossatlas.evaluate.evaluator import Answer
from lossatlas.results.landscape import Axis, Status, build
from lossatlas.results.spec import Block
from lossatlas.sampling.executors import Work
from lossatlas.sampling.loop import Places, visit

NOSKIP = Path(__file__).parents[1] / "tests/sampling/noskip51.npz"
Surface = tuple[np.ndarray, dict[str, object]]
ALL = 0.0125
"""A tolerance at which hardly a cell of the first surface is truly off by more than 2 %."""


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


def sides(truth: np.ndarray) -> list[np.ndarray]:
    """A square surface, turned and mirrored: the same to look at, not the same to the order of random cells."""
    turned = [np.rot90(truth, quarter) for quarter in range(4)]
    return [np.ascontiguousarray(side) for one in turned for side in (one, one.T)]


def ratio(true: np.ndarray, stated: np.ndarray) -> float:
    """Mean stated over mean true error of the interpolated cells; NaN where there is none."""
    own = stated > 0
    return float(stated[own].mean() / true[own].mean()) if true[own].any() else np.nan


def covered(true: np.ndarray, stated: np.ndarray) -> float:
    """Share of the interpolated cells whose true error is no larger than the stated one; NaN where there is none."""
    own = stated > 0
    return float(np.mean(stated[own] >= true[own] - 1e-12)) if own.any() else np.nan


def accuracy(found: dict[str, Surface], tolerance: float) -> None:
    heads = "surface | tolerance | points | truly within it | worst cell | covered by the stated error | stated ÷ true"
    print(f"| {heads} |\n|---|---|---|---|---|---|---|")
    for name, (truth, view) in found.items():
        for wanted in (tolerance, ALL) if name == "file, logarithm" else (tolerance,):
            runs = []
            for side in sides(truth):
                points, true, stated = judged(side, sampler_of(side, view, wanted))
                runs.append((points, np.mean(true <= wanted), true.max(), covered(true, stated), ratio(true, stated)))
                if points == truth.size:
                    break
            points, within, _, cover, times = np.mean(runs, axis=0)
            told = f"{100 * cover:.1f} % | {times:.1f}" if np.isfinite(cover) else "none interpolated | no error"
            worst = max(run[2] for run in runs)
            print(
                f"| {name} | {100 * wanted:g} % | {points:.0f} | {100 * within:.1f} % | {100 * worst:.1f} % | {told} |",
                flush=True,
            )


class Clock:
    """An executor of simulated workers: each point takes one second, more or less, of a time that nobody waits for."""

    def __init__(self, workers: int, truth: np.ndarray, axes: dict[str, np.ndarray], *, spread: float = 0.1) -> None:
        self.room, self.now, self.busy, self.points = 2 * workers, 0.0, 0.0, 0
        self._free, self._spread, self._random = [0.0] * workers, spread, np.random.default_rng(0)
        self._truth, self._axes = truth, list(axes.values())

    def __enter__(self) -> Clock:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, work: Work) -> Clock:
        return self

    def commit(self, block: Block) -> None:
        self.points += len(block.indices)

    def submit(self, coordinates: np.ndarray) -> Come:
        took = float(np.maximum(0.1, 1 + self._spread * self._random.standard_normal(len(coordinates))).sum())
        end = max(self.now, heapq.heappop(self._free)) + took
        heapq.heappush(self._free, end)
        self.busy += took
        at = tuple(np.searchsorted(axis, column) for axis, column in zip(self._axes, coordinates.T, strict=True))
        values = self._truth[at][:, None]
        return Come(self, end, Answer(values=values, status=np.ones(len(values), np.int8), notes=("",) * len(values)))


class Come:
    """A block that is there at some time."""

    def __init__(self, clock: Clock, end: float, answer: Answer) -> None:
        self._clock, self._end, self._answer = clock, end, answer

    def result(self) -> Answer:
        self._clock.now = max(self._clock.now, self._end)
        return self._answer


def idle(truth: np.ndarray, sampler: la.Adaptive, workers: int) -> tuple[float, int]:
    """The share of the workers' time in which they wait, through the loop that runs anywhere, and the points."""
    clock = Clock(workers, truth, dict(sampler.axes))
    queue, places = sampler.start(Block.joined([], 1)), Places(sampler.axes, tuple(sampler.axes))
    work = Work(make=lambda: None, width=1, decisive=(0,))
    visit(work, places, queue, clock, clock, seconds=1.0, size=truth.size, progress=False)
    return 1 - clock.busy / (workers * clock.now), clock.points


def waiting(found: dict[str, Surface], tolerance: float) -> None:
    counts = (2, 4, 8, 16, 64)
    print("\nShare of their time in which workers wait:\n")
    print("| surface | points | " + " | ".join(f"{count} workers" for count in counts) + " |")
    print("|---" * (len(counts) + 2) + "|")
    for name, (truth, view) in found.items():
        shares = [idle(truth, sampler_of(truth, view, tolerance), count) for count in counts]
        print(
            f"| {name} | {shares[0][1]} | " + " | ".join(f"{100 * share:.0f} %" for share, _ in shares) + " |",
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
    parser.add_argument("--workers", action="store_true", help="simulate how long workers wait, and nothing else")
    asked = parser.parse_args()
    found = surfaces(asked.surface)
    if asked.workers:
        waiting(found, asked.tolerance)
        return
    accuracy(found, asked.tolerance)
    if asked.rivals:
        rivals(found, asked.tolerance)


if __name__ == "__main__":
    main()
