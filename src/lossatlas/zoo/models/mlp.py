"""Multilayer perceptrons: of any widths, and deep ones of equal layers with or without shortcuts, tied or not."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError, unknown

__all__ = ["ACTIVATIONS", "BY_NAME", "MLP", "Activation", "DeepMLP"]

Activation = Literal["relu", "tanh", "gelu"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


class MLP(nn.Module):
    """Linear layers with an activation between them; inputs of any shape are flattened.

    Args:
        widths: of the inputs, of each hidden layer, and of the output.
        activation: ``"relu"``, ``"tanh"`` or ``"gelu"``.
        norm: BatchNorm after each hidden layer.

    Raises:
        SpecError: an unknown activation.

    Example:
        >>> MLP(widths=(64, 16, 10))(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, *, widths: Sequence[int] = (64, 64, 64, 10), activation: Activation = "relu", norm: bool = False
    ) -> None:
        super().__init__()
        if activation not in get_args(Activation):
            raise SpecError(unknown("activation", activation, ACTIVATIONS))
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers.append(nn.Linear(inputs, outputs))
            if norm:
                layers.append(nn.BatchNorm1d(outputs))
            layers.append(ACTIVATIONS[activation]())
        self.layers = nn.Sequential(*layers[: -2 if norm else -1])

    def forward(self, x: Tensor) -> Tensor:
        """Scores, shape [N, widths[-1]]."""
        scores: Tensor = self.layers(torch.flatten(x, 1))
        return scores


class DeepMLP(nn.Module):
    r"""A deep network of equal layers, with shortcuts or without, with one matrix for all layers or one for each.

    With f(x) = activation(W x + b), layer t is :math:`x_{t+1} = x_t + f(x_t)`, or :math:`f(x_t)` without skip. Tied,
    it is a recurrent network that reads its input once: what a shortcut over time and one over depth have in common.

    Args:
        inputs: numbers in a sample.
        width: units of each layer.
        depth: number of layers.
        skip: with shortcuts.
        tied: all layers share one matrix and one bias.
        activation: ``"relu"``, ``"tanh"`` or ``"gelu"``.
        classes: number of classes.

    Raises:
        SpecError: an unknown activation.

    Example:
        >>> tied, untied = DeepMLP(tied=True), DeepMLP()
        >>> [sum(p.numel() for p in model.parameters()) for model in (tied, untied)]
        [3466, 10858]
    """

    def __init__(
        self,
        *,
        inputs: int = 64,
        width: int = 32,
        depth: int = 8,
        skip: bool = True,
        tied: bool = False,
        activation: Activation = "relu",
        classes: int = 10,
    ) -> None:
        super().__init__()
        if activation not in get_args(Activation):
            raise SpecError(unknown("activation", activation, ACTIVATIONS))
        self.skip, self.depth = skip, depth
        self.first = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(1 if tied else depth))
        self.activation = ACTIVATIONS[activation]()
        self.last = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores, shape [N, classes]."""
        state = self.first(torch.flatten(x, 1))
        for step in range(self.depth):
            change = self.activation(self.layers[step % len(self.layers)](state))
            state = state + change if self.skip else change
        scores: Tensor = self.last(state)
        return scores


BY_NAME: Mapping[str, Callable[..., nn.Module]] = {"mlp": MLP} | {
    f"{kind}_mlp{'_tied' if tied else ''}": functools.partial(DeepMLP, skip=kind == "residual", tied=tied)
    for kind in ("residual", "plain")
    for tied in (False, True)
}
"""``mlp`` of any widths; ``residual_mlp`` and ``plain_mlp`` of equal layers, each also ``_tied``."""
