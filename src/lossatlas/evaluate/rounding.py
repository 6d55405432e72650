r"""What is the loss at a point in double precision, and how far does the rounding of its sums shift it?

A computed value contains the rounding of everything that was summed to get it: logits, predictions, targets. It scales
with those numbers, not with the value: the hinge loss of a network whose logits are near 1000 may be 0.001. Two
measurements say how large it is. The loss is evaluated again in double precision, every operation of it, even where
``forward`` casts to a shorter format. And every operation's operands and results are perturbed at random by one spacing
of their own format, as Monte Carlo arithmetic does (Parker 1997, "Monte Carlo Arithmetic", UCLA CSD-970002): what that
does to the loss is what rounding may do.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from lossatlas.objective import Objective, batchnorm
from lossatlas.objective.batches import map_tensors
from lossatlas.space.charts import Plane

__all__ = ["WIDE", "Arithmetic", "Reference"]

WIDE: dict[torch.dtype, torch.dtype] = {
    torch.float32: torch.float64,
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.complex64: torch.complex128,
}
"""What each shorter format becomes in double precision."""

_SHORT = (torch.bfloat16, torch.float16)


class Arithmetic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Controls how the operations inside are carried out, and records in which formats they were.

    Args:
        wide: carry them out in double precision, whatever formats they name.
        shake: seed of random perturbations of operands and results by one spacing of the format; by default none.

    Attributes:
        formats: names of the floating formats of all operands and results, before any of them was widened, and of
            those that operations name.

    Example:
        >>> x = torch.tensor([1.0, 2.0], dtype=torch.float64)
        >>> with Arithmetic(wide=True) as arithmetic:
        ...     print((x.bfloat16() / 3).dtype)
        torch.float64
    """

    def __init__(self, *, wide: bool = False, shake: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.wide = wide
        self.formats: set[str] = set()
        self._generators: dict[torch.device, torch.Generator] = {}
        self._seed = shake

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled inside; to find that out, torch would load its compiler, which takes three seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given: tuple[Any, ...] = (args, dict(kwargs or {}))
        tree_map(self.note, given)
        if func._schema.is_mutable:
            return func(*given[0], **given[1])
        views = bool(getattr(func, "is_view", False))
        if self.wide:
            given = tree_map(_widened, given)
        if self._seed is not None and not views:
            given = tree_map(self._moved, given)
        found = func(*given[0], **given[1])
        if self.wide:
            found = tree_map(_widened, found)
        else:
            tree_map(self.note, found)
        return tree_map(self._moved, found) if self._seed is not None and not views else found

    def note(self, part: Any) -> Any:
        """Note the format of a tensor, or one that an operation names."""
        kind = part if isinstance(part, torch.dtype) else part.dtype if isinstance(part, Tensor) else None
        if kind is not None and (kind.is_floating_point or kind.is_complex):
            self.formats.add(str(kind).removeprefix("torch."))
        return part

    def _moved(self, part: Any) -> Any:
        if not isinstance(part, Tensor) or not part.is_floating_point() or part.layout is not torch.strided:
            return part
        if part.dtype not in (torch.float64, *WIDE):
            return part
        if part.device not in self._generators:
            self._generators[part.device] = torch.Generator(part.device).manual_seed(self._seed or 0)
        spacing = torch.finfo(part.dtype).eps
        size = torch.float64 if part.dtype == torch.float64 else torch.float32
        random = torch.rand(part.shape, generator=self._generators[part.device], device=part.device, dtype=size)
        moved = random.mul_(2).sub_(1).mul_(spacing).add_(1).mul_(part)  # in place: a large model's weights pass here
        return moved.to(part.dtype)


def _widened(part: Any) -> Any:
    if isinstance(part, torch.dtype):
        return WIDE.get(part, part)
    if isinstance(part, Tensor) and part.dtype in WIDE:
        return part.to(WIDE[part.dtype])
    return part


class Reference:
    """The loss of an objective on a plane, from a copy of its model that is moved and summed exactly as asked.

    Args:
        objective: what is measured.
        plane: where.
        wide: in double precision; if not, in the model's own formats.
    """

    def __init__(self, objective: Objective, plane: Plane, *, wide: bool) -> None:
        self.objective = objective
        self.plane = plane
        self.wide = wide
        self._seen = Arithmetic()
        self._model = copy.deepcopy(objective.private)
        if not objective.autograd:
            self._model.requires_grad_(requires_grad=False)
        for tensor in (*self._model.parameters(), *self._model.buffers()):
            self._seen.note(tensor)
            if wide:
                tensor.data = _widened(tensor.data)
        self._places = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        self._stands: tuple[dict[str, float], list[int]] | None = None
        for name in objective.origin:
            self._places[name].copy_(plane.origin.get(name, objective.origin[name]))

    @property
    def formats(self) -> set[str]:
        """Names of the floating formats of the model, its data and its operations, as far as they were seen."""
        return self._seen.formats

    def loss(self, point: Mapping[str, float], shake: int | None = None) -> float:
        """The loss at a point.

        Args:
            point: a coordinate for each axis.
            shake: seed of the random perturbations; by default none.

        Returns:
            The mean over all samples.
        """
        if self._stands != (dict(point), self._versions()):
            self._move(point)
            self._stands = dict(point), self._versions()
        objective = self.objective
        total, weights = 0.0, 0.0
        with objective.batches.seeded(0), torch.enable_grad() if objective.autograd else torch.no_grad():
            arithmetic = Arithmetic(wide=self.wide, shake=shake)
            with arithmetic:
                if objective.batchnorm == "recalibrated":
                    batchnorm.recalibrate(self._model, objective.batches, objective.forward)
                for batch in objective.batches:
                    map_tensors(self._seen.note, batch)
                    part = objective.parts(map_tensors(_widened, batch) if self.wide else batch, self._model)[0]
                    weight = float(part.weight)
                    total += weight * float(part.mean)
                    weights += weight
        self._seen.formats |= arithmetic.formats - ({"float64", "complex128"} if self.wide else set())
        return total / weights

    def _versions(self) -> list[int]:
        """How often each tensor of the copy was written, apart from its moves: a forward pass may write statistics."""
        return [place._version for place in self._places.values()]

    def _move(self, point: Mapping[str, float]) -> None:
        """Put the copy at a point, the sum taken in double precision and rounded once to the copy's own format."""
        plane = self.plane
        for name in plane.moving:
            base = plane.origin[name]
            exact = _widened(base).clone()
            for axis, direction in plane.directions.items():
                if name in direction:
                    step = direction[name] if base.dtype in _SHORT else direction[name].to(base.dtype)
                    exact.add_(step.to(exact.device), alpha=point[axis])
            self._places[name].data.copy_(exact)
