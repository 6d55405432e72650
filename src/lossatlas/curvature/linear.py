r"""What are the first derivatives of one batch, as graphs, and how do they multiply a vector?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lossatlas.curvature.kinks import operations
from lossatlas.errors import SpecError
from lossatlas.objective.reentrant import differentiated
from lossatlas.oneline import first_line

__all__ = ["Counted", "add_slopes", "back_and_forth", "derivatives", "ggn_product", "hessian_product", "slopes_of"]


def slopes_of(loss: Tensor, moved: list[Tensor], *, look: bool) -> tuple[Any, ...]:
    """The gradient of a loss as a graph, ``None`` where a tensor does not enter.

    Args:
        loss: of a batch.
        moved: with respect to which tensors.
        look: whether the graph is searched for what has no second derivative.

    Returns:
        One slope for each tensor.

    Raises:
        SpecError: a part has no second derivative.
    """
    made: tuple[Any, ...] = torch.autograd.grad(loss, moved, create_graph=True, allow_unused=True)
    if look:
        _check_twice(made)
    return made


def add_slopes(loss: Tensor, moved: list[Tensor], views: Sequence[Tensor], share: float, every: int) -> None:
    """Add a share of a gradient, each tensor's as soon as it is computed, so that the whole gradient is never held.

    Args:
        loss: of a batch.
        moved: with respect to which tensors.
        views: what is added to, one for each tensor, flat.
        share: how many times.
        every: one number in this many of a tensor is taken.
    """

    def adding(view: Tensor) -> Callable[[Tensor], None]:
        def add(leaf: Tensor) -> None:
            if leaf.grad is not None:
                whole = leaf.grad.to_dense() if leaf.grad.is_sparse else leaf.grad
                view.add_(whole.reshape(-1)[::every], alpha=share)
            leaf.grad = None

        return add

    pairs = zip(moved, views, strict=True)
    hooks = [leaf.register_post_accumulate_grad_hook(adding(view)) for leaf, view in pairs]  # type: ignore[no-untyped-call]
    try:
        torch.autograd.backward(loss, inputs=moved)
    finally:
        for hook in hooks:
            hook.remove()


def hessian_product(
    gradient: Sequence[Any], moved: list[Tensor], vector: list[Tensor], *, keep: bool
) -> Sequence[Tensor | None]:
    """The derivative of the gradient along a vector."""
    bent = [(g, v) for g, v in zip(gradient, vector, strict=True) if g is not None and g.requires_grad]
    if not bent:
        return [None] * len(moved)
    slopes, along = [g for g, _ in bent], [v for _, v in bent]
    return torch.autograd.grad(slopes, moved, along, retain_graph=keep, allow_unused=True)


def back_and_forth(loss: Tensor, outputs: Any, moved: list[Tensor]) -> tuple[Any, ...]:
    """What a product with the GGN needs: outputs f, the slope of the loss in f, a dummy u, and :math:`J^T u`."""
    if not isinstance(outputs, Tensor):
        raise SpecError(
            "kind='ggn' needs the outputs as one tensor, and a loss that depends on them; use kind='hessian'"
        )
    slope = torch.autograd.grad(loss, outputs, create_graph=True)[0]
    probe = torch.zeros_like(outputs, requires_grad=True)
    back = torch.autograd.grad(outputs, moved, probe, create_graph=True, allow_unused=True)
    return outputs, slope, probe, back


def ggn_product(
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


class Counted:
    """Counts the bytes that a graph built inside the block keeps."""

    def __enter__(self) -> Counted:
        self._seen: dict[int, int] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._note, lambda tensor: tensor)
        self._hooks.__enter__()
        return self

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._seen[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # holding the tensor itself would be a cycle: it holds the graph that holds it

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)
        self.bytes = sum(self._seen.values())


@contextlib.contextmanager
def derivatives(*, twice: bool = True) -> Iterator[None]:
    """Derivatives, and derivatives of derivatives, with kernels that have them; what has none is named.

    The fast kernels of attention, and of recurrent networks on a GPU, have a first derivative and no second.

    Args:
        twice: whether second derivatives are wanted.

    Yields:
        Nothing.

    Raises:
        SpecError: an operation has no second derivative.
        RuntimeError: whatever else goes wrong in the model.
    """
    with contextlib.ExitStack() as stack:
        if twice:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.enter_context(differentiated())
        try:
            yield
        except RuntimeError as fault:
            words = first_line(str(fault))
            if twice and any(sign in words for sign in _UNDERIVED):
                raise SpecError(
                    f"a part of the model or the loss has no second derivative ({words}); replace it, or use "
                    "how='differences'"
                ) from fault
            raise


def _check_twice(gradient: Sequence[Tensor | None]) -> None:
    """Torch silently leaves out what was marked as differentiable only once."""
    if operations(gradient) & {"Error", "NotImplemented"}:
        raise SpecError(
            "a part of the model or the loss has no second derivative (a function marked once_differentiable?); "
            "replace it, or use how='differences'"
        )


_UNDERIVED = ("derivative for", "is not implemented", "differentiate twice", "does not require grad", "checkpoint")
