"""Is the objective a function? Two evaluations of the centre must agree; if not, what differed is named."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective import means
from lossatlas.objective.causes import causes, data_difference
from lossatlas.objective.function import Function, Measurable
from lossatlas.objective.mixing import FirstRows
from lossatlas.objective.objective import Objective

__all__ = ["TOLERANCE", "Centre", "probe"]

TOLERANCE = 1e-6
"""Relative difference between two evaluations that arithmetic in another order explains."""

KEPT = "random numbers it draws, data it reads afresh, or something it keeps between calls"
"""Why a function of arrays may have two different values at one point."""


@dataclass(frozen=True, kw_only=True)
class Centre:
    """What was found at the origin.

    Attributes:
        values: loss and metrics by name.
        seconds: time of one evaluation.
        notes: what a reader should know, for instance that the data are augmented and one draw was kept.
    """

    values: dict[str, float]
    seconds: float
    notes: tuple[str, ...] = ()


def probe(objective: Measurable, origin: Mapping[str, Tensor] | None = None) -> Centre:
    """Evaluate the centre twice, with different random numbers, before relying on the objective for a scan.

    Args:
        objective: what is to be measured.
        origin: the centre; by default the model's own parameters.

    Returns:
        The values at the centre.

    Raises:
        SpecError: the two evaluations differ (the message names the data order, augmentation, dropout layers,
            BatchNorm layers or the first module that differed), the loss at the centre is not finite, or the loss is
            a sum over samples.
        RuntimeError: whatever else goes wrong in the model.
    """
    if isinstance(objective, Objective):
        objective.assert_unchanged()
    start = time.perf_counter()
    first = objective(origin)
    middle = time.perf_counter()
    rows = FirstRows()
    second = objective.measure(seed=1, watch=rows) if isinstance(objective, Objective) else objective(origin)
    seconds = min(middle - start, time.perf_counter() - middle)  # the first one also warms up
    if differing := [name for name in first if not _close(first[name], second[name])]:
        name = differing[0]
        found = (
            [KEPT]
            if isinstance(objective, Function)
            else causes(objective) or [f"something in {name!r} that the check could not find"]
        )
        raise SpecError(
            f"two evaluations at the centre differ ({name} {first[name]:.9g} and {second[name]:.9g}) because of "
            f"{'; '.join(found)}. A landscape needs a function with one value at each point: fix this first"
        )
    if not math.isfinite(first["loss"]):
        raise SpecError(
            f"the loss at the centre is {first['loss']}; a landscape needs a finite centre: "
            "check the checkpoint, the preprocessing of the data and the loss"
        )
    if isinstance(objective, Function):
        return Centre(values=first, seconds=seconds)
    means.check(objective, rows)
    return Centre(values=first, seconds=seconds, notes=tuple(_notes(objective)))


def _close(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= TOLERANCE * max(abs(a), abs(b))


def _notes(objective: Objective) -> Iterator[str]:
    difference = data_difference(objective) if objective.batches.kept else None
    if difference:
        yield f"the data source has {difference}; its first pass was kept and is used at every point"
    if not objective.batches.kept:
        yield (
            "the data exceed the memory budget and are read again at every point; memory=, in bytes, raises the budget "
            "(--memory, in GiB)"
        )
