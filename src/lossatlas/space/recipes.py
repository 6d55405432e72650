"""How is a random direction kept without its tensors? As a seed and a rule, from which each tensor is drawn again.

A stored direction takes as much memory as the weights. A :class:`Seeded` one takes a single number per filter: every
tensor has a generator of its own, so it can be drawn again at any time, in any order, and in pieces of a million
numbers, since a generator gives the same numbers whether asked for all at once or in parts.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError, unknown
from lossatlas.space.filters import Layout
from lossatlas.space.parameters import Parameters, inner, precise

if TYPE_CHECKING:
    from torch import nn

    from lossatlas.objective.function import Measurable
    from lossatlas.space.normalize import By

__all__ = ["PIECE", "STEP", "Seeded", "cut", "described", "drawn_in", "gathered", "generator_of", "gram", "pieces"]

PIECE = 2**20
"""Numbers in a piece. Pieces begin at multiples of 16, where torch's generator of normal numbers begins afresh too."""

STEP = 16


class Seeded(Mapping[str, Tensor]):
    """A random direction as a recipe: a mapping that draws each tensor when it is asked for.

    It holds the same numbers as :func:`lossatlas.directions.random` with the same arguments, in float32 (float64 for
    weights of that format), to the rounding of the filters' norms.

    Args:
        origin: an Objective, a model, or tensors by name; only the norms of its filters are kept.
        seed: the seed.
        stream: which of several independent directions of the same seed.
        by: ``"filter"``, ``"layer"``, ``"none"``, ``"head"``, ``"unit-filter"`` or ``"unit-layer"``.
        still: roles of tensors that do not move.
        only: patterns of names of the tensors that may move; by default all may.

    Attributes:
        identity: what makes the numbers, as text: for fingerprints and files.

    Raises:
        SpecError: an option is unknown, or is ``by="weight"`` (which needs the weights themselves), or nothing is left
            to move.

    Example:
        >>> layer = torch.nn.Linear(3, 2)
        >>> direction = Seeded(layer, seed=0)
        >>> torch.allclose(direction["weight"].norm(dim=1), layer.weight.norm(dim=1))
        True
    """

    def __init__(
        self,
        origin: Measurable | nn.Module | Parameters,
        *,
        seed: int = 0,
        stream: str = "x",
        by: By = "filter",
        still: Iterable[str] = ("bias", "norm"),
        only: str | Iterable[str] = (),
    ) -> None:
        from lossatlas.space import filters
        from lossatlas.space.filters.selection import patterns_of, without_quantised
        from lossatlas.space.filters.table import checked_still
        from lossatlas.space.normalize import WAYS, check_moving, described, plain

        if by not in WAYS or by == "weight":
            raise SpecError(unknown("by", by, [way for way in WAYS if way != "weight"]))
        roles = checked_still(still)
        point, table = described(origin)
        only = patterns_of(only)
        chosen = filters.matching(table, only) if only else without_quantised(origin, table)
        moving = [name for name in chosen if table[name].moves(roles)]
        check_moving(moving, table, by, roles)
        if between := [name for name in moving if table[name].through is not None]:
            raise SpecError(
                f"{between[0]!r} is pruned or parametrised, and its direction needs the whole tensor: stored=True"
            )
        self._key = f"{seed}/{stream}"
        self._by = by
        self._shapes = {name: tuple(point[name].shape) for name in moving}
        self._drawn = {name: drawn_in(point[name].dtype) for name in moving}
        self._called = plain(origin)
        self._layouts = {name: _layout(table[name].layout, by) for name in moving}
        self._wanted = self._wanted_norms(point)
        held = f"still {','.join(roles)}" + (f", only {','.join(only)}" if only else "")
        self.identity = f"random {seed}/{stream} by {by}, {held}, {len(moving)} tensors"

    def _wanted_norms(self, point: Parameters) -> dict[str, Tensor]:
        """The norm that each filter is to have, float64 [filters], by name; empty where none is prescribed.

        All of them lie in one block of memory that is allocated first: small tensors that stay, made between large ones
        that are freed, would keep the system from reusing the memory of the large ones.

        Returns:
            The norms.
        """
        if self._by == "none" or self._by.startswith("unit"):
            return {}
        sizes = [self._layouts[name].count for name in self._shapes]
        wanted = dict(zip(self._shapes, torch.split(torch.empty(sum(sizes), dtype=torch.float64), sizes), strict=True))
        for name, norms in wanted.items():
            layout, flat, at = self._layouts[name], gathered(point[name]).detach().reshape(-1), 0
            for start, end in self.ranges(name):
                part = _norms(layout, flat[start:end])
                norms[at : at + len(part)] = part
                at += len(part)
        return wanted

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __contains__(self, name: object) -> bool:
        return name in self._shapes

    def __getitem__(self, name: str) -> Tensor:
        """One tensor, drawn again."""
        return torch.cat(list(self.pieces(name, self.ranges(name)))).reshape(self._shapes[name])

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without making it."""
        return self._shapes[name]

    def ranges(self, name: str) -> list[tuple[int, int]]:
        """How a tensor is cut into pieces of whole filters: from where to where in its flat numbers."""
        layout, size = self._layouts[name], math.prod(self._shapes[name])
        if 0 not in layout.dims or size <= PIECE:
            return [(0, size)]
        inner = size // layout.shape[0]
        rows = max(STEP, PIECE // inner // STEP * STEP)
        starts = list(range(0, layout.shape[0], rows))
        if (layout.shape[0] - starts[-1]) * inner < STEP and len(starts) > 1:
            starts.pop()  # fewer than 16 numbers are drawn in another way
        ends = [*starts[1:], layout.shape[0]]
        return [(a * inner, b * inner) for a, b in zip(starts, ends, strict=True)]

    def pieces(self, name: str, ranges: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
        """The flat numbers of a tensor, piece by piece.

        Args:
            name: of the tensor.
            ranges: as :meth:`ranges` gives them, or the whole tensor as one.

        Yields:
            The pieces, in order.
        """
        if list(ranges) != self.ranges(name):
            yield self[name].reshape(-1)
            return
        generator, layout, wanted, at = (
            generator_of(f"{self._key}/{self._called.get(name, name)}"),
            self._layouts[name],
            self._wanted.get(name),
            0,
        )
        for start, end in ranges:
            drawn = torch.randn(end - start, generator=generator, dtype=self._drawn[name])
            if self._by == "none":
                yield drawn
                continue
            norms = _norms(layout, drawn)
            goal = torch.ones_like(norms) if wanted is None else wanted[at : at + len(norms)]
            at += len(norms)
            # A filter that is zero has no direction, and stays zero: giving it a length would invent one.
            factor = torch.where(norms > 0, goal / norms, 0.0)
            yield _scaled(layout, drawn, factor)


def drawn_in(dtype: torch.dtype) -> torch.dtype:
    """The format of a random direction: that of the weights, or single precision if theirs is shorter.

    Weights in a short format are moved in float32 and rounded once, so their directions are not rounded to it. The
    direction of complex weights is complex: its real and imaginary parts are independent.

    Returns:
        The format.
    """
    if dtype.is_complex:
        return torch.complex128 if dtype == torch.complex128 else torch.complex64
    return torch.float64 if dtype == torch.float64 else torch.float32


def generator_of(key: str) -> torch.Generator:
    """The generator of one tensor, seeded by seed, stream and the tensor's name."""
    number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") >> 1
    return torch.Generator().manual_seed(number)


