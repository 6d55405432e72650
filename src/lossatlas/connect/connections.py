"""How is what was found between two networks kept? As several paths, each a run folder, and the words about them.

A folder of :func:`lossatlas.connect` holds a run folder for each way (``line``, ``curve``), the training of the curve,
and ``connection.json``, which names the ways for pictures. ``lossatlas connect`` adds the line before an alignment and
the surface through both networks (``plane``), with what is drawn on it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from lossatlas import checksum
from lossatlas.atomic import write_text
from lossatlas.connect.barriers import CAVEAT
from lossatlas.draw import captions
from lossatlas.draw.view import ScaleOption
from lossatlas.errors import SpecError, unknown
from lossatlas.field.ways import misfit
from lossatlas.figure.kept import content_of, overlay_of
from lossatlas.figure.overlays import Overlay
from lossatlas.figure.plot import Mark, Panel, Plot, Series, onto
from lossatlas.figure.words import SCALES, capital
from lossatlas.oneline import one_line
from lossatlas.results.opening import kind_of, name_kind
from lossatlas.results.reading import read
from lossatlas.untrusted import bare_name, json_object, reading, shown

__all__ = ["CONNECTION", "PLANE", "Ways", "caption", "folder_for", "note", "opened", "overlays_of", "plot"]

CONNECTION, PLANE = "connection.json", "plane"
FORMAT = 2
"""Since version 0.2; a file of version 0.1 names no format and has no checksum."""


@dataclass(frozen=True, kw_only=True)
class Ways:
    """What the folder of a connection holds.

    Attributes:
        folder: where it is.
        title: heading of its picture.
        caption: the text below it.
        barriers: the barrier of each way in words, by the words of the way.
        folders: the run folder of each way, by its words.
        landscapes: loss and metrics along each way, by its words.
        upon: what is drawn on the surface through both networks.
        surface: that surface, where it was measured.
    """

    folder: Path
    title: str
    caption: tuple[str, ...]
    barriers: Mapping[str, str]
    folders: Mapping[str, Path]
    landscapes: Mapping[str, xr.Dataset]
    upon: tuple[Overlay, ...] = ()
    surface: xr.Dataset | None = None

    __repr__ = one_line

    @property
    def words(self) -> str:
        """The barrier of each way, in sentences."""
        return " ".join(f"{capital(way)}: {said}." for way, said in self.barriers.items())

    def plot(self, value: str = "loss", ax: Any = None, *, scale: ScaleOption = "auto") -> Plot:
        """All ways on one picture.

        Args:
            value: the loss, or a metric.
            scale: as for :func:`plot`.
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.

        Raises:
            SpecError: there is no such value or scale.
        """
        return onto(ax, plot(self.landscapes, title=self.title, caption=self.caption, value=value, scale=scale))


def folder_for(path: str | os.PathLike[str]) -> Path:
    """A folder for what is found between two networks, created if missing.

    Returns:
        The folder.

    Raises:
        SpecError: it holds a result of another kind.
        OSError: it cannot be made.
    """
    folder = Path(path)
    name_kind(folder, "connection")
    return folder


def note(
    folder: Path,
    ways: Mapping[str, str],
    *,
    title: str,
    caption: Sequence[str],
    barriers: Mapping[str, str] | None = None,
    upon: Sequence[Overlay] | None = None,
) -> None:
    """Record what the ways of a folder are.

    Args:
        folder: where they lie.
        ways: their words, by name of the run folder.
        title: heading of their picture.
        caption: sentences below it.
        barriers: the barrier of each in words, by the words of the way.
        upon: paths and points that are drawn on the surface; by default those that the folder has.
    """
    drawn = [content_of(overlay) for overlay in (_upon(folder) if upon is None else upon)]
    content = {"title": title, "ways": dict(ways), "caption": list(caption), "barriers": dict(barriers or {})}
    write_text(folder / CONNECTION, checksum.sealed({"format": FORMAT, **content, "upon": drawn}))


def caption(
    heights: str, said: Sequence[str], ways: Sequence[xr.Dataset], notes: Sequence[str] = ()
) -> tuple[str, ...]:
    """What is said below a picture of ways: their barriers and BatchNorm's statistics, and what they do not prove.

    Args:
        heights: the barriers of all, in a sentence.
        said: what is said of each.
        ways: the Landscapes along them.
        notes: what else is said.

    Returns:
        Sentences; a short caption has the first, and the last as far as there is room.
    """
    statistics = captions.statistics(ways)
    of = f"{heights} {statistics}." if statistics else heights
    return tuple(filter(None, (of, *said, CAVEAT, *notes, misfit(ways))))


def _upon(folder: Path) -> list[Overlay]:
    """What a folder has so far for its surface; nothing if it records nothing, or is damaged."""
    with contextlib.suppress(SpecError):
        return [overlay_of(one) for one in _known(folder)["upon"]]
    return []


def opened(path: str | os.PathLike[str]) -> Ways:
    """What the folder of a connection holds.

    Args:
        path: the folder.

    Returns:
        Its ways, the words about them, and the surface.

    Raises:
        SpecError: the folder holds none, or a file is damaged.
    """
    folder = Path(path)
    content = _known(folder)
    folders = {words: folder / name for name, words in content["ways"].items()}
    return Ways(
        folder=folder,
        title=content["title"],
        caption=tuple(content["caption"]),
        barriers=content["barriers"],
        folders=folders,
        landscapes={words: read(place) for words, place in folders.items()},
        upon=tuple(map(overlay_of, content["upon"])),
        surface=read(folder / PLANE) if (folder / PLANE).is_dir() else None,
    )


def _known(folder: Path) -> dict[str, Any]:
    """The words about the ways of a folder."""
    file = folder / CONNECTION
    again = f"run lossatlas connect --run {shown(folder)} again"
    if not file.exists():
        raise SpecError(f"{shown(folder)} holds no finished path between two networks; {again} to continue")
    content = json_object(file, "the paths between two networks")
    try:
        content = checksum.verified(content, file, required=content.get("format") == FORMAT)
    except SpecError as fault:
        raise SpecError(f"{fault}; {again}") from fault
    with reading(file, "the paths between two networks", again):
        found = {name: content[name] for name in ("title", "ways", "caption", "barriers", "upon")}
        ways, barriers, caption = found["ways"], found["barriers"], found["caption"]
        words = [found["title"], *ways.values(), *barriers, *barriers.values(), *caption]
        if not isinstance(caption, list) or not all(isinstance(text, str) for text in words):
            raise SpecError(f"{shown(file)} is damaged: titles and captions must be texts; {again}")
        for name in ways:
            bare_name(name, file)
        for one in found["upon"]:
            overlay_of(one)
    return found


def overlays_of(path: str | os.PathLike[str]) -> list[Overlay]:
    """What is drawn on a surface: for ``plane`` in a folder of ways the curve and both networks, otherwise nothing."""
    folder = Path(path)
    above = kind_of(folder.parent) if folder.name == PLANE else None
    if above is None or above.name != "connection":
        return []
    return [overlay_of(one) for one in _known(folder.parent)["upon"]]


def plot(
    ways: Mapping[str, Any], *, title: str, caption: tuple[str, ...], value: str = "loss", scale: ScaleOption = "auto"
) -> Plot:
    """Several ways between the same two networks on one picture; one that lies on another is dashed.

    Args:
        ways: Landscapes with the axis x, by the words of the key.
        title: heading.
        caption: sentences below.
        value: which variable.
        scale: "linear", also for "auto", since the barrier is what counts; or "log", symmetric where a value is zero or
            negative, which the caption then says.

    Returns:
        The plot.

    Raises:
        SpecError: there is no such value or scale.
    """
    if scale not in get_args(ScaleOption):
        raise SpecError(unknown("scale", scale, get_args(ScaleOption)))
    for words, way in ways.items():
        if value not in way:
            raise SpecError(f"value={value!r}: the {words} has none; it was measured without this metric")
    series: list[Series] = []
    for words, way in ways.items():
        at, height = way["x"].values, way[value].values
        hides = any(len(at) == len(one.x) and np.allclose(height, one.y, rtol=0.01) for one in series)
        series.append(Series(x=at, y=height, label=words, style="line", color=len(series), dashed=hides))
    marks = [Mark(x=0.0, label="first network"), Mark(x=1.0, label="second network")]
    drawn, why = _scale(np.concatenate([one.y for one in series]), scale)
    panel = Panel(series=series, x_label="fraction of the way", y_label=value, y_scale=drawn, marks=marks)
    return Plot(panels=[panel], title=title, caption=(*caption[:1], *why, *caption[1:]))


def _scale(values: np.ndarray, scale: ScaleOption) -> tuple[Literal["linear", "log", "symlog"], tuple[str, ...]]:
    """The scale of a panel, and why where it is not the one asked for."""
    if scale != "log":
        return "linear", ()
    finite = values[np.isfinite(values)]
    if len(finite) and finite.min() > 0:
        return "log", ()
    return "symlog", (f"{capital(SCALES['symlog'])}: values at or below zero have no logarithm.",)
