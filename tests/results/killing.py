"""Kills runs of every kind at random moments, goes on with them, and says what came of it: a program, prints JSON."""

from __future__ import annotations

import faulthandler
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flipping
import numpy as np
import torch
from tqdm import tqdm

import lossatlas as la
from lossatlas.results.folders import RESULT
from lossatlas.results.opening import open as opened

STEPS = 6
"""Checkpoints of a recorded training."""

HANGS = 200
"""Seconds after which work that takes a few has hung: it ends and says where."""

GRID = {"x": (-1, 1, 5), "y": (-1, 1, 4)}

# ---- what is killed: each goes on where it was, in the same folder --------------------------------------------------


def sampled(folder: Path, sampler: Any = None, **options: Any) -> None:
    one = flipping.objective()
    options = {"block": 2} | options
    la.sample(one, la.Plane.random(one, seed=0), sampler or la.Grid(**GRID), run=folder, progress=False, **options)


def adaptive(folder: Path) -> None:
    sampled(folder, la.Adaptive(x=(-1, 1, 9), y=(-1, 1, 9), tolerance=0.05), block=4)


def part(folder: Path) -> None:
    sampled(folder, la.Grid(x=(-1, 1, 13), y=(-1, 1, 12)), samples=la.Subset(size=6), block=20)


def shards(folder: Path) -> None:
    for number in (1, 2, 3):
        sampled(folder, shard=f"{number}/3")


def pooled(folder: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        sampled(folder, executor=pool)


def path(folder: Path) -> None:
    recorder = la.Recorder(folder, resume=True)
    for step in range(recorder.count, STEPS):
        torch.manual_seed(step)
        recorder.step(torch.nn.Linear(4, 3), loss=1.0 / (1 + step), lr=0.1, note="a")


def ways(folder: Path) -> None:
    flipping.ways(folder)


def measures(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    flipping.stored.save(flipping.table({"a": flipping.objective()}, ["sam"]), folder / "table.json")


def curvature(folder: Path) -> None:
    flipping.curvature(folder)


# ---- what it says -------------------------------------------------------------------------------------------------


def of_landscape(folder: Path) -> flipping.Content:
    return flipping.values_of(la.open(folder), "")


def of_path(folder: Path) -> flipping.Content:
    walked = la.Trajectory.open(folder)
    found = {f"loss {kept.step}": repr((kept.loss, kept.lr, kept.notes)).encode() for kept in walked.checkpoints}
    for number, kept in enumerate(walked.checkpoints):
        found |= flipping.of_tensors(walked.at(number), f"{kept.step}/")
    return found


def of_ways(folder: Path) -> flipping.Content:
    known = flipping.connections.opened(folder)
    found: flipping.Content = {}
    for words, landscape in known.landscapes.items():
        found |= flipping.values_of(landscape, f"{words}: ")
    curve = flipping.load_curve(folder / "curve" / "curve.safetensors")
    for number, point in enumerate(curve.points):
        found |= flipping.of_tensors(point, f"{number}/")
    return found


def of_measures(folder: Path) -> flipping.Content:
    return {"told": repr(opened(folder / "table.json")).encode()}


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], flipping.Content]]] = {
    "grid": (sampled, of_landscape),
    "adaptive": (adaptive, of_landscape),
    "part of the samples": (part, of_landscape),
    "shards": (shards, of_landscape),
    "pool": (pooled, of_landscape),
    "curvature": (curvature, of_landscape),
    "recorded path": (path, of_path),
    "ways with training": (ways, of_ways),
    "table of flatness": (measures, of_measures),
}


# ---- killing ------------------------------------------------------------------------------------------------------


def begun(work: Callable[[Path], None], folder: Path) -> int:
    """A process of its own that does the work; this one never takes a derivative, so it may fork."""
    child = os.fork()
    if child:
        return child
    with (folder.parent / "errors").open("w") as errors:
        os.dup2(errors.fileno(), 2)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        try:
            work(folder)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os._exit(0)


