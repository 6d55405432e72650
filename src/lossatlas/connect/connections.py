"""How what was found between two networks is kept: several ways, each a run folder, and what is said of them together.

A folder of :func:`lossatlas.connect` holds a run folder for each way (``line``, ``curve``), the training of the curve,
and ``connection.json``, which names the ways for pictures. ``lossatlas connect`` adds the line before an alignment and
the surface through both networks (``plane``), with what is drawn upon it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lossatlas.atomic import write_text
from lossatlas.errors import SpecError
from lossatlas.figure import overlays
from lossatlas.figure.overlays import Overlay
from lossatlas.figure.plot import Mark, Panel, Plot, Series
from lossatlas.results.reading import read
from lossatlas.results.store import SPEC
from lossatlas.untrusted import bare_name, json_object, reading, shown

__all__ = ["CONNECTION", "PLANE", "folder_for", "is_connection", "known", "note", "overlays_of", "plot", "ways_of"]

CONNECTION, PLANE = "connection.json", "plane"
_KINDS = {"Path": overlays.Path, "Points": overlays.Points}


def is_connection(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds what was found between two networks."""
    return (Path(path) / CONNECTION).is_file()


def folder_for(path: str | os.PathLike[str]) -> Path:
    """A folder for what is found between two networks, made where it is missing.

    Returns:
        The folder.

    Raises:
        SpecError: it holds a run of another kind.
        OSError: it cannot be made.
    """
    folder = Path(path)
    if (folder / SPEC).exists():
        raise SpecError(f"{folder} is the folder of a run on a grid; choose another one for what lies between networks")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def note(
    folder: Path,
    ways: Mapping[str, str],
    *,
    title: str,
    caption: Sequence[str],
    barriers: Mapping[str, str] | None = None,
    upon: Sequence[Overlay] = (),
) -> None:
    """Say what the ways of a folder are.

    Args:
        folder: where they lie.
        ways: their words, by name of the run folder.
        title: heading of their picture.
        caption: sentences below it.
        barriers: the barrier of each in words, by the words of the way.
        upon: paths and points that are drawn upon the surface.
    """
    shown = [{"kind": type(overlay).__name__, **_plain(vars(overlay))} for overlay in upon]
    content = {"title": title, "ways": dict(ways), "caption": list(caption), "barriers": dict(barriers or {})}
    write_text(folder / CONNECTION, json.dumps({**content, "upon": shown}, indent=2, ensure_ascii=False))


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}


def known(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What is said of the ways of a folder.

    Returns:
        The content of the file of ways.

    Raises:
        SpecError: the folder holds none, or the file is damaged.
    """
    file = Path(path) / CONNECTION
    again = f"run lossatlas connect --run {shown(path)} again"
    content = json_object(file, "the ways between two networks")
    with reading(file, "the ways between two networks", again):
        found = {name: content[name] for name in ("title", "ways", "caption", "barriers", "upon")}
        ways, barriers, caption = found["ways"], found["barriers"], found["caption"]
        words = [found["title"], *ways.values(), *barriers, *barriers.values(), *caption]
        if not isinstance(caption, list) or not all(isinstance(text, str) for text in words):
            raise SpecError(f"{shown(file)} is damaged: titles and captions must be texts; {again}")
        for name in ways:
            bare_name(name, file)
        for one in found["upon"]:
            _overlay(one)
    return found


def _overlay(one: Mapping[str, Any]) -> Overlay:
    made: Overlay = _KINDS[one["kind"]](**{key: value for key, value in one.items() if key != "kind"})
    return made


def ways_of(path: str | os.PathLike[str], value: str = "loss") -> Plot:
    """All ways of a folder on one picture.

    Args:
        path: the folder.
        value: the loss, or a metric.

    Returns:
        The plot.

    Raises:
        SpecError: the folder holds no ways.
    """
    content = known(path)
    ways = {words: read(Path(path) / name) for name, words in content["ways"].items()}
    return plot(ways, title=content["title"], caption=tuple(content["caption"]), value=value)


def overlays_of(path: str | os.PathLike[str]) -> list[Overlay]:
    """What is drawn upon a surface: for ``plane`` in a folder of ways the curve and both networks, else nothing."""
    folder = Path(path)
    if folder.name != PLANE or not is_connection(folder.parent):
        return []
    told = known(folder.parent)["upon"]
    return [_overlay(one) for one in told]


def plot(ways: Mapping[str, Any], *, title: str, caption: tuple[str, ...], value: str = "loss") -> Plot:
    """Several ways between the same two networks on one picture.

    Args:
        ways: Landscapes with the axis x, by the words of the key.
        title: heading.
        caption: sentences below.
        value: which variable.

    Returns:
        The plot.

    Raises:
        SpecError: there is no such value.
    """
    for words, way in ways.items():
        if value not in way:
            raise SpecError(f"value={value!r}: the {words} has none; it was measured without this metric")
    series = [
        Series(x=way["x"].values, y=way[value].values, label=words, style="line", color=i)
        for i, (words, way) in enumerate(ways.items())
    ]
    marks = [Mark(x=0.0, label="first network"), Mark(x=1.0, label="second network")]
    panel = Panel(series=series, x_label="share of the way", y_label=value, marks=marks)
    return Plot(panels=[panel], title=title, caption=caption)
