"""How does a batch go through a model, and which parts of the result are outputs, targets and loss?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.nn.utils.rnn import PackedSequence

from lossatlas.errors import SpecError

__all__ = ["TARGETS", "Forward", "forward", "own_loss", "predictions", "target_name", "targets"]

Forward = Callable[[nn.Module, Any], tuple[Any, Any]]
"""``forward(model, batch) -> (outputs, targets)``: what an Objective calls for each batch."""

TARGETS = ("labels", "label", "targets", "target", "y")


def forward(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    """Call a model on a batch in the way its shape suggests.

    ==========================  =============================  =========================================
    batch                       call                           targets
    ==========================  =============================  =========================================
    tuple ``(a, b, …, y)``      ``model(a, b, …)``             the last element
    a single tensor, ``(x,)``   ``model(x)``                   ``x`` itself, as for an autoencoder
    mapping                     ``model(**batch)``             the first of labels, label, targets,
                                                               target, y that it has
    ==========================  =============================  =========================================

    A target that the model's ``forward`` does not take is left out of the call.

    Returns:
        The outputs and the targets.

    Example:
        >>> import torch
        >>> outputs, targets = forward(nn.Linear(2, 3), (torch.zeros(5, 2), torch.zeros(5)))
        >>> outputs.shape, targets.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """
    found = targets(batch)
    if isinstance(batch, Mapping):
        own = target_name(batch)
        named = {key: value for key, value in batch.items() if key != own or _takes(model, key)}
        return model(**named), found
    if isinstance(batch, (tuple, list)) and not isinstance(batch, PackedSequence):
        inputs = batch[:-1] if len(batch) > 1 else batch
        return model(*inputs), found
    return model(batch), found


def targets(batch: Any) -> Any:
    """What :func:`forward` compares the outputs with, without a call of the model.

    Returns:
        The targets; None if a mapping has none.

    Example:
        >>> targets({"x": 1, "labels": 2})
        2
    """
    if isinstance(batch, Mapping):
        name = target_name(batch)
        return None if name is None else batch[name]
    return batch[-1] if isinstance(batch, (tuple, list)) and not isinstance(batch, PackedSequence) else batch


def target_name(batch: Mapping[str, Any]) -> str | None:
    """The key of a mapping that holds its targets."""
    return next((name for name in TARGETS if name in batch), None)


def _takes(model: nn.Module, argument: str) -> bool:
    parameters = inspect.signature(model.forward).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def own_loss(outputs: Any) -> Any:
    """The loss that a model returned by itself, as ``.loss`` or ``["loss"]``.

    Returns:
        The loss, as the model gave it.

    Raises:
        SpecError: the outputs have none.
    """
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else getattr(outputs, "loss", None)
    if loss is None:
        raise SpecError(
            f"loss=None, but the model's output ({type(outputs).__name__}) has no 'loss' of its own; "
            "pass loss=..., for instance torch.nn.functional.cross_entropy"
        )
    return loss


def predictions(outputs: Any) -> Any:
    """What a loss or a metric gets: the logits, if the output is a record that has them."""
    if isinstance(outputs, Mapping):
        return outputs.get("logits", outputs)
    return getattr(outputs, "logits", outputs)
