"""Which way an adapter took: its merged change of the weights it adapts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.space.normalize import described
from lossatlas.space.parameters import Parameters, norm

__all__ = ["lora"]


def lora(
    origin: Objective | nn.Module | Parameters, adapted: nn.Module, *, adapter: str = "default"
) -> dict[str, Tensor]:
    r"""The way that a LoRA adapter of peft took: its merged change :math:`\frac{α}{r} B A` of every weight it adapts.

    Nothing is normalised: coordinate 0 is the base, coordinate 1 the base with the adapter merged (Hu et al. 2021,
    arXiv 2106.09685). Only the layers it adapts move.

    Args:
        origin: the base model, an Objective of it, or its tensors by name.
        adapted: the model that peft wrapped.
        adapter: its name there.

    Returns:
        Tensors by the base's names.

    Raises:
        SpecError: no such adapter, a change that is all zero, or a layer that the base lacks.
    """
    point, _ = described(origin)
    found: dict[str, Tensor] = {}
    for path, module in adapted.named_modules():
        if adapter in getattr(module, "lora_A", {}) and callable(getattr(module, "get_delta_weight", None)):
            delta = module.get_delta_weight(adapter).detach()
            name = _base_name(path, point)
            found[name] = delta.to(point[name].device).reshape(point[name].shape)
    if not found:
        known = sorted({name for m in adapted.modules() for name in getattr(m, "lora_A", {})})
        raise SpecError(f"adapter={adapter!r}: no layer has it; the model has {known or 'no LoRA adapter'}")
    if norm(found) == 0:
        raise SpecError(f"adapter={adapter!r} changes nothing yet: its B is zero; train it first")
    return found


def _base_name(path: str, point: Mapping[str, Any]) -> str:
    plain = path.removeprefix("base_model.model.")
    for name in (f"{plain}.weight", f"{plain}.base_layer.weight", f"{path}.base_layer.weight"):
        if name in point:
            return name
    raise SpecError(f"origin: the adapter's layer {plain!r} is not there; it has {sorted(point)[:4]} …")
