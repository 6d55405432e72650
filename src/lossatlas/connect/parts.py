"""What is found at a path of a module, and what kind of layer is it?"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["is_changed", "is_matrix", "part_at", "tensor_at"]


def part_at(module: nn.Module, path: str) -> nn.Module | None:
    """The module at a path; None where there is none."""
    for part in path.split("."):
        child = module._modules.get(part)
        if child is None:
            return None
        module = child
    return module


def tensor_at(module: nn.Module, path: str) -> Tensor | None:
    """The tensor of an attribute, by its path; None where there is none."""
    parent, _, name = path.rpartition(".")
    owner = part_at(module, parent) if parent else module
    found = getattr(owner, name, None)
    return found if isinstance(found, Tensor) else None


def is_matrix(layer: nn.Module | None) -> bool:
    """Whether a layer multiplies by a matrix: a Linear, or the Conv1D of transformers."""
    return layer is not None and (isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D")


def is_changed(module: nn.Module) -> bool:
    """Whether its weight is computed from others, as by weight normalisation."""
    return hasattr(module, "parametrizations") or ("weight" not in module._parameters and hasattr(module, "weight_g"))
