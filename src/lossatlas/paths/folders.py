"""Which files of a folder are the checkpoints of one training, and in which order?

A file whose name says that it is a choice or a copy (``best``, ``last``, ``final``) does not mark a step of its own and
is left out, as is anything that is not a checkpoint. Files that cannot be put in order are refused: a path in the wrong
order still looks like a path.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from lossatlas.errors import SpecError
from lossatlas.oneline import one_line
from lossatlas.paths import naming, streams
from lossatlas.paths.findings import Checkpoint
from lossatlas.paths.index import LAYOUT, WEIGHTS, read_index
from lossatlas.paths.naming import When

__all__ = ["SUFFIXES", "Found", "checkpoints_in"]

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_BESIDE = re.compile(r"(optimi[sz]er|optim|scheduler|rng_state|random_states|scaler|training_args|trainer_state)")


@dataclass(frozen=True, kw_only=True)
class Found:
    """The checkpoints of a folder.

    Attributes:
        sources: in order.
        checkpoints: what is known about each.
        names: which tensors are parameters, if that was recorded.
        left_out: files that do not belong to the path, each with the reason.
    """

    sources: list[streams.Source]
    checkpoints: list[Checkpoint]
    names: list[str] | None = None
    left_out: tuple[str, ...] = field(default=())

    __repr__ = one_line


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    when: When
    marked: bool


def checkpoints_in(folder: Path) -> Found:
    """The checkpoints of a folder: recorded ones, or those of any other training.

    Args:
        folder: one of :class:`~lossatlas.Recorder`, of checkpoint files, or of folders ``checkpoint-N``.

    Returns:
        The checkpoints in the order of their recorded steps, or of the numbers in their names.

    Raises:
        SpecError: there are none, or their order is unknown.
    """
    if not folder.is_dir():
        raise SpecError(f"{folder}: no such folder; expected one that lossatlas.Recorder wrote")
    if (folder / LAYOUT).is_file():
        layout, entries = read_index(folder)
        if not entries:
            raise SpecError(f"{folder} has no checkpoint yet; call Recorder.step before and during training")
        known = [
            Checkpoint(step=e["step"], epoch=e["epoch"], loss=e["loss"], lr=e["lr"], notes=e["notes"]) for e in entries
        ]
        sources: list[streams.Source] = [
            streams.Stored(folder / entry["file"], recorded=entry.get(WEIGHTS)) for entry in entries
        ]
        return Found(sources=sources, checkpoints=known, names=layout["parameters"])
    there = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "~")))
    folders = [path for path in there if path.is_dir() and streams.inside(path)]
    files = [path for path in there if path.is_file() and path.suffix in SUFFIXES]
    left_out = [f"{path.name} (no weights)" for path in files if _BESIDE.match(path.name.lower())]
    files = [path for path in files if not _BESIDE.match(path.name.lower())]
    if folders:  # the root of a Trainer: files beside its checkpoints are the model it ended with
        left_out += [f"{path.name} (beside the folders of checkpoints)" for path in files]
        files = folders
    if not files:
        raise SpecError(_none_in(folder))
    kept, without = _ordered([_File(path=p, when=naming.told(p), marked=naming.is_marked(p)) for p in files], folder)
    return Found(
        sources=[streams.source_of(file.path) for file in kept],
        checkpoints=_known(kept),
        left_out=(*left_out, *without),
    )


def _none_in(folder: Path) -> str:
    """That a folder holds no checkpoints itself, and where there are some."""
    below = sorted(path for path in folder.glob("*/*") if path.is_file() and path.suffix in SUFFIXES)
    if not below:
        return f"{folder} holds no checkpoints; expected a folder of lossatlas.Recorder, or files {SUFFIXES}"
    first = below[0].relative_to(folder)
    if len({path.parent for path in below}) == 1:
        return f"{folder} holds no checkpoints itself; those of {first.parent} are at {below[0].parent}"
    return (
        f"{folder} holds no checkpoints itself, its folders do ({first} …); give these files in order: "
        "Trajectory.open([first, second, …])"
    )


def _ordered(files: list[_File], folder: Path) -> tuple[list[_File], list[str]]:
    """The files of a path in order, and what does not belong to it.

    Returns:
        Both.

    Raises:
        SpecError: the order is unknown, or two different checkpoints are at one step.
    """
    if not all(file.when.known for file in files if not file.marked):
        files = _numbered(files)
    dated = [file for file in files if file.when.known]
    if len(dated) < 2:
        names = ", ".join(file.path.name for file in files[:4])
        raise SpecError(
            f"{folder}: fewer than two checkpoints say when they were saved, by a recorded step or a number in their "
            f"names ({names} …); give a list in order: Trajectory.open([first, second, …])"
        )
    unmarked = [file for file in dated if not file.marked]
    without = [
        f"{file.path.name} (its name has no number)"
        for file in files
        if not file.when.known or (file.marked and len(unmarked) > 1 and not re.search(r"\d", file.path.stem))
    ]
    out = {word.rpartition(" (its")[0] for word in without}
    dated = [file for file in dated if file.path.name not in out]
    _check_units(dated, folder)
    keys: dict[tuple[float, int], _File] = {}
    for file in sorted(dated, key=lambda one: (one.marked, len(one.path.name), one.path.name)):
        key = (file.when.epoch or 0.0, file.when.step or 0)
        first = keys.setdefault(key, file)
        if first is not file:
            without.append(f"{file.path.name} ({_second(first, file, folder)})")
    return [keys[key] for key in sorted(keys)], without


def _second(first: _File, second: _File, folder: Path) -> str:
    """Why a second checkpoint of one step is left out.

    Returns:
        The reason.

    Raises:
        SpecError: it is of another training.
    """
    if _same(first.path, second.path):
        return f"a copy of {first.path.name}"
    if second.marked:
        return f"at the same step as {first.path.name}"
    raise SpecError(
        f"{folder}: {first.path.name} and {second.path.name} belong to the same step but differ: are there two "
        "training runs in one folder? Give the files of one, in order: Trajectory.open([first, second, …])"
    )


def _numbered(files: list[_File]) -> list[_File]:
    """Files whose names hold plain numbers, dated by them."""
    bare = [file for file in files if not file.when.known and re.search(r"\d", file.path.stem)]
    sure = [file for file in bare if not file.marked] or bare
    if any(file.when.known and not file.marked for file in files):
        return files  # some say more than others, so their order differs
    numbers = naming.plain([file.path for file in sure])
    if numbers is None:
        numbers = _last_numbers(sure)
    if numbers is None:
        return files
    if len({row[0] for row in numbers}) == len(numbers) or len(numbers[0]) == 1:
        dated = {file.path: When(step=row[0]) for file, row in zip(sure, numbers, strict=True)}
    else:
        dated = {file.path: When(epoch=float(row[0]), step=row[1]) for file, row in zip(sure, numbers, strict=True)}
    return [replace(file, when=dated.get(file.path, file.when)) for file in files]


def _last_numbers(files: Sequence[_File]) -> list[tuple[int, ...]] | None:
    """The last number of each name, where all have one and no two the same."""
    found = [re.findall(r"(?<![\d.])\d+(?![\d.])", file.path.stem) for file in files]
    last = [int(numbers[-1]) for numbers in found if numbers]
    return [(number,) for number in last] if len(set(last)) == len(files) > 1 else None


def _check_units(files: Sequence[_File], folder: Path) -> None:
    """Refuse epochs beside steps if nothing ties them to each other."""
    epochs = [file for file in files if file.when.step is None]
    steps = [file for file in files if file.when.epoch is None]
    if epochs and steps:
        raise SpecError(
            f"{folder}: {epochs[0].path.name} counts epochs and {steps[0].path.name} steps, but nothing says how many "
            "steps an epoch has; give a list in order: Trajectory.open([first, second, …])"
        )
    if epochs and len(epochs) < len(files):
        raise SpecError(
            f"{folder}: {epochs[0].path.name} has an epoch but no step, while others have both; give a list in order: "
            "Trajectory.open([first, second, …])"
        )


def _known(files: Sequence[_File]) -> list[Checkpoint]:
    """What is known about ordered checkpoints; steps that restart in each epoch are numbered consecutively."""
    steps = [file.when.step if file.when.step is not None else int(file.when.epoch or 0) for file in files]
    if any(b <= a for a, b in itertools.pairwise(steps)):
        steps = list(range(len(files)))
    return [
        Checkpoint(step=step, epoch=file.when.epoch, loss=file.when.loss, lr=file.when.lr)
        for step, file in zip(steps, files, strict=True)
    ]


def _same(a: Path, b: Path) -> bool:
    """Whether two checkpoints have the same weights."""
    one, other = streams.source_of(a), streams.source_of(b)
    return dict(one.shapes) == dict(other.shapes) and all(
        torch.equal(one.part(name, 0, size), other.part(name, 0, size))
        for name, size in ((name, math.prod(shape)) for name, shape in one.shapes.items())
    )
