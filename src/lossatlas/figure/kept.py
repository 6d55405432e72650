"""Which paths and points belong to a run, so that every picture of its folder shows them? See ``overlays.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lossatlas import checksum
from lossatlas.atomic import write_text
from lossatlas.errors import SpecError, unknown
from lossatlas.figure import overlays
from lossatlas.figure.overlays import Overlay
from lossatlas.untrusted import json_object, reading

__all__ = ["FILE", "content_of", "keep", "kept", "overlay_of"]

FILE = "overlays.json"

_KINDS = {"Path": overlays.Path, "Points": overlays.Points}


def content_of(overlay: Overlay) -> dict[str, Any]:
    """A path or points as JSON values.

    Args:
        overlay: a path or points; regions follow from the field and are not kept.

    Returns:
        What :func:`overlay_of` reads.

    Raises:
        SpecError: it is of another kind.
    """
    kind = type(overlay).__name__
    if kind not in _KINDS:
        raise SpecError(unknown("kind of overlay to keep", kind, _KINDS))
    return {"kind": kind, **{name: _plain(value) for name, value in vars(overlay).items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(row) for name, row in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def overlay_of(content: Mapping[str, Any]) -> Overlay:
    """The path or the points that JSON values describe.

    Args:
        content: as :func:`content_of` gives it.

    Returns:
        The overlay.

    Raises:
        SpecError: another kind, or values that do not describe one.
    """
    if content.get("kind") not in _KINDS:
        raise SpecError(unknown("kind", content.get("kind"), _KINDS))
    made: Overlay = _KINDS[content["kind"]](**{key: value for key, value in content.items() if key != "kind"})
    return made


def keep(run: str | os.PathLike[str], upon: Sequence[Overlay]) -> Path:
    """Put paths and points into a run folder, replacing any that are there; ``lossatlas draw RUN`` draws them.

    Args:
        run: the folder of :func:`lossatlas.sample`.
        upon: paths and points in the plane of the run.

    Returns:
        The file.

    Raises:
        SpecError: there is no such folder, or an overlay is of another kind.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> _ = keep(folder, [overlays.Points(x=[0.5], y=[0.2], words=["A"])])
        >>> kept(folder)[0].words
        ['A']
    """
    folder = Path(run)
    if not folder.is_dir():
        raise SpecError(f"{folder} is not a run folder; sample with run={str(folder)!r} first")
    write_text(folder / FILE, checksum.sealed({"upon": [content_of(one) for one in upon]}, ascii=False))
    return folder / FILE


def kept(run: str | os.PathLike[str]) -> list[Overlay]:
    """What :func:`keep` put there.

    Args:
        run: a folder, or anything else, which has none.

    Returns:
        The overlays.

    Raises:
        SpecError: the file is damaged.
    """
    file = Path(run) / FILE
    if not file.is_file():
        return []
    content = checksum.verified(json_object(file, "overlays of a run"), file, required=True)
    with reading(file, "overlays of a run"):
        return [overlay_of(one) for one in content["upon"]]
