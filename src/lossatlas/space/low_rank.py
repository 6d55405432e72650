"""Random directions of low rank: every matrix is a product of two thin ones, and every filter keeps its norm.

A point of a plane of such directions is a LoRA adapter (Hu et al. 2021, arXiv 2106.09685) of the model at the origin,
so many points share the product with the weights themselves, see ``lossatlas.evaluate.shared``. The distribution is not
that of Li et al.: within a matrix, the filters of a direction lie in a space of few dimensions. As the rank grows it
approaches theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind
from lossatlas.objective.function import Measurable
from lossatlas.oneline import one_line
from lossatlas.space import filters
from lossatlas.space.directions import Direction
from lossatlas.space.filters.selection import without_quantised
from lossatlas.space.normalize import STILL, By, described, normalize, plain
from lossatlas.space.parameters import Parameters, precise
from lossatlas.space.recipes import drawn_in, generator_of

__all__ = ["Factors", "LowRank", "factors_of", "low_rank"]

CLOSE = 1e-4
"""How close a product of two thin matrices comes to the matrix that it represents, relative to its norm; in float32."""


@dataclass(frozen=True)
class Factors:
    """Two matrices whose product is a direction of a weight.

    Attributes:
        left: [m, r].
        right: [r, n].
    """

    __repr__ = one_line

    left: Tensor
    right: Tensor

    @property
    def rank(self) -> int:
        """The number of columns of the left one."""
        return self.left.shape[1]


class LowRank(Direction):
    """A direction whose matrices are known as products of two thin ones.

    Attributes:
        rank: largest rank of a matrix.
        factors: of each matrix, by name.
    """

    def __init__(self, tensors: Parameters, factors: Mapping[str, Factors], rank: int) -> None:
        super().__init__(tensors, f"random direction of rank {rank}")
        self.factors = dict(factors)
        self.rank = rank


def low_rank(
    origin: Measurable | nn.Module | Parameters,
    *,
    rank: int = 4,
    seed: int = 0,
    stream: str = "x",
    by: By = "filter",
    still: Iterable[str] = STILL,
    only: str | Iterable[str] = (),
) -> LowRank:
    r"""A random direction with matrices of low rank, normalised: :math:`D = A B` with Gaussian A [m, r] and B [r, n].

    A convolution counts as a matrix with a row for each filter. Anything else is drawn as by :func:`random`.

    Args:
        origin: an Objective, a model, or tensors by name.
        rank: r; a matrix with fewer rows or columns is drawn in full.
        seed: the seed.
        stream: which of several independent directions of the same seed.
        by: the normalisation, see :func:`lossatlas.normalize`; not ``"weight"``, which would raise the rank.
        still: roles of tensors that do not move.
        only: patterns of names of the tensors that may move; by default all may.

    Returns:
        Tensors by name, with their factors.

    Raises:
        SpecError: a rank below 1, or an option that :func:`random` refuses.

    Example:
        >>> layer = nn.Linear(30, 20)
        >>> direction = low_rank(layer, rank=2)
        >>> int(torch.linalg.matrix_rank(direction["weight"]))
        2
        >>> torch.allclose(direction["weight"].norm(dim=1), layer.weight.norm(dim=1), rtol=1e-4)
        True
    """
    check_kind("rank", rank, int, "a small number, such as 4")
    if rank < 1:
        raise SpecError(f"rank={rank}; expected at least 1")
    if by == "weight":
        raise SpecError("by='weight' scales each weight, which destroys the low rank; use 'filter' or 'layer'")
    point, table = described(origin)
    chosen = filters.matching(table, only) if only else without_quantised(origin, table)
    called = plain(origin)
    raw, pairs = {}, {}
    for name in chosen:
        like = point[name]
        generator = generator_of(f"{seed}/{stream}/{called.get(name, name)}/rank {rank}")
        rows = like.shape[0] if like.dim() > 1 else 1
        columns = like.numel() // max(rows, 1)
        if rank < min(rows, columns) and not like.is_complex():
            left, right = (
                torch.randn(shape, generator=generator, dtype=drawn_in(like.dtype)).to(like.device)
                for shape in ((rows, rank), (rank, columns))
            )
            pairs[name] = Factors(left, right)
            raw[name] = (left @ right).reshape(like.shape)
        else:
            raw[name] = torch.randn(like.shape, generator=generator, dtype=drawn_in(like.dtype)).to(like.device)
    found = normalize(raw, origin, by=by, still=still)
    kept = {name: _scaled(pairs[name], raw[name], tensor) for name, tensor in found.items() if name in pairs}
    return LowRank(found, {name: pair for name, pair in kept.items() if pair is not None}, rank)


def _scaled(pair: Factors, raw: Tensor, found: Tensor) -> Factors | None:
    """The factors of a direction whose rows or columns were scaled; none if it was scaled in another way."""
    before, after = precise(raw.reshape(raw.shape[0], -1)), precise(found.reshape(found.shape[0], -1))
    for dim, left, right in ((1, True, False), (0, False, True)):
        norms = before.norm(dim=dim)
        scale = (after.norm(dim=dim) / norms.clamp_min(torch.finfo(norms.dtype).tiny)).to(pair.left)
        made = Factors(pair.left * scale[:, None] if left else pair.left, pair.right * scale if right else pair.right)
        if _is_near(made, after):
            return made
    return None


def factors_of(tensor: Tensor, rank: int) -> Factors | None:
    """The two thin matrices that a direction of a weight is the product of.

    Args:
        tensor: [m, ...], seen as a matrix of m rows.
        rank: the largest that is accepted.

    Returns:
        The factors, of the smallest rank that gives the tensor up to rounding; ``None`` if that is above ``rank``.

    Example:
        >>> found = factors_of(torch.outer(torch.ones(3), torch.arange(4.0)), 2)
        >>> found.rank
        1
    """
    matrix = precise(tensor.detach().reshape(tensor.shape[0], -1))
    wide = min(rank + 8, *matrix.shape)
    if wide < min(matrix.shape):
        sketch = matrix @ torch.randn(
            matrix.shape[1], wide, generator=torch.Generator().manual_seed(0), dtype=matrix.dtype
        ).to(matrix)
        basis = torch.linalg.qr(matrix @ (matrix.T @ torch.linalg.qr(sketch).Q)).Q
        u, sizes, v = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
        u = basis @ u
    else:
        u, sizes, v = torch.linalg.svd(matrix, full_matrices=False)
    keep = min(int((sizes > 1e-6 * sizes[0]).sum()), rank) if len(sizes) and float(sizes[0]) > 0 else 0
    made = Factors((u[:, :keep] * sizes[:keep]).to(tensor), v[:keep].to(tensor))
    return made if _is_near(made, matrix) else None


def _is_near(made: Factors, matrix: Tensor) -> bool:
    return float((precise(made.left @ made.right) - matrix).norm()) <= CLOSE * float(matrix.norm())
