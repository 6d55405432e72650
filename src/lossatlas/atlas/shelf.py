"""Which results are in the folders that were named, and what is each? Nothing else is ever opened."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from lossatlas.atlas import cards, trail
from lossatlas.draw import View
from lossatlas.errors import SpecError
from lossatlas.figure.kept import FILE, kept
from lossatlas.results import reading
from lossatlas.results.opening import kind_of
from lossatlas.results.store import JOURNAL, RESULT
from lossatlas.sampling.filling import preview

__all__ = ["Entry", "Shelf", "named"]

_DEEP = 4
# Results that hold others.
_OPEN = ("seeds", "study")
_MOST = 2000
_SMALL = 40
# Seconds for which a look into the folders is recent enough, unless the list itself is requested.
_FRESH = 2.0
# On larger planes, interpolating what is still to come costs more time than it is worth.
_PREVIEWED = 20_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A result that may be served.

    Attributes:
        id: what the page calls it; it does not reveal where it is.
        path: where it is.
        name: its path below the folder that was named.
        kind: a name of :data:`lossatlas.results.opening.KINDS`, or "study".
    """

    id: str
    path: Path
    name: str
    kind: str = "landscape"

    @property
    def is_field(self) -> bool:
        """Whether it is drawn as a relief and a map."""
        return self.kind in cards.FIELDS

    @property
    def version(self) -> str:
        """Changes whenever a point or a checkpoint is committed or the result is written."""
        inside = [self.path / JOURNAL, self.path / RESULT, self.path / FILE] if self.path.is_dir() else []
        files = [*inside, self.path]
        if self.kind == "path":
            files = trail.files(self.path)
        found = []
        for file in files:
            with contextlib.suppress(OSError):
                stat = file.stat()
                found.append(f"{stat.st_mtime_ns}-{stat.st_size}-{stat.st_ino}")
        return hashlib.sha256("|".join(found).encode()).hexdigest()[:16]

    def seen(self) -> tuple[list[xr.Dataset], View]:
        """What is drawn, and how; for an unfinished run, with what is still to come interpolated if that is quick.

        Returns:
            Landscapes, several of seeds on one axis, and the view.

        Raises:
            SpecError: there is no Landscape in it, or it is damaged.
        """
        if self.kind == "path":
            landscape, view = self._trail.seen()
            return [landscape], view
        if self.kind == "seeds":
            from lossatlas.field.uncertainty import Seeds

            shown = Seeds.open(self.path).shown
            return (list(shown) if isinstance(shown, tuple) else [shown]), View()
        if not self.is_field:
            raise SpecError(f"{self.name} is not a Landscape; ask /api/sheet for what it holds")
        found = reading.open(self.path)
        return [preview(found) if found["status"].size <= _PREVIEWED else found], self._view(found)

    def seen_with(self, others: Sequence[Entry]) -> tuple[list[xr.Dataset], View]:
        """Several paths on the surface below this one; see :meth:`~lossatlas.atlas.trail.Trail.with_others`."""
        landscape, view = self._trail.with_others([one._trail for one in others])
        return [landscape], view

    def seen_beside(self, others: Sequence[Entry]) -> tuple[list[xr.Dataset], View]:
        """Several paths in one plane without a surface; see :meth:`~lossatlas.atlas.trail.Trail.beside`."""
        landscape, view = self._trail.beside([one._trail for one in others])
        return [landscape], view

    def small(self) -> tuple[list[xr.Dataset], View]:
        """The same on every n-th point: enough for a thumbnail."""
        if self.kind in ("path", "seeds"):
            return self.seen()
        found = reading.open(self.path)
        steps = {name: slice(None, None, max(1, found.sizes[name] // _SMALL)) for name in found["status"].dims}
        return [preview(found.isel(steps))], self._view(found)

    def _view(self, found: xr.Dataset) -> View:
        """A map of curvature begins with its ratio; on a surface lie the paths and points that its run keeps."""
        value = "ratio" if self.kind == "curvature map" and "ratio" in found else "loss"
        return View(value=value, overlays=kept(self.path))

    @functools.cached_property
    def _trail(self) -> trail.Trail:
        return trail.Trail(self.path, self.name)

    def card(self) -> dict[str, Any]:
        """What the overview says about it."""
        return self._trail.card() if self.kind == "path" else cards.card(self.path, self.name, self.kind)


def named(entries: Sequence[Entry]) -> list[str]:
    """A name for each of several entries: the last part of its path, or all of it if that no longer tells two apart.

    Args:
        entries: different ones.

    Returns:
        As many names, all different.
    """
    short = [entry.name.rpartition("/")[2].removesuffix(".nc") for entry in entries]
    if len(set(short)) == len(short):
        return short
    whole = [entry.name for entry in entries]
    return [
        f"{name} ({entry.id[:4]})" if whole.count(name) > 1 else name
        for name, entry in zip(whole, entries, strict=True)
    ]


class Shelf:
    """The results in some folders.

    Args:
        folders: run folders, files, or folders that hold them.

    Raises:
        SpecError: a folder does not exist.

    Example:
        >>> import tempfile
        >>> Shelf([tempfile.mkdtemp()]).entries()
        []
    """

    def __init__(self, folders: Sequence[str | os.PathLike[str]]) -> None:
        self.roots = [Path(folder).resolve() for folder in folders]
        for given, root in zip(folders, self.roots, strict=True):
            if not root.exists():
                raise SpecError(f"{os.fspath(given)}: no such folder; name a folder of runs, a run or a .nc file")
        self._known: dict[str, Entry] = {}
        self._looked = -math.inf
        self._cards: dict[str, tuple[str, dict[str, Any]]] = {}

    def entries(self) -> list[Entry]:
        """What is there now, each once, in the order of names."""
        found: dict[Path, Entry] = {}
        for root in self.roots:
            for path, kind in _results(root, _DEEP):
                inside = path.resolve()
                if not inside.is_relative_to(root) or len(found) >= _MOST:
                    continue
                name = root.name if inside == root else f"{root.name}/{inside.relative_to(root).as_posix()}"
                number = hashlib.sha256(os.fsencode(inside)).hexdigest()[:12]
                made = Entry(id=number, path=inside, name=name, kind=kind)
                # What has been read of a path is not read again.
                found.setdefault(inside, self._known[number] if self._known.get(number) == made else made)
        self._known = {entry.id: entry for entry in found.values()}
        self._looked = time.monotonic()
        return list(found.values())

    def lately(self) -> list[Entry]:
        """What was there a moment ago: not all folders are searched for each picture of a growing run."""
        return list(self._known.values()) if time.monotonic() - self._looked < _FRESH else self.entries()

    def entry(self, number: str) -> Entry | None:
        """The entry with an id, or nothing: no file path is ever taken from a request."""
        known = self._known.get(number)
        if known is not None and known.path.exists():
            return known
        return next((one for one in self.entries() if one.id == number), None)

    def card(self, entry: Entry) -> dict[str, Any]:
        """What the overview says about an entry; read again only if it has changed."""
        version = entry.version
        known = self._cards.get(entry.id)
        if known is None or known[0] != version:
            known = (version, _told(entry))
            self._cards[entry.id] = known
        about = {"id": entry.id, "name": entry.name, "path": str(entry.path), "version": version, "kind": entry.kind}
        return {**about, "group": str(Path(entry.name).parent), **known[1]}


def _told(entry: Entry) -> dict[str, Any]:
    try:
        return entry.card()
    except (SpecError, OSError, ValueError, KeyError, IndexError, OverflowError) as fault:
        return {"title": entry.name, "fault": str(fault), "changed": 0.0}


def _results(root: Path, deep: int) -> Iterator[tuple[Path, str]]:
    """Results below a folder, each with its kind; what cannot be read is skipped."""
    if root.is_file():
        if root.suffix.lower() == ".nc":
            yield root, "landscape"
        elif root.suffix.lower() == ".json" and cards.is_flatness(root):
            yield root, "flatness"
        return
    kind = _kind(root)
    if kind:
        yield root, kind
    if deep == 0 or (kind and kind not in _OPEN):
        return
    with contextlib.suppress(OSError):
        for child in sorted(root.iterdir()):
            if not child.name.startswith(".") and not child.is_symlink():
                yield from _results(child, deep - 1)


def _kind(folder: Path) -> str:
    """What a folder holds; empty where it is only a folder."""
    if (folder / cards.FINDINGS).is_file():
        return "study"
    try:
        found = kind_of(folder)
    except SpecError:  # a kind that this version does not know: its card says so
        return "landscape"
    except OSError:
        return ""
    return found.name if found else ""
