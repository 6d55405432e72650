"""Which plan is carried out? The rule's first that is correct or, if the clock decides, the fastest."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.evaluate.agreement import Agreement
from lossatlas.evaluate.graph.trace import UntraceableError
from lossatlas.evaluate.layout import layouts
from lossatlas.evaluate.plans import Plan, stacks_to_try
from lossatlas.evaluate.rule import COMPILE_SECONDS, can_compile, captured, graphs
from lossatlas.evaluate.way import Begun, Way
from lossatlas.objective import Objective

__all__ = ["Calibration", "Clock", "Whole", "fastest", "first_right"]

SAMPLE_SECONDS = 0.02
"""Length of a timing of one plan; shorter ones would favour plans that happened to run undisturbed."""

SHARE = 0.08
"""Share of the expected length of a plain run that the search may take."""

Found = TypeVar("Found")

Clock = Callable[[], float]
"""A clock, in seconds."""


class _Maker(Protocol):
    """Makes the way that a plan describes."""

    def way(self, plan: Plan) -> Way: ...


@dataclass(frozen=True)
class Whole:
    """A last check of a plan that agrees on a few samples: on all of them.

    Attributes:
        maker: makes the ways on all samples.
        agreement: what to agree with.
        keep: takes the way of the plan that was found correct, for its first user.
        ahead: the coordinates of the first points that the run will ask for; they fill up a stack that is evaluated
            anyway, and are kept with the way.
    """

    maker: _Maker
    agreement: Agreement
    keep: Callable[[Plan, Way], None]
    ahead: Callable[[int], np.ndarray] | None = None


@dataclass(kw_only=True)
class Calibration:
    """What was found out about the plans.

    Attributes:
        plan: the plan chosen.
        chosen: how: "by rule", "by the clock", "as asked for".
        seconds: seconds for each point, by plan in words.
        refused: why a plan was not taken, by plan in words.
        error: of a short format, by value: the largest and the median relative difference from the exact value.
        points: number of check points.
        samples: number of samples that were evaluated there.
    """

    plan: Plan
    chosen: str = "by rule"
    seconds: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    error: dict[str, dict[str, float]] = field(default_factory=dict)
    points: int = 0
    samples: int = 0

    def to_json(self) -> dict[str, Any]:
        """The calibration as JSON values, for the run folder and the Landscape."""
        return {
            "plan": self.plan.to_json(),
            "in words": str(self.plan),
            "chosen": self.chosen,
            "seconds per point": {name: float(f"{s:.4g}") for name, s in self.seconds.items()},
            "refused": self.refused,
            "error": self.error,
            "check points": self.points,
            "check samples": self.samples,
        }


def first_right(
    maker: _Maker,
    plans: list[Plan],
    agreement: Agreement,
    found: Calibration,
    *,
    asked: str,
    whole: Whole | None = None,
) -> None:
    """Take the first plan that can be carried out and agrees with the plain evaluation. No clock is used.

    Args:
        maker: makes the ways.
        plans: best first; the plain one needs no check.
        agreement: what to agree with.
        found: gets the plan, its error and what was refused.
        asked: what the user asked for, in words.
        whole: a last check on all samples, if the others are on a few; the only check if both agreements are the same.

    Raises:
        SpecError: none of the plans can be carried out.
    """
    found.points = len(agreement.points)
    for plan in plans:
        if plan == Plan():
            found.plan = plan
            return
        if whole is None or whole.agreement is not agreement:
            values = _tried(maker, plan, found, lambda way: way.values(agreement.points))
            if values is None or not _right(plan, values, agreement, found):
                continue
        if whole is None or _right_on_all(whole, plan, found):
            found.plan = plan
            return
    raise SpecError(_unusable(asked, found))


def fastest(
    maker: _Maker,
    objective: Objective,
    agreement: Agreement,
    found: Calibration,
    *,
    each: float,
    remaining: int,
    precision: str = "exact",
    clock: Clock = time.perf_counter,
) -> None:
    """Time a few points each way, and take the fastest way that agrees with the plain one.

    Args:
        maker: makes the ways.
        objective: what is measured.
        agreement: what to agree with.
        found: gets the plan, its error, the seconds of each and what was refused.
        each: seconds of one plain evaluation.
        remaining: number of points still to evaluate.
        precision: a name of ``plans.PRECISIONS``.
        clock: gives the time.

    Raises:
        SpecError: no plan can be carried out in this precision.
    """
    found.points, found.chosen = len(agreement.points), "by the clock"
    search = _Search(maker, objective, agreement, found, precision, clock)
    search.run(each, remaining, deadline=clock() + max(5.0, SHARE * remaining * each))
    if search.best is None:
        raise SpecError(_unusable(f"plan='fastest' with precision={precision!r}", found))
    found.plan = search.best


class _Search:
    """Tries plans one after the other, each starting from the best so far."""

    def __init__(
        self,
        maker: _Maker,
        objective: Objective,
        agreement: Agreement,
        found: Calibration,
        precision: str,
        clock: Clock,
    ) -> None:
        self.maker, self.objective, self.agreement, self.found = maker, objective, agreement, found
        self.precision, self.clock = precision, clock
        self.best: Plan | None = Plan() if precision == "exact" else None
        self.time = math.inf

    def run(self, each: float, remaining: int, deadline: float) -> None:
        """Try all that is worth trying, within the time."""
        if self.best is not None:
            self.time = each
        for plan in self._plans(each, remaining):
            for variant in captured(plan, self.objective.device):
                if self.best is not None and self.clock() > deadline:
                    self.found.refused.setdefault(
                        str(variant), "not tried: the search had used up its share of the time"
                    )
                else:
                    self._try(variant)

    def _plans(self, each: float, remaining: int) -> Iterator[Plan]:
        yield from layouts(self.objective) if self.precision == "exact" else ()
        yield from graphs(self.objective, self.precision)
        yield Plan(name="graph", precision=self.precision)  # as the batches come, if they cannot be cut
        quick = min(self.time, each)
        stacks = list(stacks_to_try(quick, self.objective.samples))
        yield from self._stacked("stacked", stacks)
        if quick * remaining > COMPILE_SECONDS:
            if can_compile(self.objective.device):
                yield from self._stacked("compiled", [(1, min(self.objective.samples, 1000)), *stacks])
            else:
                self.found.refused["compiled"] = "no C++ compiler was found"

    def _stacked(self, name: str, stacks: list[tuple[int, int]]) -> Iterator[Plan]:
        whole = any("cannot be cut" in reason or "differs" in reason for reason in self.found.refused.values())
        for points, micro in stacks:
            yield Plan(name=name, micro=0 if whole else micro, points=points, precision=self.precision)

    def _try(self, plan: Plan) -> None:
        points = np.resize(self.agreement.points, (plan.points, self.agreement.points.shape[1]))

        def measured(way: Way) -> tuple[np.ndarray, float]:
            return way.values(self.agreement.points), _timed(lambda: way.values(points), self.clock) / plan.points

        pair = _tried(self.maker, plan, self.found, measured)
        if pair is None or not _right(plan, pair[0], self.agreement, self.found, better=pair[1] < self.time):
            return
        self.found.seconds[str(plan)] = pair[1]
        if pair[1] < self.time:
            self.best, self.time = plan, pair[1]


def _tried(
    maker: _Maker,
    plan: Plan,
    found: Calibration,
    use: Callable[[Way], Found],
    closing: Callable[[Found | None], bool] = lambda _: True,
) -> Found | None:
    """The result of using a plan's way; ``None`` if it cannot be carried out, with the reason noted."""
    try:
        way = maker.way(plan)
    except SpecError:
        raise
    except Exception as fault:
        found.refused[str(plan)] = _why(fault)
        return None
    result = None
    try:
        result = use(way)
        return result
    except Exception as fault:  # an operation without this form, or a model's own assertion
        found.refused[str(plan)] = _why(fault)
        return None
    finally:
        if closing(result):
            way.close()


