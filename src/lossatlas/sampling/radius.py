r"""How far to look? Over the range in which the basin around the centre takes up a stated part of the picture.

The basin is where the loss stays below a level. By default the level is half-way between the loss at the centre and the
loss of the same network with every moving tensor set to zero, which ignores its inputs: for a classifier, about half of
chance level. On rays from the centre, evenly spread over the axes and their diagonals, the first distance :math:`r_i`
at which the loss reaches the level is bracketed by doubling and then interpolated in logarithms, which is exact at once
for a quadratic. A ball of the radius :math:`(\frac{1}{n} \sum_i r_i^k)^{1/k}` in the k axes is as large as the basin
that the rays see: its area for two axes, its length for one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.evaluate.plain import Plain
from lossatlas.expected import check_kind
from lossatlas.figure.words import number
from lossatlas.objective import Objective
from lossatlas.oneline import number_of
from lossatlas.space.charts import Plane

__all__ = ["FAR", "FILL", "FIRST", "NEAR", "TOLERANCE", "Radius", "crossing", "find", "ranges", "rays", "rounded"]

FILL = 0.5
"""How wide a basin is in the picture, as a share of its width, unless asked for otherwise."""

FIRST, NEAR, FAR = 0.25, 2.0**-20, 2.0**16
"""Where the first ray is tried, and between which distances a basin is looked for, in multiples of the directions."""

TOLERANCE = 0.02
"""How close to the level, as a share of the rise to it, a point has to be."""

STEPS = 8
"""Evaluations to pin a crossing down once it is bracketed; the middle of the bracket is taken after them."""


@dataclass(frozen=True, kw_only=True)
class Radius:
    """How far to look, and how that was found.

    Attributes:
        radius: half the range along every axis, rounded to two digits.
        fill: how wide the widest basin is, as a share of the width of the picture.
        basins: radius of each basin, in multiples of the directions.
        levels: the loss that bounds each.
        evaluations: of the loss on all samples, in all.
    """

    radius: float
    fill: float
    basins: tuple[float, ...]
    levels: tuple[float, ...]
    evaluations: int

    @property
    def words(self) -> str:
        """The same in a few words, for a caption."""
        basins = " / ".join(dict.fromkeys(f"loss < {number(level)}" for level in self.levels))
        widest = " the widest" if len(self.levels) > 1 else " the"
        filled = f"fills {100 * self.fill:.0f} % of the width, from {number_of(self.evaluations, 'point')}"
        return f"range ±{number(self.radius)} chosen so that{widest} basin ({basins}) {filled}"


def find(
    objective: Objective | Sequence[Objective],
    plane: Plane | Sequence[Plane],
    *,
    fill: float = FILL,
    rise: float | None = None,
) -> Radius:
    """Find a range that suits every plane.

    Args:
        objective: what is measured; several if several models are compared, or one for all planes.
        plane: where; as many as there are objectives, or several of one.
        fill: width of the widest basin as a share of the picture's width, between 0 and 1.
        rise: how far the loss rises above the centre where the basin ends; by default half-way to a network whose
            moving tensors are zero.

    Returns:
        The range. The same points are evaluated each time, so it is the same each time.

    Raises:
        SpecError: the share or the rise is not valid, the planes do not fit, or the loss does not rise that far.
    """
    pairs = _pairs(objective, plane)
    if not (isinstance(fill, (int, float)) and 0 < fill <= 1):
        raise SpecError(f"fill={fill!r}; expected a share of the picture's width above 0 and up to 1, such as 0.5")
    if rise is not None and not (isinstance(rise, (int, float)) and math.isfinite(rise) and rise > 0):
        raise SpecError(f"rise={rise!r}; expected how far above the centre the basin ends, a number above 0")
    found = [_basin(*pair, rise) for pair in pairs]
    widest = max(radius for radius, _, _ in found)
    return Radius(
        radius=rounded(widest / fill),
        fill=float(fill),
        basins=tuple(radius for radius, _, _ in found),
        levels=tuple(level for _, level, _ in found),
        evaluations=sum(count for _, _, count in found),
    )


def _pairs(objective: Any, plane: Any) -> list[tuple[Objective, Plane]]:
    planes = list(plane) if isinstance(plane, (list, tuple)) else [plane]
    objectives = list(objective) if isinstance(objective, (list, tuple)) else [objective] * len(planes)
    for name, kind, given in (("objective", Objective, objectives), ("plane", Plane, planes)):
        for one in given:
            check_kind(name, one, kind, f"a lossatlas.{kind.__name__}, or a list of them")
    if not planes or len(objectives) != len(planes) or len({one.axes for one in planes}) > 1:
        raise SpecError(
            f"{len(objectives)} objectives and {len(planes)} planes; give a plane with the same axes for each"
        )
    return list(zip(objectives, planes, strict=True))


def _basin(objective: Objective, plane: Plane, rise: float | None) -> tuple[float, float, int]:
    """Radius of a basin, the level that bounds it, and how many points that took."""
    way, counted = Plain(objective, plane), itertools.count(2 if rise is None else 1)
    centre = float(way.values(np.zeros((1, len(plane.axes))))[0, 0])
    wanted = _rise(objective, plane, centre) if rise is None else float(rise)
    spent, reached, start = next(counted), [], FIRST
    directions = rays(len(plane.axes))

    def above(ray: np.ndarray, distance: float) -> float:
        nonlocal spent
        spent = next(counted)
        value = float(way.values(distance * ray[None])[0, 0])
        return value - centre if math.isfinite(value) else math.inf

    for ray in directions:
        distance = crossing(partial(above, ray), wanted, start)
        if math.isfinite(distance):
            reached.append(distance)
            start = distance
    objective.move(None)
    if 2 * len(reached) <= len(directions):
        raise SpecError(
            f"the loss rises by {number(wanted)} above the centre ({number(centre)}) on {len(reached)} of "
            f"{len(directions)} rays up to {FAR:g} times the directions: there is no basin to show; state the range "
            "yourself"
        )
    most = 4 * float(np.median(reached))  # an endless valley must not shrink everything else to a dot
    lengths = np.minimum(np.array([*reached, *[most] * (len(directions) - len(reached))]), most)
    power = len(plane.axes)
    return float(np.mean(lengths**power) ** (1 / power)), centre + wanted, spent


def _rise(objective: Objective, plane: Plane, centre: float) -> float:
    """Half the rise from the centre to a network that ignores its inputs; half the centre's size if that is less."""
    nothing = objective({name: plane.origin[name] * 0 for name in plane.moving})["loss"]
    half = (nothing - centre) / 2
    if math.isfinite(half) and half > 0.05 * abs(centre):
        return half
    return abs(centre) / 2 or 1.0


