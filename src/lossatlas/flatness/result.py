"""What does a measure of flatness give? A number with its spread, how it was taken, and what it does not prove."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossatlas.figure.plot import Panel, Plot, Series, onto
from lossatlas.figure.words import with_error
from lossatlas.flatness.definitions import Definition, Name
from lossatlas.flatness.door import definition_of
from lossatlas.oneline import one_line

__all__ = ["Sharpness"]


@dataclass(frozen=True, kw_only=True)
class Sharpness:
    """One measure at one point.

    Attributes:
        measure: which one, a name of :data:`lossatlas.sharpness.DEFINITIONS`, or of a measure from elsewhere.
        value: its value.
        spread: of the value; NaN if it is not a mean.
        spread_is: what the spread is: a standard error over draws, a standard deviation over directions, …
        settings: everything that the value depends on besides the network and the data.
        evaluations: of the loss on all samples.
        gradients: of the loss on all samples; a Hessian-vector product counts as two.
        note: what a reader must know about this value; usually empty.
    """

    measure: Name
    value: float
    spread: float
    spread_is: str
    settings: Mapping[str, Any]
    evaluations: float
    gradients: float
    note: str = ""

    __repr__ = one_line

    @property
    def words(self) -> str:
        """The value with its spread, and what the spread is, in a sentence."""
        spread = f" ({self.spread_is})" if math.isfinite(self.spread) and self.spread_is else ""
        return f"{self.definition.title}: {with_error(self.value, self.spread)}{spread}."

    def plot(self, ax: Any = None) -> Plot:
        """The value with its spread.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        reach = np.nan_to_num([self.spread])
        point = Series(
            x=np.zeros(1), y=np.array([self.value]), low=self.value - reach, high=self.value + reach, style="points"
        )
        panel = Panel(series=[point], x_label="", y_label=self.definition.title, x_ticks=[(0.0, self.measure)])
        return onto(ax, Plot(panels=[panel], title=self.definition.title, caption=(self.words, self.caveat)))

    @property
    def definition(self) -> Definition:
        """Formula, paper, cost and invariances of the measure."""
        return definition_of(self.measure)

    @property
    def invariances(self) -> tuple[str, ...]:
        """Names of :data:`lossatlas.sharpness.INVARIANCES` that leave the value as it is."""
        return self.definition.invariant_to

    @property
    def caveat(self) -> str:
        """What the value does not prove."""
        return " ".join(text for text in (self.note, self.definition.caveat) if text)
