"""How a plot of plain numbers is drawn on paper."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from lossatlas.draw import on_page, static_names
from lossatlas.draw.sheet import Box, Entry, Margins, Sheet, shortened, text_width, touch
from lossatlas.draw.static_axes import letter
from lossatlas.figure.levels import round_levels
from lossatlas.figure.palettes import Theme
from lossatlas.figure.plot import Mark, Panel, Plot, Series, symmetric_below
from lossatlas.figure.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["ASPECT", "draw"]

ASPECT = 0.72
_THICK = 2.2

_LEGIBLE = 6.0
"""Multiples of the size of the type that the name of a bar has, unless it is shorter."""

_BETWEEN = 4000
"""Points along a curve that words must not cover."""


def draw(plot: Plot, onto: Figure | SubFigure | None = None, *, wider: float = 0.0) -> Figure:
    """Draw all panels.

    Args:
        plot: what is drawn.
        onto: the figure or subfigure; by default a new one.
        wider: more room between panels, in multiples of the small text, for the numbers of an axis.

    Returns:
        The figure, as wide as a column of a paper for one panel and as a page for several.
    """
    titled = plot.paper.letters or any(panel.title for panel in plot.panels)
    margins = Margins(
        left=4.2 + 0.5 * wider, right=2.8 + wider if len(plot.panels) > 1 else 1.6, top=2.6 + 1.8 * titled, bottom=3.4
    )
    sheet = Sheet(plot, len(plot.panels), ASPECT, margins, _key(plot), onto)
    inner: list[Axes] = []
    for index, panel in enumerate(plot.panels):
        axes = sheet.axes(sheet.rectangle(index))
        _frame(sheet, axes, plot, panel)
        for series, colour in _coloured(plot, panel):
            _draw(axes, plot, panel, series, colour)
        if all(series.style == "points" for series in panel.series):
            _give_room(axes)
        _short_scales(axes, panel, plot.theme)
        axes.autoscale_view()  # otherwise the axes would settle only when drawn
        _beside_zero(axes, panel)
        taken: list[Box] = []
        drawn = np.concatenate([_passed(axes, series) for series in panel.series])
        for mark in panel.marks:
            _mark(axes, plot, mark, taken, drawn)
        static_names.draw(axes, _coloured(plot, panel), plot.theme.small)
        if panel.title or plot.paper.letters:
            _heading(sheet, sheet.rectangle(index), plot, panel, letter(plot, index))
        inner.extend([axes] if index % sheet.columns else [])
    lacking = max((_numbers_width(axes, plot.theme.small) for axes in inner), default=0.0) - margins.right
    if lacking > 0 and not wider:
        sheet.figure.clear()
        return draw(plot, onto, wider=lacking)
    return sheet.figure  # type: ignore[no-any-return]


def _numbers_width(axes: Axes, size: float) -> float:
    """How far the numbers of the upright axis reach, in multiples of the size of their text."""
    low, high = sorted(axes.get_ylim())
    shown = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    return 0.8 + max((text_width(label.get_text(), size) for at, label in shown if low <= at <= high), default=0) / size


def _short_scales(axes: Axes, panel: Panel, theme: Theme) -> None:
    """A logarithmic axis of less than two decades has as many ticks between the powers of ten as there is room for."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ends = axes.get_xlim(), axes.get_ylim()
    for axis, scale, (low, high) in zip((axes.xaxis, axes.yaxis), (panel.x_scale, panel.y_scale), ends, strict=True):
        if scale != "log" or low <= 0 or high >= 100 * low or (axis is axes.xaxis and panel.x_ticks):
            continue
        left, right, _, _ = on_page.box_of(axes)
        room = right - left if axis is axes.xaxis else None
        axis.set_major_locator(FixedLocator(_ticks(low, high, room, theme.small).tolist()))
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axis.set_minor_locator(NullLocator())


