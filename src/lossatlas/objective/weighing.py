"""Does a function around one of torch's own means weigh its targets by class, or leave some out? Its graph tells.

``loss=lambda outputs, targets: F.cross_entropy(outputs, targets, weight=w)`` divides by the sum of the weights of a
batch, so the mean over batches has to be weighted by these sums. The function does not say so, but what it returns
remembers how it was computed: the weights, the target that is ignored, the targets themselves. What is read there is
trusted if nothing was done to the value afterwards, or if it makes the values of the parts of a batch add up.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lossatlas.objective import calling, reduction, revealed
from lossatlas.objective.containers import map_tensors, tensors_of
from lossatlas.objective.refusal import asked

if TYPE_CHECKING:
    from lossatlas.objective.census import Look
    from lossatlas.objective.objective import Objective

__all__ = ["BATCHES", "attached", "entangled", "found", "looked_at", "weighing_of"]

BATCHES = 3
"""How many batches are examined, spread over the data."""

ADDS_UP = 1e-6
"""Relative difference within which the parts must make the whole, with weights that the loss revealed."""

_NONE = -(2**62)
"""A class number that no target has."""

_NODES = 200
"""Number of steps of a loss after which its graph is no longer searched: the weighted mean is near its end."""


def looked_at(number: int) -> set[int]:
    """Which batches out of a given number are examined.

    Returns:
        Their numbers.

    Example:
        >>> looked_at(9)
        {0, 8, 4}
    """
    return {round((number - 1) * part / (BATCHES - 1)) for part in range(BATCHES)}


def found(objective: Objective, look: Look) -> reduction.ByTarget | None:
    """How the loss of an objective weighs its targets, if they do not all count the same.

    Args:
        objective: whose loss.
        look: what was seen of its batches; what is found here is kept there.

    Returns:
        The weights, or None.
    """
    if look.weighing is None and (within := weighing_of(objective)) is not None:
        look.weighing = within
        for batch in objective.batches if look.plain and within.classes is None else ():
            look.see(calling.targets(batch))
        vars(objective).pop("_census", None)  # which did not take ignored targets into account
    known = look.weighing
    return known if known is not None and (known.classes is not None or objective._census.uneven) else None


def weighing_of(objective: Objective) -> reduction.ByTarget | None:
    """How a user's loss weighs its targets, if it returns a mean of torch's own.

    Args:
        objective: whose loss; the model is called with its first batch, and with two more where there are weights.

    Returns:
        The weights; None if there are none, or if they explain the values of the loss no better.
    """
    loss, known, sure = objective.loss, None, False
    if loss is None or reduction.stated_reduction(loss) is not None or _of_torch(loss):
        return None
    looked = []
    chosen = looked_at(objective.batches.number)
    with asked(objective), objective.posed(), objective.batches.seeded(0), objective.grad_mode():
        for number, batch in enumerate(objective.batches):
            if number not in chosen:
                continue
            outputs, targets = objective.forward(objective.private, batch)
            looked.append((calling.predictions(outputs), targets))
            one, said = _seen(loss, *looked[-1]) if len(looked) == 1 or known is not None else (None, False)
            if known is not None and (one is None or not _same(one, known)):
                return None
            known, sure = one, sure or said
        if known is None:
            return _written_by_hand(objective, loss, looked)
    return known if sure else None


def _written_by_hand(
    objective: Objective, loss: reduction.Measure, looked: list[tuple[Any, Any]]
) -> reduction.ByTarget | None:
    """The weights of the classes in a weighted mean written by the user; None if it is not one.

    Args:
        objective: whose loss.
        loss: the same.
        looked: outputs and targets of some batches.

    Returns:
        The weights with which the parts of all examined batches add up.
    """
    if not looked or not all(_by_number(outputs, targets) for outputs, targets in looked):
        return None
    try:
        batches = [batch for batch in looked if len(batch[1]) > 1] or [_joined(looked)]
        values = [attached(loss, *batch) for batch in batches]
        finite = [not isinstance(value, Tensor) or bool(torch.isfinite(value).all()) for value, _ in values]
        batches, values = ([each for each, good in zip(of, finite, strict=True) if good] for of in (batches, values))
        plain = [isinstance(value, Tensor) and not value.dim() for value, _ in values]
        if (
            not plain
            or not all(plain)
            or any(_together(value, leaves) for value, leaves in values if value.requires_grad)
        ):
            return None
        classes = _classes(objective)
        made = [(outputs, _any_of(classes, targets)) for outputs, targets in batches]
        batches, values = batches + made, values + [(torch.as_tensor(loss(*batch)), []) for batch in made]
        evenly, whole = reduction.ByTarget(classes=None, ignored=_NONE), [value.detach() for value, _ in values]
        if all(_adds_up(loss, *batch, value, evenly) for batch, value in zip(batches, whole, strict=True)):
            return None
        known = revealed.by_class(loss, *batches[0], classes) if len(classes) <= revealed.MANY else None
        if known is None:
            return None
        adds_up = (_adds_up(loss, *batch, value, known, ADDS_UP) for batch, value in zip(batches, whole, strict=True))
        return known if all(adds_up) else None
    except Exception:  # a user's loss that takes only real batches
        return None


def _by_number(outputs: Any, targets: Any) -> bool:
    """Whether there is one class number for each output, so that any class of the data may stand in any place.

    With several numbers for a sample, each may have a range of its own, and a number out of range ends a GPU's work.

    Returns:
        Whether targets and outputs are of such shapes.
    """
    numbers = isinstance(targets, Tensor) and not targets.is_floating_point() and targets.dim() > 0
    if not (numbers and isinstance(outputs, Tensor) and outputs.is_floating_point() and len(outputs) == len(targets)):
        return False
    places = (outputs.shape[:1] + outputs.shape[2:], outputs.shape[:-1])  # of pixels; of tokens
    return targets.dim() == 1 or targets.shape[1:].numel() == 1 or targets.shape in places


def _joined(batches: list[tuple[Any, Any]]) -> tuple[Tensor, Tensor]:
    """Batches of single samples joined into one, which can be cut."""
    outputs, targets = zip(*batches, strict=True)
    return torch.cat(outputs), torch.cat(targets)


def _classes(objective: Objective) -> set[int]:
    """The class numbers in all data."""
    found: set[int] = set()
    for batch in objective.batches:
        targets = calling.targets(batch) if objective._look.plain else objective.forward(objective.private, batch)[1]
        found |= set(targets.unique().tolist())
        if len(found) > revealed.MANY:
            break
    return found


def _any_of(classes: set[int], targets: Tensor) -> Tensor:
    """Other targets of the same shape, so that classes that are rare in a batch are met too."""
    numbers = torch.tensor(sorted(classes), dtype=targets.dtype, device=targets.device)
    places = torch.randint(len(numbers), targets.shape, generator=torch.Generator().manual_seed(0))
    return numbers[places.to(targets.device)]


def attached(loss: reduction.Measure, outputs: Any, targets: Any) -> tuple[Any, list[Tensor]]:
    """The loss of detached outputs, with a graph that ends at them.

    Args:
        loss: any; it may write into what it gets.
        outputs: any nesting of tensors.
        targets: likewise.

    Returns:
        What it returned, and the outputs of floating point; none of them if the loss accepts no history.
    """
    leaves: list[Tensor] = []
    try:
        return loss(map_tensors(lambda t: _leaf(t, leaves), outputs), map_tensors(torch.clone, targets)), leaves
    except Exception:  # a user's loss that requires outputs without a history
        return loss(outputs, targets), []


def entangled(value: Tensor, leaves: list[Tensor]) -> bool:
    """Whether a mixed second derivative in an even and an odd sample is not zero: they enter the loss together.

    Args:
        value: the loss of a batch.
        leaves: its outputs, samples first.

    Returns:
        Whether it is.
    """
    slopes = torch.autograd.grad(value, leaves, create_graph=True, allow_unused=True)
    generator = torch.Generator().manual_seed(0)
    along = torch.zeros((), dtype=torch.float64)
    for slope in slopes:
        if slope is not None and slope.requires_grad:
            weights = torch.randn(slope[::2].shape, generator=generator, dtype=torch.float64)
            along = along + (slope[::2].double().cpu() * weights).sum()
    if not along.requires_grad:
        return False
    found = [bend for bend in torch.autograd.grad(along, leaves, allow_unused=True) if bend is not None]
    own = max((float(bend[::2].abs().max()) for bend in found), default=0.0)
    mixed = max((float(bend[1::2].abs().max()) for bend in found), default=0.0)
    noise = max((torch.finfo(bend.dtype).eps for bend in found), default=0.0)
    return mixed > 100 * noise * max(own, torch.finfo(torch.float32).tiny)


def _together(value: Tensor, leaves: list[Tensor]) -> bool:
    try:
        with torch.inference_mode(False), torch.enable_grad():
            return entangled(value, leaves)
    except RuntimeError:  # something without a second derivative
        return True


def _of_torch(loss: Any) -> bool:
    return getattr(loss, "__module__", "") == "torch.nn.functional"


def _leaf(tensor: Tensor, leaves: list[Tensor]) -> Tensor:
    """The outputs as differentiable leaves that the loss may write into."""
    twin = tensor.detach().clone()
    if twin.is_floating_point() and twin.dim():
        leaves.append(twin.requires_grad_(True))
        return twin.clone()
    return twin


def _seen(loss: reduction.Measure, outputs: Any, targets: Any) -> tuple[reduction.ByTarget | None, bool]:
    """The weights of one batch, None if they do not explain its loss; and whether they were verified to do so."""
    with torch.inference_mode(False), torch.enable_grad():
        value, leaves = attached(loss, outputs, targets)
    node: Any = _mean_within(value) if isinstance(value, Tensor) and not value.dim() else None
    if node is None:
        return None, False
    weights, ignored = node._saved_weight, int(node._saved_ignore_index)
    plain = not isinstance(weights, Tensor) or bool((weights == weights.flatten()[0]).all())
    ignored -= 2**64 if ignored >= 2**63 else 0  # torch saves a negative one without its sign
    found = reduction.ByTarget(classes=None if plain else weights.detach().clone(), ignored=ignored)
    itself = value.grad_fn is node and isinstance(targets, Tensor)
    if itself and torch.equal(targets.flatten(), node._saved_target.flatten()):
        return found, True
    size = len(leaves[0])
    if size < 2:  # there is nothing to cut
        return found, False
    if any(len(leaf) != size for leaf in leaves) or _together(value, leaves):  # a part of the batch may be none
        return None, False
    return (found, True) if _adds_up(loss, outputs, targets, value.detach(), found) else (None, False)


def _mean_within(value: Tensor) -> Any:
    """The one mean of torch's own over class numbers in the graph of a value; None if there is none, or several."""
    found: list[Any] = []
    known: set[Any] = set()
    ahead = [value.grad_fn]
    while ahead and len(known) < _NODES:
        node = ahead.pop()
        if node is None or node in known:
            continue
        known.add(node)
        if "NllLoss" in type(node).__name__ and getattr(node, "_saved_reduction", 0) == 1:
            found.append(node)
        ahead += [before for before, _ in node.next_functions]
    return found[0] if len(found) == 1 and not ahead else None


