"""Which range of values is shown: limits, clip and scale, decided once for every back end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.figure.levels import Scale, round_levels
from lossatlas.figure.words import number, numbers
from lossatlas.oneline import one_line

__all__ = ["FAR", "FAR_ON_A_LINE", "Range", "choose", "forward"]

FAR = 10.0
"""On a map, cells may be clipped that are more than this many times as large as all others."""
FAR_ON_A_LINE = 1e3
"""The same on a line, where a barrier is the point of the picture."""

# A clip never cuts so large a share of the cells or more: only a minority is cut.
_MINORITY = 0.5
# How wide the gap below the cells that are cut must be, in spans of what is left.
_GAP = {"linear": 0.5, "log": 1.0, "symlog": 1.0}
# What is left must have a shape of its own (a span of this share of its size), or a barrier between flat ends would be
# cut; beyond this factor the cells have blown up whatever is left.
_SHAPE, _BLOWN_UP = 0.1, 1e6
# Decades of positive values beyond which "auto" takes the logarithm.
_DECADES = 2.0
# With values of both signs or zero, "auto" takes the symmetric logarithm where half of the sizes are so much smaller
# than the largest.
_HIDDEN = 1e3


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

    __repr__ = one_line

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
    values: np.ndarray | Sequence[np.ndarray],
    *,
    scale: Literal["auto", "linear", "log"] = "auto",
    clip: float | Literal["auto"] | None = "auto",
    levels: int = 9,
    centred: bool = False,
    vmin: float | None = None,
    vmax: float | None = None,
    far: float = FAR,
) -> Range:
    """Choose what is shown of these values.

    A logarithm is taken only of positive values. Where "log" is asked for and a value is zero or negative, the
    scale is a symmetric logarithm and :attr:`Range.why` says so; nothing is added to the values.

    Args:
        values: float array of finite values; or a list of such arrays, one for each of what is compared, each of which
            stays as visible as it would be alone.
        scale: "auto" takes the logarithm where positive values span more than two decades of what is shown, and the
            linear scale otherwise.
        clip: largest value shown, or the largest there is; "auto" cuts off only a minority of the cells that is
            ``far`` times as large as all others, with a gap of at least half the span of what is left; ``None`` cuts
            nothing.
        levels: about how many round levels.
        centred: make the range symmetric around zero, for a diverging map.
        vmin: lower end of the range, whatever the values are.
        vmax: upper end of the range, whatever the values are.
        far: how many times as large as all others the values are that "auto" may clip.

    Returns:
        The range.

    Raises:
        SpecError: ``clip`` or ``vmax`` is not above the smallest value, or ``vmin`` not below the largest.

    Example:
        >>> bowl_with_a_cliff = np.append(np.linspace(0.1, 8.0, 99), 1e10)
        >>> shown = choose(bowl_with_a_cliff)
        >>> shown.scale, shown.low, shown.high, shown.above
        ('linear', 0.1, 8.0, 0.01)
        >>> choose(np.linspace(1.78, 2.06, 9), vmin=0.0, vmax=3.0).levels
        (0.5, 1.0, 1.5, 2.0, 2.5)
    """
    groups = _groups(values)
    if not groups and vmin is not None and vmax is not None:
        groups = [np.array([vmin, vmax], float)]  # there are no values yet, but the range is known
    if not groups:
        return Range(scale="linear", low=0.0, high=1.0, levels=())
    every = np.sort(np.concatenate(groups))
    if every[0] == every[-1] and vmin is None and vmax is None:
        return _constant(every[0])
    asked = _Asked(clip=clip, vmin=vmin, vmax=vmax, far=far, levels=levels, centred=centred)
    asked.check(every)
    if scale == "linear" or centred:
        return _on("linear", groups, every, asked)
    positive = bool((every[0] if vmin is None else vmin) > 0)
    if scale == "log":
        why = "" if positive else "values at or below zero have no logarithm"
        return _on("log" if positive else "symlog", groups, every, asked, why)
    if positive:
        logarithmic = _on("log", groups, every, asked)
        if math.log10(logarithmic.high / logarithmic.low) > _DECADES + 1e-9:
            return logarithmic
        return _on("linear", groups, every, asked)
    linear = _on("linear", groups, every, asked)
    return _on("symlog", groups, every, asked) if any(_hides(linear, part) for part in (every, *groups)) else linear


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What :func:`choose` was asked for."""

    clip: float | Literal["auto"] | None
    vmin: float | None
    vmax: float | None
    far: float
    levels: int
    centred: bool

    def check(self, values: np.ndarray) -> None:
        """Refuse ends that leave nothing to show."""
        for name, end in (("clip", self.clip), ("vmax", self.vmax)):
            if isinstance(end, (int, float)) and not end > values[0]:
                good = {"clip": "a number between that and {}, None, or 'auto'", "vmax": "a larger number"}[name]
                raise SpecError(
                    f"{name}={end!r} is not above the smallest value {number(values[0])}; "
                    f"choose {good.format(number(values[-1]))}"
                )
        if self.vmin is not None and not self.vmin < values[-1]:
            raise SpecError(
                f"vmin={self.vmin!r} is not below the largest value {number(values[-1])}; choose a smaller number"
            )


