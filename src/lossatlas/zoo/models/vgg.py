"""The paper's VGG-9: convolutions with BatchNorm in three groups, and two linear layers.

Names, shapes and order of the parameters are those of the original code. After Simonyan and Zisserman 2015
(arXiv 1409.1556).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

__all__ = ["BY_NAME", "VGG"]


class VGG(nn.Module):
    """Groups of 3×3 convolutions, each followed by a maximum over 2×2 pixels.

    Args:
        groups: channels of each convolution, group by group.
        size: height and width of an image.
        channels: channels of an image.
        classes: number of classes.

    Example:
        >>> VGG(groups=((4,), (8, 8)), size=8, channels=1)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        groups: Sequence[Sequence[int]] = ((64, 64), (128, 128), (256, 256, 256)),
        size: int = 32,
        channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for group in groups:
            for width in group:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
            size = -(-size // 2)
        self.features = nn.Sequential(*layers)
        self.fc = nn.Sequential(nn.Linear(channels * size * size, channels), nn.BatchNorm1d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, shape [N, classes], of images, shape [N, channels, size, size]."""
        scores: Tensor = self.classifier(self.fc(torch.flatten(self.features(x), 1)))
        return scores


BY_NAME: Mapping[str, Callable[..., nn.Module]] = {"vgg9": VGG}
"""``vgg9``."""
