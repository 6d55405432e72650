"""Where does a change first become positive, as far as doubling and halving can tell?"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq

__all__ = ["Step", "first_rise"]

Step = float
"""A multiple of an update."""

_MOST = 60


def first_rise(change: Callable[[float], float], start: float = 1.0, tolerance: float = 0.02) -> tuple[float, str]:
    """Where a change, 0 at 0, first becomes positive, as far as doubling and halving can tell.

    Args:
        change: the loss at a step minus the loss at none; a value that is not finite counts as a rise.
        start: the step to begin with.
        tolerance: wanted accuracy of the step, relative.

    Returns:
        The step, and what a reader must know about it: that nothing rose within the steps tried (it is then the longest
        of them), or that everything rose (0).

    Example:
        >>> step, note = first_rise(lambda t: -t + t**2 / 8)
        >>> round(step, 6), note
        (8.0, '')
    """
    # change / step is linear where the loss is quadratic, so one secant finds its zero: no bisection.
    known: dict[float, float] = {}

    def slope(step: float) -> float:
        if step not in known:
            value = change(step)
            known[step] = value / step if math.isfinite(value) else math.inf
        return known[step]

    low = high = start
    if slope(start) > 0:
        while slope(low) > 0:
            high, low = low, low / 4
            # A change of exactly 0 is rounding: closer than that nothing can be resolved.
            if slope(low) == 0 or len(known) > _MOST:
                return 0.0, "The loss rises along this update at once."
    else:
        while slope(high) <= 0:
            low, high = high, high * 4
            if len(known) > _MOST or math.isinf(high):
                return low, f"The loss does not rise up to a step of {low:.3g}: the value is an upper bound."
    while math.isinf(slope(high)):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if slope(middle) <= 0 else (low, middle)
        if high / low < 1 + tolerance:
            return low, ""
    if slope(low) == 0:
        return low, ""
    return float(brentq(slope, low, high, rtol=max(tolerance, 1e-12), xtol=1e-12 * low)), ""
