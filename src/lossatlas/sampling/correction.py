r"""What is to be added to the loss of a subset, and how wrong may that be?

The subset is balanced on the losses at the anchors, so it is right there by construction, and its values there prove
nothing. For an honest error, anchors are held out in parts: subsets of the same size are chosen without a part and
corrected at the others, and by how much they miss the anchors of that part is by how much such a choice is wrong at
unseen points.
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

__all__ = ["BESIDE", "DRAWS", "PARTS", "Anchors", "Subsets", "share"]

BESIDE = 0.25
"""Share of the way to the next anchor from which on an anchor no longer fixes the value exactly."""

PARTS = 8
"""Parts in which anchors are held out. Every eighth: on a coarse grid of 6 x 6, no two of them are neighbours."""

DRAWS = 4
"""Subsets chosen without each part: a single one may be lucky."""


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
class Anchors:
    """Every sample's values where all samples were seen.

    Attributes:
        shape: number of cells along each axis of the grid.
        cells: int64 [A], flat indices of the anchors, increasing.
        table: float64 [A, N, values], finite in the loss.
        names: of the values.
    """

    shape: tuple[int, ...]
    cells: np.ndarray
    table: np.ndarray
    names: tuple[str, ...]

    __repr__ = one_line

    def logarithmic(self, column: int) -> bool:
        """Whether the correction is a factor rather than a summand."""
        return column == 0 and bool((self.table[:, :, 0].mean(axis=1) > 0).all())

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
        return terms, surrogate.stated(cells, self.cells, wrong, reach=BESIDE)

    def held_out(self, subsets: Subsets) -> np.ndarray:
        """Errors of the corrected loss at anchors that were held out, as shares of the shown range.

        Whether the picture will take a logarithm is not known yet, so the worse of both ways counts.

        Returns:
            float64 [draws, A].
        """
        missed, means = self._missed(0, subsets), self.table[:, :, 0].mean(axis=1)
        wrong = means / 10.0**missed if self.logarithmic(0) else means - missed
        views = (choose(means, scale="linear"), choose(means, scale="log"))
        worst: np.ndarray = np.max([share(shown, means, wrong) for shown in views], axis=0)
        return worst

    def within(self, subsets: Subsets) -> tuple[float, float]:
        """The bound that holds 95 % of the held-out errors, and their root mean square; each counts by its cells.

        Returns:
            Shares of the shown range.
        """
        errors = self.held_out(subsets)
        area = np.broadcast_to(self._area, errors.shape)
        return (
            quantile(errors.ravel(), area.ravel(), surrogate.COVERED),
            float(np.sqrt(np.average(errors**2, weights=area))),
        )

    def all_needed(self, tolerance: float) -> dict[str, Any]:
        """What a Landscape says if no subset was good enough."""
        verdict = f"all {self.table.shape[1]} samples evaluated: half of them would not be within {100 * tolerance:g} %"
        return {"kind": "subset", "tolerance": tolerance, "verdict": verdict}

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
        whole = self.table[:, :, column].mean(axis=1)
        part = self.table[:, chosen, column].mean(axis=1)
        if self.logarithmic(column):
            return np.asarray(np.log10(whole) - np.log10(np.maximum(part, np.finfo(float).tiny)))
        return np.asarray(whole - part)


def share(shown: Range, values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How far values are apart on a picture, as a share of its range."""
    low, high = shown.limits
    return np.asarray(np.abs(shown.heights(values) - shown.heights(others)) / max(high - low, np.finfo(float).tiny))
