r"""How do many points share one product? Their rows are stacked; each layer adds what the directions do to each row.

At coordinates c a linear layer gives :math:`x (W + \sum_a c_a D_a)^T = x W^T + \sum_a c_a\, x D_a^T`. The first product
is the same for all points, so their rows go through it together; with directions of low rank, :math:`D = A B`, the
rest is :math:`c\,(x B^T) A^T`. Nothing is built for a point. It pays where a point has few rows, as a language model
with few tokens: building weights reads and writes all of them for each point. The thresholds are those measured for
one layer of 1,024 by 1,024 on two cores (``docs/explanation/language.md``).

Which layers read the weights that move is seen while the model runs: calls of ``linear``, ``addmm`` and ``embedding``
with them are answered here. A model that does anything else with such a weight is evaluated plainly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from lossatlas.evaluate.graph.trace import UntraceableError, why_not
from lossatlas.evaluate.plans import Plan
from lossatlas.evaluate.rule import WORTH_SECONDS, building
from lossatlas.objective import Objective, calling, reduction
from lossatlas.objective.batches import map_tensors, size_of, tensors_of
from lossatlas.space.charts import Plane
from lossatlas.space.low_rank import LowRank

__all__ = ["Shared", "plans_sharing"]

LOW, FULL = 192, 32
"""Number of rows of a point up to which it pays to share the product, with directions of low rank and with others."""

ROWS, POINTS = 1024, 64
"""Rows that are stacked at once, approximately, and points at most."""

NUMBERS = 2**26
"""Numbers that the widest stacked output may have."""


@dataclass(frozen=True)
class _Moved:
    """What the directions do to one weight.

    Attributes:
        steps: for each axis that moves it: its number, and the direction whole or as factors (left, right).
        name: of the weight.
    """

    name: str
    steps: tuple[tuple[int, Tensor | None, tuple[Tensor, Tensor] | None], ...]


class Shared:
    """Evaluates points of a plane together, by products that they share.

    Args:
        objective: what is measured.
        plane: where.
        points: how many at once; always the same number, so that a value does not depend on its neighbours.

    Raises:
        UntraceableError: the model does something else with a weight that moves, or its batches cannot be stacked.
    """

    def __init__(self, objective: Objective, plane: Plane, points: int) -> None:
        if reason := _why_not(objective, plane):
            raise UntraceableError(reason)
        self.objective = objective
        self.points = points
        self._origin = plane.origin
        self._stood: list[int] = []
        self._targets_of: dict[int, Any] = {}
        moved = _moved(objective, plane)
        _rows(objective, moved, len(plane.axes))
        self._mode = _Sharing(moved, points)
        self._mode.common = _in_common(objective, moved)

    def close(self) -> None:
        """Nothing is held."""

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """Loss and metrics at some points.

        Args:
            coordinates: float64 [n, k], in the order of the plane's axes.

        Returns:
            float64 [n, number of values].
        """
        means = [
            self._chunk(coordinates[start : start + self.points]) for start in range(0, len(coordinates), self.points)
        ]
        return self.objective.completed(np.concatenate(means))

    def _chunk(self, coordinates: np.ndarray) -> np.ndarray:
        count = len(coordinates)
        filled = np.concatenate([coordinates, np.repeat(coordinates[-1:], self.points - count, axis=0)])
        self._mode.coordinates = torch.from_numpy(filled).to(self.objective.device)
        self._go_home()
        sums = np.zeros((2, self.points, len(self.objective.measured)))
        with self.objective.batches.seeded(0), torch.inference_mode():
            for batch in self.objective.batches:
                sums += self._batch(batch)
        return np.asarray((sums[0] / sums[1])[:count])

    def _go_home(self) -> None:
        """Put the private copy at the plane's origin, unless it is still there."""
        places = list(self.objective.private.parameters())
        if self._stood != [place._version for place in places]:
            self.objective.move(self._origin)
            self._stood = [place._version for place in places]

    def _batch(self, batch: Any) -> np.ndarray:
        """Sums of values and of their weights, float64 [2, points, measured]."""
        objective, rows = self.objective, size_of(batch)
        stacked = map_tensors(lambda tensor: tensor.repeat(self.points, *[1] * (tensor.dim() - 1)), batch)
        self._mode.begin(rows * self.points)
        with self._mode:
            outputs, _ = objective.forward(objective.private, stacked)
        shown = calling.predictions(outputs)
        if not isinstance(shown, Tensor) or shown.dim() == 0 or shown.shape[0] % self.points:
            raise UntraceableError("the outputs are not one tensor with a row for each sample")
        each, targets = shown.chunk(self.points), self._targets(batch)
        if len(each) != self.points or each[0].shape[0] % rows:
            raise UntraceableError("the outputs are not one tensor with a row for each sample")
        found = np.zeros((2, self.points, len(objective.measured)))
        for point, own in enumerate(each):
            part = objective.loss_part(own, targets, batch, weighing=objective.weighing)
            parts = [part]
            for name in objective.measured[1:]:
                value = objective.metrics[name](own, targets)
                parts.append(reduction.part(reduction.metric_mean(name, value, part.samples), value, part.samples))
            weights = np.array([float(one.weight) for one in parts])
            found[:, point] = weights * np.array([float(one.mean) for one in parts]), weights
        return found

    def _targets(self, batch: Any) -> Any:
        """What the outputs of a batch are compared with, which is the same at every point."""
        if id(batch) not in self._targets_of:
            self._targets_of[id(batch)] = self.objective.forward(self.objective.private, batch)[1]
        return self._targets_of[id(batch)]


