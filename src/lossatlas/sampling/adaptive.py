"""Which points are worth evaluating: few where the surface is smooth, all of them where it is rough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from scipy.spatial import KDTree

from lossatlas.errors import SpecError, unknown
from lossatlas.figure.ranges import Range, choose
from lossatlas.results.landscape import Status, complete
from lossatlas.results.spec import Block
from lossatlas.sampling import surrogate
from lossatlas.sampling.filling import interpolated
from lossatlas.sampling.samplers import Grid, coarse_to_fine

__all__ = ["FIRST", "GROWTH", "HOPELESS", "MANY", "PROBES", "Adaptive", "AdaptiveQueue", "coarse_cells"]

FIRST = {1: 9, 2: 6, 3: 5}
"""Points along each axis to begin with, by the number of axes."""

GROWTH = 0.1
"""New points between two fits, as a share of those there are."""

PROBES = 0.15
"""Share of them taken at random: what looks smooth is visited too."""

MANY = 0.5
"""Share of the grid from which on a surface is called rough."""

HOPELESS = 0.5
"""Share of the grid after which a surface that is still mostly unknown is called rough and evaluated whole."""


@dataclass(frozen=True, init=False)
class Adaptive:
    """Points of a grid where they are needed; the other cells are interpolated, each with a stated error.

    It begins with a coarse grid, then goes where the stated error is largest, until every cell is within the
    tolerance by its stated error, which is calibrated on cells that were held out (see
    :mod:`lossatlas.sampling.surrogate`). A surface that is rough at this spacing is evaluated whole, and says so. What
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
            raise SpecError(unknown("scale", scale, ("auto", "linear", "log")))
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
        filled, errors = interpolated(landscape, self.shown)
        within = float(np.mean(errors["loss"] <= self.tolerance)) if filled else None
        evaluated = int((landscape["status"].values != Status.NOT_SAMPLED).sum())
        return complete(landscape, filled, errors, self._words(evaluated, landscape["status"].size, within))

    def _words(self, evaluated: int, cells: int, within: float | None) -> dict[str, Any]:
        facts = self.identity | {"evaluated": evaluated, "cells": cells}
        if within is None:
            few = len(coarse_cells(self.axes)) == cells
            why = "no more than the first coarse grid" if few else "the surface is rough at this spacing"
            return facts | {"verdict": f"all {cells} points were needed: {why}"}
        share = f"{100 * within:.1f} % of the cells"
        verdict = f"{evaluated} of {cells} points evaluated, the others interpolated: {share} within "
        verdict += f"{100 * self.tolerance:g} % of the range, by held-out points"
        if evaluated > MANY * cells:
            verdict += "; rough over much of the plane"
        return facts | {"within": within, "verdict": verdict}


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
        if self._rest is not None or len(known) < surrogate.fewest(len(self._sampler.shape)):
            return self._in_order(count)
        return self._chosen(free, known, count)

    def _in_order(self, count: int) -> np.ndarray:
        if self._rest is None:
            self._rest = coarse_to_fine(self._sampler.shape)
        self._rest = self._rest[~self._told[self._rest]]
        now: np.ndarray = self._rest[:count]
        return now

    def _chosen(self, free: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
        found = surrogate.estimate(self._cells, known, self._values[known], self._sampler.shown)
        errors = np.where(self._told, 0.0, found.errors)
        # Beside a value that is not finite nothing can be interpolated: those cells are all visited.
        errors[free[_beside_a_hole(self._cells, free, self._told, self._values)]] = np.inf
        rough = np.mean(errors[free] > self._sampler.tolerance)
        if (errors * found.doubt <= self._sampler.tolerance).all():
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
