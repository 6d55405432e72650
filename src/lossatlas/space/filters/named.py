"""Which axis of a named array indexes its filters if no module tells? The names that libraries use decide.

================================  ===================================================  ==============================
last part of the name             where                                                what a filter is
================================  ===================================================  ==============================
``kernel``                        Flax and Keras: Dense ``[in, out]``, Conv            the last axis: an output
                                  ``[height, width, in, out]``
``kernel`` with three axes below  Flax's attention ``[in, heads, size]``;              a head's output; of ``out`` the
``query``, ``key``, ``value``     ``out`` is ``[heads, size, out]``                    last axis
``embedding``, ``embeddings``     Flax, Keras and Haiku: ``[tokens, size]``            the first axis: a token
``weight``                        PyTorch and Equinox: ``[out, in, …]``                the first axis: an output
``lora_a``, ``lora_b``            Flax's LoRA                                          the last axis
``scale``, ``gamma``, ``beta``    normalising layers; with them the ``bias`` and       role "norm"
                                  ``offset`` beside a scale
``bias``, vectors                 everywhere                                           role "bias"
below ``batch_stats``             Flax's running statistics                            they never move
================================  ===================================================  ==============================

Other names are not interpreted, and nothing is guessed: for arrays with such names, ``layout="last"`` or ``"first"``
decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.expected import described_type
from lossatlas.space.filters.layout import Layout, Role, along, whole
from lossatlas.space.filters.table import Row

__all__ = ["UNKNOWN", "by_name"]

UNKNOWN = "nothing says which axis indexes the filters"
"""The rule of an array whose name says nothing."""

Naming = str | Callable[[str, Tensor], Layout]

_LAST = ("kernel", "lora_a", "lora_b")
_FIRST = ("weight", "embedding", "embeddings")
_ATTENTION = ("query", "key", "value")
_SCALES = ("scale", "gamma")
_BESIDE = ("bias", "offset", "beta")


def by_name(parameters: Mapping[str, Tensor], layout: Naming = "auto") -> dict[str, Row]:
    """The filters of arrays whose modules are unknown, by their names.

    Args:
        parameters: tensors by name, parts joined by dots.
        layout: ``"auto"``, ``"first"``, ``"last"``, or a rule ``(name, tensor) -> Layout``.

    Returns:
        A row for each tensor, by name.

    Raises:
        SpecError: a rule returned something other than a layout of that tensor.

    Example:
        >>> import torch
        >>> table = by_name({"conv.kernel": torch.zeros(3, 3, 8, 16), "conv.bias": torch.zeros(16)})
        >>> [(row.layout.count, row.role) for row in table.values()]
        [(16, 'weight'), (1, 'bias')]
    """
    return {name: _row(name, tensor, parameters, layout) for name, tensor in parameters.items()}


def _row(name: str, tensor: Tensor, parameters: Mapping[str, Tensor], layout: Naming) -> Row:
    parts = name.split(".")
    found = _layout(parts, tensor, parameters, layout) if isinstance(layout, str) else _ruled(layout, name, tensor)
    running = "batch_stats" in parts[:-1]
    return Row(
        name=name,
        shape=tuple(tensor.shape),
        module=parts[-2] if len(parts) > 1 else "",
        layout=found,
        role=found.role or _role(parts, tensor, parameters),
        default=found.rule == UNKNOWN,
        reason="running statistics, which never move" if running else "",
        frozen=running,
    )


def _role(parts: list[str], tensor: Tensor, parameters: Mapping[str, Tensor]) -> Role:
    beside = {".".join([*parts[:-1], scale]) for scale in _SCALES}
    if parts[-1] in _SCALES or (parts[-1] in _BESIDE and beside & parameters.keys()):
        return "norm"
    return "bias" if tensor.dim() < 2 or parts[-1] == "bias" else "weight"


def _layout(parts: list[str], tensor: Tensor, parameters: Mapping[str, Tensor], layout: str) -> Layout:
    last, above = parts[-1], parts[-2] if len(parts) > 1 else ""
    if tensor.dim() < 2 or last == "bias":
        return whole(nn.Module(), last, tensor)
    if last == "kernel" and tensor.dim() == 3 and above in _ATTENTION:
        return along(tensor, 1, 2, rule="outputs of each head", heads=(1,))
    if last == "kernel" and tensor.dim() == 3 and above == "out" and _in_attention(parts, parameters):
        return replace(along(tensor, 2, rule="outputs (last axis)"), heads=(0,))
    if last in _LAST:
        return along(tensor, tensor.dim() - 1, rule="outputs (last axis)")
    if last in _FIRST:
        return along(tensor, 0, rule="outputs (first axis)" if last == "weight" else "tokens")
    if layout == "auto":
        return along(tensor, 0, rule=UNKNOWN)
    return along(tensor, 0 if layout == "first" else tensor.dim() - 1, rule=f"outputs ({layout} axis), as stated")


def _in_attention(parts: list[str], parameters: Mapping[str, Tensor]) -> bool:
    return ".".join([*parts[:-2], "query", "kernel"]) in parameters


def _ruled(rule: Callable[[str, Tensor], Layout], name: str, tensor: Tensor) -> Layout:
    found = rule(name, tensor)
    if not isinstance(found, Layout):
        raise SpecError(
            f"layout({name!r}, …) returned {described_type(found)}; expected a lossatlas.filters.Layout, such as "
            "la.filters.along(tensor, tensor.dim() - 1, rule='outputs')"
        )
    return found