def _adds_up(
    loss: reduction.Measure,
    outputs: Any,
    targets: Any,
    value: Tensor,
    weighing: reduction.ByTarget,
    tolerance: float = 0.0,
) -> bool:
    """Whether the losses of the parts of a batch, weighted so, make that of the whole, in two ways of cutting it."""
    tensors = [*tensors_of(outputs), *tensors_of(targets)]
    size = len(tensors[0])
    if any(t.shape[:1] != (size,) for t in tensors):
        return False
    third = max(1, size // 3)
    ways = [(slice(third), slice(third, size)), (slice(0, size, 2), slice(1, size, 2))]
    tolerance = max(tolerance, 200 * torch.finfo(value.dtype).eps)
    return all(_adds_up_so(loss, outputs, targets, value, weighing, parts, tolerance) for parts in ways)


def _adds_up_so(
    loss: reduction.Measure,
    outputs: Any,
    targets: Any,
    value: Tensor,
    weighing: reduction.ByTarget,
    parts: tuple[slice, slice],
    tolerance: float,
) -> bool:
    total, weight = 0.0, 0.0
    for rows in parts:
        piece, aims = map_tensors(functools.partial(_rows_of, rows), (outputs, targets))
        counted = weighing.weight(aims)
        if counted is None:
            return False
        try:
            part = float(loss(piece, aims))  # type: ignore[arg-type]
        except Exception:  # a user's loss that takes only whole batches
            return False
        if float(counted) > 0:
            total, weight = total + float(counted) * part, weight + float(counted)
    if not weight:  # nothing counts, so nothing has to be explained
        return True
    if not math.isfinite(total):
        return False
    return abs(total / weight - float(value)) <= tolerance * abs(float(value))


def _rows_of(rows: slice, tensor: Tensor) -> Tensor:
    return tensor[rows].clone()  # a loss may write into it


def _same(one: reduction.ByTarget, other: reduction.ByTarget) -> bool:
    if one.ignored != other.ignored or (one.classes is None) != (other.classes is None):
        return False
    return one.classes is None or (other.classes is not None and torch.equal(one.classes, other.classes))