def rays(axes: int) -> np.ndarray:
    """float64 [rays, axes]: unit vectors along the axes and their diagonals, both ways.

    Args:
        axes: 1, 2 or 3.

    Returns:
        The rays.

    Example:
        >>> rays(1).tolist(), len(rays(2)), len(rays(3))
        ([[1.0], [-1.0]], 8, 14)
    """
    sides = np.array([*np.eye(axes), *-np.eye(axes)])
    if axes == 1:
        return sides
    corners = np.array(list(itertools.product((1.0, -1.0), repeat=axes))) / math.sqrt(axes)
    return np.concatenate([sides, corners])


def crossing(above: Callable[[float], float], rise: float, start: float) -> float:
    """The first distance at which a function that begins at 0 has risen so far, as far as doubling can tell.

    Args:
        above: the function; infinite where it has no value.
        rise: how far.
        start: where to begin.

    Returns:
        The distance, to :data:`TOLERANCE` of the rise; infinite where it is beyond :data:`FAR`.

    Example:
        >>> round(crossing(lambda d: 3 * d**2, 12.0, 0.25), 6)
        2.0
    """
    low, high = (0.0, 0.0), (start, above(start))
    while high[1] < rise:
        if high[0] > FAR:
            return math.inf
        low, high = high, (2 * high[0], above(2 * high[0]))
    while low[0] == 0.0 and high[0] > NEAR:
        half = (high[0] / 2, above(high[0] / 2))
        low, high = (half, high) if half[1] < rise else (low, half)
    for _ in range(STEPS):
        if abs(high[1] - rise) <= TOLERANCE * rise:
            return high[0]
        if abs(low[1] - rise) <= TOLERANCE * rise:
            return low[0]
        at = _between(low, high, rise)
        tried = (at, above(at))
        low, high = (tried, high) if tried[1] < rise else (low, tried)
    return math.sqrt(low[0] * high[0]) if low[0] else high[0]


def _between(low: tuple[float, float], high: tuple[float, float], rise: float) -> float:
    """Where a power law through both ends has risen so far, not too close to either; their middle if there is none."""
    share = 0.5
    if low[1] > 0 and math.isfinite(high[1]):
        share = math.log(rise / low[1]) / math.log(high[1] / low[1])
    return float(low[0] * (high[0] / low[0]) ** min(max(share, 0.02), 0.98)) if low[0] else high[0] / 2


def rounded(radius: float) -> float:
    """Two digits, so that the axes have round ends and rounding in the last bit of a loss changes nothing.

    Args:
        radius: a number above 0.

    Returns:
        The nearest number of two digits.

    Example:
        >>> rounded(0.43219), rounded(1234.0)
        (0.43, 1200.0)
    """
    return float(f"{radius:.1e}")


def ranges(radius: float, points: int | Mapping[str, int], axes: Iterable[str]) -> dict[str, tuple[float, float, int]]:
    """Axes of a grid that reach so far on both sides.

    Args:
        radius: half of the range.
        points: along each axis, or by axis.
        axes: their names.

    Returns:
        ``(low, high, points)`` by axis.

    Raises:
        SpecError: an axis without a number of points.
    """
    known = {axis: points.get(axis) if isinstance(points, Mapping) else points for axis in axes}
    if missing := [axis for axis, count in known.items() if count is None]:
        raise SpecError(f"points has no number for the axis {missing[0]!r}; give one for each of {list(known)}")
    return {axis: (-radius, radius, count) for axis, count in known.items()}  # type: ignore[misc]
