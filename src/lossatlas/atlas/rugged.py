"""How rugged is each result? Computed once the list has been sent, and kept until the result changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import xarray as xr

from lossatlas.atlas.ending import Crew
from lossatlas.atlas.shelf import Entry
from lossatlas.errors import SpecError
from lossatlas.field.inequality import bent
from lossatlas.field.ruggedness import Spread, over_seeds
from lossatlas.field.uncertainty import Seeds
from lossatlas.results import reading

__all__ = ["Rugged", "spreads"]

_KINDS = ("landscape", "seeds")
_MOST = 2_000_000
"""Cells of the largest field that is examined unprompted."""


def spreads(runs: Sequence[xr.Dataset]) -> dict[str, Spread]:
    """The measures of ruggedness of one model's landscapes.

    Args:
        runs: one for each direction seed.

    Returns:
        By measure; empty if there is no loss, the path is bent, or the points are too few or unevenly spaced.
    """
    if any("loss" not in one or bent(one) for one in runs):
        return {}
    try:
        return over_seeds(runs)
    except SpecError:  # too few points, or uneven ones
        return {}


class Rugged:
    """The ruggedness of finished results, for their cards: the first list is sent without it.

    Attributes:
        crew: the thread that computes it.
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, float]] = {}
        self._asked: dict[str, str] = {}
        self.crew = Crew("ruggedness", 1)

    def card(self, entry: Entry, card: dict[str, Any]) -> dict[str, Any]:
        """The card of an entry, with its ruggedness if that is known; if not, it is computed next.

        Args:
            entry: the entry.
            card: its card, as :meth:`~lossatlas.atlas.shelf.Shelf.card` gives it.

        Returns:
            The card; ``ruggedness`` is the share of the rise and fall along rays from the centre that falls again after
            a rise, 0 to 1, a mean over direction seeds.
        """
        version, found = card["version"], self._found.get(entry.id)
        if found is not None and found[0] == version:
            return card if math.isnan(found[1]) else {**card, "ruggedness": found[1]}
        if entry.kind in _KINDS and card.get("finished") and self._asked.get(entry.id) != version:
            self._asked[entry.id] = version
            self.crew.submit(self._find, entry, version)
        return card

    def _find(self, entry: Entry, version: str) -> None:
        self._found[entry.id] = (version, _descent(entry))


def _descent(entry: Entry) -> float:
    """NaN where it is not known."""
    try:
        runs = list(Seeds.open(entry.path).runs) if entry.kind == "seeds" else [reading.open(entry.path)]
        if any(one["status"].size > _MOST for one in runs):
            return math.nan
        found = spreads(runs)
    except (SpecError, OSError, ValueError, LookupError, ArithmeticError, RuntimeError, MemoryError):
        return math.nan  # damaged or gone: its card says so
    return found["descent"].mean if found else math.nan
