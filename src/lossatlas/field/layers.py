"""What can be shown on a map: basins, critical points, and what lies behind a ridge?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.field.basins import Tree, merge_tree
from lossatlas.field.ruggedness import rugged_cells
from lossatlas.field.stated import stated_error
from lossatlas.figure.overlays import Points, Symbol
from lossatlas.figure.words import number
from lossatlas.oneline import number_of, one_line, verb_of
from lossatlas.results.landscape import Status, axis_names

__all__ = ["MOST", "Layer", "layers"]

MOST = 250
"""Regions of a layer that are told apart."""

_NUMBERED = 30
"""With more minima than this, no numbers are written beside them."""

_BEYOND = "A minimum of a slice need not be a minimum beyond it."


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Regions and places of a field with two axes.

    Attributes:
        name: what is chosen: "basins", "critical points" or "ruggedness".
        regions: what each region is, in words.
        cells: int64 [n, m], the number of the region of each cell, -1 for none; n along the first axis.
        words: what is seen, in sentences.
        marks: single places.
    """

    name: str
    regions: tuple[str, ...]
    cells: np.ndarray
    words: str
    marks: tuple[Points, ...] = ()

    __repr__ = one_line


def layers(landscape: xr.Dataset, value: str = "loss") -> tuple[Layer, ...]:
    """The layers that a field with two axes has.

    Args:
        landscape: a Landscape with two axes.
        value: which variable.

    Returns:
        Basins and critical points, where the field has no holes, and ruggedness, where its points are evenly spaced and
        evaluated around the centre.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = np.linspace(-2, 2, 9)
        >>> axis = Axis(coordinates=x, length=1.0)
        >>> wells, points, rugged = layers(build({"x": axis, "y": axis}, {"loss": (x[:, None] ** 2 - 1) ** 2 + x**2}))
        >>> wells.regions
        ('basin 1: down to 0 at x −1, y 0', 'basin 2: down to 0 at x 1, y 0')
        >>> [(one.label, one.x.tolist(), one.y.tolist()) for one in points.marks]
        [('minimum', [-1.0, 1.0], [0.0, 0.0]), ('saddle', [0.0], [0.0])]
        >>> rugged.regions
        ('behind a ridge', 'falls again after a rise')
    """
    return (*_downhill(landscape, value), *filter(None, [_rugged(landscape, value)]))


def _downhill(landscape: xr.Dataset, value: str) -> tuple[Layer, ...]:
    """Basins, and the points where they are lowest and where they meet."""
    field = np.asarray(landscape[value].values, np.float64)
    known = np.isin(landscape["status"].values, (int(Status.OK), int(Status.INTERPOLATED))) & np.isfinite(field)
    if not known.all():
        return ()  # a hole could hide a minimum or a pass
    slack, how = stated_error(landscape, value)
    tree = merge_tree(field, slack)
    left = (
        f"{number_of(tree.dropped, 'minimum', 'minima')} too shallow to be distinguished from noise "
        f"{verb_of(tree.dropped, 'is')} left out ({how}). {_BEYOND}"
    )
    return _basins(landscape, field, tree, left), _critical(landscape, field, tree, left)


def _basins(landscape: xr.Dataset, field: np.ndarray, tree: Tree, left: str) -> Layer:
    axes, regions = axis_names(landscape), []
    for n, cell in enumerate(tree.minima[:MOST], 1):
        at = zip(axes, np.unravel_index(cell, field.shape), strict=True)
        place = ", ".join(f"{name} {number(float(landscape[name].values[i]))}" for name, i in at)
        regions.append(f"basin {n}: down to {number(float(field.flat[cell]))} at {place}")
    count = len(tree.minima)
    words = (
        "One basin: all cells run down to the same minimum." if count == 1 else f"{count} basins, the deepest first."
    )
    if count > MOST:
        words += f" Only the {MOST} deepest are drawn."
    cells = np.where(tree.labels < MOST, tree.labels, -1)
    return Layer(name="basins", regions=tuple(regions), cells=cells, words=f"{words} {left}")


def _critical(landscape: xr.Dataset, field: np.ndarray, tree: Tree, left: str) -> Layer:
    """Minima, numbered as their basins, and the lowest passes between them."""
    minima = np.asarray(tree.minima[:MOST], np.int64)
    passes = np.array([merge.saddle for merge in tree.merges[:MOST]], np.int64)
    numbered = [str(n) for n in range(1, len(minima) + 1)] if len(minima) <= _NUMBERED else []
    marks = [_points(landscape, field, minima, "minimum", "circle", numbered)]
    words = number_of(len(tree.minima), "minimum", "minima, the deepest first")
    if len(passes):
        marks.append(_points(landscape, field, passes, "saddle", "cross", []))
        words += ", and " + number_of(len(tree.merges), "saddle", "saddles, where basins meet")
    nothing = np.full(field.shape, -1)
    return Layer(name="critical points", regions=(), cells=nothing, words=f"{words}. {left}", marks=tuple(marks))


def _points(
    landscape: xr.Dataset, field: np.ndarray, cells: np.ndarray, label: str, symbol: Symbol, words: list[str]
) -> Points:
    x, y = (
        landscape[name].values[places]
        for name, places in zip(axis_names(landscape), np.unravel_index(cells, field.shape), strict=True)
    )
    return Points(x=x, y=y, label=label, symbol=symbol, words=words)


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
        "again after a rise, along one of the rays of the measure. A convex function has no such cells."
    )
    return Layer(name="ruggedness", regions=("behind a ridge", "falls again after a rise"), cells=cells, words=words)
