"""A multilayer perceptron."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lossatlas.errors import unknown

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
            raise unknown("activation", activation, ACTIVATIONS)
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
