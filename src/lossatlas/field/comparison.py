"""Do two models differ by more than the spread over directions: the difference, its words and its picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.stats
import xarray as xr

from lossatlas.figure.plot import Panel, Plot, Series, onto
from lossatlas.figure.words import capital, number
from lossatlas.oneline import one_line

__all__ = ["FEW", "Comparison", "caveat_of", "in_words", "spread", "titles_of", "welch"]

FEW = 5
"""Seeds below which an interval is said to be wide: Student's factor is 2.8 at five seeds and 12.7 at two."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Whether two models differ by more than the spread over directions.

    Attributes:
        value: what was compared.
        scale: "linear": means over the grid; "log": geometric means, so the difference is a factor.
        difference: a minus b, or a over b.
        low: lower end of the 95 % interval.
        high: its upper end.
        differ: whether the interval excludes "no difference" (0, or a factor of 1).
        words: the same in words.
        caveat: what it does not say.
        titles: of both models.
        means: by model, the mean over the grid of each seed.
    """

    value: str
    scale: Literal["linear", "log"]
    difference: float
    low: float
    high: float
    differ: bool
    words: str
    caveat: str
    titles: tuple[str, str] = ("first", "second")
    means: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    __repr__ = one_line

    def plot(self, ax: Any = None) -> Plot:
        """The mean over the grid of every direction seed, by model.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        series = [
            Series(x=place + spread(len(found)), y=np.array(found), style="points", color=place)
            for place, found in enumerate(self.means)
        ]
        kind = "geometric mean" if self.scale == "log" else "mean"
        panel = Panel(
            series=series,
            x_label="",
            y_label=f"{self.value}, {kind} over the grid",
            y_scale=self.scale,
            x_ticks=list(enumerate(self.titles)),
        )
        caption = (self._verdict, "One point for each seed.", capital(self.words), self.caveat)
        return onto(ax, Plot(panels=[panel], caption=caption))

    @property
    def _verdict(self) -> str:
        """Only the difference, in few enough words for one line."""
        first, second = self.titles
        difference, low, high = map(number, (self.difference, self.low, self.high))
        what = f"{first} over {second}" if self.scale == "log" else f"{first} minus {second}"
        found = "more than the directions explain" if self.differ else "no difference shown"
        return f"{what}: {difference} [{low}, {high}]; {found}."


def spread(count: int) -> np.ndarray:
    """float64 [count]: places side by side around 0, so that points of one column do not cover each other."""
    return np.linspace(-0.12, 0.12, count) if count > 1 else np.zeros(count)


def titles_of(sides: Sequence[Sequence[xr.Dataset]]) -> tuple[str, str]:
    """What both models are called, told apart where they have the same name."""
    first, second = (str(side[0].attrs.get("title") or "model") for side in sides)
    return (first, second) if first != second else (f"{first} (first)", f"{second} (second)")


def welch(numbers: list[np.ndarray], errors: list[float | None]) -> tuple[float, float]:
    """The difference of two means and half its 95 % interval."""
    variances = [float(found.var(ddof=1)) / len(found) for found in numbers]
    total = sum(variances)
    free = [variance**2 / (len(found) - 1) for variance, found in zip(variances, numbers, strict=True)]
    degrees = total**2 / sum(free) if sum(free) else math.inf
    factor = float(scipy.stats.t.ppf(0.975, degrees))
    beside = sum(error**2 for error in errors if error is not None)
    return float(numbers[0].mean() - numbers[1].mean()), factor * math.sqrt(total + beside)


def in_words(
    sides: Sequence[Sequence[xr.Dataset]], value: str, scale: str, ends: tuple[float, ...], *, differ: bool
) -> str:
    """The comparison in a sentence.

    Args:
        sides: the runs of each model.
        value: which value.
        scale: "linear" or "log".
        ends: difference, low and high.
        differ: whether they do.

    Returns:
        The sentence.
    """
    first, second = titles_of(sides)
    difference, low, high = map(number, ends)
    interval = f"95 % from {low} to {high}"
    what = f"{value}, mean over the grid, {len(sides[0])} and {len(sides[1])} direction seeds"
    if scale == "log":
        said = f"{what} (geometric): {first} is {difference} times {second} ({interval})"
    else:
        said = f"{what}: {first} minus {second} is {difference} ({interval})"
    if differ:
        return f"{said}: they differ by more than the directions (and the samples, where known) explain."
    none = "a factor of 1" if scale == "log" else "0"
    return f"{said}: no difference is shown, as the interval contains {none}."


def caveat_of(sides: Sequence[Sequence[xr.Dataset]], cells: np.ndarray, errors: Sequence[float | None]) -> str:
    """What the comparison does not say."""
    said = []
    if missing := int((~cells).sum()):
        said.append(f"{missing} of {cells.size} cells lack a finite value in some run and are left out of both models.")
    if any(error is None for error in errors):
        said.append("The interval leaves out the error over samples: sample with standard_error=True to include it.")
    if min(map(len, sides)) < FEW:
        said.append(f"With fewer than {FEW} seeds the interval is wide.")
    data: list[Any] = [{str(run.attrs.get("data")) for run in side} for side in sides]
    if data[0] != data[1]:
        said.append("The models were measured on different data.")
    said.append(
        "This compares one trained network of each kind, over this grid only: to say that the kinds differ takes "
        "several trained networks of each."
    )
    return " ".join(said)
