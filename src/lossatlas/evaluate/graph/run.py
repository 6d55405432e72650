"""How a plan is carried out on a traced graph: batches prepared once, weights moved at once, values summed exactly."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lossatlas.evaluate.graph import rewrite as rewriting
from lossatlas.evaluate.graph import stage as staging
from lossatlas.evaluate.graph import trace as tracing
from lossatlas.evaluate.graph.capture import Captured
from lossatlas.evaluate.graph.trace import UntraceableError
from lossatlas.evaluate.graph.weights import Rows, Weights, rows_of
from lossatlas.evaluate.plans import PRECISIONS, Plan
from lossatlas.evaluate.threads import pool_of
from lossatlas.objective import Objective
from lossatlas.objective.batches import size_of
from lossatlas.space.charts import Plane

__all__ = ["STORED", "GraphWay", "Graphs", "cut"]

STORED = 256 * 1024**2
"""Bytes that values computed once for a plane may take."""


class Graphs:
    """Makes ways of evaluation for one objective on one plane; they share its traces.

    Args:
        objective: what is measured.
        plane: where.
    """

    def __init__(self, objective: Objective, plane: Plane) -> None:
        self.objective = objective
        self.plane = plane
        self._whole = self

    @functools.cached_property
    def exact(self) -> tracing.Trace:
        """One evaluation as a graph, in the model's own format."""
        return tracing.trace(self.objective)

    def on(self, part: Objective) -> Graphs:
        """The same on a part of the samples, with the exact trace that is made here."""
        other = Graphs(part, self.plane)
        other._whole = self
        return other

    def way(self, plan: Plan) -> GraphWay:
        """The way that a plan describes.

        Returns:
            The way, ready to give values.

        Raises:
            UntraceableError: there is no graph, or not for this plan.
        """
        dtype = PRECISIONS[plan.precision]
        traced = self._whole.exact if dtype is None else tracing.trace(self.objective, dtype)
        return GraphWay(self.objective, self.plane, plan, traced)


