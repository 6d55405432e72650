"""Does a dataset that was read from a file hold what the schema promises, type by type?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.expected import described_type
from lossatlas.results.naming import check_axes
from lossatlas.untrusted import printable

__all__ = ["check_contents", "plain_attributes"]

_STRUCTURED = ("centre", "cosines", "counts", "curvature", "evaluation", "provenance", "sampling")
_NUMBERS = ("schema", "samples", "seed")
_STATUSES = 6


def plain_attributes(landscape: xr.Dataset) -> None:
    """Turn attributes that netCDF gave as NumPy numbers into Python's; in place."""
    for part in (landscape, *(landscape[name] for name in landscape.variables)):
        part.attrs = {
            key: value.item() if isinstance(value, np.generic) else value for key, value in part.attrs.items()
        }


def check_contents(landscape: xr.Dataset) -> None:
    """Check what a file says about itself before anything relies on it.

    Args:
        landscape: a dataset with the variables of a Landscape; its texts are made printable, in place.

    Raises:
        SpecError: a coordinate, value, status or attribute is of another type than the schema says.
    """
    dims = [str(name) for name in landscape["status"].dims]
    if not 1 <= len(dims) <= 3:
        raise SpecError(f"not a Landscape: it has the axes {dims}; expected one to three")
    check_axes(dims)
    for name in dims:
        _check_axis(landscape, name)
    for own, variable in landscape.variables.items():
        for key, value in list(variable.attrs.items()):
            variable.attrs[key] = printable(value) if isinstance(value, str) else value
        if variable.dtype.kind not in "fiub":
            raise SpecError(f"not a Landscape: {str(own)!r} holds {variable.dtype}; expected numbers")
    status = landscape["status"].values
    if status.dtype.kind not in "iu" or status.size == 0 or status.min() < 0 or status.max() >= _STATUSES:
        raise SpecError(f"not a Landscape: 'status' has values other than 0 to {_STATUSES - 1}")
    for attribute, value in list(landscape.attrs.items()):
        landscape.attrs[attribute] = _checked(str(attribute), value)


def _check_axis(landscape: xr.Dataset, name: str) -> None:
    values = landscape[name].values
    good = values.dtype.kind in "fiu" and values.ndim == 1 and bool(np.isfinite(values).all())
    if not good or (np.diff(values) <= 0).any():
        raise SpecError(f"not a Landscape: the coordinates {name!r} are not finite numbers in increasing order")
    length = landscape[f"{name}_length"]
    if length.dims != (name,) or length.dtype.kind not in "fiu":
        raise SpecError(f"not a Landscape: '{name}_length' does not have one number for each {name!r}")
    told = landscape[name].attrs
    if not isinstance(told.get("length", 0.0), (int, float)) or not isinstance(told.get("long_name", ""), str):
        raise SpecError(f"not a Landscape: the axis {name!r} has no number as its length, or no text as its label")


def _checked(name: str, value: Any) -> Any:
    """An attribute of the schema, in its type."""
    if name in _NUMBERS:
        if not isinstance(value, (int, float)) and value != "":
            raise SpecError(f"not a Landscape: the attribute {name} is {str(value)[:60]!r}; expected a number")
        return value
    if not isinstance(value, str):
        raise SpecError(f"not a Landscape: the attribute {name} is {described_type(value)}; expected a text")
    if name not in _STRUCTURED:
        return printable(value)
    try:
        content = json.loads(value or "{}")
    except (ValueError, RecursionError) as fault:
        raise SpecError(f"not a Landscape: the attribute {name} is not JSON ({fault})") from fault
    if not isinstance(content, dict):
        raise SpecError(f"not a Landscape: the attribute {name} does not hold a JSON object")
    return value
