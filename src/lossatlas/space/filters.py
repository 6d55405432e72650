"""What is a filter: which entries of a tensor are scaled together, by type of module, from one table of rules.

A *filter* is what produces one output of a layer: all weights that enter one channel of a convolution, one unit of a
linear layer, or the vector of one token (Li et al. 2018, section 4). Scaling a filter by a constant can often be undone
by the next layer, so the size of a filter carries no meaning, and a random direction must be scaled to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvTransposeNd

from lossatlas.errors import SpecError, unknown
from lossatlas.space.parameters import precise

Role = Literal["weight", "bias", "norm"]
ROLES: tuple[Role, ...] = ("weight", "bias", "norm")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a tensor splits into filters: view it as ``shape``, then ``dims`` number the filters.

    Attributes:
        shape: a shape with the same number of elements as the tensor.
        dims: the dimensions of ``shape`` that number the filters; the others run inside a filter. No dimension at all
            makes the tensor one filter.
        rule: name of the rule that chose it.

    Example:
        >>> import torch
        >>> layout = Layout(shape=(4, 9), dims=(0,), rule="rows")
        >>> layout.norms(torch.ones(4, 3, 3)).flatten().tolist()
        [3.0, 3.0, 3.0, 3.0]
    """

    shape: tuple[int, ...]
    dims: tuple[int, ...]
    rule: str

    @property
    def count(self) -> int:
        """The number of filters."""
        return math.prod(self.shape[dim] for dim in self.dims)

    def norms(self, tensor: Tensor) -> Tensor:
        """The norm of each filter, shaped to broadcast against ``tensor.reshape(shape)``."""
        inside = tuple(dim for dim in range(len(self.shape)) if dim not in self.dims)
        viewed = precise(tensor.reshape(self.shape))
        return viewed.square().sum(inside, keepdim=True).sqrt() if inside else viewed.abs()


LayoutRule = Callable[[nn.Module, str, Tensor], Layout]
"""``(module, name within the module, tensor) -> Layout``."""


def rows(module: nn.Module, name: str, tensor: Tensor) -> Layout:
    """One filter for each index of the first dimension."""
    return Layout(
        shape=tuple(tensor.shape), dims=(0,), rule=_ROW_NAMES.get(_kind(module), "rows of the first dimension")
    )