class GraphWay:
    """Evaluates points of a plane on a traced graph.

    Args:
        objective: what is measured.
        plane: where.
        plan: how.
        traced: the trace, in the format of the plan.

    Raises:
        UntraceableError: the plan cannot be carried out on this graph.
    """

    def __init__(self, objective: Objective, plane: Plane, plan: Plan, traced: tracing.Trace) -> None:
        self.plan = plan
        self.points = plan.points
        self._axes = len(plane.axes)
        self._complete = objective.completed
        self._weighted = traced.weighted
        self._width = len(objective.measured)
        work = rewriting.fold_norms(_program(objective, plane, traced))
        if plan.points == 1 and plan.name == "graph" and _has_onednn(objective.device):
            work = rewriting.fuse_kernels(work)
        if plan.points > 1:
            work = rewriting.open_attention(work)
        mixing = staging.summed if plan.name == "compiled" else staging.mixed
        staged = staging.split(work, room=STORED, samples=objective.samples, mixing=mixing)
        self._device = objective.device
        self._inputs = staged.inputs
        self._moved = work.slots.keys() & set(staged.inputs)
        self._own = next(iter(work.slots.values())).tensors.dtype if work.slots else torch.float32
        self._format = PRECISIONS[plan.precision] or self._own
        staged = staged.of(self._formatted(work))
        del work  # the weights in the model's own format and layout
        self._weights, staged = self._weight_buffer(staged)
        self._batches = list(self._prepared(objective, staged))
        self._fixed = {name: tensor for name, tensor in staged.work.fixed.items() if name in self._inputs}
        self._staged = staged.of(replace(staged.work, slots=self._only_moved(staged.work.slots)))
        sizes = [size for size, _ in self._batches]
        self._sizes = torch.tensor(sizes, dtype=torch.float64, device=self._device)
        self._fixed |= self._packed(self._fixed)
        self._call = self._callable()
        self._pool = pool_of(plan.workers) if plan.workers > 1 else None

    def close(self) -> None:
        """Release the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """Loss and metrics at some points.

        Args:
            coordinates: float64 [n, k].

        Returns:
            float64 [n, number of values].
        """
        with _tf32(self.plan.precision == "tf32"):
            parts = [
                self._chunk(coordinates[start : start + self.points])
                for start in range(0, len(coordinates), self.points)
            ]
        return self._complete(np.concatenate(parts))

    def _chunk(self, coordinates: np.ndarray) -> np.ndarray:
        count = len(coordinates)
        if count < self.points:  # always the same shape, for which the graph was compiled
            coordinates = np.concatenate([coordinates, np.repeat(coordinates[-1:], self.points - count, axis=0)])
        table = torch.from_numpy(np.hstack([np.ones((self.points, 1)), coordinates]))
        with torch.inference_mode():
            means = self._run(table.to(self._device, self._own))
        return np.asarray(means[:count].cpu().numpy())

    @functools.cached_property
    def _run(self) -> Callable[[Tensor], Tensor]:
        if not self.plan.captured:
            return self._means
        if self._device.type != "cuda":
            raise RuntimeError(f"a CUDA graph needs a CUDA device; the objective is on {self._device.type}")
        example = torch.ones(self.points, 1 + self._axes, dtype=self._own, device=self._device)
        return Captured(self._means, example)

    def _means(self, table: Tensor) -> Tensor:
        """Values [n, V] from coordinates [n, 1 + k] on the device; only kernels, so that they can be recorded."""
        moved = self._weights.fill(table) if self._weights else {}
        moved |= self._packed(moved)
        coordinates = table.to(self._format)
        moved[staging.COORDINATES] = coordinates if self.points > 1 else coordinates[0]
        run = functools.partial(self._batch, moved)
        results = list(map(run, self._batches) if self._pool is None else self._pool.map(run, self._batches))
        found = torch.stack(results).movedim(0, -1)  # [V, batches] or [n, V, batches]
        return self._mean(found, self._sizes).reshape(self.points, -1)

    def _mean(self, table: Tensor, sizes: Tensor) -> Tensor:
        """The weighted mean over batches; the weights that a value has of its own come after the values."""
        if not self._weighted:
            return table @ sizes / sizes.sum()
        means, own = table[..., : self._width, :], table[..., self._width :, :]
        weights = sizes.expand_as(means).clone()
        weights[..., list(self._weighted), :] = own
        return (means * weights).sum(-1) / weights.sum(-1)

    def _packed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those tensors that a kernel needs in its own layout, once for all batches of a point."""
        return {
            name: rewriting.pack(tensors[name], layout, self._batches[0][0])
            for name, layout in self._staged.work.packed.items()
            if name in tensors
        }

    def _batch(self, moved: dict[str, Tensor], batch: tuple[int, dict[str, Any]]) -> Tensor:
        with torch.inference_mode():
            known = {**self._fixed, **batch[1], **moved}
            value: Tensor = self._call(*[known[name] for name in self._inputs])[0]
            return value.double()

    def _formatted(self, work: rewriting.Program) -> rewriting.Program:
        """The program in the format of the plan; what moves is rounded after it has moved."""
        slots = {n: Rows(_short(rows.tensors, self._format, n in self._moved)) for n, rows in work.slots.items()}
        fixed = {n: _laid_out(_short(tensor, self._format, False), self._device) for n, tensor in work.fixed.items()}
        return replace(work, slots=slots, fixed=fixed)

    def _weight_buffer(self, staged: staging.Staged) -> tuple[Weights | None, staging.Staged]:
        """The buffer of what moves, and the program whose slots are views into it."""
        slots = self._only_moved(staged.work.slots)
        if not slots:
            return None, staged
        last = self._device.type == "cpu"
        weights = Weights(slots, dtype=self._format, channels_last=last, points=self.points)
        return weights, staged.of(replace(staged.work, slots={**staged.work.slots, **weights.rows()}))

    def _only_moved(self, slots: Mapping[str, Rows]) -> dict[str, Rows]:
        return {name: rows for name, rows in slots.items() if name in self._moved}

    def _prepared(self, objective: Objective, staged: staging.Staged) -> Iterator[tuple[int, dict[str, Any]]]:
        for leaves in cut(objective, self.plan.micro, self.plan.workers):
            size = size_of(leaves)
            leaves = [_laid_out(_short(leaf, self._format, False), objective.device) for leaf in leaves]
            with torch.inference_mode():
                yield size, staged.before(leaves)

    def _callable(self) -> Callable[..., Any]:
        call: Callable[..., Any] = self._staged.after
        if self.points > 1:
            mapped = (*self._moved, staging.COORDINATES)
            call = torch.vmap(call, in_dims=tuple(0 if name in mapped else None for name in self._inputs))
        if self.plan.name == "compiled":
            mode = "reduce-overhead" if self._device.type == "cuda" else None
            call = _with_room(torch.compile(call, dynamic=False, mode=mode))
        return call


