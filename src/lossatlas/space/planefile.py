"""How directions are kept on disk: one safetensors file, entries named ``axis/tensor``."""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.space.charts import Plane


def save_directions(plane: Plane, path: str | os.PathLike[str]) -> Path:
    """Write the directions of a plane, whole or not at all; a file that is there already stays.

    Args:
        plane: the plane; its recipe travels in the file's metadata.
        path: the file, usually ``directions.safetensors``.

    Returns:
        The path.
    """
    target = Path(path)
    if target.exists():
        return target
    tensors = {
        f"{axis}/{name}": tensor.detach().cpu().contiguous()
        for axis, direction in plane.directions.items()
        for name, tensor in direction.items()
    }
    recipe = plane.recipe
    seed = "" if recipe.seed is None else str(recipe.seed)
    metadata = {
        "labels": json.dumps(dict(recipe.labels)),
        "by": recipe.by,
        "seed": seed,
        "still": ",".join(recipe.still),
    }
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        save_file(tensors, scratch, metadata=metadata)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    return target


def load_directions(path: str | os.PathLike[str]) -> dict[str, dict[str, Tensor]]:
    """Read directions: tensors by name, by axis.

    Raises:
        SpecError: the file is missing, damaged, or holds something else.
    """
    source = Path(path)
    if not source.is_file():
        raise SpecError(f"{source}: no such file")
    directions: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(source, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
                axis, slash, name = key.partition("/")
                if not slash:
                    raise SpecError(f"{source}: entry {key!r} is no direction; expected names like 'x/layer.weight'")
                directions.setdefault(axis, {})[name] = file.get_tensor(key)
    except SafetensorError as fault:
        raise SpecError(f"{source} cannot be read as safetensors: {fault}") from fault
    return directions
