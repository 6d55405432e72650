"""What carries the hidden units of a network, and which operations leave them as they are?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from lossatlas.oneline import one_line

__all__ = [
    "BINARY",
    "ELEMENTWISE",
    "IDLE",
    "PAIRS",
    "POOLS",
    "POOL_MODULES",
    "STEADY",
    "Group",
    "UnitAxis",
    "axes_of",
    "given",
]

_UNARY = """
relu relu_ relu6 gelu silu tanh sigmoid elu selu celu leaky_relu hardtanh hardswish hardsigmoid mish softplus softsign
dropout dropout1d dropout2d dropout3d alpha_dropout pow sqrt rsqrt exp log abs neg clamp square contiguous float to
type_as detach clone sin cos erf reciprocal identity
"""
ELEMENTWISE = frozenset(_UNARY.split())
_TWO = "add iadd sub isub mul imul truediv div maximum minimum add_ mul_ sub_ div_"
BINARY = frozenset(_TWO.split())
POOLS = frozenset(
    f"{kind}_pool{d}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max") for d in (1, 2, 3)
) | frozenset({"interpolate", "upsample"})
STEADY: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.SELU, nn.CELU, nn.LeakyReLU, nn.Hardtanh,
    nn.Hardswish, nn.Hardsigmoid, nn.Mish, nn.Softplus, nn.Softsign, nn.Dropout, nn.Dropout1d, nn.Dropout2d,
    nn.Dropout3d, nn.AlphaDropout, nn.Identity,
)  # fmt: skip
POOL_MODULES: tuple[type[nn.Module], ...] = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.Upsample,
)  # fmt: skip
PAIRS = (
    (("intermediate.dense",), "output.dense"),
    (("gate_proj", "up_proj"), "down_proj"),
    (("wi_0", "wi_1"), "wo"),
    (("wi",), "wo"),
    (("fc1",), "fc2"),
    (("lin1",), "lin2"),
    (("linear1",), "linear2"),
    (("c_fc",), "c_proj"),
)
"""Layers of an MLP by the names that libraries give them: what makes the hidden units, and what reads them."""

IDLE = frozenset({"size", "getattr", "dim", "eq", "_assert", "_assert_is_none"})
"""What returns no tensor."""


@dataclass(frozen=True, kw_only=True)
class UnitAxis:
    """One axis of a tensor that carries the units of a group.

    Attributes:
        tensor: its name.
        dim: which dimension.
        block: entries in a row that belong to one unit: above 1 after a flattened image.
    """

    tensor: str
    dim: int
    block: int = 1


@dataclass(frozen=True, kw_only=True)
class Group:
    """Units that can be permuted.

    Attributes:
        size: number of units.
        axes: where they are, the layer that makes them first.
    """

    size: int
    axes: tuple[UnitAxis, ...]

    __repr__ = one_line


def axes_of(groups: Mapping[str, Group]) -> dict[str, list[tuple[str, UnitAxis]]]:
    """The axes that move, by tensor: which group, and where."""
    found: dict[str, list[tuple[str, UnitAxis]]] = {}
    for name, group in groups.items():
        for axis in group.axes:
            found.setdefault(axis.tensor, []).append((name, axis))
    return found


def given(
    groups: Mapping[str, Iterable[tuple[str, int]]], shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, Group]]:
    """Groups that a user names: ``{"hidden": [("fc1.weight", 0), ("fc1.bias", 0), ("fc2.weight", 1)]}``."""
    for name, axes in groups.items():
        found = tuple(UnitAxis(tensor=tensor, dim=dim) for tensor, dim in axes)
        yield name, Group(size=shapes[found[0].tensor][found[0].dim], axes=found)
