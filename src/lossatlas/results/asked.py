"""Does a request fit a run folder? Checked before any work is done, from what the folder says about itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lossatlas.errors import Difference, RunMismatchError
from lossatlas.results.folders import SPEC, spec_of
from lossatlas.untrusted import shown

__all__ = ["check_parts", "check_points", "command_of", "differing"]


def differing(folder: Path, wanted: Mapping[str, Any]) -> list[Difference]:
    """How a run differs in the parts of its identity that are known already.

    Args:
        folder: a run folder.
        wanted: those parts, JSON values.

    Returns:
        A sentence for each part that differs.

    Raises:
        SpecError: no run folder, or a damaged one.
    """
    spec = spec_of(folder)
    there = replace(spec, identity=_same_parts(spec.identity, wanted))
    return there.differences(replace(spec, identity=wanted))


def check_parts(folder: str | os.PathLike[str] | None, wanted: Mapping[str, Any]) -> None:
    """Check, before anything is computed, that a folder can take a run.

    Args:
        folder: where it is to be kept; a new folder takes any run.
        wanted: the parts of its identity that are known already.

    Raises:
        RunMismatchError: it belongs to another run; the message names the parts that differ.
    """
    if folder is None or not (Path(folder) / SPEC).exists():
        return
    if parts := differing(Path(folder), wanted):
        raise RunMismatchError(
            f"{folder} belongs to another run: {'; '.join(parts)}. Choose another folder, or delete this one",
            command_of(Path(folder)),
            parts,
        )


def command_of(folder: Path) -> str:
    """The command that made a run; empty where it is not known."""
    return str(spec_of(folder).about.provenance.get("command", "")) if (folder / SPEC).exists() else ""


def check_points(folder: Path, points: Mapping[str, int], asked: str) -> None:
    """Check, before anything is computed, that a run that is to be resumed has as many points as are asked for.

    Args:
        folder: where it lies; one that is not there yet takes any number.
        points: how many along each axis.
        asked: how they were asked for, such as ``"--grid 7"``.

    Raises:
        RunMismatchError: it has a different number.
    """
    if not (folder / SPEC).exists():
        return
    for axis, one in spec_of(folder).axes.items():
        there = len(one.coordinates)
        if there != points.get(axis, there):
            raise RunMismatchError(
                f"{shown(folder)} has {there} points along {axis}, and {asked} asks for {points[axis]}. Ask for "
                f"{there}, choose another folder, or delete {shown(folder)}"
            )


def _same_parts(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an identity that another one names."""
    return {
        name: _same_parts(there.get(name) or {}, value) if isinstance(value, Mapping) else there.get(name)
        for name, value in wanted.items()
    }
