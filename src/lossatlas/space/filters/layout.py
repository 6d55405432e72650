"""How does a tensor split into filters? By a view, and by what each of its dimensions indexes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from lossatlas.space.parameters import precise

__all__ = ["ROLES", "Layout", "LayoutRule", "Role", "WithinRule", "along", "whole"]

Role = Literal["weight", "bias", "norm"]
ROLES: tuple[Role, ...] = ("weight", "bias", "norm")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a tensor splits into filters: view it as ``shape``, then ``dims`` index the filters.

    Attributes:
        shape: a shape with the same number of elements as the tensor.
        dims: the dimensions of ``shape`` that index the filters; the others run inside a filter. With no dimension the
            whole tensor is one filter.
        rule: name of the rule that chose it.
        heads: the dimensions that index attention heads, for ``by="head"``; none outside attention.
        parts: the dimensions that index layers fused into one tensor, for ``by="layer"``.
        role: ``"weight"``, ``"bias"`` or ``"norm"`` if the number of dimensions would suggest a wrong one.

    Example:
        >>> import torch
        >>> layout = Layout(shape=(4, 9), dims=(0,), rule="rows")
        >>> layout.norms(torch.ones(4, 3, 3)).flatten().tolist()
        [3.0, 3.0, 3.0, 3.0]
    """

    shape: tuple[int, ...]
    dims: tuple[int, ...]
    rule: str
    heads: tuple[int, ...] = ()
    parts: tuple[int, ...] = ()
    role: Role | None = None

    @property
    def count(self) -> int:
        """The number of filters."""
        return math.prod(self.shape[dim] for dim in self.dims)

    @property
    def size(self) -> int:
        """The number of weights in each filter."""
        return math.prod(self.shape) // max(self.count, 1)

    @property
    def by_head(self) -> Layout:
        """The same view with one filter for each attention head; itself outside attention."""
        return replace(self, dims=self.heads) if self.heads else self

    @property
    def by_layer(self) -> Layout:
        """The same view with one filter for each layer: the whole tensor, or each of the layers fused into it."""
        return replace(self, dims=self.parts)

    def norms(self, tensor: Tensor) -> Tensor:
        """The norm of each filter, shaped to broadcast against ``tensor.reshape(shape)``."""
        inside = tuple(dim for dim in range(len(self.shape)) if dim not in self.dims)
        viewed = precise(tensor.reshape(self.shape)).abs()  # of a complex number, its length in the plane
        return viewed.square().sum(inside, keepdim=True).sqrt() if inside else viewed


LayoutRule = Callable[[nn.Module, str, Tensor], Layout]
"""``(module, name within the module, tensor) -> Layout``."""

WithinRule = Callable[[nn.Module, str, Tensor], Layout | None]
"""The same, called for the tensors of submodules too (``"wq.weight"``); returns None where it does not apply."""


def along(tensor: Tensor, *dims: int, rule: str, **more: object) -> Layout:
    """The tensor as it is, with one of its dimensions indexing the filters.

    Returns:
        The layout.

    Example:
        >>> import torch
        >>> along(torch.zeros(3, 5), 1, rule="columns").count
        5
    """
    return Layout(shape=tuple(tensor.shape), dims=dims, rule=rule, **more)  # type: ignore[arg-type]


def whole(module: nn.Module, name: str, tensor: Tensor) -> Layout:
    """The whole tensor as one filter: what a vector or a scalar is, unless its module says otherwise."""
    return along(tensor, rule="one vector" if tensor.dim() else "one number")
