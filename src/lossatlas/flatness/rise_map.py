r"""How much does the loss bend along its own gradient, and where? Critical sharpness at every point of a chart.

At each point :math:`2 / η_c`, with :math:`η_c` the step along the update there at which the loss first rises
(:func:`lossatlas.sharpness.critical`): a map of curvature without second derivatives.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from lossatlas.curvature.products import Matrix
from lossatlas.errors import SpecError
from lossatlas.evaluate.way import UnmeasuredError
from lossatlas.expected import check_kind, check_number, path_of
from lossatlas.flatness.first_rise import Step, first_rise
from lossatlas.flatness.function_rise import Slopes
from lossatlas.objective import Objective
from lossatlas.objective.batches import fingerprint
from lossatlas.objective.code import code_of
from lossatlas.objective.function import Function, Measurable
from lossatlas.objective.given import check_params
from lossatlas.objective.probe import probe
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block
from lossatlas.sampling.executors import HERE, Work
from lossatlas.sampling.loop import Places, visit
from lossatlas.sampling.provenance import run_spec, subject_identity
from lossatlas.sampling.run import begun, check_question
from lossatlas.sampling.samplers import Sampler
from lossatlas.space.charts import Chart
from lossatlas.space.facts import origin_of
from lossatlas.space.inputs import InputPlane
from lossatlas.space.parameters import Parameters

__all__ = ["VALUES", "Rise", "critical_map"]

VALUES = ("loss", "critical", "evaluations")

_COST = 10
"""Evaluations that a point is expected to take, for the size of blocks and the progress bar."""


@torch.inference_mode(False)
def critical_map(
    objective: Measurable,
    chart: Chart,
    sampler: Sampler,
    *,
    update: Callable[[Any], Any] | None = None,
    second: Measurable | None = None,
    scaled: Parameters | None = None,
    start: Step = 1.0,
    tolerance: float = 0.02,
    run: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Critical sharpness at every point that a sampler asks for.

    To second order it is :math:`Δ^T H Δ / g^T Δ` at the point, with :math:`Δ = D g` and D the scale, by default 1.

    Args:
        objective: whose loss, and whose gradient makes the update; for a :class:`~lossatlas.Function` only values are
            needed.
        chart: where: a plane, a curve, or any other chart, as for :func:`lossatlas.sample`.
        sampler: which points: a :class:`~lossatlas.Grid`, or an :class:`~lossatlas.Adaptive`, which follows the loss.
        update: for a Function, a function of its parameters that gives the gradient, such as ``jax.grad(loss)``; by
            default the gradient by central differences: two more values for each of at most 1,000 numbers.
        second: another objective on the same network; its loss is then seen along the first one's update.
        scaled: what the gradient is multiplied by, tensors by name that are not negative: the preconditioner of an
            optimiser, such as :math:`1 / (\sqrt{v} + ε)` of Adam; names left out are not scaled.
        start: the step to begin with at every point; one near the result saves evaluations.
        tolerance: wanted accuracy of the step, relative.
        run: run folder; the same call resumes there.
        progress: show a progress bar; by default where it takes more than two seconds.

    Returns:
        A Landscape with ``loss``, ``critical`` and ``evaluations``, those that the point took. If the loss does not
        rise within the steps tried, the cell is censored and holds the upper bound. A point without a gradient has
        failed, and so has one from which the loss rises at once; their notes say which.

    Raises:
        SpecError: bad input.
        RunMismatchError: the folder holds another run.

    Example:
        >>> import torch, lossatlas as la
        >>> layer = torch.nn.Linear(2, 1, bias=False).double()
        >>> layer.weight.data = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        >>> x = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))  # L = (4 w1² + w2²) / 2
        >>> objective = la.Objective(layer, (x, torch.zeros(2, 1).double()), torch.nn.functional.mse_loss)
        >>> along = {"x": {"weight": torch.tensor([[0.0, 1.0]], dtype=torch.float64)}}
        >>> found = critical_map(objective, la.Plane(objective.origin, along), la.Grid(x=(0, 4, 3)), tolerance=1e-9)
        >>> [round(float(value), 3) for value in found["critical"]]
        [4.0, 3.4, 2.5]
    """
    check_question(objective, chart, sampler)
    _check(chart, run, start=start, tolerance=tolerance)
    way = Rise(objective, chart, update=update, second=second, scaled=scaled, start=start, tolerance=tolerance)
    centre = probe(objective, origin_of(chart))
    spec = run_spec(objective, chart, sampler, centre)
    spec = replace(spec, values=VALUES, identity={**spec.identity, "curvature": way.identity})
    with begun(run, spec, chart) as journal:
        told = journal.told()
        told = told.where(told.status != Status.FAILED)
        visit(
            Work(make=partial(_itself, way), width=len(VALUES), decisive=(0, 1)),
            Places(sampler.axes, chart.axes),
            sampler.start(told),
            journal,
            HERE,
            seconds=centre.seconds * (_COST + way.cost),
            done=len(told.indices),
            size=journal.size,
            progress=progress,
        )
        found = journal.told()
        if len(found.indices) > len(told.indices) or not journal.evaluation:
            journal.note_evaluation(_evaluation(found, way))
        return journal.finish(sampler.finish)


def _check(chart: Chart, run: str | os.PathLike[str] | None, **numbers: float) -> None:
    if run is not None:
        path_of("run", run)
    if isinstance(chart, InputPlane):
        raise SpecError(
            "chart: an InputPlane moves the inputs, but this curvature is with respect to the weights; use la.sample"
        )
    for name, value in numbers.items():
        check_number(name, value)
        if not (math.isfinite(value) and value > 0):
            raise SpecError(f"{name}={value!r}; expected a positive number")


