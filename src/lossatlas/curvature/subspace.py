r"""How extreme eigenvectors are found: a subspace that grows by its worst residual, and is cut down when it is full.

Davidson's method (1975) without a preconditioner. From one vector it spans what Lanczos' method spans. It also begins
with several, as the eigenvectors of a point nearby; it knows the true residual :math:`‖H v - λ v‖` of every pair, not
one that a recurrence promises; and cut down to its best pairs (thick restart; Wu and Simon 2000) it goes on with a
bounded number of vectors. All vectors stay at right angles to each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lossatlas.curvature.products import Matrix

__all__ = ["FLOOR", "Pairs", "Subspace", "extreme"]

FLOOR = 0.01
"""Eigenvalues smaller than this share of the largest are not told apart from it with more than its accuracy."""


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

    @property
    def sizes(self) -> np.ndarray:
        """float64 [m]: what residuals are held against: the size of each eigenvalue, or ``FLOOR`` of the largest.

        Held against the largest alone, a random vector in the cluster around zero would pass for the smallest
        eigenvector; held against each alone, an eigenvalue near zero would never be good enough.
        """
        sizes = np.abs(self.values)
        return np.asarray(np.maximum(sizes, max(FLOOR * sizes.max(), np.finfo(float).tiny)))


class Subspace:
    """Vectors at right angles to each other, and their products with a matrix.

    Args:
        matrix: multiplies vectors.
        room: at most so many vectors; as many products are kept, both in the format of the model.
    """

    def __init__(self, matrix: Matrix, room: int) -> None:
        self.matrix = matrix
        self.room = min(room, matrix.size)
        self.count = 0
        self._vectors = torch.empty(self.room, matrix.size, dtype=matrix.dtype)
        self._products = torch.empty_like(self._vectors)
        self._small = np.zeros((self.room, self.room))

    def add(self, vector: Tensor) -> bool:
        """Add a vector and multiply it; says whether there was anything new in it."""
        vector = vector.to(self._vectors)
        length = vector.norm()
        if not length > 0:
            return False
        vector = vector / length
        basis = self._vectors[: self.count]
        for _ in range(2):  # twice is enough
            vector = vector - basis.T @ (basis @ vector)
        left = vector.norm()
        if left < 100 * torch.finfo(vector.dtype).eps:
            return False
        self._vectors[self.count] = vector / left
        product = self.matrix @ self._vectors[self.count].double()
        self._products[self.count] = product.to(vector)
        self.count += 1
        row = [float(earlier.double() @ product) for earlier in self._vectors[: self.count]]
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
        residuals = rest.double().norm(dim=1).numpy()
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


def extreme(matrix: Matrix, start: Tensor, *, k: int, tolerance: float, most: int, room: int = 40) -> Pairs:
    """The k smallest and the k largest eigenpairs.

    Args:
        matrix: multiplies vectors.
        start: vectors to begin with, [m, n].
        k: how many at either end.
        tolerance: wanted residual, relative to :attr:`Pairs.sizes`.
        most: products after which it gives up.
        room: vectors that are kept at most.

    Returns:
        The pairs, with their true residuals.
    """
    space = Subspace(matrix, max(room, 4 * k + 4, len(start) + 2))
    used = 0
    for vector in start:
        used += space.add(vector)
    while True:
        found, rest = space.ends(k, k)
        shares = found.residuals / found.sizes
        if space.count >= min(2 * k + 2, matrix.size) and (shares <= tolerance).all():
            return found
        if used >= most or space.count == matrix.size:
            return found
        if space.count == space.room:
            space.shrink(max(k + 2, space.room // 4))
        added = any(space.add(rest[worst]) for worst in np.argsort(-shares))
        if not added:  # an invariant subspace: go on from anywhere outside it
            generator = torch.Generator().manual_seed(used)
            if not space.add(torch.randn(matrix.size, generator=generator, dtype=torch.float64)):
                return found
        used += 1
