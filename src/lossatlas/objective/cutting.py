"""How are batches cut into smaller ones, when much is kept for each sample, without changing the mean?"""

from __future__ import annotations

import math

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind
from lossatlas.objective import mixing
from lossatlas.objective.batches import size_of
from lossatlas.objective.objective import Objective
from lossatlas.objective.part import on_batches, rows_of

__all__ = ["cut"]

CLOSE = 1e-4
"""How close the mean of the parts of a batch must come to that of the batch, relative; in float32."""


def cut(objective: Objective, rows: int) -> Objective:
    """The same objective in batches of limited size.

    Args:
        objective: whose data are to be cut; tensors that are kept are shared, not copied.
        rows: the largest number of rows in a batch.

    Returns:
        An objective that shares the model; itself if no batch is longer.

    Raises:
        SpecError: there is less than one row, the data are not kept, a batch has no rows, samples depend on each other,
            or the loss is not the mean over its samples.

    Example:
        >>> import torch
        >>> x, y = torch.ones(5, 2), torch.zeros(5, 1)
        >>> objective = Objective(torch.nn.Linear(2, 1), (x, y), torch.nn.functional.mse_loss)
        >>> cut(objective, 2).sizes
        (2, 2, 1)
    """
    check_kind("rows", rows, int, "a number of samples that are differentiated at once")
    if rows < 1:
        raise SpecError(f"rows={rows}; expected at least 1")
    lengths = [size_of(batch) for batch in objective.batches]
    if max(lengths) <= rows:
        return objective
    if not objective.batches.kept:
        raise SpecError(f"rows={rows}: the data are not kept in memory; give them in batches of {rows}")
    if isinstance(objective.size, int):
        raise SpecError(f"rows={rows} but size={objective.size} for every batch; give the data in batches of {rows}")
    if mixed := mixing.mixing(objective.model, training=objective.training):
        raise SpecError(
            f"rows={rows}: {mixed[0]} normalises by the statistics of each batch, so batches must stay whole"
        )
    pieces = [
        [rows_of(batch, length, slice(start, start + rows)) for start in range(0, length, rows)]
        for batch, length in zip(objective.batches, lengths, strict=True)
    ]
    made = on_batches(objective, [piece for batch in pieces for piece in batch], size=objective.size)
    objective.move()  # its copy may be at any point
    first = pieces[max(range(len(lengths)), key=lengths.__getitem__)]
    whole = next(b for b, length in zip(objective.batches, lengths, strict=True) if length == max(lengths))
    with objective.posed(), objective.batches.seeded(0), objective.grad_mode():
        one, sum_of_parts = objective.mean([whole])["loss"], made.mean(first)["loss"]
    if not math.isclose(one, sum_of_parts, rel_tol=CLOSE, abs_tol=CLOSE) and math.isfinite(one):
        raise SpecError(
            f"rows={rows}: the loss of a batch is {one:.6g} and the mean of its parts {sum_of_parts:.6g}; a loss that "
            "is not a mean over samples must be differentiated batch by batch, so leave rows out"
        )
    return made
