"""How is a point of a convolutional network evaluated to suit a processor? By layout, cores and kernels."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from types import FunctionType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.evaluate.fused import fused
from lossatlas.evaluate.graph.trace import UntraceableError, why_not
from lossatlas.evaluate.plain import Plain
from lossatlas.evaluate.plans import Plan, workers_to_try
from lossatlas.evaluate.threads import pool_of
from lossatlas.objective import Objective, calling
from lossatlas.objective.batches import size_of
from lossatlas.objective.part import few, rows_of
from lossatlas.objective.purity import shared_by
from lossatlas.space.charts import Chart, Plane

__all__ = ["ChannelsLast", "Copies", "Each", "FusedKernels", "layouts"]

MICRO = 50
"""Samples at once: their activations stay in a core's cache."""

FEW = 2
"""Samples on which a model is read."""

Found = TypeVar("Found")

Copies = dict[tuple[str, int], list[Plain]]
"""What was made for a plan's workers, by its name and their number: other samples need no further copies."""


class ChannelsLast:
    """The plain evaluation of parts of each batch, on copies of the model whose kernels have their channels last.

    oneDNN keeps all activations between convolutions in that order too, where batch norm, ReLU and additions run along
    whole cache lines. Every worker has a core of its own, and copies of the model, the loss and the metrics. Nothing is
    traced or rewritten: they are called as usual, on fewer samples at once, so a value differs from the plain one only
    by the order of its sums.

    Args:
        objective: what is measured; its own private copy stays as it is.
        chart: where.
        plan: how many samples at once, and how many workers.
        copies: holds those of the workers if they were made before, and keeps them.

    Raises:
        UntraceableError: the batches cannot be cut, or workers would share what one of them may write to.
        SpecError: the chart belongs to another architecture.
    """

    def __init__(self, objective: Objective, chart: Chart, plan: Plan, copies: Copies | None = None) -> None:
        if reason := why_not(objective):
            raise UntraceableError(reason)
        if plan.workers > 1 and (shared := _shared(objective)):
            raise UntraceableError(f"copies of the model, the loss and the metrics would share {shared}")
        self._objective = objective
        self._parts = list(_cut(objective, plan))
        copies, key = {} if copies is None else copies, (plan.name, plan.workers)
        self._ways = copies.get(key) or self._made(objective, chart, plan.workers)
        copies[key] = self._ways
        self._axes = tuple(chart.axes)
        self._pool = pool_of(plan.workers) if plan.workers > 1 else None

    def _made(self, objective: Objective, chart: Chart, workers: int) -> list[Plain]:
        """A copy for each worker; what is only read exists once."""
        first = Plain(_beside(objective), chart)
        return [first, *(first.beside(_beside(objective)) for _ in range(workers - 1))]

    def close(self) -> None:
        """Release the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """Loss and metrics at some points.

        Args:
            coordinates: float64 [n, k], in the order of the chart's axes.

        Returns:
            float64 [n, number of values].
        """
        rows = [self._at(dict(zip(self._axes, row.tolist(), strict=True))) for row in coordinates]
        return np.array(rows, np.float64).reshape(len(coordinates), -1)

    def each(self, coordinates: np.ndarray) -> np.ndarray:
        """Loss and metrics of every sample by itself at some points.

        Args:
            coordinates: float64 [n, k], in the order of the chart's axes.

        Returns:
            float64 [n, N * measured]: the rows of the table [N, measured], one after the other.

        Raises:
            SpecError: the loss of a batch is not a mean over samples, or is the model's own.
        """
        rows = []
        for row in coordinates:
            shares = self._shares(dict(zip(self._axes, row.tolist(), strict=True)), _of_each)
            parts = [shares[number % len(shares)][number // len(shares)] for number in range(len(self._parts))]
            rows.append(torch.cat(parts).flatten().numpy())
        return np.array(rows, np.float64).reshape(len(coordinates), -1)

    def _at(self, point: dict[str, float]) -> np.ndarray:
        found = self._shares(point, _measured)
        table, weights = (torch.stack([one[side] for each in found for one in each]) for side in (0, 1))
        means = (weights * table).sum(dim=0) / weights.sum(dim=0)
        return np.asarray(self._objective.completed(means[None].numpy())[0])

    def _shares(self, point: dict[str, float], measure: Callable[[Objective, Any], Found]) -> list[list[Found]]:
        """What is measured of every part of the data at a point, by worker."""

        def share(number: int) -> list[Found]:
            way = self._ways[number]
            way._mover.move(point)
            with way.objective.grad_mode():
                return [measure(way.objective, part) for part in self._parts[number :: len(self._ways)]]

        if self._pool is None:
            with self._objective.batches.seeded(0):
                return [share(0)]
        shares = [self._pool.submit(share, number) for number in range(len(self._ways))]
        wait(shares)  # if one fails, no other may continue into the next point
        return [each.result() for each in shares]


class Each:
    """A way whose values are those of every sample by itself, by copies in this layout.

    Args:
        way: evaluates the samples.
    """

    def __init__(self, way: ChannelsLast) -> None:
        self._way = way
        self.values = way.each

    def close(self) -> None:
        """Release the threads."""
        self._way.close()


class FusedKernels(ChannelsLast):
    r"""The same, with the norm, the sum and the ReLU that follow a convolution fused into its kernel.

    The copies are read by ``torch.fx``, in a fiftieth of a second, and the result is called from Python. A norm that
    stays is a factor and a shift: the kernels' weights, and their directions, are multiplied by the factor once for the
    whole plane (:mod:`lossatlas.evaluate.fused`).

    Raises:
        UntraceableError: the model cannot be read, or nothing can be fused.
    """

    def _made(self, objective: Objective, chart: Chart, workers: int) -> list[Plain]:
        if not isinstance(chart, Plane):
            raise UntraceableError("kernels are fused only on a plane")
        first = Plain(_beside(objective), chart)
        first.scale(_fused(first.objective, chart))
        ways = [first]
        for _ in range(workers - 1):
            beside = _beside(objective)
            ways.append(first.beside(beside))
            _fused(beside, chart)
        return ways


def _fused(own: Objective, plane: Plane) -> dict[str, Tensor]:
    """Fuse the kernels of a private copy; the factors of its weights, by name."""
    part, moving = few(own, FEW), frozenset(plane.moving)
    names = {tensor.data_ptr(): name for name, tensor in own.places.items()}  # the names are of views of a parameter

    def still(tensor: Tensor) -> bool:
        return names.get(tensor.data_ptr()) not in moving

    with torch.inference_mode(), own.batches.seeded(0):
        found = fused(own.private, lambda model: own.forward(model, part), still)
    own.private = found.model
    return {names[tensor.data_ptr()]: factor for tensor, factor in found.factors}


def layouts(objective: Objective) -> list[Plan]:
    """The plans in this layout, if the model's convolutions may gain from it: a rule, not a measurement."""
    last = objective.device.type == "cpu" and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    convolves = any(isinstance(module, nn.Conv2d) for module in objective.model.modules())
    if not (last and convolves and objective.forward is calling.forward) or why_not(objective):
        return []
    workers = 1 if _shared(objective) else workers_to_try(objective.device)[0]
    names = ("fused", "channels_last") if hasattr(torch.ops.mkldnn, "_convolution_pointwise") else ("channels_last",)
    return [Plan(name=name, micro=MICRO, workers=workers) for name in names]


