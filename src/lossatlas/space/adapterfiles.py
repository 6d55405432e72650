"""How are low-rank directions written as LoRA adapters, of which inference engines can serve many at once?

One folder for each axis, in the layout of peft: ``adapter_config.json`` and ``adapter_model.safetensors``. The network
at coordinates (a, b) is the base with both adapters, scaled by a and b.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lossatlas.atomic import replacing
from lossatlas.errors import SpecError
from lossatlas.space.low_rank import Factors, factors_of
from lossatlas.space.parameters import Parameters

__all__ = ["save_adapters"]


def save_adapters(
    directions: Mapping[str, Parameters],
    model: nn.Module,
    folder: str | os.PathLike[str],
    *,
    rank: int = 64,
    base: str = "",
) -> list[Path]:
    """Write each direction as a LoRA adapter.

    Args:
        directions: by axis, tensors by name.
        model: the model they belong to, which says whether each is a linear layer, an embedding or a convolution. Tied
            tensors are written for each module that has them.
        folder: gets a folder for each axis.
        rank: the largest accepted.
        base: what the configuration calls the base model.

    Returns:
        The folders.

    Raises:
        SpecError: a direction has a higher rank, or moves something other than a layer's matrix.

    Example:
        >>> import tempfile
        >>> from lossatlas.space.low_rank import low_rank
        >>> net = nn.Sequential(nn.Linear(8, 6))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in save_adapters({"x": low_rank(net, rank=2)}, net, folder)]
        ['x']
    """
    prepared = {axis: _adapter(axis, direction, model, rank) for axis, direction in directions.items()}
    written = []
    for axis, (tensors, ranks) in prepared.items():
        target = Path(folder) / axis
        target.mkdir(parents=True, exist_ok=True)
        with replacing(target / "adapter_model.safetensors") as scratch:
            save_file(tensors, scratch, metadata={"format": "pt"})
        modules = sorted({key.removeprefix("base_model.model.").split(".lora_")[0] for key in tensors})
        with replacing(target / "adapter_config.json") as scratch:
            scratch.write_text(json.dumps(_config(modules, max(ranks), model, base), indent=2), encoding="utf-8")
        written.append(target)
    return written


def _adapter(axis: str, direction: Parameters, model: nn.Module, rank: int) -> tuple[dict[str, Tensor], list[int]]:
    pairs: dict[str, Factors] = {}
    for name, tensor in direction.items():
        if tensor.dim() < 2:
            raise SpecError(
                f"{axis}: {name!r} is not a matrix, so it cannot be part of an adapter; keep biases and norms still"
            )
        found = factors_of(tensor, rank)
        if found is None:
            raise SpecError(
                f"{axis}: {name!r} has a rank above {rank}; sample along low-rank directions (--rank 4, or "
                "la.Plane.random(..., rank=4)), or raise the limit (--lora-rank)"
            )
        pairs[name] = found
    common = max(max(pair.rank for pair in pairs.values()), 1)
    tensors: dict[str, Tensor] = {}
    for name, places in _places(model, pairs).items():
        for place in places:
            tensors |= _entries(place, model, _padded(pairs[name], common))
    return tensors, [common]


def _places(model: nn.Module, names: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of each tensor: a tied one has several."""
    everywhere = dict(model.named_parameters(remove_duplicate=False))
    if missing := [name for name in names if name not in everywhere]:
        raise SpecError(f"model has no tensor {missing[0]!r}; give the model that was sampled")
    return {name: [other for other, t in everywhere.items() if t is everywhere[name]] for name in names}


def _padded(pair: Factors, rank: int) -> Factors:
    """The same product padded with zero columns: an adapter has a single rank."""
    more = rank - pair.rank
    left = torch.nn.functional.pad(pair.left, (0, more))
    return Factors(left, torch.nn.functional.pad(pair.right, (0, 0, 0, more)))


def _entries(name: str, model: nn.Module, pair: Factors) -> dict[str, Tensor]:
    """What peft calls the two factors of a module's weight."""
    home, _, own = name.rpartition(".")
    module, key = model.get_submodule(home), f"base_model.model.{home}"
    kind = type(module).__name__
    left, right = pair.left.contiguous(), pair.right.contiguous()
    if own == "weight" and isinstance(module, nn.Embedding):
        turned = left.T.contiguous(), right.T.contiguous()
        return {f"{key}.lora_embedding_A": turned[0], f"{key}.lora_embedding_B": turned[1]}
    if own == "weight" and isinstance(module, nn.Linear):
        return {f"{key}.lora_A.weight": right, f"{key}.lora_B.weight": left}
    if own == "weight" and kind == "Conv1D":  # transformers': stored [in, out]
        return {f"{key}.lora_A.weight": left.T.contiguous(), f"{key}.lora_B.weight": right.T.contiguous()}
    if own == "weight" and isinstance(module, nn.Conv2d) and module.groups == 1:
        inner = right.reshape(len(right), *module.weight.shape[1:])
        return {f"{key}.lora_A.weight": inner, f"{key}.lora_B.weight": left[:, :, None, None].contiguous()}
    raise SpecError(
        f"{name!r} belongs to a {kind}, for which peft has no LoRA layer; sample with --only and patterns of linear "
        "layers, embeddings and convolutions"
    )


def _config(modules: list[str], rank: int, model: nn.Module, base: str) -> dict[str, Any]:
    turned = any(type(model.get_submodule(name)).__name__ == "Conv1D" for name in modules)
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": turned,
        "target_modules": modules,
        "inference_mode": True,
    }
