"""Is a loss a mean over samples, so that it does not matter how the data are cut into batches?

This is checked once for each objective, by everything that measures it. Three things are examined, in several batches:
what the loss says about itself; whether the samples of a batch enter it one by one, seen from its second derivatives
with respect to the outputs, for which it is called with a single batch and nothing else; and only then, whether the
values of the parts of a batch add up to a mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective import calling, reduction
from lossatlas.objective.containers import map_tensors, tensors_of
from lossatlas.objective.counting import given
from lossatlas.objective.metrics import IGNORED
from lossatlas.objective.mixing import FirstRows, warn_of_hidden
from lossatlas.objective.objective import Objective
from lossatlas.objective.refusal import asked
from lossatlas.objective.weighing import attached, entangled, looked_at
from lossatlas.warned import warn

__all__ = ["by_sample", "check", "kind_of"]

KNOWN = ("sum", "none")
"""Reductions that a loss states and that are handled: a sum is divided, single values are averaged."""


def check(objective: Objective, rows: FirstRows | None = None) -> None:
    """Refuse a loss that is a sum over samples, and warn once about one that is not their mean.

    Args:
        objective: what is to be measured.
        rows: what was seen of its outputs, if it has just been measured.

    Raises:
        SpecError: the loss is a sum.
    """
    if objective.mean_checked:
        return
    if objective.loss is None:
        _check_own_loss(objective)
    elif (single := reduction.by_target(objective.loss, "none")) is not None:
        _check_ignored(objective, single)
    elif not (_says_itself(objective.loss) or objective.weighing):
        _check_reduction(objective)
    warn_of_hidden(objective, rows)
    objective.mean_checked = True


def _says_itself(loss: reduction.Measure) -> bool:
    """Whether a loss states how it weighs its samples, in a way that is handled."""
    return reduction.by_target(loss) is not None or reduction.stated_reduction(loss) in KNOWN


def by_sample(objective: Objective) -> bool:
    """Whether the loss is known to be a mean over single samples: it says so, or it was examined."""
    loss = objective.loss
    if loss is not None and (reduction.stated_reduction(loss) is not None or reduction.by_target(loss) is not None):
        return not objective.together
    return objective.mean_checked and not objective.together


def _check_reduction(objective: Objective) -> None:
    name = reduction.name_of(objective.loss)
    found = _kinds(objective)
    if "sum" in found and "neither" not in found:
        raise SpecError(
            f"loss {name} is a sum over samples, so its value depends on the batch size; "
            "use reduction='mean' or reduction='none'"
        )
    objective.together = "batch" in found
    if objective.together:
        warn(
            f"loss {name} takes the samples of a batch together (contrastive? Dice?): what is measured is a mean over "
            "batches, which depends on how the data are cut into batches",
        )
    # A sum in some batches alone has a divisor, such as the number of objects.
    elif found & {"neither", "sum"} and not _sized(objective):
        warn(
            f"loss {name} is not a mean over samples (class weights? ignored targets?): its value depends on how the "
            "data are cut into batches. Instead use torch.nn.CrossEntropyLoss(weight=..., ignore_index=...), which "
            "does not depend on that, a loss that returns la.metrics.Weighted(values, weights), or size=, a function "
            "of the batch that gives the number that its loss is divided by",
        )


def _sized(objective: Objective) -> bool:
    """Whether the loss is a mean over what ``size=`` counts: its values of two parts of a batch add up so."""
    size, loss = objective.size, objective.loss
    if not callable(size) or loss is None:
        return False
    agreed = False
    with asked(objective), objective.posed(), objective.batches.seeded(0), objective.grad_mode():
        for number, batch in enumerate(objective.batches):
            tensors = tensors_of(batch)
            rows = {tensor.size(0) if tensor.dim() else 0 for tensor in tensors}
            middle = max(rows, default=0) // 2
            if number not in looked_at(objective.batches.number) or len(rows) != 1 or not middle:
                continue
            parts = [_part(batch, slice(None, middle)), _part(batch, slice(middle, None))]
            counts = [given(size, one) for one in (batch, *parts)]
            if not all(counts):
                continue  # what counts nothing has no mean
            whole, *halves = (
                count * _value(objective, one) for count, one in zip(counts, (batch, *parts), strict=True)
            )
            if counts[0] != sum(counts[1:]) or not math.isclose(whole, sum(halves), rel_tol=1e-4):
                return False
            agreed = True
    return agreed


def _part(batch: Any, rows: slice) -> Any:
    return map_tensors(lambda tensor: tensor[rows], batch)


def _value(objective: Objective, batch: Any) -> float:
    """The mean of the loss over a batch."""
    outputs, targets = objective.forward(objective.private, batch)
    return float(objective.loss_part(outputs, targets, batch).mean)


def _kinds(objective: Objective) -> set[str]:
    """What the loss looks like in several batches."""
    loss = objective.loss
    assert loss is not None
    looked = looked_at(objective.batches.number)
    found: set[str] = set()
    with asked(objective), objective.posed(), objective.batches.seeded(0), objective.grad_mode():
        for number, batch in enumerate(objective.batches):
            if number in looked:
                outputs, targets = objective.forward(objective.private, batch)
                found.add(kind_of(loss, calling.predictions(outputs), targets, cuts=1 if found else 2))
            if "each" in found:
                break
    return found


def kind_of(loss: reduction.Measure, outputs: Any, targets: Any, *, cuts: int = 2) -> str:
    """How the loss of a batch depends on its samples.

    Args:
        loss: of an Objective.
        outputs: outputs of one batch; any nesting of tensors with the samples first.
        targets: its targets.
        cuts: ways in which the batch is cut in two, at most 2; weights may balance in one by chance.

    Returns:
        ``"each"`` (a value for each sample), ``"mean"``, ``"sum"``, ``"neither"`` (the samples do not count the same),
        ``"batch"`` (they enter it together), or ``"unknown"`` if neither derivatives nor parts of the batch show it.

    Example:
        >>> x, y = torch.arange(6.0), torch.zeros(6)
        >>> kind_of(torch.nn.MSELoss(reduction="sum"), x, y), kind_of(lambda o, t: (o * o.flip(0)).mean(), x, y)
        ('sum', 'batch')
    """
    with torch.inference_mode(False), torch.enable_grad():
        value, leaves = attached(loss, outputs, targets)
        if isinstance(value, reduction.Weighted) or not isinstance(value, Tensor) or value.dim() > 0:
            return "each"
        said = _by_derivatives(value, leaves)
        value = value.detach()
    if said != "unknown":
        return said
    size = next((t.shape[0] for t in tensors_of(outputs) if t.dim()), 0)
    tensors = [*tensors_of(outputs), *tensors_of(targets)]
    if size < 2 or any(t.shape[:1] != (size,) for t in tensors):
        return "unknown"
    third = max(1, size // 3)
    ways = [(slice(third), slice(third, size)), (slice(0, size, 2), slice(1, size, 2))][: cuts if size > 2 else 1]
    found = [_by_parts(loss, outputs, targets, value, parts) for parts in ways]
    return next((kind for kind in found if kind != "mean"), "mean")


def _by_derivatives(value: Tensor, leaves: list[Tensor]) -> str:
    """``"batch"`` where a sample changes the slope by another; what torch's own loss says about sums and weights."""
    size = len(leaves[0]) if leaves else 0
    if not value.requires_grad or size < 2:
        return "unknown"
    if getattr(value.grad_fn, "_saved_reduction", 1) == 2:
        return "sum"
    if any(len(tensor) != size for tensor in leaves):
        return "unknown"
    try:
        if entangled(value, leaves):
            return "batch"
    except RuntimeError:  # something without a second derivative
        pass
    weights = getattr(value.grad_fn, "_saved_weight", None)
    if not isinstance(weights, Tensor) or "NllLoss" not in type(value.grad_fn).__name__:
        return "unknown"
    return "neither" if len(set(weights.tolist())) > 1 else "unknown"


