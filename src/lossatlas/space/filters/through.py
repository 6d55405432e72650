r"""How does a step in a tensor reach the layer that uses it, through a mask or a parametrization?

With the weight W = f(V) of a layer and a direction d of the tensor V behind it, the layer sees the step J d, where J is
the derivative of f at V. Filter normalisation concerns what the layer sees: ‖(J d)_j‖ = ‖W_j‖ for each filter j.
Scaling the filters of d achieves this where each filter of W depends only on the same filter of V: for masks (pruning)
and functions of single weights. If f mixes filters (orthogonal, symmetric or low-rank weights), no scaling achieves it,
and the tensor does not move at random.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lossatlas.oneline import one_line
from lossatlas.space.filters.layout import Layout

__all__ = ["Through", "through"]

KNOWN = (["WeightNorm"], ["SpectralNorm"])
"""Parametrizations whose own filters are free in scale, so that the norm of the tensor behind suffices."""

LEAK = 1e-6


@dataclass(frozen=True)
class Through:
    """What lies between a tensor and its layer.

    Attributes:
        function: from the tensor to the layer's weight.
        mask: which entries count, for pruning; none for another function.
    """

    function: Callable[[Tensor], Tensor]
    mask: Tensor | None = None

    __repr__ = one_line

    def weight(self, tensor: Tensor) -> Tensor:
        """The weight that the layer uses."""
        with torch.no_grad():
            return self.function(tensor.detach())

    def step(self, tensor: Tensor, direction: Tensor) -> Tensor:
        """The step of that weight, to first order."""
        if self.mask is not None:
            return self.function(direction)
        at, way = tensor.detach(), direction.detach().to(tensor)
        step: Tensor = torch.func.jvp(self.function, (at,), (way,))[1]
        return step.detach()

    def kept(self, direction: Tensor) -> Tensor:
        """A direction without the entries that a mask removes."""
        return direction if self.mask is None else self.function(direction)


def through(
    modules: Mapping[str, nn.Module], path: str, name: str, tensor: Tensor, layout: Layout
) -> tuple[Through | None, str]:
    """Find what lies between a tensor and its layer.

    Args:
        modules: all modules by path.
        path: of the module that owns the tensor.
        name: of the tensor in it.
        tensor: the tensor itself.
        layout: its filters.

    Returns:
        What lies there, or none; and why the tensor cannot be moved at random, or nothing.
    """
    owner = modules[path]
    mask = owner._buffers.get(f"{name.removesuffix('_orig')}_mask") if name.endswith("_orig") else None
    if mask is not None and mask.shape == tensor.shape:
        kept = mask.detach()
        return Through(lambda t: t * kept.to(t), kept), ""
    if not isinstance(owner, parametrize.ParametrizationList):
        return None, ""
    kinds = [type(step).__name__.removeprefix("_") for step in owner.children()]
    if kinds in KNOWN:
        return None, ""
    between = ", ".join(kinds)
    if not owner.is_tensor:
        return None, f"behind {between}, which makes one weight of several tensors"
    found = Through(_function(owner))
    try:
        leaks = found.weight(tensor).shape != tensor.shape or _leaks(found, tensor, layout)
    except (RuntimeError, ValueError, TypeError):
        return None, f"behind {between}, whose derivative cannot be taken"
    if leaks:
        return None, f"behind {between}, which mixes the filters"
    return found, ""


def _function(owner: parametrize.ParametrizationList) -> Callable[[Tensor], Tensor]:
    """The parametrization as a function, on a copy in evaluation mode."""
    twin = copy.deepcopy(owner).eval().requires_grad_(False)
    return lambda tensor: torch.func.functional_call(twin, {"original": tensor}, ())


def _leaks(found: Through, tensor: Tensor, layout: Layout) -> bool:
    """Whether a step in every other filter moves the rest too."""
    size = [layout.shape[dim] if dim in layout.dims else 1 for dim in range(len(layout.shape))]
    even = (
        (torch.arange(layout.count) % 2 == 0).reshape(size).expand(layout.shape).reshape(tensor.shape).to(tensor.device)
    )
    drawn = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(tensor)
    step = found.step(tensor, torch.where(even, drawn, torch.zeros_like(drawn))).abs()
    outside = step[~even]
    return bool(outside.numel()) and float(outside.max()) > LEAK * float(step.max())
