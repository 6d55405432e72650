"""Which points are worth evaluating? Few where the surface is smooth, all where it is rough."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_number
from lossatlas.field.stated import checked, view
from lossatlas.figure.ranges import Range, choose
from lossatlas.results.landscape import Status, complete
from lossatlas.results.spec import Block
from lossatlas.sampling import fresh, surrogate
from lossatlas.sampling.filling import interpolated
from lossatlas.sampling.fresh import Fresh
from lossatlas.sampling.samplers import Grid, axes_in_words, coarse_to_fine

__all__ = ["FIRST", "GROWTH", "HOPELESS", "MANY", "PROBES", "Adaptive", "AdaptiveQueue", "coarse_cells"]

FIRST = {1: 9, 2: 5, 3: 4}
"""Points along each axis to begin with, by the number of axes."""

ANCHORS = {1: 9, 2: 6, 3: 5}
"""The same for the anchors of a subset of the samples."""

GROWTH = 0.1
"""New points between two fits, as a share of those there are."""

PROBES = 0.15
"""Share of them that are fresh, see :mod:`lossatlas.sampling.fresh`: areas that look smooth are visited too."""

MANY = 0.5
"""Share of the grid from which on a surface is called rough."""

USUAL = 0.1
"""Share of the grid that a surface usually takes, see the table in ``docs/measured.md``."""

MOST = 500
"""New points between two fits, at most."""

HOPELESS = 0.5
"""Share of the grid after which a surface that is still mostly unknown is called rough and evaluated whole."""


@dataclass(frozen=True, init=False)
class Adaptive:
    """Evaluate the points of a grid that are needed; the other cells are interpolated, each with a stated error.

    It begins with a coarse grid and cells drawn at random, then goes where the stated error is largest (see
    :mod:`lossatlas.sampling.surrogate`) until that is within the tolerance everywhere. Then comes a test: twelve fresh
    cells, drawn at random before the run, are predicted before they are evaluated (see
    :mod:`lossatlas.sampling.fresh`), and it stops only if all lie within the tolerance. A surface that is rough at this
    spacing is evaluated in full, and the result says so. No sampler can see a needle between the points it visited; the
    result states how much of the plane such a feature may cover.

    It asks in rounds. Workers of an executor that would wait for the end of one are given points ahead, which changes
    no point of the run; ``evaluation`` in its result says how many, and how many of them were asked for
    (:mod:`lossatlas.sampling.ahead`).

    Args:
        tolerance: wanted error, as a share of the range that a picture shows, after logarithm and clip.
        scale: scale of that picture: "auto", "linear" or "log".
        clip: largest value it shows; "auto" as :func:`lossatlas.draw` chooses, None for all.
        axes: as for :class:`Grid`.

    Raises:
        SpecError: the tolerance is not between 0 and 0.5, the scale is unknown, or the axes are not valid.

    Example:
        >>> sampler = Adaptive(x=(-1, 1, 51), y=(-1, 1, 51), tolerance=0.02)
        >>> sampler.shape
        (51, 51)
    """

    axes: Mapping[str, np.ndarray]
    tolerance: float
    scale: Literal["auto", "linear", "log"]
    clip: float | Literal["auto"] | None
    range_words: str = ""

    def __init__(
        self,
        *,
        tolerance: float = 0.02,
        scale: Literal["auto", "linear", "log"] = "auto",
        clip: float | Literal["auto"] | None = "auto",
        **axes: Any,
    ) -> None:
        check_number("tolerance", tolerance, "a share of the shown range, such as 0.02 (2 %)")
        if not 0 < tolerance < 0.5:
            raise SpecError(f"tolerance={tolerance!r}; expected a share of the shown range, such as 0.02 (2 %)")
        if scale not in ("auto", "linear", "log"):
            raise SpecError(unknown("scale", scale, ("auto", "linear", "log")))
        object.__setattr__(self, "axes", Grid(**axes).axes)
        object.__setattr__(self, "tolerance", float(tolerance))
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "clip", clip)
        object.__setattr__(self, "range_words", "")

    @classmethod
    def of(cls, grid: Grid, *, tolerance: float = 0.02, **options: Any) -> Self:
        """Evaluate only as many points of a grid as needed, such as one found by :meth:`Grid.auto`.

        Args:
            grid: the cells; what it says about its range appears in captions.
            tolerance: wanted error, as for the class.
            options: ``scale`` and ``clip``, as for the class.

        Returns:
            The sampler.

        Example:
            >>> Adaptive.of(Grid(x=(-1, 1, 51), y=(-1, 1, 51)), tolerance=0.05)
            Adaptive(x=(-1, 1, 51), y=(-1, 1, 51), tolerance=0.05)
        """
        axes: dict[str, Any] = dict(grid.axes)
        made = cls(tolerance=tolerance, **options, **axes)
        object.__setattr__(made, "range_words", grid.range_words)
        return made

    def __repr__(self) -> str:
        """As it was called."""
        return f"Adaptive({axes_in_words(self.axes)}, tolerance={self.tolerance:g})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of cells along each axis."""
        return tuple(len(coordinates) for coordinates in self.axes.values())

    @property
    def expected(self) -> int:
        """How many points it is expected to take: those that it begins with, and a tenth of the grid."""
        total = math.prod(self.shape)
        return min(total, len(coarse_cells(self.axes, FIRST)) + round(USUAL * total))

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two samplers the same, besides their axes."""
        return {"kind": "adaptive", "tolerance": self.tolerance, "scale": self.scale, "clip": self.clip}

    @property
    def _fresh(self) -> Fresh:
        return Fresh.of(math.prod(self.shape), coarse_cells(self.axes, FIRST))

    def start(self, told: Block) -> AdaptiveQueue:
        """Begin, or go on where ``told`` is known already."""
        return AdaptiveQueue(self, told)

    def shown(self, values: np.ndarray) -> Range:
        """The range of a picture of these values."""
        finite = values[np.isfinite(values)]
        # A clip below all known values cannot be drawn yet; it can once the valley is found.
        clip = None if isinstance(self.clip, (int, float)) and not self.clip > finite.min() else self.clip
        return choose(finite, scale=self.scale, clip=clip)

    def finish(self, landscape: xr.Dataset) -> xr.Dataset:
        """Fill the cells that were not evaluated: interpolated, marked as such, with their error beside them."""
        status = landscape["status"].values.ravel()
        drawn = self._fresh.evaluated(status != Status.NOT_SAMPLED)
        filled, errors = interpolated(landscape, self.shown, drawn[status[drawn] == Status.OK])
        facts: dict[str, Any] = self.identity | {
            "evaluated": int((status != Status.NOT_SAMPLED).sum()), "cells": len(status),
        }  # fmt: skip
        facts |= {"range": self.range_words} if self.range_words else {}
        if not filled:
            few = len(coarse_cells(self.axes, FIRST)) == len(status)
            why = "no more than the first coarse grid" if few else "the surface is rough at this spacing"
            verdict = f"all {len(status)} points were needed: {why}"
            return complete(landscape, filled, errors, facts | {"verdict": verdict})
        whole = np.where(status == Status.NOT_SAMPLED, filled["loss"], landscape["loss"].values.ravel())
        facts["view"] = view(self.shown(whole))
        facts |= self._checked(landscape["loss"].values.ravel(), status, drawn)
        return complete(landscape, filled, errors, facts | {"verdict": checked(facts, rough=MANY)})

    def _checked(self, values: np.ndarray, status: np.ndarray, drawn: np.ndarray) -> dict[str, int]:
        """How many of the last fresh cells were predicted within the tolerance, of how many, and how many there are."""
        known = np.flatnonzero(status == Status.OK)
        last = self._fresh.last(drawn)
        wrong = fresh.missed(self.shape, known, values, last[status[last] == Status.OK], self.shown)
        return {"fresh": len(wrong), "fresh_within": int((wrong <= self.tolerance).sum()), "random": len(drawn)}


class AdaptiveQueue:
    """The points of one run that are still to come, in rounds: a round is chosen once all before it have been told.

    What a round holds depends only on the values of the rounds before it: not on how many points are asked for at once,
    what evaluates them, or where the run was interrupted. A resumed run goes through its rounds again, with the values
    already told.
    """

    def __init__(self, sampler: Adaptive, told: Block) -> None:
        self._sampler = sampler
        self._cells = surrogate.places(sampler.shape)
        self._values = np.full(len(self._cells), np.nan)
        self._told = np.zeros(len(self._cells), bool)
        self._first = coarse_cells(sampler.axes, FIRST)
        self._fresh = sampler._fresh
        self._heard = np.full(len(self._cells), np.nan)
        self._there = np.zeros(len(self._cells), bool)
        self._round = self._waiting = np.empty(0, np.int64)
        self._predicted: np.ndarray | None = None
        self.tell(told)
        self._begin(np.append(self._first, self._fresh.at_first))

    def tell(self, block: Block) -> None:
        """Take in what was found."""
        self._there[block.indices] = True
        ok = block.status == Status.OK
        self._heard[block.indices[ok]] = block.values[ok, 0]

    def ask(self, count: int) -> np.ndarray:
        """The next points; none when the tolerance is reached, nothing is left, or the round must be told first."""
        self._advance()
        now, self._waiting = self._waiting[:count], self._waiting[count:]
        return now

    @property
    def ready(self) -> int:
        """How many points can be asked for before any is told."""
        self._advance()
        return len(self._waiting)

    def foresee(self, beside: Block) -> Iterator[np.ndarray]:
        """The rounds to come, one after the other, if every missing value were as the others predict it.

        The queue itself does not change, and nothing that it asks for depends on this.

        Args:
            beside: what was found for cells not yet asked for.

        Yields:
            Flat indices of the cells of a round that are not known.
        """
        guess = copy.copy(self)
        for name in ("_values", "_told", "_heard", "_there"):
            setattr(guess, name, getattr(self, name).copy())
        guess.tell(beside)
        with contextlib.suppress(np.linalg.LinAlgError):  # few points of a first round may determine nothing
            while len(guess._round) and guess._suppose():
                guess._waiting = guess._waiting[:0]
                guess._advance()
                yield guess._waiting

    def _suppose(self) -> bool:
        """Take in predicted values where this round has none yet; returns whether enough is known for that."""
        known = np.flatnonzero(np.isfinite(self._heard))
        if len(known) < surrogate.fewest(len(self._sampler.shape)):
            return False
        if self._predicted is None or (self._there & ~self._told).any():
            self._predicted, _ = surrogate.interpolate(self._cells, known, self._heard[known], self._sampler.shown)
        missing = self._round[~self._there[self._round]]
        self._heard[missing], self._there[missing] = self._predicted[missing], True
        return True

    def _begin(self, cells: np.ndarray) -> None:
        self._round, self._waiting = cells, cells[~self._there[cells]]

    def _advance(self) -> None:
        """Go on to the next round if all of this one has been told, skipping those that were told long ago."""
        while len(self._round) and not len(self._waiting) and self._there[self._round].all():
            self._told[self._round] = True
            self._values[self._round] = self._heard[self._round]
            self._begin(self._next())

    def _next(self) -> np.ndarray:
        free = np.flatnonzero(~self._told)
        known = np.flatnonzero(np.isfinite(self._values))
        if not len(free):
            return free
        if len(known) < surrogate.fewest(len(self._sampler.shape)):
            return self._in_order()
        return self._chosen(free, known)

    def _in_order(self) -> np.ndarray:
        order = coarse_to_fine(self._sampler.shape)
        rest: np.ndarray = order[~self._told[order]]
        return rest

    def _chosen(self, free: np.ndarray, known: np.ndarray) -> np.ndarray:
        found = surrogate.estimate(self._cells, known, self._values[known], self._sampler.shown)
        self._predicted = found.values
        errors = np.where(self._told, 0.0, found.errors)
        # Next to a value that is not finite nothing can be interpolated: all those cells are visited.
        errors[free[_beside_a_hole(self._cells, free, self._told, self._values)]] = np.inf
        chosen = errors.copy()
        chosen[self._fresh.cells[np.isfinite(errors[self._fresh.cells])]] = 0.0  # they are reserved for the test
        drawn = self._fresh.evaluated(self._told)
        if (chosen <= self._sampler.tolerance).all():
            lower = self._lower(found)
            if len(lower):
                return lower
            if self._passed(known, drawn):
                return np.empty(0, np.int64)
            exam: np.ndarray = self._fresh.next(drawn)
            exam = exam[~self._told[exam]]
            if len(exam):
                return exam
        rough = np.mean(errors[free] > self._sampler.tolerance)
        if (self._told.mean() > HOPELESS and rough > HOPELESS) or not chosen.any():
            return self._in_order()
        wanted = min(max(8, int(GROWTH * self._told.sum())), len(free), MOST)
        probes = self._fresh.cells[len(drawn) :][: round(PROBES * wanted)]
        return _spread(self._cells, probes[~self._told[probes]], chosen, found.distances, wanted)

    def _lower(self, found: surrogate.Estimate) -> np.ndarray:
        """The cell that promises the lowest value, if that is visibly below all that was seen; otherwise none."""
        # The minimum is what the picture is about, and near the zero of a logarithm only evaluation gives a value.
        shown = self._sampler.shown(found.values)
        seen = float(self._values[self._told & np.isfinite(self._values)].min())
        promised = np.where(self._told, np.inf, found.unbounded)
        promised[self._fresh.cells] = np.inf  # they are reserved for the test
        at = int(promised.argmin())
        value = float(promised[at])
        if value >= seen:
            return np.empty(0, np.int64)
        below = shown.scale == "log" and value <= 0
        if not below:
            lower, least = replace(shown, low=value).heights(np.array([value, seen]))
            below = least - lower > self._sampler.tolerance * np.ptp(shown.limits)
        return np.array([at] if below else [], np.int64)

    def _passed(self, known: np.ndarray, drawn: np.ndarray) -> bool:
        """Whether the last fresh cells, evaluated when all others were known, were predicted within the tolerance."""
        last = self._fresh.last(drawn)
        last = last[np.isfinite(self._values[last])]
        wrong = fresh.missed(self._sampler.shape, known, self._values, last, self._sampler.shown)
        return len(drawn) >= self._fresh.needed and bool((wrong <= self._sampler.tolerance).all())


def coarse_cells(axes: Mapping[str, np.ndarray], sides: Mapping[int, int] = ANCHORS) -> np.ndarray:
    """A coarse grid, its corners included, after the cell nearest the origin: the trained network.

    Args:
        axes: the coordinates of every axis.
        sides: cells along each axis, by the number of axes.

    Returns:
        Flat indices in C order of the axes, int64.

    Example:
        >>> coarse_cells({"x": np.linspace(-1, 1, 17)}).tolist()
        [8, 0, 2, 4, 6, 10, 12, 14, 16]
    """
    shape = tuple(len(coordinates) for coordinates in axes.values())
    taken = [np.unique(np.linspace(0, n - 1, min(n, sides[len(shape)])).round().astype(int)) for n in shape]
    coarse = np.ravel_multi_index(np.meshgrid(*taken, indexing="ij"), shape).ravel()
    centre = np.ravel_multi_index([int(np.argmin(np.abs(c))) for c in axes.values()], shape)
    return np.array([centre, *coarse[coarse != centre]], np.int64)


def _beside_a_hole(cells: np.ndarray, free: np.ndarray, told: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The free cells that are as near to a value that is not finite as to one that is, or adjacent to one."""
    holes, known = np.flatnonzero(told & ~np.isfinite(values)), np.flatnonzero(np.isfinite(values))
    if not len(holes):
        return np.zeros(len(free), bool)
    from scipy.spatial import KDTree

    to_hole, _ = KDTree(cells[holes]).query(cells[free])
    to_value, _ = KDTree(cells[known]).query(cells[free])
    beside = 1.5 * max(np.diff(np.unique(side)).max(initial=0.0) for side in cells.T)
    return np.asarray(to_hole <= np.maximum(to_value, beside))


def _spread(cells: np.ndarray, probes: np.ndarray, errors: np.ndarray, distances: np.ndarray, count: int) -> np.ndarray:
    """The given cells, and those of largest error, each pushing the next ones away from itself."""
    chosen = probes.tolist()
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
