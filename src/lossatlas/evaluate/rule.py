"""Which plans are worth carrying out here, best first? A rule by model, data and number of points, never by the clock.

Two fresh runs of the same question must agree bit for bit, whatever else the machine does, so the plan that "auto"
takes may not depend on how long anything took. What a point costs is counted instead: the floating-point operations of
one batch and the number of calls, at rates of an ordinary processor (``docs/measured.md`` has the measurements behind
the thresholds). The true speed may be off by a factor of three; the order of the plans rarely is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lossatlas.evaluate.layout import layouts
from lossatlas.evaluate.plans import Plan, batches_to_try, stacks_to_try, workers_to_try
from lossatlas.objective import Objective, means
from lossatlas.objective.batches import map_tensors, size_of
from lossatlas.objective.part import few
from lossatlas.space.charts import Plane

__all__ = [
    "COMPILE_SECONDS",
    "LAYOUT_SECONDS",
    "TRACE_SECONDS",
    "WORTH_SECONDS",
    "building",
    "can_compile",
    "captured",
    "graphs",
    "largest",
    "plans_for",
    "reckoned",
    "together",
]

WORTH_SECONDS = 20.0
"""Estimated length of a plain run above which something faster is worth its start-up of about three seconds."""

LAYOUT_SECONDS = 2.0
"""The same if the faster way is another layout, which starts at once and is checked."""

TRACE_SECONDS = 150.0
"""The same if a point costs so little that a graph, which saves the calls, beats another layout in the end."""

COMPILE_SECONDS = 120.0
"""Estimated length of a run above which compiling is worth its half minute."""

TOGETHER = 2048
"""Samples of batches that are put together."""

BATCH_SECONDS = 0.005
"""Estimated time of a batch below which it is put together with others."""

TOGETHER_SECONDS = 1.0
"""Estimated length of a plain run above which that is worth its check, a few milliseconds."""

RATE = {"cpu": 5e10, "cuda": 1e13}
"""Assumed floating-point operations per second, by kind of device; other devices count as a CPU."""

BUILDING = 1.6e-9
"""Estimated seconds for building a weight of a point, per number: it is read and written several times."""

FEW = 4
"""Samples of a batch whose operations are counted; the total is scaled up to all samples."""

CALL_SECONDS = 1e-5
"""Estimated cost of calling one operation."""


def reckoned(objective: Objective) -> float:
    """The estimated time of one plain evaluation of all samples, in seconds: the same every time.

    Args:
        objective: what is measured; its data stays on the device.

    Returns:
        Seconds, as estimated.
    """
    whole = next(iter(objective.batches))
    try:
        part = few(objective, FEW)
        flops, calls = _counted(objective, part)
        flops *= size_of(whole) / size_of(part)
    except Exception:  # a model may refuse a batch of another size, with any exception
        flops, calls = _counted(objective, whole)
    arithmetic = flops / RATE.get(objective.device.type, RATE["cpu"])
    passes = 2 if objective.batchnorm == "recalibrated" else 1  # the first measures the statistics
    return float(passes * objective.batches.number * (arithmetic + calls * CALL_SECONDS))


def building(plane: Plane) -> float:
    """The estimated time to build the weights of a point of a plane, in seconds."""
    return BUILDING * sum(plane.origin[name].numel() for name in plane.moving)


def together(objective: Objective, seconds: float, points: int) -> list[Plan]:
    """The plain evaluation of batches put together, where calling a batch costs more than its arithmetic.

    Args:
        objective: what is measured.
        seconds: the estimate for one plain evaluation.
        points: number of points of the whole run.

    Returns:
        The plan, or nothing.
    """
    number = objective.batches.number
    small = number > 1 and seconds / number < BATCH_SECONDS and seconds * points >= TOGETHER_SECONDS
    here = objective.device.type == "cpu" and objective.batches.kept and objective.size is None
    return [Plan(name="plain", micro=TOGETHER)] if small and here and means.by_sample(objective) else []


def _counted(objective: Objective, batch: Any) -> tuple[float, int]:
    """Floating-point operations of one batch, and calls."""
    counted = _Counting()
    with objective.posed(), objective.batches.seeded(0), torch.set_grad_enabled(objective.autograd), counted:
        objective.parts(batch)
    return counted.flops, counted.calls


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that torch carries out, and their arithmetic as torch's own counter does."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops, self.calls = 0.0, 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled inside; to find that out, torch would load its compiler, which takes over a second."""
        return False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        found = function(*args, **(kwargs or {}))
        self.calls += 1
        if (count := flop_registry.get(function._overloadpacket)) is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=found)
        return found


def plans_for(objective: Objective, *, points: int, seconds: float, wanted: str, precision: str) -> list[Plan]:
    """The plans to try, best first.

    Args:
        objective: what is measured.
        points: number of points of the whole run, including those already done.
        seconds: the estimate for one plain evaluation.
        wanted: a name of ``plans.NAMES``.
        precision: a name of ``plans.PRECISIONS``.

    Returns:
        The first that can be carried out and agrees with the plain evaluation is taken; "auto" ends with plain.
    """
    small = list(stacks_to_try(seconds, objective.samples))[::-1]
    stacks = small or [(4, min(objective.samples, 1000))]
    found = [plan for plan in layouts(objective) if plan.name == wanted]
    if wanted == "compiled" or (
        wanted == "auto" and small and seconds * points > COMPILE_SECONDS and can_compile(objective.device)
    ):
        found += [Plan(name="compiled", micro=micro, points=n, precision=precision) for n, micro in stacks]
    if wanted == "compiled":
        found.append(Plan(name="compiled", micro=min(objective.samples, 1000), precision=precision))
    if wanted == "stacked" or (wanted == "auto" and small):
        found += [Plan(name="stacked", micro=micro, points=n, precision=precision) for n, micro in stacks]
    if wanted in ("auto", "graph"):
        found += sorted(graphs(objective, precision), key=lambda plan: (-plan.workers, abs(plan.micro - 50)))
    uncut = [Plan(**{**plan.to_json(), "micro": 0, "workers": 1}) for plan in found if plan.micro]
    found += [plan for number, plan in enumerate(uncut) if plan not in (*found, *uncut[:number])]
    if wanted == "auto" and precision == "exact":
        found.append(Plan())
    return found


def graphs(objective: Objective, precision: str) -> Iterator[Plan]:
    """Plans on a graph, one point at a time: batches of a few sizes, with a thread for each core or without."""
    sizes = batches_to_try(objective.device, largest(objective), objective.samples)
    for workers in workers_to_try(objective.device):
        for micro in sizes:
            if micro * workers <= max(objective.samples, micro):
                yield Plan(name="graph", micro=micro, workers=workers, precision=precision)


def captured(plan: Plan, device: torch.device) -> list[Plan]:
    """A plan, and on a GPU the same as a CUDA graph; what is compiled makes its own."""
    on_gpu = device.type == "cuda" and plan.name != "compiled"
    return [plan, Plan(**{**plan.to_json(), "captured": True})] if on_gpu else [plan]


def largest(objective: Objective) -> int:
    """The samples of the largest batch."""
    found: list[torch.Tensor] = []
    for batch in objective.batches:
        map_tensors(found.append, batch)
    return max((len(tensor) for tensor in found if tensor.dim()), default=1)


def can_compile(device: torch.device) -> bool:
    """Whether there is a compiler for this device."""
    return device.type == "cuda" or any(shutil.which(name) for name in ("g++", "clang++", "cl"))
