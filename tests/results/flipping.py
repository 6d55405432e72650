"""Flips random bytes in copies of results of every kind and says what each reader made of it: a program, prints JSON."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import lossatlas as la
from lossatlas import RunMismatchError, SpecError
from lossatlas.connect import connections
from lossatlas.connect.curve_training import Training
from lossatlas.figure.overlays import Points
from lossatlas.flatness import stored
from lossatlas.flatness.table import table
from lossatlas.paths import surfaces
from lossatlas.paths.below import Below
from lossatlas.results import reading, repair, store
from lossatlas.results.opening import open as opened
from lossatlas.space.curvefile import load_curve
from lossatlas.space.planefile import load_directions

Content = dict[str, bytes]

# ---- what is damaged ----------------------------------------------------------------------------------------------


def objective(seed: int = 0) -> la.Objective:
    torch.manual_seed(seed)
    model, x, y = torch.nn.Linear(3, 2), torch.randn(12, 3), torch.randint(2, (12,))
    return la.Objective(model, (x, y), loss=F.cross_entropy, metrics={"error": la.metrics.error})


def scan(folder: Path, seed: int = 0) -> Any:
    one = objective(seed)
    return la.sample(one, la.Plane.random(one, seed=0), la.Grid(x=(-1, 1, 5), y=(-1, 1, 4)), run=folder)


def finished(folder: Path) -> None:
    scan(folder)
    store.note_curvature(folder, {"lambda_min": -1.5}, {})


def growing(folder: Path) -> None:
    """A run that is not finished: what it says comes from its journal."""
    finished(folder)
    (folder / store.RESULT).unlink()


def part(folder: Path) -> Any:
    """A run on a part of the samples, which keeps its anchors."""
    one = objective()
    grid = la.Grid(x=(-1, 1, 13), y=(-1, 1, 12))
    return la.sample(one, la.Plane.random(one, seed=0), grid, run=folder, samples=la.Subset(size=6))


def curvature(folder: Path) -> Any:
    """A map of curvature that is not finished: it goes on from the vectors it kept."""
    one = objective()
    return la.curvature_map(one, la.Plane.random(one, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), run=folder)


def path(folder: Path) -> None:
    torch.manual_seed(0)
    recorder, model = la.Recorder(folder), torch.nn.Linear(4, 3)
    for step in range(4):
        with torch.no_grad():
            model.weight += 0.1 * torch.randn(3, 4)
        recorder.step(model, loss=1.0 / (1 + step), lr=0.1, note="a")


def live(folder: Path) -> None:
    """A path with a surface below it, as `serve --sample-while-training` makes one."""
    path(folder)
    torch.manual_seed(0)
    data = torch.randn(12, 4), torch.randint(3, (12,))
    below = Below(
        folder, torch.nn.Linear(4, 3), lambda model: la.Objective(model, data, loss=F.cross_entropy), points=5
    )
    while below.step():
        pass


def ways(folder: Path) -> Any:
    ends = [objective(seed).model for seed in (0, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = la.connect(objective(), *ends, training=Training(epochs=2), steps=4, run=folder)
    upon = [Points(x=[0.0, 1.0], y=[0.5, 0.25], label="ends", words=["a", "b"])]
    connections.note(folder, {"line": "straight", "curve": "bent"}, title="t", caption=["c"], upon=upon)
    return found


def measures(folder: Path) -> None:
    folder.mkdir()
    stored.save(table({"a": objective()}, ["sam"]), folder / "table.json")


MAKERS: dict[str, Callable[[Path], Any]] = {
    "finished": finished,
    "growing": growing,
    "part": part,
    "curvature": curvature,
    "path": path,
    "live": live,
    "ways": ways,
    "measures": measures,
}


# ---- what it says -------------------------------------------------------------------------------------------------


def of_landscape(landscape: Any, prefix: str = "") -> Content:
    """Everything that a Landscape says but when it was made, as bytes by name."""
    found = {f"{prefix}{n}": np.ascontiguousarray(v.values).tobytes() for n, v in landscape.variables.items()}
    found |= {
        f"{prefix}{n}: attributes": repr(sorted(v.attrs.items())).encode() for n, v in landscape.variables.items()
    }
    told = sorted((name, text) for name, text in landscape.attrs.items())
    return found | {f"{prefix}attributes": repr(told).encode()}


def values_of(landscape: Any, prefix: str) -> Content:
    names = [name for name in landscape.data_vars if name != "products"]
    return {f"{prefix}{name}": np.ascontiguousarray(landscape[name].values).tobytes() for name in names}


def of_tensors(tensors: Any, prefix: str) -> Content:
    return {f"{prefix}{name}": tensor.numpy().tobytes() for name, tensor in tensors.items()}


def of_run(folder: Path) -> Content:
    found = of_landscape(la.open(folder))
    progress = reading.progress(folder)
    found["progress"] = repr((progress.counts, progress.failures, progress.spec.identity)).encode()
    for axis, direction in load_directions(folder / "directions.safetensors").items():
        found |= of_tensors(direction, f"{axis}/")
    return found


def of_path(folder: Path) -> Content:
    walked = la.Trajectory.open(folder)
    found = {"checkpoints": repr(walked.checkpoints).encode(), "gram": np.asarray(walked.gram).tobytes()}
    for number in range(len(walked)):
        found |= of_tensors(walked.at(number), f"{number}/")
    return found


def of_live(folder: Path) -> Content:
    under = surfaces.surfaces(folder)
    found = {"surfaces": repr((under, surfaces.losses_of(folder))).encode()} | of_path(folder)
    for one in under:
        found |= of_landscape(la.open(surfaces.run_of(folder, one)), f"{one.name}: ")
    return found


def of_ways(folder: Path) -> Content:
    known = connections.opened(folder)
    found = {"told": repr((known.title, known.caption, known.barriers, known.upon)).encode()}
    for words, landscape in known.landscapes.items():
        found |= of_landscape(landscape, f"{words}: ")
    for number, point in enumerate(load_curve(folder / "curve" / "curve.safetensors").points):
        found |= of_tensors(point, f"{number}/")
    gone_on = ways(folder)
    found["losses"] = gone_on.losses.tobytes()
    return found | values_of(gone_on.landscape, "again: ")


READERS: dict[str, Callable[[Path], Content]] = {
    "finished": of_run,
    "growing": of_run,
    "part": lambda folder: of_run(folder) | values_of(part(folder), "again: "),
    "curvature": lambda folder: of_run(folder) | values_of(curvature(folder), "again: "),
    "path": of_path,
    "live": of_live,
    "ways": of_ways,
    "measures": lambda folder: {"told": repr(opened(folder / "table.json")).encode()},
}


# ---- damage -------------------------------------------------------------------------------------------------------


def flipped(file: Path, chance: random.Random) -> str:
    """Change one byte of a file, and say which."""
    data = bytearray(file.read_bytes())
    place, change = chance.randrange(len(data)), chance.randrange(1, 256)
    data[place] ^= change
    file.write_bytes(data)
    return f"{file.name}, byte {place} xor {change}"


def outcome(kind: str, folder: Path, truth: Content) -> str:
    """What becomes of a reader: "error", "unharmed", "WRONG" or "TRACEBACK"."""
    try:
        found = READERS[kind](folder)
    except (SpecError, RunMismatchError) as fault:
        named = str(folder) in str(fault)
        return "error" if named and len(str(fault)) < 2000 else f"UNCLEAR {fault}"
    except Exception:
        return f"TRACEBACK {traceback.format_exc()[-600:]}"
    differing = [name for name in truth if found.get(name) != truth[name]]
    return f"WRONG {differing}" if differing or found.keys() != truth.keys() else "unharmed"


def mended(folder: Path, truth: Content) -> str:
    """What becomes of a repair: every point that it keeps is right, and the folder opens, or it says why not."""
    try:
        examined = repair.examine(folder, {"directions.safetensors": load_directions})
        repair.mend(examined)
        again = repair.examine(folder, {"directions.safetensors": load_directions})
        landscape = la.open(folder)
    except SpecError:
        return "error"
    except Exception:
        return f"TRACEBACK {traceback.format_exc()[-600:]}"
    if again.damages:
        return f"STILL DAMAGED {again.damages}"
    done = landscape["status"].values.ravel() == 1
    right = np.frombuffer(truth["loss"])[done] == landscape["loss"].values.ravel()[done]
    return "mended" if right.all() else "WRONG after repair"


def main(above: Path, flips: int, seed: int) -> None:
    """Flip bytes in every kind of file in turn."""
    chance, counts, bad = random.Random(seed), Counter[str](), []
    truths = {}
    for kind in MAKERS:
        with tempfile.TemporaryDirectory() as beside:
            truths[kind] = READERS[kind](Path(shutil.copytree(above / kind, Path(beside) / "run")))
    files = [
        (kind, file.relative_to(above / kind))
        for kind in MAKERS
        for file in sorted((above / kind).rglob("*"))
        if file.is_file() and file.stat().st_size
    ]
    for number in range(flips):
        kind, file = files[number % len(files)]
        with tempfile.TemporaryDirectory() as beside:
            copy, other = Path(beside) / "run", Path(beside) / "other"
            shutil.copytree(above / kind, copy)
            what = flipped(copy / file, chance)
            shutil.copytree(copy, other)
            found = [outcome(kind, copy, truths[kind])]
            found += [mended(other, truths[kind])] if kind in ("finished", "growing") else []
            for one in found:
                counts[f"{kind}/{file}: {one.split()[0]}"] += 1
                if one.split()[0].isupper():
                    bad.append(f"{kind}/{file.parent}/{what}: {one}")
    print(json.dumps({"counts": dict(sorted(counts.items())), "bad": bad, "files": len(files)}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[3]), int(sys.argv[1]), int(sys.argv[2]))
