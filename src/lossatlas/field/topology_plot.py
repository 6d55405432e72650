"""What does the shape of a field look like? A merge tree, a persistence diagram, basins on a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.field.critical import Critical
from lossatlas.figure.overlays import Overlay, Points, Regions, Symbol
from lossatlas.figure.plot import Panel, Plot, Scale, Series
from lossatlas.oneline import number_of

__all__ = ["ALONE", "DECADES", "EMPTY", "MOST_WORDS", "NAMES", "TINTED", "Shape", "leaf_order", "overlay", "plot"]

NAMES = ("minimum", "ring around a hill", "shell around a peak")

DECADES = 2.0
"""Decades that values must span for a logarithmic scale."""


ALONE = "With one minimum there is one basin, and no tree of basins that merge."

EMPTY = (
    "With one minimum, and no inner maximum, nothing ends: there is no tree of basins that merge, and the diagram has "
    "no point off its diagonal."
)

TINTED = "The tint of a basin lies over the colours of the scale."


class Shape(Protocol):
    """What is drawn: a :class:`~lossatlas.field.topology.Topology`."""

    @property
    def value(self) -> str:
        """Which variable."""
        ...

    @property
    def title(self) -> str:
        """Name of the model."""
        ...

    @property
    def minima(self) -> tuple[Critical, ...]:
        """The lowest first."""
        ...

    @property
    def saddles(self) -> tuple[Critical, ...]:
        """The lowest first."""
        ...

    @property
    def merges(self) -> tuple[tuple[int, int, Critical], ...]:
        """Where basins meet."""
        ...

    @property
    def basins(self) -> np.ndarray:
        """The number of the minimum below each cell."""
        ...

    @property
    def diagrams(self) -> tuple[np.ndarray, ...]:
        """Birth and death, by dimension."""
        ...

    @property
    def caveat(self) -> str:
        """What this does not prove."""
        ...

    @property
    def words(self) -> str:
        """The result in a sentence."""
        ...


def plot(found: Shape) -> Plot:
    """The merge tree beside the persistence diagram; for a single minimum, which makes no tree, only the diagram.

    Args:
        found: the shape of a field.

    Returns:
        A plot with two panels.
    """
    single = len(found.minima) == 1
    return Plot(
        title=f"Shape of the {found.value}: {found.title}",
        panels=(_diagram_panel(found),) if single else (_tree_panel(found), _diagram_panel(found)),
        caption=("" if not single else ALONE if any(map(len, found.diagrams)) else EMPTY, found.words, found.caveat),
    )


MOST_WORDS = 12
"""Minima up to which each is written beside its number."""


def overlay(found: Shape) -> list[Overlay]:
    """Basins, minima and saddles on a map.

    Args:
        found: the shape of a field with two axes.

    Returns:
        What ``la.draw`` takes as ``overlays=``.

    Raises:
        SpecError: the field has another number of axes.
    """
    if found.basins.ndim != 2:
        raise SpecError(
            f"overlay: the field has {number_of(found.basins.ndim, 'axis', 'axes')}; basins are drawn only on maps, "
            "which have two"
        )
    words = [f"{n}" for n in range(1, len(found.minima) + 1)] if len(found.minima) <= MOST_WORDS else []
    layers: list[Overlay] = [
        Regions(cells=found.basins, label="basin (tinted)", note=f"{found.words} {TINTED} {found.caveat}"),
        _points(found.minima, "minimum", "circle", words),
    ]
    if found.saddles:
        layers.append(_points(found.saddles, "saddle", "cross", []))
    return layers


def _points(points: Sequence[Critical], label: str, symbol: Symbol, words: Sequence[str]) -> Points:
    x, y = np.array([tuple(point.coordinates.values()) for point in points]).T
    return Points(x=x, y=y, label=label, symbol=symbol, words=words)


def _scale(found: Shape) -> Scale:
    ends = np.concatenate([[found.minima[0].value], *(pairs.ravel() for pairs in found.diagrams)])
    return "log" if ends.min() > 0 and np.log10(ends.max() / ends.min()) > DECADES else "linear"


def _tree_panel(found: Shape) -> Panel:
    leaves, lines = leaf_order(found), []
    places = {leaf: float(at) for at, leaf in enumerate(leaves)}
    heights = {number: one.value for number, one in enumerate(found.minima)}
    for younger, elder, saddle in found.merges:
        top = saddle.value
        lines.append(
            (
                [places[younger], places[younger], places[elder], places[elder]],
                [heights[younger], top, top, heights[elder]],
            )
        )
        places[elder] = (places[younger] + places[elder]) / 2
        heights[elder] = top
    last = max((saddle.value for *_, saddle in found.merges), default=found.minima[0].value)
    span = max(last - found.minima[0].value, 1e-12)
    above = last * (last / found.minima[0].value) ** 0.08 if _scale(found) == "log" else last + 0.08 * span
    stem = [places[0]] * 2, [last, above]
    x, y = (np.concatenate([[*part, np.nan] for part in column]) for column in zip(*lines, stem, strict=True))
    minima = Series(
        x=np.arange(len(leaves)),
        y=np.array([found.minima[leaf].value for leaf in leaves]),
        label=NAMES[0],
        style="points",
        color=0,
    )
    return Panel(
        title="Merge tree",
        series=(Series(x=x, y=y, label="", color=-1), minima),
        x_label="minimum, the lowest is 1",
        y_label=found.value,
        y_scale=_scale(found),
        x_ticks=[(at, f"{leaf + 1}") for at, leaf in enumerate(leaves)] if len(leaves) <= MOST_WORDS else [],
    )


def leaf_order(found: Shape) -> list[int]:
    """An order of the minima in which no two branches of the tree cross."""
    groups = {number: [number] for number in range(len(found.minima))}
    for younger, elder, _ in found.merges:
        groups[elder] = groups[elder] + groups.pop(younger)
    return groups[0]


def _diagram_panel(found: Shape) -> Panel:
    every = np.concatenate([pairs.ravel() for pairs in found.diagrams])
    ends = np.array([every.min(), every.max()]) if len(every) else np.array([0.0, 1.0]) + found.minima[0].value
    series = [Series(x=ends, y=ends, label="no persistence", color=-1, dashed=True)]
    for dimension, pairs in enumerate(found.diagrams):
        if len(pairs):
            series.append(Series(x=pairs[:, 0], y=pairs[:, 1], label=NAMES[dimension], style="points", color=dimension))
    return Panel(
        title="Persistence diagram",
        series=series,
        x_label=f"{found.value} at which it begins",
        y_label=f"{found.value} at which it ends",
        x_scale=_scale(found),
        y_scale=_scale(found),
    )
