"""Which question does a run answer? What is this objective, over this chart, at these points?"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.evaluate import called, plans
from lossatlas.evaluate.choice import Asking, Ways, choose
from lossatlas.evaluate.plans import Plan
from lossatlas.expected import check_kind, check_whole, described_type
from lossatlas.objective import Objective
from lossatlas.objective.alone import one_at_a_time
from lossatlas.objective.code import unchanged
from lossatlas.objective.drawing import draws
from lossatlas.objective.function import Function, Measurable
from lossatlas.objective.given import check_measurable
from lossatlas.objective.probe import Centre, probe
from lossatlas.objective.spread import error_names
from lossatlas.results.landscape import Status
from lossatlas.results.reading import finished, read
from lossatlas.results.shards import Shard, absorb, look_at_all, missing
from lossatlas.results.spec import Block, RunSpec
from lossatlas.results.store import MemoryRun, RunFolder
from lossatlas.sampling.centre import stated
from lossatlas.sampling.consistency import check_centre, check_stored
from lossatlas.sampling.executors import HERE, Executor, Work
from lossatlas.sampling.loop import PATIENCE_SECONDS, Places, visit
from lossatlas.sampling.noise import note_rounding
from lossatlas.sampling.provenance import code_identity, run_spec
from lossatlas.sampling.samplers import Grid, Part, Sampler, check_axes, checked_shard
from lossatlas.sampling.subset import Subset, reduced
from lossatlas.sampling.workers.named import executor_of
from lossatlas.sampling.workers.torchrun import Torchrun, asked, first, opened
from lossatlas.space.charts import Chart
from lossatlas.space.facts import origin_of, save
from lossatlas.space.inputs import within
from lossatlas.warned import warn

__all__ = ["Runner", "begun", "check_question", "sample"]

Runner = Executor | futures.Executor | str | Any
"""What ``executor=`` takes, see :func:`lossatlas.sampling.workers.named.executor_of`."""


@one_at_a_time
def sample(
    objective: Measurable,
    chart: Chart,
    sampler: Sampler,
    *,
    run: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    block: int | None = None,
    plan: str | Plan = "auto",
    precision: str = "exact",
    standard_error: bool = False,
    samples: Subset | Literal["auto"] | None = None,
    executor: Runner = HERE,
    shard: Shard | str | tuple[int, int] | None = None,
    retry: bool = False,
    strict: bool = False,
) -> xr.Dataset:
    r"""Evaluate an objective at every point that a sampler asks for: on a plane :math:`L(θ_0 + \sum_a c_a d_a)`.

    Args:
        objective: what is measured: an :class:`~lossatlas.Objective`, or a :class:`~lossatlas.Function` of arrays.
        chart: a :class:`~lossatlas.Plane`, :class:`~lossatlas.InputPlane`, any :class:`~lossatlas.space.charts.Chart`.
        sampler: which points: a :class:`~lossatlas.Grid` or an :class:`~lossatlas.Adaptive`.
        run: a folder that keeps every finished block. The same call resumes there after any interruption; a folder
            that belongs to another run is refused. By default the result is only returned.
        progress: show a progress bar on stderr; by default where the run takes more than two seconds.
        block: points evaluated between two commits; by default about two seconds' worth.
        plan: how a point is evaluated, a name of :data:`lossatlas.evaluate.plans.NAMES` or a :class:`~lossatlas.Plan`.
            "auto" follows a rule based on model, data and grid: two runs of the same question give the same bits.
            "fastest" times a few points each way. Both accept only what agrees with the plain evaluation to 1e-6.
        precision: "exact", or an approximation whose error is measured at five points and kept with the result:
            "bf16", "fp16", or on an NVIDIA GPU "tf32".
        standard_error: put the standard error over the samples beside every mean (``loss_se``, ``error_se``), from the
            value of each sample, see :mod:`lossatlas.objective.spread`; the plan is then "plain". It says how far off
            another draw of as many samples would be; differences between cells are known better.
        samples: measure on a subset of the data, corrected to all of it: a :class:`~lossatlas.Subset`, or "auto".
        executor: what evaluates the blocks; by default this process. Anything that
            :func:`lossatlas.sampling.workers.named.executor_of` accepts: "processes:4", a pool, a Dask client.
        shard: "3/8" evaluates that share of a grid, alongside other jobs (:mod:`lossatlas.results.shards`).
        retry: try failed points once more at the end, not only when the run is resumed.
        strict: stop at the first point that fails, after its block; by default it is recorded and the others go on.

    Returns:
        A Landscape, with dims named after the axes: ``landscape["loss"].sel(x=0, y=0)``.

    Raises:
        SpecError: the input is not valid, the centre is not finite or not repeatable, or, with strict, a point failed.
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
    check_question(objective, chart, sampler, block)
    objective, place = within(objective, chart)
    executor, failing = executor_of(executor), _Failing(retry=retry, strict=strict)
    plan, progress = asked(executor, plan, progress, shard=shard, samples=samples)
    precision = _precision(objective, plan, precision, standard_error, samples)
    shard = None if shard is None else checked_shard(shard, sampler, run, plan=plan, whole=samples is None)
    if samples is not None and isinstance(objective, Objective):
        how: dict[str, Any] = {"run": run, "progress": progress, "executor": executor}
        objective, sampler = reduced(objective, place, sampler, _subset(samples, standard_error), **how)
    errors = _error_names(objective, sampler, plan, precision) if standard_error else ()
    centre, code = _centre_and_code(objective, place)
    spec = run_spec(objective, chart, sampler, centre, precision, errors, code)
    if (there := _finished(executor, run, spec, chart, objective)) is not None:
        return there
    ways = _ways(objective, place, errors)
    work = _Carrying(ways, chart, spec, sampler, executor, plan, precision, block, progress, failing)
    if shard is not None and run is not None:
        return work.shared(shard, Path(run), centre)
    with opened(executor, partial(begun, run, spec, chart), spec) as journal:
        return work.finished(journal, centre, whole=samples is None)


