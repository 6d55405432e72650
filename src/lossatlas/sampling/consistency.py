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


def check_stored(work: Work, places: Places, told: Block, names: tuple[str, ...]) -> None:
    """Evaluate a few stored points again: the first, one in the middle and the last.

    Args:
        work: what points are evaluated with.
        places: where they are.
        told: the stored values.
        names: of the values.

    Raises:
        RunMismatchError: a value has changed; the message says which and what it was.
    """
    known = np.flatnonzero(told.status == Status.OK)
    if not len(known) or work.in_order:
        return
    chosen = known[np.unique(np.linspace(0, len(known) - 1, AGAIN).round().astype(int))]
    evaluator = work.evaluator()
    try:
        points = places.of(told.indices[chosen])
        answer = evaluator.answer(points)
    finally:
        evaluator.way.close()
    for point, before, now in zip(points, told.values[chosen], answer.values, strict=True):
        for name, a, b in zip(names, before, now, strict=True):
            if not _same(a, b, SAME):
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
    at = [np.flatnonzero(axis.coordinates == 0) for axis in spec.axes.values()]
    if any(len(found) == 0 for found in at):
        return {}
    index = np.ravel_multi_index([int(found[0]) for found in at], spec.shape)
    row = np.flatnonzero((told.indices == index) & (told.status == Status.OK))
    return dict(zip(spec.values, told.values[row[0]].tolist(), strict=True)) if len(row) else {}


def _same(a: float, b: float, tolerance: float) -> bool:
    return a == b or (np.isnan(a) and np.isnan(b)) or bool(abs(a - b) <= tolerance * max(abs(a), abs(b)))
