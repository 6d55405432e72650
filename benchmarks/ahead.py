"""Does it help to give idle workers points of an adaptive scan before they are asked for? Simulated, and in real time.

    python -m benchmarks.ahead SURFACE.npz … [--seconds 1.0] [--real] [--rounds 3]

Both run the loop itself (``lossatlas.sampling.loop``) on surfaces that are known everywhere (``loss`` [n, n]), with
workers that only wait, so that few cores are enough. Simulated, time is a number: it jumps to the next point that ends,
and grows by the processor time that the driver really takes and by what committing a block is taken to cost. With
``--real`` threads sleep and blocks go to a journal on the disk. The times of points vary, by a tenth or log-normally
with σ = 0.5, and are the same with and without points given ahead.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import tempfile
import time
from collections.abc import Iterable
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np

import lossatlas as la
from lossatlas.evaluate.evaluator import Answer
from lossatlas.results.landscape import About, Axis
from lossatlas.results.spec import Block, RunSpec
from lossatlas.results.store import RunFolder
from lossatlas.sampling import ahead, loop
from lossatlas.sampling.executors import Work
from lossatlas.sampling.loop import Places, visit
from lossatlas.sampling.workers.pool import PoolSession

COMMIT = 0.004
"""Seconds that committing a block takes, as measured by ``benchmarks.workers`` on a quiet machine."""

VIEWS: dict[str, dict[str, Any]] = {
    "logarithm": {"scale": "log", "clip": None},
    "clip 10": {"scale": "linear", "clip": 10.0},
}


class Waiting(PoolSession):
    """Workers that wait; who has begun a point ends it.

    Args:
        truth: float64 [cells].
        times: float64 [cells], seconds that each takes.
        workers: how many.
    """

    at_once = workers = 0  # of this object, below

    def __init__(self, truth: np.ndarray, times: np.ndarray, workers: int, cells: dict[Any, int]) -> None:
        super().__init__(futures.ThreadPoolExecutor(workers), None)  # type: ignore[arg-type]
        self.at_once = self.workers = workers
        self.truth, self.times, self.cells, self.spent = truth, times, cells, 0.0

    def start(self, work: Work) -> Waiting:
        return self

    def answer(self, coordinates: np.ndarray) -> Answer:
        at = [self.cells[tuple(point)] for point in coordinates]
        seconds = float(self.times[at].sum())
        self.spent += seconds
        notes, status = ("",) * len(at), np.ones(len(at), np.int8)
        return Answer(values=self.truth[at][:, None], status=status, notes=notes, seconds=seconds)

    def give(self, coordinates: np.ndarray, parcel: Any = None, worker: str = "") -> Any:
        return self.pool.submit(self._slept, coordinates)

    def _slept(self, coordinates: np.ndarray) -> Answer:
        answer = self.answer(coordinates)
        time.sleep(answer.seconds)
        return answer

    def now(self) -> float:
        return time.perf_counter()

    def commit(self, journal: Any, block: Block) -> None:
        journal.commit(block)


class Simulated(Waiting):
    """The same where time is a number."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        ahead.clock = loop.clock = time.thread_time  # by which the loop judges whether foretelling pays
        self.clock, self.mark = 0.0, time.thread_time()
        self.free = [0.0] * self.workers

    def now(self) -> float:
        mark = time.thread_time()
        self.clock, self.mark = self.clock + mark - self.mark, mark
        return self.clock

    def give(self, coordinates: np.ndarray, parcel: Any = None, worker: str = "") -> Any:
        answer = self.answer(coordinates)
        ends = max(self.now(), heapq.heappop(self.free)) + answer.seconds
        heapq.heappush(self.free, ends)
        return Ends(self, ends, answer)

    def wait(self, pending: Iterable[Any]) -> None:
        self.clock = max(self.now(), min(one.ends for one in pending))
        self.mark = time.thread_time()

    def commit(self, journal: Any, block: Block) -> None:
        self.clock = self.now() + COMMIT


class Ends:
    """A block that ends at a known time."""

    def __init__(self, session: Simulated, ends: float, answer: Answer) -> None:
        self.session, self.ends, self.answer = session, ends, answer

    def done(self) -> bool:
        return self.session.now() >= self.ends

    def result(self) -> Answer:
        return self.answer

    def cancel(self) -> bool:
        return False