@dataclass(frozen=True, kw_only=True)
class _Failing:
    """What happens to points that fail.

    Args:
        retry: they are evaluated once more, when all others are done.
        strict: the first one ends the run.

    Raises:
        SpecError: both.
    """

    retry: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        """Check that it makes sense."""
        for name in ("retry", "strict"):
            check_kind(name, getattr(self, name), bool, "True or False")
        if self.retry and self.strict:
            raise SpecError(
                "retry=True tries failed points again when all others are done, but strict=True stops at the first: "
                "give one of them"
            )


@dataclass(frozen=True)
class _Carrying:
    """How the points of a run are evaluated."""

    ways: Ways
    chart: Chart
    spec: RunSpec
    sampler: Sampler
    executor: Executor
    plan: str | Plan
    precision: str
    block: int | None
    progress: bool | None
    failing: _Failing

    def finished(self, journal: RunFolder | MemoryRun, centre: Centre, *, whole: bool = True) -> xr.Dataset:
        """Evaluate all points that the sampler asks for, and make a Landscape of them."""
        objective, chart = self.ways.objective, self.ways.chart
        if self.carry_out(journal, centre, journal.size) and whole:
            check_centre(objective, chart, centre, self.spec, journal.told())
        if not (isinstance(self.executor, Torchrun) and self.executor.size > 1):
            note_rounding(journal, objective, chart, show=_shown(self.progress, journal.size * centre.seconds))
        return journal.finish(self.sampler.finish)

    def shared(self, shard: Shard, run: Path, centre: Centre) -> xr.Dataset:
        """Evaluate one share into a journal of its own; the job that does the last point finishes the run."""
        assert isinstance(self.sampler, Grid)
        part = Part(self.sampler, shard.share)
        with begun(shard.folder(run), self.spec, self.chart) as journal:
            replace(self, sampler=part).carry_out(journal, centre, len(part.cells))
        if not missing(look_at_all(run)):
            with contextlib.suppress(BlockingIOError), begun(run, self.spec, self.chart) as journal:
                return self.finished(journal, centre)  # refused if another one that ended just now does the same
        return read(run)

    def carry_out(self, journal: RunFolder | MemoryRun, centre: Centre, size: int) -> bool:
        """Evaluate all points that the sampler asks for, those that failed before among them.

        Returns:
            Whether there were any.
        """
        before = journal.told()
        told = _without_failures(before)
        origin = first(self.executor, lambda: self._stated(centre))
        if len((new := origin.where(~np.isin(origin.indices, told.indices))).indices):
            journal.commit(new)
        axes = self.sampler.axes
        expected = getattr(self.sampler, "expected", journal.size)
        places = Places(axes, self.ways.chart.axes)
        asking = Asking(
            points=expected,
            seconds=centre.seconds,
            centre=centre.values,
            ahead=lambda count: places.of(self.sampler.start(_without_failures(journal.told())).ask(count)),
            stated=origin.indices,
        )
        chosen = choose(self.ways, axes, journal, asking, plan=self.plan, precision=self.precision)
        work = _work(self.ways, chosen.plan, self.spec.values)
        if len(told.indices) < size:
            check_stored(work, places, told, self.spec.values, origin)
        for _ in range(1 + self.failing.retry):
            known = _without_failures(journal.told())
            visit(
                work,
                places,
                self.sampler.start(known),
                journal,
                self.executor,
                seconds=first(self.executor, lambda: chosen.seconds),
                done=len(known.indices),
                size=size,
                expected=min(expected, size),
                block=self.block,
                together=chosen.plan.points if chosen.plan.name != "plain" else 1,  # a function takes any number
                progress=self.progress,
                strict=self.failing.strict,
            )
        return len(journal.told().indices) > len(told.indices) or len(before.indices) > len(told.indices)

    def _stated(self, centre: Centre) -> Block:
        """The centre as the first point, if it is one of those that this job evaluates."""
        found = stated(self.spec, self.ways.objective, centre.values)
        return found.where(np.isin(found.indices, self.sampler.cells)) if isinstance(self.sampler, Part) else found