def _ticks(low: float, high: float, room: float | None, size: float) -> np.ndarray:
    """Round numbers of a logarithmic axis whose labels do not touch; ``room`` is its length in points if level."""
    for most in (6, 5, 4, 3, 2):
        found = np.asarray(round_levels(low, high, most, scale="log"))
        found = found[(low <= found) & (found <= high)]
        if room is None or len(found) < 2:
            return found
        places = room * np.log(found / low) / np.log(high / low)
        wide = np.array([text_width(number(value), size) for value in found])
        if (np.diff(places) > (wide[1:] + wide[:-1]) / 2 + 0.4 * size).all():
            return found
    return found[[0, -1]]


def _give_room(axes: Axes) -> None:
    """Keep points off the edge, which would cut them in half, and the axis of a single value from its last digits."""
    axes.margins(0.08)
    low, high = axes.get_ylim()
    least = 0.02 * abs(low + high) / 2
    if axes.get_yscale() == "linear" and high - low < least:
        axes.set_ylim((low + high - least) / 2, (low + high + least) / 2)


def _beside_zero(axes: Axes, panel: Panel) -> None:
    """An axis from 0 to 1 if all values are zero, as errors may be: matplotlib's would show numbers below zero."""
    rows = [row for series in panel.series for row in (series.y, series.low, series.high) if row is not None]
    values = np.concatenate([*rows, *([mark.y] for mark in panel.marks if mark.y)])
    known = values[np.isfinite(values)]
    if panel.y_scale == "linear" and len(known) and not known.any():
        axes.set_ylim(-0.02, 1.0)


def _coloured(plot: Plot, panel: Panel) -> Iterator[tuple[Series, str]]:
    lines, after = plot.theme.lines, 0
    for series in panel.series:
        number = after if series.color is None else series.color
        after += series.color is None
        yield series, plot.theme.faint if number < 0 else lines[number % len(lines)]


def _draw(axes: Axes, plot: Plot, panel: Panel, series: Series, colour: str) -> None:
    width = _THICK * plot.theme.stroke
    if series.style == "bars":
        room = np.diff(np.unique(series.x)).min() if len(np.unique(series.x)) > 1 else 1.0
        axes.bar(series.x, series.y, width=0.72 * room, color=colour, linewidth=0, zorder=2)
    if series.style in ("line", "both", "step"):
        drawn = "steps-mid" if series.style == "step" else "default"
        dashes: dict[str, Any] = {"linestyle": (0, (4, 2))} if series.dashed else {}
        axes.plot(series.x, series.y, color=colour, linewidth=width, drawstyle=drawn, zorder=3, **dashes)
    if series.style in ("points", "both"):
        axes.plot(series.x, series.y, "o", color=colour, markersize=0.5 * plot.theme.small, mew=0, zorder=3.5)
    if series.low is None or series.high is None:
        return
    if series.style in ("bars", "points", "both"):
        ink = plot.theme.ink if series.style == "bars" else colour
        axes.vlines(series.x, series.low, series.high, color=ink, linewidth=0.6 * width, zorder=3.2)
    else:
        step: dict[str, Any] = {"step": "mid"} if series.style == "step" else {}
        axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.2, linewidth=0, zorder=2, **step)


