"""What is to be drawn: the scene that every back end reads and none changes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import xarray as xr

from lossatlas.draw.ratio import RatioMap
from lossatlas.figure.overlays import Overlay
from lossatlas.figure.palettes import Colours, Theme, ThemeName
from lossatlas.figure.paper import Paper
from lossatlas.figure.ranges import Range
from lossatlas.oneline import one_line
from lossatlas.results.landscape import Status

__all__ = ["PARAMETERS", "RELIEF_HEIGHT", "Caption", "Cells", "Curve", "Kind", "Look", "PictureAxis", "Scene"]

RELIEF_HEIGHT = 0.60
"""Height of the box of a relief, in parts of its width."""

Kind = Literal["line", "contour", "filled", "heat", "surface"]

# A cell whose status is one of these has a value of its own. NON_FINITE says that one of the cell's values is not
# finite; the others are values like any other.
_HAS_VALUES = (int(Status.OK), int(Status.NON_FINITE), int(Status.INTERPOLATED))

PARAMETERS = "parameter norm"
"""The unit of a distance where the weights move."""


@dataclass(frozen=True, kw_only=True)
class PictureAxis:
    """One axis of a picture.

    Attributes:
        name: name of the dimension.
        label: what the direction is.
        coordinates: float64 [n], increasing, multiples of the direction.
        length: norm of the direction: a coordinate times it is a distance; NaN if it is not one.
        unit: of that distance.
        counted: what a coordinate is; empty where nobody knows.
    """

    name: str
    label: str
    coordinates: np.ndarray
    length: float
    unit: str = PARAMETERS
    counted: str = "multiples of the direction"

    __repr__ = one_line

    @property
    def edges(self) -> np.ndarray:
        """float64 [n + 1]: borders of the cells, half-way between coordinates, the outer ones at the outer points."""
        middles = (self.coordinates[1:] + self.coordinates[:-1]) / 2
        return np.concatenate([self.coordinates[:1], middles, self.coordinates[-1:]])


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Values over one, two or three axes: what all panels have in common.

    Attributes:
        title: name of the model.
        axes: the axes, in the order of the arrays' dimensions.
        values: float64 arrays by name, as they are in the Landscape.
        status: int8, same shape.
        note: where the block was cut out of a larger one: "z = 0".
        marks_centre: whether the origin lies inside, so that the centre is marked.
        errors: by value, what is known about how exact it is: float64 arrays of the same shape by their words.
    """

    title: str
    axes: tuple[PictureAxis, ...]
    values: Mapping[str, np.ndarray]
    status: np.ndarray
    note: str = ""
    marks_centre: bool = False
    errors: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)

    __repr__ = one_line

    def drawable(self, value: str) -> np.ndarray:
        """bool, same shape: the cells that have a finite value."""
        return np.asarray(np.isfinite(self.values[value]) & np.isin(self.status, _HAS_VALUES))

    def heights(self, value: str, shown: Range, *, beyond: float = 0.0) -> np.ndarray:
        """float64, same shape: what is drawn; NaN where there is nothing to draw. For ``beyond`` see :class:`Range`."""
        heights = np.full(self.status.shape, np.nan)
        cells = self.drawable(value)
        heights[cells] = shown.heights(self.values[value][cells], beyond=beyond)
        return heights

    @property
    def evaluated(self) -> np.ndarray:
        """bool, same shape: the cells that were evaluated, whatever the outcome."""
        return ~np.isin(self.status, (int(Status.NOT_SAMPLED), int(Status.INTERPOLATED)))

    def hatched(self, value: str) -> dict[Status, np.ndarray]:
        """The cells that have no value to draw, by reason; only reasons that occur."""
        empty = ~self.drawable(value)
        reasons = np.where(np.isin(self.status, _HAS_VALUES), int(Status.NON_FINITE), self.status)
        cells = {status: empty & (reasons == status) for status in Status}
        return {status: mask for status, mask in cells.items() if mask.any()}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line: a model along one axis, or several runs of it as a median with a band.

    Attributes:
        title: name of the model.
        axis: the axis.
        members: the single runs, blocks with one axis, all on the same coordinates.
    """

    title: str
    axis: PictureAxis
    members: tuple[Cells, ...]

    __repr__ = one_line

    def stack(self, value: str) -> np.ndarray:
        """float64 [runs, n]: values of the runs; NaN where a run has none."""
        rows = [np.where(member.drawable(value), member.values[value], np.nan) for member in self.members]
        return np.stack(rows)

    def median(self, value: str) -> np.ndarray:
        """float64 [n]: median over the runs that have a value; NaN where none has."""
        return _over_runs(np.median, self.stack(value))

    def band(self, value: str) -> tuple[np.ndarray, np.ndarray]:
        """Two float64 [n]: the smallest and the largest over the runs."""
        stack = self.stack(value)
        return _over_runs(np.min, stack), _over_runs(np.max, stack)


def _over_runs(reduce: object, stack: np.ndarray) -> np.ndarray:
    columns = [column[np.isfinite(column)] for column in stack.T]
    return np.array([reduce(column) if len(column) else np.nan for column in columns])  # type: ignore[operator]


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What the picture says about itself in words.

    Attributes:
        about: model, data, metric, samples, normalisation, BatchNorm mode, seed.
        axes: what each axis is, and its length.
        centre: the value at the marked centre; empty where none is marked or known.
        shown: the range shown, the scale and what was clipped.
        runs: of how many runs the lines are the median; empty where each is one run.
        empty: what is hatched, and why; empty if nothing is hatched.
        notes: what the overlays say about themselves.
        caveat: what the picture does not prove.
        what: what it is in a few parts, the most important first, for a caption of two lines.
        proves: what it proves, in short sentences, the most important first, for the same.
    """

    about: str
    axes: str
    centre: str
    shown: str
    runs: str
    empty: str
    notes: str
    caveat: str
    what: tuple[str, ...] = ()
    proves: tuple[str, ...] = ()

    __repr__ = one_line

    @property
    def sentences(self) -> tuple[str, ...]:
        """All there is to say, in order."""
        parts = (self.about, self.axes, self.centre, self.shown, self.runs, self.empty, self.notes, self.caveat)
        return tuple(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class Look:
    """One view that a reader may switch to: a value on a scale, clipped or not, and its words."""

    value: str
    range: Range
    words: str


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that a back end needs; the same range, levels, colours, axes and camera for all that is compared.

    Attributes:
        kind: what is drawn.
        title: heading of the whole; empty where the panels' titles say it all.
        value: name of what height and colour show.
        label: its words on axes and in captions, as "loss − centre".
        range: what part of the value is shown.
        colours: the colour map.
        theme: colours of the page and sizes.
        shows_points: whether maps show which cells were evaluated.
        shows_contours: whether the relief carries its contour lines.
        camera: elevation and azimuth of the eye in degrees, for the 3-D surface.
        panels: blocks with two axes, one for each picture; empty for curves.
        curves: one for each model; empty for panels.
        volumes: blocks with three axes, whole; the panels are their slices.
        alongside: names of further values of curves on the first axis, as a test loss.
        beside: names of further values: on the second axis of curves, in the hover of a page.
        beside_range: range of these on the second axis.
        limits: by name of an axis, the range of coordinates that all panels share.
        looks: what a reader may switch to, by (value, "linear" or "log", clipped).
        overlays: what is drawn on the panels.
        ratio: ``|λmin/λmax|`` of a map of curvature of the same plane, on its own grid; for a page.
        caption: the words.
        facts: for each Landscape, what it says about where it comes from, as words by name.
        paper: how it is typeset.
        record: what its file says about it, for :mod:`lossatlas.draw.record`.
        sources: the Landscapes, for layers that a page works out of them.
    """

    kind: Kind
    title: str
    value: str
    label: str
    range: Range
    colours: Colours
    theme_name: ThemeName
    shows_points: bool
    shows_contours: bool
    camera: tuple[float, float]
    panels: tuple[Cells, ...]
    curves: tuple[Curve, ...]
    volumes: tuple[Cells, ...]
    alongside: tuple[str, ...]
    beside: tuple[str, ...]
    beside_range: Range | None
    limits: Mapping[str, tuple[float, float]]
    looks: Mapping[tuple[str, str, bool], Look]
    overlays: tuple[Overlay, ...]
    caption: Caption
    facts: tuple[Mapping[str, str], ...] = ()
    paper: Paper = field(default_factory=Paper)
    ratio: RatioMap | None = None
    record: Mapping[str, object] = field(default_factory=dict)
    sources: tuple[xr.Dataset, ...] = field(default=(), repr=False)

    __repr__ = one_line

    @functools.cached_property
    def theme(self) -> Theme:
        """The theme as a table of colours and sizes."""
        return self.paper.fitted(self.theme_name)

    @property
    def brief(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What it is, in parts, the most important first; and what it proves."""
        return self.caption.what, self.caption.proves

    @property
    def sentences(self) -> tuple[str, ...]:
        """The caption, sentence by sentence."""
        return self.caption.sentences
