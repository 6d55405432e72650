r"""How are extreme eigenvectors found? In a subspace that grows by its worst residual and is cut down when it is full.

Davidson's method (1975) without a preconditioner. From one vector it spans what Lanczos' method spans. It also begins
with several, as the eigenvectors of a point nearby; it knows the true residual :math:`‖H v - λ v‖` of every pair, not
an estimate from a recurrence; and cut down to its best pairs (thick restart; Wu and Simon 2000) it goes on with a
bounded number of vectors. All vectors stay at right angles to each other.

Where memory has no room for a subspace, see :mod:`lossatlas.curvature.recurrence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.curvature.asking import Asking, Multiplied, counted, dots, drawn
from lossatlas.oneline import one_line

__all__ = [
    "FLOOR", "MOST", "WHOLE", "Pairs", "Subspace", "completed", "dense", "extreme", "is_small", "most_products",
    "sizes_of",
]  # fmt: skip

FLOOR = 0.01
"""Eigenvalues smaller than this share of the largest are resolved only to the accuracy that this share would get."""

MOST = 200
"""Products after which an iteration gives up, unless told otherwise."""

_ANYWHERE = 2_718_281_828
"""Seed of vectors that are no user's: those that iterations begin with have small seeds."""

WHOLE = (24, 128)
"""Up to this size a matrix is built whole: for one eigenvalue at either end, and for more."""


def is_small(size: int, k: int) -> bool:
    """Whether a matrix is built whole where k eigenvalues are wanted at either end."""
    return size <= max(2 * k + 2, WHOLE[k > 1])


