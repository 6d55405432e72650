"""Which plan is fastest here, and is it right: a short measurement before a long run."""

from __future__ import annotations

import copy
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch

from lossatlas.errors import SpecError
from lossatlas.evaluate.graph.run import Graphs
from lossatlas.evaluate.graph.trace import UntraceableError
from lossatlas.evaluate.plans import Plan, batches_to_try, stacks_to_try, workers_to_try
from lossatlas.objective import Objective
from lossatlas.objective.batches import map_tensors

__all__ = [
    "COMPILE_SECONDS",
    "SAMPLE_SECONDS",
    "SHARE",
    "TOLERANCE",
    "Calibration",
    "Way",
    "calibrate",
    "check_points",
    "in_double",
]

TOLERANCE = 1e-6
"""Relative difference from the plain evaluation that an exact plan may have."""

COMPILE_SECONDS = 120.0
"""Expected length of a run from which on compiling is worth its half minute."""

SAMPLE_SECONDS = 0.02
"""Length of a timing of one plan; shorter ones would favour plans that happened to run undisturbed."""

SHARE = 0.08
"""Share of the expected length of a plain run that the search may take."""


class Way(Protocol):
    """Something that evaluates points."""

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """Float64 [n, k] to float64 [n, number of values]."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


@dataclass(kw_only=True)
class Calibration:
    """What was measured.

    Attributes:
        plan: the plan chosen.
        seconds: seconds for each point, by plan in words.
        refused: why a plan was not taken, by plan in words.
        error: of a short format, by value: the largest and the median relative difference from the exact value.
        points: number of check points.
    """

    plan: Plan
    seconds: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    error: dict[str, dict[str, float]] = field(default_factory=dict)
    points: int = 0

    def to_json(self) -> dict[str, Any]:
        """The calibration as JSON values, for the run folder and the Landscape."""
        return {
            "plan": self.plan.to_json(),
            "in words": str(self.plan),
            "seconds per point": {name: float(f"{s:.4g}") for name, s in self.seconds.items()},
            "refused": self.refused,
            "error": self.error,
            "check points": self.points,
        }


def check_points(axes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Points spread over a grid: nearest the origin, both ends of the diagonal, and two inside; float64 [5, k].

    Returns:
        Coordinates, a row for each point.

    Example:
        >>> check_points({"x": np.array([-1.0, 0.0, 1.0])})[:, 0].tolist()
        [0.0, -1.0, 1.0, 0.0, 0.0]
    """
    parts = []
    for number, coordinates in enumerate(axes.values()):
        inside = [round(share * (len(coordinates) - 1)) for share in ((0.31, 0.62), (0.73, 0.36), (0.45, 0.84))[number]]
        parts.append(coordinates[[int(np.argmin(np.abs(coordinates))), 0, -1, *inside]])
    return np.stack(parts, axis=1)


def calibrate(
    plain: Way,
    graphs: Graphs,
    axes: Mapping[str, np.ndarray],
    *,
    remaining: int,
    wanted: str = "auto",
    precision: str = "exact",
) -> Calibration:
    """Measure a few points each way, and take the fastest way that agrees with the plain one.

    Args:
        plain: the plain evaluation.
        graphs: makes the others.
        axes: coordinates of every axis.
        remaining: number of points still to evaluate.
        wanted: a name of ``plans.NAMES``; anything but "auto" is taken even where it is slower.
        precision: a name of ``plans.PRECISIONS``.

    Returns:
        The measurement.

    Raises:
        SpecError: the plan that was asked for cannot be carried out, or is wrong.
    """
    points = check_points(axes)
    start = time.perf_counter()
    truth = plain.values(points)
    each = (time.perf_counter() - start) / len(points)
    found = Calibration(plan=Plan(), seconds={"plain": each}, points=len(points))
    search = _Search(graphs, points, truth, found, wanted, precision, deadline=start + _budget(remaining * each))
    search.run(each, remaining)
    if search.best is None:
        if wanted != "auto" or precision != "exact":
            reasons = "; ".join(sorted(set(found.refused.values()))) or "nothing to try"
            raise SpecError(f"plan={wanted!r} with precision={precision!r} cannot be used here: {reasons}")
        return found
    found.plan = search.best
    if precision != "exact":
        found.error = search.errors[str(search.best)]
    return found


