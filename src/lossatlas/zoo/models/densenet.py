"""The paper's DenseNet-121 for images of 32×32: every layer reads the outputs of all layers before it in its stage.

Names, shapes and order of the parameters are those of the original code. The architecture is that of Huang et al. 2017
(arXiv 1608.06993, table 1), with a first layer for small images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BY_NAME", "DenseLayer", "DenseNet", "Transition"]


class DenseLayer(nn.Module):
    """A 1×1 and a 3×3 convolution, each after BatchNorm and ReLU; the outputs are put before the inputs.

    Args:
        inputs: channels of the input, shape [N, inputs, H, W].
        growth: channels that are added, shape [N, growth + inputs, H, W].
    """

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        out = self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))
        return torch.cat([out, x], 1)


class Transition(nn.Module):
    """Half the channels by a 1×1 convolution, half the pixels in each dimension by a mean.

    Args:
        inputs: channels of the input, shape [N, inputs, H, W].
        outputs: channels of the output, shape [N, outputs, H / 2, W / 2].
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the transition."""
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2)


class DenseNet(nn.Module):
    """Stages of dense layers with transitions between them, and global average pooling.

    Args:
        blocks: number of layers in each stage.
        growth: channels that each layer adds.
        channels: channels of the input.
        classes: number of classes.

    Example:
        >>> DenseNet(blocks=(2, 2), growth=4, channels=1)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self, *, blocks: Sequence[int] = (6, 12, 24, 16), growth: int = 32, channels: int = 3, classes: int = 10
    ) -> None:
        super().__init__()
        width = 2 * growth
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        for stage, count in enumerate(blocks, 1):
            layers = [DenseLayer(width + index * growth, growth) for index in range(count)]
            self.add_module(f"dense{stage}", nn.Sequential(*layers))
            width += count * growth
            if stage < len(blocks):
                self.add_module(f"trans{stage}", Transition(width, width // 2))
                width //= 2
        self.stages = len(blocks)
        self.bn = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, shape [N, classes], of images, shape [N, channels, H, W]."""
        out = self.conv1(x)
        for stage in range(1, self.stages + 1):
            out = self.get_submodule(f"dense{stage}")(out)
            if stage < self.stages:
                out = self.get_submodule(f"trans{stage}")(out)
        out = F.adaptive_avg_pool2d(F.relu(self.bn(out)), 1)
        scores: Tensor = self.linear(torch.flatten(out, 1))
        return scores


BY_NAME: Mapping[str, Callable[..., nn.Module]] = {"densenet121": DenseNet}
"""``densenet121``."""
