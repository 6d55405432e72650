"""Small transformers for text: a decoder that predicts the next token and an encoder that classifies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from torch import Tensor, fx, nn
from torch.nn import functional as F

from lossatlas.errors import SpecError, unknown
from lossatlas.zoo.models.attention import Attention, merge_heads, rotated, split_heads

__all__ = ["BY_NAME", "NORMS", "Decoder", "DecoderBlock", "Encoder", "EncoderBlock", "Norm"]

fx.wrap("rotated")  # one step of the graph: the angles depend only on the shape
Norm = Literal["rms", "layer"]
NORMS: dict[str, Callable[..., nn.Module]] = {"rms": nn.RMSNorm, "layer": nn.LayerNorm}


class DecoderBlock(nn.Module):
    """Causal attention and a gated two-layer network, each on a normed copy of the stream and added to it.

    Args:
        dim: width of the stream.
        heads: heads of the queries.
        kv_heads: heads of keys and values, each shared by ``heads / kv_heads`` heads of the queries.
        hidden: units of the inner network.
        norm: ``"rms"`` or ``"layer"``.
        eps: added to the variance.
        rotary_base: base of the rotary angles; none for no rotation.
        gated: SwiGLU instead of GELU.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        kv_heads: int,
        hidden: int,
        norm: Norm,
        eps: float,
        rotary_base: float | None,
        gated: bool,
    ) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = heads, kv_heads, dim // heads
        self.rotary_base = rotary_base
        self.attention_norm = NORMS[norm](dim, eps=eps)
        self.wq = nn.Linear(dim, dim, bias=False)
        self.wk = nn.Linear(dim, kv_heads * self.head_dim, bias=False)
        self.wv = nn.Linear(dim, kv_heads * self.head_dim, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)
        self.ffn_norm = NORMS[norm](dim, eps=eps)
        self.w1 = nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden, bias=False) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        """One block: [N, T, dim] to [N, T, dim]."""
        x = x + self.attention(self.attention_norm(x))
        y = self.ffn_norm(x)
        inner = F.gelu(self.w1(y)) if self.w3 is None else F.silu(self.w1(y)) * self.w3(y)
        out: Tensor = x + self.w2(inner)
        return out

    def attention(self, x: Tensor) -> Tensor:
        """Causal attention, [N, T, dim] to [N, T, dim]."""
        q = split_heads(self.wq(x), self.num_heads)
        k, v = (split_heads(part(x), self.num_kv_heads) for part in (self.wk, self.wv))
        if self.rotary_base is not None:
            q, k = rotated(q, self.rotary_base), rotated(k, self.rotary_base)
        if self.num_kv_heads != self.num_heads:
            shared = self.num_heads // self.num_kv_heads
            k, v = k.repeat_interleave(shared, dim=1), v.repeat_interleave(shared, dim=1)
        mixed: Tensor = self.wo(merge_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
        return mixed


class Decoder(nn.Module):
    """A decoder-only language model; by default in the manner of Llama 2 (Touvron et al. 2023, arXiv 2307.09288).

    The parameters are named as in Meta's code for Llama without its two inner modules (``layers.0.wq.weight``,
    ``layers.0.w1.weight``), so checkpoints in that layout load strictly.

    Args:
        vocabulary: number of tokens.
        dim: width of the stream.
        layers: number of blocks.
        heads: heads of the queries; must divide ``dim``.
        kv_heads: heads of keys and values; must divide ``heads``; by default ``heads``.
        hidden: units of the inner network; by default 8/3 dim if gated, otherwise 4 dim, in steps of 4.
        norm: ``"rms"`` or ``"layer"``.
        eps: added to the variance in the norms.
        rotary_base: base of the rotary angles, on adjacent pairs.
        context: if given, learned positions for this many tokens instead of rotary ones.
        gated: SwiGLU; otherwise GELU.
        tied: the output layer is the embedding.

    Raises:
        SpecError: heads that do not divide, or an unknown norm.

    Example:
        >>> import torch
        >>> model = Decoder(vocabulary=512, dim=64, layers=5, heads=8, kv_heads=4, hidden=172)
        >>> sum(p.numel() for p in model.parameters())
        260032
        >>> model(torch.zeros(2, 7, dtype=torch.int64)).shape
        torch.Size([2, 7, 512])
    """

    def __init__(
        self,
        *,
        vocabulary: int = 256,
        dim: int = 64,
        layers: int = 2,
        heads: int = 4,
        kv_heads: int | None = None,
        hidden: int | None = None,
        norm: Norm = "rms",
        eps: float = 1e-5,
        rotary_base: float = 10000.0,
        context: int | None = None,
        gated: bool = True,
        tied: bool = True,
    ) -> None:
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        if dim % heads or heads % kv_heads:
            raise SpecError(f"heads={heads} must divide dim={dim}, and kv_heads={kv_heads} must divide heads")
        if norm not in get_args(Norm):
            raise SpecError(unknown("norm", norm, NORMS))
        if hidden is None:
            hidden = 4 * round((8 / 3 if gated else 4) * dim / 4)
        self.tok_embeddings = nn.Embedding(vocabulary, dim)
        self.positions = None if context is None else nn.Embedding(context, dim)
        self.layers = nn.ModuleList(
            DecoderBlock(
                dim=dim,
                heads=heads,
                kv_heads=kv_heads,
                hidden=hidden,
                norm=norm,
                eps=eps,
                rotary_base=rotary_base if context is None else None,
                gated=gated,
            )
            for _ in range(layers)
        )
        self.norm = NORMS[norm](dim, eps=eps)
        self.output = None if tied else nn.Linear(dim, vocabulary, bias=False)
        _start_small(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores of the next token, shape [N, T, vocabulary], of tokens, int64 [N, T]."""
        x = self.tok_embeddings(tokens)
        if self.positions is not None:
            x = x + self.positions.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        scores: Tensor = F.linear(x, self.tok_embeddings.weight) if self.output is None else self.output(x)
        return scores


class EncoderBlock(nn.Module):
    """Attention over all positions and a two-layer network, each on a normed copy of the stream and added to it.

    Args:
        dim: width of the stream.
        heads: number of heads.
        hidden: units of the inner network.
        fused: one matrix for queries, keys and values.
    """

    def __init__(self, *, dim: int, heads: int, hidden: int, fused: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim=dim, heads=heads, fused=fused)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """One block: [N, T, dim] to [N, T, dim]; ``mask`` is bool [N, T], true where there is a token."""
        x = x + self.attention(self.norm1(x), mask)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Encoder(nn.Module):
    """A transformer encoder that classifies a text from the mean of its positions; padding does not count.

    Args:
        vocabulary: number of tokens.
        dim: width of the stream.
        layers: number of blocks.
        heads: number of heads; must divide ``dim``.
        hidden: units of the inner network; by default 4 dim.
        context: longest text.
        classes: number of classes.
        padding: the token that fills up short texts.
        fused: one matrix for queries, keys and values.

    Example:
        >>> import torch
        >>> Encoder(vocabulary=50, classes=2)(torch.ones(3, 7, dtype=torch.int64)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        *,
        vocabulary: int = 256,
        dim: int = 32,
        layers: int = 2,
        heads: int = 4,
        hidden: int | None = None,
        context: int = 128,
        classes: int = 2,
        padding: int = 0,
        fused: bool = False,
    ) -> None:
        super().__init__()
        self.padding = padding
        self.embedding = nn.Embedding(vocabulary, dim)
        self.positions = nn.Embedding(context, dim)
        self.layers = nn.ModuleList(
            EncoderBlock(dim=dim, heads=heads, hidden=hidden or 4 * dim, fused=fused) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.linear = nn.Linear(dim, classes)
        _start_small(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """Class scores, shape [N, classes], of tokens, int64 [N, T]; at least one of each text is not padding."""
        mask = tokens != self.padding
        x = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, mask)
        counts = mask.to(x.dtype)[:, :, None]
        scores: Tensor = self.linear((self.norm(x) * counts).sum(1) / counts.sum(1))
        return scores


def _start_small(model: nn.Module) -> None:
    """Embeddings and matrices of standard deviation 0.02, as usual since GPT-2; biases zero."""
    for module in model.modules():
        if isinstance(module, (nn.Embedding, nn.Linear)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


BY_NAME: Mapping[str, Callable[..., nn.Module]] = {"decoder": Decoder, "encoder": Encoder}
"""``decoder`` predicts the next token; ``encoder`` classifies texts."""