def _groups(values: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    """Sorted arrays; those without any value are left out."""
    arrays = [values] if isinstance(values, np.ndarray) else list(values)
    if arrays and not isinstance(arrays[0], np.ndarray):  # a list of plain numbers
        arrays = [np.asarray(arrays, float)]
    return [np.sort(np.asarray(array, float).ravel()) for array in arrays if np.size(array)]


def _hides(linear: Range, values: np.ndarray) -> bool:
    """Whether a linear scale leaves more than half of these values, but for zeros, within a thousandth of it."""
    sizes = np.abs(values[(values != 0) & (values >= linear.low) & (values <= linear.high)])
    return len(sizes) > 0 and max(abs(linear.low), abs(linear.high)) > _HIDDEN * float(np.median(sizes))


def _constant(value: float) -> Range:
    pad = 0.05 * abs(value) or 0.05
    return Range(scale="linear", low=value - pad, high=value + pad, levels=(float(value),))


def _on(scale: Scale, groups: Sequence[np.ndarray], every: np.ndarray, asked: _Asked, why: str = "") -> Range:
    """The range on a given scale, from sorted values."""
    below = _linear_below(every) if scale == "symlog" else math.nan
    low, high = float(every[0]), float(every[-1])
    if asked.clip == "auto":
        low = min(_floor(group, scale, below, asked.far) for group in groups)
        high = max(_ceiling(group, scale, below, asked.far) for group in groups)
    elif asked.clip is not None:
        high = min(high, float(asked.clip))
    if asked.centred:
        high = max(abs(low), abs(high), *(abs(end) for end in (asked.vmin, asked.vmax) if end is not None))
        low = -high
    low = low if asked.vmin is None else float(asked.vmin)
    high = high if asked.vmax is None else float(asked.vmax)
    if not low < high:  # one end set by hand lies beyond the automatic other
        low, high = (low, float(every[-1])) if asked.vmax is None else (min(float(every[0]), high), high)
    return Range(
        scale=scale,
        low=low,
        high=high,
        levels=round_levels(low, high, asked.levels, scale=scale, linear_below=below),
        clipped=high if every[-1] > high else None,
        floored=low if every[0] < low else None,
        above=float(np.mean(every > high)),
        below=float(np.mean(every < low)),
        linear_below=below,
        why=why,
    )


def _ceiling(values: np.ndarray, scale: Scale, linear_below: float, far: float) -> float:
    """The automatic clip of sorted values: the largest of those that are left."""
    kept = _kept(values, scale, linear_below, far)
    if kept == len(values):
        return float(values[-1])
    return min(_rounded_up(float(values[kept - 1]), float(values[kept - 1] - values[0])), float(values[kept]))


def _kept(values: np.ndarray, scale: Scale, linear_below: float, far: float) -> int:
    """How many of the sorted values are shown: all but a minority that lies far above all others."""
    total = len(values)
    kept = np.arange(math.floor(total * _MINORITY) + 1, total)
    if not len(kept) or (scale == "log" and values[0] <= 0):
        return total
    heights = forward(values, scale, linear_below)
    first, last = values[kept], values[kept - 1]  # the first value that would be cut, the last that would be left
    gap, span = heights[kept] - heights[kept - 1], heights[kept - 1] - heights[0]
    size = np.maximum(abs(values[0]), np.abs(last))
    shaped = (last - values[0] >= _SHAPE * size) | (first > _BLOWN_UP * size)
    cut = (gap >= _GAP[scale] * span) & (first > far * size) & shaped
    return int(kept[cut][0]) if cut.any() else total


def _rounded_up(value: float, span: float) -> float:
    """A clip is read by people: two digits of the span are enough."""
    step = 10.0 ** (math.floor(math.log10(span)) - 1) if span > 0 else 0.0
    return float(f"{math.ceil(value / step) * step:.12g}") if step else value


def _floor(values: np.ndarray, scale: Scale, linear_below: float, far: float) -> float:
    """The automatic floor, which is the smallest value unless a few cells lie absurdly far below all others."""
    if scale != "log":
        return -_ceiling(-values[::-1], scale, linear_below, far)
    limit = np.percentile(values, 1) / (100 * far)
    return float(values[np.searchsorted(values, limit)]) if 0 < values[0] < limit else float(values[0])


def _linear_below(values: np.ndarray) -> float:
    """The constant of symlog: a power of ten near the lower decile of the magnitudes that are not zero."""
    magnitudes = np.abs(values[values != 0])
    return float(10.0 ** math.floor(math.log10(np.percentile(magnitudes, 10))))