def most_products(size: int, k: int) -> int:
    """How many products both ends take at most.

    Args:
        size: of the matrix.
        k: how many eigenvalues at either end.

    Returns:
        As many as the matrix is large where it is built whole; else where the iteration gives up, and as many again for
        eigenvalues that it passed over.

    Example:
        >>> most_products(10, 1), most_products(1000, 1), most_products(1000, 2)
        (10, 200, 400)
    """
    return size if is_small(size, k) else MOST * (1 + (k > 1))


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Some approximate eigenpairs, ascending.

    Attributes:
        values: float64 [m].
        vectors: unit vectors in the format of the model, [m, n].
        residuals: float64 [m], norm of ``H v - λ v``.
    """

    values: np.ndarray
    vectors: Tensor
    residuals: np.ndarray

    __repr__ = one_line

    @property
    def sizes(self) -> np.ndarray:
        """float64 [m]: what residuals are compared with: the size of each eigenvalue, or ``FLOOR`` of the largest.

        Compared with the largest alone, a random vector in the cluster around zero would pass for the smallest
        eigenvector; compared with each alone, an eigenvalue near zero would never be good enough.
        """
        return sizes_of(self.values, self.values)


class Subspace:
    """Vectors at right angles to each other, and their products with a matrix.

    Args:
        matrix: what multiplies vectors.
        room: the largest number of vectors; as many products are kept, both in the format of the model and on its
            device.
        outside: unit vectors at right angles to each other, [m, n]: only the space at right angles to them is searched,
            with the matrix restricted to it.
    """

    def __init__(self, matrix: Multiplied, room: int, outside: Tensor | None = None) -> None:
        like: dict[str, Any] = {"dtype": matrix.dtype, "device": matrix.device}
        self._outside = torch.empty(0, matrix.size, **like) if outside is None else outside.to(**like)
        self.size = matrix.size - len(self._outside)
        self.room = min(room, self.size)
        self.count = 0
        self._vectors = torch.empty(self.room, matrix.size, **like)
        self._products = torch.empty_like(self._vectors)
        self._small = np.zeros((self.room, self.room))

    def add(self, vector: Tensor) -> Asking[bool]:
        """Add a vector and ask for its product; returns whether there was anything new in it."""
        vector = vector.to(self._vectors)
        length = vector.norm()
        if not length > 0:
            return False
        vector = vector / length
        basis = self._vectors[: self.count]
        for _ in range(2):  # twice is enough
            vector -= basis.T @ (basis @ vector)
            vector -= self._outside.T @ (self._outside @ vector)
        left = vector.norm()
        if left < 100 * torch.finfo(vector.dtype).eps:
            return False
        new = self._vectors[self.count]
        torch.div(vector, left, out=new)
        product = (yield new).to(new)
        if len(self._outside):
            inside = torch.from_numpy(dots(self._outside, product)).to(product)
            product = product - self._outside.T @ inside
        self._products[self.count] = product
        self.count += 1
        row = dots(self._vectors[: self.count], product)
        self._small[self.count - 1, : self.count] = self._small[: self.count, self.count - 1] = row
        return True

    def ends(self, low: int, high: int) -> tuple[Pairs, list[Tensor]]:
        """The ``low`` smallest and ``high`` largest pairs, and their residuals as vectors."""
        values, mixes = np.linalg.eigh(self._small[: self.count, : self.count])
        wanted = sorted({*range(min(low, self.count)), *range(max(self.count - high, 0), self.count)})
        mix = torch.from_numpy(mixes[:, wanted].T.copy()).to(self._vectors)
        vectors = mix @ self._vectors[: self.count]
        rest = mix @ self._products[: self.count]
        rest -= torch.from_numpy(values[wanted]).to(vectors)[:, None] * vectors
        residuals = np.sqrt([float(dots(row[None], row)[0]) for row in rest])
        return Pairs(values=values[wanted], vectors=vectors, residuals=residuals), list(rest)

    def shrink(self, each: int) -> None:
        """Keep only ``each`` pairs at either end; no product is needed."""
        values, mixes = np.linalg.eigh(self._small[: self.count, : self.count])
        kept = sorted({*range(min(each, self.count)), *range(max(self.count - each, 0), self.count)})
        mix = torch.from_numpy(mixes[:, kept].T.copy()).to(self._vectors)
        self._vectors[: len(kept)] = mix @ self._vectors[: self.count]
        self._products[: len(kept)] = mix @ self._products[: self.count]
        self.count = len(kept)
        self._small[: self.count, : self.count] = np.diag(values[kept])


def extreme(
    matrix: Multiplied,
    start: Tensor,
    *,
    k: int,
    tolerance: float,
    most: int,
    room: int = 40,
    outside: Tensor | None = None,
    anywhere: torch.Generator | None = None,
) -> Asking[Pairs]:
    """The k smallest and the k largest eigenpairs.

    Args:
        matrix: what multiplies vectors.
        start: vectors to begin with, [m, n].
        k: how many at either end.
        tolerance: wanted residual, relative to :attr:`Pairs.sizes`.
        most: products after which it gives up.
        room: vectors that are kept at most; ``2 k + 6`` where that is more.
        outside: see :class:`Subspace`.
        anywhere: draws a vector where what was found so far is mapped into itself; one whose vectors lie in what is
            searched already would end the search.

    Yields:
        Vectors to be multiplied.

    Returns:
        The pairs, with their true residuals.
    """
    space = Subspace(matrix, max(room, 2 * k + 6, len(start) + 2), outside)
    anywhere = torch.Generator().manual_seed(_ANYWHERE) if anywhere is None else anywhere
    used = 0
    for vector in start:
        used += yield from space.add(vector)
    if not space.count:
        used += yield from space.add(drawn(matrix, anywhere))
    while True:
        found, rest = space.ends(k, k)
        shares = found.residuals / found.sizes
        if space.count >= min(2 * k + 2, space.size) and (shares <= tolerance).all():
            return found
        if used >= most or space.count == space.size:
            return found
        if space.count == space.room:
            space.shrink(max(k + 2, space.room // 4))
        added = False
        for worst in np.argsort(-shares):
            added = added or (yield from space.add(rest[worst]))
        if not added:  # an invariant subspace: go on from anywhere outside it
            added = yield from space.add(drawn(matrix, anywhere))
            if not added:
                return found
        used += 1


def dense(matrix: Multiplied, k: int) -> Asking[Pairs]:
    """The k smallest and the k largest eigenpairs of a small matrix, by all of its columns.

    Args:
        matrix: what multiplies vectors.
        k: how many at either end; fewer where there are no more.

    Yields:
        The unit vectors.

    Returns:
        The pairs.
    """
    wide = torch.float32 if matrix.device.type == "mps" else torch.float64
    whole = torch.empty(matrix.size, matrix.size, dtype=wide, device=matrix.device)
    for row, unit in zip(whole, torch.eye(matrix.size, dtype=wide, device=matrix.device), strict=True):
        row.copy_((yield unit))
    full = whole.double().cpu().numpy()
    values, vectors = np.linalg.eigh((full + full.T) / 2)
    ends = sorted({*range(min(k, len(values))), *range(max(len(values) - k, 0), len(values))})
    rest = full @ vectors[:, ends] - vectors[:, ends] * values[ends]
    chosen = torch.from_numpy(vectors[:, ends].T.copy())
    return Pairs(values=values[ends], vectors=chosen, residuals=np.linalg.norm(rest, axis=0))


def completed(
    matrix: Multiplied, found: Pairs, *, k: int, tolerance: float, most: int, seed: int, room: int = 40
) -> Asking[tuple[Pairs, bool]]:
    """Pairs to which copies and neighbours are added that were passed over.

    From one vector, an iteration sees one vector of each eigenspace: of an eigenvalue with multiplicity ten it finds
    one copy, and then the next smaller ones, all converged. So the space at right angles to what was found is searched
    from another random vector, until nothing in it lies further out than the last of the k.

    Args:
        matrix: what multiplies vectors.
        found: k pairs at either end.
        k: how many at either end.
        tolerance: wanted residual, relative to :attr:`Pairs.sizes`.
        most: products after which it gives up.
        seed: of the random vectors.
        room: vectors that are kept at most.

    Yields:
        Vectors to be multiplied.

    Returns:
        The pairs, and whether the search came to its end.
    """
    used, generator = 0, torch.Generator().manual_seed(seed + 1)
    while True:
        if used >= most or len(found.values) < 2 * k:
            return found, False
        aside = drawn(matrix, generator)[None]
        for accuracy in (10 * tolerance, tolerance):  # a tenth of the accuracy often shows that nothing is there
            rest: dict[str, Any] = {"most": most - used, "room": room, "anywhere": generator}
            search = extreme(matrix, aside, k=1, tolerance=accuracy, outside=found.vectors, **rest)
            outer, count = yield from counted(search)
            used += count
            missed, aside = _beyond(found, outer, k, tolerance), outer.vectors
            if missed or not _beyond(found, outer, k, tolerance, reach=outer.residuals):
                break
        sure = bool((outer.residuals <= accuracy * sizes_of(outer.values, found.values)).all())
        if not missed:
            return found, sure
        start = torch.cat([found.vectors, outer.vectors[missed]])
        again = extreme(matrix, start, k=k, tolerance=tolerance, most=most - used, room=room, anywhere=generator)
        found, count = yield from counted(again)
        used += count


def _beyond(found: Pairs, aside: Pairs, k: int, tolerance: float, reach: np.ndarray | None = None) -> list[int]:
    """Which of the pairs aside lie further out than the last of k at their end, or may within their reach.

    Returns:
        Places among the pairs aside.
    """
    grain = max(tolerance**2, 100 * torch.finfo(found.vectors.dtype).eps)
    slack = grain * sizes_of(found.values, found.values)
    more = np.zeros(len(aside.values)) if reach is None else reach
    low = aside.values[0] - more[0] < found.values[k - 1] - slack[k - 1]
    high = aside.values[-1] + more[-1] > found.values[-k] + slack[-k]
    return sorted({place for place, is_out in ((0, low), (len(aside.values) - 1, high)) if is_out})


def sizes_of(values: np.ndarray, all_values: np.ndarray) -> np.ndarray:
    """What residuals are compared with, if the largest eigenvalue is among others."""
    floor = max(FLOOR * float(np.abs(all_values).max()), float(np.finfo(float).tiny))
    return np.asarray(np.maximum(np.abs(values), floor))
