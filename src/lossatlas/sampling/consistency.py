"""Is the function still that of the stored points, before a run goes on and after it has ended?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.objective.function import Measurable
from lossatlas.objective.probe import Centre
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block, RunSpec
from lossatlas.sampling.executors import Work
from lossatlas.sampling.loop import Places
from lossatlas.space.charts import Chart
from lossatlas.space.facts import origin_of

__all__ = ["check_centre", "check_stored"]

AGAIN = 3
"""How many stored points are evaluated again before a run goes on."""

SAME = 1e-6
"""Relative difference that another order of summation explains."""

SAME_CELL = 1e-5
"""The same between the cell at the centre, under any plan, and the centre as it was stated."""


def check_stored(work: Work, places: Places, told: Block, names: tuple[str, ...], centre: Block) -> None:
    """Evaluate a few stored points again: the first, one in the middle and the last.

    Args:
        work: what points are evaluated with.
        places: where they are.
        told: the stored values.
        names: of the values.
        centre: the point at the centre as it is now, if the run has one; it has just been evaluated.

    Raises:
        RunMismatchError: a value has changed; the message says which and what it was.
    """
    if work.in_order:
        return
    told = told.where(told.status == Status.OK)
    there = np.isin(told.indices, centre.indices)
    known = told.where(~there)
    if there.any():
        _check_same(places, told.where(there), centre.values, names, SAME_CELL)
    if not len(known.indices):
        return
    chosen = np.zeros(len(known.indices), bool)
    chosen[np.linspace(0, len(chosen) - 1, AGAIN).round().astype(int)] = True
    again = known.where(chosen)
    evaluator = work.evaluator()
    try:
        answer = evaluator.answer(places.of(again.indices))
    finally:
        evaluator.way.close()
    _check_same(places, again, answer.values, names, SAME)


def _check_same(places: Places, told: Block, now: np.ndarray, names: tuple[str, ...], tolerance: float) -> None:
    for point, before, values in zip(places.of(told.indices), told.values, now, strict=True):
        for name, a, b in zip(names, before, values, strict=True):
            if not _same(a, b, tolerance):
                where = ", ".join(f"{axis} = {value:g}" for axis, value in zip(places.order, point, strict=True))
                raise RunMismatchError(
                    f"run: the stored points belong to another function: at {where} the {name} was {a:.9g} and is "
                    f"{b:.9g} now. Model, data, loss and metrics look the same, so something they read has changed; "
                    "restore it, or choose another folder"
                )


def check_centre(objective: Measurable, chart: Chart, centre: Centre, spec: RunSpec, told: Block) -> None:
    """Evaluate the centre once more when all points are there, and compare its cell with what was stated.

    Args:
        objective: what was measured.
        chart: where.
        centre: as it was found before the first point.
        spec: what the run is.
        told: all points.

    Raises:
        SpecError: the function has changed between the beginning and the end.
    """
    now = objective(origin_of(chart))
    for name, before in centre.values.items():
        if not _same(before, now[name], SAME):
            raise SpecError(
                f"the centre had the {name} {before:.9g} before the run and has {now[name]:.9g} after it: the model, "
                "the loss or a metric changes from call to call, so its points belong to no single function. Find "
                "what it keeps between calls (a counter, a buffer, a cache), and start a new run folder"
            )
    if spec.identity.get("precision") != "exact" or len(spec.values) < len(centre.values):
        return
    for name, value in _centre_cell(spec, told).items():
        if name in centre.values and not _same(centre.values[name], value, SAME_CELL):
            raise SpecError(
                f"the cell at the centre has the {name} {value:.9g}, but the centre itself has "
                f"{centre.values[name]:.9g}: the points do not belong to the stated function; start a new run folder, "
                "with plan='plain'"
            )


def _centre_cell(spec: RunSpec, told: Block) -> Mapping[str, float]:
    """The values of the cell whose coordinates are all zero, where there is one and it is ok."""
    row = np.flatnonzero((told.indices == spec.centre_cell) & (told.status == Status.OK))
    return dict(zip(spec.values, told.values[row[0]].tolist(), strict=True)) if len(row) else {}


def _same(a: float, b: float, tolerance: float) -> bool:
    return a == b or (np.isnan(a) and np.isnan(b)) or bool(abs(a - b) <= tolerance * max(abs(a), abs(b)))
