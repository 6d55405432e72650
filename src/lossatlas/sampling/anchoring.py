"""Which samples are evaluated at the anchors? Of thousands, a first phase, and the others where they tell the most."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.evaluate.choice import Asking, Ways, each, plan_of_each
from lossatlas.evaluate.plans import Plan
from lossatlas.objective import Objective
from lossatlas.objective.part import taken
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block
from lossatlas.sampling import phases
from lossatlas.sampling.adaptive import coarse_cells
from lossatlas.sampling.anchors import AnchorTable
from lossatlas.sampling.correction import Anchors, Means
from lossatlas.sampling.executors import Executor, Work
from lossatlas.sampling.loop import Places, visit
from lossatlas.sampling.samplers import GridQueue, Sampler
from lossatlas.space.charts import Chart, Plane
from lossatlas.space.facts import facts, origin_of

__all__ = ["Anchoring"]


@dataclass(frozen=True)
class Anchoring:
    """What is evaluated at the anchors of a run.

    Attributes:
        objective: what is measured, with all its data.
        chart: where.
        sampler: which points.
        run: run folder, which keeps the anchors.
        progress: as for :func:`lossatlas.sample`.
        executor: what evaluates the anchors.
    """

    objective: Objective
    chart: Chart
    sampler: Sampler
    run: str | os.PathLike[str] | None
    progress: bool | None
    executor: Executor

    def all(self, cells: np.ndarray, first: np.ndarray | None) -> Anchors:
        """The values of all samples at the anchors: evaluated, or read from what an earlier call kept.

        Args:
            cells: int64, flat indices of the anchors.
            first: a first phase of the samples, if they are looked at in two.

        Returns:
            The anchors.

        Raises:
            SpecError: the loss is finite at too few anchors, or is not a mean over samples.
        """
        if first is None:
            return self._anchors(*self._seen(self.objective, cells), len(cells))
        at, rows = self._seen(taken(self.objective, first), cells, first)
        others = self._others(first)
        there, rest = self._seen(taken(self.objective, others), at, first, rest=True)
        table = np.empty((len(there), self.objective.samples, rows.shape[2]))
        table[:, first], table[:, others] = rows[np.isin(at, there)], rest
        return self._anchors(there, table, len(cells))

    def part(self, cells: np.ndarray, first: np.ndarray, tolerance: float) -> Anchors:
        """The values of a first phase at the anchors, and the means of all samples as far as they are known.

        Args:
            cells: as for :meth:`all`.
            first: int64 [n], the first phase, increasing.
            tolerance: of the picture, as a share of its range.

        Returns:
            The anchors.

        Raises:
            SpecError: as for :meth:`all`.
        """
        at, rows = self._seen(taken(self.objective, first), cells, first)
        self._anchors(at, rows, len(cells))  # with a loss at too few of them, nothing more is evaluated
        origin = next(iter(np.flatnonzero(at == self._origin).tolist()), None)
        whole = phases.wholly_seen(rows[:, :, 0], self.objective.samples, tolerance, origin)
        there, rest = self._seen(taken(self.objective, self._others(first)), at[whole], first, rest=True)
        usable = ~np.isin(at, np.setdiff1d(at[whole], there))  # the loss of the others may not be finite
        at, rows = at[usable], rows[usable]
        known = phases.means_of_all(rows, np.flatnonzero(np.isin(at, there)), rest)
        return self._anchors(at, rows, len(cells), known)

    def centre(self, anchors: Anchors) -> dict[str, float]:
        """The values of all samples at the origin: those of the anchor there, or else evaluated.

        Args:
            anchors: of this run.

        Returns:
            Loss and metrics by name.
        """
        at = np.flatnonzero(anchors.cells == self._origin)
        if not len(at):
            return self.objective(origin_of(self.chart))
        return self._named(anchors.means.values[at[0]])

    @cached_property
    def _places(self) -> Places:
        return Places(self.sampler.axes, self.chart.axes)

    @cached_property
    def _origin(self) -> int:
        """The cell of the trained network, or -1."""
        cell = coarse_cells(self.sampler.axes)[:1]
        return int(cell[0]) if isinstance(self.chart, Plane) and not self._places.of(cell).any() else -1

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(len(coordinates) for coordinates in self.sampler.axes.values())

    def _anchors(self, at: np.ndarray, rows: np.ndarray, asked: int, known: Means | None = None) -> Anchors:
        if len(at) < len(self._shape) + 4:
            raise SpecError(f"samples: the loss is finite at only {len(at)} of {asked} anchors; leave samples out")
        return Anchors(self._shape, at, rows, self.objective.measured, known)

    def _named(self, means: np.ndarray) -> dict[str, float]:
        """Loss and metrics of all samples, from the mean of each, float64 [measured]."""
        found = self.objective.completed(means[None])[0]
        return dict(zip(self.objective.completed_names, found.tolist(), strict=True))

    def _seen(
        self, objective: Objective, cells: np.ndarray, first: np.ndarray | None = None, *, rest: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Every sample's values at some anchors: the anchors with a finite loss, and float64 [A, n, measured]."""
        width = objective.samples * len(objective.measured)
        table = self._table(width, first, rest=rest)
        told = table.told()
        if (pending := cells[~np.isin(cells, told.indices)]).size:
            self._evaluate(objective, pending, table, width)
            told = table.told()
        there = np.isin(told.indices, cells)
        rows = told.values[there].reshape(int(there.sum()), objective.samples, len(objective.measured))
        good = np.isfinite(rows[:, :, 0]).all(axis=1)
        return told.indices[there][good], rows[good]

    def _others(self, first: np.ndarray) -> np.ndarray:
        return np.setdiff1d(np.arange(self.objective.samples), first)

    def _table(self, width: int, first: np.ndarray | None, *, rest: bool) -> AnchorTable:
        """Where rows are kept; without a folder, as long as this is there."""
        if rest not in self._tables:
            folder = None if self.run is None else Path(self.run)
            self._tables[rest] = AnchorTable(folder, self._identity(first), width, rest=rest)
        return self._tables[rest]

    @cached_property
    def _tables(self) -> dict[bool, AnchorTable]:
        return {}

    def _identity(self, first: np.ndarray | None) -> list[str]:
        own = [self.objective.fingerprint, self.objective.batches.fingerprint]
        own += [json.dumps(facts(self.chart, self.sampler.axes).identity)]
        return own if first is None else [*own, hashlib.sha256(first.tobytes()).hexdigest()]

    def _evaluate(self, objective: Objective, pending: np.ndarray, table: AnchorTable, width: int) -> None:
        ways, done = Ways(objective, self.chart), len(table.told().indices)
        each(ways, Plan())  # refuses what cannot be visited
        objective.move(origin_of(self.chart))
        start = time.perf_counter()
        values = objective.each()  # a loss without a value for each sample is reported once, not at every anchor
        seconds = time.perf_counter() - start
        if (origin := pending == self._origin).any():
            row = values.numpy().reshape(1, width)
            table.commit(Block(indices=pending[origin], values=row, status=np.array([Status.OK], np.int8)))
            if not len(pending := pending[~origin]):
                return
        centre = self._named(values.numpy().mean(axis=0))
        plan = plan_of_each(ways, self.sampler.axes, Asking(points=len(pending), seconds=seconds, centre=centre))
        work = Work(
            make=partial(each, ways, plan),
            width=width,
            decisive=tuple(range(width)),
            device=str(objective.device),
            subject=objective,
        )
        visit(
            work,
            self._places,
            GridQueue(pending),
            table,
            self.executor,
            seconds=seconds,
            done=done,
            size=done + len(pending),
            progress=self.progress,
        )
