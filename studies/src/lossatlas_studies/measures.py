"""Which numbers a study takes from landscapes: how much bends down, how wide the valley is, how far seeds differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lossatlas.field.convexity import negative_share, share_below

VALLEY = 1.0
"""Loss below which a point is in the valley."""

BEND = 0.05
"""A cell bends down if it does so by more than this share of how it bends up (Li et al. 2018, section 6)."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a landscape, from several pairs of directions.

    Attributes:
        bends: share of the area that bends down, by pair of directions.
        valley: share of the area with a loss below 1.
        spread: how far directions differ: the median over cells of the standard deviation over directions, relative to
            the mean.
    """

    bends: tuple[float, ...]
    valley: tuple[float, ...]
    spread: float

    @property
    def bend(self) -> float:
        """Mean share that bends down."""
        return float(np.mean(self.bends))

    @property
    def width(self) -> float:
        """Mean share in the valley."""
        return float(np.mean(self.valley))


def shape(landscapes: Sequence[xr.Dataset]) -> Shape:
    """The shape of a network's landscapes on one grid.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.linspace(-1, 1, 9), length=1.0)
        >>> bowl = build({"x": axis}, {"loss": 2 * axis.coordinates**2})
        >>> shape([bowl, bowl])
        Shape(bends=(0.0, 0.0), valley=(0.5555555555555556, 0.5555555555555556), spread=0.0)
    """
    fields = np.array([one["loss"].values for one in landscapes])
    spread = np.nan
    if len(landscapes) > 1:
        mean = fields.mean(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = fields.std(axis=0, ddof=1) / mean
        spread = float(np.nanmedian(relative[mean > 0])) if np.any(mean > 0) else np.nan
    return Shape(
        bends=tuple(_bend(one) for one in landscapes),
        valley=tuple(share_below(one, VALLEY) for one in landscapes),
        spread=spread,
    )


def _bend(landscape: xr.Dataset) -> float:
    """Not a number if no cell has finite neighbours, as around a network that has diverged."""
    if not np.isfinite(landscape["loss"].values).any():
        return float("nan")
    return negative_share(landscape, threshold=BEND)


def percent(share: float) -> str:
    """A share in per cent, with a decimal if it is small.

    Example:
        >>> percent(0.0173), percent(0.42), percent(float("nan"))
        ('1.7 %', '42 %', 'not known')
    """
    if not np.isfinite(share):
        return "not known"
    return f"{100 * share:.1f} %" if abs(share) < 0.1 else f"{100 * share:.0f} %"
