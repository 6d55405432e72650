r"""How much of its variance do the first components of a random walk explain? The null hypothesis for a training run.

To principal component analysis, a walk in many dimensions with independent steps looks as if it followed few
directions. For n equal steps, many dimensions and large n, component k has the share

- :math:`6 / (π k)^2` about the mean: 60.8 %, 15.2 %, 6.8 % … (Antognini and Sohl-Dickstein 2018, arXiv 1806.08805);
- :math:`8 / (π (2 k - 1))^2` about an end of the walk: 81.1 %, 9.0 %, 3.2 % …

Steps of other lengths change these numbers, so they are computed from the lengths of the path's own steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import linalg

from lossatlas.errors import SpecError, unknown
from lossatlas.oneline import one_line

__all__ = ["CENTRES", "Centre", "Null", "centred", "null", "random_cosines", "shares", "walk", "walks_from"]

Centre = Literal["mean", "last"]
CENTRES: tuple[str, ...] = get_args(Centre)


@dataclass(frozen=True, kw_only=True)
class Null:
    """What a random walk with the same step lengths gives.

    Attributes:
        shares: float64 [k], in infinitely many dimensions, where every walk gives the same.
        low: float64 [k], 5 % of walks in the path's own number of dimensions lie below.
        high: float64 [k], 5 % lie above.
        draws: how many walks these are from.
        dimension: number of dimensions.
    """

    shares: np.ndarray
    low: np.ndarray
    high: np.ndarray
    draws: int
    dimension: int

    __repr__ = one_line


def centred(gram: np.ndarray, centre: Centre) -> np.ndarray:
    """The Gram matrix of a path about its mean, or about its last point.

    Args:
        gram: float64 [n, n], inner products about any point.
        centre: ``"mean"`` or ``"last"``.

    Returns:
        float64 [n, n].

    Raises:
        SpecError: another word.

    Example:
        >>> centred(np.array([[4.0, 2.0], [2.0, 1.0]]), "last").tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """
    if centre not in CENTRES:
        raise SpecError(unknown("centre", centre, CENTRES))
    if centre == "last":
        moved = gram - gram[-1:, :]
        return np.asarray(moved - moved[:, -1:])
    moved = gram - gram.mean(axis=0, keepdims=True)
    return np.asarray(moved - moved.mean(axis=1, keepdims=True))


def shares(gram: np.ndarray, centre: Centre, components: int) -> np.ndarray:
    """Share of the variance of the first components, float64 [components].

    Returns:
        The shares, descending; together at most one.

    Example:
        >>> line = np.outer([0.0, 1.0, 2.0], [0.0, 1.0, 2.0])
        >>> shares(line, "mean", 2).round(6).tolist()
        [1.0, 0.0]
    """
    matrix = centred(gram, centre)
    count = min(components, len(matrix))
    values = linalg.eigvalsh(matrix, subset_by_index=(len(matrix) - count, len(matrix) - 1))[::-1]
    return np.asarray(np.maximum(values, 0.0) / np.trace(matrix))


def walk(lengths: np.ndarray, steps: np.ndarray | None = None) -> np.ndarray:
    r"""The Gram matrix of a walk about its first point.

    Args:
        lengths: float64 [n - 1], of the steps.
        steps: float64 [n - 1, n - 1], cosines between the steps; by default all are at right angles, as in infinitely
            many dimensions: then :math:`⟨θ_i, θ_j⟩ = \sum_{u ≤ \min(i, j)} s_u^2`.

    Returns:
        float64 [n, n].

    Example:
        >>> walk(np.array([1.0, 2.0])).tolist()
        [[0.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 5.0]]
    """
    if steps is None:
        travelled = np.concatenate([[0.0], np.cumsum(lengths**2)])
        return np.asarray(np.minimum.outer(travelled, travelled))
    inner = steps * np.outer(lengths, lengths)
    found = np.zeros((len(lengths) + 1, len(lengths) + 1))
    found[1:, 1:] = inner.cumsum(axis=0).cumsum(axis=1)
    return found


def walks_from(runs: Sequence[np.ndarray], starts: np.ndarray, steps: np.ndarray | None = None) -> np.ndarray:
    """The Gram matrix of several walks, each from a start of its own and with no step from one to the next.

    Args:
        runs: of each walk the lengths of its steps, float64 [n_r - 1].
        starts: float64 [r, r], inner products of the starts; steps are at right angles to what separates these.
        steps: cosines between the steps of all walks, one walk after the other, as for :func:`walk`.

    Returns:
        float64 [n, n], all points of one walk after those of the other.

    Example:
        >>> walks_from([np.array([1.0]), np.array([2.0])], np.zeros((2, 2))).tolist()
        [[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 4.0]]
    """
    ways = linalg.block_diag(*(np.tril(np.ones((len(own) + 1, len(own))), -1) * own for own in runs))
    of = np.repeat(np.arange(len(runs)), [len(own) + 1 for own in runs])
    inner = ways @ ways.T if steps is None else ways @ steps @ ways.T
    return np.asarray(inner + starts[np.ix_(of, of)])


def random_cosines(count: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """Cosines between independent random directions, drawn without drawing the directions.

    Where there are at least as many dimensions as directions their Gram matrix is :math:`L L^T` with L triangular
    (Bartlett 1933), which costs the same in a hundred million dimensions as in a thousand.

    Args:
        count: number of directions.
        dimension: of the space.
        rng: the generator.

    Returns:
        float64 [count, count], 1 on the diagonal.
    """
    if dimension >= count:
        factor = np.tril(rng.standard_normal((count, count)), -1)
        np.fill_diagonal(factor, np.sqrt(rng.chisquare(dimension - np.arange(count))))
    else:
        factor = rng.standard_normal((count, dimension))
    factor /= np.linalg.norm(factor, axis=1, keepdims=True)
    return np.asarray(factor @ factor.T)


def null(
    lengths: np.ndarray,
    dimension: int,
    *,
    runs: Sequence[int] = (),
    starts: np.ndarray | None = None,
    centre: Centre = "mean",
    components: int = 2,
    draws: int = 100,
    seed: int = 0,
) -> Null:
    """What a random walk with given step lengths explains.

    Args:
        lengths: float64 [n - 1], of the steps.
        dimension: number of parameters.
        runs: numbers of checkpoints of several runs, if the path has more than one: each is a walk of its own.
        starts: float64 [r, r], inner products of their first points, which stay where they are.
        centre: ``"mean"`` or ``"last"``.
        components: how many.
        draws: walks drawn for the spread.
        seed: of the draws.

    Returns:
        The shares, and their spread in this number of dimensions.

    Example:
        >>> (null(np.ones(1000), 10**8, draws=2).shares * 100).round(1).tolist()
        [60.8, 15.2]
    """
    rng = np.random.default_rng(seed)

    def gram(steps: np.ndarray | None = None) -> np.ndarray:
        if starts is None:
            return walk(lengths, steps)
        return walks_from(np.split(lengths, np.cumsum(np.asarray(runs) - 1)[:-1]), starts, steps)

    drawn = [shares(gram(random_cosines(len(lengths), dimension, rng)), centre, components) for _ in range(draws)]
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    return Null(shares=shares(gram(), centre, components), low=low, high=high, draws=draws, dimension=dimension)