class Plain:
    """A queue that foretells nothing."""

    def __init__(self, queue: Any) -> None:
        self.ask, self.tell, self._queue = queue.ask, queue.tell, queue

    @property
    def ready(self) -> int:
        return int(self._queue.ready)


class Kept:
    """A journal that notes which cells were kept."""

    def __init__(self, session: Waiting, journal: Any) -> None:
        self.session, self.journal, self.cells, self.evaluation = session, journal, [], {}  # type: ignore[var-annotated]

    def commit(self, block: Block) -> None:
        self.session.commit(self.journal, block)
        self.cells += block.indices.tolist()

    def note_evaluation(self, evaluation: dict[str, Any]) -> None:
        self.evaluation = evaluation


def scan(
    truth: np.ndarray, sampler: la.Adaptive, kind: type[Waiting], *, foretold: bool, **case: Any
) -> dict[str, Any]:
    """One scan: its seconds, the share of the workers' time without a point that was asked for, or without any."""
    flat, random = truth.ravel().astype(float), np.random.default_rng(case["seed"])
    noise = random.normal(size=flat.size)
    shape = np.exp(0.5 * noise - 0.125) if case["spread"] == "log-normal" else np.maximum(0.1, 1 + 0.1 * noise)
    places = Places(sampler.axes, tuple(sampler.axes))
    cells = {tuple(point): cell for cell, point in enumerate(places.of(np.arange(flat.size)))}
    session = kind(flat, case["seconds"] * shape, case["workers"], cells)
    queue: Any = sampler.start(Block.joined([], 1))
    axes = {name: Axis(coordinates=c, length=1.0) for name, c in sampler.axes.items()}
    spec = RunSpec(identity={"model": "waits"}, axes=axes, values=("loss",), about=About())
    work = Work(make=lambda: None, width=1, decisive=(0,))  # type: ignore[arg-type, return-value]
    with tempfile.TemporaryDirectory() as folder, RunFolder.begin(Path(folder) / "run", spec) as journal:
        kept, began = Kept(session, journal), session.now()
        options: dict[str, Any] = {"seconds": case["seconds"], "size": flat.size, "progress": False}
        visit(work, places, queue if foretold else Plain(queue), kept, session, **options)  # type: ignore[arg-type]
        took = session.now() - began
    given = kept.evaluation.get("given ahead", {"points": 0, "asked for": 0})
    whole = case["workers"] * took
    asked = float(session.times[kept.cells].sum())
    session.pool.shutdown()
    return {
        "seconds": took, "no use": 1 - asked / whole, "idle": max(0.0, 1 - session.spent / whole),
        "given": given["points"], "asked": given["asked for"], "points": len(kept.cells), "cells": kept.cells,
    }  # fmt: skip


def compared(truth: np.ndarray, sampler: la.Adaptive, kind: type[Waiting], rounds: int, **case: Any) -> dict[str, Any]:
    """Medians of scans without and with, in turns."""
    found: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for seed in range(rounds):
        for foretold in (False, True):
            found[foretold].append(scan(truth, sampler, kind, foretold=foretold, seed=seed, **case))
        assert found[False][-1]["cells"] == found[True][-1]["cells"], "another order or other points"
    names = ("seconds", "no use", "idle", "given", "asked", "points")
    median = {way: {n: float(np.median([one[n] for one in runs])) for n in names} for way, runs in found.items()}
    return case | {"without": median[False], "with": median[True], "load": os.getloadavg()[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("surfaces", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0])
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--spread", nargs="+", default=["a tenth", "log-normal"])
    parser.add_argument("--view", nargs="+", default=["logarithm"], choices=list(VIEWS))
    parser.add_argument("--tolerance", type=float, default=0.02)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--real", action="store_true")
    asked = parser.parse_args()
    for surface, view in [(surface, view) for surface in asked.surfaces for view in asked.view]:
        truth = np.load(surface)["loss"]
        bounds = (-1, 1, len(truth))
        sampler = la.Adaptive(x=bounds, y=bounds, tolerance=asked.tolerance, **VIEWS[view])
        cases = [(t, w, s) for t in asked.seconds for w in asked.workers for s in asked.spread]
        for seconds, workers, spread in cases:
            case = {"seconds": seconds, "workers": workers, "spread": spread}
            found = compared(truth, sampler, Waiting if asked.real else Simulated, asked.rounds, **case)
            print(json.dumps({"surface": surface.stem, "view": view, "real": asked.real} | found), flush=True)


if __name__ == "__main__":
    main()