def _mark(axes: Axes, plot: Plot, mark: Mark, taken: list[Box], drawn: np.ndarray) -> None:
    """A reference line with its words beside it: away from other words, and covering little of a curve."""
    theme = plot.theme
    style: dict[str, Any] = {"color": theme.faint, "linewidth": theme.stroke, "dashes": (2, 2), "zorder": 1}
    words: dict[str, Any] = {"fontsize": theme.small, "color": theme.faint, "parse_math": False, "zorder": 4}
    if mark.x is not None:
        axes.axvline(mark.x, **style)
    elif mark.y is not None:
        axes.axhline(mark.y, **style)
    if not mark.label:
        return
    wide = text_width(mark.label, theme.small)
    level = mark.y if mark.y is not None else 0.0
    found = _sides(axes, mark.x, wide, theme.small) if mark.x is not None else _ends(axes, level, wide, theme.small)
    places = list(found)
    free = [side for side in places if not any(touch(side[0], other) for other in taken)]
    if not (free := free or places[: mark.x is None]):
        return
    box, ha, va = min(free, key=lambda side: _covered(side[0], drawn))
    taken.append(box)
    left, _, low, _ = on_page.box_of(axes)
    x, y = box[0] if ha == "left" else box[1], box[3] if va == "top" else box[2]
    text = axes.annotate(
        mark.label, (0, 0), (x - left, y - low), "axes fraction", "offset points", ha=ha, va=va, **words
    )
    if _covered(box, drawn):
        from matplotlib.patheffects import withStroke

        text.set_path_effects([withStroke(linewidth=3 * theme.stroke, foreground=theme.paper)])


