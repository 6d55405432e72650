"""How far may the value of each cell be off, by what the field itself says: rounding, samples, interpolation."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from lossatlas.field.rounding import SPACING, SPACINGS, measured, rounding
from lossatlas.figure.ranges import choose
from lossatlas.results.landscape import structured

__all__ = ["STANDARD_ERRORS", "stated_error"]

STANDARD_ERRORS = 2.0
"""Standard errors that count: about 95 % of a normal distribution lie within."""


def stated_error(landscape: xr.Dataset, value: str = "loss") -> tuple[np.ndarray, str]:
    """How far each value may be off, in its own unit, and in words what that is.

    The sum of

    - rounding as it was measured, see :func:`lossatlas.field.rounding.rounding`; where it was not, 8 spacings of the
      number format, or what a short format was measured to be off;
    - two standard errors over the samples, where the Landscape has them (``sample(..., standard_error=True)``). All
      cells see the same samples, so differences between cells are better known than this says;
    - the stated error of cells that were interpolated or corrected from a part of the samples.

    Args:
        landscape: a Landscape.
        value: which variable.

    Returns:
        float64, shaped like the field, and the words.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.array([0.0, 1.0]), length=1.0)
        >>> error, words = stated_error(build({"x": axis}, {"loss": np.array([1.0, 1000.0])}))
        >>> error.round(9).tolist(), words
        ([9.6e-07, 0.00096], 'float32 rounding')
    """
    values = np.asarray(landscape[value].values, np.float64)
    error, words = _rounding(landscape, value, values)
    if (name := f"{value}_se") in landscape:
        error = error + STANDARD_ERRORS * np.nan_to_num(landscape[name].values)
        words += f", {STANDARD_ERRORS:g} standard errors over {landscape.attrs['samples']} samples"
    if (name := f"{value}_uncertainty") in landscape:
        error = error + _in_units(landscape, value, values, landscape[name].values)
        words += ", the stated error of cells that were not evaluated on all samples"
    return error, words


def _rounding(landscape: xr.Dataset, value: str, values: np.ndarray) -> tuple[np.ndarray, str]:
    if measured(landscape, value):
        error, words = rounding(landscape, value)
        return np.where(np.isfinite(error), error, np.abs(values)), words
    dtype = str(landscape.attrs.get("dtype"))
    relative = structured(landscape, "evaluation").get("error", {}).get(value, {}).get("largest relative")
    if relative is not None:
        return float(relative) * np.abs(values), f"{dtype} rounding as measured"
    known = [SPACING[name] for name in dtype.split(",") if name in SPACING]
    spacing = SPACINGS * max(known, default=SPACING["float32"])
    words = f"{dtype} rounding" if known else "float32 rounding, assumed"
    return spacing * np.abs(values), words


def _in_units(landscape: xr.Dataset, value: str, values: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Errors that are shares of the range a picture shows, in the unit of the value."""
    told = structured(landscape, "sampling")
    scale: Literal["auto", "linear", "log"] = told.get("scale", "auto") if value == "loss" else "linear"
    clip = told.get("clip", "auto") if value == "loss" else None
    finite = values[np.isfinite(values)]
    shown = choose(finite, scale=scale, clip=clip)
    bottom, top = shown.limits
    steps = np.nan_to_num(shares) * (top - bottom)
    if shown.scale == "linear":
        return np.asarray(steps)
    constant = shown.linear_below if shown.scale == "symlog" else 0.0
    return np.asarray((np.abs(values) + constant) * (10.0**steps - 1.0))