def _budget(expected: float) -> float:
    return max(5.0, SHARE * expected)


class _Search:
    """Tries plans one after the other, each starting from the best so far."""

    def __init__(
        self,
        graphs: Graphs,
        points: np.ndarray,
        truth: np.ndarray,
        found: Calibration,
        wanted: str,
        precision: str,
        *,
        deadline: float,
    ) -> None:
        self.graphs = graphs
        self.points = points
        self.truth = truth
        self.found = found
        self.wanted = wanted
        self.precision = precision
        self.deadline = deadline
        self.errors: dict[str, dict[str, dict[str, float]]] = {}
        plain_may_win = wanted == "auto" and precision == "exact"
        self.best: Plan | None = Plan() if plain_may_win else None
        self.time = found.seconds["plain"] if plain_may_win else math.inf

    def run(self, each: float, remaining: int) -> None:
        """Try all that is worth it, in time."""
        for plan in self._graphs():
            for variant in self._captured(plan):
                self._try(variant)
        fastest = min(self.time, each)
        stacks = list(stacks_to_try(fastest, self.graphs.objective.samples))
        if self.wanted in ("auto", "stacked"):
            self._stacked("stacked", stacks)
        if self.wanted == "compiled" or (self.wanted == "auto" and fastest * remaining > COMPILE_SECONDS):
            if not _can_compile(self.graphs.objective.device):
                self.found.refused["compiled"] = "no C++ compiler was found"
                return
            self._stacked("compiled", [(1, min(self.graphs.objective.samples, 1000)), *stacks])

    def _stacked(self, name: str, stacks: list[tuple[int, int]]) -> None:
        whole = _uncuttable(self.found)
        for points, micro in stacks:
            plan = Plan(name=name, micro=0 if whole else micro, points=points, precision=self.precision)
            for each in self._captured(plan):
                self._try(each)

    def _captured(self, plan: Plan) -> list[Plan]:
        """A plan, and on a GPU the same as a CUDA graph; what is compiled makes its own."""
        on_gpu = self.graphs.objective.device.type == "cuda" and plan.name != "compiled"
        return [plan, replace(plan, captured=True)] if on_gpu else [plan]

    def _graphs(self) -> Iterator[Plan]:
        if self.wanted not in ("auto", "graph"):
            return
        objective = self.graphs.objective
        largest = _largest(objective)
        sizes = batches_to_try(objective.device, largest, objective.samples)
        for workers in workers_to_try(objective.device):
            for micro in sizes:
                if micro * workers <= max(objective.samples, micro):
                    yield Plan(name="graph", micro=micro, workers=workers, precision=self.precision)
        yield Plan(name="graph", precision=self.precision)  # as the batches come, where they cannot be cut

    def _try(self, plan: Plan) -> None:
        if self.best is not None and time.perf_counter() > self.deadline:
            self.found.refused.setdefault(str(plan), "not tried: the search had taken its share of the time")
            return
        try:
            way = self.graphs.way(plan)
        except UntraceableError as fault:
            self.found.refused[str(plan)] = str(fault)
            return
        try:
            self._measure(plan, way)
        except (RuntimeError, NotImplementedError, ValueError, TypeError) as fault:  # an operation without this form
            self.found.refused[str(plan)] = f"{type(fault).__name__}: {str(fault).splitlines()[0][:120]}"
        finally:
            way.close()

    def _measure(self, plan: Plan, way: Way) -> None:
        values = way.values(self.points)
        if plan.precision == "exact":
            if reason := self._disagreement(values):
                self.found.refused[str(plan)] = reason
                return
        else:
            self.errors[str(plan)] = _errors(self.graphs.objective.names, values, self.truth)
        seconds = _timed(lambda: way.values(np.resize(self.points, (plan.points, self.points.shape[1])))) / plan.points
        self.found.seconds[str(plan)] = seconds
        if seconds < self.time:
            self.best, self.time = plan, seconds

    def _disagreement(self, values: np.ndarray) -> str:
        """Where a plan differs from the plain evaluation by more than rounding; empty where it does not."""
        same = (values == self.truth) | (np.isnan(values) & np.isnan(self.truth))
        with np.errstate(invalid="ignore", divide="ignore"):
            off = np.where(same, 0.0, np.abs(values - self.truth) / np.abs(self.truth))
        for row in np.flatnonzero((~(off <= TOLERANCE)).any(axis=1)):
            if not self._as_exact(values[row], int(row)):
                return f"differs from the plain evaluation by {np.nanmax(off[row]):.1e} relative at a check point"
        return ""

    def _as_exact(self, values: np.ndarray, row: int) -> bool:
        """Whether a value is as near to that in double precision as the plain one; a small loss is mostly rounding."""
        double = self._in_double(row)
        if double is None:
            return False
        allowed = np.maximum(2 * np.abs(self.truth[row] - double), TOLERANCE * np.abs(double))
        return bool((np.abs(values - double) <= allowed).all())

    def _in_double(self, row: int) -> np.ndarray | None:
        if not hasattr(self, "_doubles"):
            self._doubles: dict[int, np.ndarray | None] = {}
        if row not in self._doubles:
            point = dict(zip(self.graphs.plane.axes, self.points[row], strict=True))
            self._doubles[row] = in_double(self.graphs.objective, self.graphs.plane.at(point))
        return self._doubles[row]


