r"""What are the values between evaluated cells, and how wrong may they be?

The values are those of a spline (:mod:`lossatlas.sampling.spline`). Every evaluated cell is held out in turn, which
gives an unbiased error e_i at each of them, as a picture would show it: after its logarithm, and up to one range above
its clip, so that cells beside the clip are judged too. The error stated for another cell x is

.. math:: κ \, s(x) \, P(x)^β, \qquad s(x) = \Big(\sum_j w_j \sqrt{e_j / P_j^β}\Big)^2,

with P(x) the size of the hole that x lies in (:mod:`lossatlas.sampling.holes`), P_j the size of the hole that holding
out point j leaves, and j the nearest evaluated cells. β comes from holding out every point with its neighbours: it says
how the errors grow with a hole. Noise does not decrease near a point: at the end of a run β is taken for 0 where the
growth up to far larger holes is no more than noise may have. κ is a high quantile λ
(``COVERED``) of what the same formula, applied to every held-out cell, would have needed. Both λ and the weights count
a point by the number of cells without a value around it: points that crowd along a cliff say nothing about the plain
beyond it, where most cells are.

Points that were chosen for what was found around them are not a fair sample of the cells. Where some were drawn at
random instead (``fresh``), κ is corrected by them, see :mod:`lossatlas.sampling.factor`.

Nothing depends on the order in which points were evaluated: the same points always give the same estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossatlas.field.stated import BEYOND
from lossatlas.oneline import one_line
from lossatlas.sampling import holes
from lossatlas.sampling.factor import calibrated, falls, growth_far, quantile
from lossatlas.sampling.scale import FLOOR, NEIGHBOURS, Scale
from lossatlas.sampling.shown import AsIs, Show, Shown, apart, seen
from lossatlas.sampling.spline import Guess, Spline, farthest

__all__ = ["COVERED", "Estimate", "estimate", "fewest", "held_out", "interpolate", "places", "stated"]

AROUND = 10
"""Evaluated cells by which the size of a hole is known."""

TOGETHER = 4
"""Points held out together, to see how errors grow with a hole."""

FAR_TOGETHER = 8
"""The same for holes far larger."""

GROWS = 0.9
"""The largest β. Smooth surfaces have up to 2.5; for these the stated error is conservative."""

SLOWER = 0.7
"""β as a share of how errors grow from a hole to a larger one: towards smaller ones they fall more slowly."""

COVERED = 0.95
ROUNDING = 1e-9


@dataclass(frozen=True)
class Estimate:
    """What is known about every cell.

    Attributes:
        values: float64 [cells], interpolated; exact at the evaluated cells.
        errors: float64 [cells], stated error as a share of the shown range; 0 only at evaluated cells.
        distances: float64 [cells], distance to the nearest evaluated cell.
        unbounded: float64 [cells], the spline, which may leave the range of the evaluated values.
    """

    values: np.ndarray
    errors: np.ndarray
    distances: np.ndarray
    unbounded: np.ndarray

    __repr__ = one_line


def places(shape: tuple[int, ...]) -> np.ndarray:
    """The cells of a grid as points of a cube with sides of length 1, float64 [cells, axes], in C order.

    Returns:
        A row for each cell.

    Example:
        >>> places((2, 3)).tolist()
        [[0.0, 0.0], [0.0, 0.5], [0.0, 1.0], [1.0, 0.0], [1.0, 0.5], [1.0, 1.0]]
    """
    sides = [np.arange(length) / max(length - 1, 1) for length in shape]
    return np.stack([side.ravel() for side in np.meshgrid(*sides, indexing="ij")], axis=1)


def fewest(axes: int) -> int:
    """The number of evaluated cells that an estimate needs.

    Returns:
        The number.

    Example:
        >>> [fewest(axes) for axes in (1, 2, 3)]
        [5, 8, 12]
    """
    return (axes + 1) * (axes + 2) // 2 + 2


def interpolate(
    cells: np.ndarray, known: np.ndarray, values: np.ndarray, show: Show = AsIs
) -> tuple[np.ndarray, Shown]:
    """The values of all cells, and how they are shown.

    Args:
        cells: as for :func:`estimate`.
        known: as there.
        values: as there.
        show: as there.

    Returns:
        float64 [cells], exact at the evaluated ones, and the picture.

    Example:
        >>> cells = places((9,))
        >>> known = np.arange(0, 9, 2)
        >>> bool(np.allclose(interpolate(cells, known, 3 * cells[known, 0])[0], 3 * cells[:, 0]))
        True
    """
    found = _fitted(cells, known, values, show)
    return found.filled, found.shown


def estimate(
    cells: np.ndarray,
    known: np.ndarray,
    values: np.ndarray,
    show: Show = AsIs,
    *,
    reach: float = np.inf,
    fresh: np.ndarray | None = None,
) -> Estimate:
    """Interpolate between evaluated cells.

    Args:
        cells: float64 [cells, axes], see :func:`places`.
        known: int64 [n], which of them were evaluated; at least :func:`fewest`.
        values: float64 [n], finite.
        show: how the values of all cells are shown. By default errors have the unit of the values.
        reach: size of a hole beyond which the error no longer grows, in holes that held-out cells leave; for values
            that bend more often than they were sampled.
        fresh: int64, those of the known cells that were drawn at random; by default none was.

    Returns:
        Values and stated errors of all cells.

    Example:
        >>> cells = places((21,))
        >>> known = np.arange(0, 21, 4)
        >>> found = estimate(cells, known, np.sin(2 * cells[known, 0]))
        >>> bool(np.abs(found.values - np.sin(2 * cells[:, 0])).max() < 0.01)
        True
    """
    order = np.argsort(known)  # among cells that are equally near, the order decides
    known, values = known[order], values[order]
    fitted = _fitted(cells, known, values, show)
    drawn = np.isin(known, np.empty(0) if fresh is None else fresh)
    formula = _formula(cells, fitted, reach, far=bool(drawn.any()))
    errors = np.full(len(cells), ROUNDING)
    if formula.area.any():
        if drawn.any():
            factor = calibrated(formula.needed, formula.area, drawn, formula.smooth, COVERED)
        else:
            factor = quantile(formula.needed, formula.area, COVERED)
        errors = seen(fitted.shown, fitted.filled, factor * formula.bare + ROUNDING)
    errors[known] = 0.0
    return Estimate(fitted.filled, errors, formula.distances, fitted.unbounded)


def held_out(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """By how much the spline through the other points misses each point.

    Args:
        points: float64 [n, axes].
        values: float64 [n].

    Returns:
        float64 [n], each value minus what the others predict; as much as the values allow where the others do not
        determine the spline.

    Example:
        >>> line = np.linspace(0, 1, 6)[:, None]
        >>> bool(np.abs(held_out(line, 3 * line[:, 0])).max() < 1e-9)
        True
        >>> round(float(held_out(line, np.array([0.0, 0, 1, 0, 0, 0]))[2]), 6)
        1.0
    """
    found = Spline(points).coefficients(values)[1]
    worst = np.abs(values - farthest(values, (float(values.min()), float(values.max()))))
    return np.where(np.isnan(found), worst, found)


def stated(cells: np.ndarray, known: np.ndarray, wrong: np.ndarray, *, reach: float) -> np.ndarray:
    """The errors of all cells, where those of held-out ones were found otherwise, and several times.

    Args:
        cells: as for :func:`estimate`.
        known: int64 [n], increasing.
        wrong: float64 [times, n], the held-out errors.
        reach: as there.

    Returns:
        float64 [cells], 0 at the evaluated ones.

    Example:
        >>> found = stated(places((13,)), np.arange(0, 13, 2), np.full((3, 7), 0.1), reach=0.25)
        >>> found.round(3).tolist()[:4]
        [0.0, 0.1, 0.0, 0.1]
    """
    near = _near(cells, cells[known])
    here, left = near.held(reach, GROWS)
    scales = wrong / np.maximum(left, ROUNDING)
    scale = Scale(np.sqrt(scales).mean(axis=0) ** 2, near.area)
    needed = scales / (scale.around(near.own_distances[:, 1:], near.own_others[:, 1:]) + ROUNDING)
    factor = quantile(needed.ravel(), np.tile(near.area, len(wrong)), COVERED)
    errors = factor * scale.around(near.distances, near.others) * here + ROUNDING
    errors[known] = 0.0
    return np.asarray(errors)


@dataclass(frozen=True)
class _Fitted:
    """A surface through evaluated cells, and how it is shown."""

    points: np.ndarray
    values: np.ndarray
    guess: Guess
    filled: np.ndarray
    unbounded: np.ndarray
    shown: Shown

    def wrong(self, guesses: np.ndarray) -> np.ndarray:
        """How far off predictions of the evaluated cells would be."""
        return apart(self.shown, guesses, self.values, beyond=BEYOND)


def _fitted(cells: np.ndarray, known: np.ndarray, values: np.ndarray, show: Show) -> _Fitted:
    spline, first = Spline(cells[known]), show(values)

    def missed(guess: Guess) -> float:
        return float(np.sqrt(apart(first, guess.held_out, values, beyond=BEYOND)).mean())

    guess = min(spline.guesses(values), key=missed)
    filled, unbounded = guess.at(cells)
    filled[known] = values
    return _Fitted(spline.points, values, guess, filled, unbounded, shown=show(filled))


@dataclass(frozen=True)
class _Formula:
    """The stated errors for κ = 1, the κ that the held-out points needed, and γ - β if it was asked for."""

    bare: np.ndarray
    distances: np.ndarray
    needed: np.ndarray
    area: np.ndarray
    smooth: float


@dataclass(frozen=True)
class _Near:
    """The evaluated points around every cell and around each other, nearest first, and the holes that these leave."""

    distances: np.ndarray
    others: np.ndarray
    own_distances: np.ndarray
    own_others: np.ndarray
    here: np.ndarray
    left: np.ndarray
    area: np.ndarray

    def held(self, reach: float, grows: float) -> tuple[np.ndarray, np.ndarray]:
        """By how much errors are larger in the hole around every cell, and in that which each held-out point leaves."""
        widest = reach**1.5 * float(np.median(self.left)) if np.isfinite(reach) else np.inf
        return np.minimum(self.here, widest) ** grows, np.minimum(self.left, widest) ** grows


def _near(cells: np.ndarray, points: np.ndarray) -> _Near:
    from scipy.spatial import KDTree  # imported here and in the spline: a scan of a whole grid does without scipy

    tree, count = KDTree(points), len(points)
    most = min(max(NEIGHBOURS, AROUND), count - 1)
    distances, others = tree.query(cells, k=most)
    own_distances, own_others = tree.query(points, k=most + 1)
    here = holes.sizes(cells, points, others[:, :AROUND])
    left = holes.sizes(points, points, own_others[:, 1 : AROUND + 1])
    area = np.bincount(others[distances[:, 0] > 0, 0], minlength=count).astype(float)
    return _Near(distances, others, own_distances, own_others, here, left, area)


def _formula(cells: np.ndarray, fitted: _Fitted, reach: float, *, far: bool) -> _Formula:
    wrong, near = fitted.wrong(fitted.guess.held_out), _near(cells, fitted.points)
    if not near.area.any():
        return _Formula(np.zeros(len(cells)), near.distances[:, 0], np.zeros(len(wrong)), near.area, 0.0)
    grows = _growth(fitted, near.own_others, wrong, near.left, near.area)
    growing = _growth_far(fitted, near.own_others, wrong, near.left, near.area) if far else None
    believed = 1.0 if growing is None else falls(growing)
    smooth = 0.0 if growing is None else believed * (growing - grows)
    grows *= believed
    here, left = near.held(reach, grows)
    scale = Scale(wrong / np.maximum(left, ROUNDING), near.area)
    needed = wrong / (scale.around(near.own_distances[:, 1:], near.own_others[:, 1:]) * left + ROUNDING)
    bare = scale.around(near.distances, near.others) * here
    return _Formula(bare, near.distances[:, 0], needed, near.area, smooth)


def _growth(fitted: _Fitted, own: np.ndarray, wrong: np.ndarray, left: np.ndarray, area: np.ndarray) -> float:
    """β: the growth of held-out errors with the hole, from each point alone to each point with its neighbours."""
    k = min(TOGETHER, own.shape[1] - fewest(fitted.points.shape[1]))
    if k < 2:
        return GROWS
    wrong_together = fitted.wrong(fitted.guess.left_out(own[:, :k])[:, 0])
    left_together = holes.sizes(fitted.points, fitted.points, own[:, k : k + AROUND])
    usable = (np.minimum(wrong, wrong_together) > 10 * ROUNDING) & (left_together > 1.05 * left)
    if usable.sum() < AROUND:
        return GROWS
    weights = area[usable] + FLOOR
    rise = np.average(np.log(wrong_together[usable] / wrong[usable]), weights=weights)
    return float(np.clip(SLOWER * rise / np.average(np.log(left_together / left)[usable], weights=weights), 0.0, GROWS))


def _growth_far(
    fitted: _Fitted, own: np.ndarray, wrong: np.ndarray, left: np.ndarray, area: np.ndarray
) -> float | None:
    """γ: the same to far larger holes; None where there are too few points."""
    k = min(FAR_TOGETHER, own.shape[1] - fewest(fitted.points.shape[1]))
    if k <= TOGETHER:
        return None
    wrong_together = fitted.wrong(fitted.guess.left_out(own[:, :k])[:, 0])
    left_together = holes.sizes(fitted.points, fitted.points, own[:, k : k + AROUND])
    return growth_far(np.stack([wrong, wrong_together]), np.stack([left, left_together]), area)
