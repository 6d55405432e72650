r"""How are products with a Hessian taken by differences of gradients, which are cheap, and how far off are they?

:math:`H v ≈ (∇L(θ + h v) - ∇L(θ - h v)) / 2 h` takes two gradients, six evaluations for the nine of a product by
derivatives, the memory of training and the fast kernels of training, which have one derivative. Too long a step picks
up the change of curvature, too short a one picks up rounding. The step is chosen once at each point, from a ladder,
where two neighbours agree best, and is compared with twice its length again and again: at the products 2, 4, 8 and so
on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lossatlas.curvature.stand import Stand

__all__ = ["Steps"]

_LADDER = {
    torch.float32: (3e-2, 1e-2, 3e-3, 1e-3, 3e-4),
    torch.float64: (1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
}
"""Lengths of steps, as shares of the norm of all weights."""

GLIMPSED = 1 << 18
"""How many numbers two products are compared by."""


class Steps:
    """Central differences of gradients.

    Args:
        stand: the weights.
        slope: the gradient with respect to some of them at their present values, as a vector, or a multiple of it added
            to one.
        dtype: number format of the gradients.

    Attributes:
        step: length of the step on either side, in parameter norm; NaN before the first product.
        error: the largest relative difference from the product with twice the step, of those that were compared.
    """

    def __init__(self, stand: Stand, slope: Callable[..., Tensor], dtype: torch.dtype) -> None:
        self._stand = stand
        self._slope = slope
        self._ladder = _LADDER[dtype]
        self.begin()

    def begin(self) -> None:
        """Forget the step, as at another point."""
        self.step = math.nan
        self.error = math.nan
        self.compared = 0
        self.count = 0

    @property
    def words(self) -> str:
        """How exact the products are, in a sentence; empty before the first."""
        if math.isnan(self.step):
            return ""
        return (
            f"Products are differences of gradients, {self.step:.2g} in parameter norm to either side: they are off by "
            f"about {self.error:.1g} of their length ({self.compared} of {self.count} compared with another step)."
        )

    def product(self, part: list[Tensor], where: Sequence[int], onto: Tensor | None = None) -> Tensor:
        """The product of a diagonal block with a vector.

        Args:
            part: the vector, as tensors.
            where: which tensors it is of.
            onto: a vector to which the product is added, in its memory.

        Returns:
            The product, as a vector, or the sum.
        """
        length = math.hypot(*(float(torch.linalg.vector_norm(tensor, dtype=tensor.dtype)) for tensor in part))
        if length == 0:
            return self._slope(where).zero_() if onto is None else onto
        if math.isnan(self.step):
            self._choose(part, where, length)
        self.count += 1
        compared = self.count > 1 and not self.count & (self.count - 1)
        other = self._difference(part, where, length, 2 * self.step, every=self._every(where)) if compared else None
        before = self._glimpse(onto, where) if onto is not None and compared else 0.0
        found = self._difference(part, where, length, self.step, onto)
        if other is not None:
            self.error = max(self.error, _gap(self._glimpse(found, where) - before, other))
            self.compared += 1
        return found

    def _difference(
        self,
        part: list[Tensor],
        where: Sequence[int],
        length: float,
        step: float,
        onto: Tensor | None = None,
        every: int = 1,
    ) -> Tensor:
        times = length / (2 * step)
        with self._stand.shifted(part, where, step / length):
            found = self._slope(where, onto, times, every)
        with self._stand.shifted(part, where, -step / length):
            return self._slope(where, found, -times, every)

    def _choose(self, part: list[Tensor], where: Sequence[int], length: float) -> None:
        weights = math.hypot(*(float(torch.linalg.vector_norm(tensor.detach())) for tensor in self._stand.moved)) or 1.0
        self.error, self.compared, last = math.inf, 1, None
        for share in self._ladder:
            here = self._difference(part, where, length, share * weights, every=self._every(where))
            if last is not None and ((gap := _gap(here, last)) < self.error or math.isnan(self.step)):
                self.error, self.step = gap, share * weights
            last = here

    def _every(self, where: Sequence[int]) -> int:
        """One in this many numbers of a tensor is compared."""
        return max(sum(self._stand.moved[place].numel() for place in where) // GLIMPSED, 1)

    def _glimpse(self, vector: Tensor, where: Sequence[int]) -> Tensor:
        """The numbers of a vector that are compared."""
        parts = torch.split(vector, [self._stand.moved[place].numel() for place in where])
        return torch.cat([part[:: self._every(where)] for part in parts])


def _gap(found: Tensor, other: Tensor) -> float:
    size = float(found.norm())
    return float((found - other).norm()) / size if size else 0.0
