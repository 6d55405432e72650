"""What is a plot of plain numbers? Panels of lines, points and bars with their labels, however they are drawn.

A Landscape has a picture of its own, see :mod:`lossatlas.draw.view`. A spectrum, a barrier, a table of measures are
plots: their results have a method ``plot()`` that returns one, and :func:`lossatlas.draw` takes either.
"""

from __future__ import annotations

import functools
import importlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from lossatlas.errors import SpecError, unknown
from lossatlas.figure.palettes import THEMES, Theme, ThemeName
from lossatlas.figure.paper import Paper
from lossatlas.oneline import in_words, number_of, one_line
from lossatlas.untrusted import printable_fields

__all__ = ["Mark", "Panel", "Plot", "Scale", "Series", "Style", "onto", "plot_of", "sentences_of", "symmetric_below"]

_SENTENCES = re.compile(r"(?<=\.)(?<!\bal\.) (?=[A-ZΑ-Ωλ])")
"""Between two sentences."""

Style = Literal["line", "points", "both", "bars", "step"]
Scale = Literal["linear", "log", "symlog"]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line, cloud of points or row of bars.

    Attributes:
        x: float64 [n]; bars stand at them.
        y: float64 [n]; NaN leaves a gap.
        label: its label in the legend; empty for none. The same label in several panels appears once.
        low: float64 [n], lower end of a band, or of error bars for points and bars.
        high: float64 [n], the upper end.
        style: "line", "points", "both", "bars" or "step".
        color: which of the theme's line colours, from 0; by default the next one. -1 is the colour of faint text.
        dashed: whether the line is dashed, for instance for what is only expected.
        names: names of the points, one each, written beside them; empty for none.

    Raises:
        SpecError: lengths differ, or a style is unknown.
    """

    x: np.ndarray
    y: np.ndarray
    label: str = ""
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    style: Style = "line"
    color: int | None = None
    dashed: bool = False
    names: Sequence[str] = ()

    __repr__ = one_line

    def __post_init__(self) -> None:
        if self.style not in get_args(Style):
            raise SpecError(unknown("style", self.style, get_args(Style)))
        for name in ("x", "y", "low", "high"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, np.asarray(values, dtype=np.float64).reshape(-1))
        printable_fields(self, "label", *(["names"] if isinstance(self.names, (list, tuple)) else []))
        if self.names and len(self.names) != len(self.x):
            raise SpecError(
                f"series {self.label!r}: {number_of(len(self.names), 'name')} for "
                f"{number_of(len(self.x), 'point')}; give one each"
            )
        lengths = {len(values) for values in (self.x, self.y, self.low, self.high) if values is not None}
        if len(lengths) > 1 or (self.low is None) != (self.high is None):
            raise SpecError(f"series {self.label!r}: x, y, low and high need the same length, low and high each other")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A thin reference line across a panel, with a label at its end.

    Attributes:
        x: position of a vertical line; or
        y: position of a horizontal line.
        label: its words; empty for none.
    """

    x: float | None = None
    y: float | None = None
    label: str = ""

    def __post_init__(self) -> None:
        if (self.x is None) == (self.y is None):
            raise SpecError("mark: give either x or y")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes.

    Attributes:
        series: what is drawn, the last one on top.
        x_label: the horizontal axis and its unit.
        y_label: the vertical axis and its unit.
        title: heading; empty for none.
        x_scale: "linear", "log" or "symlog".
        y_scale: the same for the vertical axis.
        marks: reference lines.
        x_ticks: labels at positions, such as the names of bars; empty for numbers.
    """

    series: Sequence[Series]
    x_label: str
    y_label: str
    title: str = ""
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    marks: Sequence[Mark] = ()
    x_ticks: Sequence[tuple[float, str]] = ()

    __repr__ = one_line

    def __post_init__(self) -> None:
        printable_fields(self, "title", "x_label", "y_label")
        for name in ("x_scale", "y_scale"):
            if getattr(self, name) not in get_args(Scale):
                raise SpecError(unknown(name, getattr(self, name), get_args(Scale)))
        if not self.series:
            raise SpecError(f"panel {self.title!r} has no series; give at least one")


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A whole picture of plain numbers.

    Attributes:
        panels: side by side, at most three in a row.
        title: heading of the whole; empty for none.
        caption: sentences printed below: what was measured and how, and what it does not prove.
        theme_name: "light", "dark", "talk" or "print".
        paper: how it is typeset.

    Example:
        >>> line = Series(x=np.arange(3), y=np.array([1.0, 4.0, 9.0]), label="squares")
        >>> plot = Plot(panels=[Panel(series=[line], x_label="number", y_label="square")], caption=["An example."])
        >>> plot.panels[0].series[0].label
        'squares'
    """

    panels: Sequence[Panel]
    title: str = ""
    caption: Sequence[str] = field(default_factory=tuple)
    theme_name: ThemeName = "light"
    paper: Paper = field(default_factory=Paper)

    def __repr__(self) -> str:
        """What it shows, without how it is typeset."""
        return f"Plot({in_words(self.title)}, {number_of(len(self.panels), 'panel')}, caption={in_words(self.caption)})"

    def __post_init__(self) -> None:
        printable_fields(self, "title", *(["caption"] if isinstance(self.caption, (list, tuple)) else []))
        if not self.panels:
            raise SpecError("plot has no panels; give at least one")
        if self.theme_name not in THEMES:
            raise SpecError(unknown("theme", self.theme_name, THEMES))

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows; nothing but words where matplotlib is not installed."""
        try:
            return bytes(importlib.import_module("lossatlas.draw.notebook").png(self))
        except ImportError:
            return None

    @functools.cached_property
    def theme(self) -> Theme:
        """The theme as a table of colours and sizes."""
        return self.paper.fitted(self.theme_name)

    @property
    def brief(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What it is, and what it proves: the first part of the caption and, where there are several, the last.

        The last is split into sentences, since a narrow page has room only for the first.
        """
        first, *others = self.sentences or ("",)
        return (first,) * bool(first), sentences_of(others[-1]) if others else ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that is to be printed below."""
        return tuple(sentence for sentence in self.caption if sentence)


def sentences_of(text: str) -> tuple[str, ...]:
    """The sentences of a text.

    Returns:
        Each of them.

    Example:
        >>> sentences_of("Found by Li et al. 2018. One slice proves little.")
        ('Found by Li et al. 2018.', 'One slice proves little.')
    """
    return tuple(_SENTENCES.split(text))


def plot_of(source: Any) -> Plot | None:
    """The plot that something is or has, or ``None``.

    Returns:
        The plot, or ``None``.

    Example:
        >>> plot_of(3) is None
        True
    """
    if isinstance(source, Plot):
        return source
    made = getattr(source, "plot", None)
    if callable(made) and not hasattr(source, "data_vars"):  # an xarray.Dataset has a plot of another kind
        found = made()
        return found if isinstance(found, Plot) else None
    return None


def onto(ax: Any, plot: Plot) -> Plot:
    """Draw a plot where it is asked for: the end of every ``plot(ax=…)``.

    Args:
        ax: an Axes of a grid, whose place the plot takes, a SubFigure or an empty Figure; ``None`` draws nothing.
        plot: what is drawn.

    Returns:
        The same plot: :func:`lossatlas.plot` makes a Figure of it, :func:`lossatlas.draw` a file.

    Raises:
        SpecError: it is not an Axes, or not part of a grid.
        ImportError: matplotlib is not installed.
    """
    if ax is not None:
        importlib.import_module("lossatlas.draw.figures").plot(plot, ax)  # above this room: only where it is drawn
    return plot


def symmetric_below(values: np.ndarray) -> float:
    """Where a symmetric logarithm turns linear: at the smallest magnitude apart from outliers; 1 where there is none.

    Returns:
        A positive threshold, in units of the values.

    Example:
        >>> symmetric_below(np.array([0.0, -10.0, 10.0, 10.0]))
        10.0
    """
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    return float(10 ** math.floor(math.log10(np.quantile(sizes, 0.05)))) if len(sizes) else 1.0
