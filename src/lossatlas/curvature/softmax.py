r"""The cross-entropy of a softmax whose second derivative costs a product: :math:`H u = m (p ∘ u - p\,p^T u)`.

The loss of a row of logits f with targets q and class weights w is
:math:`-\sum_c q_c w_c \log p_c`, with slope :math:`m p - q ∘ w` and Hessian :math:`m (\mathrm{diag}(p) - p p^T)` where
:math:`m = \sum_c q_c w_c` (Schraudolph 2002, section 3). Torch differentiates the logarithm of the softmax twice
instead, through tensors as large as the logits; here only the logits are kept, and p is computed again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

__all__ = ["cross_entropy"]


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """As :func:`torch.nn.functional.cross_entropy`.

    Args:
        logits: [C], [N, C] or [N, C, ...].
        target: classes [N, ...], or probabilities shaped like the logits.
        weight: of the classes, [C].
        ignore_index: a class that counts for nothing.
        reduction: "mean", "sum" or "none".
        label_smoothing: share of the target that is spread over all classes.

    Returns:
        The loss, a number or [N, ...].

    Example:
        >>> logits, target = torch.tensor([[0.0, 1.0]]), torch.tensor([1])
        >>> bool(torch.allclose(cross_entropy(logits, target), F.cross_entropy(logits, target)))
        True
    """
    told = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    loss: Tensor = _Loss.apply(logits, target, weight, told)  # type: ignore[no-untyped-call]
    if reduction == "none":
        return loss
    total = loss.sum()
    if reduction == "sum":
        return total
    if target.is_floating_point():
        return total / max(loss.numel(), 1)
    counted = target != ignore_index
    return total / (counted.sum() if weight is None else weight[target.where(counted, 0)].where(counted, 0).sum())


class _Loss(Function):
    """The loss of each row."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, weight: Tensor | None, told: dict[str, Any]) -> Tensor:
        ctx.save_for_backward(logits, target, weight)
        ctx.told = told
        return F.cross_entropy(logits, target, weight, reduction="none", **told)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        return _Slope.apply(slope, *ctx.saved_tensors, ctx.told), None, None, None  # type: ignore[no-untyped-call]


class _Slope(Function):
    """The slope of each row's loss with respect to its logits, times the slope with respect to that loss."""

    @staticmethod
    def forward(
        ctx: Any, slope: Tensor, logits: Tensor, target: Tensor, weight: Tensor | None, told: dict[str, Any]
    ) -> Tensor:
        ctx.save_for_backward(slope, logits, target, weight)
        ctx.told = told
        found, _ = _first(logits, target, weight, **told)
        return found.mul_(slope.unsqueeze(_axis(logits)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, along: Tensor) -> Any:
        slope, logits, target, weight = ctx.saved_tensors
        axis = _axis(logits)
        first, mass = _first(logits, target, weight, **ctx.told)
        by_slope = (first * along).sum(axis) if ctx.needs_input_grad[0] else None
        del first
        if not ctx.needs_input_grad[1]:
            return by_slope, None, None, None, None
        shares = logits.softmax(axis)
        inner = along - (shares * along).sum(axis, keepdim=True)
        return by_slope, shares.mul_(inner).mul_(slope.unsqueeze(axis) * mass), None, None, None


def _axis(logits: Tensor) -> int:
    return 0 if logits.dim() == 1 else 1


def _first(
    logits: Tensor, target: Tensor, weight: Tensor | None, *, ignore_index: int, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """The slope of each row's loss with respect to its logits, and its mass m, [N, 1, ...]."""
    axis = _axis(logits)
    shape = [-1 if place == axis else 1 for place in range(logits.dim())]
    each = None if weight is None else weight.reshape(shape)
    smooth = label_smoothing / logits.shape[axis]
    found = logits.softmax(axis)
    if target.is_floating_point():
        pull = target * (1 - label_smoothing) + smooth
        pull = pull if each is None else pull * each
        mass = pull.sum(axis, keepdim=True)
        return found.mul_(mass).sub_(pull), mass
    counted = (target != ignore_index).unsqueeze(axis)
    classes = target.unsqueeze(axis).where(counted, 0)
    known = torch.ones_like(classes, dtype=logits.dtype) if weight is None else weight[classes]
    hard = (1 - label_smoothing) * known
    soft = smooth * (logits.shape[axis] if weight is None else weight.sum())
    mass = (hard + soft) * counted
    found.mul_(mass)
    if label_smoothing:
        found.sub_(smooth * counted.to(found) * (1 if each is None else each))
    return found.scatter_add_(axis, classes, -hard * counted), mass
