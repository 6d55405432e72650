"""Which points are worth evaluating: few where the surface is smooth, all of them where it is rough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from scipy.spatial import KDTree

from lossatlas.analysis import surrogate
from lossatlas.analysis.surrogate import Estimate
from lossatlas.draw.ranges import Range, choose
from lossatlas.errors import SpecError, unknown
from lossatlas.results.landscape import Status, complete, value_names
from lossatlas.results.spec import Block
from lossatlas.sampling.samplers import Grid, coarse_to_fine

SHARE = 0.99
"""Share of the cells whose stated error must be within the tolerance."""

FIRST = {1: 9, 2: 6, 3: 5}
"""Points along each axis to begin with, by the number of axes."""

GROWTH = 0.06
"""New points between two fits, as a share of those there are."""

PROBES = 0.15
"""Share of them taken at random: what looks smooth is visited too."""

HOPELESS = 0.5
"""Share of the grid after which a surface that is still mostly unknown is called rough and evaluated whole."""


@dataclass(frozen=True, init=False)
class Adaptive:
    """Points of a grid where they are needed; the other cells are interpolated, each with a stated error.

    It begins with a coarse grid, then goes where the stated error is largest, until 99 % of all cells are within the
    tolerance by their stated error, which is calibrated on cells that were held out (see
    :mod:`lossatlas.analysis.surrogate`). A surface that is rough at this spacing is evaluated whole, and says so. What
    no sampler can see is a needle between the points it visited.

    Args:
        tolerance: wanted error, as a share of the range that a picture shows after its logarithm and clip.
        scale: scale of that picture: "auto", "linear" or "log".
        clip: largest value it shows; "auto" as :func:`lossatlas.draw` chooses, None for all.
        axes: as for :class:`Grid`.

    Raises:
        SpecError: a tolerance outside 0 to 0.5, an unknown scale, or bad axes.

    Example:
        >>> sampler = Adaptive(x=(-1, 1, 51), y=(-1, 1, 51), tolerance=0.02)
        >>> sampler.shape
        (51, 51)
    """

    axes: Mapping[str, np.ndarray]
    tolerance: float
    scale: Literal["auto", "linear", "log"]
    clip: float | Literal["auto"] | None

    def __init__(
        self,
        *,
        tolerance: float = 0.02,
        scale: Literal["auto", "linear", "log"] = "auto",
        clip: float | Literal["auto"] | None = "auto",
        **axes: Any,
    ) -> None:
        if not 0 < tolerance < 0.5:
            raise SpecError(f"tolerance={tolerance!r}; expected a share of the shown range, such as 0.02 (2 %)")
        if scale not in ("auto", "linear", "log"):
            raise unknown("scale", scale, ("auto", "linear", "log"))
        object.__setattr__(self, "axes", Grid(**axes).axes)
        object.__setattr__(self, "tolerance", float(tolerance))
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "clip", clip)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of cells along each axis."""
        return tuple(len(coordinates) for coordinates in self.axes.values())

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two samplers the same, beside their axes."""
        return {"kind": "adaptive", "tolerance": self.tolerance, "scale": self.scale, "clip": self.clip}

    def start(self, told: Block) -> AdaptiveQueue:
        """Begin, or go on where ``told`` is known already."""
        return AdaptiveQueue(self, told)

    def shown(self, values: np.ndarray) -> Range:
        """The range of a picture of these values."""
        finite = values[np.isfinite(values)]
        # A clip below all that is known so far cannot be drawn yet; it will be once the valley is found.
        clip = None if isinstance(self.clip, (int, float)) and not self.clip > finite.min() else self.clip
        return choose(finite, scale=self.scale, clip=clip)

    def finish(self, landscape: xr.Dataset) -> xr.Dataset:
        """Fill the cells that were not evaluated: interpolated, marked as such, with their error beside them."""
        status = landscape["status"].values.ravel()
        known = np.flatnonzero(status == Status.OK)
        cells = surrogate.places(self.shape)
        free = np.flatnonzero(status == Status.NOT_SAMPLED)
        if not len(free) or len(known) < len(self.shape) + 3:
            return complete(landscape, {}, {}, self._words(len(status) - len(free), len(status), None))
        filled, errors = {}, {}
        within = 1.0
        for name in value_names(landscape):
            values = landscape[name].values.ravel()[known]
            shown = self.shown(values) if name == "loss" else choose(values, scale="linear", clip=None)
            found = _estimated(cells, known, values, shown)
            filled[name] = _back(found.values, shown)
            errors[name] = found.errors / _span(shown)
            if name == "loss":
                within = float(np.mean(errors[name] <= self.tolerance))
        return complete(landscape, filled, errors, self._words(len(status) - len(free), len(status), within))

    def _words(self, evaluated: int, cells: int, within: float | None) -> dict[str, Any]:
        facts = self.identity | {"evaluated": evaluated, "cells": cells}
        if within is None:
            return facts | {"verdict": f"all {cells} points were needed: the surface is rough at this spacing"}
        share = f"{100 * within:.1f} % of the cells"
        verdict = f"{evaluated} of {cells} points evaluated, the others interpolated: {share} within "
        return facts | {
            "within": within,
            "verdict": f"{verdict}{100 * self.tolerance:g} % of the range, by held-out points",
        }


class AdaptiveQueue:
    """The points of one run that are still to come. What is asked for depends only on what was told."""

    def __init__(self, sampler: Adaptive, told: Block) -> None:
        self._sampler = sampler
        self._cells = surrogate.places(sampler.shape)
        self._values = np.full(len(self._cells), np.nan)
        self._told = np.zeros(len(self._cells), bool)
        self._first = coarse_cells(sampler.axes)
        self._rest: np.ndarray | None = None
        self.tell(told)

    def tell(self, block: Block) -> None:
        """Hear what was found."""
        self._told[block.indices] = True
        ok = block.status == Status.OK
        self._values[block.indices[ok]] = block.values[ok, 0]

    def ask(self, count: int) -> np.ndarray:
        """The next points; none when the tolerance is reached or nothing is left."""
        first: np.ndarray = self._first[~self._told[self._first]]
        if len(first):
            return first[:count]
        free = np.flatnonzero(~self._told)
        known = np.flatnonzero(np.isfinite(self._values))
        if not len(free):
            return free
        if self._rest is not None or len(known) < len(self._sampler.shape) + 3:
            return self._in_order(count)
        return self._chosen(free, known, count)

    def _in_order(self, count: int) -> np.ndarray:
        if self._rest is None:
            self._rest = coarse_to_fine(self._sampler.shape)
        self._rest = self._rest[~self._told[self._rest]]
        now: np.ndarray = self._rest[:count]
        return now

    def _chosen(self, free: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
        values = self._values[known]
        shown = self._sampler.shown(values)
        found = _estimated(self._cells, known, values, shown)
        errors = np.where(self._told, 0.0, found.errors) / _span(shown)
        # Beside a value that is not finite nothing can be interpolated: those cells are all visited.
        errors[free[_beside_a_hole(self._cells, free, self._told, self._values)]] = np.inf
        rough = np.mean(errors[free] > self._sampler.tolerance)
        if np.mean(errors > self._sampler.tolerance) <= 1 - SHARE and not np.isinf(errors).any():
            return np.empty(0, np.int64)
        if self._told.mean() > HOPELESS and rough > HOPELESS:
            return self._in_order(count)
        wanted = min(max(8, int(GROWTH * self._told.sum())), len(free), count)
        return _spread(self._cells, free, errors, found.distances, wanted, seed=int(self._told.sum()))


def coarse_cells(axes: Mapping[str, np.ndarray]) -> np.ndarray:
    """The coarse grid to begin with, its corners included, after the cell nearest the origin: the trained network.

    Returns:
        Flat indices in C order of the axes, int64.

    Example:
        >>> coarse_cells({"x": np.linspace(-1, 1, 17)}).tolist()
        [8, 0, 2, 4, 6, 10, 12, 14, 16]
    """
    shape = tuple(len(coordinates) for coordinates in axes.values())
    sides = [np.unique(np.linspace(0, n - 1, min(n, FIRST[len(shape)])).round().astype(int)) for n in shape]
    coarse = np.ravel_multi_index(np.meshgrid(*sides, indexing="ij"), shape).ravel()
    centre = np.ravel_multi_index([int(np.argmin(np.abs(c))) for c in axes.values()], shape)
    return np.array([centre, *coarse[coarse != centre]], np.int64)


def _estimated(cells: np.ndarray, known: np.ndarray, values: np.ndarray, shown: Range) -> Estimate:
    return surrogate.estimate(cells, known, shown.heights(values))


def _span(shown: Range) -> float:
    bottom, top = shown.limits
    return max(top - bottom, np.finfo(float).tiny)


def _back(heights: np.ndarray, shown: Range) -> np.ndarray:
    """Values from heights: the way a picture went, back."""
    if shown.scale == "log":
        return np.asarray(10.0**heights)
    if shown.scale == "symlog":
        return np.asarray(np.sign(heights) * (10.0 ** np.abs(heights) - 1.0) * shown.linear_below)
    return heights


def _beside_a_hole(cells: np.ndarray, free: np.ndarray, told: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Of the free cells, those as near to a value that is not finite as to one that is, or right beside one."""
    holes, known = np.flatnonzero(told & ~np.isfinite(values)), np.flatnonzero(np.isfinite(values))
    if not len(holes):
        return np.zeros(len(free), bool)
    to_hole, _ = KDTree(cells[holes]).query(cells[free])
    to_value, _ = KDTree(cells[known]).query(cells[free])
    beside = 1.5 * max(np.diff(np.unique(side)).max(initial=0.0) for side in cells.T)
    return np.asarray(to_hole <= np.maximum(to_value, beside))


def _spread(
    cells: np.ndarray, free: np.ndarray, errors: np.ndarray, distances: np.ndarray, count: int, *, seed: int
) -> np.ndarray:
    """The cells of largest error, each pushing the next ones away from itself, and a few at random."""
    random = np.random.default_rng(seed)
    chosen = list(random.choice(free, min(round(PROBES * count), len(free)), replace=False))
    scores = np.where(np.isinf(errors), np.nanmax(errors[np.isfinite(errors)], initial=1.0) * 2.0, errors)
    scores[chosen] = 0.0
    while len(chosen) < count:
        best = int(scores.argmax())
        if scores[best] <= 0:
            break
        chosen.append(best)
        reach = max(float(distances[best]), 1e-9)
        scores = scores * (1.0 - np.exp(-((cells - cells[best]) ** 2).sum(axis=1) / reach**2))
        scores[best] = 0.0
    return np.array(chosen, np.int64)