def _layout(layout: Layout, by: str) -> Layout:
    return layout.by_layer if by.endswith("layer") else layout.by_head if by == "head" else layout


def _part(layout: Layout, flat: Tensor) -> Layout:
    """The layout of some whole rows."""
    if not layout.shape or flat.numel() == math.prod(layout.shape):
        return layout
    inner = math.prod(layout.shape[1:])
    return replace(layout, shape=(flat.numel() // inner, *layout.shape[1:]))


def _norms(layout: Layout, flat: Tensor) -> Tensor:
    """The norm of each filter of some whole rows, flat."""
    return _part(layout, flat).norms(flat).reshape(-1)


def _scaled(layout: Layout, flat: Tensor, factor: Tensor) -> Tensor:
    part = _part(layout, flat)
    shape = tuple(size if dim in part.dims else 1 for dim, size in enumerate(part.shape))
    return (precise(flat).reshape(part.shape) * factor.reshape(shape)).to(flat).reshape(-1)


def gathered(tensor: Tensor) -> Tensor:
    """All of a tensor, even if it is spread over processes (DTensor)."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def cut(directions: Sequence[Parameters], name: str, size: int) -> list[tuple[int, int]]:
    """How a tensor is cut so that all directions that move it are read in the same pieces."""
    ways = {tuple(d.ranges(name)) for d in directions if isinstance(d, Seeded) and name in d}
    if not ways and size:  # tensors: doubles of a whole embedding would take gigabytes
        return [(start, min(start + PIECE, size)) for start in range(0, size, PIECE)]
    return list(ways.pop()) if len(ways) == 1 else [(0, size)]


def pieces(direction: Parameters, name: str, ranges: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
    """The flat numbers of one tensor of any direction, piece by piece."""
    if isinstance(direction, Seeded):
        yield from direction.pieces(name, ranges)
        return
    flat = direction[name].reshape(-1)
    yield from (flat[start:end] for start, end in ranges)


def gram(directions: Sequence[Parameters]) -> np.ndarray:
    """The inner products of directions, float64 [k, k], with every tensor of a recipe made once and released.

    Returns:
        The matrix, symmetric.

    Example:
        >>> gram([{"w": torch.tensor([3.0, 4.0])}, {"w": torch.tensor([1.0, 0.0])}]).tolist()
        [[25.0, 3.0], [3.0, 1.0]]
    """
    sums: dict[tuple[int, int], list[float]] = {}
    for name in dict.fromkeys(itertools.chain(*directions)):
        own = [number for number, direction in enumerate(directions) if name in direction]
        size = _size(directions[own[0]], name)
        ranges = cut(directions, name, size)
        for parts in zip(*(pieces(directions[number], name, ranges) for number in own), strict=True):
            for (i, a), (j, b) in itertools.combinations_with_replacement(zip(own, parts, strict=True), 2):
                sums.setdefault((i, j), []).append(inner(a, b))
    table = np.zeros((len(directions), len(directions)))
    for (i, j), found in sums.items():
        table[i, j] = table[j, i] = math.fsum(found)
    return table


def _size(direction: Parameters, name: str) -> int:
    return math.prod(direction.shape(name)) if isinstance(direction, Seeded) else direction[name].numel()


def described(direction: Parameters) -> Any:
    """What stands for a direction in a fingerprint: its recipe, or its tensors."""
    return direction.identity if isinstance(direction, Seeded) else dict(direction)
