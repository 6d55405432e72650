"""How does the loss change along one update? The picture behind a critical sharpness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.expected import check_number, check_whole
from lossatlas.figure.plot import Mark, Panel, Plot, Series, onto
from lossatlas.figure.words import number
from lossatlas.flatness.first_rise import Step, first_rise
from lossatlas.flatness.ground import Ground
from lossatlas.flatness.update import Update, update_of
from lossatlas.objective import Objective
from lossatlas.oneline import one_line
from lossatlas.space.parameters import Parameters

__all__ = ["Profile", "profile"]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The loss along an update.

    Attributes:
        steps: float64 [n], in multiples of the update, from 0.
        losses: float64 [n].
        critical_step: the step at which the loss first rises above where it began; 0 where it rises at once.
        rate: the learning rate that is compared with it; NaN where none was given.
        along: what the update is.
        note: what a reader must know; usually empty.
    """

    steps: np.ndarray
    losses: np.ndarray
    critical_step: float
    rate: float
    along: str
    note: str = ""

    __repr__ = one_line

    @property
    def critical(self) -> float:
        """Critical sharpness, 2 over the step."""
        return 2 / self.critical_step if self.critical_step > 0 else math.inf

    @property
    def words(self) -> str:
        """At which step the loss first rises, beside the learning rate, in a sentence."""
        edge = f"; 2/η = {number(2 / self.rate)}" if self.rate > 0 else ""
        return f"2/ηc = {number(self.critical)} along {self.along}{edge}."

    def plot(self, ax: Any = None) -> Plot:
        """The loss along the update, with the step at which it rises.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        marks = [Mark(y=float(self.losses[0]), label="loss now")]
        if self.critical_step > 0:
            marks.append(Mark(x=self.critical_step, label=f"ηc = {number(self.critical_step)}"))
        if math.isfinite(self.rate):
            marks.append(Mark(x=self.rate, label=f"η = {number(self.rate)}"))
        panel = Panel(
            series=[Series(x=self.steps, y=self.losses, style="both", color=0)],
            x_label=f"multiple of {self.along}",
            y_label="loss",
            marks=marks,
        )
        caption = [self.words, self.note, "For this one direction, at this one point."]
        return onto(ax, Plot(panels=[panel], title="Loss along one step", caption=caption))


def profile(
    objective: Objective,
    params: Parameters | None = None,
    *,
    update: Update | None = None,
    second: Objective | None = None,
    rate: float | None = None,
    points: int = 21,
    start: Step = 1.0,
) -> Profile:
    """The loss along an update, from no step to twice the critical one.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        update: as for :func:`lossatlas.sharpness.critical`; by default the gradient.
        second: another objective on the same network, whose loss is followed.
        rate: a learning rate to mark; by default that of an optimiser given as update.
        points: of the line, at least 3.
        start: the step to begin the search with.

    Returns:
        The losses, and the step at which they rise.

    Raises:
        SpecError: there are fewer than three points, the start is not positive, or the gradient is zero.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(1, 1, bias=False).double()
        >>> layer.weight.data.fill_(1.0)
        tensor([[1.]], dtype=torch.float64)
        >>> data = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
        >>> round(profile(Objective(layer, data, torch.nn.functional.mse_loss)).critical, 6)
        2.0
    """
    check_whole("points", points)
    for argument, given in (("start", start), ("rate", 1.0 if rate is None else rate)):
        check_number(argument, given)
    if points < 3 or not (math.isfinite(start) and start > 0):
        raise SpecError(f"points={points}, start={start}; expected at least 3 points and a positive step")
    ground = Ground(objective, params)
    way = update_of(ground, update)
    seen = ground if second is None else Ground(second, ground.base)
    step, note = first_rise(lambda t: seen.loss(-t * way) - seen.height, start)
    taken = getattr(update, "param_groups", None)
    rate = float(taken[0]["lr"]) if rate is None and taken else rate
    steps = np.linspace(0, 2 * (step or start), points)
    losses = [seen.height, *(seen.loss(-float(t) * way) for t in steps[1:])]
    names = {True: "the gradient", False: "the update"}
    along = f"the step of {type(update).__name__}" if taken else names[update is None]
    return Profile(
        steps=steps,
        losses=np.array(losses),
        critical_step=step,
        rate=math.nan if rate is None else float(rate),
        along=along,
        note=note,
    )
