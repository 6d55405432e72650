"""What is measured: networks with data, small enough for two cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lossatlas as la


@dataclass(frozen=True)
class Case:
    """A network and its data; operations of a forward pass for one sample where torch cannot count them."""

    name: str
    source: Callable[[], nn.Module]
    data: tuple[Tensor, Tensor]
    flops: float = 0.0

    def objective(self, device: torch.device) -> la.Objective:
        """What is measured, by us: loss and error, in batches of 250."""
        return la.Objective(
            self.make(), self.data, F.cross_entropy, metrics={"error": la.metrics.error}, batch_size=250, device=device
        )

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


def for_large_images(name: str) -> nn.Module:
    """The stages of a deep ResNet of the zoo behind the first layer of He et al. (2016): 224 pixels, 1000 classes."""
    own = la.zoo.model(name, classes=1000)
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    stages = [own.get_submodule(f"layer{stage}") for stage in range(1, 5)]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), own.get_submodule("linear"))


LSTM_FLOPS = 2.0 * 8 * 4 * 32 * ((8 + 32) + (32 + 32)) + 2 * 32 * 10
"""Eight rows, four gates, 32 units; inputs and states of two layers; the output."""


def cases(data: Path | None, images: int = 500) -> list[Case]:
    """All cases; with a folder that holds the authors' network and images, ResNet-56 is theirs.

    Args:
        data: the folder.
        images: how many images ResNet-56 sees. The folder's are repeated where there are fewer.
    """
    digits = la.zoo.data("digits")
    few = tuple(part[:500] for part in digits)
    random = torch.Generator().manual_seed(1)
    large = max(32, images // 10)
    pictures = torch.randn(large, 3, 224, 224, generator=random), torch.randint(0, 1000, (large,), generator=random)
    return [
        Case(f"ResNet-56, {images} images", *_resnet56(data, images)),
        Case("digits ResNet-20", lambda: la.zoo.model("resnet20", channels=1), few),
        Case("digits MLP", lambda: la.zoo.model("mlp"), digits),
        Case("digits LSTM", Recurrent, digits, LSTM_FLOPS),
        Case("digits transformer", Attentive, digits),
        Case(f"ResNet-18 at 224 pixels, {large} images", lambda: for_large_images("resnet18"), pictures),
    ]


def _resnet56(folder: Path | None, images: int) -> tuple[Callable[[], nn.Module], Any]:
    if folder is None:
        random = torch.Generator().manual_seed(0)
        data = torch.randn(images, 3, 32, 32, generator=random), torch.randint(0, 10, (images,), generator=random)
        return lambda: la.zoo.model("resnet56", seed=0), data

    def trained() -> nn.Module:
        model = la.zoo.model("resnet56")
        la.load_checkpoint(model, folder / "li2018_resnet56.pt")
        return model

    found = np.load(folder / ("cifar10_train500.npz" if images <= 500 else "cifar10_train8068.npz"))
    mean, deviation = (torch.tensor(v).view(3, 1, 1) / 255 for v in ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)))
    which = torch.arange(images) % len(found["y"])
    x = torch.from_numpy(found["x"])[which].permute(0, 3, 1, 2).float() / 255
    return trained, (((x - mean) / deviation).contiguous(), torch.from_numpy(found["y"])[which])