def plans_sharing(
    objective: Objective, plane: Plane, points: int, seconds: float, *, asked: str = "auto"
) -> list[Plan]:
    """The plan that shares products, if a rule says that it pays: few rows for each point, and a long run.

    Args:
        objective: what is measured.
        plane: where.
        points: of the whole run.
        seconds: the estimate for one plain evaluation, without building its weights.
        asked: what the user asks for: "auto" by the rule, "shared" whatever it says, and nothing for other names.

    Returns:
        The plan, or nothing.
    """
    if asked not in ("auto", "shared") or _why_not(objective, plane):
        return [Plan(name="shared", points=POINTS)] if asked == "shared" else []
    moved = _moved(objective, plane)
    try:
        rows, here, widest = _rows(objective, moved, len(plane.axes))
    except UntraceableError:
        rows, here, widest = math.inf, 1, 1
    low = all(pair is not None for one in moved.values() for _, _, pair in one.steps)
    pays = rows <= (LOW if low else FULL) and (seconds + building(plane)) * points >= WORTH_SECONDS
    together = int(min(POINTS, max(ROWS // max(here, 1), 1), max(NUMBERS // max(widest, 1), 1)))
    return [Plan(name="shared", points=max(together, 2))] if pays or asked == "shared" else []


def _rows(objective: Objective, moved: dict[int, _Moved], axes: int) -> tuple[float, int, int]:
    """Rows of a point, typical of its layers; those of one batch at most; and numbers in the widest output of a batch.

    Returns:
        The three.

    Raises:
        UntraceableError: the model does something else with a weight that moves.
    """
    mode, batch = _Sharing(moved, 1), next(iter(objective.batches))
    mode.coordinates = torch.zeros(1, axes, dtype=torch.float64, device=objective.device)
    mode.begin(size_of(batch))
    with objective.batches.seeded(0), torch.inference_mode(), mode:
        shown = calling.predictions(objective.forward(objective.private, batch)[0])
    if not mode.seen or not isinstance(shown, Tensor):
        raise UntraceableError("no weight that moves was seen, or the outputs are not one tensor")
    widest = max(shown.numel(), *(number * width for number, width in mode.seen.values()))
    return _typical(mode.seen) * _batches(objective), max(number for number, _ in mode.seen.values()), widest


def _in_common(objective: Objective, moved: dict[int, _Moved]) -> list[bool]:
    """For each look-up of a table in a forward pass, whether what is looked up is the same for all samples."""
    batch, seen = next(iter(objective.batches)), []
    for longer in (batch, map_tensors(lambda tensor: torch.cat([tensor, tensor]), batch)):
        mode = _Watching(moved)
        with objective.batches.seeded(0), torch.inference_mode(), mode:
            objective.forward(objective.private, longer)
        seen.append(mode.lengths)
    once, twice = seen
    if len(once) != len(twice):
        raise UntraceableError("the model looks up tables in a way that depends on the number of samples")
    return [length == other for length, other in zip(once, twice, strict=True)]


class _Watching(TorchFunctionMode):
    """Notes how many rows each look-up in a table that moves has.

    Attributes:
        lengths: of what is looked up, in order.
    """

    def __init__(self, moved: dict[int, _Moved]) -> None:
        super().__init__()
        self._moved = moved
        self.lengths: list[int] = []

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """As torch does."""
        if function is F.embedding and len(args) > 1 and id(args[1]) in self._moved:
            self.lengths.append(args[0].shape[0] if args[0].dim() else 0)
        return function(*args, **(kwargs or {}))


def _batches(objective: Objective) -> float:
    """How many batches as long as the first one the data amount to."""
    lengths = [size_of(batch) for batch in objective.batches]
    return sum(lengths) / lengths[0]


def _typical(seen: dict[str, tuple[int, int]]) -> float:
    """Rows of a point in one batch, the mean over layers by their width."""
    return sum(rows * width for rows, width in seen.values()) / sum(width for _, width in seen.values())


def _why_not(objective: Objective, plane: Plane) -> str:
    if objective.loss is None:
        return "the loss is the model's own, one number for all points"
    if reason := why_not(objective):
        return reason
    if any(place.dtype not in (torch.float32, torch.float64) for place in objective.places.values()):
        return "the weights are in a short format"
    if any(tensor.shape[:1] != (size_of(batch),) for batch in objective.batches for tensor in tensors_of(batch)):
        return "a tensor of the batch has no sample dimension, so it cannot be stacked"
    if any(plane.origin[name].dim() != 2 for name in plane.moving):
        return "a tensor that moves is not a matrix"
    return ""


def _moved(objective: Objective, plane: Plane) -> dict[int, _Moved]:
    """What moves, by the identity of the weight in the private copy."""
    found, weights = {}, dict(objective.private.named_parameters())
    for name in plane.moving:
        place = weights[name]
        steps: list[tuple[int, Tensor | None, tuple[Tensor, Tensor] | None]] = []
        for number, direction in enumerate(plane.directions.values()):
            if name not in direction:
                continue
            pair = direction.factors.get(name) if isinstance(direction, LowRank) else None
            if pair is not None:
                steps.append((number, None, (pair.left.to(place), pair.right.to(place))))
            else:
                steps.append((number, direction[name].to(place), None))
        found[id(place)] = _Moved(name, tuple(steps))
    return found


class _Sharing(TorchFunctionMode):
    """Answers calls with weights that move for many points at once, whose rows are stacked point by point.

    Attributes:
        coordinates: float64 [points, k].
        rows: samples of all points together, in the batch that is called.
        common: for each look-up of a table, whether what is looked up is the same for all samples.
        seen: by weight, how many rows of a point went through it at most, and how wide its output is.
    """

    coordinates: Tensor
    rows: int = 1
    common: Sequence[bool] = ()
    _looked: int = 0

    def __init__(self, moved: dict[int, _Moved], points: int) -> None:
        super().__init__()
        self._moved = moved
        self._points = points
        self.seen: dict[str, tuple[int, int]] = {}

    def begin(self, rows: int) -> None:
        """Begin another batch, with this many samples of all points together."""
        self.rows, self._looked = rows, 0

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What a function of torch returns at all points."""
        given = kwargs or {}
        answer = _ANSWERS.get(function)
        if answer is not None:
            found = answer(self, *args, **given)
            if found is not None:
                return found
        result = function(*args, **given)
        if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(result)):  # not a shape or a number format
            for leaf in pytree.tree_leaves((args, given)):
                if id(leaf) in self._moved:
                    name = self._moved[id(leaf)].name
                    raise UntraceableError(f"{name!r} is used in {getattr(function, '__name__', function)}")
        return result

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
        """``F.linear``, whose weight is [out, in]."""
        moved = self._moved.get(id(weight))
        if moved is None or (bias is not None and id(bias) in self._moved):
            return None
        turned = _Moved(moved.name, tuple((n, None if d is None else d.T, _turned(p)) for n, d, p in moved.steps))
        return self._product(F.linear(input, weight, bias), input, turned, weight.shape[0])

    def addmm(self, bias: Tensor, input: Tensor, weight: Tensor) -> Tensor | None:
        """``torch.addmm``, whose weight is [in, out], as in transformers' ``Conv1D``."""
        moved = self._moved.get(id(weight))
        if moved is None or id(bias) in self._moved or id(input) in self._moved:
            return None
        return self._product(torch.addmm(bias, input, weight), input, moved, weight.shape[1])

    def _product(self, output: Tensor, input: Tensor, moved: _Moved, width: int) -> Tensor:
        x = input.reshape(-1, input.shape[-1])
        if len(x) % self._points:
            raise UntraceableError(f"{moved.name!r} is applied to rows that are not those of the samples")
        steps = [step for _, full, pair in moved.steps for step in pair or (full,) if step is not None]
        if len({tensor.dtype for tensor in (x, output, *steps)}) > 1:  # autocast
            raise UntraceableError(f"{moved.name!r} is multiplied in another format than its own")
        self._note(moved.name, len(x) // self._points, width)
        flat = output.reshape(-1, width)
        for number, direction, pair in moved.steps:
            factor = self._each(number, len(x), x)
            if pair is not None:
                flat = flat.addmm_((x @ pair[0]).mul_(factor), pair[1])
            else:
                assert direction is not None
                flat = flat.addmm_(x * factor, direction)
        return flat.reshape(output.shape)

    def embedding(self, input: Tensor, weight: Tensor, padding_idx: int | None = None, *more: Any, **told: Any) -> Any:
        """``F.embedding``: rows of a table, of the samples or of what all samples have in common, as positions."""
        moved = self._moved.get(id(weight))
        if moved is None:
            return None
        output = F.embedding(input, weight, padding_idx, *more, **told)
        common = self.common[self._looked] if self._looked < len(self.common) else False
        self._looked += 1
        if common:
            output = output.reshape(1, -1, output.shape[-1]).repeat(self._points, 1, 1)
            input = input.reshape(1, -1).expand(self._points, -1)
        tokens = input.reshape(-1)
        self._note(moved.name, len(tokens) // self._points, weight.shape[1])
        flat = output.reshape(-1, weight.shape[1])
        for number, direction, pair in moved.steps:
            factor = self._each(number, len(tokens), output)
            if pair is not None:
                flat = flat.addmm_(pair[0][tokens] * factor, pair[1])
            else:
                assert direction is not None
                flat = flat.addcmul_(direction[tokens], factor)
        found = flat.reshape(output.shape)
        if common:
            found = found.repeat_interleave(self.rows // self._points, dim=0)
        return found

    def _each(self, axis: int, rows: int, like: Tensor) -> Tensor:
        """The coordinate of each row's point, [rows, 1]."""
        return self.coordinates[:, axis].to(like).repeat_interleave(rows // self._points)[:, None]

    def _note(self, name: str, rows: int, width: int) -> None:
        before = self.seen.get(name, (0, width))[0]
        self.seen[name] = max(before, rows), width


def _turned(pair: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor] | None:
    return None if pair is None else (pair[1].T, pair[0].T)


_ANSWERS: dict[Any, Callable[..., Any]] = {
    F.linear: _Sharing.linear,
    torch.addmm: _Sharing.addmm,
    F.embedding: _Sharing.embedding,
}
