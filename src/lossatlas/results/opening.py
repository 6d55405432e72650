"""What does a path hold, and who opens it? One question for folders and files of every kind.

A folder says its kind in ``spec.json``; those that version 0.1 wrote are known by their files. Each room brings its
opener by name, imported on the first use of that kind, so that reading a Landscape never waits for torch.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from lossatlas import checksum
from lossatlas.atomic import write_text
from lossatlas.errors import SpecError
from lossatlas.expected import path_of
from lossatlas.results.folders import ANCHORS, spec_of
from lossatlas.results.spec import FORMAT, SPEC
from lossatlas.untrusted import printable, text_of

__all__ = ["KINDS", "Kind", "kind_of", "landscape_at", "name_kind", "open"]


@dataclass(frozen=True)
class Kind:
    """One kind of result.

    Attributes:
        name: as ``spec.json`` has it.
        words: what it is, in a sentence about its folder.
        opener: ``module:callable`` of the room that knows it; it takes the path.
        marks: files or folders, as patterns, by which a folder without a named kind is known.
        suffixes: of files that are of this kind.
    """

    name: str
    words: str
    opener: str
    marks: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    def open(self, path: str | os.PathLike[str]) -> Any:
        """What a path of this kind holds.

        Args:
            path: the folder or file.

        Returns:
            What the room makes of it.

        Raises:
            SpecError: it is damaged.
        """
        module, _, name = self.opener.partition(":")
        made: Any = importlib.import_module(module)
        for part in name.split("."):
            made = getattr(made, part)
        return made(path)


_LANDSCAPE = "lossatlas.results.reading:open"
_ALL = (
    Kind("connection", "the paths between two networks", "lossatlas.connect.connections:opened", ("connection.json",)),
    Kind("path", "the path of a training run", "lossatlas.paths.trajectories:Trajectory.open", ("path.json",)),
    Kind("seeds", "one scan along several planes", "lossatlas.field.uncertainty:Seeds.open", (f"seed-*/{SPEC}",)),
    Kind(
        "landscape", "a Landscape", _LANDSCAPE, (SPEC, "landscape.nc", "journal.sqlite", f"shards/*/{SPEC}"), (".nc",)
    ),
    Kind("curvature map", "a map of curvature", _LANDSCAPE),
    Kind("numbers", "numbers and their plots", "lossatlas.figure.stored:opened", ("numbers.json",)),
    Kind("flatness", "a table of measures of flatness", "lossatlas.flatness.stored:opened", (), (".json",)),
    Kind(
        "table",
        "numbers from another program",
        "lossatlas.results.arrays:read_table",
        (),
        (".csv", ".tsv", ".txt", ".npz"),
    ),
    Kind("surface", "a file of the original code", "lossatlas.results.interchange:opened", (), (".h5", ".hdf5")),
)

KINDS = {kind.name: kind for kind in _ALL}
"""Every kind of result, by name."""


def kind_of(path: str | os.PathLike[str]) -> Kind | None:
    """What kind of result a path holds.

    Args:
        path: a folder or a file.

    Returns:
        The kind, or ``None`` where there is nothing, or nothing that is known.

    Raises:
        SpecError: ``spec.json`` names a kind that this version does not know.

    Example:
        >>> kind_of("surface.csv").words, kind_of("nowhere") is None
        ('numbers from another program', True)
    """
    place = path_of("path", path)
    if not place.is_dir():
        suffix = place.suffix.lower()
        return next((kind for kind in _ALL if suffix in kind.suffixes), None)
    if (name := _named(place / SPEC)) is not None:
        if name not in KINDS:
            raise SpecError(f"{place / SPEC} names the kind {name!r}; this version knows {', '.join(KINDS)}")
        return KINDS[name]
    return next((kind for kind in _ALL if any(next(place.glob(mark), None) for mark in kind.marks)), None)


def _named(spec: Path) -> str | None:
    """The kind that a specification names; a run of version 0.1 names none, but what it measured tells."""
    try:
        content = checksum.unsealed(text_of(spec), spec)
    except SpecError:  # missing or damaged: its other files say what it is, and their reader what is wrong
        return None
    if "kind" in content:
        return printable(str(content["kind"]))[:80]
    identity = content.get("identity")
    return "curvature map" if isinstance(identity, dict) and "curvature" in identity else None


def open(path: str | os.PathLike[str]) -> Any:
    r"""Open a result of any kind.

    Args:
        path: a run folder, finished or not, or a ``.nc`` file; the folder of a :class:`~lossatlas.Recorder`, of
            :func:`lossatlas.connect`, of :func:`lossatlas.seeds`, of :func:`lossatlas.curvature_map` or of ``lossatlas
            eigen``; the ``.json`` of ``lossatlas sharpness``; numbers from another program (csv, tsv, txt, npz) or a
            surface of the original code (h5).

    Returns:
        For a run, a map or a file of numbers a Landscape (``xarray.Dataset``); a :class:`~lossatlas.Trajectory`,
        :class:`lossatlas.connect.connections.Ways`, :class:`lossatlas.field.uncertainty.Seeds`,
        :class:`lossatlas.figure.stored.Numbers` or :class:`lossatlas.sharpness.Table` for the others. All can be drawn:
        ``la.draw(la.open(path), "a.png")``.

    Raises:
        SpecError: nothing there, or something else.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "line.csv"
        >>> written = file.write_text("x,loss\n-1,1.0\n0,0.0\n1,1.0\n")
        >>> float(open(file)["loss"].sel(x=1))
        1.0
    """
    place = path_of("path", path)
    if not place.exists():
        raise SpecError(f"{place}: no such file or folder; name what lossatlas wrote, such as runs/a or a.nc")
    kind = kind_of(place)
    if kind is None and place.is_dir():
        if (place / ANCHORS).is_file():
            spec_of(place)
        raise SpecError(
            f"{place} is not a run folder: it has no {SPEC}, and nothing else that lossatlas knows. A folder of "
            "checkpoints is opened by lossatlas.Trajectory.open"
        )
    return (kind or KINDS["landscape"]).open(place)


def landscape_at(path: str | os.PathLike[str]) -> xr.Dataset:
    """Open what has to be a Landscape.

    Args:
        path: a run folder, finished or not, or a file.

    Returns:
        The Landscape.

    Raises:
        SpecError: nothing there, or a result of another kind.
    """
    found = open(path)
    if isinstance(found, xr.Dataset):
        return found
    kind = kind_of(path)
    assert kind is not None
    raise SpecError(f"{path} holds {kind.words}; expected a Landscape: a run folder, or a .nc file")


def name_kind(folder: Path, name: str) -> None:
    """Record in a folder which kind of result it will hold; the folder is made if it is missing.

    Args:
        folder: the folder.
        name: a key of :data:`KINDS`, of a kind that has no specification of its own.

    Raises:
        SpecError: it holds a result of another kind. Nothing in it is touched.
        OSError: it cannot be written.
    """
    there = kind_of(folder)
    if there is not None and there.name != name:
        raise SpecError(f"{folder} holds {there.words}; choose another folder for {KINDS[name].words}")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / SPEC).exists():
        write_text(folder / SPEC, checksum.sealed({"format": FORMAT, "kind": name}))
