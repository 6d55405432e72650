"""A map of curvature over a loss surface: does it belong to the same plane, and which part of it is drawn?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.expected import LANDSCAPE, check_kind
from lossatlas.oneline import one_line
from lossatlas.results.landscape import axis_names, structured

__all__ = ["RatioMap", "only_a_page", "ratio_map"]

_SAME = ("model", "data", "samples", "loss", "normalisation", "still", "batchnorm", "seed")
"""What two landscapes of one plane must agree on."""

_CLOSE = 1e-5


@dataclass(frozen=True, kw_only=True)
class RatioMap:
    """``|λmin/λmax|`` on a grid of its own.

    Attributes:
        x: float64 [n], coordinates along the first axis, in multiples of its direction.
        y: float64 [m], along the second.
        values: float64 [n, m].
        status: int8 [n, m].
    """

    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    status: np.ndarray

    __repr__ = one_line


def ratio_map(found: xr.Dataset, sources: list[xr.Dataset]) -> RatioMap:
    """Take the ratio out of a map of curvature, where it belongs to what is drawn.

    Args:
        found: what :func:`lossatlas.curvature_map` gave.
        sources: what is drawn.

    Returns:
        The ratio on its own grid.

    Raises:
        SpecError: it is not a map of curvature, or one of another plane, model or data; the message says what differs.
    """
    check_kind("ratio", found, xr.Dataset, f"a map of curvature: {LANDSCAPE}")
    if "ratio" not in found:
        raise SpecError(
            "ratio: this Landscape has no value 'ratio'; give a result of la.curvature_map or `eigen --map`"
        )
    if len(sources) != 1 or len(axis_names(sources[0])) != 2:
        raise SpecError("ratio: a map of curvature is laid over one landscape with two axes")
    differ = list(_differences(found, sources[0]))
    if differ:
        raise SpecError(f"ratio: the map of curvature is not of this plane: {'; '.join(differ)}")
    x, y = (np.asarray(found[name], np.float64) for name in axis_names(found))
    return RatioMap(x=x, y=y, values=np.asarray(found["ratio"], np.float64), status=np.asarray(found["status"]))


def only_a_page(found: object, what: str) -> None:
    """Refuse a map over anything but a page.

    Args:
        found: the map; ``None`` where there is none.
        what: what is drawn instead of a page.

    Raises:
        SpecError: there is one.
    """
    if found is not None:
        raise SpecError(f"ratio: only a page (.html) can lay a map of curvature over a surface; {what} cannot")


def _differences(found: xr.Dataset, surface: xr.Dataset) -> Iterator[str]:
    ours, theirs = axis_names(surface), axis_names(found)
    if ours != theirs:
        yield f"its axes are {', '.join(theirs)}, but the surface has {', '.join(ours)}"
        return
    for name in ours:
        a, b = found[name].attrs, surface[name].attrs
        if a.get("long_name") != b.get("long_name"):
            yield f"axis {name} is {a.get('long_name')!r} there and {b.get('long_name')!r} here"
        if not _alike(a.get("length"), b.get("length")):
            yield f"axis {name} has length {a.get('length')} there and {b.get('length')} here"
    for what in _SAME:
        one, other = (str(each.attrs.get(what, "")) for each in (found, surface))
        if one != other:
            yield f"{what} is {one or 'not known'} there and {other or 'not known'} here"
    there, here = structured(found, "cosines"), structured(surface, "cosines")
    for pair in sorted({*there} & {*here}):
        if not math.isclose(there[pair], here[pair], abs_tol=_CLOSE):
            yield f"the cosine of {pair} is {there[pair]:.6g} there and {here[pair]:.6g} here"
    there, here = (structured(one, "provenance").get("fingerprints", {}) for one in (found, surface))
    for what in sorted({*there} & {*here}):
        if there[what] != here[what]:
            yield f"the fingerprint of its {what} is {there[what]} there and {here[what]} here"


def _alike(a: Any, b: Any) -> bool:
    try:
        return math.isclose(float(a), float(b), rel_tol=_CLOSE) or (math.isnan(float(a)) and math.isnan(float(b)))
    except (TypeError, ValueError):
        return bool(a == b)