def _why(fault: Exception) -> str:
    words = next(iter(str(fault).splitlines()), "")
    return words if isinstance(fault, UntraceableError) else f"{type(fault).__name__}: {words[:120]}"


def _right(plan: Plan, values: np.ndarray, agreement: Agreement, found: Calibration, *, better: bool = True) -> bool:
    """Whether an exact plan agrees; the error of a short one is noted."""
    if plan.precision != "exact":
        found.error = agreement.errors(values) if better else found.error
        return True
    if reason := agreement.reason_against(values):
        found.refused[str(plan)] = reason
    return not reason


def _right_on_all(whole: Whole, plan: Plan, found: Calibration) -> bool:
    """Whether a plan agrees on all samples; if so its way is kept, since the run begins with it."""

    def checked(way: Way) -> bool:
        points, values = _filled(way, plan, whole)
        right = _right(plan, values[: len(whole.agreement.points)], whole.agreement, found)
        if right:
            whole.keep(plan, Begun(way, points, values))
        return right

    return bool(_tried(whole.maker, plan, found, checked, closing=lambda right: not right))


def _filled(way: Way, plan: Plan, whole: Whole) -> tuple[np.ndarray, np.ndarray]:
    """The points of the check, in a stack that the first points of the run fill, and their values."""
    points = whole.agreement.points
    if (left := plan.points - len(points)) > 0 and whole.ahead is not None:
        first = whole.ahead(plan.points)
        others = first[~(first[:, None] == points).all(axis=2).any(axis=1)]
        more = np.concatenate([points, others[:left]])
        with contextlib.suppress(Exception):  # a point of the run may fail, and is then evaluated alone
            return more, way.values(more)
    return points, way.values(points)


def _unusable(asked: str, found: Calibration) -> str:
    reasons = "; ".join(sorted(set(found.refused.values()))) or "nothing to try"
    return f"{asked} cannot be used here: {reasons}"


def _timed(run: Callable[[], Any], clock: Clock) -> float:
    """Seconds of a call: the best of two samples after a first, long enough for other work to affect all alike."""
    times: list[float] = []
    repeats = 1
    for _ in range(3):
        start = clock()
        for _ in range(repeats):
            run()
        times.append((clock() - start) / repeats)
        repeats = max(1, min(20, int(SAMPLE_SECONDS / max(times[-1], 1e-9))))
    return min(times[1:])
