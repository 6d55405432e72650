"""How does a dictionary of tensors serve as a vector? Linear algebra by name, summed in double precision."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.oneline import verb_of

__all__ = [
    "PART",
    "Parameters",
    "check_same_shapes",
    "combine",
    "difference",
    "dot",
    "inner",
    "norm",
    "parts",
    "precise",
]

Parameters = Mapping[str, Tensor]
"""Tensors by name: a point or a direction in parameter space. A name that a direction lacks does not move."""

PART = 2**22
"""Entries of a tensor that are turned into doubles at once."""


def dot(a: Parameters, b: Parameters) -> float:
    r"""Inner product :math:`\sum_{i} a_i b_i` over the names that both have.

    A complex number counts as its two real parts: :math:`\operatorname{Re} \sum_i \bar a_i b_i`.

    Returns:
        The product, summed in double precision.

    Example:
        >>> dot({"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([3.0, 4.0]), "b": torch.ones(1)})
        11.0
    """
    return math.fsum(part for name in a if name in b for part in _products(a[name], b[name]))


def _products(a: Tensor, b: Tensor) -> Iterator[float]:
    """The inner product of two tensors, a part at a time: doubles of a whole embedding would take gigabytes."""
    for one, other in zip(parts(a), parts(b), strict=True):
        yield inner(one, other)


def inner(one: Tensor, other: Tensor) -> float:
    """The inner product of two tensors of one shape, summed in double precision; of complex ones, its real part."""
    a, b = precise(one), precise(other)
    if a.is_complex() or b.is_complex():
        return float(torch.sum(a.conj() * b).real)
    return float(torch.sum(a * b))


def parts(tensor: Tensor) -> Sequence[Tensor]:
    """A tensor in parts that are small as doubles, or the tensor itself if it is small or spread over devices.

    Returns:
        Views of the tensor, which together are all of it.

    Example:
        >>> len(parts(torch.empty(3)))
        1
    """
    if tensor.numel() <= PART or type(tensor) not in (Tensor, nn.Parameter):
        return (tensor,)
    found: tuple[Tensor, ...] = tensor.detach().reshape(-1).split(PART)  # type: ignore[no-untyped-call]
    return found


def precise(tensor: Tensor) -> Tensor:
    """The tensor in double precision; on the CPU where its device has none (Apple's GPU)."""
    own = (tensor.cpu() if tensor.device.type == "mps" else tensor).detach()
    return own.to(torch.complex128) if own.is_complex() else own.double()


def norm(a: Parameters) -> float:
    """Euclidean norm.

    Returns:
        The norm, summed in double precision.

    Example:
        >>> norm({"w": torch.tensor([3.0]), "b": torch.tensor([4.0])})
        5.0
    """
    return math.sqrt(dot(a, a))


def combine(base: Tensor, steps: Iterable[tuple[float, Tensor]]) -> Tensor:
    """``base + c1 * d1 + c2 * d2 + …``, rounded only once where the format is short (bfloat16, float16).

    Returns:
        A new tensor in the format of ``base``.

    Example:
        >>> combine(torch.ones(2), [(2.0, torch.ones(2)), (-1.0, torch.tensor([0.0, 1.0]))]).tolist()
        [3.0, 2.0]
    """
    total = base.float() if base.dtype in (torch.bfloat16, torch.float16) else base
    for coordinate, direction in steps:
        total = torch.add(total, direction.to(total), alpha=float(coordinate))
    return total.to(base.dtype)


def difference(a: Parameters, b: Parameters) -> dict[str, Tensor]:
    """``a - b``, both with the same names and shapes.

    Returns:
        Tensors by name.

    Raises:
        SpecError: the names or shapes differ; the message names the first difference.

    Example:
        >>> difference({"w": torch.tensor([3.0])}, {"w": torch.tensor([1.0])})
        {'w': tensor([2.])}
    """
    check_same_shapes(a, b)
    return {name: a[name].detach().to(b[name]) - b[name].detach() for name in b}


def check_same_shapes(got: Parameters, expected: Parameters) -> None:
    """Check that two points belong to the same architecture.

    Raises:
        SpecError: the names or shapes differ; the message counts them and names the first.
    """
    missing = [name for name in expected if name not in got]
    shapes = [name for name in expected if name in got and got[name].shape != expected[name].shape]
    if missing:
        raise SpecError(
            f"another architecture: {len(missing)} of {len(expected)} tensors missing, first {missing[0]!r}"
        )
    if shapes:
        first = shapes[0]
        raise SpecError(
            f"another architecture: {len(shapes)} of {len(expected)} tensors "
            f"{verb_of(len(shapes), 'has')} another shape, first {first!r}: "
            f"got {tuple(got[first].shape)}, expected {tuple(expected[first].shape)}"
        )