def _beside(objective: Objective) -> Objective:
    """The same objective with a private copy of its own; loss and metrics may keep something from call to call too."""
    beside = copy.copy(objective)
    beside.__dict__.pop("places", None)
    own = ("private", "loss", "metrics")
    beside.__dict__.update(zip(own, copy.deepcopy([getattr(objective, name) for name in own]), strict=True))
    for tensor in (*beside.private.parameters(), *beside.private.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return beside


def _shared(objective: Objective) -> str:
    """What copies of model, loss and metrics share although one of them may write to it, in words."""
    if _hooked(objective.private):
        return "a hook of the model, which is a function"
    measured = (objective.private, objective.loss, *(objective.metrics[name] for name in objective.measured[1:]))
    return next(filter(None, (shared_by(part) for part in measured if part is not None)), "")


def _hooked(model: nn.Module) -> bool:
    """Whether a hook is a function: copies of the model share it, and what it writes to."""
    hooks = (
        hook for each in model.modules() for hook in (*each._forward_pre_hooks.values(), *each._forward_hooks.values())
    )
    return any(isinstance(getattr(hook, "func", hook), FunctionType) for hook in hooks)


def _measured(objective: Objective, part: Any) -> tuple[Tensor, Tensor]:
    """Means and weights of a part of a batch, float64."""
    found = objective.parts(part, size=size_of(part))
    means = torch.stack([one.mean.detach().double() for one in found])
    return means, torch.stack([one.weight_on(objective.device).double() for one in found])


def _of_each(objective: Objective, part: Any) -> Tensor:
    """Values of every sample of a part of a batch, float64 [n, measured]."""
    return objective.each_of(part, size_of(part))


def _cut(objective: Objective, plan: Plan) -> Iterator[Any]:
    """The data in parts of at most as many samples as the plan says, equally many for every worker."""
    for batch in objective.batches:
        size = size_of(batch)
        count = -(-size // (plan.micro or size))
        count = min(-(-count // plan.workers) * plan.workers, size)
        ends = np.linspace(0, size, count + 1).round().astype(int).tolist()
        try:
            yield from (rows_of(batch, size, slice(a, b)) for a, b in itertools.pairwise(ends))
        except SpecError as fault:
            raise UntraceableError(f"{fault}, so it cannot be cut") from fault
