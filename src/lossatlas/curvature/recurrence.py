r"""What does a random vector reveal of a spectrum by Lanczos' recurrence, with three vectors in memory or all of them?

The vectors of the recurrence span what a subspace method spans, and its tridiagonal matrix has the same extreme
eigenvalues. Rounding lets the vectors lose their right angles once an eigenvalue has converged, and copies of it
appear; the extremes and the quadrature stay right (Paige 1972; Greenbaum 1989). So nothing has to be kept: eigenvectors
are gathered by going through the recurrence a second time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from lossatlas.curvature.asking import Asking, Multiplied, Onto, dots, drawn
from lossatlas.curvature.subspace import Pairs, sizes_of

__all__ = ["recurrence", "slim"]

Seen = Callable[[np.ndarray, np.ndarray], bool]


def recurrence(
    start: Tensor,
    steps: int,
    *,
    room: int = 0,
    enough: Seen | None = None,
    watch: Callable[[int, Tensor], object] | None = None,
) -> Asking[tuple[np.ndarray, np.ndarray]]:
    """Lanczos' recurrence from a vector.

    Args:
        start: the vector, [n], of any length but zero; it is written to.
        steps: products at most.
        room: vectors that are kept; with ``steps`` of them each vector is put at right angles to all before it, with
            fewer nothing is kept.
        enough: called with diagonal and side of the tridiagonal matrix after each step; returns whether to stop.
        watch: called with each vector and its number.

    Yields:
        Vectors to be multiplied.

    Returns:
        Diagonal and side of the tridiagonal matrix, float64 [m]; the last entry of the side belongs to the next step.
    """
    basis = torch.empty(steps, len(start), dtype=start.dtype, device=start.device) if room >= steps else None
    diagonal: list[float] = []
    beside: list[float] = []
    before, vector = None, start.div_(start.norm())
    grain = 10 * torch.finfo(start.dtype).eps
    del start  # when memory is short it must not outlive its step
    while True:
        if watch is not None:
            watch(len(diagonal), vector)
        if before is None:
            new = yield vector
        else:  # the product is added to what is subtracted, so that there are three vectors and no fourth
            new = yield Onto(vector, before.mul_(-beside[-1]))
        before = None
        diagonal.append(float(dots(vector[None], new)[0]))
        new.sub_(vector, alpha=diagonal[-1])
        if basis is not None:
            basis[len(diagonal) - 1] = vector
            for _ in range(2):  # twice is enough
                new -= basis[: len(diagonal)].T @ (basis[: len(diagonal)] @ new)
        beside.append(float(np.sqrt(dots(new[None], new)[0])))
        told = np.array(diagonal), np.array(beside)
        spent = beside[-1] <= grain * max(map(abs, diagonal))
        if spent or len(diagonal) == steps or (enough is not None and enough(*told)):
            return told
        before, vector = vector, new.div_(beside[-1])


def slim(matrix: Multiplied, seed: int, *, tolerance: float, most: int, vectors: bool) -> Asking[Pairs]:
    """The smallest and the largest eigenpair, with three vectors in memory; five where eigenvectors are wanted.

    Args:
        matrix: what multiplies vectors.
        seed: of the vector to begin with.
        tolerance: wanted residual, relative to :attr:`~lossatlas.curvature.subspace.Pairs.sizes`.
        most: products after which it gives up.
        vectors: whether eigenvectors are wanted, which takes as many products again, and two.

    Yields:
        Vectors to be multiplied.

    Returns:
        The pairs; without vectors the residuals are those of the recurrence.
    """

    def enough(diagonal: np.ndarray, beside: np.ndarray) -> bool:
        values, _, rest = _ends(diagonal, beside)
        return len(diagonal) > 2 and bool((rest <= tolerance * sizes_of(values, values)).all())

    steps = max((most - 2) // 2, 2) if vectors else most
    diagonal, beside = yield from recurrence(drawn(matrix, torch.Generator().manual_seed(seed)), steps, enough=enough)
    values, mixes, rest = _ends(diagonal, beside)
    if not vectors:
        return Pairs(values=values, vectors=torch.empty(0, matrix.size, dtype=matrix.dtype), residuals=rest)
    found = torch.zeros(2, matrix.size, dtype=matrix.dtype, device=matrix.device)

    def gather(number: int, vector: Tensor) -> None:
        for row, mix in zip(found, mixes[number], strict=True):
            row.add_(vector, alpha=float(mix))

    yield from recurrence(drawn(matrix, torch.Generator().manual_seed(seed)), len(diagonal), watch=gather)
    exact = []
    for place, vector in enumerate(found):
        vector /= vector.norm()
        product = (yield vector).to(vector)
        values[place] = dots(vector[None], product)[0]
        product = product.sub(vector, alpha=float(values[place]))
        exact.append(float(np.sqrt(dots(product[None], product)[0])))
    return Pairs(values=values, vectors=found, residuals=np.array(exact))


def _ends(diagonal: np.ndarray, beside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both ends of a tridiagonal matrix: values [2], how their vectors mix [m, 2], and residuals [2]."""
    values, mixes = scipy.linalg.eigh_tridiagonal(diagonal, beside[:-1])
    return values[[0, -1]], mixes[:, [0, -1]], np.abs(beside[-1] * mixes[-1, [0, -1]])
