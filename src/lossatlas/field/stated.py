"""How far may the value of each cell be off, by what the field itself states: rounding, samples, interpolation?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from lossatlas.field.resolution import rounded
from lossatlas.field.rounding import SPACING, SPACINGS, coarsest_of, measured, rounding
from lossatlas.figure.ranges import Range, choose
from lossatlas.figure.words import number, percent
from lossatlas.oneline import number_of
from lossatlas.results.landscape import structured

__all__ = [
    "BEYOND", "LEFT_ABOVE", "STANDARD_ERRORS", "WHOLE", "another_view", "checked", "on_view", "stated_error",
    "stated_for", "view",
]  # fmt: skip

BEYOND = 1.0
"""Ranges above a clip within which the error of an interpolated cell is known."""

WHOLE = 1e6
"""Ranges above a clip within which every value lies: as if nothing were clipped."""

LEFT_ABOVE = 0.1
"""Share of an error that remains, however far above the clip its cell lies."""

SAME = 0.01
"""Views whose ends differ by no more than this share of their range are the same."""

STANDARD_ERRORS = 2.0
"""Standard errors that count: about 95 % of a normal distribution lie within."""


def stated_error(landscape: xr.Dataset, value: str = "loss") -> tuple[np.ndarray, str]:
    """How far each value may be off, in its own unit, and in words what that includes.

    The sum of

    - rounding as it was measured, see :func:`lossatlas.field.rounding.rounding`; where it was not, 8 spacings of the
      number format, half a unit of the last place of values that are rounded themselves, or what a short format was
      measured to be off;
    - two standard errors over the samples, where the Landscape has them (``sample(..., standard_error=True)``). All
      cells see the same samples, so differences between cells are better known than this says;
    - the stated error of cells that were interpolated, or corrected from a subset of the samples; in an unfinished run,
      whose values are not corrected yet, as much as the value itself.

    Args:
        landscape: a Landscape.
        value: which variable.

    Returns:
        float64, shaped like the field, and the words.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.array([0.0, 1.0]), length=1.0)
        >>> error, words = stated_error(build({"x": axis}, {"loss": np.array([1.0, 10.0])}))
        >>> error.round(9).tolist(), words
        ([9.6e-07, 9.6e-06], 'float32 rounding')
    """
    values = np.asarray(landscape[value].values, np.float64)
    error, words = _rounding(landscape, value, values)
    if (name := f"{value}_se") in landscape:
        error = error + STANDARD_ERRORS * np.nan_to_num(landscape[name].values)
        words += f", {STANDARD_ERRORS:g} standard errors over {number_of(landscape.attrs['samples'], 'sample')}"
    if (name := f"{value}_uncertainty") in landscape:
        error = error + _in_units(landscape, value, values, landscape[name].values)
        subset = structured(landscape, "sampling").get("kind") == "subset"
        which = "cells that were not evaluated on all samples" if subset else "interpolated cells"
        words += f", the stated error of {which}"
    elif structured(landscape, "sampling").get("kind") == "subset":
        error = np.where(np.isfinite(values), np.abs(values), error)
        words += (
            ", and values on a subset of the samples that are not corrected yet and may be off by as much as they are"
        )
    return error, words


def _rounding(landscape: xr.Dataset, value: str, values: np.ndarray) -> tuple[np.ndarray, str]:
    if measured(landscape, value):
        error, words = rounding(landscape, value)
        return np.where(np.isfinite(error), error, np.abs(values)), words
    dtype = str(landscape.attrs.get("dtype"))
    relative = structured(landscape, "evaluation").get("error", {}).get(value, {}).get("largest relative")
    if relative is not None:
        return float(relative) * np.abs(values), f"{dtype} rounding as measured"
    coarsest = coarsest_of(landscape, value)
    error = SPACINGS * SPACING[coarsest or "float32"] * np.abs(values)
    words = f"{dtype if coarsest in dtype else coarsest} rounding" if coarsest else "float32 rounding, assumed"
    half, said = rounded(values)
    return error + half, f"{words}, values {said}" if said else words


def _in_units(landscape: xr.Dataset, value: str, values: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Errors that are shares of the range a picture shows, in the unit of the value."""
    low, high = _ends(stated_for(landscape, value), values, np.nan_to_num(shares))
    with np.errstate(invalid="ignore"):
        return np.where(shares > 0, np.fmax(high - values, values - low), 0.0)


