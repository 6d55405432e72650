"""Which round numbers lie between two values: contour levels and ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

__all__ = ["Scale", "round_levels"]

Scale = Literal["linear", "log", "symlog"]

# Factors of a power of ten, coarse to fine; the finer ones contain 1, 2 and 5, so that levels can be read off.
_FINE = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0),
)
# A logarithmic scale of fewer decades has levels between 1, 2 and 5 too; of far fewer, those of a linear scale.
_SHORT, _VERY_SHORT = 2.0, 0.7


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
    if decades < _VERY_SHORT:
        return _linear_levels(low, high, count)
    if decades < _SHORT:
        levels = min(_short_levels(low, high), key=lambda levels: (abs(len(levels) - count), -len(levels)))
        return levels if 2 * len(levels) >= count else _linear_levels(low, high, count)
    return tuple(level for level in _round_magnitudes(low, high, decades, count) if low < level < high)


def _short_levels(low: float, high: float) -> list[tuple[float, ...]]:
    """Candidates for less than two decades, coarse to fine."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [
        tuple(level for power in powers for factor in factors if low < (level := float(f"{factor}e{power}")) < high)
        for factors in _FINE
    ]


def _symlog_levels(low: float, high: float, count: int, linear_below: float) -> tuple[float, ...]:
    """Zero, and the same round magnitudes on both sides of it."""
    reach = [max(math.log10(side / linear_below), 0.0) if side > 0 else 0.0 for side in (high, -low)]
    largest = linear_below * 10.0 ** max(reach)
    magnitudes = _round_magnitudes(linear_below, largest, sum(reach) + 1.0, count)
    levels = {0.0, *magnitudes, *(-magnitude for magnitude in magnitudes)}
    inside = tuple(sorted(level for level in levels if low < level < high))
    return inside if len(inside) > 2 else _linear_levels(low, high, count)


def _round_magnitudes(low: float, high: float, decades: float, count: int) -> list[float]:
    """1-2-5, 1-3 or powers of ten from low to high, as dense as ``count`` lines over these decades allow."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    per_decade = 1.6 * count / decades
    factors = (1, 2, 5) if per_decade >= 3 else (1, 3) if per_decade >= 2 else (1,)
    stride = max(1, math.ceil(decades / count)) if factors == (1,) else 1
    kept = [power for power in powers if power % stride == 0]
    candidates = [float(f"{factor}e{power}") for power in kept for factor in factors]
    return [candidate for candidate in candidates if low <= candidate <= high]
