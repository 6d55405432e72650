"""Which samples represent all? In an order with similar samples side by side, every n-th."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective import census, means, reduction
from lossatlas.objective.batches import Batches, map_tensors, size_of, tensors_of
from lossatlas.objective.counting import Size
from lossatlas.objective.objective import Objective

__all__ = ["every", "few", "glimpse", "joined", "logarithms", "on_batches", "rows_of", "strata", "taken"]


def strata(losses: np.ndarray) -> np.ndarray:
    """An order of the samples in which neighbours have similar losses at the anchors.

    The samples are halved again and again at the median of the principal component along which they differ most.

    Args:
        losses: float64 [anchors, N].

    Returns:
        A permutation of the samples, int64 [N].

    Example:
        >>> strata(np.array([[5.0, 1.0, 5.1, 1.1]])).tolist() in ([1, 3, 0, 2], [0, 2, 1, 3])
        True
    """
    features = logarithms(losses)
    features = (features - features.mean(axis=1, keepdims=True)).T
    left, sizes, _ = np.linalg.svd(features, full_matrices=False)
    scores = (left * sizes)[:, :8]
    return np.array(_halved(scores, np.arange(len(scores))), np.int64)


def logarithms(losses: np.ndarray) -> np.ndarray:
    """Losses on a scale on which a few huge ones do not drown all others; of any sign, and of the same shape."""
    return np.asarray(np.sign(losses) * np.log1p(np.abs(losses)))


def _halved(scores: np.ndarray, members: np.ndarray) -> list[int]:
    axis = int(np.argmax(scores[members].var(axis=0)))
    members = members[np.argsort(scores[members, axis], kind="stable")]
    if len(members) <= 4:
        return [int(member) for member in members]
    middle = len(members) // 2
    return _halved(scores, members[:middle]) + _halved(scores, members[middle:])


def every(order: np.ndarray, count: int, seed: int) -> np.ndarray:
    """``count`` samples spread evenly over an order, the same distance apart, from a random start; int64 [count]."""
    start = np.random.default_rng(seed).random()
    return np.asarray(order[np.floor((np.arange(count) + start) * len(order) / count).astype(int)])


def taken(objective: Objective, chosen: np.ndarray) -> Objective:
    """The same objective on some of its samples.

    A few samples of every batch are put together in batches as large as those were, where the loss is a mean over
    single samples: small ones would take most of their time for being called.

    Args:
        objective: with all its data.
        chosen: int64 [n], increasing.

    Returns:
        An objective on the samples chosen, which shares the model.

    Raises:
        SpecError: a tensor of a batch has no sample dimension.
    """
    batches, start = [], 0
    for size, batch in zip(objective.sizes, objective.batches, strict=True):
        rows = torch.from_numpy(chosen[(chosen >= start) & (chosen < start + size)] - start)
        if len(rows):
            batches.append(rows_of(batch, size, rows.to(objective.device)))
        start += size
    if len(batches) > 1 and means.by_sample(objective) and _alike(batches):
        batches = _packed(batches, max(objective.sizes))
    return on_batches(objective, batches)


def _alike(batches: list[Any]) -> bool:
    """Whether batches differ in nothing but the rows of their tensors."""
    first, *others = ((_kinds(each), map_tensors(lambda _: None, each)) for each in batches)
    try:
        return all(bool(other == first) for other in others)
    except ValueError:  # arrays, whose equality is not a truth value
        return False


def _kinds(batch: Any) -> list[tuple[torch.dtype, torch.Size]]:
    return [(tensor.dtype, tensor.shape[1:]) for tensor in tensors_of(batch)]


def on_batches(objective: Objective, batches: list[Any], *, size: Size | None = None) -> Objective:
    """The same objective on other batches.

    Args:
        objective: whose model, loss and metrics.
        batches: of the same kind as its own.
        size: the number of samples in a batch, if the user states it.

    Returns:
        An objective that shares the model.
    """
    part = Objective(
        objective.model,
        batches,
        objective.loss,
        metrics=objective.metrics,
        tasks=objective.tasks.given,
        forward=objective.forward,
        batchnorm=objective.batchnorm,
        device=objective.device,
        training=objective.training,
        autograd=objective.autograd,
        in_place=objective.in_place,
        size=size,
        name=objective.name,
        data_name=objective.data_name,
    )
    part.mixed = objective.mixed
    part.mean_checked = objective.mean_checked  # what was said about all is not repeated for a part
    if objective.loss is not None and reduction.by_target(objective.loss) is None:
        part.__dict__["weighing"] = objective.weighing  # read from its graph, which a part need not show
    return part


def few(objective: Objective, rows: int) -> Any:
    """Some samples of the first batch, spread over it, for what any of them can show.

    Args:
        objective: whose data.
        rows: how many samples.

    Returns:
        A batch of at most ``rows`` samples; the first batch as it is if it cannot be cut, or if the loss may take its
        samples together.
    """
    batch = next(iter(objective.batches))
    if not means.by_sample(objective):
        return batch
    size = size_of(batch)
    chosen = torch.from_numpy(np.unique(np.linspace(0, size - 1, min(rows, size)).round().astype(np.int64)))
    try:
        return rows_of(batch, size, chosen)
    except SpecError:
        return batch


def glimpse(objective: Objective, rows: int) -> Objective:
    """The same objective on a few samples, for comparing ways of evaluation; it shares the private copy of the model.

    Args:
        objective: with all its data, kept on the device.
        rows: how many samples.

    Returns:
        An objective for temporary use only.
    """
    return _beside(objective, [few(objective, rows)])


def joined(objective: Objective, rows: int) -> Objective:
    """The same objective with its batches put together, which saves calls; it shares the private copy of the model.

    Args:
        objective: with all its data, kept on the device; its loss is a mean over single samples.
        rows: samples of a new batch, at least one old one.

    Returns:
        An objective for temporary use only.

    Raises:
        SpecError: the batches are of different kinds, or a tensor has no sample dimension.
    """
    return _beside(objective, _packed(objective.batches, rows))


def _packed(batches: Iterable[Any], rows: int) -> list[Any]:
    """Batches put together as long as they have no more samples than that."""
    found: list[Any] = []
    waiting: list[Any] = []
    for batch in batches:
        if waiting and sum(map(size_of, [*waiting, batch])) > rows:
            found.append(_together(waiting))
            waiting = []
        waiting.append(batch)
    return [*found, _together(waiting)]


def _together(batches: list[Any]) -> Any:
    """Several batches as one."""
    parts = [tensors_of(rows_of(batch, size_of(batch), slice(None))) for batch in batches]
    if len({tuple(_kinds(batch)) for batch in batches}) > 1:
        raise SpecError("data: the batches are of different kinds, so they cannot be put together")
    whole = iter([torch.cat(same) for same in zip(*parts, strict=True)])
    return map_tensors(lambda _: next(whole), batches[0])


def _beside(objective: Objective, batches: list[Any]) -> Objective:
    part = copy.copy(objective)
    part._look = census.Look(objective.size, plain=objective._look.plain, weighing=objective._look.weighing)
    part.batches = Batches(batches, device=objective.device, memory=2**62, batch_size=1, look=part._look)
    part.batches.quiet = objective.batches.quiet
    part._counts = {}
    part.__dict__.pop("_census", None)
    part.__dict__["weighing"] = objective.weighing  # as among all samples
    part.__dict__["private"] = objective.private
    return part


def rows_of(batch: Any, size: int, rows: Tensor | slice) -> Any:
    """Some rows of a batch.

    Args:
        batch: any object whose tensors have a row for each sample.
        size: its rows.
        rows: which; a slice shares memory with the batch.

    Returns:
        A batch of the same kind.

    Raises:
        SpecError: a tensor of the batch has no sample dimension.
    """
    tensors = tensors_of(batch)
    if not tensors or any(tensor.shape[:1] != (size,) for tensor in tensors):
        raise SpecError("data: a tensor of the batch has no sample dimension, so no subset of the samples can be taken")
    return map_tensors(lambda tensor: tensor[rows if isinstance(rows, slice) else rows.to(tensor.device)], batch)
