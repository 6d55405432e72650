r"""How rugged is a sampled field: does it rise and fall again where a bowl would only rise?

The share of the area that bends down cannot tell a bowl that levels off from chaos. These measures can, and each is
exactly 0 for every convex function, wherever its minimum lies, on any grid: they count only what three points on one
straight line prove, :math:`L(p) > \max(L(a), L(b))` with p between a and b, by more than rounding explains. No convex
function does that, nor does any increasing transformation of one (a quasi-convex function, Boyd and Vandenberghe 2004,
section 3.4): its sublevel sets are convex. All points were evaluated; nothing is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.field.basins import merge_tree
from lossatlas.field.inequality import check_straight, evaluated, spacing
from lossatlas.field.rounding import rounding
from lossatlas.figure.words import number, percent
from lossatlas.oneline import number_of, one_line
from lossatlas.results.landscape import axis_names, cut_at

__all__ = ["MEASURES", "Ruggedness", "Spread", "over_seeds", "rugged_cells", "ruggedness"]

MEASURES = {
    "descent": "share of the rise and fall along rays from the centre that falls again after a rise",
    "behind": "share of the area behind a ridge, seen from the centre",
    "minima": "minima besides the lowest that a ridge separates from a lower point",
    "persistence": "how deep these minima are below their passes, summed",
}
"""The measures, and what each is."""

PROVES = {
    "descent": "That the loss is neither convex nor an increasing function of a convex one, where it is not 0. "
    "Unchanged by scaling the loss or adding a constant.",
    "behind": "The same; and no straight line from the centre leads there without going up and down. Unchanged by "
    "every increasing transformation of the loss.",
    "minima": "The same; but not that the network has these minima, which need not be minima outside the slice. "
    "Unchanged by every increasing transformation of the loss.",
    "persistence": "How large a change in the loss would remove these minima, in the unit of the loss.",
}
"""What each measure proves, and what leaves it unchanged."""

STEEPEST = 3
"""Rays go to cells at most this many cells from the centre along each axis: 32 of them in a plane."""


@dataclass(frozen=True, kw_only=True)
class Ruggedness:
    """How rugged a field is. Every measure is 0 for a convex function.

    Attributes:
        descent: share of the variation along rays from the centre that descends after a rise, 0 to 1; NaN where no
            point of the field lies on a ray.
        behind: share of the cells behind a ridge, among those with other cells between them and the centre, 0 to 1.
        minima: number of inner minima besides the lowest; -1 where a hole could hide one.
        persistence: the sum of their heights below their passes, in the unit of the value.
        cells: number of evaluated cells.
    """

    descent: float
    behind: float
    minima: int
    persistence: float
    cells: int

    @property
    def proves(self) -> bool:
        """Whether any measure is above 0: the loss is not convex."""
        return self.descent > 0 or self.behind > 0 or self.minima > 0

    @property
    def words(self) -> str:
        """All measures in a sentence."""
        parts = []
        if not math.isnan(self.descent):
            parts.append(f"{percent(self.descent)} of the variation along rays from the centre falls after a rise")
            parts.append(f"{percent(self.behind)} of the area lies behind a ridge")
        if self.minima >= 0:
            deep = f", {number(self.persistence, 2)} deep" + " in all" * (self.minima > 1) if self.minima else ""
            parts.append(f"{self.minima or 'no'} other {'minimum' if self.minima < 2 else 'minima'}{deep}")
        return f"Ruggedness: {'; '.join(parts)} (a convex loss has none of these)." if parts else ""


def ruggedness(landscape: xr.Dataset, value: str = "loss") -> Ruggedness:
    r"""Measure how rugged a field is.

    From the centre, 32 rays (in a plane) go through the points of the grid. Along each the loss of a convex function
    falls at first, if at all, and then rises; what falls after a rise is counted, as a share of
    :math:`\sum_i |L_{i+1} - L_i|` over all rays. A cell lies behind a ridge if a cell on the straight line from the
    centre is higher than both ends. A minimum counts if its basin is deeper than the errors of the field, it is not on
    the edge, and a ridge stands between it and a lower cell.

    Args:
        landscape: a Landscape, evenly spaced.
        value: which variable.

    Returns:
        The measures.

    Raises:
        SpecError: fewer than 3 points along an axis, uneven spacing, or points along a curve.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = np.linspace(-2, 2, 41)
        >>> axis = Axis(coordinates=x, length=1.0)
        >>> def field(loss):
        ...     return build({"x": axis, "y": axis}, {"loss": loss})
        >>> ruggedness(field(np.abs(x[:, None] + 3 * x)))
        Ruggedness(descent=0.0, behind=0.0, minima=0, persistence=0.0, cells=1681)
        >>> wells = ruggedness(field((x[:, None] ** 2 - 1) ** 2 + x**2))
        >>> wells.minima, wells.persistence
        (1, 1.0)
    """
    field, noise, low, high = _known(landscape, value)
    usable = np.isfinite(low)
    offsets = _offsets(landscape)
    descent = behind = math.nan
    if offsets is not None:
        rays = _Rays(offsets)
        descent, _ = _descent(rays, field, low, high)
        behind, _ = _behind(rays, low, high)
    count, persistence = _minima(field, noise, low, high, usable)
    return Ruggedness(descent=descent, behind=behind, minima=count, persistence=persistence, cells=int(usable.sum()))


def rugged_cells(landscape: xr.Dataset, value: str = "loss") -> np.ndarray | None:
    """The cells that ``descent`` and ``behind`` of :func:`ruggedness` count.

    Args:
        landscape: a Landscape on evenly spaced points.
        value: which variable.

    Returns:
        int64, shaped like the field: 1 where the value falls again along one of the rays after a rise, 0 where a cell
        only lies behind a ridge as seen from the centre, -1 elsewhere. None where the centre is not a place of the
        grid.

    Raises:
        SpecError: as for :func:`ruggedness`.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.arange(-3.0, 4.0), length=1.0)
        >>> rugged_cells(build({"x": axis}, {"loss": np.array([3.0, 2, 1, 0, 2, 1, 3])})).tolist()
        [-1, -1, -1, -1, -1, 1, -1]
    """
    field, _, low, high = _known(landscape, value)
    offsets = _offsets(landscape)
    if offsets is None:
        return None
    rays = _Rays(offsets)
    _, falls = _descent(rays, field, low, high)
    _, hidden = _behind(rays, low, high)
    return np.where(falls, 1, np.where(hidden, 0, -1)).reshape(field.shape)


def _known(landscape: xr.Dataset, value: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The field, its rounding, and the bounds of each value, which are NaN where it was not evaluated."""
    check_straight(landscape)
    field = np.asarray(landscape[value].values, np.float64)
    noise, _ = rounding(landscape, value)
    usable = evaluated(landscape, value) & np.isfinite(noise)
    with np.errstate(invalid="ignore"):
        return field, noise, np.where(usable, field - noise, np.nan), np.where(usable, field + noise, np.nan)