def _passed(axes: Axes, series: Series) -> np.ndarray:
    """Where a series runs: closely spaced points on the page, float64 [k, 2]."""
    found = on_page.places(axes, series.x, series.y)
    if series.style in ("points", "bars") or len(found) < 2:
        return found
    steps = np.linspace(0.0, 1.0, max(2, _BETWEEN // len(found)), endpoint=False)[:, None, None]
    with np.errstate(invalid="ignore"):
        return np.concatenate([(found[:-1] + steps * np.diff(found, axis=0)).reshape(-1, 2), found[-1:]])


def _covered(box: Box, drawn: np.ndarray) -> int:
    """How many points of the curves lie in a box."""
    left, right, low, high = box
    x, y = drawn.T
    return int(((left < x) & (x < right) & (low < y) & (y < high)).sum())


_Side = tuple[Box, str, str]
"""Where words may go, in points on the page, and the sides of the box that they start from."""


def _sides(axes: Axes, x: float, wide: float, size: float) -> Iterator[_Side]:
    """Where words may go beside an upright line: on the roomier side, the other, lower down."""
    left, right, _, top = on_page.box_of(axes)
    at = float(on_page.places(axes, x, axes.get_ylim()[0])[0, 0])
    first = "right" if at > left + 0.6 * (right - left) else "left"
    for row in range(4):
        for ha in (first, "left" if first == "right" else "right"):
            low = at + 2.5 if ha == "left" else at - 2.5 - wide
            if (row, ha) == (0, first) or (left <= low and low + wide <= right):
                high = top - 2.0 - 1.3 * row * size
                yield (low, low + wide, high - 1.2 * size, high), ha, "top"


def _ends(axes: Axes, y: float, wide: float, size: float) -> Iterator[_Side]:
    """Where words may go beside a level line: above it at its right end, further left, or below it."""
    left, right, bottom, top = on_page.box_of(axes)
    at = float(on_page.places(axes, axes.get_xlim()[0], y)[0, 1])
    for end in np.linspace(right - 2.0, min(left + 2.0 + wide, right - 2.0), 7):
        for low, va in ((at + 1.5, "bottom"), (at - 1.5 - 1.2 * size, "top")):
            if (end == right - 2.0 and va == "bottom") or (bottom <= low and low + 1.2 * size <= top):
                yield (end - wide, end, low, low + 1.2 * size), "right", va


def _frame(sheet: Sheet, axes: Axes, plot: Plot, panel: Panel) -> None:
    theme, room = plot.theme, 72.0 * sheet.panel_width
    axes.set_facecolor(theme.paper)
    for which, scale in (("x", panel.x_scale), ("y", panel.y_scale)):
        values = np.concatenate([getattr(series, which) for series in panel.series])
        options = {"linthresh": symmetric_below(values)} if scale == "symlog" else {}
        getattr(axes, f"set_{which}scale")(scale, **options)
    style: dict[str, Any] = {"labelsize": theme.small, "width": theme.stroke, "colors": theme.ink}
    axes.tick_params(length=0.35 * theme.small, pad=0.3 * theme.small, **style)
    minor: dict[str, Any] = {"labelsize": 0.8 * theme.small, "width": 0.7 * theme.stroke, "colors": theme.faint}
    axes.tick_params(which="minor", length=0.18 * theme.small, **minor)
    for side, spine in axes.spines.items():
        spine.set(color=theme.faint, linewidth=theme.stroke, visible=side in ("left", "bottom"))
    if panel.x_ticks:
        _named_ticks(axes, plot, panel, room)
    elif panel.x_scale == "linear":
        axes.locator_params(axis="x", nbins=6)
    if panel.y_scale == "linear":
        axes.locator_params(axis="y", nbins=6)
    words = shortened(plot.paper.x_label or panel.x_label, theme.text, room + 12)
    axes.set_xlabel(words, labelpad=2, fontsize=theme.text, color=theme.ink, parse_math=False)
    above = shortened(
        plot.paper.value_label or panel.y_label, theme.text, room + max(2.0, sheet.margins.right - 0.6) * theme.small
    )
    axes.annotate(
        above, (0, 1), (-3.2 * theme.small, 0.7 * theme.small),
        "axes fraction", "offset points", ha="left", va="bottom", fontsize=theme.text, color=theme.ink,
    ).set_parse_math(False)  # fmt: skip


def _named_ticks(axes: Axes, plot: Plot, panel: Panel, room: float) -> None:
    """Names of bars, each as wide as there is room for, alternating between two lines if they are long.

    If that leaves little but a letter of each, only every second or every n-th has its name.
    """
    from matplotlib.ticker import NullLocator

    size = plot.theme.small
    axes.xaxis.set_minor_locator(NullLocator())  # a logarithmic axis has numbers of its own between the names
    places, names = zip(*panel.x_ticks, strict=True)
    share, widths = room / len(names), [text_width(name, size) for name in names]
    turns = any(width > share for width in widths)
    every = math.ceil(min(max(widths), _LEGIBLE * size) / (share * (1 + turns) - 3)) if turns else 1
    kept = [shortened(name, size, every * share * (1 + turns) - 3) for name in names]
    shown = [f"\n{name}" if turns and i // every % 2 else name for i, name in enumerate(kept)]
    axes.set_xticks(places, ["" if i % every else name for i, name in enumerate(shown)])
    for label in axes.get_xticklabels():
        label.set_parse_math(False)


def _heading(sheet: Sheet, rectangle: tuple[float, float, float, float], plot: Plot, panel: Panel, before: str) -> None:
    left, bottom, width, height = rectangle
    theme = plot.theme
    room = 72.0 * (width + max(2.6, sheet.margins.right - 0.4) * sheet.unit) - text_width(before, theme.heading, "bold")
    words = before + shortened(panel.title, 1.1 * theme.heading, room)  # bold is wider
    y = bottom + height + 2.6 * sheet.unit
    sheet.text(left - 3.2 * sheet.unit, y, words, theme.heading, theme.ink, weight="bold")


def _key(plot: Plot) -> list[Entry]:
    """The words of all series once each, in order, with their colour."""
    theme, entries = plot.theme, {}
    for panel in plot.panels:
        for series, colour in _coloured(plot, panel):
            if not series.label or series.label in entries:
                continue
            solid = series.style == "bars"
            style: dict[str, object] = {"color": colour, "linewidth": 0 if solid else _THICK * theme.stroke}
            if series.style in ("points", "both"):
                style |= {"marker": "o", "markersize": 0.5 * theme.small, "markeredgewidth": 0}
            if series.style == "points":
                style["linestyle"] = "none"
            elif series.dashed:
                style["linestyle"] = (0, (4, 2))
            entries[series.label] = Entry(words=series.label, style=style, swatch=solid)
    return list(entries.values())
