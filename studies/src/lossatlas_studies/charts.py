"""How a measure of many networks is plotted against one of their options."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossatlas.figure.plot import Mark, Panel, Plot, Scale, Series
from lossatlas_studies.images import Row

CAPTION = "Points: networks, each the mean over its directions. Lines: means over networks."


def against(
    rows: Sequence[Row],
    option: str,
    measures: Mapping[str, str],
    groups: Mapping[str, Mapping[str, Any]],
    *,
    x_label: str,
    x_scale: Scale = "linear",
    factor: float = 100.0,
    caption: str = CAPTION,
) -> Plot:
    """Points for networks and a line for their means, for each group.

    Args:
        rows: the networks.
        option: on the horizontal axis.
        measures: what is shown in each panel, and the words of its axis.
        groups: words of the key, and the options that make the group.
        x_label: words of the horizontal axis.
        x_scale: its scale; on a logarithmic one the values themselves are named.
        factor: by which values are multiplied; 100 for shares in per cent.
        caption: printed below.
    """
    panels = []
    for what, words in measures.items():
        series = []
        for place, (label, chosen) in enumerate(groups.items()):
            own = [row for row in rows if all(row[name] == value for name, value in chosen.items())]
            if not own:
                continue
            at = sorted({row[option] for row in own})
            means = [factor * statistics.fmean(row[what] for row in own if row[option] == x) for x in at]
            series.append(Series(x=np.array(at, float), y=np.array(means), label=label, color=place))
            x, y = (np.array([row[name] for row in own], float) for name in (option, what))
            series.append(Series(x=x, y=factor * y, style="points", color=place))
        ticks = [(float(x), f"{x:g}") for x in sorted({row[option] for row in rows})] if x_scale == "log" else []
        panels.append(Panel(series=series, x_label=x_label, x_scale=x_scale, y_label=words, x_ticks=ticks))
    return Plot(panels=panels, caption=[caption])


def cloud(
    rows: Sequence[Row],
    x: tuple[str, str],
    y: tuple[str, str],
    groups: Mapping[str, Mapping[str, Any]],
    *,
    x_scale: Scale = "linear",
    marks: Sequence[Mark] = (),
    caption: str,
) -> Plot:
    """One point for each network: one measure against another.

    Args:
        rows: the networks.
        x: name and words of the horizontal measure.
        y: name and words of the vertical one.
        groups: words of the key, and the options that make the group.
        x_scale: scale of the horizontal axis.
        marks: reference lines.
        caption: printed below.
    """
    series = []
    for place, (label, chosen) in enumerate(groups.items()):
        own = [row for row in rows if all(row[name] == value for name, value in chosen.items())]
        points = [np.array([float(row[name]) for row in own]) for name in (x[0], y[0])]
        series.append(Series(x=points[0], y=points[1], label=label, style="points", color=place))
    panel = Panel(series=series, x_label=x[1], x_scale=x_scale, y_label=y[1], marks=marks)
    return Plot(panels=[panel], caption=[caption])
