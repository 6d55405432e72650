"""How is a model called on moved inputs? Where in a batch they are, and how far a point moves them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.objective import calling
from lossatlas.objective.batches import map_tensors, tensors_of

__all__ = ["NAME", "Change", "Moved", "Place", "Shifted", "Sized", "floating", "layer_of"]

NAME = "displacement"
"""The one tensor that moves: the coordinates of the point."""

Change = Callable[[Tensor], Tensor]


class Moved(nn.Module):
    """A network beside the coordinates at which its inputs are; its weights stay.

    Args:
        network: any module.
        axes: how many coordinates there are.
    """

    def __init__(self, network: nn.Module, axes: int) -> None:
        super().__init__()
        self.network = network
        tensors = [t for t in (*network.parameters(), *network.buffers()) if t.is_floating_point()]
        double = any(tensor.dtype == torch.float64 for tensor in tensors)
        device = tensors[0].device if tensors else torch.device("cpu")
        zeros = torch.zeros(axes, dtype=torch.float64 if double else torch.float32, device=device)
        self.displacement = nn.Parameter(zeros, requires_grad=False)
        self.train(network.training)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which part of a batch is moved: its first floating-point input, or the output of a layer.

    Attributes:
        layer: name of a module whose output is moved, such as a token embedding; empty for the input itself.
    """

    layer: str = ""

    def call(self, forward: calling.Forward, model: nn.Module, batch: Any, change: Change) -> tuple[Any, Any]:
        """Call a model on a batch, with what is moved changed on the way. The targets stay those of the batch.

        Args:
            forward: how the model is called.
            model: any module.
            batch: any batch.
            change: from what is moved to what takes its place.

        Returns:
            Outputs and targets.

        Raises:
            SpecError: there is no such layer, or no input of floating point.
        """
        if self.layer:
            return self._within(forward, model, batch, change)
        old = floating(forward, batch)
        inner = map_tensors(functools.partial(_swapped, old=old, new=change(old)), batch)
        outputs, targets = forward(model, inner)
        return outputs, calling.targets(batch) if forward is calling.forward else targets

    def _within(self, forward: calling.Forward, model: nn.Module, batch: Any, change: Change) -> tuple[Any, Any]:
        def hook(_: nn.Module, __: Any, output: Any) -> Any:
            if isinstance(output, Tensor):
                return change(output)
            return (change(output[0]), *output[1:])

        handle = layer_of(model, self.layer).register_forward_hook(hook)
        try:
            return forward(model, batch)
        finally:
            handle.remove()


def layer_of(model: nn.Module, name: str) -> nn.Module:
    """A module of a model by its name.

    Returns:
        The module.

    Raises:
        SpecError: the model has no module of that name.
    """
    try:
        return model.get_submodule(name)
    except AttributeError as fault:
        known = [inner for inner, _ in model.named_modules() if inner][:8]
        raise SpecError(f"layer={name!r}: the model has no such module; it has {', '.join(known)}, …") from fault


def floating(forward: calling.Forward, batch: Any) -> Tensor:
    """The first tensor of floating point that goes into the model.

    Returns:
        The tensor itself, as it is in the batch.

    Raises:
        SpecError: all inputs are integers, such as tokens.
    """
    inputs = batch
    if forward is calling.forward:
        if isinstance(batch, Mapping):
            inputs = {name: part for name, part in batch.items() if name != calling.target_name(batch)}
        elif isinstance(batch, (tuple, list)) and len(batch) > 1:
            inputs = batch[:-1]
    for tensor in tensors_of(inputs):
        if tensor.is_floating_point():
            return tensor
    raise SpecError(
        "data: no input is of floating point, and integers such as tokens cannot move by small steps; name the layer "
        "whose output should move, such as layer='embedding'"
    )


def _swapped(tensor: Tensor, *, old: Tensor, new: Tensor) -> Tensor:
    return new if tensor is old else tensor


@dataclass(frozen=True)
class Shifted:
    r"""The forward function of a moved model: :math:`x + \sum_a c_a d_a`, clamped if that is asked for.

    Args:
        forward: how the user's model is called.
        place: what is moved.
        clamp: lowest and highest valid entry of an input, or None.
    """

    forward: calling.Forward
    place: Place
    clamp: tuple[float, float] | None = None

    def __call__(self, model: nn.Module, batch: Any) -> tuple[Any, Any]:
        """Outputs and targets where the model's coordinates put the inputs; a batch has its directions beside it."""
        inner, ways = batch
        where, network = model.get_parameter(NAME), model.get_submodule("network")

        def change(old: Tensor) -> Tensor:
            steps = [coordinate * way for coordinate, way in zip(where.unbind(), ways, strict=True)]
            new: Tensor = old + functools.reduce(torch.add, steps).to(old.dtype)
            return new if self.clamp is None else new.clamp(*self.clamp)

        return self.place.call(self.forward, network, inner, change)


@dataclass(frozen=True)
class Sized:
    """The number of samples in a batch that has its directions beside it, as the user counts them."""

    size: Callable[[Any], int]

    def __call__(self, batch: Any) -> int:
        """The number of samples."""
        return self.size(batch[0])