def _offsets(landscape: xr.Dataset) -> np.ndarray | None:
    """Each cell's offset from the centre in half steps, int64 [rank, *cells]; None where it has none."""
    axes = axis_names(landscape)
    steps = [spacing(landscape, axis) for axis in axes]
    if any(cut_at(landscape).values()):
        return None  # a slice beside the centre
    places = []
    for axis, step in zip(axes, steps, strict=True):
        exact = 2 * landscape[axis].values / step
        if np.abs(exact - np.round(exact)).max() > 1e-4:
            return None  # the centre lies between the points, and no ray from it meets them
        places.append(np.round(exact).astype(np.int64))
    return np.stack(np.meshgrid(*places, indexing="ij"))


class _Rays:
    """The straight lines from one point through all cells, walked outwards, one cell of each at a time.

    Args:
        offsets: int64 [rank, *cells], each cell's offset from the point, in half steps.
    """

    def __init__(self, offsets: np.ndarray) -> None:
        flat = offsets.reshape(len(offsets), -1)
        self.multiple = np.gcd.reduce(flat, axis=0)
        self.primitive = flat // np.maximum(self.multiple, 1)
        index = (flat - 2 * self.primitive - flat[:, :1]) // 2  # neighbours on a ray are two half steps apart
        inside = np.all((index >= 0) & (index < np.array(offsets.shape[1:])[:, None]), axis=0)
        inside &= self.multiple >= 2  # at 1 the cell before is beyond the point
        self.before = np.full(flat.shape[1], -1, np.int64)
        self.before[inside] = np.ravel_multi_index(tuple(index[:, inside]), offsets.shape[1:])

    def walk(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Cells that have one before them on their ray, and those before, nearest to the point first; flat."""
        order = np.argsort(self.multiple, kind="stable")
        order = order[self.before[order] >= 0]
        cuts = np.flatnonzero(np.diff(self.multiple[order])) + 1
        for cells in np.split(order, cuts):
            if len(cells):
                yield cells, self.before[cells]


def _descent(rays: _Rays, field: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, np.ndarray]:
    """What falls after a rise along the main rays, as a share of all rise and fall there; and where, bool."""
    value, low, high = field.ravel(), low.ravel(), high.ravel()
    usable = np.isfinite(low)
    last = np.where(usable, np.arange(len(value)), -1)  # the last usable cell on the way, itself included
    least, risen = np.where(usable, high, np.inf), np.zeros(len(value), bool)
    main = np.abs(rays.primitive).max(axis=0) <= STEEPEST
    fallen, total, falls = 0.0, 0.0, np.zeros(len(value), bool)
    for cells, before in rays.walk():
        here, there = usable[cells], last[before]
        step = here & (there >= 0) & main[cells]
        change = value[cells[step]] - value[there[step]]
        proved = risen[before[step]] & (high[cells[step]] < low[there[step]])
        total += float(np.abs(change).sum())
        fallen += float(-change[proved].sum())
        falls[cells[step][proved]] = True
        risen[cells] = risen[before] | (here & (np.nan_to_num(low[cells], nan=-np.inf) > least[before]))
        least[cells] = np.minimum(least[cells], least[before])
        last[cells] = np.where(here, cells, there)
    return (fallen / total if total else 0.0), falls


def _behind(rays: _Rays, low: np.ndarray, high: np.ndarray) -> tuple[float, np.ndarray]:
    """Cells lower than one before them on their ray that is higher than an earlier one: their share, and where."""
    low, high = low.ravel(), high.ravel()
    usable = np.isfinite(low)
    least, ridge = np.where(usable, high, np.inf), np.full(len(low), -np.inf)
    passed = usable.astype(int)  # usable cells on the way, itself included
    looked, hidden = 0, np.zeros(len(low), bool)
    for cells, before in rays.walk():
        here = usable[cells]
        asked = here & (passed[before] >= 2)
        looked += int(asked.sum())
        hidden[cells[asked]] = ridge[before][asked] > high[cells][asked]
        own = np.where(here & (np.nan_to_num(low[cells], nan=-np.inf) > least[before]), low[cells], -np.inf)
        ridge[cells] = np.maximum(ridge[before], own)
        least[cells] = np.minimum(least[cells], least[before])
        passed[cells] += passed[before]
    return (float(hidden.sum()) / looked if looked else 0.0), hidden


def _minima(
    field: np.ndarray, noise: np.ndarray, low: np.ndarray, high: np.ndarray, usable: np.ndarray
) -> tuple[int, float]:
    """Number and summed height of the inner minima that a ridge separates from a lower cell."""
    if not np.isfinite(field).all() or not np.isfinite(noise).all():
        return -1, math.nan
    tree = merge_tree(field, noise)
    count, persistence = 0, 0.0
    grid = 2 * np.stack(np.meshgrid(*map(np.arange, field.shape), indexing="ij"))
    for merge in tree.merges:
        place = np.unravel_index(merge.younger, field.shape)
        edge = any(i in (0, n - 1) for i, n in zip(place, field.shape, strict=True))
        if not edge and usable[place] and _parted(grid, place, field, low, high):
            count += 1
            persistence += float(field.flat[merge.saddle] - field.flat[merge.younger])
    return count, persistence


def _parted(grid: np.ndarray, place: Sequence[np.intp], field: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether some cell no higher than this one lies behind a cell that is higher than both, on a straight line."""
    rays = _Rays(grid - 2 * np.array(place).reshape(-1, *(1,) * field.ndim))
    own = float(high[tuple(place)])
    below = (field <= field[tuple(place)]).ravel()
    low, high = low.ravel(), high.ravel()
    ridge = np.full(len(low), -np.inf)
    for cells, before in rays.walk():
        ridge[cells] = np.fmax(ridge[before], np.where(rays.multiple[before] > 0, low[before], -np.inf))
        if (below[cells] & (ridge[cells] > np.maximum(high[cells], own))).any():
            return True
    return False


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One measure over several direction seeds.

    Attributes:
        measure: its name, one of :data:`MEASURES`.
        values: one for each seed.
        mean: over the seeds that have one.
        low: lower end of Student's 95 % interval of that mean; NaN where a single seed has a value.
        high: its upper end.
    """

    measure: str
    values: tuple[float, ...]
    mean: float
    low: float
    high: float

    __repr__ = one_line

    @property
    def words(self) -> str:
        """Mean and interval, and over how many seeds, if not all have a value."""
        written = percent if self.measure in ("descent", "behind") else lambda value: number(value, 2)
        if math.isnan(self.mean):
            return "not known"
        known = sum(value >= 0 for value in self.values)
        over = f"over {known} of {number_of(len(self.values), 'seed')}" if known < len(self.values) else ""
        within = "" if math.isnan(self.low) else f"{written(self.low)} to {written(self.high)}"
        inside = ", ".join(filter(None, [within, over]))
        return f"{written(self.mean)} ({inside})" if inside else written(self.mean)


def over_seeds(landscapes: Sequence[xr.Dataset], value: str = "loss") -> dict[str, Spread]:
    """The measures of one model over several pairs of directions, with the interval over directions.

    Args:
        landscapes: one for each direction seed, all on one grid: the measures depend on its spacing.
        value: which variable.

    Returns:
        By measure; see :data:`MEASURES`.

    Raises:
        SpecError: no Landscapes, or as for :func:`ruggedness`.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = np.linspace(-1, 1, 9)
        >>> runs = [build({"x": Axis(coordinates=x, length=1.0)}, {"loss": a * x**2}) for a in (1.0, 2.0)]
        >>> over_seeds(runs)["descent"].words
        '0 % (0 % to 0 %)'
    """
    if not landscapes:
        raise SpecError("landscapes is empty: give one Landscape for each direction seed")
    found = [ruggedness(one, value) for one in landscapes]
    return {name: _spread(name, [float(getattr(one, name)) for one in found]) for name in MEASURES}


def _spread(name: str, values: list[float]) -> Spread:
    known = np.array([value for value in values if value >= 0])  # neither NaN nor -1
    if not len(known):
        return Spread(measure=name, values=tuple(values), mean=math.nan, low=math.nan, high=math.nan)
    mean, half = float(known.mean()), math.nan
    if len(known) > 1:
        from scipy.special import stdtrit

        factor = float(stdtrit(len(known) - 1, 0.975))
        half = factor * float(known.std(ddof=1)) / math.sqrt(len(known))
    most = 1.0 if name in ("descent", "behind") else math.inf
    return Spread(measure=name, values=tuple(values), mean=mean, low=max(mean - half, 0.0), high=min(mean + half, most))
