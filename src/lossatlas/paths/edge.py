"""How close is training to the edge of stability? Critical sharpness beside 2/η, logged while it runs."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lossatlas.atomic import write_text
from lossatlas.errors import SpecError, unknown
from lossatlas.expected import described_type, path_of
from lossatlas.figure.plot import Panel, Plot, Series, onto
from lossatlas.figure.words import capital, number
from lossatlas.flatness.rise import critical
from lossatlas.objective import Objective
from lossatlas.objective.function import Function
from lossatlas.oneline import number_of, one_line
from lossatlas.paths.dashboard import log_to_wandb
from lossatlas.paths.record import learning_rate, unwrapped
from lossatlas.warned import each_once

__all__ = ["ALONG", "Edge", "Moment"]

ALONG = ("gradient", "optimizer")
"""What the step goes along: the gradient, or the step that the optimiser would take."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What was found at one step of a training.

    Attributes:
        step: its number.
        critical: critical sharpness; NaN where there was none, infinite where the loss rises at once.
        edge: 2 over the learning rate; NaN where that is not known, infinite where it is zero.
        evaluations: of the watched data that it took.
        note: why there is no value, or that it is only a bound; usually empty.
    """

    step: int
    critical: float
    edge: float
    evaluations: float
    note: str = ""

    __repr__ = one_line


class Edge:
    r"""Logs critical sharpness during a training, next to :math:`2 / η`.

    When full-batch gradient descent is at the edge of stability, the two hover around each other (Cohen et al. 2021,
    arXiv 2103.00065; arXiv 2601.16979). Each look costs a gradient and about six evaluations of the data, so give it a
    few hundred samples. The model and the optimiser are only read.

    A training loop without torch passes :meth:`step` a :class:`~lossatlas.Function` of the current parameters instead
    of a model, and needs neither data nor loss here.

    Args:
        data: as for :class:`~lossatlas.Objective`.
        loss: as for :class:`~lossatlas.Objective`.
        update: if a Function is watched: a function of its parameters that gives the gradient, or any other step
            divided by the learning rate, such as ``jax.grad(loss)``; by default the gradient by differences.
        every: steps from one look to the next.
        along: "gradient", or "optimizer": along the step that the optimiser would take, with its momenta and
            preconditioner; this is where Adam's own edge is seen.
        to: where each look is logged: a ``SummaryWriter`` of TensorBoard, a run of Weights & Biases, or a Lightning
            logger. Callbacks for trainers log to those of the trainer as well.
        options: further arguments of the Objective.

    Attributes:
        moments: what was found so far.

    Raises:
        SpecError: an option that makes no sense.

    Example:
        >>> net = nn.Linear(1, 1, bias=False).double()
        >>> net.weight.data.fill_(1.0)
        tensor([[1.]], dtype=torch.float64)
        >>> data = torch.ones(4, 1).double(), torch.zeros(4, 1).double()
        >>> edge = Edge(data=data, loss=torch.nn.functional.mse_loss)
        >>> found = edge.step(net, torch.optim.SGD(net.parameters(), lr=0.5))
        >>> round(found.critical, 6), found.edge
        (2.0, 4.0)
    """

    def __init__(
        self,
        *,
        data: Any = None,
        loss: Callable[..., Any] | None = None,
        update: Callable[[Any], Any] | None = None,
        every: int = 1,
        along: str = "gradient",
        to: Any = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise SpecError(f"every={every!r}; expected a whole number of steps, at least 1")
        if along not in ALONG:
            raise SpecError(unknown("along", along, ALONG))
        if update is not None and not callable(update):
            raise SpecError(
                f"update is {described_type(update)}; expected a function of the parameters, jax.grad(loss)"
            )
        self.data, self.loss, self.every, self.along, self.to = data, loss, every, along, to
        self.update = update
        self.options = dict(options or {})
        self.moments: list[Moment] = []
        self._count = 0
        self._said: set[str] = set()

    @property
    def words(self) -> str:
        """How often it looked, and what it saw last beside 2/η, in sentences."""
        count = f"{number_of(len(self.moments), 'look')} along {self._way}"
        if not self.moments:
            return f"{capital(count)}."
        last = self.moments[-1]
        edge = "" if math.isnan(last.edge) else f", 2/η {number(last.edge)}"
        seen = f"none found: {last.note}" if math.isnan(last.critical) else number(last.critical)
        return f"{capital(count)}; at step {last.step} critical sharpness {seen}{edge}."

    @property
    def _way(self) -> str:
        return "the gradient" if self.along == "gradient" else "the optimizer's step"

    def __repr__(self) -> str:
        """How often it was measured, and the last result."""
        last = self.moments[-1:]
        seen = "".join(f"; step {one.step}: critical {one.critical:.4g}, 2/η {one.edge:.4g}" for one in last)
        return f"<Edge along the {self.along}, {len(self.moments)} looks{seen}>"

    def step(
        self, model: nn.Module | Function, optimizer: Any, *, step: int | None = None, to: Any = None
    ) -> Moment | None:
        """Look, if this step is due.

        Args:
            model: as it is now, or a Function of the current parameters.
            optimizer: a ``torch.optim.Optimizer``, a scheduler, or a learning rate.
            step: number of the step; by default one more than the last.
            to: where else it is logged.

        Returns:
            What was found, or ``None`` if the step is not due.
        """
        at = self._count if step is None else int(step)
        self._count = at + 1
        if at % self.every:
            return None
        found = self.look(model, optimizer, at)
        self.moments.append(found)
        for target in (self.to, to):
            self.log(found, target)
        return found

    def look(self, model: nn.Module | Function, optimizer: Any, step: int = 0) -> Moment:
        """Critical sharpness of a model as it is now, beside 2 over the learning rate.

        Returns:
            What was found; if nothing was, the note says why.

        Raises:
            SpecError: ``along="optimizer"`` without an optimiser, or a model without data.
        """
        rate = learning_rate(optimizer)
        if self.along == "optimizer" and not isinstance(optimizer, torch.optim.Optimizer):
            raise SpecError(
                "along='optimizer' needs the torch.optim.Optimizer itself; give it to step(model, optimizer)"
            )
        edge = math.nan if rate is None else 2 / rate if rate > 0 else math.inf
        update = self.update if isinstance(model, Function) else optimizer if self.along == "optimizer" else None
        with each_once(self._said):
            objective = model if isinstance(model, Function) else self._objective(model)
            try:
                found = critical(objective, update=update, start=self._start(rate))
            except SpecError as fault:
                return Moment(step=step, critical=math.nan, edge=edge, evaluations=1.0, note=str(fault))
        return Moment(step=step, critical=found.value, edge=edge, evaluations=found.evaluations, note=found.note)

    def _objective(self, model: nn.Module) -> Objective:
        if self.data is None:
            raise SpecError(
                "data is missing: Edge(data=…, loss=…) for a torch model; without one, step(la.Function(…))"
            )
        if self.update is not None:
            raise SpecError("update is for a lossatlas.Function; along='optimizer' takes the step of a torch optimiser")
        return Objective(unwrapped(model), self.data, self.loss, **self.options)

    @staticmethod
    def log(found: Moment, to: Any) -> bool:
        """Log both numbers, if there is something that takes numbers.

        Args:
            found: from :meth:`step` or :meth:`look`.
            to: as for the class.

        Returns:
            Whether they were logged.
        """
        values = {"lossatlas/critical_sharpness": found.critical, "lossatlas/edge_of_stability": found.edge}
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        if to is None or not values:
            return False
        if callable(getattr(to, "log_metrics", None)):  # a Lightning logger, even one for CSV files
            to.log_metrics(values, step=found.step)
        elif callable(getattr(to, "add_scalar", None)):
            for name, value in values.items():
                to.add_scalar(name, value, found.step)
        elif callable(getattr(to, "log", None)) and "wandb" in sys.modules:
            log_to_wandb(to, values, found.step)
        else:
            return False
        return True

    def _start(self, rate: float | None) -> float:
        """Where the search begins: at the last step found, or at the learning rate."""
        last = self.moments[-1].critical if self.moments else math.nan
        if math.isfinite(last) and last > 0:
            return 2 / last
        return rate if rate and rate > 0 else 1.0

    def plot(self, ax: Any = None) -> Plot:
        """Critical sharpness and 2/η by step.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.

        Raises:
            SpecError: nothing has been looked at yet.
        """
        if not self.moments:
            raise SpecError("nothing has been looked at yet; call edge.step(model, optimizer) in the training loop")
        steps = np.array([one.step for one in self.moments])
        found = np.array([one.critical for one in self.moments])
        edge = np.array([one.edge for one in self.moments])
        finite = [Series(x=steps, y=np.where(np.isfinite(found), found, np.nan), label="critical sharpness", color=0)]
        finite += [Series(x=steps, y=np.where(np.isfinite(edge), edge, np.nan), label="2/η", color=1, dashed=True)]
        lost = int((~np.isfinite(found)).sum())
        caption = [
            f"Critical sharpness: 2/ηc, the loss first rises ηc along {self._way}.",
            self.words,
            f"{lost} of {len(found)} looks found none." if lost else "",
            "2/η limits only full-batch descent.",
        ]
        panel = Panel(series=finite, x_label="step", y_label="curvature", y_scale=_scale(found, edge))
        return onto(ax, Plot(panels=[panel], title="Edge of stability", caption=caption))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write what was found as JSON: a list with one entry for each look; a number that is not finite is null.

        Returns:
            The path.
        """
        target = path_of("path", path)
        entries = [
            {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(one).items()}
            for one in self.moments
        ]
        write_text(target, json.dumps(entries, indent=2, ensure_ascii=False))
        return target


def _scale(*columns: np.ndarray) -> Any:
    known = np.concatenate([column[np.isfinite(column)] for column in columns])
    return "log" if len(known) and known.min() > 0 and known.max() / known.min() > 30 else "linear"
