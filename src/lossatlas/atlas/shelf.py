"""Which results lie in the folders that were named, and what is each? Nothing else is ever opened."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.results import reading
from lossatlas.results.landscape import Status
from lossatlas.results.spec import RunSpec
from lossatlas.results.store import JOURNAL, RESULT, SPEC
from lossatlas.sampling.filling import preview

__all__ = ["Entry", "Shelf"]

_DEEP = 4
_MOST = 2000
_SMALL = 40
# Interpolating what is still to come takes longer than it helps on larger planes.
_PREVIEWED = 20_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run folder or a file that may be served.

    Attributes:
        id: what the page calls it: says nothing of where it lies.
        path: where it lies.
        name: its path below the folder that was named.
    """

    id: str
    path: Path
    name: str

    @property
    def version(self) -> str:
        """Changes whenever a point is committed or the result is written."""
        files = [self.path / JOURNAL, self.path / RESULT, self.path] if self.path.is_dir() else [self.path]
        found = []
        for file in files:
            with contextlib.suppress(OSError):
                stat = file.stat()
                found.append(f"{stat.st_mtime_ns}-{stat.st_size}-{stat.st_ino}")
        return hashlib.sha256("|".join(found).encode()).hexdigest()[:16]

    def landscape(self) -> xr.Dataset:
        """The Landscape; of a run that is not finished, with what is to come interpolated where that is quick."""
        found = reading.open(self.path)
        return preview(found) if found["status"].size <= _PREVIEWED else found

    def small(self) -> xr.Dataset:
        """The same on every so many points: enough for a picture of the size of a thumb."""
        found = reading.open(self.path)
        steps = {name: slice(None, None, max(1, found.sizes[name] // _SMALL)) for name in found["status"].dims}
        return preview(found.isel(steps))

    def counts(self) -> dict[str, int]:
        """How many cells there are of each status, and in all."""
        spec = RunSpec.from_json((self.path / SPEC).read_text(encoding="utf-8"), self.path / SPEC)
        found = {"total": math.prod(spec.shape), "done": 0, "failed": 0, "non_finite": 0}
        with (
            contextlib.suppress(sqlite3.DatabaseError),
            contextlib.closing(sqlite3.connect(f"file:{self.path / JOURNAL}?mode=ro", uri=True, timeout=5)) as journal,
        ):
            for status, count in journal.execute("SELECT status, count(*) FROM points GROUP BY status"):
                found["done"] += count
                if status in (Status.FAILED, Status.NON_FINITE):
                    found[Status(status).name.lower()] += count
        return found


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
        self._cards: dict[str, tuple[str, dict[str, Any]]] = {}

    def entries(self) -> list[Entry]:
        """What is there now, each once, in the order of names."""
        found: dict[Path, Entry] = {}
        for root in self.roots:
            for path in _results(root, _DEEP):
                inside = path.resolve()
                if not inside.is_relative_to(root) or len(found) >= _MOST:
                    continue
                name = root.name if inside == root else f"{root.name}/{inside.relative_to(root).as_posix()}"
                number = hashlib.sha256(os.fsencode(inside)).hexdigest()[:12]
                found.setdefault(inside, Entry(id=number, path=inside, name=name))
        self._known = {entry.id: entry for entry in found.values()}
        return list(found.values())

    def entry(self, number: str) -> Entry | None:
        """The entry with an id, or nothing: a path is never taken from a request."""
        known = self._known.get(number)
        if known is not None and known.path.exists():
            return known
        return next((one for one in self.entries() if one.id == number), None)

    def card(self, entry: Entry) -> dict[str, Any]:
        """What the overview says of an entry; read again only where it has changed."""
        version = entry.version
        known = self._cards.get(entry.id)
        if known is None or known[0] != version:
            known = (version, _card(entry))
            self._cards[entry.id] = known
        return {"id": entry.id, "name": entry.name, "path": str(entry.path), "version": version, **known[1]}


def _results(root: Path, deep: int) -> Iterator[Path]:
    """Run folders and files below a folder; what cannot be read is passed over."""
    if root.is_file():
        if root.suffix.lower() == ".nc":
            yield root
        return
    if (root / SPEC).is_file():
        yield root
        return
    if deep == 0:
        return
    with contextlib.suppress(OSError):
        for child in sorted(root.iterdir()):
            if not child.name.startswith(".") and not child.is_symlink():
                yield from _results(child, deep - 1)


def _card(entry: Entry) -> dict[str, Any]:
    try:
        return _of_run(entry) if entry.path.is_dir() else _of_file(entry)
    except (SpecError, OSError, ValueError, KeyError, IndexError) as fault:
        return {"title": entry.name, "fault": str(fault), "changed": 0.0}


def _of_run(entry: Entry) -> dict[str, Any]:
    spec = RunSpec.from_json((entry.path / SPEC).read_text(encoding="utf-8"), entry.path / SPEC)
    counts = entry.counts()
    about = spec.about
    newest = max((entry.path / name).stat().st_mtime for name in (SPEC, JOURNAL) if (entry.path / name).exists())
    return {
        "title": about.title,
        "model": about.model,
        "data": about.data,
        "seed": "" if about.seed is None else str(about.seed),
        "axes": {name: len(axis.coordinates) for name, axis in spec.axes.items()},
        "values": list(spec.values),
        "counts": counts,
        "finished": (entry.path / RESULT).is_file(),
        "changed": newest,
    }


def _of_file(entry: Entry) -> dict[str, Any]:
    with h5py.File(entry.path) as found:
        status = found["status"]
        kinds = {name: _text(array.attrs.get("kind")) for name, array in found.items()}
        names = [Path(status.dims[n][0].name).name for n in range(status.ndim)]
        total = int(status.size)
        return {
            "title": _text(found.attrs.get("title")) or entry.name,
            **{name: _text(found.attrs.get(name)) for name in ("model", "data", "seed")},
            "axes": dict(zip(names, map(int, status.shape), strict=True)),
            "values": [name for name, kind in kinds.items() if kind in ("loss", "metric")],
            "counts": {"total": total, "done": total, "failed": 0, "non_finite": 0},
            "finished": True,
            "changed": entry.path.stat().st_mtime,
        }


def _text(attribute: Any) -> str:
    return attribute.decode() if isinstance(attribute, bytes) else "" if attribute is None else str(attribute)
