"""Which layers let the result of a sample depend on the others in its batch, so that cutting the data matters?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lossatlas.objective import calling
from lossatlas.objective.batchnorm import layers
from lossatlas.objective.containers import tensors_of
from lossatlas.warned import warn

if TYPE_CHECKING:
    from lossatlas.objective.objective import Objective

__all__ = ["FirstRows", "described", "hidden", "mixing", "warn_of_hidden", "warn_of_mixing"]

DIFFERENT = 0.02
"""Relative difference of outputs that arithmetic in another order, in a short format too, does not explain."""

BEFORE = " before"
"""Behind the name of a module: what it got."""

FEWEST = 4
"""Samples of a batch that can be looked at: every second one must still be a batch."""

FEW = 8
"""Samples that are looked at: what mixes many mixes these, and more take a while."""

ENOUGH = 32
"""The same of a model that refuses so few, such as one that looks for the nearest ten."""


def mixing(model: nn.Module, *, training: bool) -> list[str]:
    """Find the layers that normalise by the statistics of the batch.

    Args:
        model: any module.
        training: whether it is evaluated in training mode.

    Returns:
        The names of the layers; empty for a network in which every sample is on its own.

    Example:
        >>> mixing(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False), nn.BatchNorm1d(2)), training=False)
        ['0']
    """
    return [
        name or type(model).__name__
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and (training or module.running_mean is None)
    ]


def warn_of_mixing(model: nn.Module, batches: int, *, training: bool) -> None:
    """Warn about such layers if the data are cut into several batches.

    Args:
        model: any module.
        batches: into how many the data are cut.
        training: whether the model is evaluated in training mode.
    """
    found = mixing(model, training=training) if batches > 1 else []
    if found:
        which = "in training mode" if training else "without running statistics"
        warn(
            f"model: BatchNorm {which} ({', '.join(found[:3])}{' …' if len(found) > 3 else ''}) uses the mean and "
            f"variance of each batch, so the values depend on how the data are cut (here into {batches}); put all "
            "samples into one batch, or keep running statistics",
        )


class FirstRows:
    """What is left of the outputs of the first batch, once they have been measured: a number for each sample.

    It is given to :meth:`Objective.measure <lossatlas.Objective.measure>`, which shows it every batch.
    """

    def __init__(self) -> None:
        self._batches = 0
        self._rows: Tensor | None = None
        self._size = 0

    def __call__(self, outputs: Any, targets: Any, size: int) -> None:
        """Look at a batch."""
        self._batches += 1
        with contextlib.suppress(Exception):  # of nested or sparse outputs there is no row to be had
            if self._batches == 1 and outputs.layout == torch.strided:
                self._rows, self._size = _rows(outputs[:ENOUGH], min(len(outputs), ENOUGH)), len(outputs)

    def of(self, size: int, rows: int) -> Tensor | None:
        """Those of the first samples, if the batch had an output for each of as many as it should."""
        return self._rows[:rows] if self._rows is not None and self._size == size else None


def warn_of_hidden(objective: Objective, rows: FirstRows | None = None) -> None:
    """Note mixing that no layer's class shows, for captions; warn about it if the data are cut into several batches.

    Args:
        objective: what is measured; in training mode nothing is looked for.
        rows: what was seen of its outputs, if it has just been measured.
    """
    number, normalised = objective.batches.number, bool(layers(objective.model))
    if objective.training or objective.forward is not calling.forward:
        return
    if _across(objective):
        if objective.size is None:
            warn(
                f"model: {type(objective.model).__name__} keeps apart what lies along the second dimension of its "
                "inputs, and not along the first (time first?), which was counted as the samples; pass "
                "size=lambda batch: batch[0].shape[1]",
            )
        return
    if number < 2 and not normalised:
        return
    known = mixing(objective.model, training=False)  # which has been said
    if known and not normalised:
        return
    objective.mixed = found = hidden(objective, rows)
    if found and number > 1 and not known:
        warn(
            f"model: {described(objective.model, found[0])} lets the samples of a batch change each other's outputs "
            f"(statistics of the batch?), so the values depend on how the data are cut (here into {number}); put "
            "samples that belong together into one batch",
        )


def described(model: nn.Module, name: str) -> str:
    """A module by its name and class; the model has no name.

    Returns:
        The words.

    Example:
        >>> described(nn.Sequential(nn.Linear(1, 1)), "0"), described(nn.Linear(1, 1), "")
        ("'0' (Linear)", 'Linear')
    """
    kind = type(model.get_submodule(name)).__name__
    return f"{name!r} ({kind})" if name else kind


def hidden(objective: Objective, seen: FirstRows | None = None) -> tuple[str, ...]:
    """The modules in which the output of a sample depends on the others of its batch, as a part of the batch shows.

    Every second of some samples of the first batch goes through the model once more. That is tried only with a single
    tensor of inputs that has the samples first, and a model that cannot take the part is not judged.

    Args:
        objective: whose model.
        seen: the outputs of the batch; otherwise these samples go through the model together.

    Returns:
        The name of the first such module, and those of the BatchNorm layers that used their batch; empty if there is
        none, or if it cannot be known.
    """
    for rows in (FEW, ENOUGH):
        with contextlib.suppress(Exception), objective.posed(), objective.batches.seeded(0), objective.grad_mode():
            batch = next(iter(objective.batches))
            if (inputs := _inputs(batch)) is None:
                return ()
            known = seen.of(len(tensors_of(batch)[0]), rows) if seen and objective.batches.kept else None
            return _mixed(objective.private, inputs[:rows], known)
    return ()


def _mixed(model: nn.Module, inputs: Tensor, outputs: Tensor | None = None) -> tuple[str, ...]:
    """The modules in which every second of some samples depends on the others."""
    half = inputs[::2].clone()
    if outputs is None:
        outputs = _rows(calling.predictions(model(inputs)), len(inputs))
    others = _rows(calling.predictions(model(half)), len(half))
    if outputs is None or others is None or not _differ(outputs, others):
        return ()
    live: list[str] = []
    whole, part, again = _digests(model, inputs, live), _digests(model, half), _digests(model, inputs)
    if any(_differ(whole[name], again[name], slice(None)) for name in whole.keys() & again.keys()):
        return ()  # it is not the same twice: noise, which is said elsewhere
    first = next(name for name in whole if _begins(name, whole, part))
    return tuple(dict.fromkeys([first, *live]))


def _across(objective: Objective) -> bool:
    """Whether the samples lie along the second dimension: what is along the first changes the outputs of others.

    That is tried only where inputs, outputs and targets begin with the same two dimensions, as sequences do.

    Returns:
        Whether they do, as far as it can be known.
    """
    model = objective.private
    with contextlib.suppress(Exception), objective.posed(), objective.batches.seeded(0), objective.grad_mode():
        batch = next(iter(objective.batches))
        inputs, targets = _inputs(batch), calling.targets(batch)
        if inputs is None or not isinstance(targets, Tensor) or targets.shape[:2] != batch[0].shape[:2]:
            return False
        inputs = inputs[:, :ENOUGH]
        whole, along, across = (
            calling.predictions(model(part.clone())) for part in (inputs, inputs[::2], inputs[:, ::2])
        )
        if whole.shape[:2] != inputs.shape[:2] or inputs.shape[1] < 2:
            return False
        within = DIFFERENT * float(whole.abs().max())
        mixes = not torch.allclose(whole[::2], along, rtol=DIFFERENT, atol=within)
        return mixes and torch.allclose(whole[:, ::2], across, rtol=DIFFERENT, atol=within)
    return False


def _inputs(batch: Any) -> Tensor | None:
    """Some rows of what the model gets, if that is a single tensor with as many rows as there are targets."""
    parts = batch if isinstance(batch, (tuple, list)) else [batch]
    tensors = tensors_of(batch)
    plain = len(parts) in (1, 2) and all(isinstance(part, Tensor) and part.dim() for part in parts)
    if not plain or len(tensors) != len(parts) or tensors[0].layout != torch.strided or tensors[0].is_nested:
        return None
    rows = len(tensors[0])
    fits = rows >= FEWEST and tensors[0].dim() > 1 and all(len(tensor) == rows for tensor in tensors)
    return tensors[0][:ENOUGH] if fits else None


def _digests(model: nn.Module, inputs: Tensor, live: list[str] | None = None) -> dict[str, Tensor]:
    """A number for each sample from what every module gave and got, in the order of their ends; the model has no name.

    What has no row for each sample is left out; names of BatchNorm layers that use their batch are added to ``live``.

    Returns:
        The numbers by the names of the modules.
    """
    found: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            if live is not None and isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
                live.append(name)
            if name not in found:
                for kind, one in (("", calling.predictions(output)), (BEFORE, given[0] if given else None)):
                    rows = _rows(one, len(inputs))
                    if rows is not None:
                        found[name + kind] = rows

        return hook

    with _hooked(model, note):
        model(inputs)
    return found


def _rows(tensor: Any, rows: int) -> Tensor | None:
    """A number for each row, if it is a tensor of real numbers with so many."""
    if not (isinstance(tensor, Tensor) and tensor.dim() and len(tensor) == rows and tensor.is_floating_point()):
        return None
    flat = tensor.detach().flatten(1) if tensor.dim() > 1 else tensor.detach()[:, None]
    exact = torch.float32 if flat.device.type == "mps" else torch.float64  # Apple's GPU has no doubles
    found: Tensor = torch.linalg.vector_norm(flat, dim=1, dtype=exact)
    return found


def _begins(name: str, whole: dict[str, Tensor], part: dict[str, Tensor]) -> bool:
    """Whether the outputs of a module differ although what it got does not, as far as that is known."""
    if name.endswith(BEFORE) or name not in part or not _differ(whole[name], part[name]):
        return False
    before = name + BEFORE
    return not (before in whole and before in part and _differ(whole[before], part[before]))


@contextlib.contextmanager
def _hooked(model: nn.Module, note: Any) -> Iterator[None]:
    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _differ(whole: Tensor, part: Tensor, rows: slice = slice(None, None, 2)) -> bool:
    """Whether the samples of a part have other outputs than in the whole, by more than arithmetic explains."""
    return not torch.allclose(whole[rows], part, rtol=DIFFERENT, atol=DIFFERENT * float(whole.abs().max()))
