"""What is kept about the surface under a path? Which grids on which planes, and the losses of the networks themselves.

Beside the checkpoints there is a folder ``surface``: a run folder for each grid (``001-09``: on the first plane, 9
points along each axis), ``surfaces.jsonl`` with a line for each of them, and ``losses.jsonl`` with the losses of the
checkpoints. Each line carries its checksum. It counts only while the checkpoint it refers to is still the same file: a
training that went back wrote another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossatlas import checksum
from lossatlas.errors import SpecError
from lossatlas.expected import path_of
from lossatlas.paths.index import check_cut_off, file_of
from lossatlas.untrusted import reading, text_of

__all__ = [
    "FOLDER",
    "LOSSES",
    "SURFACES",
    "Surface",
    "add_losses",
    "add_surface",
    "losses_of",
    "next_plane",
    "run_of",
    "surfaces",
    "written",
]

FOLDER, SURFACES, LOSSES = "surface", "surfaces.jsonl", "losses.jsonl"


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A surface under a path.

    Attributes:
        plane: which plane, counted from 1.
        points: along each axis.
        origin: step of the checkpoint through which the plane goes.

    Example:
        >>> Surface(plane=1, points=9, origin=40).name
        '001-09'
    """

    plane: int
    points: int
    origin: int

    @property
    def name(self) -> str:
        """The name of its run folder."""
        return f"{self.plane:03d}-{self.points:02d}"


def surfaces(folder: str | os.PathLike[str]) -> list[Surface]:
    """The surfaces under a recorded path, in the order in which they were begun.

    Args:
        folder: of a :class:`~lossatlas.Recorder`.

    Returns:
        The surfaces; none if none was sampled.

    Raises:
        SpecError: the list is damaged.
    """
    names = ("plane", "points", "origin")
    lines = _lines(path_of("folder", folder), SURFACES, names)
    return [Surface(**{name: line[name] for name in names}) for line in lines]


def next_plane(folder: Path) -> int:
    """The number of a plane that no run folder has yet, not even one of a training that was replaced."""
    numbers = [place.name.partition("-")[0] for place in (folder / FOLDER).glob("[0-9]*-*")]
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=0)


def losses_of(folder: str | os.PathLike[str]) -> dict[int, float]:
    """The loss of the network at the checkpoints of a path, by step, as far as it was evaluated.

    Args:
        folder: of a :class:`~lossatlas.Recorder`.

    Returns:
        Losses by step.

    Raises:
        SpecError: the file is damaged.
    """
    lines = _lines(path_of("folder", folder), LOSSES, ("origin",))
    return {line["origin"]: float(line["loss"]) for line in lines if isinstance(line.get("loss"), (int, float))}


def run_of(folder: Path, surface: Surface) -> Path:
    """The run folder of a surface."""
    return folder / FOLDER / surface.name


def add_surface(folder: Path, surface: Surface) -> None:
    """Note a surface before it is sampled."""
    _add(folder, SURFACES, {"plane": surface.plane, "points": surface.points, "origin": surface.origin})


def add_losses(folder: Path, step: int, losses: Mapping[str, float]) -> None:
    """Note what was measured at a checkpoint."""
    _add(folder, LOSSES, {**losses, "origin": step})


def _add(folder: Path, name: str, line: Mapping[str, Any]) -> None:
    there = folder / FOLDER
    there.mkdir(exist_ok=True)
    with (there / name).open("ab") as file:
        if end := file.tell():  # a line that a killed process left unfinished is removed
            file.truncate((there / name).read_bytes().rfind(b"\n", 0, end) + 1)
        sealed = checksum.sealed({**line, "written": written(folder, line["origin"])}, indent=None)
        file.write(f"{sealed}\n".encode())


def written(folder: Path, step: int) -> int:
    """When the file of a checkpoint was written, in nanoseconds; 0 where there is none."""
    try:
        return (folder / file_of(step)).stat().st_mtime_ns
    except OSError:
        return 0


def _lines(folder: Path, name: str, numbers: tuple[str, ...]) -> list[dict[str, Any]]:
    """The lines of a file that count; one that is still being written does not."""
    there = folder / FOLDER / name
    if not there.is_file():
        return []
    text, remedy = text_of(there, "what is kept of a surface"), f"delete the folder {FOLDER}"
    with reading(there, "what is kept of a surface", remedy):
        whole = text.split("\n")
        check_cut_off(whole.pop(), there, remedy)
        lines = [checksum.verified(json.loads(line), there, required=True) for line in whole]
    for line in lines:
        if not all(type(line.get(n)) is int and 0 <= line[n] < 10**9 for n in numbers):
            raise SpecError(f"{there} is damaged ({str(line)[:80]} is not such a line); {remedy}")
    return [line for line in lines if line.get("written") == written(folder, line["origin"])]
