r"""How the loss curves at a point: its Hessian, as something that multiplies vectors.

The matrix is :math:`H = ∂^2 L / ∂θ^2` of the mean loss over all samples, a short last batch weighing as much as it has
samples, or the generalised Gauss-Newton matrix :math:`G = \frac{1}{N} \sum_i J_i^T (∂^2 ℓ / ∂f^2) J_i` (Schraudolph
2002), which has no negative eigenvalue where the loss is convex in the outputs. Neither is ever formed: products with a
vector cost about four evaluations each. BatchNorm is frozen.

A network with ReLU has kinks. Derivatives do not see them and differences do, see :func:`along`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError, unknown
from lossatlas.objective import Objective, calling, reduction
from lossatlas.objective.batches import size_of
from lossatlas.space import filters
from lossatlas.space.parameters import Parameters

Which = Literal["all", "weights"]
Kind = Literal["hessian", "ggn"]
KINDS, WHICH = ("hessian", "ggn"), ("all", "weights")


class Matrix:
    """A curvature matrix at a point, as something that multiplies vectors.

    Args:
        objective: whose loss.
        parameters: the point; names left out are at the origin.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` that can be trained, or ``"weights"``: without biases and normalising layers, the tensors
            that filter-normalised directions move.

    Attributes:
        names: the tensors, in the order in which they make up a vector.
        size: number of parameters n.
        products: matrix-vector products so far.

    Raises:
        SpecError: an unknown option, an objective without derivatives, or no tensor is left.

    Example:
        >>> x, y = torch.tensor([[1.0], [2.0]]), torch.zeros(2, 1)
        >>> objective = Objective(torch.nn.Linear(1, 1, bias=False), (x, y), torch.nn.functional.mse_loss)
        >>> float(Matrix(objective) @ torch.ones(1, dtype=torch.float64))
        5.0
    """

    def __init__(
        self,
        objective: Objective,
        parameters: Parameters | None = None,
        *,
        kind: Kind = "hessian",
        tensors: Which = "all",
    ) -> None:
        if kind not in KINDS:
            raise unknown("kind", kind, KINDS)
        if objective.batchnorm == "recalibrated":
            raise SpecError("batchnorm='recalibrated': curvature is taken with frozen statistics; use 'frozen'")
        self.objective = objective
        self.kind = kind
        self.names = chosen(objective, tensors)
        self.products = 0
        self._shares = objective.shares()
        self._model = copy.deepcopy(objective.private)
        self._places = dict(self._model.named_parameters())
        for name in self.names:
            self._places[name].requires_grad_(True)
        self._moved = [self._places[name] for name in self.names]
        self.size = sum(tensor.numel() for tensor in self._moved)
        self.move(parameters or {})

    def move(self, parameters: Parameters) -> None:
        """Go to another point; names left out are at the origin."""
        with torch.no_grad():
            for name, place in self._places.items():
                place.copy_(parameters.get(name, self.objective.origin[name]))

    def __matmul__(self, vector: Tensor) -> Tensor:
        """The product with a vector, float64 [n] to float64 [n], in the model's own format inside."""
        self.products += 1
        parts = self.split(vector)
        total = torch.zeros(self.size, dtype=torch.float64)
        product = self._hessian if self.kind == "hessian" else self._ggn
        for share, batch in self._batches():
            total += share * _flat(product(batch, parts))
        if not bool(torch.isfinite(total).all()):
            raise SpecError("curvature is not finite here: the loss or its derivatives overflow at this point")
        return total

    def gradient(self) -> dict[str, Tensor]:
        """The gradient of the mean loss, by name."""
        total = torch.zeros(self.size, dtype=torch.float64)
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
        return _flat([tensors.get(name, torch.zeros_like(place)) for name, place in self._named_places()])

    def _named_places(self) -> Iterator[tuple[str, Tensor]]:
        yield from zip(self.names, self._moved, strict=True)

    def _batches(self) -> Iterator[tuple[float, Any]]:
        """The batches, and what the mean of each counts for."""
        with self.objective.batches.seeded(0):
            yield from zip(self._shares, self.objective.batches, strict=True)

    def _loss(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        """The mean loss of a batch, and the outputs that it is a function of."""
        objective = self.objective
        outputs, targets = objective.forward(self._model, batch)
        if objective.loss is None:
            return reduction.loss_mean(_own, calling.own_loss(outputs), size_of(batch)), None
        shown = calling.predictions(outputs)
        return reduction.loss_mean(objective.loss, objective.loss(shown, targets), size_of(batch)), shown

    def _hessian(self, batch: Any, vector: list[Tensor]) -> list[Tensor]:
        gradient = torch.autograd.grad(self._loss(batch)[0], self._moved, create_graph=True, allow_unused=True)
        slopes = [(g, v) for g, v in zip(gradient, vector, strict=True) if g is not None and g.requires_grad]
        if not slopes:
            return [torch.zeros_like(tensor) for tensor in self._moved]
        inner = [g for g, _ in slopes], self._moved, [v for _, v in slopes]
        return self._filled(torch.autograd.grad(*inner, allow_unused=True))

    def _ggn(self, batch: Any, vector: list[Tensor]) -> list[Tensor]:
        loss, outputs = self._loss(batch)
        if not isinstance(outputs, Tensor):
            raise SpecError("kind='ggn' needs outputs that are one tensor, and a loss of them; use kind='hessian'")
        slope = torch.autograd.grad(loss, outputs, create_graph=True)[0]
        # J v as the derivative of u -> J^T u, which is linear in u.
        probe = torch.zeros_like(outputs, requires_grad=True)
        back = self._filled(torch.autograd.grad(outputs, self._moved, probe, create_graph=True, allow_unused=True))
        kept = [(b, v) for b, v in zip(back, vector, strict=True) if b.requires_grad]
        forward = torch.autograd.grad([b for b, _ in kept], probe, [v for _, v in kept], retain_graph=True)[0]
        if not slope.requires_grad:  # a loss that is linear in the outputs
            return [torch.zeros_like(tensor) for tensor in self._moved]
        bent = torch.autograd.grad(slope, outputs, forward.detach(), retain_graph=True)[0]
        return self._filled(torch.autograd.grad(outputs, self._moved, bent, allow_unused=True))

    def _filled(self, found: tuple[Tensor | None, ...]) -> list[Tensor]:
        return [torch.zeros_like(t) if f is None else f for f, t in zip(found, self._moved, strict=True)]


def _own(outputs: Any, targets: Any) -> Tensor:
    loss: Tensor = calling.own_loss(outputs)
    return loss


def chosen(objective: Objective, tensors: Which) -> list[str]:
    """The names of the tensors that a curvature is taken over.

    Raises:
        SpecError: an unknown word, or none is left.
    """
    if tensors not in WHICH:
        raise unknown("tensors", tensors, WHICH)
    roles = ("bias", "norm") if tensors == "weights" else ()
    table = filters.table(objective.model)
    names = [name for name in objective.origin if name in table and table[name].moves(frozenset(roles))]
    if not names:
        raise SpecError(f"tensors={tensors!r}: no tensor is left; unfreeze the model, or take 'all'")
    return names


@dataclass(frozen=True, kw_only=True)
class Along:
    """Curvature along one direction, in two ways.

    Attributes:
        autodiff: :math:`d^T H d / ‖d‖^2` by derivatives, which do not see kinks.
        difference: the same by central differences of the loss, which do.
        step: how far apart they were taken, in parameter norm.
        slope: :math:`g^T d / ‖d‖`.
    """

    autodiff: float
    difference: float
    step: float
    slope: float


def along(
    objective: Objective,
    direction: Parameters,
    parameters: Parameters | None = None,
    *,
    step: float = 1e-2,
) -> Along:
    """Curvature along a direction by derivatives and by differences.

    Args:
        objective: whose loss.
        direction: tensors by name; those that cannot be trained do not move.
        parameters: the point; left out, the origin.
        step: of the differences, as a share of the direction. A small one measures rounding: the error of the second
            difference is about ``4 ε L / (step · norm)²``.

    Returns:
        Both numbers, for a direction of length one.

    Example:
        >>> objective = Objective(
        ...     torch.nn.Linear(1, 1, bias=False), (torch.ones(2, 1), torch.zeros(2, 1)), torch.nn.functional.mse_loss
        ... )
        >>> found = along(objective, {"weight": torch.ones(1, 1)})
        >>> round(found.autodiff, 6), round(found.difference, 1)
        (2.0, 2.0)
    """
    matrix = Matrix(objective, parameters)
    vector = matrix.joined(direction)
    length = float(vector.norm())
    if length == 0:
        raise SpecError("direction is zero in every tensor that can be trained")
    unit = vector / length
    apart = step * length
    base = {**objective.origin, **(parameters or {})}
    values = [objective(_shifted(base, matrix.named(unit), c * apart))["loss"] for c in (-1, 0, 1)]
    return Along(
        autodiff=float(unit @ (matrix @ unit)),
        difference=(values[0] - 2 * values[1] + values[2]) / apart**2,
        step=apart,
        slope=float(matrix.joined(matrix.gradient()) @ unit),
    )


def _shifted(base: Mapping[str, Tensor], unit: Parameters, distance: float) -> dict[str, Tensor]:
    return {**base, **{name: base[name] + distance * part.to(base[name]) for name, part in unit.items()}}


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1).cpu().double() for tensor in tensors])