def _ends(shown: Range, values: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and largest value that cells may have, given errors that are shares of a view's range."""
    bottom, top = shown.limits
    heights = shown.heights(values, beyond=BEYOND)
    above = (heights - shown.heights(values)) / (top - bottom)
    # A cell above the clip was given the part of its error that reaches below it, or a share: see sampling.surrogate.
    reach = np.minimum(shares + above, shares / LEFT_ABOVE) * (top - bottom)
    reach = np.where(above > 0, reach, shares * (top - bottom))
    low, high = (_backward(heights + sign * reach, shown) for sign in (-1.0, 1.0))
    return low, np.where(above >= BEYOND, np.fmax(high, values), high)


def _backward(heights: np.ndarray, shown: Range) -> np.ndarray:
    if shown.scale == "log":
        return np.asarray(10.0 ** np.clip(heights, -300.0, 300.0))
    if shown.scale == "symlog":
        return np.asarray(np.sign(heights) * shown.linear_below * (10.0 ** np.abs(heights) - 1.0))
    return heights


def stated_for(landscape: xr.Dataset, value: str = "loss") -> Range:
    """The view for which the errors of a value were stated.

    Args:
        landscape: with ``loss_uncertainty`` or the like.
        value: which variable.

    Returns:
        For the loss the view that was recorded, or else the usual one; for a metric the whole range on a linear scale.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> line = build({"x": Axis(coordinates=np.arange(3.0), length=1.0)}, {"loss": np.arange(3.0)})
        >>> stated_for(line).scale
        'linear'
    """
    told = structured(landscape, "sampling")
    if value == "loss" and (known := told.get("view")):
        constant = math.nan if known["linear_below"] is None else known["linear_below"]
        return Range(
            scale=known["scale"], low=known["low"], high=known["high"], levels=(), clipped=known["clipped"],
            linear_below=constant,
        )  # fmt: skip
    values = np.asarray(landscape[value].values, float)
    finite = values[np.isfinite(values)]
    if value == "loss":
        return choose(finite, scale=told.get("scale", "auto"), clip=told.get("clip", "auto"))
    return choose(finite, scale="linear", clip=None)


def view(shown: Range) -> dict[str, Any]:
    """What a Landscape records of the view for which errors were stated.

    Args:
        shown: the range of a picture.

    Returns:
        Scale, ends, and the clip or None.

    Example:
        >>> view(choose(np.array([1.0, 2.0, 3.0]), scale="linear", clip=2.5))["clipped"]
        2.5
    """
    constant = None if math.isnan(shown.linear_below) else shown.linear_below
    ends = {"scale": shown.scale, "low": float(shown.low), "high": float(shown.high)}
    return ends | {"clipped": shown.clipped, "linear_below": constant}


def _named(known: Mapping[str, Any]) -> str:
    scale = {"log": "logarithmic", "symlog": "symmetric logarithmic"}.get(known["scale"], known["scale"])
    ends = f"{scale}, {number(known['low'])} to {number(known['high'])}"
    return ends + (", clipped" if known["clipped"] is not None else "")


def checked(facts: Mapping[str, Any], *, rough: float = 0.5) -> str:
    r"""How interpolated cells were checked, in words.

    Args:
        facts: ``evaluated``, ``cells``, ``tolerance`` and ``view`` of an adaptive run; ``fresh`` cells that were
            predicted, ``fresh_within`` that lay within the tolerance, and ``random`` cells in all.
        rough: share of evaluated cells from which on the surface is called rough.

    Returns:
        A sentence without its full stop.

    Example:
        >>> shown = {"scale": "log", "low": 0.01, "high": 10.0, "clipped": None}
        >>> run = {"evaluated": 120, "cells": 2601, "tolerance": 0.02, "view": shown}
        >>> words = checked(run | {"fresh": 12, "fresh_within": 12, "random": 29}).split(": ", 1)[1]
        >>> print(words.replace("; ", "\n").replace(" within", "\nwithin").replace(" covers", "\ncovers"))
        12 of 12 fresh points, drawn at random and predicted from the others,
        within 2 % of the range (logarithmic, 0.01 to 10)
        with 29 random points in all, a feature missed by every one
        covers less than 9.8 % of the cells (95 % confidence)
    """
    start = f"{facts['evaluated']} of {facts['cells']} points evaluated, the others interpolated"
    within = f"within {100 * facts['tolerance']:g} % of the range ({_named(facts['view'])})"
    if not facts["fresh"]:
        return f"{start}; there was no fresh point to check them"
    share = 1.0 - 0.05 ** (1.0 / facts["random"])
    return (
        f"{start}: {facts['fresh_within']} of {facts['fresh']} fresh points, drawn at random and predicted from the "
        f"others, {within}; with {facts['random']} random points in all, a feature missed by every one covers less "
        f"than {100 * share:.2g} % of the cells (95 % confidence)"
        + ("; rough over much of the plane" if facts["evaluated"] > rough * facts["cells"] else "")
    )


def on_view(landscape: xr.Dataset, shown: Range, value: str = "loss") -> np.ndarray:
    """The stated errors of a value on a view other than the one for which they were stated.

    Args:
        landscape: with cells that were interpolated.
        shown: the range of the picture.
        value: which variable.

    Returns:
        float64, shaped like the field: shares of that picture's range; 0 where a cell was evaluated. The error of a
        cell far above the clip of the first view may be larger than stated.

    Example:
        >>> from lossatlas.results.landscape import Axis, Status, build, complete
        >>> axis, cells = Axis(coordinates=np.arange(3.0), length=1.0), np.array([1, 0, 1], np.int8)
        >>> half = build({"x": axis}, {"loss": np.array([0.0, np.nan, 10.0])}, cells)
        >>> told = {"view": view(choose(np.array([0.0, 10.0]), scale="linear", clip=None))}
        >>> whole = complete(half, {"loss": np.array([0.0, 5.0, 10.0])}, {"loss": np.full(3, 0.1)}, told)
        >>> on_view(whole, choose(np.array([0.0, 20.0]), scale="linear", clip=None)).tolist()
        [0.0, 0.05, 0.0]
    """
    values = np.asarray(landscape[value].values, float)
    shares = np.nan_to_num(landscape[f"{value}_uncertainty"].values)
    ends = _ends(stated_for(landscape, value), values, shares)
    bottom, top = shown.limits
    with np.errstate(invalid="ignore", divide="ignore"):
        here, *heights = (np.nan_to_num(shown.heights(each), nan=bottom) for each in (values, *ends))
    away = np.max([np.abs(each - here) for each in heights], axis=0) / max(top - bottom, np.finfo(float).tiny)
    return np.where(shares > 0, away, 0.0)


def another_view(landscape: xr.Dataset, shown: Range, value: str = "loss") -> str:
    """What a claim about cells that were interpolated, or corrected, is worth on a picture for which it was not made.

    Args:
        landscape: a Landscape.
        shown: the range of the picture.
        value: which variable is drawn.

    Returns:
        A sentence; empty where there are no such cells, or for the loss on the same view.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> line = build({"x": Axis(coordinates=np.arange(3.0), length=1.0)}, {"loss": np.arange(3.0)})
        >>> another_view(line, choose(np.arange(3.0)))
        ''
    """
    told = structured(landscape, "sampling")
    if not (known := told.get("view")) or f"{value}_uncertainty" not in landscape:
        return ""
    made = stated_for(landscape, value)
    filled = landscape[f"{value}_uncertainty"].values > 0
    if not filled.any() or (value == "loss" and _alike(made, shown)):
        return ""
    half, most = np.quantile(on_view(landscape, shown, value)[filled], [0.5, 0.95])
    cells = "cells" if told.get("kind") == "subset" else "interpolated cells"
    which = f"for another view ({_named(known)}); for this one" if value == "loss" else f"for the loss; for {value}"
    words = (
        f"The {cells} were checked {which} their stated error is "
        f"{percent(float(half))} of the range in the median, and at most {percent(float(most))} in 95 % of them."
    )
    if made.clipped is not None and shown.high > made.high:
        beyond = int((filled & (made.heights(landscape[value].values) >= made.limits[1])).sum())
        if beyond:
            words += f" {beyond} of them lie above the clip of that view, where little is known about their values."
    return words


def _alike(made: Range, shown: Range) -> bool:
    """Whether two views show the same, within a hundredth."""
    bottom, top = made.limits
    with np.errstate(invalid="ignore", divide="ignore"):
        ends = np.abs(made.heights(np.array([shown.low, shown.high]), beyond=WHOLE) - [bottom, top])
    return shown.scale == made.scale and bool((ends <= SAME * (top - bottom)).all())
