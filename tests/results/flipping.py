"""Flips random bytes in copies of a run folder and says what each reader made of it: run as a program, prints JSON."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

import lossatlas as la
from lossatlas import RunMismatchError, SpecError
from lossatlas.results import reading, repair
from lossatlas.space.planefile import load_directions


def content(folder: Path) -> dict[str, bytes]:
    """Everything that a run folder says, as bytes by name."""
    landscape = la.open(folder)
    found = {name: np.ascontiguousarray(v.values).tobytes() for name, v in landscape.variables.items()}
    found |= {f"{name}: attributes": repr(sorted(v.attrs.items())).encode() for name, v in landscape.variables.items()}
    found["attributes"] = repr(sorted(landscape.attrs.items())).encode()
    progress = reading.progress(folder)
    found["progress"] = repr((progress.counts, progress.failures, progress.spec.identity)).encode()
    for axis, direction in load_directions(folder / "directions.safetensors").items():
        found |= {f"{axis}/{name}": tensor.numpy().tobytes() for name, tensor in direction.items()}
    return found


def flipped(path: Path, chance: random.Random) -> str:
    """Change one byte of a file, and say which."""
    data = bytearray(path.read_bytes())
    place, change = chance.randrange(len(data)), chance.randrange(1, 256)
    data[place] ^= change
    path.write_bytes(data)
    return f"{path.name}, byte {place} xor {change}"


def outcome(folder: Path, truth: dict[str, bytes]) -> str:
    """What becomes of a reader: "error", "unharmed", "WRONG" or "TRACEBACK"."""
    try:
        found = content(folder)
    except (SpecError, RunMismatchError) as fault:
        named = str(folder) in str(fault)
        return "error" if named and len(str(fault)) < 2000 else f"UNCLEAR {fault}"
    except Exception:
        return f"TRACEBACK {traceback.format_exc()[-600:]}"
    differing = [name for name in truth if found.get(name) != truth[name]]
    return f"WRONG {differing}" if differing or found.keys() != truth.keys() else "unharmed"


def mended(folder: Path, truth: dict[str, bytes]) -> str:
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


def main(folders: list[Path], flips: int, seed: int) -> None:
    """Flip bytes in every kind of file in turn."""
    chance, counts, bad = random.Random(seed), Counter[str](), []
    truths = {folder: content(folder) for folder in folders}
    files = [path for folder in folders for path in sorted(folder.iterdir()) if path.stat().st_size]
    for number in range(flips):
        file = files[number % len(files)]
        with tempfile.TemporaryDirectory() as beside:
            copy = Path(beside) / "run"
            shutil.copytree(file.parent, copy)
            what = flipped(copy / file.name, chance)
            for found in (outcome(copy, truths[file.parent]), mended(copy, truths[file.parent])):
                counts[f"{file.name}: {found.split()[0]}"] += 1
                if found.split()[0].isupper():
                    bad.append(f"{file.parent.name}/{what}: {found}")
    print(json.dumps({"counts": dict(sorted(counts.items())), "bad": bad}, indent=1))


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[3:]], int(sys.argv[1]), int(sys.argv[2]))
