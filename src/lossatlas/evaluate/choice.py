"""Which plan does a run follow? The one it began with, the one asked for, or the rule's; and the way it describes."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.evaluate import called, streaming
from lossatlas.evaluate.agreement import Agreement, check_points
from lossatlas.evaluate.calibration import Calibration, Whole, fastest, first_right
from lossatlas.evaluate.graph.run import Graphs
from lossatlas.evaluate.graph.trace import UntraceableError, why_not
from lossatlas.evaluate.layout import ChannelsLast, Copies, Each, FusedKernels, layouts
from lossatlas.evaluate.plain import Plain, PlainEach, PlainWithErrors
from lossatlas.evaluate.plans import Plan, stacks_to_try
from lossatlas.evaluate.rule import (
    LAYOUT_SECONDS,
    TRACE_SECONDS,
    WORTH_SECONDS,
    captured,
    plans_for,
    reckoned,
    together,
)
from lossatlas.evaluate.shared import Shared, plans_sharing
from lossatlas.evaluate.way import Begun, Way
from lossatlas.expected import described_type
from lossatlas.objective import Objective
from lossatlas.objective.function import Function, Measurable
from lossatlas.objective.part import glimpse, joined
from lossatlas.results.spec import Block
from lossatlas.space.charts import Chart, Plane

__all__ = ["Asking", "Chosen", "Ways", "choose", "each", "plan_of_each"]

FEW = 32
"""Samples on which a plan is compared with the plain evaluation, at points spread over the grid."""

FEWER = 4
"""The same if another layout comes first, away from the centre: there it is compared on all samples."""

AWAY = slice(2, 4)
"""Of the check points: an end of the diagonal, and one inside whose coordinates differ in sign."""

WHOLE_TOLERANCE = 1e-5
"""Relative difference that a plan may have at the centre on all samples, where the order of a long sum matters too."""


class _Journal(Protocol):
    """Where the choice is kept."""

    size: int

    @property
    def evaluation(self) -> dict[str, Any]: ...

    def note_evaluation(self, evaluation: dict[str, Any]) -> None: ...

    def told(self) -> Block: ...


@dataclass(frozen=True)
class Ways:
    """Makes ways of evaluation for one objective on one chart. It can be sent elsewhere: its traces stay behind.

    Args:
        objective: what is measured.
        chart: where.
        errors: whether every value has its standard error beside it; then only the plain way is possible.
    """

    objective: Measurable
    chart: Chart
    errors: bool = False

    def way(self, plan: Plan) -> Way:
        """The way that a plan describes.

        Returns:
            The way; close it in the end.

        Raises:
            UntraceableError: there is no graph, or not for this plan.
            SpecError: the chart belongs to another architecture, or the plan needs a plane and there is none.
        """
        if isinstance(self.objective, Function):
            return called.Called(self.objective, self.chart, plan.points)
        if self.objective.in_place:
            return streaming.Streamed(self.objective, _plane(self.chart, "in_place=True"))
        if self.errors:
            return PlainWithErrors(self.objective, self.chart)
        if plan.name == "shared":
            return Shared(self.objective, _plane(self.chart, "plan='shared'"), plan.points)
        if plan.name in ("channels_last", "fused"):
            kind = FusedKernels if plan.name == "fused" else ChannelsLast
            return kind(self.objective, self.chart, plan, self._copies)
        if plan.name == "plain" and plan.micro:
            return Plain(joined(self.objective, plan.micro), self.chart)
        return Plain(self.objective, self.chart) if plan.name == "plain" else self._graphs.way(plan)

    def carried_out(self, plan: Plan) -> Way:
        """The way of a plan that has been chosen.

        Returns:
            The way; close it in the end.

        Raises:
            SpecError: it cannot be carried out here.
        """
        self._copies.clear()  # those of plans that were tried
        if (kept := self._ready.pop(plan, None)) is not None:
            return kept
        try:
            return self.way(plan)
        except UntraceableError as fault:
            raise SpecError(
                f"plan: this run follows the plan '{plan}', which cannot be carried out here ({fault}); continue where "
                "it began, or start a new run folder"
            ) from fault

    @functools.cached_property
    def _graphs(self) -> Graphs:
        assert isinstance(self.objective, Objective)
        return Graphs(self.objective, _plane(self.chart, "a plan on a graph"))

    @functools.cached_property
    def _copies(self) -> Copies:
        return {}

    @functools.cached_property
    def _ready(self) -> dict[Plan, Way]:
        return {}

    def keep(self, plan: Plan, way: Way) -> None:
        """Keep a way for whoever carries its plan out here."""
        self._ready[plan] = way

    def on(self, part: Objective) -> Ways:
        """The same on a part of the samples, with the same traces."""
        other = Ways(part, self.chart, self.errors)
        other.__dict__.update(_graphs=self._graphs.on(part), _copies=self._copies)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Without the traces: they are made again when needed."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_graphs", "_copies", "_ready")}


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What is known about a run before its plan is chosen.

    Attributes:
        points: how many points it is expected to take.
        seconds: measured for one plain evaluation; no choice except "fastest" depends on it.
        centre: plain values at the centre, by name.
        ahead: the coordinates of the first points that will be asked for, float64 [n, k].
        stated: the cells that no plan evaluates: that of the centre, whose plain value is known.
    """

    points: int
    seconds: float
    centre: Mapping[str, float]
    ahead: Callable[[int], np.ndarray] | None = None
    stated: Sequence[int] | np.ndarray = ()


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The plan of a run.

    Attributes:
        plan: what is carried out.
        seconds: what a point is expected to take, for the size of a block.
    """

    plan: Plan
    seconds: float


def choose(
    ways: Ways,
    axes: Mapping[str, np.ndarray],
    journal: _Journal,
    asking: Asking,
    *,
    plan: str | Plan = "auto",
    precision: str = "exact",
) -> Chosen:
    """The plan by which the points of a run are evaluated.

    A resumed run keeps the plan it began with if that was made on the same kind of device: then the values are the same
    bit for bit, however often it was interrupted. A new run takes the rule's (:mod:`lossatlas.evaluate.rule`), so two
    fresh runs have the same one, whatever the machine is doing; the clock decides only if ``plan="fastest"`` asks for
    it.

    Args:
        ways: makes the ways.
        axes: coordinates of every axis.
        journal: where the choice is kept.
        asking: what is known about the run beforehand.
        plan: a name of ``plans.NAMES``, or a plan.
        precision: a name of ``plans.PRECISIONS``.

    Returns:
        The plan.

    Raises:
        SpecError: the plan asked for cannot be carried out, or is wrong; or the plan of the existing points is no
            longer known.
    """
    objective, seconds = ways.objective, asking.seconds
    device = {"device": objective.device.type, "asked for": str(plan)}
    if objective.in_place:
        if plan not in ("auto", "plain") or precision != "exact":
            raise SpecError(
                f"plan={plan!r}, precision={precision!r}: in_place=True allows only the plan 'plain', exact"
            )
        journal.note_evaluation(streaming.evaluation(seconds) | device)
        return Chosen(plan=Plan(), seconds=seconds)
    kept = _kept(ways, journal, asking, plan)
    if kept is not None:
        return Chosen(plan=kept, seconds=seconds)
    if isinstance(objective, Function):
        settled = called.plan_of(objective)
        called.check_together(called.Called(objective, ways.chart), {axis: axes[axis] for axis in ways.chart.axes})
        noted = Calibration(plan=settled, seconds={str(settled): seconds}, chosen="as the function says")
        journal.note_evaluation(noted.to_json() | device)
        return Chosen(plan=settled, seconds=seconds)
    found = _found(ways, axes, journal, asking, plan, precision)
    journal.note_evaluation(found.to_json() | device)
    return Chosen(plan=found.plan, seconds=found.seconds.get(str(found.plan), seconds))


def _found(
    ways: Ways, axes: Mapping[str, np.ndarray], journal: _Journal, asking: Asking, plan: str | Plan, precision: str
) -> Calibration:
    asked = "by rule" if plan == "auto" else "as asked for"
    found = Calibration(plan=Plan(), seconds={"plain": asking.seconds}, chosen=asked)
    objective, chart = ways.objective, ways.chart
    assert isinstance(objective, Objective)
    name = plan if isinstance(plan, str) else plan.name
    if name == "plain" or ways.errors:
        return found
    if not isinstance(chart, Plane):
        if name in ("auto", "fastest") and precision == "exact":
            return found
        raise SpecError(f"plan={name!r} needs a Plane; along {described_type(chart)} leave plan and precision out")
    free = name == "auto" and precision == "exact"
    if reason := why_not(objective):
        if not free:
            raise SpecError(f"plan={name!r} with precision={precision!r} cannot be used here: {reason}")
        found.refused = {"graph": reason}
        return found
    expected = reckoned(objective)
    length = expected * asking.points
    early = length < TRACE_SECONDS or not any(stacks_to_try(expected, objective.samples))
    other = layouts(objective) if free and length >= LAYOUT_SECONDS and early else []
    sharing = plans_sharing(objective, chart, asking.points, expected, asked=name) if precision == "exact" else []
    short = length < WORTH_SECONDS
    fewer = together(objective, expected, asking.points) if free and short and not other else []
    if free and short and not sharing and not other and not fewer:
        return found
    if isinstance(plan, Plan):
        plans = [plan]
    elif name == "shared" or (free and short):
        plans = [*sharing, *other, *fewer, *([Plan()] if free else [])]
    else:
        wanted = plans_for(objective, points=asking.points, seconds=expected, wanted=name, precision=precision)
        plans = [*sharing, *(variant for one in wanted for variant in captured(one, objective.device)[::-1])]
        plans = [*other, *plans]
    points = check_points({axis: axes[axis] for axis in chart.axes})
    said = f"plan={str(plan)!r} with precision={precision!r}"
    if name != "fastest" and all(one.precision == "exact" for one in plans):
        part = glimpse(objective, FEWER if other else FEW)
        few, points = ways.on(part), points[AWAY] if other else points
        if (truth := _attempted(few, points)) is not None:
            found.samples = part.samples
            held = Agreement(part, chart, points, truth)
            first_right(few, plans, held, found, asked=said, whole=_whole(ways, asking, held, part))
            return found
    start = time.perf_counter()
    held = Agreement(objective, chart, points, ways.way(Plan()).values(points))
    found.seconds["plain"] = each = (time.perf_counter() - start) / len(points)
    found.samples = objective.samples
    if name == "fastest":
        remaining = journal.size - len(journal.told().indices)
        fastest(ways, objective, held, found, each=each, remaining=remaining, precision=precision)
    else:
        first_right(ways, plans, held, found, asked=said)
    return found


def plan_of_each(ways: Ways, axes: Mapping[str, np.ndarray], asking: Asking) -> Plan:
    """The plan by which the values of every sample by itself are evaluated: another layout by the rule, or the plain.

    It is compared with the plain evaluation as the plan of a run is.

    Args:
        ways: makes the ways.
        axes: coordinates of every axis.
        asking: at how many points, and what is known about the centre.

    Returns:
        The plan.
    """
    objective, chart = ways.objective, ways.chart
    if not isinstance(objective, Objective) or not isinstance(chart, Plane) or why_not(objective):
        return Plan()
    plans = layouts(objective) if reckoned(objective) * asking.points >= LAYOUT_SECONDS else []
    points = check_points({axis: axes[axis] for axis in chart.axes})
    part = glimpse(objective, FEW)
    few = ways.on(part)
    if not plans or (truth := _attempted(few, points)) is None:
        return Plan()
    found = Calibration(plan=Plan())
    held = Agreement(part, chart, points, truth)
    first_right(few, [*plans, Plan()], held, found, asked="samples", whole=_whole(ways, asking, held, part))
    return found.plan


def each(ways: Ways, plan: Plan) -> Way:
    """The way by which the values of every sample by itself are evaluated.

    Args:
        ways: makes the ways.
        plan: of :func:`plan_of_each`.

    Returns:
        The way: a row is the table [N, measured], one sample after the other. Close it in the end.
    """
    if plan.name == "plain":
        assert isinstance(ways.objective, Objective)
        return PlainEach(ways.objective, ways.chart)
    way = ways.carried_out(plan)
    way = way.way if isinstance(way, Begun) else way
    assert isinstance(way, ChannelsLast)
    return Each(way)


def _attempted(few: Ways, points: np.ndarray) -> np.ndarray | None:
    """Plain values on a few samples; None if model or loss refuse a batch of that size."""
    try:
        return few.way(Plan()).values(points)
    except Exception:  # whatever a model that takes only one number of samples says about another
        return None


def _whole(ways: Ways, asking: Asking, held: Agreement, part: Objective) -> Whole:
    """The check on all samples: that of the part, if it is all of them, or at the point whose plain value is known."""
    objective, chart = ways.objective, ways.chart
    assert isinstance(objective, Objective)
    assert isinstance(chart, Plane)
    if part.samples == objective.samples:
        return Whole(ways, held, ways.keep, asking.ahead)
    row = np.array([[asking.centre[name] for name in objective.completed_names]])
    at = np.zeros((1, len(chart.axes)))
    return Whole(ways, Agreement(objective, chart, at, row, tolerance=WHOLE_TOLERANCE), ways.keep, asking.ahead)


def _kept(ways: Ways, journal: _Journal, asking: Asking, plan: str | Plan) -> Plan | None:
    """The plan that a run began with; ``None`` for a new run, or one that continues on another kind of device."""
    there = journal.evaluation
    try:
        kept, device = Plan(**there["plan"]), there["device"]
    except (KeyError, TypeError) as fault:
        if done := int((~np.isin(journal.told().indices, asking.stated)).sum()):
            raise SpecError(
                f"run: evaluation.json is missing or damaged, so the plan by which {done} points were evaluated is not "
                "known, and another plan's values would differ in the last digits; choose another folder, or delete "
                "this one's journal.sqlite to evaluate all points again"
            ) from fault
        return None
    if device != ways.objective.device.type:
        return None
    if plan not in ("auto", "fastest", kept.name, kept):
        raise SpecError(
            f"plan={str(plan)!r}: this run began with the plan '{kept}', and another plan's values would differ in the "
            "last digits; leave plan out, or start a new run folder"
        )
    return kept


def _plane(chart: Chart, what: str) -> Plane:
    if not isinstance(chart, Plane):
        raise SpecError(f"{what} needs a Plane; got {described_type(chart)}")
    return chart
