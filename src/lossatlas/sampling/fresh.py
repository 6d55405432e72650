r"""Which cells check an adaptive run? Cells drawn at random before it began, never chosen for what was found there.

A sampler that stops when its own points look good stops by luck. So some cells are set aside, in an order that depends
only on the grid; no other choice takes them. After :attr:`Fresh.needed` = 29 of them a feature that covers a tenth of
the cells was missed by all with a probability below 5 % (:math:`0.9^{29} = 0.047`), and the last :attr:`Fresh.exam` =
12 were predicted from everything else before they were evaluated. On small grids they are fewer. Since the order is
fixed, it is known which cells of a Landscape read from a file they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossatlas.oneline import one_line
from lossatlas.sampling import surrogate
from lossatlas.sampling.shown import Show, apart

__all__ = ["Fresh", "missed"]

NEEDED = 29
EXAM = 12
SHARE = 0.05
"""Share of the cells, at most, that are evaluated to check the others."""

ASIDE = 0.08
"""Share of the cells that are set aside, enough for several examinations."""

SEED = 20


@dataclass(frozen=True)
class Fresh:
    """The cells of a grid that are set aside.

    Attributes:
        cells: int64, flat indices in the order in which they are evaluated.
        needed: how many are evaluated at least.
        exam: how many are predicted at the end.
    """

    cells: np.ndarray
    needed: int
    exam: int

    __repr__ = one_line

    @classmethod
    def of(cls, cells: int, taken: np.ndarray) -> Fresh:
        """Those of a grid.

        Args:
            cells: how many the grid has.
            taken: int64, those that are evaluated anyway.

        Returns:
            The same for the same grid.

        Example:
            >>> found = Fresh.of(2601, np.arange(25))
            >>> found.needed, found.exam, len(found.cells)
            (29, 12, 206)
        """
        order = np.random.default_rng(SEED).permutation(cells)
        order = order[~np.isin(order, taken)]
        needed = min(NEEDED, int(SHARE * len(order)))
        exam = min(EXAM, needed)
        return cls(cells=order[: max(needed + exam, round(ASIDE * len(order)))], needed=needed, exam=exam)

    @property
    def at_first(self) -> np.ndarray:
        """Those that are evaluated before any result is seen."""
        return self.cells[: self.needed - self.exam]

    def evaluated(self, told: np.ndarray) -> np.ndarray:
        """Those evaluated so far, in order.

        Args:
            told: bool [cells of the grid].

        Returns:
            int64, no cell after the first that is missing.
        """
        return self.cells[: int(np.argmin(np.append(told[self.cells], False)))]

    def next(self, drawn: np.ndarray) -> np.ndarray:
        """Those of the next examination."""
        return self.cells[len(drawn) :][: self.exam]

    def last(self, drawn: np.ndarray) -> np.ndarray:
        """Those of the last examination."""
        return drawn[max(len(drawn) - self.exam, 0) :]


def missed(shape: tuple[int, ...], known: np.ndarray, values: np.ndarray, cells: np.ndarray, show: Show) -> np.ndarray:
    """By how much some evaluated cells are missed when they are predicted from all others.

    Args:
        shape: of the grid.
        known: int64 [n], the evaluated cells.
        values: float64 [cells of the grid]; those of other cells are ignored.
        cells: int64 [m], which are predicted.
        show: how values are shown.

    Returns:
        float64 [m], shares of the shown range.

    Example:
        >>> from lossatlas.sampling.shown import AsIs
        >>> values = np.linspace(0, 1, 21)
        >>> missed((21,), np.arange(0, 21, 2), values, np.array([4, 10]), AsIs).round(6).tolist()
        [0.0, 0.0]
    """
    rest = known[~np.isin(known, cells)]
    if not len(cells) or len(rest) < surrogate.fewest(len(shape)):
        return np.empty(0)
    filled, shown = surrogate.interpolate(surrogate.places(shape), rest, values[rest], show)
    return apart(shown, filled[cells], values[cells])
