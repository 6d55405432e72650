"""Normalising functions, such as ``F.layer_norm`` with weights of its own, as the layers that they stand for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

__all__ = ["only_norms", "stands_for"]

_MADE: dict[Any, Callable[[dict[str, Any], int], nn.Module]] = {
    F.layer_norm: lambda given, size: nn.LayerNorm(list(given["normalized_shape"]), elementwise_affine=False),
    F.rms_norm: lambda given, size: nn.RMSNorm(list(given["normalized_shape"]), elementwise_affine=False),
    F.group_norm: lambda given, size: nn.GroupNorm(given["num_groups"], size, affine=False),
    F.batch_norm: lambda given, size: nn.BatchNorm1d(size, affine=False, track_running_stats=False),
    F.instance_norm: lambda given, size: nn.InstanceNorm1d(size, affine=False, track_running_stats=False),
}
"""The layer of each function, without its tensors."""

_TENSORS = ("weight", "bias", "running_mean", "running_var")


def only_norms(node: fx.Node) -> bool:
    """Whether a tensor is read by normalising functions alone, as their weight, bias or statistics.

    Args:
        node: reads an attribute.

    Returns:
        The answer; those functions then say how its entries belong to units.
    """
    return all(
        user.target in _MADE and node in [(given := _arguments(user)).get(name) for name in _TENSORS]
        and given.get("input") is not node
        for user in node.users
    )  # fmt: skip


def stands_for(node: fx.Node, tensor_of: Callable[[str], Tensor | None], size: int) -> nn.Module | None:
    """The layer that a call of a normalising function stands for, with the tensors that are passed to it.

    Args:
        node: any call.
        tensor_of: the tensor of an attribute, by its path.
        size: how many units the input carries.

    Returns:
        The layer; None for another function, and where a weight is computed from others, so that its entries are not
        known to belong to the units.
    """
    if node.op != "call_function" or node.target not in _MADE:
        return None
    given = _arguments(node)
    tensors = {}
    for name in _TENSORS:
        passed = given.get(name)
        if passed is None:
            continue
        if not isinstance(passed, fx.Node) or passed.op != "get_attr":
            return None
        tensors[name] = tensor_of(str(passed.target))
    try:
        with torch.device("meta"):
            layer = _MADE[node.target](given, size)
    except (TypeError, ValueError, RuntimeError):  # a shape that the graph computes, or groups that do not fit
        return None
    for name, tensor in tensors.items():
        layer._parameters.pop(name, None)
        layer._buffers.pop(name, None)
        layer.__dict__[name] = tensor
    return layer


def _arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of a call by name."""
    assert callable(node.target)
    return dict(inspect.signature(node.target).bind(*node.args, **node.kwargs).arguments)
