"""How a result is read: a finished file, or a run folder that may still be growing."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.expected import path_of
from lossatlas.results import landscape as schema
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block, RunSpec
from lossatlas.results.store import JOURNAL, RESULT, SPEC, assemble, read_curvature, read_evaluation, read_points

__all__ = ["Progress", "open", "progress", "read"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        spec: what it is.
        total: number of cells.
        counts: number of cells of each status.
        failures: why points failed, with their number.
        finished: whether the Landscape has been written.
    """

    spec: RunSpec
    total: int
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    finished: bool

    @property
    def done(self) -> int:
        """The number of cells that need no further work."""
        return self.total - self.counts.get("not_sampled", 0)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """The Landscape of a run folder, finished or not, while its writer goes on undisturbed.

    Returns:
        The Landscape; points to come have the status "not sampled".

    Raises:
        SpecError: not a run folder.
    """
    folder = Path(path)
    if (folder / RESULT).is_file():
        landscape = schema.load(folder / RESULT)
    else:
        spec, told, _ = _look(folder)
        landscape = assemble(spec, told, read_evaluation(folder))
    if found := read_curvature(folder):
        landscape.attrs["curvature"] = json.dumps(found)
    return landscape


def open(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a Landscape: a run folder, finished or not, or a netCDF file.

    Args:
        path: a run folder or a ``.nc`` file.

    Returns:
        The Landscape.

    Raises:
        SpecError: nothing there, or something else.
    """
    source = path_of("path", path)
    if source.is_dir():
        return read(source)
    if source.suffix.lower() in (".h5", ".hdf5", ".npz", ".csv", ".tsv", ".txt"):
        raise SpecError(f"{source} comes from another program: lossatlas import {source} -o landscape.nc")
    return schema.load(source)


def progress(path: str | os.PathLike[str]) -> Progress:
    """How far a run is, while its writer goes on undisturbed.

    Returns:
        How many points there are, of how many.

    Raises:
        SpecError: not a run folder.
    """
    folder = Path(path)
    spec, told, failures = _look(folder)
    counts = {flag.name.lower(): int(np.sum(told.status == flag)) for flag in Status}
    counts["not_sampled"] = math.prod(spec.shape) - len(told.indices)
    return Progress(
        spec=spec,
        total=math.prod(spec.shape),
        counts=counts,
        failures=failures,
        finished=(folder / RESULT).is_file(),
    )


def _look(folder: Path) -> tuple[RunSpec, Block, dict[str, int]]:
    if not (folder / SPEC).is_file():
        raise SpecError(f"{folder} is no run folder: it has no {SPEC}")
    spec = RunSpec.from_json((folder / SPEC).read_text(), folder / SPEC)
    if not (folder / JOURNAL).is_file():
        return spec, Block.joined([], len(spec.values)), {}
    try:
        with contextlib.closing(sqlite3.connect(f"file:{folder / JOURNAL}?mode=ro", uri=True, timeout=30)) as journal:
            told = read_points(journal, len(spec.values))
            query = "SELECT note, count(*) FROM points WHERE note != '' GROUP BY note"
            return spec, told, dict(journal.execute(query).fetchall())
    except sqlite3.DatabaseError as fault:
        if "no such table" in str(fault):  # stopped between making the file and its first table
            return spec, Block.joined([], len(spec.values)), {}
        raise SpecError(f"{folder / JOURNAL} is damaged ({fault})") from fault
