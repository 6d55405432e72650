"""How many workers does one driver keep busy? A simulation of the loop, calibrated by measurements of this code.

    python -m benchmarks.workers

The loop (``lossatlas.sampling.loop``) hands out two blocks for each worker, waits for the oldest, commits it and hands
out the next. All that the driver does for a block is measured here: handing it over, taking the answer, committing it.
Points are given by their time. Answers are committed in the order of asking, as the loop does, so that a slow block
holds back the refilling of the others.
"""

from __future__ import annotations

import heapq
import json
import multiprocessing
import os
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lossatlas as la
from lossatlas.evaluate.choice import Ways
from lossatlas.evaluate.plans import Plan
from lossatlas.results.landscape import About, Axis
from lossatlas.results.spec import Block, RunSpec
from lossatlas.results.store import RunFolder
from lossatlas.sampling.executors import Work
from lossatlas.sampling.loop import Places, visit
from lossatlas.sampling.samplers import GridQueue
from lossatlas.sampling.workers.pool import AHEAD, Futures
from lossatlas.sampling.workers.subject import evaluate, pack

WORKERS = (1, 2, 10, 100, 1000, 10_000)
BLOCKS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
CASES = {
    "ResNet-110, 251 × 251, 50,000 images, which are sent": {"points": 251 * 251, "seconds": 2.6, "megabytes": 615.0},
    "ResNet-110, 251 × 251, 50,000 images, read by each": {"points": 251 * 251, "seconds": 2.6, "reading": 0.6},
    "7 billion parameters, 51 × 51, 100,000 tokens, sent": {"points": 51 * 51, "seconds": 5.0, "megabytes": 14_000.0},
    "7 billion parameters, 51 × 51, 100,000 tokens, read by each": {"points": 51 * 51, "seconds": 5.0, "reading": 14.0},
}
"""Seconds of a point on one device: operations of the forward passes (25 and 1,400 TFLOP) at a tenth of 100 TFLOP/s in
float32 and at 280 TFLOP/s in bfloat16. Megabytes that travel to each worker: of tensors made by hand all; of weights
and data that were read by a name that workers can read too, what :func:`parcel` measures. Those take seconds at
each worker, all at once: a gigabyte a second is assumed."""
DOLLARS = 2.5
"""Assumed price of a device for an hour."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What the driver spends, in seconds.

    Attributes:
        submit: to hand over a block.
        receive: to take its answer.
        commit: to put a block down.
        commit_point: the same, for each of its points.
        megabyte: to send a megabyte of the work to a worker.
    """

    submit: float
    receive: float
    commit: float
    commit_point: float
    megabyte: float


