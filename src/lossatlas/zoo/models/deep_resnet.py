"""The paper's ResNet-18 to ResNet-152 for images of 32×32: four stages of basic or bottleneck blocks.

Names, shapes and order of the parameters are those of the original code. The architecture is that of He et al. 2016
(arXiv 1512.03385, table 1), with a first layer for small images and projection shortcuts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lossatlas.zoo.models.resnet import BasicBlock, shortcut

__all__ = ["BY_NAME", "EXPANSION", "Bottleneck", "DeepResNet"]

EXPANSION = 4


class Bottleneck(nn.Module):
    """A 1×1, a 3×3 and a widening 1×1 convolution, and a shortcut around them unless ``skip`` is false.

    As in the original code the block without a shortcut ends in BatchNorm, not in a ReLU.

    Args:
        inputs: channels of the input, shape [N, inputs, H, W].
        middle: channels within; the output has four times as many, shape [N, 4 middle, H / stride, W / stride].
        stride: of the 3×3 convolution.
        skip: add the shortcut: the identity, or a 1×1 convolution where the shape changes.
    """

    def __init__(self, inputs: int, middle: int, stride: int, *, skip: bool) -> None:
        super().__init__()
        outputs = EXPANSION * middle
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.skip = skip
        if skip:
            self.shortcut = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + self.shortcut(x)) if self.skip else out


class DeepResNet(nn.Module):
    """Four stages of blocks, of width w, 2 w, 4 w and 8 w, and global average pooling.

    Args:
        blocks: number of blocks in each stage.
        bottleneck: bottleneck blocks instead of basic ones.
        skip: with shortcuts.
        width: channels w of the first stage.
        channels: channels of the input.
        classes: number of classes.

    Example:
        >>> DeepResNet(blocks=(1, 1, 1, 1), bottleneck=True, width=4)(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        blocks: Sequence[int] = (2, 2, 2, 2),
        bottleneck: bool = False,
        skip: bool = True,
        width: int = 64,
        channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        make, grows = (Bottleneck, EXPANSION) if bottleneck else (BasicBlock, 1)
        inputs = width
        for stage, count in enumerate(blocks):
            middle = width * 2**stage
            made: list[nn.Module] = []
            for index in range(count):
                made.append(make(inputs, middle, 2 if stage and not index else 1, skip=skip))
                inputs = middle * grows
            self.add_module(f"layer{stage + 1}", nn.Sequential(*made))
        self.stages = len(blocks)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, shape [N, classes], of images, shape [N, channels, H, W]."""
        out = F.relu(self.bn1(self.conv1(x)))
        for stage in range(self.stages):
            out = self.get_submodule(f"layer{stage + 1}")(out)
        scores: Tensor = self.linear(torch.flatten(F.adaptive_avg_pool2d(out, 1), 1))
        return scores


_DEPTHS: dict[int, tuple[tuple[int, ...], bool]] = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}

BY_NAME: Mapping[str, Callable[..., nn.Module]] = {
    f"resnet{depth}{'' if skip else '_noshort'}": functools.partial(
        DeepResNet, blocks=blocks, bottleneck=bottleneck, skip=skip
    )
    for depth, (blocks, bottleneck) in _DEPTHS.items()
    for skip in (True, False)
}
"""``resnet18``, ``resnet34``, ``resnet50``, ``resnet101``, ``resnet152``, each also as ``_noshort``."""
