"""Which layers let the result of a sample depend on the others in its batch, so that cutting the data matters?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lossatlas.objective import calling
from lossatlas.objective.containers import tensors_of
from lossatlas.warned import warn

if TYPE_CHECKING:
    from lossatlas.objective.objective import Objective

__all__ = ["hidden", "mixing", "warn_of_hidden", "warn_of_mixing"]

DIFFERENT = 0.02
"""Relative difference of outputs that arithmetic in another order, in a short format too, does not explain."""

FEWEST = 4
"""Samples of a batch that can be looked at: every second one must still be a batch."""

ENOUGH = 32
"""Samples that are looked at: what mixes many mixes these, and a large batch takes a while."""


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


def warn_of_hidden(objective: Objective) -> None:
    """Warn about mixing that no layer's class shows, if the data are cut into several batches.

    Args:
        objective: what is measured; in training mode nothing is looked for.
    """
    number = objective.batches.number
    if number < 2 or objective.training or objective.forward is not calling.forward:
        return
    if mixing(objective.model, training=False):  # which has been said
        return
    if where := hidden(objective):
        warn(
            f"model: {where} lets the samples of a batch change each other's outputs (statistics of the batch?), so "
            f"the values depend on how the data are cut (here into {number}); put samples that belong together into "
            "one batch",
        )


def hidden(objective: Objective) -> str:
    """The module in which the output of a sample depends on the others of its batch, as a part of the batch shows.

    Some samples of the first batch go through the model, and every second of them once more. That is tried only with a
    single tensor of inputs that has the samples first, and a model that cannot take the part is not judged.

    Args:
        objective: whose model.

    Returns:
        Name and class of the module; empty if there is none, or if it cannot be known.
    """
    model = objective.private
    with contextlib.suppress(Exception), objective.posed(), objective.batches.seeded(0), objective.grad_mode():
        for batch in objective.batches:
            inputs = _inputs(batch)
            if inputs is None:
                return ""
            whole, part = _digests(model, inputs), _digests(model, inputs[::2].clone())
            if not ({""} <= whole.keys() & part.keys() and _differ(whole[""], part[""])):
                return ""
            again = _digests(model, inputs)
            if any(_differ(whole[name], again[name], slice(None)) for name in whole.keys() & again.keys()):
                return ""  # it is not the same twice: noise, which is said elsewhere
            first = next(name for name in whole if name in part and _differ(whole[name], part[name]))
            return f"{first!r} ({type(model.get_submodule(first)).__name__})" if first else type(model).__name__
    return ""


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


def _digests(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """A number for each sample from the output of every module, in the order of their ends; the model has no name.

    Modules whose output has no row for each sample are left out.

    Returns:
        The numbers by the names of the modules.
    """
    found: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            output = calling.predictions(output)
            if isinstance(output, Tensor) and output.dim() and len(output) == len(inputs) and name not in found:
                rows = output.detach().flatten(1) if output.dim() > 1 else output.detach()[:, None]
                if rows.is_floating_point():
                    found[name] = rows.double().norm(dim=1) if rows.device.type != "mps" else rows.norm(dim=1)

        return hook

    with _hooked(model, note):
        model(inputs)
    return found


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
