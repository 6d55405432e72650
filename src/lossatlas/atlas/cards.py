"""What does the overview say about a result, without reading more of it than it must?"""

from __future__ import annotations

import contextlib
import math
import sqlite3
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lossatlas.oneline import number_of
from lossatlas.results.landscape import Status
from lossatlas.results.opening import KINDS
from lossatlas.results.spec import RunSpec
from lossatlas.results.store import JOURNAL, RESULT, SPEC
from lossatlas.untrusted import json_object, printable

__all__ = ["FIELDS", "FINDINGS", "card", "counts", "is_flatness"]

FIELDS = ("landscape", "curvature map", "seeds", "path")
"""Kinds that are drawn as a relief and a map, or as lines."""

FINDINGS = "findings.json"
"""What the folder of a study holds."""


def card(path: Path, name: str, kind: str) -> dict[str, Any]:
    """What is said about a result.

    Args:
        path: where it is.
        name: what it is called if it has no title.
        kind: its kind.

    Returns:
        Title, what was measured, how far it is.

    Raises:
        SpecError: it is damaged.
        OSError: it cannot be read.
    """
    if kind == "study":
        return _of_study(path)
    if kind == "seeds":
        return _of_seeds(path)
    if kind in FIELDS:
        return _of_run(path) if path.is_dir() else _of_file(path, name)
    held = {"connection": "connection.json", "numbers": "numbers.json"}
    changed = (path / held[kind] if path.is_dir() else path).stat().st_mtime
    return {"title": name, "words": KINDS[kind].words, "finished": True, "changed": changed}


def counts(path: Path, spec: RunSpec) -> dict[str, int]:
    """How many cells of a run there are of each status, and in all."""
    found = {"total": math.prod(spec.shape), "done": 0, "failed": 0, "non_finite": 0}
    with (
        contextlib.suppress(sqlite3.DatabaseError),
        contextlib.closing(sqlite3.connect(f"file:{path / JOURNAL}?mode=ro", uri=True, timeout=5)) as journal,
    ):
        for status, count in journal.execute("SELECT status, count(*) FROM points GROUP BY status"):
            found["done"] += count
            if status in (Status.FAILED, Status.NON_FINITE):
                found[Status(status).name.lower()] += count
    return found


def is_flatness(path: Path) -> bool:
    """Whether a file is a table of measures of flatness, as its first lines say."""
    try:
        with path.open("rb") as file:
            return b'"kind": "flatness"' in file.read(200)
    except OSError:
        return False


def _of_run(path: Path) -> dict[str, Any]:
    spec = RunSpec.from_json((path / SPEC).read_text(encoding="utf-8"), path / SPEC)
    about = spec.about
    newest = max((path / name).stat().st_mtime for name in (SPEC, JOURNAL) if (path / name).exists())
    return {
        "title": about.title,
        "model": about.model,
        "data": about.data,
        "seed": "" if about.seed is None else str(about.seed),
        "axes": {name: len(axis.coordinates) for name, axis in spec.axes.items()},
        "values": list(spec.values),
        "counts": counts(path, spec),
        "finished": (path / RESULT).is_file(),
        "changed": newest,
        **(_range(path / RESULT) if (path / RESULT).is_file() else {}),
    }


def _of_seeds(path: Path) -> dict[str, Any]:
    each = [_of_run(one) for one in sorted(path.glob("seed-*")) if (one / SPEC).is_file()]
    summed = {name: sum(one["counts"][name] for one in each) for name in each[0]["counts"]}
    return {
        **each[0],
        "seed": ", ".join(one["seed"] for one in each),
        "counts": summed,
        "finished": all(one["finished"] for one in each),
        "changed": max(one["changed"] for one in each),
        "words": number_of(len(each), "seed"),
    }


def _of_study(path: Path) -> dict[str, Any]:
    found = json_object(path / FINDINGS, "the findings of a study")
    verdicts = [one for one in found.get("verdicts", []) if isinstance(one, dict)]
    words = f"{verdicts[0].get('word', '')}: {verdicts[0].get('claim', '')}" if verdicts else ""
    title = printable(str(found.get("title") or found.get("study") or path.name))
    changed = (path / FINDINGS).stat().st_mtime
    return {"title": title, "words": printable(words), "finished": True, "changed": changed}


def _of_file(path: Path, name: str) -> dict[str, Any]:
    with h5py.File(path) as found:
        status = found["status"]
        kinds = {key: _text(array.attrs.get("kind")) for key, array in found.items()}
        names = [Path(status.dims[n][0].name).name for n in range(status.ndim)]
        total = int(status.size)
        return {
            "title": _text(found.attrs.get("title")) or name,
            **{key: _text(found.attrs.get(key)) for key in ("model", "data", "seed")},
            "axes": dict(zip(names, map(int, status.shape), strict=True)),
            "values": [key for key, kind in kinds.items() if kind in ("loss", "metric")],
            "counts": {"total": total, "done": total, "failed": 0, "non_finite": 0},
            "finished": True,
            "changed": path.stat().st_mtime,
            **_range(path),
        }


def _range(path: Path) -> dict[str, Any]:
    """The smallest and the largest finite loss; :mod:`lossatlas.atlas.rugged` adds how rugged it is."""
    with contextlib.suppress(OSError, KeyError, ValueError, TypeError), h5py.File(path) as found:
        loss = found["loss"][()]
        finite = loss[loss == loss]
        finite = finite[abs(finite) < math.inf]
        if finite.size:
            return {"range": [float(finite.min()), float(finite.max())]}
    return {}


def _text(attribute: Any) -> str:
    if isinstance(attribute, np.ndarray):  # netCDF stores numbers as arrays of length one
        return ", ".join(map(_text, attribute.ravel()))
    return attribute.decode() if isinstance(attribute, bytes) else "" if attribute is None else str(attribute)