class Rise:
    """The way of the map: how far one may step from a point.

    Args:
        objective: whose loss makes the update.
        chart: where.
        update: of a function of arrays, what gives its gradient.
        second: whose loss is followed; ``None`` for the same.
        scaled: what the gradient is multiplied by.
        start: the step to begin with.
        tolerance: wanted accuracy of the step.

    Raises:
        SpecError: a scale of tensors that cannot be trained, or one that is negative; an update that does not go with
            the objective.
    """

    def __init__(
        self,
        objective: Measurable,
        chart: Chart,
        *,
        update: Callable[[Any], Any] | None = None,
        second: Measurable | None = None,
        scaled: Parameters | None = None,
        start: Step = 1.0,
        tolerance: float = 0.02,
    ) -> None:
        if second is not None:
            kind = Function if isinstance(objective, Function) else Objective
            check_kind("second", second, kind, f"another lossatlas.{kind.__name__}, as the objective is one")
        self.objective, self.chart = objective, chart
        self.seen = objective if second is None else second
        self.start, self.tolerance, self.update = start, tolerance, update
        self.matrix, self.cost = _slopes(objective, chart, update)
        if isinstance(objective, Function) and scaled is not None:
            scaled = objective.named(scaled)
        check_params(scaled)
        self.scale = _scale(self.matrix, scaled)

    @property
    def identity(self) -> dict[str, Any]:
        """What the values depend on besides the objective and the chart."""
        return {
            "kind": "critical",
            "second": None if self.seen is self.objective else subject_identity(self.seen),
            "scaled": None if self.scale is None else fingerprint({"scale": self.scale}).hex(),
            "start": self.start,
            "tolerance": self.tolerance,
        } | ({} if self.update is None else {"update": code_of(self.update)})

    @property
    def words(self) -> str:
        """What is mapped, for a caption."""
        update = self.matrix.words if isinstance(self.matrix, Slopes) else "the gradient"
        update = update if self.scale is None else f"{update}, scaled,"
        of = "" if self.seen is self.objective else ", of a second loss along the update of the first"
        return f"2/η, η the step along {update} at which the loss first rises, to {self.tolerance:g} of it{of}"

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """Loss, critical sharpness and evaluations at some points.

        Args:
            coordinates: float64 [n, k], in the order of the chart's axes.

        Returns:
            float64 [n, 3].

        Raises:
            UnmeasuredError: there is no gradient at a point, the loss rises at once, or not at all.
        """
        return np.stack([self.visit(row) for row in coordinates])

    def close(self) -> None:
        """Nothing is held."""

    def visit(self, row: np.ndarray) -> np.ndarray:
        """The values at one point.

        Returns:
            float64 [3], as ``VALUES`` names them.

        Raises:
            UnmeasuredError: there is no gradient, the loss rises at once, or not at all.
        """
        base = {**self.objective.origin, **self.chart.at(dict(zip(self.chart.axes, row.tolist(), strict=True)))}
        height = self.objective(base)["loss"]
        here = self.seen(base)["loss"] if self.seen is not self.objective else height
        if not (math.isfinite(height) and math.isfinite(here)):
            raise UnmeasuredError("the loss is not finite", np.array([height, np.nan, 1.0]), Status.NON_FINITE)
        self.matrix.move(base)
        update = self.matrix.joined(self.matrix.gradient())
        update = update if self.scale is None else self.scale * update
        home, count = self.matrix.joined(base), 1 + self.cost

        def change(step: float) -> float:
            nonlocal count
            count += 1
            return self.seen({**base, **self.matrix.named(home - step * update)})["loss"] - here

        if not bool((update != 0).any()) or not bool(update.isfinite().all()):
            raise UnmeasuredError("the gradient is zero, or not finite", np.array([height, np.nan, count]))
        step, note = first_rise(change, self.start, self.tolerance)
        found = np.array([height, 2 / step if step > 0 else np.nan, count])
        if note:
            raise UnmeasuredError(note, found, Status.CENSORED if step > 0 else Status.FAILED)
        return found


def _itself(way: Rise) -> Rise:
    return way


def _slopes(objective: Measurable, chart: Chart, update: Callable[[Any], Any] | None) -> tuple[Matrix | Slopes, int]:
    """What gives the update at every point, and how many values it takes there."""
    if isinstance(objective, Function):
        found = Slopes(objective, update)
        return found, found.cost
    if update is not None:
        raise SpecError("update is for a lossatlas.Function; an Objective uses its gradient: leave it out")
    return Matrix(objective, origin_of(chart)), 0


def _scale(matrix: Matrix | Slopes, scaled: Parameters | None) -> Tensor | None:
    if scaled is None:
        return None
    for name, tensor in scaled.items():
        if name not in matrix.names:
            raise SpecError(f"scaled: {name!r} is not a tensor that can be trained; those are {matrix.names[:4]} …")
        if not bool((tensor >= 0).all()):
            raise SpecError(f"scaled[{name!r}] has negative or non-finite numbers, which a preconditioner cannot have")
    point = matrix.objective.origin
    return matrix.joined({name: scaled.get(name, point[name] * 0 + 1) for name in matrix.names})


def _evaluation(told: Block, way: Rise) -> dict[str, Any]:
    taken = told.values[:, VALUES.index("evaluations")]
    return {
        "in words": way.words,
        "evaluations": float(np.nansum(taken)),
        "evaluations per point": float(np.nanmean(taken)),
        "finished": time.strftime("%Y-%m-%d"),
    }
