"""Which cells of a map belong together: basins, and what lies behind a ridge?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.field.basins import merge_tree
from lossatlas.field.ruggedness import rugged_cells
from lossatlas.field.stated import stated_error
from lossatlas.figure.words import number
from lossatlas.oneline import one_line
from lossatlas.results.landscape import Status, axis_names

__all__ = ["MOST", "Layer", "layers"]

MOST = 250
"""Regions of a layer that are told apart."""

_BEYOND = "A minimum of a slice need not be a minimum beyond it."


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Regions of a field with two axes.

    Attributes:
        name: what is chosen: "basins" or "ruggedness".
        regions: what each region is, in words.
        cells: int64 [n, m], the number of the region of each cell, -1 for none; n along the first axis.
        words: what is seen, in sentences.
    """

    name: str
    regions: tuple[str, ...]
    cells: np.ndarray
    words: str

    __repr__ = one_line


def layers(landscape: xr.Dataset, value: str = "loss") -> tuple[Layer, ...]:
    """The layers that a field with two axes has.

    Args:
        landscape: a Landscape with two axes.
        value: which variable.

    Returns:
        Basins, where the field has no holes, and ruggedness, where its points are evenly spaced and evaluated around
        the centre.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = np.linspace(-2, 2, 9)
        >>> axis = Axis(coordinates=x, length=1.0)
        >>> wells, rugged = layers(build({"x": axis, "y": axis}, {"loss": (x[:, None] ** 2 - 1) ** 2 + x**2}))
        >>> wells.regions
        ('basin 1: down to 0 at x −1, y 0', 'basin 2: down to 0 at x 1, y 0')
        >>> rugged.regions
        ('behind a ridge', 'falls again after a rise')
    """
    return tuple(one for one in (_basins(landscape, value), _rugged(landscape, value)) if one is not None)


def _basins(landscape: xr.Dataset, value: str) -> Layer | None:
    field = np.asarray(landscape[value].values, np.float64)
    known = np.isin(landscape["status"].values, (int(Status.OK), int(Status.INTERPOLATED))) & np.isfinite(field)
    if not known.all():
        return None  # a hole could hide a minimum or a pass
    slack, how = stated_error(landscape, value)
    tree = merge_tree(field, slack)
    axes, regions = axis_names(landscape), []
    for n, cell in enumerate(tree.minima[:MOST], 1):
        at = zip(axes, np.unravel_index(cell, field.shape), strict=True)
        place = ", ".join(f"{name} {number(float(landscape[name].values[i]))}" for name, i in at)
        regions.append(f"basin {n}: down to {number(float(field.flat[cell]))} at {place}")
    count = len(tree.minima)
    words = "One basin: all cells run down to one minimum." if count == 1 else f"{count} basins, the deepest first."
    if count > MOST:
        words += f" Only the {MOST} deepest are drawn."
    words += f" {tree.dropped} minima too shallow to be told from none are left out ({how}). {_BEYOND}"
    cells = np.where(tree.labels < MOST, tree.labels, -1)
    return Layer(name="basins", regions=tuple(regions), cells=cells, words=words)


def _rugged(landscape: xr.Dataset, value: str) -> Layer | None:
    try:
        cells = rugged_cells(landscape, value)
    except SpecError:  # too few points, uneven ones, or a curve
        return None
    if cells is None:
        return None
    hidden, falls = int((cells >= 0).sum()), int((cells == 1).sum())
    words = (
        f"{hidden} of {cells.size} cells lie behind a ridge as seen from the centre; in {falls} of them {value} falls "
        "again along one of the rays of the measure, after a rise. A convex function has none."
    )
    return Layer(name="ruggedness", regions=("behind a ridge", "falls again after a rise"), cells=cells, words=words)
