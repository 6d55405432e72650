"""How is a result read? From a finished file, or from a run folder that may still be growing."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.expected import path_of
from lossatlas.oneline import one_line
from lossatlas.results import landscape as schema
from lossatlas.results.folders import RESULT, read_curvature, result_of, spec_of, with_remedy
from lossatlas.results.landscape import Status
from lossatlas.results.shards import evaluation_of, look_at_all
from lossatlas.results.spec import RunSpec
from lossatlas.results.store import assemble

__all__ = ["Progress", "finished", "open", "progress", "read"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has got.

    Attributes:
        spec: what it is.
        total: number of cells.
        counts: number of cells of each status.
        failures: why points failed, with their number.
        finished: whether the Landscape has been written.
        verified: whether its points have checksums; those of version 0.1 have none.
    """

    spec: RunSpec
    total: int
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    finished: bool
    verified: bool = True

    __repr__ = one_line

    @property
    def done(self) -> int:
        """The number of cells that need no further work."""
        return self.total - self.counts.get("not_sampled", 0)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """The Landscape of a run folder, finished or not, while its writer goes on undisturbed.

    Returns:
        The Landscape; points to come have the status "not sampled".

    Raises:
        SpecError: not a run folder, or a damaged one.
    """
    folder = Path(path)
    if (folder / RESULT).is_file():
        landscape = _result(folder)
    else:
        seen = look_at_all(folder)
        landscape = assemble(seen.spec, seen.found.told, evaluation_of(folder))
        landscape.attrs["sampling"] = json.dumps(_unfinished(seen.spec))
    if found := read_curvature(folder):
        landscape.attrs["curvature"] = json.dumps(found)
    return landscape


def _unfinished(spec: RunSpec) -> dict[str, Any]:
    """What the values of an unfinished run are means over; those on a part of the samples are corrected later."""
    sampler = spec.identity.get("sampler", {})
    if "subset" not in sampler:
        return {}
    words = f"{sampler['subset']} of {sampler['of']} samples only; they are corrected to all samples at the end"
    return {"kind": "subset", "samples": sampler["subset"], "of": sampler["of"], "verdict": words}


def finished(path: str | os.PathLike[str], spec: RunSpec) -> xr.Dataset | None:
    """The result of a finished run in a folder that cannot be written, if it is the same run.

    Args:
        path: the run folder.
        spec: the run that is asked for.

    Returns:
        The Landscape, or ``None`` where the folder is missing, not finished, or can be written.

    Raises:
        RunMismatchError: the folder holds another run; the message names the parts that differ.
        SpecError: it is damaged.
    """
    folder = path_of("run", path)
    if not (folder / RESULT).is_file() or os.access(folder, os.W_OK):
        return None
    if differing := spec_of(folder).differences(spec):
        raise RunMismatchError(f"{folder} belongs to another run: {'; '.join(differing)}. Choose another folder")
    return read(folder)


def _result(folder: Path) -> xr.Dataset:
    """The Landscape that a run wrote when it was finished."""
    try:
        return result_of(folder)
    except SpecError as fault:
        raise SpecError(with_remedy(fault, folder)) from fault


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
    """How far a run has got, while its writer goes on undisturbed.

    Returns:
        How many points there are, of how many.

    Raises:
        SpecError: not a run folder, or a damaged one.
    """
    folder = Path(path)
    seen = look_at_all(folder)
    spec, told = seen.spec, seen.found.told
    failures = Counter(note for note in told.notes if note)
    counts = {flag.name.lower(): int(np.sum(told.status == flag)) for flag in Status}
    counts["not_sampled"] = math.prod(spec.shape) - len(told.indices)
    return Progress(
        spec=spec,
        total=math.prod(spec.shape),
        counts=counts,
        failures=dict(failures),
        verified=seen.found.verified,
        finished=(folder / RESULT).is_file(),
    )
