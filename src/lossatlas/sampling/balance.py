r"""Which subset has the means of all samples? In a stratified one, samples are exchanged until it is balanced.

A subset S is *balanced* on variables x if their means over it are those over all samples (J.-C. Deville, Y. Tillé,
"Efficient balanced sampling: the cube method", Biometrika 91, 2004): what depends on them linearly then has no error.
Here they are the losses at the anchors and their logarithms, so that the loss between anchors has little. How far a
subset is from balanced is the Mahalanobis distance

.. math:: d(S) = (\bar x_S - \bar x)^T Σ^{-1} (\bar x_S - \bar x),

for which the basis does not matter (K. L. Morgan, D. B. Rubin, "Rerandomization to improve covariate balance in
experiments", Ann. Statist. 40, 2012). Instead of drawing until it is small, a stratified subset exchanges samples, each
time the best of some pairs drawn at random.

A balanced subset is exact where it was balanced, so its errors there prove nothing. The stated errors are those of
subsets chosen again without some of the anchors, see :class:`lossatlas.sampling.correction.Anchors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from lossatlas.objective.part import every, logarithms, strata
from lossatlas.oneline import one_line

__all__ = ["Balance", "standardised", "whitened"]

ROUNDS = 200
"""Exchanges at most; with eight times as many the errors between anchors are hardly smaller."""

PAIRS = 100
"""Exchanges that are compared before one is made."""

TELLS = 1e-6
"""Share of the largest variance: a direction with less adds nothing to the others."""

DIGITS = 6
"""Decimals of a variable, so that equal samples stay equal whatever the order of a sum."""


@dataclass(frozen=True)
class Balance:
    """What a subset of the samples is balanced on.

    Attributes:
        order: int64 [N], the samples, similar ones side by side.
        variables: float32 [N, p], centred, with unit variances, uncorrelated.
    """

    order: np.ndarray
    variables: np.ndarray

    __repr__ = one_line

    @classmethod
    def on(cls, losses: np.ndarray) -> Self:
        """Balance on the losses at some anchors.

        Args:
            losses: float64 [anchors, N], finite.

        Returns:
            The order and the variables.

        Example:
            >>> Balance.on(np.array([[1.0, 2.0, 4.0, 8.0]])).variables.shape
            (4, 2)
        """
        rows = [standardised(losses), standardised(logarithms(losses))]
        return cls(strata(losses), whitened(np.concatenate(rows)))

    def choose(self, count: int, seed: int) -> np.ndarray:
        """A balanced subset.

        Args:
            count: its size.
            seed: of the stratified subset that it begins with, and of the exchanges.

        Returns:
            Samples, int64 [count], increasing.

        Example:
            >>> losses = np.random.default_rng(0).exponential(size=(3, 500))
            >>> chosen = Balance.on(losses).choose(50, seed=0)
            >>> bool(np.allclose(losses[:, chosen].mean(axis=1), losses.mean(axis=1), rtol=0.02))
            True
        """
        inside = np.zeros(len(self.order), bool)
        inside[every(self.order, count, seed)] = True
        chosen, rest = np.flatnonzero(inside), np.flatnonzero(~inside)
        if len(rest):
            self._exchange(chosen, rest, np.random.default_rng([seed, count]))
        return np.sort(chosen)

    def _exchange(self, chosen: np.ndarray, rest: np.ndarray, random: np.random.Generator) -> None:
        away = self.variables[chosen].mean(axis=0, dtype=float)
        outs, intos = (random.integers(len(side), size=(ROUNDS, PAIRS)) for side in (chosen, rest))
        for out, into in zip(outs, intos, strict=True):
            others = away + (self.variables[rest[into]] - self.variables[chosen[out]]) / len(chosen)
            distances = np.einsum("ij,ij->i", others, others)
            best = int(distances.argmin())
            if distances[best] < away @ away:
                away, i, j = others[best], out[best], into[best]
                chosen[i], rest[j] = rest[j], chosen[i]


def standardised(rows: np.ndarray) -> np.ndarray:
    """Centred rows with unit variances; a constant row becomes zeros.

    Args:
        rows: float64 [variables, N].

    Returns:
        float64 [variables, N].

    Example:
        >>> standardised(np.array([[1.0, 3.0], [2.0, 2.0]])).tolist()
        [[-1.0, 1.0], [0.0, 0.0]]
    """
    centred = rows - rows.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return np.asarray(np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0))


def whitened(rows: np.ndarray) -> np.ndarray:
    """Uncorrelated combinations of centred rows, with unit variances.

    Args:
        rows: float64 [variables, N], centred.

    Returns:
        float32 [N, p], without those that hardly vary.

    Example:
        >>> found = whitened(standardised(np.random.default_rng(0).normal(size=(3, 50)).cumsum(axis=0)))
        >>> bool(np.allclose(found.T @ found / 50, np.eye(3), atol=1e-5))
        True
    """
    variances, directions = np.linalg.eigh(rows @ rows.T / rows.shape[1])
    told = variances > TELLS * variances[-1]
    found = rows.T @ (directions[:, told] / np.sqrt(variances[told]))
    return np.asarray(np.round(found, DIGITS), np.float32)  # nine of them are kept