def simulate(
    costs: Costs,
    *,
    workers: int,
    points: int,
    seconds: float,
    block: int,
    megabytes: float = 0.0,
    reading: float = 0.0,
    spread: float = 0.05,
    seed: int = 0,
) -> float:
    """Seconds from the first block handed over until the last is committed.

    Args:
        costs: of the driver.
        workers: how many.
        points: of the run.
        seconds: of a point at a worker.
        block: points of a block.
        megabytes: of the work, which travels to the workers one after the other.
        reading: seconds that each worker takes to read the rest, all at the same time.
        spread: of the time of a block, relative.
        seed: of that spread.
    """
    generator = np.random.default_rng(seed)
    free = [number * megabytes * costs.megabyte + reading for number in range(workers)]
    heapq.heapify(free)
    sizes = [block] * (points // block) + ([points % block] if points % block else [])
    ends: list[float] = []
    now, handed = 0.0, 0
    for told, size in enumerate(sizes):
        while handed < len(sizes) and handed - told < AHEAD * workers:
            now += costs.submit
            began = max(now, heapq.heappop(free))
            ends.append(began + sizes[handed] * seconds * max(0.1, 1 + spread * generator.standard_normal()))
            heapq.heappush(free, ends[-1])
            handed += 1
        now = max(now, ends[told]) + costs.receive + costs.commit + size * costs.commit_point
    return now


def efficiency(costs: Costs, **case: Any) -> float:
    """Share of the workers' time that is spent on points."""
    return float(case["points"] * case["seconds"] / (case["workers"] * simulate(costs, **case)))


class Sleeps:
    """Points that take a time and no processor, so that a busy machine disturbs the measurement little."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds * len(coordinates))
        return np.zeros((len(coordinates), 2))

    def close(self) -> None:
        pass


def work(seconds: float) -> Work:
    return Work(make=partial(Sleeps, seconds), width=2, decisive=(0,))


def spec(points: int) -> RunSpec:
    axis = Axis(coordinates=np.arange(float(points)), length=1.0)
    return RunSpec(identity={"model": "sleeps"}, axes={"x": axis}, values=("loss", "error"), about=About())


def measured(pool: Any, *, points: int, seconds: float, block: int) -> float:
    """Seconds that the loop itself takes, with a journal on the disk."""
    places = Places({"x": np.arange(float(points))}, ("x",))
    with tempfile.TemporaryDirectory() as folder, RunFolder.begin(Path(folder) / "run", spec(points)) as journal:
        started = time.perf_counter()
        queue = GridQueue(np.arange(points))
        visit(
            work(seconds),
            places,
            queue,
            journal,
            Futures(pool),
            seconds=seconds,
            size=points,
            block=block,
            progress=False,
        )
        return time.perf_counter() - started


def parcel() -> float:
    """Megabytes that travel of a ResNet-110 on a plane, read from a checkpoint, with data that a name stands for."""
    with tempfile.TemporaryDirectory() as folder:
        model = la.zoo.model("resnet110")
        torch.save(model.state_dict(), Path(folder) / "weights.pt")
        la.load_checkpoint(model, Path(folder) / "weights.pt")
        images = np.zeros((1000, 32, 32, 3), np.uint8)
        np.savez(Path(folder) / "images.npz", x=images, y=np.arange(1000) % 10)
        data = la.zoo.data("npz", path=str(Path(folder) / "images.npz"))
        objective = la.Objective(model, data, torch.nn.functional.cross_entropy)
        ways = Ways(objective, la.Plane.random(objective, seed=0))
        made = Work(make=partial(ways.carried_out, Plan()), width=1, decisive=(0,), subject=objective)
        return len(pack(made).content) / 1e6


def calibrate(pool: Any) -> Costs:
    """What the driver spends on a block here."""
    parcel = pack(work(0.0))
    pool.submit(evaluate, parcel.fingerprint, np.zeros((1, 1)), parcel).result()
    count = 400
    started = time.perf_counter()
    sent = [pool.submit(evaluate, parcel.fingerprint, np.zeros((5, 1))) for _ in range(count)]
    submit = (time.perf_counter() - started) / count
    for one in sent:
        one.result()
    receive = max(0.0, (time.perf_counter() - started) / count - submit)
    content = torch.zeros(8_000_000)
    started = time.perf_counter()
    pool.submit(len, pack(Work(make=partial(Sleeps, content), width=1, decisive=(0,))).content).result()  # type: ignore[arg-type]
    megabyte = (time.perf_counter() - started) / 32
    first, slope = _commits()
    return Costs(submit=submit, receive=receive, commit=first, commit_point=slope, megabyte=megabyte)


def _commits() -> tuple[float, float]:
    times = {}
    for size in (1, 500):
        with tempfile.TemporaryDirectory() as folder, RunFolder.begin(Path(folder) / "run", spec(40 * size)) as journal:
            spent = []
            for number in range(40):
                indices = np.arange(number * size, (number + 1) * size)
                block = Block(indices=indices, values=np.zeros((size, 2)), status=np.ones(size, np.int8))
                started = time.perf_counter()
                journal.commit(block)
                spent.append(time.perf_counter() - started)
            times[size] = float(np.mean(spent))
    slope = max(0.0, (times[500] - times[1]) / 499)
    return times[1] - slope, slope


def report(out: Path) -> dict[str, Any]:
    """Measure, simulate, and write both as JSON."""
    context = multiprocessing.get_context("spawn")
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    found: dict[str, Any] = {"machine": machine}
    checks = []
    for workers in (1, 2):
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            for one in [pool.submit(time.sleep, 0.5) for _ in range(workers)]:
                one.result()  # all have been started
            for case in ({"points": 200, "seconds": 0.05, "block": 5}, {"points": 500, "seconds": 0.0, "block": 1}):
                costs, took, after = calibrate(pool), measured(pool, **case), _commits()[0]
                costs = replace(costs, commit=(costs.commit + after) / 2)  # other programs use the disk too
                told = simulate(costs, workers=workers, **case)
                checks.append(case | {"workers": workers, "measured": took, "simulated": told, "costs": asdict(costs)})
    costs = Costs(**{name: float(np.median([check["costs"][name] for check in checks])) for name in asdict(costs)})
    found |= {"costs": asdict(costs), "checks": checks, "cases": {}}
    found["parcel"] = {"megabytes": parcel()}
    for name, given in CASES.items():
        rows, case = [], {"megabytes": found["parcel"]["megabytes"]} | given
        for workers in WORKERS:
            still = case | {"megabytes": 0.0, "reading": 0.0, "spread": 0.0}
            fit = [n for n in BLOCKS if n * workers <= case["points"]]
            best = {n: efficiency(costs, workers=workers, block=n, **still) for n in fit}
            good = [n for n, share in best.items() if share >= 0.9]
            block = good[0] if good else max(best, key=lambda n: best[n], default=1)
            took = simulate(costs, workers=workers, block=block, **case)
            rows.append(
                {
                    "workers": workers,
                    "block for 90 %": good[0] if good else None,
                    "efficiency": best.get(block, 0.0),
                    "hours": took / 3600,
                    "dollars": took / 3600 * workers * DOLLARS,
                }
            )
        found["cases"][name] = rows
    per_block = costs.submit + costs.receive + costs.commit + costs.commit_point
    found["blocks a second"] = 1 / per_block
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n")
    return found


def main(out: str = "benchmarks/results/workers.json") -> None:
    print(json.dumps(report(Path(out)), indent=2))


if __name__ == "__main__":
    main()
