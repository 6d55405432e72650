"""Which plan a run follows: the one it began with, the one asked for, or the fastest found."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.evaluate import streaming
from lossatlas.evaluate.calibration import Calibration, Way, calibrate
from lossatlas.evaluate.evaluator import Plain
from lossatlas.evaluate.graph.run import Graphs
from lossatlas.evaluate.graph.trace import UntraceableError
from lossatlas.evaluate.plans import Plan
from lossatlas.objective import Objective
from lossatlas.results.store import MemoryRun, RunFolder
from lossatlas.space.charts import Plane

__all__ = ["WORTH_SECONDS", "choose"]

WORTH_SECONDS = 10.0
"""Expected length of a plain run from which on it is worth looking for something faster."""


def choose(
    objective: Objective,
    plane: Plane,
    axes: Mapping[str, np.ndarray],
    journal: RunFolder | MemoryRun,
    remaining: int,
    seconds: float,
    *,
    plan: str,
    precision: str,
) -> tuple[Way, float]:
    """The way to evaluate the points of a run.

    A run that goes on does so with the plan it began with, where that was made on the same kind of device: then the
    values are the same bit for bit, however often it was interrupted.

    Args:
        objective: what is measured.
        plane: where.
        axes: coordinates of every axis.
        journal: where the choice is kept.
        remaining: number of points still to evaluate.
        seconds: time of one plain evaluation.
        plan: a name of ``plans.NAMES``.
        precision: a name of ``plans.PRECISIONS``.

    Returns:
        The way, and the seconds it takes for a point.

    Raises:
        SpecError: the plan that was asked for cannot be carried out, or is wrong.
    """
    if objective.in_place:
        if plan not in ("auto", "plain") or precision != "exact":
            raise SpecError(f"plan={plan!r}, precision={precision!r}: in_place=True has the plan 'plain' alone, exact")
        journal.note_evaluation(streaming.evaluation(seconds) | {"device": objective.device.type, "asked for": plan})
        return streaming.Streamed(objective, plane), seconds
    plain, graphs = Plain(objective, plane), Graphs(objective, plane)
    kept = _kept(journal, objective, plan)
    if kept is not None:
        way = plain if kept.name == "plain" else _again(graphs, kept)
        if way is not None:
            return way, seconds
    short = plan == "auto" and precision == "exact" and remaining * seconds < WORTH_SECONDS
    if plan == "plain" or short:
        found = Calibration(plan=Plan(), seconds={"plain": seconds})
    else:
        found = calibrate(plain, graphs, axes, remaining=remaining, wanted=plan, precision=precision)
    journal.note_evaluation(found.to_json() | {"device": objective.device.type, "asked for": plan})
    chosen = plain if found.plan.name == "plain" else graphs.way(found.plan)
    return chosen, found.seconds[str(found.plan)]


def _kept(journal: RunFolder | MemoryRun, objective: Objective, plan: str) -> Plan | None:
    there = journal.evaluation
    if there.get("device") != objective.device.type:
        return None
    try:
        kept = Plan(**there["plan"])
    except (KeyError, TypeError):
        return None
    if plan not in ("auto", kept.name):
        raise SpecError(
            f"plan={plan!r}: this run began with the plan '{kept}', and its values would differ in the last digits; "
            f"leave plan out, or begin another run folder"
        )
    return kept


def _again(graphs: Graphs, plan: Plan) -> Way | None:
    try:
        return graphs.way(plan)
    except UntraceableError:
        return None
