"""The networks that come with lossatlas, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from lossatlas.zoo.models import deep_resnet, densenet, mlp, recurrent, resnet, transformer, vgg, vision

__all__ = ["MODELS"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    **resnet.BY_NAME,
    **deep_resnet.BY_NAME,
    **vgg.BY_NAME,
    **densenet.BY_NAME,
    **mlp.BY_NAME,
    **recurrent.BY_NAME,
    **transformer.BY_NAME,
    **vision.BY_NAME,
}
"""What makes a network, by name."""
