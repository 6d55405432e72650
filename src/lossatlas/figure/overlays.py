"""What is drawn on a field: a path, points, regions; where they lie and what they are called, not how they look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_kind, described_type
from lossatlas.figure.words import number
from lossatlas.oneline import number_of, one_line
from lossatlas.untrusted import printable_fields

__all__ = ["Overlay", "Path", "Points", "Regions", "Symbol", "borders", "check", "outside"]

Symbol = Literal["circle", "triangle", "square", "cross"]

_HEAD = 0.04
"""How long the head of an arrow is, as a share of the extent of its path."""


@dataclass(frozen=True, kw_only=True)
class Path:
    """A line through the plane, such as the path of a training run.

    Attributes:
        x: float64 [n], along the first axis, in multiples of its direction.
        y: float64 [n], along the second axis.
        label: its label in the legend; empty for none.
        words: ``(index, text)``: what is written beside some of its points, such as an epoch.
        dots: whether its points are marked.
        arrows: at which of its points an arrow shows the direction, such as where the learning rate falls.
        note: a sentence for the caption.
        panel: number of the panel it belongs to; by default all.
        along: further numbers at every point, float64 [n] by what they are, as "epoch" or "loss of the network"; the
            page in the browser shows them.

    Example:
        >>> Path(x=[0, 1], y=[0, 1], label="training").x.tolist()
        [0.0, 1.0]
    """

    x: np.ndarray
    y: np.ndarray
    label: str = ""
    words: Sequence[tuple[int, str]] = ()
    dots: bool = True
    arrows: Sequence[int] = ()
    note: str = ""
    panel: int | None = None
    along: Mapping[str, np.ndarray] = field(default_factory=dict)

    __repr__ = one_line

    def __post_init__(self) -> None:
        _as_points(self)
        numbers = {name: np.asarray(row, dtype=np.float64).reshape(-1) for name, row in self.along.items()}
        object.__setattr__(self, "along", numbers)
        for name, row in numbers.items():
            if len(row) != len(self.x):
                raise SpecError(
                    f"path {self.label!r}: along[{name!r}] has {number_of(len(row), 'number')} for "
                    f"{number_of(len(self.x), 'point')}"
                )
        for what, places in (("words", [index for index, _ in self.words]), ("arrows", self.arrows)):
            if any(not 0 <= index < len(self.x) for index in places):
                raise SpecError(f"path {self.label!r}: {what} must be at points 0 to {len(self.x) - 1}")

    @property
    def heads(self) -> np.ndarray:
        """float64 [arrows, 2, 2]: where the head of each arrow begins and ends, (x, y); it ends at its point.

        It begins a little back on the way, so that it shows where the path goes and not how its last small step turns.
        Where the path has not moved there is none.
        """
        places, found = np.column_stack([self.x, self.y]), []
        way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(places, axis=0), axis=1))])
        for index in self.arrows:
            back = max(way[index] - _HEAD * np.ptp(places, axis=0).max(), 0.0)
            start = np.array([np.interp(back, way, part) for part in places.T])
            if (start != places[index]).any():
                found.append((start, places[index]))
        return np.asarray(found, dtype=np.float64).reshape(-1, 2, 2)


@dataclass(frozen=True, kw_only=True)
class Points:
    """Single places, such as minima and saddles.

    Attributes:
        x: float64 [n], along the first axis, in multiples of its direction.
        y: float64 [n], along the second axis.
        label: their label in the legend; empty for none.
        words: what is written beside each; empty for nothing.
        symbol: "circle", "triangle", "square" or "cross".
        note: a sentence for the caption.
        panel: number of the panel they belong to; by default all.
    """

    x: np.ndarray
    y: np.ndarray
    label: str = ""
    words: Sequence[str] = ()
    symbol: Symbol = "circle"
    note: str = ""
    panel: int | None = None

    __repr__ = one_line

    def __post_init__(self) -> None:
        _as_points(self)
        if self.symbol not in get_args(Symbol):
            raise SpecError(unknown("symbol", self.symbol, get_args(Symbol)))
        printable_fields(self, *(["words"] if isinstance(self.words, (list, tuple)) else []))
        if self.words and len(self.words) != len(self.x):
            raise SpecError(
                f"points {self.label!r}: {number_of(len(self.words), 'word')} for {number_of(len(self.x), 'point')}"
            )


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Parts of the plane, each a set of cells, such as the basins of minima.

    Attributes:
        cells: int64 [n, m], the number of the region of each cell, -1 for none; n along the first axis.
        label: their label in the legend; empty for none.
        note: a sentence for the caption.
        panel: number of the panel they belong to; by default all.
    """

    cells: np.ndarray
    label: str = ""
    note: str = ""
    panel: int | None = None

    __repr__ = one_line

    def __post_init__(self) -> None:
        cells = np.asarray(self.cells)
        if cells.ndim != 2 or not np.issubdtype(cells.dtype, np.integer):
            raise SpecError(f"regions {self.label!r}: cells is {cells.dtype} {list(cells.shape)}; expected int [n, m]")
        object.__setattr__(self, "cells", cells)