def _by_parts(loss: reduction.Measure, outputs: Any, targets: Any, value: Tensor, parts: tuple[slice, slice]) -> str:
    """Cut one batch in two, and see how the losses of the parts combine to that of the whole."""
    try:
        pieces = [map_tensors(_taker(rows), (outputs, targets)) for rows in parts]
        size, cut = (next(len(t) for t in tensors_of(held) if t.dim()) for held in (outputs, pieces[0]))
        whole, a, b = (float(value), *(float(loss(*piece)) for piece in pieces))  # type: ignore[arg-type]
        eps = torch.finfo(value.dtype).eps
    except Exception:  # a user's loss that takes only whole batches, or outputs that cannot be cut
        return "unknown"
    if not math.isfinite(whole):
        return "unknown"
    if not (math.isfinite(a) and math.isfinite(b)):
        return "neither"  # what has a mean as a whole and none in parts counts something else, such as labels there are
    tolerance = 200 * eps * max(abs(whole), abs(a), abs(b))
    if abs(whole - (cut * a + (size - cut) * b) / size) <= tolerance:
        return "mean"
    return "sum" if abs(whole - (a + b)) <= tolerance else "neither"


def _taker(rows: slice) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor[rows].clone()  # a loss may write into it


def _check_ignored(objective: Objective, loss: reduction.ByTarget) -> None:
    """Single values of torch's own losses are 0 where a target is ignored, which lowers their mean."""
    looked = looked_at(objective.batches.number) if objective._look.plain else set()
    for number, batch in enumerate(objective.batches if looked else ()):
        if number in looked and loss.leaves_out(calling.targets(batch)):
            warn(
                f"loss {reduction.name_of(objective.loss)} with reduction='none' is 0 for every target that is ignored "
                f"({loss.ignored}), and its mean is over these as well; reduction='mean' is a mean over the others"
            )
            return


def _check_own_loss(objective: Objective) -> None:
    """A model's own loss is a mean over the labels that count, and their number may differ from batch to batch."""
    if objective.batches.number < 2 or not objective.batches.kept:
        return
    found = [batch.get("labels") for batch in objective.batches if isinstance(batch, Mapping)]
    labels: list[Tensor] = [label for label in found if isinstance(label, Tensor) and label.dim() and len(label)]
    shares = {int((label != IGNORED).sum()) / len(label) for label in labels}
    if len(shares) > 1:
        warn(
            "loss=None: the model's own loss is a mean over the labels of a batch that are not -100, and the batches "
            "have different numbers of them, so each token of a batch with more padding weighs more; pass "
            "forward=language.Forward(), loss=language.cross_entropy (lossatlas.objective.language), or --loss tokens",
        )