def wait(child: int, seconds: float) -> None:
    """Wait so long, or until a process has ended: if the first one was slow, others may be faster."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(min(left, 0.02))


def whole(work: Callable[[Path], None], folder: Path) -> float:
    """Let the work end, and say how long it took."""
    started = time.perf_counter()
    _, status = os.waitpid(begun(work, folder), 0)
    if status:
        raise ChildProcessError(f"it ended with {status}: {(folder.parent / 'errors').read_text()[-1500:]}")
    return time.perf_counter() - started


def raw(folder: Path, tell: Callable[[Path], flipping.Content]) -> flipping.Content:
    """What finished work says without its results: the points as they were committed."""
    with tempfile.TemporaryDirectory() as beside:
        copy = Path(shutil.copytree(folder, Path(beside) / "run"))
        for result in copy.rglob(RESULT):
            result.unlink()
        return tell(copy)


def right_so_far(folder: Path, tell: Callable[[Path], flipping.Content], truths: list[flipping.Content]) -> str:
    """What a reader sees of work that was killed: what is there is right, and nobody calls it damaged."""
    try:
        seen = tell(folder)
    except (la.SpecError, FileNotFoundError) as nothing:
        return f"BAD: {nothing}" if "damaged" in str(nothing) else "nothing yet"
    wrong = [name for name in seen if not any(agree(name, seen, truth) for truth in truths)]
    return f"BAD: {wrong} differ" if wrong else "readable"


def agree(name: str, seen: flipping.Content, truth: flipping.Content) -> bool:
    """Whether what a reader sees under a name is so; of a field, at the points that are done."""
    status = f"{name.rpartition(': ')[0]}: status".removeprefix(": ")
    if status not in seen:
        return seen[name] == truth.get(name)
    known = np.frombuffer(seen[status], np.int8) == 1
    width = np.int8 if name == status else np.float64
    told, right = (np.frombuffer(content[name], width)[known] for content in (seen, truth))
    return told.tobytes() == right.tobytes()


def killed(kind: str, kills: int, chance: random.Random, counts: Counter[str]) -> list[str]:
    """Kill the work of one kind so often, and say what went wrong."""
    work, tell = KINDS[kind]
    bad: list[str] = []
    with tempfile.TemporaryDirectory() as above:
        seconds = whole(work, Path(above) / "first")
        truth, folder, hits = tell(Path(above) / "first"), Path(above) / "run", 0
        truths = [truth, raw(Path(above) / "first", tell)]
        for attempt in range(30 * kills + 30):
            done = hits >= kills
            child = begun(work, folder)
            if not done:
                wait(child, chance.uniform(0, seconds))
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status):
                hits += 1
                counts[f"{kind}: killed"] += 1
                found = right_so_far(folder, tell, truths)
                counts[f"{kind}: {found.split(':')[0]}"] += 1
                bad += [f"{kind}, attempt {attempt}: {found}"] if found.startswith("BAD") else []
                continue
            if status:
                return [*bad, f"{kind}, attempt {attempt}: {(folder.parent / 'errors').read_text()[-1500:]}"]
            counts[f"{kind}: finished"] += 1
            if tell(folder) != truth:
                bad.append(f"{kind}, attempt {attempt}: the result differs")
            shutil.rmtree(folder)
            if done:
                return bad
    return [*bad, f"{kind}: was killed {hits} times of {kills}"]


def main(kills: int, seed: int) -> None:
    """Share the kills out among the kinds."""
    torch.set_num_threads(1)
    # The lock of progress bars is shared by all that are forked: who is killed while he holds it would stop the others.
    tqdm.set_lock(threading.RLock())
    tqdm.monitor_interval = 0
    with tempfile.TemporaryDirectory() as warm:
        sampled(Path(warm) / "run")  # imports what each process would import
        path(Path(warm) / "path")
    counts, bad, chance = Counter[str](), [], random.Random(seed)
    for number, kind in enumerate(KINDS):
        bad += killed(kind, (kills + number) // len(KINDS), chance, counts)
    print(json.dumps({"counts": dict(sorted(counts.items())), "bad": bad}, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
