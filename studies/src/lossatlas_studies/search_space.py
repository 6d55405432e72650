"""Which networks does an architecture search choose from? A small space of convolutional ones of one pattern."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from lossatlas.errors import SpecError, unknown
from lossatlas.objective.randomness import seeded
from lossatlas.zoo.models.mlp import ACTIVATIONS

STAGES = 3
"""Resolutions at which layers work, each half of the last."""

GROUPS = 4
"""Groups of channels in group normalisation."""

NORMS: Mapping[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(GROUPS, channels),
}
"""Normalisations by name."""


class Network(nn.Module):
    r"""A convolutional network whose layers all have the same width.

    With f = activation(norm(3×3 convolution)), layer t is :math:`x_{t+1} = x_t + f(x_t)`, or :math:`f(x_t)` without
    skip. A first layer makes the channels; after each third of the layers the image is halved by averaging; a mean
    over what is left and a linear layer end it. Shortcuts have no weights, so networks with and without them have
    equally many. Convolutions start as in He et al. 2015 (arXiv 1502.01852).

    Args:
        depth: layers after the first one, at least 3.
        width: channels.
        skip: with shortcuts.
        activation: ``"relu"``, ``"tanh"`` or ``"gelu"``.
        norm: ``"none"``, ``"batch"`` or ``"group"``, the last with 4 groups.
        channels: of the images.
        classes: number of classes.

    Raises:
        SpecError: an unknown word, a depth below 3, or a width that 4 groups do not divide.

    Example:
        >>> import torch
        >>> Network(depth=3, width=4, norm="group")(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        skip: bool = True,
        activation: str = "relu",
        norm: str = "none",
        channels: int = 1,
        classes: int = 10,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise SpecError(unknown("activation", activation, ACTIVATIONS))
        if norm not in NORMS:
            raise SpecError(unknown("norm", norm, NORMS))
        if depth < STAGES:
            raise SpecError(f"depth={depth}; expected at least {STAGES}, a layer for each resolution")
        if norm == "group" and width % GROUPS:
            raise SpecError(f"width={width} with norm='group'; expected a multiple of {GROUPS}")

        def layer(inputs: int) -> nn.Sequential:
            convolution = nn.Conv2d(inputs, width, 3, padding=1, bias=norm == "none")
            nn.init.kaiming_normal_(convolution.weight)
            return nn.Sequential(convolution, NORMS[norm](width), ACTIVATIONS[activation]())

        self.skip = skip
        self.halved = {depth * stage // STAGES for stage in range(1, STAGES)}
        self.first = layer(channels)
        self.layers = nn.ModuleList(layer(width) for _ in range(depth))
        self.last = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, shape [N, classes], of images, shape [N, channels, H, W], with H and W at least 4."""
        state: Tensor = self.first(x)
        for number, layer in enumerate(self.layers):
            if number in self.halved:
                state = F.avg_pool2d(state, 2)
            change = layer(state)
            state = state + change if self.skip else change
        scores: Tensor = self.last(state.mean(dim=(2, 3)))
        return scores


@dataclass(frozen=True, kw_only=True)
class Design:
    """One point of the space.

    Attributes:
        number: its place in the whole space, which is also the seed of its weights and of the order of its samples.
        depth: layers.
        width: channels.
        skip: with shortcuts.
        activation: by name.
        norm: by name.
    """

    number: int
    depth: int
    width: int
    skip: bool
    activation: str
    norm: str

    @property
    def label(self) -> str:
        """The design in words.

        Example:
            >>> Design(number=0, depth=3, width=8, skip=True, activation="relu", norm="none").label
            '3 layers of 8, residual, relu, no norm'
        """
        kind = "residual" if self.skip else "plain"
        norm = "no norm" if self.norm == "none" else f"{self.norm} norm"
        return f"{self.depth} layers of {self.width}, {kind}, {self.activation}, {norm}"

    @property
    def options(self) -> dict[str, Any]:
        """Its options, without its number."""
        return {name: value for name, value in asdict(self).items() if name != "number"}

    def fresh(self, channels: int) -> nn.Module:
        """The network before training; the global random state is left alone."""
        with seeded(self.number):
            return Network(**self.options, channels=channels)


def space(
    depths: Sequence[int], widths: Sequence[int], activations: Sequence[str], norms: Sequence[str], *, count: int
) -> list[Design]:
    """The designs that are tried: the whole space, or a given number drawn from it at random.

    Example:
        >>> [len(space((3, 9), (8, 16), ("relu", "tanh"), ("none", "batch"), count=n)) for n in (100, 5)]
        [32, 5]
    """
    whole = [
        Design(number=number, depth=depth, width=width, skip=skip, activation=activation, norm=norm)
        for number, (depth, width, skip, activation, norm) in enumerate(
            itertools.product(depths, widths, (True, False), activations, norms)
        )
    ]
    chosen = np.sort(np.random.default_rng(0).permutation(len(whole))[:count])
    return [whole[number] for number in chosen]
