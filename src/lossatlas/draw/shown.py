"""On which range is each value of a picture shown? One for all that is compared, whole where a cut would mislead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import numpy as np
import xarray as xr

from lossatlas.draw import captions, cuts
from lossatlas.draw.scene import Cells, Curve, Look
from lossatlas.field.usual import beside, bounded, linear
from lossatlas.figure.levels import round_levels
from lossatlas.figure.ranges import FAR, FAR_ON_A_LINE, Range, choose
from lossatlas.oneline import one_line
from lossatlas.results.quantities import quantity

__all__ = ["FURTHER", "Asked", "Seen", "beside_range", "chosen", "companions", "fitting", "looks", "others"]

FURTHER = 3
"""How many further values are drawn with the first on one picture of curves."""

_FITS = 5.0
"""How many times as large as another a value may be on the same axis, where both have a shape of their own."""


class Asked(Protocol):
    """What a View says about the range."""

    @property
    def scale(self) -> Literal["auto", "linear", "log"]:
        """The scale."""
        ...

    @property
    def clip(self) -> float | Literal["auto"] | None:
        """The clip."""
        ...

    @property
    def vmin(self) -> float | None:
        """The lower end by hand."""
        ...

    @property
    def vmax(self) -> float | None:
        """The upper end by hand."""
        ...

    @property
    def levels(self) -> int:
        """About how many levels."""
        ...

    @property
    def colours(self) -> str:
        """The colour map."""
        ...


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is drawn together.

    Attributes:
        sources: the Landscapes.
        blocks: what was cut out of them, one each.
        curves: the lines, where there are any.
        value: what height and colour show.
        label: its words.
        alongside: further values on the same vertical axis.
    """

    sources: Sequence[xr.Dataset]
    blocks: Sequence[Cells]
    curves: Sequence[Curve]
    value: str
    label: str
    alongside: tuple[str, ...] = ()

    __repr__ = one_line

    def finite(self, value: str) -> list[np.ndarray]:
        """The values of each thing compared: the runs of a model together."""
        names = (value, *self.alongside) if value == self.value else (value,)
        parts = [curve.members for curve in self.curves] or [(block,) for block in self.blocks]
        return [
            np.concatenate([block.values[name][block.drawable(name)] for block in part])
            for part in parts
            for name in names
        ]


def others(landscapes: Sequence[xr.Dataset], value: str) -> tuple[str, ...]:
    """Further values that all Landscapes have; none beside a map of curvature, whose values have other units."""
    if quantity(landscapes[0], value) is not None:
        return ()
    return tuple(name for name in cuts.shared_values(landscapes) if name != value)


def companions(landscapes: Sequence[xr.Dataset], value: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Further values of lines: those on the same axis, as a test loss beside a training loss, and those on a second.

    Returns:
        Both. The exponential of the value, such as a perplexity, only repeats it and is in neither; nor is a value
        whose exponential it is.
    """
    return beside(landscapes, value, others(landscapes, value))


def looks(seen: Seen, asked: Asked) -> Mapping[tuple[str, str, bool], Look]:
    """Every value on both scales, clipped and not, so that a reader may switch.

    Args:
        seen: what is drawn together.
        asked: what the View says about the range.

    Returns:
        By value, "linear" or "log", and whether it is clipped.
    """
    found = {}
    for value in cuts.shared_values(seen.sources):
        for scale in get_args(Literal["linear", "log"]):
            for clipped in (True, False):
                shown = _on_known_ends(_range(seen, asked, value, scale, clipped=clipped), seen, asked, value)
                words = captions.shown_words(value, shown, seen.blocks, _label(seen, value), seen.sources)
                found[value, scale, clipped] = Look(value=value, range=shown, words=words)
    return found


def chosen(looks: Mapping[tuple[str, str, bool], Look], seen: Seen, asked: Asked) -> Range:
    """The range that a picture begins with.

    Args:
        looks: as :func:`looks` gives them.
        seen: what is drawn together.
        asked: what the View says about the range.

    Returns:
        One of the looks, or the automatic range.
    """
    scale, labels = asked.scale, [axis.label for block in seen.blocks for axis in block.axes]
    if scale == "auto" and linear(seen.sources, seen.value, labels):
        scale = "linear"
    if scale != "auto":
        return looks[seen.value, scale, asked.clip is not None].range
    return _range(seen, asked, seen.value, "auto", clipped=asked.clip is not None)


def _range(seen: Seen, asked: Asked, value: str, scale: Literal["auto", "linear", "log"], *, clipped: bool) -> Range:
    own = value == seen.value
    clip: float | Literal["auto"] | None = "auto" if not own or asked.clip is None else asked.clip
    if not clipped or (clip == "auto" and bounded(seen.sources, value)):
        clip = None
    return choose(
        seen.finite(value),
        scale=scale,
        clip=clip,
        levels=asked.levels,
        centred=own and asked.colours == "diverging",
        vmin=asked.vmin if own else None,
        vmax=asked.vmax if own else None,
        far=FAR_ON_A_LINE if seen.curves else FAR,
    )


def _on_known_ends(shown: Range, seen: Seen, asked: Asked, value: str) -> Range:
    """A linear scale from zero to a round end, so that maps drawn separately can be compared by their colours."""
    known = quantity(seen.sources[0], value)
    by_hand = value == seen.value and (asked.vmin is not None or asked.vmax is not None)
    values = np.concatenate(seen.finite(value))
    if known is None or not known.ends or shown.scale != "linear" or asked.clip != "auto" or by_hand or not len(values):
        return shown
    high = next((end for end in known.ends if values.max() <= end), None)
    if high is None:  # beyond the last end
        return shown
    levels = round_levels(0.0, high, asked.levels)
    return replace(shown, low=0.0, high=high, levels=levels, clipped=None, floored=None, above=0.0, below=0.0)


def _label(seen: Seen, value: str) -> str:
    return seen.label if value == seen.value else value


def fitting(seen: Seen, beside: Sequence[str]) -> tuple[str, ...]:
    """Those of some further values that one second axis can show; scores come first, then what is of their size.

    Args:
        seen: what is drawn together.
        beside: the names of the values.

    Returns:
        The names, in the order given.
    """
    scores = [name for name in beside if bounded(seen.sources, name)]
    sizes: dict[str, float] = {}
    for name in dict.fromkeys([*scores, *beside]):
        size = max((float(np.abs(array).max()) for array in seen.finite(name) if array.size), default=0.0)
        if name in scores:
            size = 1.0 if size <= 1 else 100.0  # a share, or a percentage
        there = [one for one in (*sizes.values(), size) if one > 0]
        if len(sizes) < FURTHER - len(seen.alongside) and (not there or max(there) <= _FITS * min(there)):
            sizes[name] = size
    return tuple(name for name in beside if name in sizes)


def beside_range(seen: Seen, beside: Sequence[str]) -> Range:
    """One linear scale for the values on the second axis, whole: nothing on it is ever clipped.

    Args:
        seen: what is drawn together.
        beside: the names of the metrics.

    Returns:
        The range.
    """
    return choose([array for name in beside for array in seen.finite(name)], scale="linear", clip=None, levels=6)