def in_double(objective: Objective, parameters: Mapping[str, Any]) -> np.ndarray | None:
    """Loss and metrics in double precision, float64 [number of values]; None where the model does not take it."""
    if objective.device.type == "mps":
        return None
    model = copy.deepcopy(objective.private).double()
    places = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    rows, weights = [], []
    try:
        with torch.inference_mode():
            for name, tensor in parameters.items():
                places[name].copy_(tensor)
            for batch in objective.batches:
                batch = map_tensors(lambda t: t.double() if t.is_floating_point() else t, batch)
                parts = objective.parts(batch, model)
                rows.append([float(part.mean) for part in parts])
                weights.append([float(part.weight) for part in parts])
    except (RuntimeError, TypeError, SpecError):
        return None
    means = np.average(np.array(rows), axis=0, weights=np.array(weights))
    return np.asarray(objective.completed(means[None])[0])


def _tensors(batch: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    map_tensors(found.append, batch)
    return found


def _errors(names: tuple[str, ...], values: np.ndarray, truth: np.ndarray) -> dict[str, dict[str, float]]:
    """How far values in a short format are from the exact ones: relative for the loss, absolute for shares."""
    found = {}
    for column, name in enumerate(names):
        gap = np.abs(values[:, column] - truth[:, column])
        size = np.abs(truth[:, column])
        relative = np.divide(gap, size, out=np.zeros_like(gap), where=size > 0)
        found[name] = {
            "largest relative": float(f"{np.max(relative):.3g}"),
            "median relative": float(f"{np.median(relative):.3g}"),
            "largest absolute": float(f"{np.max(gap):.3g}"),
        }
    return found


def _timed(run: Callable[[], Any]) -> float:
    """Seconds of a call: the best of two samples after a first, so long that other work hits all alike."""
    times: list[float] = []
    repeats = 1
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        times.append((time.perf_counter() - start) / repeats)
        repeats = max(1, min(20, int(SAMPLE_SECONDS / max(times[-1], 1e-9))))
    return min(times[1:])


def _largest(objective: Objective) -> int:
    return max(max((len(t) for t in _tensors(batch) if t.dim()), default=1) for batch in objective.batches)


def _uncuttable(found: Calibration) -> bool:
    return any("cannot be cut" in reason or "differs" in reason for reason in found.refused.values())


def _can_compile(device: torch.device) -> bool:
    return device.type == "cuda" or any(shutil.which(name) for name in ("g++", "clang++", "cl"))
