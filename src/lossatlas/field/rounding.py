"""How far may rounding have shifted each value of a field? As measured, or as expected of its number format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from lossatlas.field.resolution import rounded, short_format
from lossatlas.results.landscape import structured

__all__ = ["SPACING", "coarsest_of", "measured", "rounding"]

SPACING = {
    "float64": 2.2e-16,
    "float32": 1.2e-7,
    "tf32": 9.8e-4,
    "float16": 9.8e-4,
    "fp16": 9.8e-4,
    "bfloat16": 7.8e-3,
    "bf16": 7.8e-3,
}
"""Spacing of numbers around 1, by number format. TF32 has the mantissa of a half."""

SPACINGS = 8
"""How many spacings a value may be off after passing through a network, where this was not measured."""

MARGIN = 2.0
"""How much larger than at the points where it was measured the rounding may be elsewhere."""

_SUMMED = {"float64": 500.0}
"""By format, how much larger than the largest value the summands may be, where this was not measured. In double
precision even this is negligible in a picture; in a shorter format only a small part of the largest value is allowed
for, or no conclusion would be possible there."""


def measured(landscape: xr.Dataset, value: str = "loss") -> dict[str, Any]:
    """What ``sample`` recorded of the rounding of a value; empty where it recorded nothing.

    ==============  ==================================================================================================
    key             meaning
    ==============  ==================================================================================================
    ``sizes``       absolute values at the points where it was measured, ascending
    ``errors``      how far rounding moved each of them
    ``factor``      by how much all errors were raised, because double precision refuted something larger
    ``against``     in words, what the values were compared with
    ``formats``     the floating formats that took part in an evaluation
    ``proof``       the inequality of convex functions that is violated in double precision, if any
    ``refuted``     number of violated inequalities that double precision refuted
    ==============  ==================================================================================================

    Args:
        landscape: a Landscape.
        value: which variable.

    Returns:
        The record.
    """
    found: Mapping[str, Any] = structured(landscape, "evaluation").get("rounding", {})
    return dict(found.get(value, {}))


def rounding(landscape: xr.Dataset, value: str = "loss") -> tuple[np.ndarray, str]:
    r"""How far rounding may have shifted each value, in its own unit, and in words how that is known.

    Rounding scales with what was summed, not with the sum, so it is taken from what :func:`lossatlas.sample` measured:
    twice the largest error at any point whose value is at most the next larger one, and never less than 8 spacings of
    the value in double precision. Where nothing was measured, 8 spacings of the number format are assumed, and half a
    unit of the last place where the values themselves are rounded, see :mod:`lossatlas.field.resolution`.

    Args:
        landscape: a Landscape.
        value: which variable.

    Returns:
        float64, shaped like the field; infinite where double precision refuted everything that exceeded it.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.array([0.0, 1.0]), length=1.0)
        >>> error, words = rounding(build({"x": axis}, {"loss": np.array([1.0, 10.0])}))
        >>> error.round(9).tolist(), words
        ([5.28e-06, 9.6e-06], '8 spacings of float32, assumed')
    """
    size = np.abs(np.asarray(landscape[value].values, np.float64))
    told = measured(landscape, value)
    if told:
        return _envelope(size, told), f"rounding measured {told['against']}"
    coarsest = coarsest_of(landscape, value) or "float32"
    assumed = SPACINGS * SPACING[coarsest] * _assumed(size, coarsest)
    half, said = rounded(landscape[value].values)
    if not said:
        return assumed, f"{SPACINGS} spacings of {coarsest}, assumed"
    return assumed + half, f"values {said}, and {SPACINGS} spacings of {coarsest}, assumed"


def coarsest_of(landscape: xr.Dataset, value: str) -> str:
    """The shortest number format that is named for a value, or that its bits show.

    Args:
        landscape: a Landscape.
        value: which variable.

    Returns:
        A key of :data:`SPACING`; empty where none is known.
    """
    formats = [name for name in str(landscape.attrs.get("dtype")).split(",") if name in SPACING]
    if shown := short_format(landscape[value].values):
        formats.append(shown)
    return max(formats, key=SPACING.__getitem__, default="")


def _assumed(size: np.ndarray, coarsest: str) -> np.ndarray:
    """What may have been summed to get each value, where this was not measured."""
    finite = size[np.isfinite(size)]
    if not len(finite):
        return size
    if coarsest in _SUMMED:
        return np.asarray(np.maximum(size, _SUMMED[coarsest] * float(finite.max())))
    return np.asarray(np.maximum(size, max(float(np.median(finite)), 0.01 * float(finite.max()))))


def _envelope(size: np.ndarray, told: Mapping[str, Any]) -> np.ndarray:
    """The largest measured error at a point whose value is at most the next larger one that was measured."""
    size = np.where(np.isfinite(size), size, 0.0)
    sizes, errors = np.asarray(told["sizes"], float), np.asarray(told["errors"], float)
    largest = np.maximum.accumulate(errors)
    at = np.minimum(np.searchsorted(sizes, size), len(sizes) - 1)
    beyond = np.maximum(size / max(float(sizes[-1]), np.finfo(float).tiny), 1.0)  # larger than all that were measured
    floor = SPACINGS * SPACING["float64"] * size
    factor = told.get("factor", 1.0)
    return np.asarray((MARGIN * largest[at] * beyond + floor) * (np.inf if factor is None else factor))
