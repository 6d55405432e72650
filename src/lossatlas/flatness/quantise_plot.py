"""How is the effect of rounding on a network plotted? Along the line, and layer by layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lossatlas.figure.plot import Panel, Plot, Scale, Series
from lossatlas.figure.words import number

if TYPE_CHECKING:
    from lossatlas.flatness.quantise import Quantised, Rounded

__all__ = ["plot"]

WIDE = 30.0
"""Ratio of the largest to the smallest loss from which on the scale is logarithmic."""


def plot(found: Quantised) -> Plot:
    """The loss along q(W) - W with its forecast, the first metric, and the rise of each layer by itself."""
    panels = [_along(found, "loss"), *(_along(found, name) for name in list(found.centre)[1:2])]
    panels += [_layers(step) for step in found.steps if step.layers][:1]
    how = found.steps[0].rounding.words.partition(", ")[2]
    first = f"{found.title}: {found.about}. Only weights are rounded, to the nearest value, {how}"
    last = "Dashed: the second-order forecast, which no longer holds where the curvature changes along the step."
    caption = [f"{first}.", found.moves, " ".join(found.words), _named(found), found.caveat]
    caption += [last] if np.isfinite([step.forecast for step in found.steps]).any() else []
    return Plot(panels=panels, title="Ready to be quantised?", caption=caption)


def _along(found: Quantised, name: str) -> Panel:
    series = []
    for color, step in enumerate(found.steps):
        label = f"{step.rounding.bits} bits"
        series.append(Series(x=step.t, y=step.values[name], label=label, style="both", color=color))
        if name == "loss" and np.isfinite(step.curve).all():
            fine = np.linspace(0.0, 1.0, 41)
            curve = step.values["loss"][0] + fine * step.slope + fine**2 * step.bend / 2
            told = "second order" if color == 0 else ""
            series.append(Series(x=fine, y=curve, label=told, dashed=True, color=color))
    return Panel(series=series, x_label="fraction of the way to q(W)", y_label=name, y_scale=_scale(found, name))


def _scale(found: Quantised, name: str) -> Scale:
    values = np.concatenate([step.values[name] for step in found.steps])
    values = values[np.isfinite(values)]
    wide = name == "loss" and len(values) and values.min() > 0 and values.max() > WIDE * values.min()
    return "log" if wide else "linear"


def _layers(step: Rounded) -> Panel:
    """Bars for what was measured, points for the forecast, in the order of the network."""
    places = np.arange(1, len(step.layers) + 1)
    rises = np.array([layer.rise for layer in step.layers])
    told = np.array([layer.forecast for layer in step.layers])
    power = _power(np.concatenate([rises, told]))
    series = [Series(x=places, y=rises / 10.0**power, label="a layer alone", style="bars", color=0)]
    if np.isfinite(told).any():
        series.append(Series(x=places, y=told / 10.0**power, label="its second order", style="points", color=1))
    bits = step.rounding.bits
    label = f"rise at {bits} bits" + (f", ×{number(10.0**power)}" if power else "")
    every = max(1, -(-len(places) // 8))
    ticks = [(float(place), str(place)) for place in places[::every]]
    return Panel(series=series, x_label="layer, in order", y_label=label, x_ticks=ticks)


def _power(values: np.ndarray) -> int:
    """The power of ten, a multiple of three, that keeps numbers short; 0 if they already are."""
    most = float(np.nanmax(np.abs(values), initial=0.0))
    return 0 if not 0 < most < 0.1 else 3 * math.floor(math.log10(most) / 3)


def _named(found: Quantised) -> str:
    """Which layers cost the most, by name."""
    for step in found.steps:
        if step.layers:
            costly = sorted(enumerate(step.layers, 1), key=lambda pair: -pair[1].rise)[:3]
            words = ", ".join(f"{place} {layer.name} ({number(layer.rise)})" for place, layer in costly)
            alone = sum(layer.rise for layer in step.layers)
            return (
                f"Costliest layers on their own at {step.rounding.bits} bits: {words}; single layers sum to "
                f"{number(alone)}, all together cost {number(step.rise)}."
            )
    return ""
