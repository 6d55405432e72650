"""What is the loss of a batch, over how many samples, and what is its weight in the mean over all data?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective import calling, counting, reduction
from lossatlas.objective.refusal import asked

if TYPE_CHECKING:
    from lossatlas.objective.objective import Objective

__all__ = ["loss_part", "separate", "shares"]


def loss_part(
    objective: Objective,
    outputs: Any,
    targets: Any,
    batch: Any,
    size: int | None,
    weighing: reduction.ByTarget | None,
) -> reduction.Part:
    """The mean loss of one batch; for the arguments see :meth:`lossatlas.Objective.loss_part`.

    Returns:
        The mean, with its weight.
    """
    shown = calling.predictions(outputs)
    value = _own(outputs, targets) if objective.loss is None else objective.loss(shown, targets)
    objective.met = True
    size = _counted(objective, batch, shown, targets, value) if size is None else size
    mean = reduction.loss_mean(objective.loss or _own, value, size, told=objective.size is not None)
    weight = weighing.weight(targets) if weighing is not None else None
    if weighing is None or weight is None:
        return reduction.part(mean, value, size)
    mean = torch.where(weight > 0, mean, 0.0)  # all targets ignored: zero, with weight zero
    return reduction.Part(mean, weight, weighing.unit, zero_one=False, samples=size)


def _own(outputs: Any, targets: Any) -> Tensor:
    loss: Tensor = calling.own_loss(outputs)
    return loss


def _counted(objective: Objective, batch: Any, shown: Any, targets: Any, value: Any) -> int:
    """The samples of a batch: as the user says, by its targets, or by the values of its loss."""
    if objective.size is not None:
        return counting.given(objective.size, batch)
    own = reduction.length(value)
    try:
        size = counting.count(batch, shown, targets)
    except SpecError:
        if own is None:
            raise
        return own
    if own is not None and own != size and not isinstance(value, reduction.Weighted) and objective.separate:
        return own
    return size


def separate(objective: Objective) -> bool:
    """Whether each value of the loss belongs to one row of the outputs, seen in the first batch."""
    if objective.loss is None:
        return False
    with asked(objective), objective.posed(), objective.batches.seeded(0), objective.grad_mode():
        outputs, targets = objective.forward(objective.private, next(iter(objective.batches)))
    return reduction.separate(objective.loss, calling.predictions(outputs), targets)


def shares(objective: Objective) -> list[float]:
    """The weight of each batch in the loss; the model is called only if it is not their number of samples.

    Returns:
        Shares that sum to 1.
    """
    weights: list[float] = []
    with asked(objective), objective.posed(), objective.batches.seeded(0), objective.grad_mode():
        for batch in objective.batches:
            outputs, targets = objective.forward(objective.private, batch)
            part = loss_part(objective, outputs, targets, batch, None, objective.weighing)
            if isinstance(part.weight, int):
                weights = [float(size) for size in objective.sizes]
                break
            weights.append(float(part.weight_on(objective.device)))
    return [weight / sum(weights) for weight in weights]
