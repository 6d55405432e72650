"""Which range of values is shown: limits, clip, scale, round-number levels, decided once for every back end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.figure.words import number, numbers

__all__ = ["Range", "Scale", "choose", "forward", "round_levels"]

Scale = Literal["linear", "log", "symlog"]

# The automatic clip, step by step: (percent of cells taken for the bulk, how many times higher than the bulk the
# largest value may reach before it is cut, where the cut is then made in multiples of the bulk). The last steps
# act only on surfaces that have blown up on most of the plane.
_CLIP_STEPS = {
    "linear": ((95, 3.0, 2.0), (75, 5.0, 3.0), (50, 30.0, 3.0), (25, 100.0, 3.0)),
    "log": ((95, 2.0, 1.5), (75, 2.0, 1.5), (50, 6.0, 3.0), (25, 10.0, 5.0)),
}
# A logarithm is taken unasked only where it spreads the cells clearly better than a linear scale does.
_CLEARLY = 1.5
# Linear stays the choice of "auto" while its clip hides no more than this share of the cells.
_HIDDEN = 0.05


@dataclass(frozen=True, kw_only=True)
class Range:
    r"""What part of the values is shown, and how a value becomes a height.

    A height is what a back end draws: the value, clipped to ``[low, high]``, then

    * linear: :math:`h = v`
    * log: :math:`h = \log_{10} v`
    * symlog: :math:`h = \operatorname{sign}(v)\,\log_{10}(1 + |v| / c)` with ``c = linear_below``.

    Attributes:
        scale: how values become heights.
        low: smallest value shown, in units of the value.
        high: largest value shown, in units of the value.
        levels: round values strictly inside ``(low, high)``: contour lines and ticks.
        clipped: the clip, where values lie above it; otherwise ``None``.
        floored: the floor, where values lie below it; otherwise ``None``.
        above: share of the drawable cells above the clip, 0 to 1.
        below: share of the drawable cells below the floor, 0 to 1.
        linear_below: the constant c of symlog; ``nan`` for the others.
        why: the reason, where the scale is not the one asked for; otherwise empty.

    Example:
        >>> shown = Range(scale="log", low=0.01, high=100.0, levels=(0.1, 1.0, 10.0))
        >>> shown.heights(np.array([0.001, 1.0, np.nan, 1e10])).tolist()
        [-2.0, 0.0, nan, 2.0]
    """

    scale: Scale
    low: float
    high: float
    levels: tuple[float, ...]
    clipped: float | None = None
    floored: float | None = None
    above: float = 0.0
    below: float = 0.0
    linear_below: float = math.nan
    why: str = ""

    def heights(self, values: np.ndarray, *, beyond: float = 0.0) -> np.ndarray:
        """Heights of values: clipped, then on the scale.

        Args:
            values: float array of any shape; NaN stays NaN, infinities are clipped.
            beyond: how far above the largest height to clip, in parts of the range. A back end that cuts a surface off
                between its points needs to know how steeply it rises there.

        Returns:
            float64 array of the same shape.
        """
        found = np.asarray(values, float)
        if not beyond:
            return forward(np.clip(found, self.low, self.high), self.scale, self.linear_below)
        bottom, top = self.limits
        raised = forward(np.maximum(found, self.low), self.scale, self.linear_below)
        return np.asarray(np.minimum(raised, top + beyond * (top - bottom)))

    @property
    def limits(self) -> tuple[float, float]:
        """Heights of the smallest and of the largest value shown."""
        bottom, top = self.heights(np.array([self.low, self.high]))
        return float(bottom), float(top)

    def ticks(self, most: int = 12) -> tuple[np.ndarray, tuple[str, ...]]:
        """Heights and labels of round values, no more than ``most`` of them and the levels where they are few."""
        levels, count = self.levels, most
        while len(levels) > most and count:
            levels = round_levels(self.low, self.high, count, scale=self.scale, linear_below=self.linear_below)
            count -= 1
        return self.heights(np.array(levels, float)), numbers(levels)


def forward(values: np.ndarray, scale: Scale, linear_below: float = math.nan) -> np.ndarray:
    """Put values on a scale, see :class:`Range`."""
    if scale == "log":
        return np.asarray(np.log10(values))
    if scale == "symlog":
        return np.asarray(np.sign(values) * np.log10(1.0 + np.abs(values) / linear_below))
    return np.asarray(values, float)


def choose(
    values: np.ndarray,
    *,
    scale: Literal["auto", "linear", "log"] = "auto",
    clip: float | Literal["auto"] | None = "auto",
    levels: int = 9,
    centred: bool = False,
) -> Range:
    """Choose what is shown of these values.

    A logarithm is taken only of positive values. Where "log" is asked for and a value is zero or negative, the
    scale is a symmetric logarithm and :attr:`Range.why` says so; nothing is added to the values.

    Args:
        values: float [n], the finite values of all cells of all landscapes that are compared.
        scale: "auto" takes the scale on which the middle half of the cells fills the larger part of the range.
        clip: largest value shown; "auto" cuts off only what would hide the valley, ``None`` cuts nothing.
        levels: about how many round levels.
        centred: make the range symmetric around zero, for a diverging map.

    Returns:
        The range.

    Raises:
        SpecError: ``clip`` is not above the smallest value.

    Example:
        >>> bowl_with_a_cliff = np.append(np.linspace(0.1, 8.0, 99), 1e10)
        >>> shown = choose(bowl_with_a_cliff)
        >>> shown.scale, shown.low, shown.high, shown.above
        ('linear', 0.1, 8.0, 0.01)
    """
    values = np.sort(np.asarray(values, float).ravel())
    if not len(values):
        return Range(scale="linear", low=0.0, high=1.0, levels=())
    if values[0] == values[-1]:
        return _constant(values[0])
    if scale == "linear" or centred:
        return _on("linear", values, clip, levels, centred=centred)
    positive = bool(values[0] > 0)
    curved: Scale = "log" if positive else "symlog"
    why = "" if positive else "values at or below zero have no logarithm"
    if scale == "log":
        return _on(curved, values, clip, levels, why=why)
    linear = _on("linear", values, clip, levels)
    hidden = linear.above > _HIDDEN
    if not positive:
        return _on("symlog", values, clip, levels) if hidden else linear
    logarithmic = _on("log", values, clip, levels)
    better = _spread(logarithmic, values) > _CLEARLY * _spread(linear, values)
    return logarithmic if hidden or better else linear


def _constant(value: float) -> Range:
    pad = 0.05 * abs(value) or 0.05
    return Range(scale="linear", low=value - pad, high=value + pad, levels=(float(value),))


def _on(
    scale: Scale,
    values: np.ndarray,
    clip: float | Literal["auto"] | None,
    levels: int,
    *,
    centred: bool = False,
    why: str = "",
) -> Range:
    """The range on a given scale, from sorted values."""
    below = _linear_below(values) if scale == "symlog" else math.nan
    low, high = float(values[0]), float(values[-1])
    if clip == "auto":
        low, high = _floor(values, scale), _ceiling(values, scale)
    elif clip is not None:
        if not clip > values[0]:
            raise SpecError(
                f"clip={clip!r} is not above the smallest value {number(values[0])}; "
                f"choose a number between that and {number(values[-1])}, None, or 'auto'"
            )
        high = min(high, float(clip))
    if centred:
        high = max(abs(low), abs(high))
        low = -high
    return Range(
        scale=scale,
        low=low,
        high=high,
        levels=round_levels(low, high, levels, scale=scale, linear_below=below),
        clipped=high if values[-1] > high else None,
        floored=low if values[0] < low else None,
        above=float(np.mean(values > high)),
        below=float(np.mean(values < low)),
        linear_below=below,
        why=why,
    )


def _ceiling(values: np.ndarray, scale: Scale) -> float:
    """The automatic clip: cut what lies so far out that the bulk would be a single colour."""
    constant = _linear_below(values) if scale == "symlog" else math.nan
    heights = forward(values, scale, constant)
    bottom = heights[np.searchsorted(values, _floor(values, scale))]
    kept = len(values)
    for share, far, cut in _CLIP_STEPS["linear" if scale == "linear" else "log"]:
        bulk = np.percentile(heights, share) - bottom
        if bulk > 0 and heights[kept - 1] - bottom > far * bulk:
            kept = int(np.searchsorted(heights, bottom + cut * bulk, side="right"))
    if kept == len(values):
        return float(values[-1])
    return _rounded_up(float(values[kept - 1]), float(values[kept - 1] - values[0]))


def _rounded_up(value: float, span: float) -> float:
    """A clip is read by people: two digits of the span are enough."""
    step = 10.0 ** (math.floor(math.log10(span)) - 1) if span > 0 else 0.0
    return float(f"{math.ceil(value / step) * step:.12g}") if step else value


def _floor(values: np.ndarray, scale: Scale) -> float:
    """The automatic floor, which is the smallest value unless a few cells lie absurdly far below all others."""
    low, first, *rest = np.percentile(values, [0, 1, 25, 50, 75])
    if scale == "log":
        return float(values[np.searchsorted(values, first / 1e3)]) if low < first / 1e3 else float(low)
    far = -1e3 * float(np.max(np.abs(rest)))
    return float(values[np.searchsorted(values, far)]) if low < far < 0 else float(low)


def _linear_below(values: np.ndarray) -> float:
    """The constant of symlog: a power of ten near the lower decile of the magnitudes that are not zero."""
    magnitudes = np.abs(values[values != 0])
    return float(10.0 ** math.floor(math.log10(np.percentile(magnitudes, 10))))


def _spread(shown: Range, values: np.ndarray) -> float:
    """Part of the range that the middle half of the cells fills."""
    first, third = np.percentile(shown.heights(values), [25, 75])
    bottom, top = shown.limits
    return float((third - first) / (top - bottom)) if top > bottom else 0.0


def round_levels(
    low: float, high: float, count: int, *, scale: Scale = "linear", linear_below: float = math.nan
) -> tuple[float, ...]:
    """Round numbers strictly between two values: about ``count`` of them, never more than twice as many.

    Args:
        low: smallest value.
        high: largest value.
        count: how many are wanted.
        scale: the scale they should look even on.
        linear_below: the constant of symlog.

    Returns:
        Increasing values.

    Example:
        >>> round_levels(0.0, 53.0, 9)
        (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0)
        >>> round_levels(0.003, 53.0, 9, scale="log")
        (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
    """
    if not high > low or count < 1:
        return ()
    if scale == "log":
        return _log_levels(low, high, count)
    if scale == "symlog":
        return _symlog_levels(low, high, count, linear_below)
    return _linear_levels(low, high, count)


def _linear_levels(low: float, high: float, count: int) -> tuple[float, ...]:
    step = min(_steps(low, high), key=lambda step: abs(_fit(low, high, step) - count))
    first, last = math.floor(low / step), math.ceil(high / step)
    # Rounding removes the 0.30000000000000004 of a product.
    decimals = 1 - math.floor(math.log10(step))
    candidates = (round(index * step, decimals) for index in range(first, last + 1))
    return tuple(level for level in candidates if low < level < high)


def _steps(low: float, high: float) -> Sequence[float]:
    power = math.floor(math.log10(high - low))
    return [factor * 10.0**exponent for exponent in range(power - 2, power + 1) for factor in (1, 2, 5)]


def _fit(low: float, high: float, step: float) -> int:
    return math.ceil(high / step) - math.floor(low / step) - 1


def _log_levels(low: float, high: float, count: int) -> tuple[float, ...]:
    decades = math.log10(high / low)
    if decades < 0.7:
        return _linear_levels(low, high, count)
    return tuple(level for level in _round_magnitudes(low, high, decades, count) if low < level < high)


def _symlog_levels(low: float, high: float, count: int, linear_below: float) -> tuple[float, ...]:
    """Zero, and the same round magnitudes on both sides of it."""
    reach = [max(math.log10(side / linear_below), 0.0) if side > 0 else 0.0 for side in (high, -low)]
    largest = linear_below * 10.0 ** max(reach)
    magnitudes = _round_magnitudes(linear_below, largest, sum(reach) + 1.0, count)
    levels = {0.0, *magnitudes, *(-magnitude for magnitude in magnitudes)}
    inside = tuple(sorted(level for level in levels if low < level < high))
    return inside if len(inside) > 2 else _linear_levels(low, high, count)


def _round_magnitudes(low: float, high: float, decades: float, count: int) -> list[float]:
    """1-2-5, 1-3 or powers of ten from low to high, as dense as ``count`` lines on so many decades allow."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    per_decade = 1.6 * count / decades
    factors = (1, 2, 5) if per_decade >= 3 else (1, 3) if per_decade >= 2 else (1,)
    stride = max(1, math.ceil(decades / count)) if factors == (1,) else 1
    kept = [power for power in powers if power % stride == 0]
    candidates = [float(f"{factor}e{power}") for power in kept for factor in factors]
    return [candidate for candidate in candidates if low <= candidate <= high]
