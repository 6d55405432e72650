r"""How does the loss curve at a point? Its Hessian, as something that multiplies vectors.

The matrix is :math:`H = ∂^2 L / ∂θ^2` of the mean loss over all samples, with a short last batch weighted by its
samples, or the generalised Gauss-Newton matrix :math:`G = \frac{1}{N} \sum_i J_i^T (∂^2 ℓ / ∂f^2) J_i` (Schraudolph
2002), which has no negative eigenvalue where the loss is convex in the outputs. Neither is ever formed: a product with
a vector costs about nine evaluations, six where first derivatives are kept. BatchNorm is frozen.

At the origin the matrix shares its weights with the model, and vectors stay on the objective's device in the model's
own format: a product needs, beside the derivatives of one batch, three vectors as long as the weights.

A network with ReLU has kinks. Derivatives do not see them; differences do, see
:mod:`lossatlas.curvature.differences`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lossatlas.curvature import linear
from lossatlas.curvature.kernels import Quick
from lossatlas.curvature.kinks import Stepped, kinks_behind, surrogates_behind
from lossatlas.curvature.stand import Stand
from lossatlas.curvature.steps import Steps
from lossatlas.curvature.subject import Subject, subject
from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_whole
from lossatlas.objective import Objective, calling, means
from lossatlas.objective.cutting import cut
from lossatlas.objective.given import check_objective, check_params
from lossatlas.objective.refusal import asked
from lossatlas.space import filters
from lossatlas.space.parameters import Parameters

__all__ = ["GIB", "HOW", "KINDS", "WHICH", "How", "Kind", "Matrix", "NotFiniteError", "Which", "chosen"]

Which = Literal["all", "weights"]
Kind = Literal["hessian", "ggn"]
How = Literal["derivatives", "differences"]
KINDS, WHICH, HOW = ("hessian", "ggn"), ("all", "weights"), ("derivatives", "differences")
GIB = 1024**3
SPACINGS = 8
"""How many spacings of its number format a product may be off, of the length that it has at most."""


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
        how: ``"derivatives"``, or ``"differences"`` of gradients, see :class:`~lossatlas.curvature.steps.Steps`.
        rows: samples that are differentiated at once; by default a batch of the data. Fewer take less memory.
        memory: bytes that may hold first derivatives from one product at a point to the next; what does not fit is
            recomputed each time.
        told: called after each product, for a progress bar.

    Attributes:
        names: the tensors, in the order in which they make up a vector.
        size: number of parameters n.
        dtype: number format of the derivatives.
        device: where they are taken.
        products: matrix-vector products so far; one with a block counts as one.

    Raises:
        SpecError: an option is unknown, the objective has no derivatives, the number format is short, or no tensor is
            left.

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
        how: How = "derivatives",
        rows: int | None = None,
        memory: int = 2 * GIB,
        told: Callable[[], object] | None = None,
    ) -> None:
        check_objective(objective)
        check_params(params)
        for name, given, good in (("kind", kind, KINDS), ("how", how, HOW)):
            if given not in good:
                raise SpecError(unknown(name, given, good))
        check_whole("memory", memory, 0)
        if how == "differences" and kind == "ggn":
            raise SpecError("how='differences' with kind='ggn': gradients differ by the Hessian; use 'derivatives'")
        if objective.batchnorm == "recalibrated":
            raise SpecError("batchnorm='recalibrated': curvature needs frozen statistics; use 'frozen'")
        self.names = chosen(objective, tensors)
        had = "private" in vars(objective)
        means.check(objective)
        self.whole = objective
        self.objective = objective if rows is None else cut(objective, rows)
        self.kind = kind
        self.products = 0
        self.device = objective.device
        self._tensors = tensors
        self._idle: tuple[str, ...] = ()
        self._kinks: tuple[str, ...] = ()
        self._surrogates: tuple[str, ...] = ()
        self._looked, self._spacing = False, 0.0
        self._shares = self.objective.shares()
        self._single: tuple[Any, ...] = ()
        self._stand = Stand(self.objective, self.names)
        if not had:  # a copy made only for this is released: the stand has its own, which shares weights
            for whose in (self.objective, objective):
                whose.__dict__.pop("private", None)
                whose.__dict__.pop("places", None)
        self._moved = self._stand.moved
        self.size = sum(tensor.numel() for tensor in self._moved)
        self.dtype = _format(dict(zip(self.names, self._moved, strict=True)))
        self._steps = Steps(self._stand, self._slope, self.dtype) if how == "differences" else None
        self.memory = memory
        self._told = told
        self.move(params or {})

    @property
    def rounding(self) -> float:
        """How far a product may be off, as a share of the longest: by its shortest format, and by differences."""
        off = 0.0 if self._steps is None or math.isnan(self._steps.error) else self._steps.error
        return off + SPACINGS * max(torch.finfo(self.dtype).eps, self._spacing)

    def move(self, params: Parameters) -> None:
        """Go to another point; names left out are at the origin."""
        self._kept: dict[int, tuple[Any, ...]] = {}
        self._room = self.memory
        self._stand.move(params)
        if self._steps is not None:
            self._steps.begin()

    def only(self, batch: Any) -> None:
        """Become the curvature of the mean loss of one batch, at the same point, instead of that of all samples."""
        self._single = (batch,)
        self._kept.clear()
        self._room = self.memory
        if self._steps is not None:
            self._steps.begin()

    @property
    def subject(self) -> Subject:
        """What it is the curvature of; kinks and idle tensors are known after the first product."""
        known: dict[str, Any] = {"kinks": self._kinks, "idle": self._idle}
        found = subject(self.whole, kind=self.kind, tensors=self._tensors, size=self.size, **known)
        said = "" if self._steps is None else self._steps.words
        return replace(found, surrogates=self._surrogates, inexact=said)

    def __matmul__(self, vector: Tensor) -> Tensor:
        """The product with a vector [n], in the vector's format and on its device, in the model's own format inside."""
        return self.blocks([vector], [range(len(self.names))])[0]

    def blocks(
        self, vectors: Sequence[Tensor], places: Sequence[Sequence[int]], onto: Sequence[Tensor | None] | None = None
    ) -> list[Tensor]:
        """Products with diagonal blocks, for which each batch is linearised once.

        Args:
            vectors: one for each block, as long as its tensors together.
            places: for each block, which of the tensors it is made of.
            onto: vectors in the matrix's format and on its device to which the products are added, in their memory.

        Returns:
            The products, or the sums, in the format of the vectors and on their device.

        Raises:
            NotFiniteError: the loss or its derivatives overflow here.
            SpecError: a part has no second derivative.
        """
        self.products += len(vectors)
        parts = [self._split(vector, where) for vector, where in zip(vectors, places, strict=True)]
        with linear.derivatives(twice=self._steps is None):
            if self._steps is not None:
                each = zip(parts, places, onto or [None] * len(parts), strict=True)
                found = [self._steps.product(part, where, start) for part, where, start in each]
            else:
                found = self._products(parts, places, onto)
        if not all(map(_finite, found)):
            raise NotFiniteError("curvature is not finite here: the loss or its derivatives overflow at this point")
        if self._told is not None:
            for _ in vectors:
                self._told()
        return [total.to(vector) for total, vector in zip(found, vectors, strict=True)]

    def _products(
        self, parts: list[list[Tensor]], places: Sequence[Sequence[int]], onto: Sequence[Tensor | None] | None
    ) -> list[Tensor]:
        starts = zip(places, onto or [None] * len(places), strict=True)
        totals = [self._empty(where) if start is None else start for where, start in starts]
        for number, (share, batch) in enumerate(self._batches()):
            made = self._linearised(number, batch)
            for last, (part, where, total) in enumerate(zip(parts, places, totals, strict=True), 1 - len(parts)):
                found = self._product(made, part, where, keep=bool(last) or number in self._kept)
                _add(self._views(total, where), found, share)
                del found
            del made
        return totals

    def _product(
        self, made: tuple[Any, ...], part: list[Tensor], where: Sequence[int], *, keep: bool
    ) -> Sequence[Tensor | None]:
        moved = [self._moved[place] for place in where]
        if self.kind == "hessian":
            return linear.hessian_product([made[place] for place in where], moved, part, keep=keep)
        *front, back = made
        return linear.ggn_product((*front, [back[place] for place in where]), moved, part, keep=keep)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors that make up a vector, where they stand; not to be written to."""
        return tuple(tensor.detach() for tensor in self._moved)

    @property
    def places(self) -> tuple[Tensor, ...]:
        """The tensors of :attr:`model` that make up a vector."""
        return tuple(self._moved)

    @property
    def model(self) -> torch.nn.Module:
        """The model at the point; its weights may be those of the user's model, so nothing may write to them."""
        return self._stand.model

    def gradient(self) -> dict[str, Tensor]:
        """The gradient of the mean loss, by name."""
        with linear.derivatives(twice=self._steps is None):
            return self.named(self._slope(range(len(self.names))))

    def _slope(self, where: Sequence[int], onto: Tensor | None = None, times: float = 1.0, every: int = 1) -> Tensor:
        """The gradient in some tensors at the present weights, as a vector, or a multiple of it added to one.

        Args:
            where: which tensors.
            onto: the vector; by default zeros.
            times: how many times.
            every: one number in this many of a tensor is taken, so that no whole vector is made.

        Returns:
            The vector.
        """
        moved = [self._moved[place] for place in where]
        sizes = [-(-tensor.numel() // every) for tensor in moved]
        total = torch.zeros(sum(sizes), dtype=self.dtype, device=self.device) if onto is None else onto
        for share, batch in self._batches():
            loss = self._loss(batch)[0]
            self._kinks = self._kinks or kinks_behind(loss)
            linear.add_slopes(loss, moved, torch.split(total, sizes), share * times, every)
        return total

    def named(self, vector: Tensor | np.ndarray) -> dict[str, Tensor]:
        """A vector as tensors by name."""
        return dict(zip(self.names, self.split(torch.as_tensor(vector)), strict=True))

    def named_block(self, vector: Tensor, where: Sequence[int]) -> dict[str, Tensor]:
        """A vector of a diagonal block as tensors by name."""
        return dict(zip([self.names[place] for place in where], self._split(vector, where), strict=True))

    def split(self, vector: Tensor) -> list[Tensor]:
        """A vector [n] in parts shaped and formatted like the tensors."""
        return self._split(vector, range(len(self.names)))

    def _split(self, vector: Tensor, where: Sequence[int]) -> list[Tensor]:
        views = zip(self._views(vector, where), where, strict=True)
        return [view.to(self._moved[place]) for view, place in views]

    def _views(self, vector: Tensor, where: Sequence[int]) -> list[Tensor]:
        like = [self._moved[place] for place in where]
        parts = torch.split(vector, [tensor.numel() for tensor in like])
        return [part.reshape(place.shape) for part, place in zip(parts, like, strict=True)]

    def joined(self, tensors: Parameters) -> Tensor:
        """Tensors by name as a vector, float64 [n] on the CPU; names left out are zero."""
        places = zip(self.names, self._moved, strict=True)
        found = [tensors.get(name, torch.zeros_like(place)) for name, place in places]
        return torch.cat([tensor.detach().reshape(-1).cpu().double() for tensor in found])

    def _empty(self, where: Sequence[int]) -> Tensor:
        size = sum(self._moved[place].numel() for place in where)
        return torch.zeros(size, dtype=self.dtype, device=self.device)

    def _batches(self) -> Iterator[tuple[float, Any]]:
        """The batches, and the weight of each mean."""
        with self.objective.batches.seeded(0):
            if self._single:
                yield 1.0, self._single[0]
                return
            for share, batch in zip(self._shares, self.objective.batches, strict=True):
                if share:  # a batch whose targets are all ignored has no loss
                    yield share, batch

    def _loss(self, batch: Any) -> tuple[Tensor, Any]:
        """The mean loss of a batch, and the outputs that it is a function of; ``None`` for a model's own loss."""
        objective = self.objective
        with asked(objective), contextlib.nullcontext() if self._looked else Stepped() as stepped:
            outputs, targets = objective.forward(self._stand.model, batch)
            loss = objective.loss_part(outputs, targets, batch, weighing=objective.weighing).mean
        if stepped is not None:
            self._surrogates, self._looked = surrogates_behind(loss) or tuple(sorted(stepped.found)), True
            self._spacing = stepped.spacing
        shown = None if objective.loss is None else calling.predictions(outputs)
        if not bool(torch.isfinite(loss)):
            raise NotFiniteError(
                f"curvature is not finite here: the loss of a batch is {float(loss.detach())} at this point"
            )
        if not loss.requires_grad:
            raise SpecError(
                "the loss has no derivative with respect to any of the tensors: something in between is an integer, an "
                "argmax, a rounding, .detach() or .item(); curvature needs a differentiable loss"
            )
        return loss, shown

    def _linearised(self, number: int, batch: Any) -> tuple[Any, ...]:
        """The first derivatives of a batch, as graphs; kept for the next product if there is room."""
        if number in self._kept:
            return self._kept[number]
        with linear.Counted() as counted:
            with Quick():
                loss, outputs = self._loss(batch)
            self._kinks = self._kinks or kinks_behind(loss)
            self._surrogates = self._surrogates or surrogates_behind(loss)  # another batch may go another way
            if self.kind == "hessian":
                made = linear.slopes_of(loss, self._moved, look=number == 0)
                self._idle = tuple(name for name, slope in zip(self.names, made, strict=True) if slope is None)
            else:
                made = linear.back_and_forth(loss, outputs, self._moved)
        if counted.bytes <= self._room:
            self._room -= counted.bytes
            self._kept[number] = made
        return made


def _finite(vector: Tensor) -> bool:
    """Whether all numbers are finite; torch.isfinite would make a second vector."""
    return not len(vector) or all(math.isfinite(float(end)) for end in torch.aminmax(vector))


def _add(views: list[Tensor], found: Sequence[Tensor | None], share: float) -> None:
    """Add a share of some tensors to a vector, by views of it."""
    with torch.no_grad():
        for view, part in zip(views, found, strict=True):
            if part is not None:
                view.add_(part, alpha=share)


def _format(tensors: Parameters) -> torch.dtype:
    """The number format of a curvature; a short one is refused."""
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64):
            form = str(tensor.dtype).removeprefix("torch.")
            if tensor.is_complex():
                raise SpecError(
                    f"{name!r} is {form}: curvature is available for real numbers only; keep its real and imaginary "
                    "parts as real weights (torch.view_as_complex in forward)"
                )
            raise SpecError(
                f"{name!r} is {form}: second derivatives in a short number format are nothing but rounding; give the "
                "model in float32 (model.float(), or --dtype float32)"
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
        raise SpecError(f"tensors={tensors!r}: no tensor is left; unfreeze the model, or use 'all'")
    return names
