"""Small networks for images without convolutions: a vision transformer and an MLP-Mixer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.zoo.models.transformer import EncoderBlock

__all__ = ["BY_NAME", "Mixer", "MixerBlock", "ViT"]


class ViT(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929), classifying from the mean of its patches.

    Args:
        size: height and width of an image.
        patch: height and width of a patch; must divide ``size``.
        channels: channels of an image.
        dim: width of the stream.
        layers: number of blocks.
        heads: number of heads; must divide ``dim``.
        hidden: units of the inner network; by default 2 dim.
        classes: number of classes.
        fused: one matrix for queries, keys and values.

    Raises:
        SpecError: ``patch`` does not divide ``size``.

    Example:
        >>> import torch
        >>> ViT()(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        *,
        size: int = 8,
        patch: int = 2,
        channels: int = 1,
        dim: int = 32,
        layers: int = 2,
        heads: int = 4,
        hidden: int | None = None,
        classes: int = 10,
        fused: bool = True,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, dim, patch, stride=patch)
        self.positions = nn.Embedding(_patches(size, patch), dim)
        self.layers = nn.ModuleList(
            EncoderBlock(dim=dim, heads=heads, hidden=hidden or 2 * dim, fused=fused) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.linear = nn.Linear(dim, classes)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, shape [N, classes], of images, shape [N, channels, size, size]."""
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions.weight
        for layer in self.layers:
            x = layer(x)
        scores: Tensor = self.linear(self.norm(x).mean(1))
        return scores


class MixerBlock(nn.Module):
    """One network across patches, one across channels, each on a normed copy of the stream and added to it.

    Args:
        tokens: number of patches.
        dim: number of channels.
        token_hidden: units of the network across patches.
        channel_hidden: units of the network across channels.
    """

    def __init__(self, *, tokens: int, dim: int, token_hidden: int, channel_hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.across = nn.Sequential(nn.Linear(tokens, token_hidden), nn.GELU(), nn.Linear(token_hidden, tokens))
        self.norm2 = nn.LayerNorm(dim)
        self.within = nn.Sequential(nn.Linear(dim, channel_hidden), nn.GELU(), nn.Linear(channel_hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """One block: [N, tokens, dim] to [N, tokens, dim]."""
        x = x + self.across(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.within(self.norm2(x))
        return out


class Mixer(nn.Module):
    """An MLP-Mixer (Tolstikhin et al. 2021, arXiv 2105.01601).

    Args:
        size: height and width of an image.
        patch: height and width of a patch; must divide ``size``.
        channels: channels of an image.
        dim: width of the stream.
        layers: number of blocks.
        token_hidden: units of the networks across patches.
        channel_hidden: units of the networks across channels.
        classes: number of classes.

    Raises:
        SpecError: ``patch`` does not divide ``size``.

    Example:
        >>> import torch
        >>> Mixer()(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        *,
        size: int = 8,
        patch: int = 2,
        channels: int = 1,
        dim: int = 32,
        layers: int = 2,
        token_hidden: int = 32,
        channel_hidden: int = 64,
        classes: int = 10,
    ) -> None:
        super().__init__()
        tokens = _patches(size, patch)
        self.patches = nn.Conv2d(channels, dim, patch, stride=patch)
        self.layers = nn.Sequential(
            *(
                MixerBlock(tokens=tokens, dim=dim, token_hidden=token_hidden, channel_hidden=channel_hidden)
                for _ in range(layers)
            )
        )
        self.norm = nn.LayerNorm(dim)
        self.linear = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, shape [N, classes], of images, shape [N, channels, size, size]."""
        x = self.layers(self.patches(x).flatten(2).transpose(1, 2))
        scores: Tensor = self.linear(self.norm(x).mean(1))
        return scores


def _patches(size: int, patch: int) -> int:
    if size % patch:
        raise SpecError(f"patch={patch} does not divide size={size}")
    return (size // patch) ** 2


BY_NAME: Mapping[str, Callable[..., nn.Module]] = {"vit": ViT, "mixer": Mixer}
"""``vit`` and ``mixer``; by default for 8×8 images of one channel, such as digits."""
