"""What is a filter in layers of other libraries: stacks of experts, Mamba, learned tokens, transposed layers?

None of those libraries is imported: layers are recognised by the names of their classes and tensors.

- **Linear layers stored [in, out]** (``Conv1D`` of transformers): columns. Their scale is as free as that of the rows
  of ``nn.Linear``.
- **Stacks of experts** [experts, out, in]: each output unit of each expert; a whole expert is a layer. The rows of the
  down projection are output units; between up and down projection the same freedom holds as in any two layers.
- **Mamba**: ``A_log`` holds logarithms of decay rates, for each channel and state. Their scale is meaningful and not
  free: a filter is a channel, so that the logarithms of its rates change by similar shares. ``D`` is one vector and
  stays like a bias; ``conv1d``, ``in_proj``, ``x_proj``, ``dt_proj`` and ``out_proj`` are ordinary layers.
- **Learned tokens and positions** that are bare tensors ([1, T, dim]): one vector of ``dim`` for each token.
- **Layer scales** that are bare tensors ([C, 1, 1]): gains, held still like those of normalising layers.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor, nn

from lossatlas.space.filters.attention import is_transposed
from lossatlas.space.filters.layout import Layout, along

__all__ = ["columns", "own"]

_TOKENS = re.compile(r"(^|_)(tokens?|pos|position|positions|positional|embedding|embeddings|embed)(_|$)")
_SCALES = re.compile(r"(^|_)(layer_scale|gamma|gain|logit_scale)(_?\d*)$")
_EXPERTS = re.compile(r"Expert|MoE|Moe")
_TURNED = frozenset(("GptOssExperts", "Llama4TextExperts", "AriaExperts"))
"""Stacks stored [experts, in, out], for versions of transformers that do not state it."""
_ROUTERS = re.compile(r"(Router|Gate)$")


def columns(module: nn.Module, name: str, tensor: Tensor) -> Layout:
    """Output units of a linear layer stored [in, out]."""
    return along(tensor, 1, rule="output units (transposed)")


def own(module: nn.Module, name: str, tensor: Tensor) -> Layout | None:
    """The filters of a tensor, if its module's class or its name reveals them; otherwise none.

    Args:
        module: the module that owns the tensor.
        name: name of the tensor in it.
        tensor: the tensor, of two and more dimensions.

    Returns:
        The layout, or none.
    """
    return next((found for rule in _OWN if (found := rule(module, name, tensor)) is not None), None)


def _conv1d(module: nn.Module, name: str, tensor: Tensor) -> Layout | None:
    return columns(module, name, tensor) if is_transposed(module) else None


def _bias(module: nn.Module, name: str, tensor: Tensor) -> Layout | None:
    """A bias of several dimensions: of each expert, or the extra key of attention."""
    if name == "bias" or re.search(r"(^|_)bias(_[kv])?$", name):
        return _vectors(tensor, "biases", "bias")
    return None


def _vectors(tensor: Tensor, rule: str, role: str | None = None) -> Layout:
    """One filter for each vector along the last dimension."""
    return along(tensor, *range(tensor.dim() - 1), rule=rule, role=role)


def _experts(module: nn.Module, name: str, tensor: Tensor) -> Layout | None:
    if not _EXPERTS.search(type(module).__name__) or tensor.dim() != 3:
        return None
    turned = bool(getattr(module, "is_transposed", type(module).__name__ in _TURNED))
    rule = "output units of each expert" + (" (transposed)" if turned else "")
    return along(tensor, 0, 2 if turned else 1, rule=rule, parts=(0,))


def _router(module: nn.Module, name: str, tensor: Tensor) -> Layout | None:
    if _ROUTERS.search(type(module).__name__) and tensor.dim() == 2:
        return along(tensor, 0, rule="output units of the router")
    return None


def _mamba(module: nn.Module, name: str, tensor: Tensor) -> Layout | None:
    return along(tensor, 0, rule="decay rates of a channel") if name == "A_log" and tensor.dim() == 2 else None


def _scale(module: nn.Module, name: str, tensor: Tensor) -> Layout | None:
    if _SCALES.search(name) and max(tensor.shape) == tensor.numel():
        return along(tensor, rule="one vector", role="norm")
    return None


def _tokens(module: nn.Module, name: str, tensor: Tensor) -> Layout | None:
    return _vectors(tensor, "tokens or positions") if _TOKENS.search(name) else None


_OWN: tuple[Callable[[nn.Module, str, Tensor], Layout | None], ...] = (
    _conv1d,
    _bias,
    _experts,
    _router,
    _mamba,
    _scale,
    _tokens,
)