def _program(objective: Objective, plane: Plane, traced: tracing.Trace) -> rewriting.Program:
    device = objective.device
    slots = {}
    for name in plane.moving:
        steps = [direction.get(name) for direction in plane.directions.values()]
        slots[name] = rows_of(plane.origin[name].to(device), [None if s is None else s.to(device) for s in steps])
    if len({rows.tensors.dtype for rows in slots.values()}) > 1:
        raise UntraceableError("the moved tensors have several formats")
    return rewriting.program(traced, slots, {name: tensor.to(device) for name, tensor in plane.origin.items()})


def _with_room(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """Let torch compile as many plans as are tried; beyond its limit of eight it would run them uncompiled."""

    def call(*arguments: Any) -> Any:
        with torch._dynamo.config.patch(recompile_limit=64):
            return compiled(*arguments)

    return call


def _short(tensor: Tensor, dtype: torch.dtype, keep: bool) -> Tensor:
    """A floating-point tensor in the format of the plan, unless it is to be rounded later."""
    return tensor if keep or not tensor.is_floating_point() else tensor.to(dtype)


def _laid_out(tensor: Tensor, device: torch.device) -> Tensor:
    """Images with their channels last, which is what convolutions on a CPU prefer."""
    last = device.type == "cpu" and tensor.dim() == 4 and tensor.is_floating_point()
    return tensor.contiguous(memory_format=torch.channels_last) if last else tensor


def cut(objective: Objective, micro: int, workers: int = 1) -> Iterator[list[Tensor]]:
    """The data in parts of at most ``micro`` samples of nearly equal size, equally many for every worker."""
    batches = [pytree.tree_flatten(batch)[0] for batch in objective.batches]
    if micro and len(batches) > 1 and _can_join(batches):
        batches = [[torch.cat(parts) for parts in zip(*batches, strict=True)]]
    for leaves in batches:
        size = size_of(leaves)
        count = -(-size // micro) if micro else 1
        count = min(-(-count // workers) * workers, size)
        if count == 1:
            yield leaves
            continue
        if any(leaf.shape[:1] != (size,) for leaf in leaves):
            raise UntraceableError("a tensor of the batch has no sample dimension, so it cannot be cut")
        yield from (list(parts) for parts in zip(*(leaf.tensor_split(count) for leaf in leaves), strict=True))


def _can_join(batches: list[list[Tensor]]) -> bool:
    shapes = {tuple(leaf.shape[1:] for leaf in leaves) for leaves in batches}
    return len(shapes) == 1 and all(leaf.shape[:1] == (size_of(leaves),) for leaves in batches for leaf in leaves)


def _has_onednn(device: torch.device) -> bool:
    return (
        device.type == "cpu"
        and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    )


@contextlib.contextmanager
def _tf32(wanted: bool) -> Iterator[None]:
    """TF32 in matrix products and convolutions inside the block, and as it was before outside."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        if wanted:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
