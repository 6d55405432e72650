"""Does a picture lead from one network to another, and do BatchNorm's statistics suit both?"""

from __future__ import annotations

import re
from collections.abc import Sequence

import xarray as xr

from lossatlas.figure.words import WAY
from lossatlas.results.landscape import axis_names
from lossatlas.results.moves import TOWARDS, of_inputs

__all__ = ["MISFIT", "is_way", "leads_elsewhere", "misfit"]

MISFIT = "BatchNorm has one network's statistics all along: a barrier may be due to them."
"""What a picture says on whose way from one network to another the statistics are frozen."""

_FRACTION = ("fraction of the ", "share of the ")  # the second in files of version 0.1
_WAY = re.compile(r"^(towards|from|along|straight|curve|path|fraction of the|share of the)\b", re.IGNORECASE)


def is_way(label: str) -> bool:
    """Whether the label of an axis says that it leads somewhere, so that a barrier on it is what counts.

    Args:
        label: of the axis.

    Returns:
        Whether it does.

    Example:
        >>> is_way("towards b.pt"), is_way("fraction of the Bézier curve"), is_way("random direction 1")
        (True, True, False)
    """
    return bool(_WAY.match(label))


def leads_elsewhere(landscape: xr.Dataset) -> bool:
    """Whether an axis of a Landscape leads to another network: a straight way, a curve, or a direction towards it.

    Args:
        landscape: a Landscape.

    Returns:
        Whether one does; none does where inputs move.

    Example:
        >>> import numpy as np
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = Axis(coordinates=np.array([0.0, 1.0]), length=1.0, label="from a.pt (0) to b.pt (1)")
        >>> leads_elsewhere(build({"x": x}, {"loss": np.ones(2)}))
        True
    """
    labels = [str(landscape[axis].attrs.get("long_name", "")) for axis in axis_names(landscape)]
    there = (bool(WAY.match(label)) or label.startswith((TOWARDS, *_FRACTION)) for label in labels)
    return any(there) and not of_inputs([landscape])


def misfit(landscapes: Sequence[xr.Dataset]) -> str:
    """What must be said where BatchNorm's statistics are those of one network on the way to another.

    Args:
        landscapes: what is drawn.

    Returns:
        A sentence; empty where there is no such way, no BatchNorm, or its statistics suit every point.
    """
    return MISFIT if any(one.attrs.get("batchnorm") == "frozen" and leads_elsewhere(one) for one in landscapes) else ""
