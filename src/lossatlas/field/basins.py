r"""Which minimum does each cell run down to, and over which pass do two of them meet?

The cells are the vertices of a graph in which every cell has all its neighbours, the diagonal ones too (8 in a plane,
26 in space). From each cell one steps to the steepest lower neighbour until none is lower; the cell belongs to the
basin of the minimum reached. Two basins meet at the lowest pass, the edge whose higher end is lowest. Joining the
basins in the order of their passes, where the younger (higher) minimum ends at each, gives the merge tree of the field,
and with it the persistence of every minimum: the height of its pass above it (Edelsbrunner, Letscher, Zomorodian 2002).
Ties are broken by order in memory.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from lossatlas.oneline import one_line

__all__ = ["Merge", "Tree", "merge_tree"]


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Where two parts of the field below a level become one.

    Attributes:
        younger: flat index of the higher of the two minima; it ends here.
        elder: flat index of the lower one, which goes on.
        saddle: flat index of the pass.
    """

    younger: int
    elder: int
    saddle: int


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The merge tree of a field.

    Attributes:
        minima: flat indices of the minima that are kept, lowest first, int64 [m].
        merges: m - 1 merges, lowest pass first.
        labels: int64, shaped like the field: which of the minima each cell belongs to.
        dropped: number of minima too shallow to be distinguished from noise.
    """

    minima: np.ndarray
    merges: tuple[Merge, ...]
    labels: np.ndarray
    dropped: int

    __repr__ = one_line


def merge_tree(field: np.ndarray, slack: np.ndarray | float = 0.0) -> Tree:
    """The merge tree of a field on a grid, without minima that its errors alone may have made.

    Args:
        field: finite, one to three dimensions.
        slack: how far each value may be off, shaped like the field. A minimum is kept if its pass is higher by more
            than the combined error of the two; otherwise its basin joins the one beyond the pass.

    Returns:
        The tree.

    Example:
        >>> found = merge_tree(np.array([3.0, 0.0, 2.0, 1.0, 4.0]))
        >>> found.minima.tolist(), found.labels.tolist(), found.merges
        ([1, 3], [0, 0, 0, 1, 1], (Merge(younger=3, elder=1, saddle=2),))
        >>> merge_tree(np.array([3.0, 0.0, 2.0, 1.0, 4.0]), slack=0.6).minima.tolist()
        [1]
    """
    values = np.ascontiguousarray(field, np.float64)
    flat, off = values.ravel(), np.broadcast_to(slack, values.shape).ravel()
    rank = np.empty(flat.size, np.int64)
    order = np.argsort(flat, kind="stable")
    rank[order] = np.arange(flat.size)
    roots = _descended(values, rank.reshape(values.shape))
    joined = {int(root): int(root) for root in np.unique(roots)}  # minimum to a lower one that it is connected to
    spills = dict(joined)  # a minimum that is too shallow, to the basin beyond its pass
    merges = []
    for a, b, saddle in _passes(roots, rank.reshape(values.shape), order):
        (elder, beyond), (younger, _) = sorted(
            ((_followed(joined, cell), cell) for cell in (a, b)), key=lambda end: int(rank[end[0]])
        )
        if elder == younger:
            continue
        joined[younger] = elder
        if flat[saddle] - flat[younger] > off[saddle] + off[younger]:
            merges.append(Merge(younger=younger, elder=elder, saddle=saddle))
        else:
            spills[younger] = beyond
    return _tree(roots, spills, merges, rank)


def _tree(roots: np.ndarray, spills: dict[int, int], merges: list[Merge], rank: np.ndarray) -> Tree:
    ends = {root: _followed(spills, root) for root in spills}
    minima = np.array(sorted(set(ends.values()), key=lambda cell: int(rank[cell])), np.int64)
    number = {int(cell): index for index, cell in enumerate(minima)}
    known = np.array(sorted(ends), np.int64)
    labels = np.array([number[ends[int(root)]] for root in known], np.int64)[np.searchsorted(known, roots)]
    # A minimum may have met one that was later dropped: then it has met the one that this spilled into.
    met = tuple(replace(merge, elder=ends[merge.elder]) for merge in merges)
    return Tree(minima=minima, merges=met, labels=labels, dropped=len(ends) - len(minima))


def _followed(pointers: dict[int, int], cell: int) -> int:
    while pointers[cell] != cell:
        cell = pointers[cell]
    return cell


def _descended(values: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The minimum below each cell: flat indices, shaped like the field."""
    wall = np.pad(values, 1, constant_values=np.inf), np.pad(rank, 1, constant_values=rank.size)
    cells = np.pad(np.arange(rank.size).reshape(rank.shape), 1)
    below, steepest = np.arange(rank.size).reshape(rank.shape), np.full(rank.shape, -1.0)
    for offset in itertools.product((0, 1, 2), repeat=rank.ndim):
        distance = math.sqrt(sum(o != 1 for o in offset))
        window = tuple(slice(o, o + n) for o, n in zip(offset, rank.shape, strict=True))
        slope = np.where(wall[1][window] < rank, (values - wall[0][window]) / max(distance, 1.0), -np.inf)
        better = slope > steepest
        below, steepest = np.where(better, cells[window], below), np.maximum(steepest, slope)
    pointers = below.ravel()
    while True:  # twice as far at every turn
        further = pointers[pointers]
        if np.array_equal(further, pointers):
            return np.asarray(pointers.reshape(rank.shape))
        pointers = further


def _passes(roots: np.ndarray, rank: np.ndarray, order: np.ndarray) -> list[tuple[int, int, int]]:
    """The lowest pass between every two basins that touch: two minima and the cell, lowest first."""
    offsets = list(itertools.product((-1, 0, 1), repeat=rank.ndim))
    keys, heights = [], []
    for offset in offsets[len(offsets) // 2 + 1 :]:  # each pair of neighbours once
        here = tuple(slice(max(-o, 0), n - max(o, 0)) for o, n in zip(offset, rank.shape, strict=True))
        there = tuple(slice(max(o, 0), n - max(-o, 0)) for o, n in zip(offset, rank.shape, strict=True))
        a, b = roots[here], roots[there]
        apart = a != b
        low, high = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
        keys.append(low * rank.size + high)
        heights.append(np.maximum(rank[here], rank[there])[apart])
    key, height = np.concatenate(keys), np.concatenate(heights)
    by_height = np.argsort(height, kind="stable")
    _, first = np.unique(key[by_height], return_index=True)
    lowest = by_height[np.sort(first)]
    pairs = zip((key[lowest] // rank.size).tolist(), (key[lowest] % rank.size).tolist(), strict=True)
    return [(a, b, int(cell)) for (a, b), cell in zip(pairs, order[height[lowest]], strict=True)]
