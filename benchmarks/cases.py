"""What is measured: networks with data, small enough for two cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import lossatlas as la


@dataclass(frozen=True)
class Case:
    """A network and its data."""

    name: str
    source: Callable[[], nn.Module]
    data: tuple[Tensor, Tensor]

    def make(self) -> nn.Module:
        """The network, with the same weights every time."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return self.source()


class Recurrent(nn.Module):
    """A two-layer LSTM that classifies the rows of an image, read from top to bottom."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 32, num_layers=2, batch_first=True)
        self.out = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x.squeeze(1))[0][:, -1])


class Attentive(nn.Module):
    """A two-layer transformer encoder over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layers(self.embed(x.squeeze(1))).mean(1))


def cases(data: Path | None) -> list[Case]:
    """All cases; with a folder that holds the authors' network and images, ResNet-56 is theirs."""
    digits = la.zoo.data("digits")
    return [
        Case("ResNet-56, 500 images", *_resnet56(data)),
        Case("digits ResNet-20", lambda: la.zoo.model("resnet20", channels=1), tuple(part[:500] for part in digits)),
        Case("digits MLP", lambda: la.zoo.model("mlp"), digits),
        Case("digits LSTM", Recurrent, digits),
        Case("digits transformer", Attentive, digits),
    ]


def _resnet56(folder: Path | None) -> tuple[Callable[[], nn.Module], Any]:
    if folder is None:
        random = torch.Generator().manual_seed(0)
        data = torch.randn(500, 3, 32, 32, generator=random), torch.randint(0, 10, (500,), generator=random)
        return lambda: la.zoo.model("resnet56", seed=0), data

    def trained() -> nn.Module:
        model = la.zoo.model("resnet56")
        la.load_checkpoint(model, folder / "li2018_resnet56.pt")
        return model

    found = np.load(folder / "cifar10_train500.npz")
    mean, deviation = (torch.tensor(v).view(3, 1, 1) / 255 for v in ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)))
    x = torch.from_numpy(found["x"]).permute(0, 3, 1, 2).float() / 255
    return trained, (((x - mean) / deviation).contiguous(), torch.from_numpy(found["y"]))
