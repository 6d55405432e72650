"""The loop over points, the only one: ask, evaluate, store, tell."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import nn
from tqdm import tqdm

from lossatlas.errors import SpecError
from lossatlas.evaluate import plans
from lossatlas.evaluate.choice import choose
from lossatlas.evaluate.evaluator import Evaluator, PlainWithErrors
from lossatlas.objective import Objective
from lossatlas.objective.probe import probe
from lossatlas.objective.spread import error_names
from lossatlas.results.landscape import Status
from lossatlas.results.spec import RunSpec
from lossatlas.results.store import MemoryRun, RunFolder
from lossatlas.sampling.noise import note_rounding
from lossatlas.sampling.provenance import run_spec
from lossatlas.sampling.samplers import Grid, Queue, Sampler, check_axes
from lossatlas.space.charts import Plane, Recipe
from lossatlas.space.directions import tensors_of
from lossatlas.space.parameters import Parameters, difference, norm
from lossatlas.space.planefile import save_directions

__all__ = ["BLOCK_SECONDS", "PATIENCE_SECONDS", "begun", "interpolate", "sample"]

BLOCK_SECONDS = 2.0
"""How much work an interruption may cost."""

PATIENCE_SECONDS = 2.0
"""How long a run may take before it shows a progress bar unasked."""


def sample(
    objective: Objective,
    plane: Plane,
    grid: Sampler,
    *,
    run: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    block: int | None = None,
    plan: str = "auto",
    precision: str = "exact",
    standard_error: bool = False,
) -> xr.Dataset:
    r"""Evaluate an objective over a plane: :math:`L(θ_0 + \sum_a c_a d_a)` at every point c that the grid asks for.

    Args:
        objective: what is measured.
        plane: where; its axes are those of the grid.
        grid: which points: a :class:`~lossatlas.Grid` or an :class:`~lossatlas.Adaptive`.
        run: a folder that keeps every finished block. The same call resumes there after any interruption; a folder
            that belongs to another run is refused. Left out, the result is only returned.
        progress: show a progress bar on stderr; left out, where the run takes more than two seconds.
        block: points evaluated between two commits; left out, about two seconds' worth.
        plan: how a point is evaluated, a name of :data:`lossatlas.evaluate.plans.NAMES`. "auto" measures a few points
            where a run is long, and takes the fastest plan that agrees with the plain evaluation to 1e-6.
        precision: "exact", or an approximation whose error is measured at five points and kept with the result:
            "bf16", "fp16", or on an NVIDIA GPU "tf32".
        standard_error: put the standard error over the samples beside every mean (``loss_se``, ``error_se``), from the
            value of each sample, see :mod:`lossatlas.objective.spread`. The plan is then "plain": faster ones give
            means alone. It says how far another draw of as many samples would be; all cells see the same samples, so
            differences between cells are better known.

    Returns:
        A Landscape, with dims named after the axes: ``landscape["loss"].sel(x=0, y=0)``.

    Raises:
        SpecError: bad input, or a centre that is not finite or not repeatable.
        RunMismatchError: the folder holds another run; the message names the part that differs.
        OSError: the folder cannot be written; what was committed before is safe.

    Example:
        >>> import torch, lossatlas as la
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> data = (torch.ones(4, 1), torch.zeros(4, 1))
        >>> objective = la.Objective(model, data, loss=torch.nn.functional.mse_loss)
        >>> plane = la.Plane(objective.origin, {"x": {"weight": 1 - model.weight.detach()}})
        >>> landscape = la.sample(objective, plane, la.Grid(x=(0, 1, 3)))
        >>> round(float(landscape["loss"].sel(x=1)), 6)
        1.0
    """
    axes = grid.axes
    check_axes(axes, plane.axes)
    if block is not None and block < 1:
        raise SpecError(f"block={block}; expected at least one point")
    plans.check(plan, precision, objective.device)
    errors = _error_names(objective, grid, plan, precision) if standard_error else ()
    centre = probe(objective, plane.origin)
    for note in centre.notes:
        warnings.warn(note, stacklevel=2)
    spec = run_spec(objective, plane, grid, centre, precision, errors)
    exact = PlainWithErrors(objective, plane) if errors else None  # refuses before a folder is made
    with begun(run, spec, plane) as journal:
        told = journal.told()
        remaining = journal.size - len(told.indices)
        show = progress if progress is not None else remaining * centre.seconds > PATIENCE_SECONDS
        way, seconds = choose(
            objective,
            plane,
            axes,
            journal,
            remaining,
            centre.seconds,
            plan="plain" if errors else plan,
            precision=precision,
        )
        with contextlib.closing(exact or way) as way, _bar(remaining, len(told.indices), show) as bar:
            decisive = [at for at, name in enumerate(spec.values) if name not in objective.derived]
            evaluator = Evaluator(way, plane, len(spec.values), decisive)
            _loop(evaluator, grid.start(told), axes, journal, bar, block or _block_size(seconds))
        note_rounding(journal, objective, plane, show=show)
        return journal.finish(grid.finish)


@contextlib.contextmanager
def begun(run: str | os.PathLike[str] | None, spec: RunSpec, plane: Plane) -> Iterator[RunFolder | MemoryRun]:
    """The journal of a run, in its folder beside the directions of its plane, or in memory where it has none."""
    with RunFolder.begin(run, spec) if run is not None else MemoryRun(spec) as journal:
        if run is not None:
            save_directions(plane, Path(run) / "directions.safetensors")
        yield journal


def _error_names(objective: Objective, grid: Sampler, plan: str, precision: str) -> tuple[str, ...]:
    if plan not in ("auto", "plain") or precision != "exact" or objective.in_place:
        raise SpecError(
            "standard_error=True needs every sample's value: leave out plan, precision and in_place, which give means"
        )
    if not isinstance(grid, Grid):
        raise SpecError(
            f"standard_error=True: a {type(grid).__name__} leaves cells unevaluated, which have no samples; use a Grid"
        )
    return error_names(objective)


def _loop(
    evaluator: Evaluator,
    queue: Queue,
    axes: Any,
    journal: RunFolder | MemoryRun,
    bar: tqdm[Any],
    size: int,
) -> None:
    failures = 0
    while len(indices := queue.ask(size)):
        found = evaluator.block(indices, axes)
        journal.commit(found)
        queue.tell(found)
        bar.update(len(indices))
        failures += int(np.sum(found.status == Status.FAILED))
        if failures:
            bar.set_postfix(failed=failures)
    bar.total = bar.n  # an adaptive run needs fewer points than its grid has
    bar.refresh()


def _block_size(seconds: float) -> int:
    return int(np.clip(BLOCK_SECONDS / max(seconds, 1e-6), 1, 500))


def _bar(remaining: int, done: int, show: bool) -> contextlib.AbstractContextManager[Any]:
    return tqdm(total=remaining + done, initial=done, unit="point", smoothing=0.1, disable=not show, dynamic_ncols=True)


def interpolate(
    objective: Objective,
    a: nn.Module | Parameters,
    b: nn.Module | Parameters,
    *,
    steps: int = 51,
    x: tuple[float, float] = (0.0, 1.0),
    run: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Loss and metrics on the straight line between two models: :math:`L((1 - x) θ_a + x θ_b)`.

    Nothing is normalised. Running statistics of BatchNorm follow the objective's ``batchnorm``: with ``"interpolated"``
    they move along the line, as in the paper.

    Args:
        objective: what is measured.
        a: model or state dict at x = 0.
        b: model or state dict at x = 1.
        steps: number of points.
        x: range of the coordinate; beyond 0 and 1 the line goes on.
        run: run folder, as for :func:`sample`.
        progress: as for :func:`sample`.

    Returns:
        A Landscape with the one dim ``x``.

    Raises:
        SpecError: another architecture, or identical models.

    Example:
        >>> import torch, lossatlas as la
        >>> a, b = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
        >>> objective = la.Objective(a, (torch.ones(4, 2), torch.ones(4, 1)), loss=torch.nn.functional.mse_loss)
        >>> la.interpolate(objective, a, b, steps=5)["loss"].dims
        ('x',)
    """
    given = [tensors_of(model) for model in (a, b)]
    ends = [{name: tensors[name] for name in objective.origin if name in tensors} for tensors in given]
    direction = difference(ends[1], objective.origin | ends[0])
    if norm(direction) == 0:
        raise SpecError(
            "a and b have the same weights, their difference norm zero: there is no way between them, and no barrier; "
            "pass two models"
        )
    recipe = Recipe(labels={"x": "from the first model (0) to the second (1)"}, by="none")
    plane = Plane({**objective.origin, **ends[0]}, {"x": direction}, recipe)
    return sample(objective, plane, Grid(x=(*x, steps)), run=run, progress=progress)