Overlay = Path | Points | Regions


def _as_points(overlay: Path | Points) -> None:
    printable_fields(overlay, "label", "note")
    for name in ("x", "y"):
        object.__setattr__(overlay, name, np.asarray(getattr(overlay, name), dtype=np.float64).reshape(-1))
    if len(overlay.x) != len(overlay.y):
        raise SpecError(f"{overlay.label!r}: x has {number_of(len(overlay.x), 'point')} and y has {len(overlay.y)}")


def check(overlays: Sequence[Overlay], shapes: Sequence[tuple[int, ...]]) -> tuple[Overlay, ...]:
    """Check that overlays fit the panels.

    Args:
        overlays: what is drawn on them.
        shapes: number of cells along the axes of each panel.

    Returns:
        The same overlays, as a tuple.

    Raises:
        SpecError: something is not an overlay, there is no such panel, or regions have a shape other than their
            panel's.

    Example:
        >>> check([Regions(cells=np.zeros((2, 2), int))], [(3, 2)])
        Traceback (most recent call last):
        ...
        lossatlas.errors.SpecError: overlays: regions '' have shape [2, 2] and the panel has [3, 2]
    """
    check_kind("overlays", overlays, Sequence, "a list of Path, Points and Regions of lossatlas.figure.overlays")
    for overlay in overlays:
        if not isinstance(overlay, (Path, Points, Regions)):
            raise SpecError(f"overlays holds {described_type(overlay)}; expected Path, Points or Regions")
        if any(len(shape) != 2 for shape in shapes) or not shapes:
            raise SpecError("overlays: only pictures with two axes can have them")
        if overlay.panel is not None and not 0 <= overlay.panel < len(shapes):
            raise SpecError(f"overlays: panel={overlay.panel}; the picture has panels 0 to {len(shapes) - 1}")
        under = shapes if overlay.panel is None else [shapes[overlay.panel]]
        if isinstance(overlay, Regions):
            for shape in under:
                if overlay.cells.shape != shape:
                    raise SpecError(
                        f"overlays: regions {overlay.label!r} have shape {list(overlay.cells.shape)} "
                        f"and the panel has {list(shape)}"
                    )
    return tuple(overlays)


def outside(overlays: Sequence[Overlay], x: tuple[float, float], y: tuple[float, float]) -> str:
    """What a picture cannot show, in a sentence.

    Args:
        overlays: what is drawn on it.
        x: the first axis, from low to high.
        y: the second.

    Returns:
        The sentence; empty where everything lies within.

    Example:
        >>> outside([Points(x=[0.0, 3.0], y=[0.0, 0.5], words=["A", "B"])], (-1, 1), (-1, 1))
        'Outside the picture: B at (3, 0.5).'
    """
    said = []
    for overlay in overlays:
        if isinstance(overlay, Regions):
            continue
        beyond = (overlay.x < x[0]) | (overlay.x > x[1]) | (overlay.y < y[0]) | (overlay.y > y[1])
        if isinstance(overlay, Path):
            part = f"{int(beyond.sum())} of {len(beyond)} points of {overlay.label or 'a path'}"
            said += [part] if beyond.any() else []
            continue
        names = overlay.words or [overlay.label or "a point"] * len(beyond)
        places = zip(names, overlay.x, overlay.y, beyond, strict=True)
        said += [f"{name or 'a point'} at ({number(a)}, {number(b)})" for name, a, b, far in places if far]
    return f"Outside the picture: {'; '.join(said)}." if said else ""


def borders(cells: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lines between regions.

    Args:
        cells: int [n, m], number of the region of each cell.
        x: float64 [n + 1], borders of the cells along the first axis.
        y: float64 [m + 1], along the second axis.

    Returns:
        Coordinates of short pieces with NaN between them.

    Example:
        >>> borders(np.array([[0], [1]]), np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0]))
        (array([ 1.,  1., nan]), array([ 0.,  1., nan]))
    """
    i, j = np.nonzero(cells[1:] != cells[:-1])
    upright = [(x[i + 1], x[i + 1]), (y[j], y[j + 1])]
    k, q = np.nonzero(cells[:, 1:] != cells[:, :-1])
    level = [(x[k], x[k + 1]), (y[q + 1], y[q + 1])]
    gap = np.full(len(i) + len(k), np.nan)
    both = [[np.concatenate(ends) for ends in zip(a, b, strict=True)] for a, b in zip(upright, level, strict=True)]
    return tuple(np.column_stack([*ends, gap]).ravel() for ends in both)  # type: ignore[return-value]
