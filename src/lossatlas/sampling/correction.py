r"""What is to be added to the loss of a subset, and how wrong may that be?

The subset is balanced on the losses at the anchors, so it is right there by construction, and its values there prove
nothing. For an honest error, anchors are held out in parts: subsets of the same size are chosen without a part and
corrected at the others, and by how much they miss the anchors of that part is by how much such a choice is wrong at
unseen points. Where only a first phase of them was seen (:mod:`lossatlas.sampling.phases`), its mean has an error
of its own, independent of the other, so that squares add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lossatlas.figure.ranges import Range, choose
from lossatlas.oneline import one_line
from lossatlas.sampling import surrogate
from lossatlas.sampling.balance import Balance
from lossatlas.sampling.factor import quantile
from lossatlas.sampling.shown import apart

__all__ = ["BESIDE", "DRAWS", "NORMAL", "PARTS", "Anchors", "Means", "Subsets", "in_pictures", "within_share"]

BESIDE = 0.25
"""Share of the way to the next anchor from which on an anchor no longer fixes the value exactly."""

PARTS = 8
"""Parts in which anchors are held out. Every eighth: on a coarse grid of 6 x 6, no two of them are neighbours."""

DRAWS = 4
"""Subsets chosen without each part: a single one may be lucky."""

NORMAL = 1.96
"""Standard errors within which 95 % of the means are."""

AROUND = 3
"""Anchors nearest to a cell, the worst of which says how well the mean of all samples is known there."""


@dataclass(frozen=True)
class Subsets:
    """A subset, and others of its size that show how wrong it is.

    Attributes:
        chosen: int64 [n], its samples, increasing.
        without: [draws][parts], subsets chosen without a part of the anchors: that at positions part, part + PARTS, ….
    """

    chosen: np.ndarray
    without: Sequence[Sequence[np.ndarray]]

    __repr__ = one_line


@dataclass(frozen=True)
class Means:
    """The means of all samples, where only a first phase of them was seen at some anchors.

    Attributes:
        of: number of all samples.
        values: float64 [A, values], of all samples where they were seen, else of the first phase.
        errors: float64 [A, values], their standard errors, 0 where all samples were seen.
    """

    of: int
    values: np.ndarray
    errors: np.ndarray

    __repr__ = one_line

    @property
    def whole(self) -> int:
        """The number of anchors at which all samples were seen."""
        return int((self.errors == 0).all(axis=1).sum())


@dataclass(frozen=True)
class Anchors:
    """The values of every sample seen at the anchors.

    Attributes:
        shape: number of cells along each axis of the grid.
        cells: int64 [A], flat indices of the anchors, increasing.
        table: float64 [A, n, values], finite in the loss.
        names: of the values.
        known: the means of all samples if the n are a first phase; by default they are all.
    """

    shape: tuple[int, ...]
    cells: np.ndarray
    table: np.ndarray
    names: tuple[str, ...]
    known: Means | None = None

    __repr__ = one_line

    def logarithmic(self, column: int) -> bool:
        """Whether the correction is a factor rather than a summand."""
        return column == 0 and bool((self.means.values[:, 0] > 0).all())

    @cached_property
    def means(self) -> Means:
        """The means of all samples."""
        if self.known is not None:
            return self.known
        values = self.table.mean(axis=1)
        return Means(self.table.shape[1], values, np.zeros_like(values))

    def subsets(self, count: int, seed: int) -> Subsets:
        """A balanced subset, and those chosen without some of the anchors.

        Args:
            count: samples.
            seed: of the choice.

        Returns:
            The subsets.
        """
        seeds = np.random.default_rng([seed, 1]).integers(2**32, size=DRAWS).tolist()
        without = [[balance.choose(count, again) for balance in self._parts] for again in seeds]
        return Subsets(self._whole.choose(count, seed), without)

    def correction(self, column: int, subsets: Subsets) -> tuple[np.ndarray, np.ndarray]:
        """What to add to the subset's value (to its logarithm) at every cell, and how wrong that may be.

        The error is that of the held-out anchors nearby, everywhere except right beside an anchor, since the correction
        may bend between two of them.

        Returns:
            The correction and its error, float64 [cells] each.
        """
        cells, wrong = surrogate.places(self.shape), np.abs(self._missed(column, subsets))
        terms, _ = surrogate.interpolate(cells, self.cells, self._gaps(column, subsets.chosen))
        errors = surrogate.stated(cells, self.cells, wrong, reach=BESIDE)
        return terms, np.hypot(errors, NORMAL * self._unseen(column))

    def held_out(self, subsets: Subsets) -> np.ndarray:
        """Errors of the corrected loss at anchors that were held out, as shares of the shown range.

        Whether the picture will take a logarithm is not known yet, so the worse of both ways counts.

        Returns:
            float64 [draws, A].
        """
        missed, means = self._missed(0, subsets), self.means.values[:, 0]
        wrong = means / 10.0**missed if self.logarithmic(0) else means - missed
        views = _views(means)
        return np.asarray(np.max([apart(shown, wrong, means) for shown in views], axis=0))

    def within(self, subsets: Subsets) -> tuple[float, float]:
        """The bound that holds 95 % of the held-out errors, and their root mean square; each counts by its cells.

        Returns:
            Shares of the shown range.
        """
        errors, unseen = self.held_out(subsets), in_pictures(self.means.values[:, 0], self.means.errors[:, 0])
        area = np.broadcast_to(self._area, errors.shape)
        bounds = (
            quantile(errors.ravel(), area.ravel(), surrogate.COVERED),
            NORMAL * quantile(unseen, self._area, surrogate.COVERED),
        )
        squares = np.average(errors**2, weights=area) + np.average(unseen**2, weights=self._area)
        return float(np.hypot(*bounds)), float(np.sqrt(squares))

    def all_needed(self, tolerance: float) -> dict[str, Any]:
        """What a Landscape says if no subset was good enough."""
        verdict = f"all {self.means.of} samples evaluated: half of them would not be within {100 * tolerance:g} %"
        return {"kind": "subset", "tolerance": tolerance, "verdict": verdict}

    @property
    def words(self) -> str:
        """At which points how many samples were seen."""
        if self.known is None:
            return f"{len(self.cells)} points evaluated on all"
        whole, rest = self.means.whole, len(self.cells) - self.means.whole
        return f"{whole} points evaluated on all and {rest} on {self.table.shape[1]}"

    @cached_property
    def _whole(self) -> Balance:
        return Balance.on(self.table[:, :, 0])

    @cached_property
    def _parts(self) -> list[Balance]:
        part = np.arange(len(self.cells)) % PARTS
        return [Balance.on(self.table[part != held, :, 0]) for held in range(min(PARTS, len(self.cells)))]

    @cached_property
    def _area(self) -> np.ndarray:
        """How many cells are nearest to each anchor."""
        from scipy.spatial import KDTree

        places = surrogate.places(self.shape)
        return np.bincount(KDTree(places[self.cells]).query(places)[1], minlength=len(self.cells)).astype(float)

    def _missed(self, column: int, subsets: Subsets) -> np.ndarray:
        """By how much each anchor is missed by a subset that was chosen, and corrected, without it; [draws, A]."""
        points = surrogate.places(self.shape)[self.cells]
        found = np.empty((len(subsets.without), len(points)))
        for row, chosen in zip(found, subsets.without, strict=True):
            for part, one in enumerate(chosen):
                row[part::PARTS] = surrogate.held_out(points, self._gaps(column, one))[part::PARTS]
        return found

    def _gaps(self, column: int, chosen: np.ndarray) -> np.ndarray:
        whole = self.means.values[:, column]
        part = self.table[:, chosen, column].mean(axis=1)
        if self.logarithmic(column):
            return np.asarray(np.log10(whole) - np.log10(np.maximum(part, np.finfo(float).tiny)))
        return np.asarray(whole - part)

    def _unseen(self, column: int) -> np.ndarray:
        """The standard error of the mean of all samples at every cell (of its logarithm), float64 [cells]."""
        from scipy.spatial import KDTree

        errors = self.means.errors[:, column]
        if self.logarithmic(column):
            errors = np.log10(1 + errors / self.means.values[:, column])
        places = surrogate.places(self.shape)
        _, nearest = KDTree(places[self.cells]).query(places, k=min(AROUND, len(self.cells)))
        found = errors[nearest].max(axis=1)
        found[self.cells] = errors
        return np.asarray(found)


def within_share(
    shown: Range, values: np.ndarray, errors: np.ndarray, *, factor: bool = False, beyond: float = 0.0
) -> np.ndarray:
    """How far off values may be on a picture, upwards or downwards: the largest one has nowhere to go but down.

    Args:
        shown: the picture.
        values: float64.
        errors: float64 of the same shape, at least 0: what may be added or subtracted, or the decimal logarithm of what
            may multiply or divide.
        factor: whether it is the latter.
        beyond: ranges above the largest value shown within which differences count.

    Returns:
        Shares of its range.

    Example:
        >>> shown = choose(np.linspace(1.0, 3.0, 9), scale="linear")
        >>> within_share(shown, np.array([1.0, 3.0]), np.array([0.2, 0.2])).round(6).tolist()
        [0.1, 0.1]
    """
    ends = (values * 10.0**errors, values / 10.0**errors) if factor else (values + errors, values - errors)
    return np.asarray(np.maximum(*(apart(shown, end, values, beyond=beyond) for end in ends)))


def in_pictures(means: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """How far off means may be in the worse of two pictures of them, linear or logarithmic, as shares of its range.

    Args:
        means: float64 [n].
        errors: float64 [n], of one unit with them.

    Returns:
        float64 [n].

    Example:
        >>> in_pictures(np.array([1.0, 10.0, 100.0]), np.array([1.0, 1.0, 1.0])).round(3).tolist()
        [0.151, 0.023, 0.01]
    """
    return np.asarray(np.max([within_share(shown, means, errors) for shown in _views(means)], axis=0))


def _views(means: np.ndarray) -> tuple[Range, Range]:
    return choose(means, scale="linear"), choose(means, scale="log")
