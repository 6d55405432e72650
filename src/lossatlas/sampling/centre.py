"""What is known of the centre before a run has a plan? Its value, which is the first point that is kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lossatlas.objective.function import Measurable
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block, RunSpec

__all__ = ["stated"]


def stated(spec: RunSpec, objective: Measurable, values: Mapping[str, float]) -> Block:
    """The centre as a point of the run, under every plan: what was found before the plan was chosen.

    Args:
        spec: what the run is.
        objective: what is measured.
        values: at the centre, by name, evaluated plainly.

    Returns:
        One point; none if the run has no such cell, measures more there, or evaluates it in another way: in a shorter
        format, or in place.
    """
    cell, names = spec.centre_cell, spec.values
    known = cell is not None and spec.identity.get("precision") == "exact" and set(names) <= values.keys()
    row = np.array([[values.get(name, np.nan) for name in names]])
    decisive = [name not in objective.derived for name in names]
    if not known or objective.in_place or not np.isfinite(row[:, decisive]).all():
        return Block.joined([], len(names))
    return Block(indices=np.array([cell], np.int64), values=row, status=np.array([Status.OK], np.int8))
