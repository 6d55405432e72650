r"""Where does a task's score drop in a step while the loss changes smoothly? One value beside another, with numbers.

Both are seen on the same cells. For each pair of neighbouring cells, :math:`|v_a - v_b|` is the change across their
border. Two numbers say how suddenly a value changes; neither depends on its unit:

``steepest``
    the largest change across one border, as a share of the value's range: 1 for a step, 1 / (n - 1) for a straight
    line of n cells.
``concentration``
    the share of all change carried by the steepest tenth of the borders: 0.1 for a plane, 1 for a step.

A loss has no upper bound, so a far corner may hold most of its range. ``limit`` caps it where nothing is left to lose,
such as at log V, the loss of a guess among V tokens; the cap is stated. A score that is a mean over n problems has
steps of 1 / n by nature; its interval tells whether a step in the curve is more than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError, unknown
from lossatlas.figure.parts import Number, Picture
from lossatlas.figure.plot import Panel, Plot, Series, onto
from lossatlas.figure.words import capital
from lossatlas.oneline import one_line
from lossatlas.results.landscape import axis_names, structured, value_names

__all__ = ["BORDERS", "CAVEAT", "Change", "Steps", "steps_of"]

CAVEAT = "These numbers depend on the spacing of the grid and on the problems chosen."

BORDERS = 0.1
"""Share of the borders that ``concentration`` looks at."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """How one value changes over a Landscape.

    Attributes:
        name: of the value.
        low: its smallest value.
        high: its largest, cut at the limit.
        steepest: largest change across one border, as a share of the range.
        concentration: share of all change on the tenth of the borders with the most.
        borders: number of borders between cells that both have a value.
    """

    name: str
    low: float
    high: float
    steepest: float
    concentration: float
    borders: int


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A smooth value beside a score, see :func:`steps_of`.

    Attributes:
        landscape: what was measured.
        smooth: the value that is expected to change smoothly, as a rule the loss.
        score: the other.
        limit: where the smooth value was cut; none where it was not.
    """

    landscape: xr.Dataset
    smooth: Change
    score: Change
    limit: float | None

    __repr__ = one_line

    @property
    def words(self) -> str:
        """The comparison in words."""
        parts = [
            f"{change.name} changes by {100 * change.steepest:.0f} % of its range across its steepest border, and the "
            f"steepest tenth of {change.borders} borders carries {100 * change.concentration:.0f} % of all change"
            for change in (self.smooth, self.score)
        ]
        return f"{parts[0]}; {parts[1]}"

    @property
    def sentence(self) -> str:
        """The comparison in words, with what it does not prove."""
        return f"{self.words}. {CAVEAT}"

    def parts(self) -> list[Any]:
        """Pictures of both values from the one run, the lines through the centre, and the numbers: for a report."""
        pictures = [
            Picture(self.landscape, view={"value": self.smooth.name, "clip": self.limit}),
            Picture(self.landscape, view={"value": self.score.name, "scale": "linear", "clip": None}),
        ]
        numbers = [
            Number(f"{change.name}, {what}", 100 * share, CAVEAT, unit="%")
            for change in (self.smooth, self.score)
            for what, share in (
                ("largest change across one border, of its range", change.steepest),
                (f"share of all change on the steepest tenth of {change.borders} borders", change.concentration),
            )
        ]
        return [*pictures, *([self] if len(axis_names(self.landscape)) > 1 else []), *numbers]

    def plot(self, ax: Any = None) -> Plot:
        """The two values along each axis through the cell nearest the centre, with the score's interval.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        panels = []
        for value, style in ((self.smooth.name, "line"), (self.score.name, "step")):
            series = [self._series(value, axis, style) for axis in axis_names(self.landscape)]
            panels.append(Panel(series=series, x_label="multiple of the direction", y_label=self._words(value)))
        cut = "" if self.limit is None else f"{self.smooth.name} counted up to {self.limit:.3g}."
        band = "Bands: 95 % Clopper-Pearson intervals." if f"{self.score.name}_low" in self.landscape else ""
        title = f"{self.landscape.attrs.get('title', '')}: {self.smooth.name} and {self.score.name}"
        caption = (capital(self.sentence), capital(cut), band)
        return onto(ax, Plot(panels=panels, title=title, caption=caption))

    def _words(self, value: str) -> str:
        """A value and what its mean is over."""
        count = structured(self.landscape, "counts").get(value)
        if not count:
            return value
        share = (
            f"share of {count['number']:.0f} {count['unit']}s" if count["zero_one"] else f"mean over {count['unit']}s"
        )
        return f"{value} ({share})"

    def _series(self, value: str, axis: str, style: str) -> Series:
        centre = {
            name: int(np.argmin(np.abs(self.landscape[name].values)))
            for name in axis_names(self.landscape)
            if name != axis
        }
        line = self.landscape.isel(centre)
        ends = {end: line[f"{value}_{end}"].values for end in ("low", "high") if f"{value}_{end}" in line}
        y = line[value].values
        if value == self.smooth.name and self.limit is not None:
            y = np.minimum(y, self.limit)
        label = str(line[axis].attrs.get("long_name", axis))
        low, high = ends.get("low"), ends.get("high")
        return Series(x=line[axis].values, y=y, label=label, low=low, high=high, style=style)  # type: ignore[arg-type]


def steps_of(landscape: xr.Dataset, score: str, *, smooth: str = "loss", limit: float | None = None) -> Steps:
    """Compare a task's score with the loss, on a line, a plane or a volume.

    Args:
        landscape: with both values.
        score: name of the task's score.
        smooth: what to compare it with.
        limit: largest value of ``smooth`` that counts.

    Returns:
        The numbers, and a ``plot()``.

    Raises:
        SpecError: there is no such value, or it is the same everywhere.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = np.linspace(0, 1, 11)
        >>> values = {"loss": x, "solved": (x < 0.55).astype(float)}
        >>> found = steps_of(build({"x": Axis(coordinates=x, length=1.0)}, values), "solved")
        >>> round(found.smooth.steepest, 3), found.score.steepest
        (0.1, 1.0)
    """
    for argument, name in (("score", score), ("smooth", smooth)):
        if name not in value_names(landscape):
            raise SpecError(unknown(argument, name, value_names(landscape)))
    cut = landscape[smooth].values if limit is None else np.minimum(landscape[smooth].values, limit)
    return Steps(
        landscape=landscape,
        smooth=_change(smooth, cut),
        score=_change(score, landscape[score].values),
        limit=limit,
    )


def _change(name: str, values: np.ndarray) -> Change:
    borders = np.concatenate([np.abs(np.diff(values, axis=axis)).ravel() for axis in range(values.ndim)])
    borders = np.sort(borders[np.isfinite(borders)])[::-1]
    finite = values[np.isfinite(values)]
    spread = float(np.ptp(finite)) if finite.size else 0.0
    if not len(borders) or spread == 0:
        raise SpecError(f"{name!r} has the same value in every cell, so there is no change to look at")
    top = borders[: max(1, round(BORDERS * len(borders)))]
    return Change(
        name=name,
        low=float(finite.min()),
        high=float(finite.max()),
        steepest=float(borders[0]) / spread,
        concentration=float(top.sum() / borders.sum()),
        borders=len(borders),
    )
