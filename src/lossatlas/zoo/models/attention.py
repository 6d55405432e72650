"""Self-attention in a few lines: separate or fused projections, shared key/value heads, rotary positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lossatlas.errors import SpecError

__all__ = ["Attention", "merge_heads", "rotated", "split_heads"]


class Attention(nn.Module):
    r"""Multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762, section 3.2).

    Args:
        dim: width of the input and the output.
        heads: number of heads; must divide ``dim``.
        fused: one matrix ``qkv`` for queries, keys and values, in this order, instead of ``wq``, ``wk`` and ``wv``.
        bias: add biases.

    Raises:
        SpecError: ``heads`` does not divide ``dim``.

    Example:
        >>> Attention(dim=16, heads=4, fused=True)(torch.zeros(2, 5, 16)).shape
        torch.Size([2, 5, 16])
    """

    def __init__(self, *, dim: int, heads: int, fused: bool = False, bias: bool = True) -> None:
        super().__init__()
        if dim % heads:
            raise SpecError(f"heads={heads} does not divide dim={dim}")
        self.num_heads = heads
        if fused:
            self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        else:
            self.wq, self.wk, self.wv = (nn.Linear(dim, dim, bias=bias) for _ in range(3))
        self.wo = nn.Linear(dim, dim, bias=bias)
        self.fused = fused

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix positions.

        Args:
            x: [N, T, dim].
            mask: bool [N, T], true where there is a token; by default everywhere.

        Returns:
            [N, T, dim].
        """
        if self.fused:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
        else:
            q, k, v = self.wq(x), self.wk(x), self.wv(x)
        q, k, v = (split_heads(part, self.num_heads) for part in (q, k, v))
        seen = None if mask is None else mask[:, None, None, :]
        mixed: Tensor = self.wo(merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=seen)))
        return mixed


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[N, T, heads · d] as [N, heads, T, d]."""
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[N, heads, T, d] as [N, T, heads · d]."""
    return x.transpose(1, 2).flatten(2)


def rotated(x: Tensor, base: float) -> Tensor:
    r"""Turn each adjacent pair of numbers by an angle that grows with the position (Su et al. 2021, arXiv 2104.09864).

    Pair j of d / 2 at position t is turned by :math:`t · base^{-2j/d}`.

    Args:
        x: [N, heads, T, d], d even.
        base: of the angles, usually 10000.

    Returns:
        The same shape.

    Example:
        >>> rotated(torch.ones(1, 1, 2, 2), 10000.0)[0, 0].tolist()
        [[1.0, 1.0], [-0.30116862058639526, 1.3817732334136963]]
    """
    steps, width = x.shape[-2], x.shape[-1]
    pace = base ** (-torch.arange(0, width, 2, device=x.device, dtype=torch.float32) / width)
    angles = torch.arange(steps, device=x.device, dtype=torch.float32)[:, None] * pace
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2)