def transposed_convolution(module: nn.Module, name: str, tensor: Tensor) -> Layout:
    """Output channels of a transposed convolution, whose weight is stored [in, out / groups, ...].

    With g groups, output channel (j, o) sums over the input channels of group j only.
    """
    groups = int(module.groups)  # type: ignore[arg-type]
    shape = (groups, tensor.shape[0] // groups, *tensor.shape[1:])
    return Layout(shape=shape, dims=(0, 2), rule="output channels (transposed)")


def whole(module: nn.Module, name: str, tensor: Tensor) -> Layout:
    """The whole tensor as one filter: what a vector or a scalar is, unless its module says otherwise."""
    return Layout(shape=tuple(tensor.shape), dims=(), rule="one vector" if tensor.dim() else "one number")


_ROW_NAMES = {
    "Conv1d": "output channels",
    "Conv2d": "output channels",
    "Conv3d": "output channels",
    "Linear": "output units",
    "Bilinear": "output units",
    "Embedding": "tokens",
    "EmbeddingBag": "tokens",
}

RULES: dict[type[nn.Module], LayoutRule] = {
    nn.Conv1d: rows,
    nn.Conv2d: rows,
    nn.Conv3d: rows,
    _ConvTransposeNd: transposed_convolution,
    nn.Linear: rows,
    nn.Bilinear: rows,
    nn.Embedding: rows,
    nn.EmbeddingBag: rows,
}
"""The rule for a module's tensors of two and more dimensions; the nearest class among its bases decides."""

NORMS: tuple[type[nn.Module], ...] = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""Normalising layers. A class whose name ends in "Norm", as many models define, counts as one too."""


def register(module_type: type[nn.Module], rule: LayoutRule) -> None:
    """Say how the tensors of a module class split into filters.

    Args:
        module_type: the class; its subclasses follow, unless they have a rule of their own.
        rule: ``(module, name, tensor) -> Layout``, called for tensors of two and more dimensions.

    Example:
        >>> class Columns(nn.Linear):
        ...     pass
        >>> register(Columns, lambda module, name, t: Layout(shape=tuple(t.shape), dims=(1,), rule="columns"))
        >>> table(Columns(3, 5, bias=False))["weight"].layout.count
        3
        >>> del RULES[Columns]
    """
    RULES[module_type] = rule


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a tensor, the module it belongs to, its filters and its role.

    Attributes:
        name: name in the model.
        shape: shape of the tensor.
        module: class of the module.
        layout: how it splits into filters.
        role: ``"weight"``, ``"bias"`` or ``"norm"``. Every vector outside a normalising layer counts as a bias, as in
            the original code, which holds all tensors of one dimension still.
        default: no rule was made for this module, so the default one is used: rows, or one vector.
        frozen: the tensor has ``requires_grad=False`` and never moves.
        also: further names of the same tensor, where it is tied.
    """

    name: str
    shape: tuple[int, ...]
    module: str
    layout: Layout
    role: Role
    default: bool = False
    frozen: bool = False
    also: tuple[str, ...] = field(default=())

    def moves(self, still: Iterable[str]) -> bool:
        """Whether the tensor moves when the given roles are held still."""
        return not self.frozen and self.role not in still


def table(model: nn.Module) -> dict[str, Row]:
    """The filters of every parameter of a model, tied tensors once, in the order of ``named_parameters``.

    Args:
        model: any module.

    Returns:
        A row for each parameter, by name.

    Example:
        >>> [(row.name, row.role, row.layout.count) for row in table(nn.Linear(3, 5)).values()]
        [('weight', 'weight', 5), ('bias', 'bias', 1)]
    """
    owners: dict[int, Row] = {}
    aliases: dict[int, list[str]] = {}
    for path, module in model.named_modules():
        for name, tensor in module._parameters.items():
            if tensor is None:
                continue
            full = f"{path}.{name}" if path else name
            if id(tensor) in owners:
                aliases.setdefault(id(tensor), []).append(full)
            else:
                owners[id(tensor)] = _row(full, module, name, tensor)
    named = {row.name: replace(row, also=tuple(aliases.get(key, ()))) for key, row in owners.items()}
    return {name: named[name] for name, _ in model.named_parameters()}


def _row(full: str, module: nn.Module, name: str, tensor: Tensor) -> Row:
    rule = next((RULES[base] for base in type(module).__mro__ if base in RULES), None)
    role = _role(module, tensor)
    layout = (rule or rows)(module, name, tensor) if tensor.dim() >= 2 else whole(module, name, tensor)
    return Row(
        name=full,
        shape=tuple(tensor.shape),
        module=_kind(module),
        layout=layout,
        role=role,
        default=rule is None and role == "weight",
        frozen=not tensor.requires_grad,
    )


def _role(module: nn.Module, tensor: Tensor) -> Role:
    if isinstance(module, NORMS) or _kind(module).endswith("Norm"):
        return "norm"
    return "weight" if tensor.dim() >= 2 else "bias"


def _kind(module: nn.Module) -> str:
    return type(module).__name__


def by_shape(parameters: Mapping[str, Tensor]) -> dict[str, Row]:
    """A table for tensors whose modules are unknown: rows for two and more dimensions, one vector otherwise.

    Wrong for transposed convolutions, and vectors of normalising layers count as biases: pass the model where there
    is one.
    """
    plain = nn.Module()
    found = {name: _row(name, plain, name, tensor) for name, tensor in parameters.items()}
    return {name: replace(row, frozen=False, module="?") for name, row in found.items()}


def checked_still(still: Iterable[str]) -> tuple[Role, ...]:
    """The roles held still, checked.

    Raises:
        SpecError: a role that does not exist; the message lists those that do.
    """
    if isinstance(still, str):
        raise SpecError(f"still={still!r} is a text; expected a tuple of roles, for instance ({still!r},)")
    roles = tuple(still)
    for role in roles:
        if role not in ROLES:
            raise unknown("still", role, ROLES)
    return roles  # type: ignore[return-value]
