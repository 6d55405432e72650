r"""How the loss curves at a point: its Hessian, as something that multiplies vectors.

The matrix is :math:`H = ∂^2 L / ∂θ^2` of the mean loss over all samples, a short last batch weighing as much as it has
samples, or the generalised Gauss-Newton matrix :math:`G = \frac{1}{N} \sum_i J_i^T (∂^2 ℓ / ∂f^2) J_i` (Schraudolph
2002), which has no negative eigenvalue where the loss is convex in the outputs. Neither is ever formed: a product with
a vector costs about nine evaluations, six where first derivatives are kept. BatchNorm is frozen.

A network with ReLU has kinks. Derivatives do not see them; differences do, see
:mod:`lossatlas.curvature.differences`.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lossatlas.curvature.kernels import Quick
from lossatlas.curvature.kinks import kinks_behind, operations, surrogates_behind
from lossatlas.curvature.subject import Subject, subject
from lossatlas.errors import SpecError, unknown
from lossatlas.objective import Objective, batchnorm, calling, means
from lossatlas.objective.given import check_objective, check_params
from lossatlas.space import filters
from lossatlas.space.parameters import Parameters

__all__ = ["GIB", "KINDS", "WHICH", "Kind", "Matrix", "NotFiniteError", "Which", "chosen"]

Which = Literal["all", "weights"]
Kind = Literal["hessian", "ggn"]
KINDS, WHICH = ("hessian", "ggn"), ("all", "weights")
GIB = 1024**3


class NotFiniteError(SpecError):
    """The curvature at a point is not finite; at other points it may be."""


class Matrix:
    """A curvature matrix at a point, as something that multiplies vectors.

    Args:
        objective: whose loss.
        params: the point; names left out are at the origin.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` that can be trained, or ``"weights"``: without biases and normalising layers, the tensors
            that filter-normalised directions move.
        memory: bytes that may hold first derivatives from one product at a point to the next; what does not fit is
            computed anew each time.
        told: called after each product, for a progress bar.

    Attributes:
        names: the tensors, in the order in which they make up a vector.
        size: number of parameters n.
        dtype: number format of the derivatives.
        products: matrix-vector products so far.

    Raises:
        SpecError: an unknown option, an objective without derivatives, a short number format, or no tensor is left.

    Example:
        >>> x, y = torch.tensor([[1.0], [2.0]]), torch.zeros(2, 1)
        >>> objective = Objective(torch.nn.Linear(1, 1, bias=False), (x, y), torch.nn.functional.mse_loss)
        >>> float(Matrix(objective) @ torch.ones(1, dtype=torch.float64))
        5.0
    """

    def __init__(
        self,
        objective: Objective,
        params: Parameters | None = None,
        *,
        kind: Kind = "hessian",
        tensors: Which = "all",
        memory: int = 2 * GIB,
        told: Callable[[], object] | None = None,
    ) -> None:
        check_objective(objective)
        check_params(params)
        if kind not in KINDS:
            raise SpecError(unknown("kind", kind, KINDS))
        if objective.batchnorm == "recalibrated":
            raise SpecError("batchnorm='recalibrated': curvature is taken with frozen statistics; use 'frozen'")
        self.objective = objective
        self.kind = kind
        self.names = chosen(objective, tensors)
        self.products = 0
        self._tensors = tensors
        self._idle: tuple[str, ...] = ()
        self._kinks: tuple[str, ...] = ()
        self._surrogates: tuple[str, ...] = ()
        means.check(objective)
        self._shares = objective.shares()
        self._model = copy.deepcopy(objective.private).train(objective.training)
        parts = {**dict(self._model.named_parameters()), **batchnorm.statistics(self._model)}
        self._places = {name: parts[name] for name in objective.origin}
        for name in self.names:
            self._places[name].requires_grad_(True)
        self._moved = [self._places[name] for name in self.names]
        self.size = sum(tensor.numel() for tensor in self._moved)
        self.dtype = _format(dict(zip(self.names, self._moved, strict=True)))
        self.memory = memory
        self._told = told
        self.move(params or {})

    def move(self, params: Parameters) -> None:
        """Go to another point; names left out are at the origin."""
        self._kept: dict[int, tuple[Any, ...]] = {}
        self._room = self.memory
        with torch.no_grad():
            for name, place in self._places.items():
                place.copy_(params.get(name, self.objective.origin[name]))

    @property
    def subject(self) -> Subject:
        """What it is the curvature of; kinks and idle tensors are known after the first product."""
        known: dict[str, Any] = {"kinks": self._kinks, "idle": self._idle}
        found = subject(self.objective, kind=self.kind, tensors=self._tensors, size=self.size, **known)
        return replace(found, surrogates=self._surrogates)

    def __matmul__(self, vector: Tensor) -> Tensor:
        """The product with a vector, float64 [n] to float64 [n], in the model's own format inside."""
        self.products += 1
        parts = self.split(vector)
        product = _hessian_product if self.kind == "hessian" else _ggn_product
        total = torch.zeros(self.size, dtype=torch.float64)
        with _derivatives():
            for number, (share, batch) in enumerate(self._batches()):
                linear = self._linearised(number, batch)
                total += share * _flat(self._filled(product(linear, self._moved, parts, keep=number in self._kept)))
        if not bool(torch.isfinite(total).all()):
            raise NotFiniteError("curvature is not finite here: the loss or its derivatives overflow at this point")
        if self._told is not None:
            self._told()
        return total

    def gradient(self) -> dict[str, Tensor]:
        """The gradient of the mean loss, by name."""
        total = torch.zeros(self.size, dtype=torch.float64)
        with _derivatives():
            for share, batch in self._batches():
                found = torch.autograd.grad(self._loss(batch)[0], self._moved, allow_unused=True)
                total += share * _flat(self._filled(found))
        return self.named(total)

    def named(self, vector: Tensor | np.ndarray) -> dict[str, Tensor]:
        """A vector as tensors by name."""
        return dict(zip(self.names, self.split(torch.as_tensor(vector)), strict=True))

    def split(self, vector: Tensor) -> list[Tensor]:
        """A vector [n] in parts shaped and formatted like the tensors."""
        parts = torch.split(vector, [tensor.numel() for tensor in self._moved])
        return [part.to(like).reshape(like.shape) for part, like in zip(parts, self._moved, strict=True)]

    def joined(self, tensors: Parameters) -> Tensor:
        """Tensors by name as a vector, float64 [n]; names left out are zero."""
        places = zip(self.names, self._moved, strict=True)
        return _flat([tensors.get(name, torch.zeros_like(place)) for name, place in places])

    def _batches(self) -> Iterator[tuple[float, Any]]:
        """The batches, and what the mean of each counts for."""
        with self.objective.batches.seeded(0):
            for share, batch in zip(self._shares, self.objective.batches, strict=True):
                if share:  # a batch whose targets are all ignored has no loss
                    yield share, batch

    def _loss(self, batch: Any) -> tuple[Tensor, Any]:
        """The mean loss of a batch, and the outputs that it is a function of; ``None`` for a model's own loss."""
        objective = self.objective
        outputs, targets = objective.forward(self._model, batch)
        shown = None if objective.loss is None else calling.predictions(outputs)
        loss = objective.loss_part(outputs, targets, batch, weighing=objective.weighing).mean
        if not bool(torch.isfinite(loss)):
            raise NotFiniteError(
                f"curvature is not finite here: the loss of a batch is {float(loss.detach())} at this point"
            )
        if not loss.requires_grad:
            raise SpecError(
                "the loss has no derivative by any of the tensors: something on the way is an integer, an argmax, a "
                "rounding, .detach() or .item(); curvature needs a loss that can be differentiated"
            )
        return loss, shown

    def _linearised(self, number: int, batch: Any) -> tuple[Any, ...]:
        """The first derivatives of a batch, as graphs; kept for the next product where there is room."""
        if number in self._kept:
            return self._kept[number]
        with _Counted() as counted:
            with Quick():
                loss, outputs = self._loss(batch)
            self._kinks = self._kinks or kinks_behind(loss)
            self._surrogates = self._surrogates or surrogates_behind(loss)
            if self.kind == "hessian":
                made: tuple[Any, ...] = torch.autograd.grad(loss, self._moved, create_graph=True, allow_unused=True)
                if number == 0:
                    _check_twice(made)
                self._idle = tuple(name for name, slope in zip(self.names, made, strict=True) if slope is None)
            else:
                made = _back_and_forth(loss, outputs, self._moved)
        if counted.bytes <= self._room:
            self._room -= counted.bytes
            self._kept[number] = made
        return made

    def _filled(self, found: Sequence[Tensor | None]) -> list[Tensor]:
        return [torch.zeros_like(t) if f is None else f for f, t in zip(found, self._moved, strict=True)]


def _hessian_product(
    gradient: tuple[Any, ...], moved: list[Tensor], vector: list[Tensor], *, keep: bool
) -> Sequence[Tensor | None]:
    """The derivative of the gradient along a vector."""
    bent = [(g, v) for g, v in zip(gradient, vector, strict=True) if g is not None and g.requires_grad]
    if not bent:
        return [None] * len(moved)
    slopes, along = [g for g, _ in bent], [v for _, v in bent]
    return torch.autograd.grad(slopes, moved, along, retain_graph=keep, allow_unused=True)


def _back_and_forth(loss: Tensor, outputs: Any, moved: list[Tensor]) -> tuple[Any, ...]:
    """What a product with the GGN needs: outputs f, the slope of the loss by f, a dummy u, and :math:`J^T u`."""
    if not isinstance(outputs, Tensor):
        raise SpecError("kind='ggn' needs outputs that are one tensor, and a loss of them; use kind='hessian'")
    slope = torch.autograd.grad(loss, outputs, create_graph=True)[0]
    probe = torch.zeros_like(outputs, requires_grad=True)
    back = torch.autograd.grad(outputs, moved, probe, create_graph=True, allow_unused=True)
    return outputs, slope, probe, back


def _ggn_product(
    linear: tuple[Any, ...], moved: list[Tensor], vector: list[Tensor], *, keep: bool
) -> Sequence[Tensor | None]:
    """:math:`J^T H_f J v`; :math:`J v` is the derivative of :math:`u ↦ J^T u`, which is linear in u."""
    outputs, slope, probe, back = linear
    kept = [(b, v) for b, v in zip(back, vector, strict=True) if b is not None and b.requires_grad]
    if not slope.requires_grad or not kept:  # a loss that is linear in the outputs
        return [None] * len(moved)
    forward = torch.autograd.grad([b for b, _ in kept], probe, [v for _, v in kept], retain_graph=True)[0]
    bent = torch.autograd.grad(slope, outputs, forward, retain_graph=True)[0]
    return torch.autograd.grad(outputs, moved, bent, retain_graph=keep, allow_unused=True)


class _Counted:
    """Counts the bytes that a graph built inside the block keeps."""

    def __enter__(self) -> _Counted:
        self._seen: dict[int, int] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._note, lambda tensor: tensor)
        self._hooks.__enter__()
        return self

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._seen[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold the graph that holds it, for ever

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)
        self.bytes = sum(self._seen.values())


@contextlib.contextmanager
def _derivatives() -> Iterator[None]:
    """Derivatives of derivatives, with kernels that have them; what has none is named.

    The fast kernels of attention, and of recurrent networks on a GPU, have a first derivative and no second.

    Raises:
        SpecError: an operation has no second derivative.
        RuntimeError: whatever else goes wrong in the model.
    """
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            sdpa_kernel(SDPBackend.MATH),
            torch.backends.cudnn.flags(enabled=False),
        ):
            yield
    except RuntimeError as fault:
        words = str(fault).splitlines()[0]
        if any(sign in words for sign in _UNDERIVED):
            raise SpecError(
                f"a part of the model or the loss has no second derivative ({words}); replace it, or leave curvature"
            ) from fault
        raise


def _check_twice(gradient: Sequence[Tensor | None]) -> None:
    """Torch leaves out, without a word, what was marked as differentiable once."""
    if operations(gradient) & {"Error", "NotImplemented"}:
        raise SpecError(
            "a part of the model or the loss has no second derivative (a function marked once_differentiable?); "
            "replace it, or leave curvature"
        )


_UNDERIVED = ("derivative for", "is not implemented", "differentiate twice", "does not require grad", "checkpoint")


def _format(tensors: Parameters) -> torch.dtype:
    """The number format of a curvature; a short one is refused."""
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64):
            form = str(tensor.dtype).removeprefix("torch.")
            if tensor.is_complex():
                raise SpecError(
                    f"{name!r} is {form}: curvature is offered along real numbers alone; keep its real and imaginary "
                    "parts as real weights (torch.view_as_complex in forward)"
                )
            raise SpecError(
                f"{name!r} is {form}: second derivatives in a short number format are rounding; give the model in "
                "float32 (model.float(), or --dtype float32)"
            )
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors.values()) else torch.float32


def chosen(objective: Objective, tensors: Which) -> list[str]:
    """The names of the tensors that a curvature is taken over.

    Returns:
        Their names, in the model's order.

    Raises:
        SpecError: an unknown word, or none is left.
    """
    if tensors not in WHICH:
        raise SpecError(unknown("tensors", tensors, WHICH))
    roles = ("bias", "norm") if tensors == "weights" else ()
    table = filters.table(objective.model)
    names = [name for name in objective.origin if name in table and table[name].moves(frozenset(roles))]
    if not names:
        raise SpecError(f"tensors={tensors!r}: no tensor is left; unfreeze the model, or take 'all'")
    return names


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1).cpu().double() for tensor in tensors])
