"""Which step would be taken next? Along the gradient, along given tensors, or as an optimiser would step."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.expected import described_type
from lossatlas.flatness.ground import Ground

__all__ = ["Update", "next_step", "update_of"]

Update = Mapping[str, Tensor] | torch.optim.Optimizer
"""An update: what a step of η subtracts η times, by name; or the optimiser whose next step it is, divided by its
learning rate."""


def update_of(ground: Ground, update: Any) -> Tensor:
    """The update at a point, as one vector.

    Args:
        ground: the point, and whose gradient it is.
        update: what is given, an :data:`Update`; by default the gradient.

    Returns:
        float64 [n].

    Raises:
        SpecError: a gradient of zero, tensors that cannot be trained, an optimiser of another model.
    """
    if update is None or isinstance(update, torch.optim.Optimizer):
        gradient = ground.gradient()
        found = gradient if update is None else next_step(ground, gradient, update)
        if not bool((found != 0).any()):
            raise SpecError("the gradient is zero here, so nothing is updated; give an update, or another point")
        return found
    if not isinstance(update, Mapping):
        raise SpecError(
            f"update is {described_type(update)}; expected tensors by name, or a torch.optim.Optimizer of the model"
        )
    strangers = [name for name in update if name not in ground.matrix.names]
    if strangers:
        raise SpecError(
            f"update: {strangers[0]!r} is not a tensor that can be trained; those are {ground.matrix.names[:4]} …"
        )
    return ground.matrix.joined(dict(update))


def next_step(ground: Ground, gradient: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    """The step that an optimiser would take next with a gradient, divided by its learning rate.

    A copy of it takes the step, with its momenta and preconditioners as they are; the optimiser and the model are only
    read. Weight decay is part of the step. Where groups have different learning rates, all are divided by the first.

    Args:
        ground: the point.
        gradient: of the loss there, float64 [n].
        optimizer: of the objective's model.

    Returns:
        float64 [n]: a step of η subtracts η times it.

    Raises:
        SpecError: it does not train the objective's model, its learning rate is not positive, or it asks for a closure.
    """
    names = {id(tensor): name for name, tensor in ground.objective.model.named_parameters()}
    mine = [tensor for group in optimizer.param_groups for tensor in group["params"] if id(tensor) in names]
    if not mine:
        raise SpecError("update: the optimizer trains none of the objective's tensors; give one made of this model")
    rate = float(optimizer.param_groups[0]["lr"])
    if not rate > 0:
        raise SpecError(f"update: the optimizer's learning rate is {rate}; a step of zero length has no direction")
    copies = {id(tensor): tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in mine}
    twin = copy.deepcopy(optimizer, dict(copies))  # the memo puts the copies in the place of the model's own tensors
    slopes = ground.matrix.named(gradient)
    with torch.no_grad():
        for key, tensor in copies.items():
            tensor.copy_(ground.base[names[key]])
            if names[key] in slopes:
                tensor.grad = slopes[names[key]].to(tensor)
    try:
        twin.step()
    except TypeError as fault:  # LBFGS asks for a closure
        raise SpecError(f"update: {type(optimizer).__name__} cannot take a single gradient step ({fault})") from fault
    moved = {names[key]: (ground.base[names[key]] - tensor.detach()) / rate for key, tensor in copies.items()}
    return ground.matrix.joined({name: step for name, step in moved.items() if name in ground.matrix.names})
