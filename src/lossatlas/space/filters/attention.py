"""What is a filter in attention? Rows of queries, keys and values by head, fused or not, stored either way round.

Attention sees queries and keys only through their products within a head, and values only through the output
projection. So, within each head, these change nothing (A and B invertible d × d matrices, D diagonal):

- queries times A and keys times the inverse transpose of A, without rotary positions;
- values times B and the columns of the output projection that read this head times the inverse of B.

One filter per row removes the diagonal freedom between queries and keys; one filter per head (``by="head"``) removes
the freedom of a single factor between queries and keys, and between values and output projection. A general A or B
changes the picture in either case: see :mod:`lossatlas.space.canonical`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from lossatlas.space.filters.layout import Layout

__all__ = [
    "COUNTS",
    "FUSED",
    "INTERLEAVED",
    "KEY",
    "OUTPUT",
    "QUERY",
    "TRANSPOSED",
    "VALUE",
    "WIDTHS",
    "head_width",
    "is_transposed",
    "within",
]

QUERY = frozenset(("q_proj", "query", "q", "wq", "to_q", "q_lin", "q_attn", "q_proj_weight"))
KEY = frozenset(("k_proj", "key", "k", "wk", "to_k", "k_lin", "k_proj_weight"))
VALUE = frozenset(("v_proj", "value", "v", "wv", "to_v", "v_lin", "v_proj_weight"))
FUSED = frozenset(("qkv", "in_proj", "in_proj_weight", "c_attn", "query_key_value", "Wqkv", "qkv_proj", "to_qkv"))
OUTPUT = frozenset(("o_proj", "out_proj", "c_proj", "proj", "o", "wo", "Wo", "dense", "out_lin", "to_out"))
WIDTHS = ("head_dim", "attention_head_size", "key_value_proj_dim", "d_kv", "dim_head")
COUNTS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "heads", "nhead")
INTERLEAVED = frozenset(("GPTNeoXAttention", "BloomAttention", "FalconAttention", "PersimmonAttention"))
"""Attention whose fused matrix holds query, key and value of each head in turn."""

TRANSPOSED = "transformers.pytorch_utils.Conv1D"
"""A linear layer whose weight is stored [in, out]."""


@dataclass(frozen=True)
class _Heads:
    """The attention module itself and the width d of its heads."""

    module: nn.Module
    width: int


def within(module: nn.Module, name: str, tensor: Tensor) -> Layout | None:
    """The filters of a projection of attention; none for any other tensor.

    Args:
        module: a module around the tensor.
        name: name of the tensor within it, for instance ``"q_proj.weight"``.
        tensor: the tensor.

    Returns:
        The layout, if the module is an attention layer and its heads are known.
    """
    if tensor.dim() != 2 or ".lora_" in name:
        return None
    part = _part(module, name)
    found = _attention(module) if part in QUERY | KEY | VALUE | FUSED | OUTPUT else None
    if found is None:
        return None
    turned = is_transposed(_owner(module, name))
    if part in OUTPUT:
        return _output(tensor, found.width, turned)
    if part in FUSED:
        return _fused(tensor, found, turned)
    kind = "query" if part in QUERY else "key" if part in KEY else "value"
    return _rows(tensor, found.width, f"{kind} rows by head", turned)


def is_transposed(module: nn.Module) -> bool:
    """Whether a module is a linear layer that stores its weight [in, out]."""
    return any(f"{base.__module__}.{base.__qualname__}" == TRANSPOSED for base in type(module).__mro__)


def _part(module: nn.Module, name: str) -> str:
    """The child that a name leads to; ``output.dense`` of BERT and its kin counts as the child ``dense``."""
    first, _, rest = name.partition(".")
    if first == "output" and rest.startswith("dense.") and _inner(module) is not None:
        return "dense"
    return first


def _owner(module: nn.Module, name: str) -> nn.Module:
    return module.get_submodule(name.rpartition(".")[0])


def _inner(module: nn.Module) -> nn.Module | None:
    """The self-attention that BERT and its kin keep next to its output projection."""
    children = dict(module.named_children())
    return next((children[name] for name in ("self", "attention") if name in children), None)


def _attention(module: nn.Module) -> _Heads | None:
    """The heads of a module, if it is attention."""
    for candidate in (module, _inner(module)):
        if candidate is not None and (width := head_width(candidate)):
            return _Heads(candidate, width)
    return None


def head_width(module: nn.Module) -> int:
    """The width of a head: as stated, or rows of the queries over the number of heads; 0 if this is not attention."""
    tensors = {name for name, tensor in module._parameters.items() if tensor is not None}
    names = tensors | {name for name, _ in module.named_children()}
    fused, query = names & FUSED, names & QUERY
    if not fused and not (query and names & KEY and names & VALUE):
        return 0
    width = next((w for w in (getattr(module, name, None) for name in WIDTHS) if isinstance(w, int) and w > 0), 0)
    if width:
        return width
    count = next((c for c in (getattr(module, name, None) for name in COUNTS) if isinstance(c, int) and c > 0), 0)
    if not count:
        return 0
    rows = _rows_of(module, sorted(query or fused)[0]) // (1 if query else 3)
    return rows // count if rows % count == 0 else 0


def _rows_of(module: nn.Module, name: str) -> int:
    found = getattr(module, name)
    if isinstance(found, Tensor):
        return found.shape[0]
    inner = getattr(found, "base_layer", found)
    weight = inner.weight
    return int(weight.shape[1 if is_transposed(inner) else 0])


def _rows(tensor: Tensor, width: int, rule: str, turned: bool) -> Layout | None:
    rows, other = (tensor.shape[1], tensor.shape[0]) if turned else (tensor.shape[0], tensor.shape[1])
    if rows % width:
        return None
    if turned:
        return Layout(shape=(other, rows // width, width), dims=(1, 2), heads=(1,), rule=rule)
    return Layout(shape=(rows // width, width, other), dims=(0, 1), heads=(0,), rule=rule)


def _output(tensor: Tensor, width: int, turned: bool) -> Layout | None:
    inside, rows = (tensor.shape[0], tensor.shape[1]) if turned else (tensor.shape[1], tensor.shape[0])
    if inside % width:
        return None
    if turned:
        return Layout(shape=(inside // width, width, rows), dims=(2,), heads=(0,), rule="output units of attention")
    return Layout(shape=(rows, inside // width, width), dims=(0,), heads=(1,), rule="output units of attention")


def _fused(tensor: Tensor, found: _Heads, turned: bool) -> Layout | None:
    """Queries, keys and values in one matrix; with fewer heads for keys than for queries, a stack of heads."""
    rows, other = (tensor.shape[1], tensor.shape[0]) if turned else (tensor.shape[0], tensor.shape[1])
    per_part = _per_part(found, rows)
    if not per_part:
        return _rows(tensor, found.width, "query, key, value rows by head", turned)
    parts, heads = rows // (per_part * found.width), per_part
    kinds = "query, key, value" if parts == 3 else "key, value"
    mixed = type(found.module).__name__ in INTERLEAVED
    stack = (heads, parts) if mixed else (parts, heads)
    first = 1 if turned else 0
    shape = (other, *stack, found.width) if turned else (*stack, found.width, other)
    return Layout(
        shape=shape,
        dims=(first, first + 1, first + 2),
        heads=(first, first + 1),
        parts=(first + mixed,),
        rule=f"{kinds} rows by head",
    )


def _per_part(found: _Heads, rows: int) -> int:
    """Heads in each of the three parts (two for cross-attention), if they are all alike; otherwise 0."""
    stated = next((c for c in (getattr(found.module, name, None) for name in COUNTS) if isinstance(c, int)), 0)
    for parts in (3, 2):
        heads, rest = divmod(rows, parts * found.width)
        if not rest and (not stated or heads == stated):
            return heads
    return 0
