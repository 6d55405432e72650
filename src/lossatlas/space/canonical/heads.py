"""How are queries, keys, values and output of each attention head chosen among all that compute the same?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossatlas.space.filters import attention

__all__ = ["attentions", "settle"]


@dataclass(frozen=True)
class _Projection:
    """The rows (or columns, for the output) of one projection in a tensor, and its bias."""

    weight: Tensor
    bias: Tensor | None


def attentions(model: nn.Module) -> Iterator[tuple[str, nn.Module, int]]:
    """The attention layers of a model: path, module and width of a head."""
    for path, module in model.named_modules():
        width = attention.head_width(module)
        if width:
            yield path, module, width


def settle(module: nn.Module, width: int) -> bool:
    r"""Choose queries and keys, values and output of each head, in place.

    Queries and keys act only through :math:`M = Q^T K`, of rank at most d; with the singular values :math:`M = U S V^T`
    the choice is :math:`Q = \sqrt{S} U^T` and :math:`K = \sqrt{S} V^T`, the one of least norm. A sign for each of the d
    rows remains; it makes the largest entry of a row of Q positive. Values and output alike. The biases of queries,
    keys and values count as one more column.

    It is the same function only if nothing comes between the projections and their products: no rotary positions,
    no norm of the queries. The caller checks that.

    Args:
        module: an attention layer, changed in place.
        width: d, the width of a head.

    Returns:
        Whether its projections were found; if not, nothing is changed.
    """
    parts = _projections(module)
    if parts is None:
        return False
    query, key, value, out = parts
    if len({len(part.weight) for part in (query, key, value)}) != 1 or out.weight.shape[1] != len(value.weight):
        return False
    with torch.no_grad():
        for first in range(0, len(query.weight), width):
            rows = slice(first, first + width)
            _store((query, key), rows, *_split(_joined(query, rows), _joined(key, rows)))
            columns = out.weight[:, rows].double().T
            ahead, behind = _split(columns, _joined(value, rows))
            out.weight[:, rows] = ahead.T.to(out.weight)
            _store((value,), rows, behind)
    return True


def _split(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The pair of least norm with the same product aᵀ b: [d, n] and [d, m]."""
    ua, ra = torch.linalg.qr(a.T)
    ub, rb = torch.linalg.qr(b.T)
    u, s, vt = torch.linalg.svd(ra @ rb.T)
    left, right = (s.sqrt() * (ua @ u)).T, (s.sqrt() * (ub @ vt.T)).T
    largest = left.gather(1, left.abs().argmax(1, keepdim=True))
    sign = torch.where(largest < 0, -1.0, 1.0).to(left)
    return sign * left, sign * right


def _joined(part: _Projection, rows: slice) -> Tensor:
    weight = part.weight[rows].double()
    return weight if part.bias is None else torch.cat([weight, part.bias[rows].double()[:, None]], 1)


def _store(parts: tuple[_Projection, ...], rows: slice, *values: Tensor) -> None:
    for part, value in zip(parts, values, strict=True):
        columns = part.weight.shape[1]
        part.weight[rows] = value[:, :columns].to(part.weight)
        if part.bias is not None:
            part.bias[rows] = value[:, columns].to(part.bias)


def _projections(module: nn.Module) -> tuple[_Projection, _Projection, _Projection, _Projection] | None:
    """Queries, keys, values and output of an attention layer, as views of its tensors; none if they are not found."""
    out = _linear(module, attention.OUTPUT)
    fused = _fused(module)
    if fused is not None:
        weights = fused.weight.chunk(3)
        biases: Any = (None, None, None) if fused.bias is None else fused.bias.chunk(3)
        found: list[_Projection | None] = [_Projection(w, b) for w, b in zip(weights, biases, strict=True)]
    else:
        found = [_linear(module, names) for names in (attention.QUERY, attention.KEY, attention.VALUE)]
    if out is None or any(part is None for part in found):
        return None
    query, key, value = (part for part in found if part is not None)
    return query, key, value, out


def _fused(module: nn.Module) -> _Projection | None:
    bare = getattr(module, "in_proj_weight", None)
    if isinstance(bare, Tensor):
        return _Projection(bare.detach(), _detached(getattr(module, "in_proj_bias", None)))
    found = _linear(module, attention.FUSED)
    square = found is not None and len(found.weight) == 3 * found.weight.shape[1]
    mixed = type(module).__name__ in attention.INTERLEAVED
    return found if square and not mixed else None


def _linear(module: nn.Module, names: frozenset[str]) -> _Projection | None:
    children = {name: child for name, child in module.named_children() if name in names}
    child: Any = next(iter(children.values()), None)
    if not isinstance(child, nn.Linear):
        return None
    return _Projection(child.weight.detach(), _detached(child.bias))


def _detached(tensor: Any) -> Tensor | None:
    return tensor.detach() if isinstance(tensor, Tensor) else None
