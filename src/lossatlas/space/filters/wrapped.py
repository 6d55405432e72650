"""What is a filter in tensors that lie behind a weight: adapters, weight and spectral norm, any parametrization?

- **LoRA** adds B A to a frozen weight. Row i of A and column i of B belong together: multiplying one by c and dividing
  the other by c changes nothing. So the filters are rows of A and columns of B, and the picture does not depend on that
  freedom. It does depend on the general one (M A, and B times the inverse of M), unless the adapters are merged into
  the weight first, see :func:`lossatlas.space.canonical.merged`.
- **Weight norm** has w = g v / ‖v‖. A filter of v is free in its scale, whatever follows. The gain g is held still like
  the gain of a normalising layer; if it moves, each of its numbers is a filter.
- **Spectral norm** divides a matrix by its largest singular value, so the whole matrix is free in its scale. The
  filters are those of the layer.
- **Another parametrization**, or a mask, leaves no scale free that is known here. The filters are those of the layer
  where the tensor behind has the shape of the weight, and their norms those that the layer sees, see
  :mod:`lossatlas.space.filters.through`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lossatlas.space.filters.layout import Layout, along

__all__ = ["Seen", "adapter", "gains", "quantised", "seen_through"]

_PACKED = ("quantized", "bitsandbytes", "auto_gptq", "gptqmodel", "awq", "hqq", "quanto", "eetq", "aqlm")


@dataclass(frozen=True)
class Seen:
    """The weight that a tensor stands for.

    Attributes:
        path: path of the module that uses the weight.
        name: name of the weight within it.
        note: what lies between the two, for the rule's name.
        gain: the tensor is the gain of a weight norm.
        fits: the tensor has the shape of the weight, as far as is known.
    """

    path: str
    name: str
    note: str = ""
    gain: bool = False
    fits: bool = True


def seen_through(modules: Mapping[str, nn.Module], path: str, name: str, tensor: Tensor) -> Seen:
    """Look through a parametrization, old or new.

    Args:
        modules: all modules by path.
        path: path of the module that owns the tensor.
        name: name of the tensor in it.
        tensor: the tensor.

    Returns:
        What it stands for; itself where nothing is in between.
    """
    owner = modules[path]
    if isinstance(owner, parametrize.ParametrizationList):
        return _parametrized(modules, path, name, tensor)
    for suffix, note in (("_g", "weight norm"), ("_v", "weight norm"), ("_orig", "spectral norm or pruning")):
        base = name.removesuffix(suffix)
        if base != name and isinstance(getattr(owner, base, None), Tensor) and base not in owner._parameters:
            return Seen(path, base, f"before {note}", gain=suffix == "_g")
    return Seen(path, name)


def _parametrized(modules: Mapping[str, nn.Module], path: str, name: str, tensor: Tensor) -> Seen:
    steps = modules[path]
    home, _, weight = path.rpartition(".")
    home = home.removesuffix("parametrizations").removesuffix(".")
    kinds = [type(step).__name__.removeprefix("_") for step in steps.children()]
    note = f"before {', '.join(_spaced(kind) for kind in kinds)}"
    if kinds == ["WeightNorm"]:
        return Seen(home, weight, note, gain=name == "original0")
    # On a copy in evaluation mode: otherwise spectral norm would continue its power iteration in the user's model.
    with torch.no_grad():
        shape = copy.deepcopy(steps).eval()().shape
    return Seen(home, weight, note, fits=tensor.shape == shape)


def _spaced(kind: str) -> str:
    return {"WeightNorm": "weight norm", "SpectralNorm": "spectral norm"}.get(kind, kind)


def gains(tensor: Tensor) -> Layout:
    """The gains of a weight-normed layer: each number a filter, held still like the gains of normalising layers."""
    return along(tensor, *range(tensor.dim()), rule="gains of weight norm", role="norm")


def adapter(module: nn.Module, name: str, tensor: Tensor) -> Layout | None:
    """Rows of A and columns of B of a LoRA adapter (Hu et al. 2021, arXiv 2106.09685); none for any other tensor.

    Args:
        module: a module around the tensor.
        name: name of the tensor within it, for instance ``"lora_A.default.weight"``.
        tensor: the tensor.

    Returns:
        The layout, if the module is an adapted layer.
    """
    kind = name.partition(".")[0]
    if not hasattr(module, "lora_A") or tensor.dim() < 2:
        return None
    if kind in ("lora_A", "lora_embedding_A"):
        return along(tensor, 0, rule="rows of the adapter's A")
    if kind in ("lora_B", "lora_embedding_B"):
        return along(tensor, 1, rule="columns of the adapter's B")
    return None


def quantised(model: nn.Module) -> dict[str, str]:
    """The quantised weights of a model, by name: why they cannot be moved.

    A quantised weight takes only a few values: a step along a direction would be rounded away or overflow, and the
    picture would show the rounding.

    Returns:
        Reasons, by name of the tensor, or of the module where the weight is not a tensor that torch lists.
    """
    found: dict[str, str] = {}
    for path, module in model.named_modules():
        names = {name: p for name, p in module._parameters.items() if p is not None}
        packed = next((word for word in _PACKED if word in type(module).__module__.split(".")), "")
        if any(path.startswith(f"{home}.") for home in found):
            continue
        if packed:
            found[path or type(module).__name__] = f"quantised ({type(module).__module__}.{type(module).__name__})"
            continue
        for name, tensor in names.items():
            if reason := _reason(tensor):
                found[f"{path}.{name}" if path else name] = reason
    return found


def _reason(tensor: Tensor) -> str:
    if tensor.is_quantized or not (tensor.dtype.is_floating_point or tensor.dtype.is_complex):
        return f"quantised ({str(tensor.dtype).removeprefix('torch.')})"
    if tensor.dtype.itemsize == 1:
        return f"quantised ({str(tensor.dtype).removeprefix('torch.')}: eight bits cannot hold a small step)"
    if "quant" in type(tensor).__name__.lower():
        return f"quantised ({type(tensor).__name__})"
    return ""