def _finished(
    executor: Executor, run: str | os.PathLike[str] | None, spec: RunSpec, chart: Chart, objective: Measurable
) -> xr.Dataset | None:
    """The result of a finished run in a read-only folder, once all ranks, if there are several, ask for the same."""
    if isinstance(executor, Torchrun):
        executor.check(chart, spec, objective)
    return None if run is None else first(executor, partial(finished, run, spec))


def _precision(objective: Measurable, plan: str | Plan, precision: str, standard_error: bool, samples: object) -> str:
    """The precision of a run, if plan and precision apply to what is measured."""
    if isinstance(objective, Function):
        called.check(plan, precision, standard_error=standard_error, samples=samples)
    return plans.check(plan, precision, objective.device)


def _without_failures(told: Block) -> Block:
    return told.where(told.status != Status.FAILED)


def check_question(objective: Measurable, chart: Chart, sampler: Sampler, block: int | None = None) -> None:
    """Check that the request is an objective, a chart and a sampler with the same axes, and check its options.

    Raises:
        SpecError: one of them is something else; the message says how to make it.
    """
    check_measurable(objective)
    if not (callable(getattr(chart, "at", None)) and hasattr(chart, "axes")):
        raise SpecError(
            f"chart is {described_type(chart)}; expected a plane such as la.Plane.random(objective, seed=0), a curve, "
            "or an object with axes and at(coordinates)"
        )
    if not (callable(getattr(sampler, "start", None)) and hasattr(sampler, "axes")):
        raise SpecError(
            f"sampler is {described_type(sampler)}; expected points such as la.Grid(x=(-1, 1, 51), y=(-1, 1, 51))"
        )
    if block is not None:
        check_whole("block", block, 1)
    check_axes(sampler.axes, chart.axes)


@contextlib.contextmanager
def begun(run: str | os.PathLike[str] | None, spec: RunSpec, chart: Chart) -> Iterator[RunFolder | MemoryRun]:
    """The journal of a run, in its folder with what the chart is rebuilt from, or in memory if it has none."""
    with RunFolder.begin(run, spec) if run is not None else MemoryRun(spec) as journal:
        if run is not None:
            save(chart, Path(run))
            absorb(journal, Path(run))
        yield journal


def _shown(progress: bool | None, seconds: float) -> bool:
    return seconds > PATIENCE_SECONDS if progress is None else progress


def _centre_and_code(objective: Measurable, chart: Chart) -> tuple[Centre, dict[str, Any]]:
    """The centre, and the code of what is measured as far as a call leaves it unchanged."""
    if isinstance(objective, Objective):
        objective.batches.quiet = not draws(objective)
    before = code_identity(objective)
    centre = probe(objective, origin_of(chart))
    for note in centre.notes:
        warn(note)
    return centre, unchanged(before, code_identity(objective))


def _ways(objective: Measurable, chart: Chart, errors: tuple[str, ...]) -> Ways:
    ways = Ways(objective, chart, errors=bool(errors))
    if errors:
        ways.way(Plan()).close()  # refuses before a folder is made
    return ways


def _work(ways: Ways, plan: Plan, names: tuple[str, ...]) -> Work:
    decisive = tuple(at for at, name in enumerate(names) if name not in ways.objective.derived)
    make, subject = partial(ways.carried_out, plan), ways.objective
    return Work(make=make, width=len(names), decisive=decisive, device=str(subject.device), subject=subject)


def _subset(samples: object, standard_error: bool) -> Subset:
    samples = Subset() if samples == "auto" else samples
    if not isinstance(samples, Subset):
        raise SpecError(
            f"samples={samples!r}; expected 'auto' or a lossatlas.Subset, such as la.Subset(size=500), or leave it out"
        )
    if standard_error:
        raise SpecError("standard_error=True needs every sample's value; a Subset states its own error: leave out one")
    return samples


def _error_names(objective: Measurable, sampler: Sampler, plan: str | Plan, precision: str) -> tuple[str, ...]:
    assert isinstance(objective, Objective)
    if plan not in ("auto", "plain", Plan()) or precision != "exact" or objective.in_place:
        raise SpecError(
            "standard_error=True needs every sample's value: leave out plan, precision and in_place, which give means"
        )
    if not isinstance(sampler, Grid):
        raise SpecError(
            f"standard_error=True: {described_type(sampler)} leaves cells unevaluated, which have no samples; use a "
            "Grid"
        )
    return error_names(objective)
