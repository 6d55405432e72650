"""The residual networks of the paper with three stages, thin and wide, with and without shortcuts.

Names, shapes and order of the parameters are those of the original code, so that its checkpoints load strictly. The
architecture is that of He et al. 2016 (arXiv 1512.03385, section 4.2) with projection shortcuts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lossatlas.errors import SpecError

__all__ = ["BY_NAME", "DEPTHS", "WIDENINGS", "BasicBlock", "ResNet", "shortcut"]

DEPTHS = (20, 32, 44, 56, 110)
WIDENINGS = {56: (2, 4, 8), 110: (2, 4)}


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """The identity, or a 1×1 convolution with BatchNorm where the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, and a shortcut around them unless ``skip`` is false.

    Args:
        inputs: channels of the input, shape [N, inputs, H, W].
        outputs: channels of the output, shape [N, outputs, H / stride, W / stride].
        stride: of the first convolution.
        skip: add the shortcut: the identity, or a 1×1 convolution where the shape changes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, skip: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.skip = skip
        if skip:
            self.shortcut = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x) if self.skip else out)


class ResNet(nn.Module):
    """A network of 6 n + 2 layers: three stages of n blocks, of width w, 2 w and 4 w, and global average pooling.

    Args:
        depth: number of layers, 6 n + 2.
        skip: with shortcuts.
        width: channels w of the first stage.
        channels: channels of the input.
        classes: number of classes.

    Raises:
        SpecError: a depth that is not 6 n + 2.

    Example:
        >>> ResNet(depth=8, width=4, channels=1)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(self, *, depth: int, skip: bool = True, width: int = 16, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise SpecError(f"depth={depth}; expected 6 n + 2, such as 20, 32, 44, 56 or 110")
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, blocks, 1, skip)
        self.layer2 = _stage(width, 2 * width, blocks, 2, skip)
        self.layer3 = _stage(2 * width, 4 * width, blocks, 2, skip)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, shape [N, classes], of images, shape [N, channels, H, W]."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        scores: Tensor = self.linear(torch.flatten(F.adaptive_avg_pool2d(out, 1), 1))
        return scores


def _stage(inputs: int, outputs: int, blocks: int, stride: int, skip: bool) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride, skip=skip)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1, skip=skip) for _ in range(blocks - 1)))


BY_NAME: Mapping[str, Callable[..., nn.Module]] = (
    {
        f"resnet{depth}{suffix}": functools.partial(ResNet, depth=depth, skip=not suffix)
        for depth in DEPTHS
        for suffix in ("", "_noshort")
    }
    | {"resnet50_16_noshort": functools.partial(ResNet, depth=50, skip=False)}
    | {
        f"wrn{depth}_{widening}{suffix}": functools.partial(ResNet, depth=depth, width=16 * widening, skip=not suffix)
        for depth, widenings in WIDENINGS.items()
        for widening in widenings
        for suffix in ("", "_noshort")
    }
    | {"resnet": ResNet}
)
"""``resnet20`` … ``resnet110`` and the wide ``wrn56_2`` … ``wrn110_4``, each also as ``_noshort``; ``resnet`` takes any
depth and width."""
