"""How directions are kept on disk: one safetensors file, entries named ``axis/tensor``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lossatlas.atomic import replacing, write_text
from lossatlas.errors import SpecError
from lossatlas.objective import sealing
from lossatlas.space.charts import Plane
from lossatlas.space.recipes import Seeded
from lossatlas.untrusted import reading, safetensors_header

__all__ = ["Stored", "load_directions", "load_labels", "save_directions"]


def save_directions(plane: Plane, path: str | os.PathLike[str], *, again: bool = False) -> Path:
    """Write the directions of a plane, whole or not at all; a file that is already there stays.

    Directions that are recipes are written as such, a line of text for each, beside where the file would be.

    Args:
        plane: the plane; its recipe is stored in the file's metadata.
        path: the file, usually ``directions.safetensors``.
        again: replace a file that is already there.

    Returns:
        The path.
    """
    target = Path(path)
    if target.exists() and not again:
        return target
    made = {axis: direction.identity for axis, direction in plane.directions.items() if isinstance(direction, Seeded)}
    if made:  # a recipe is kept in place of its tensors
        target = target.with_suffix(".json")
        write_text(target, json.dumps(made, indent=2))
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
    with replacing(target) as scratch:
        save_file(tensors, scratch, metadata=sealing.sealed(tensors, metadata))
    return target


def load_directions(path: str | os.PathLike[str]) -> dict[str, dict[str, Tensor]]:
    """Read directions: tensors by name, by axis.

    Returns:
        The directions.

    Raises:
        SpecError: the file is missing, damaged, or holds something else.
    """
    source = Path(path)
    entries = _entries(source)
    if strange := [key for key in entries if "/" not in key]:
        raise SpecError(f"{source}: entry {strange[0]!r} is not a direction; expected names like 'x/layer.weight'")
    directions: dict[str, dict[str, Tensor]] = {}
    with reading(source, "safetensors"), safe_open(source, framework="pt") as file:
        for key in entries:
            axis, _, name = key.partition("/")
            directions.setdefault(axis, {})[name] = file.get_tensor(key)
        read = {f"{axis}/{name}": tensor for axis, one in directions.items() for name, tensor in one.items()}
        sealing.check(source, read, file.metadata(), names=read)
    return directions


def _entries(path: Path) -> list[str]:
    """The names of the tensors in a file of safetensors, checked to lie in it."""
    return sorted(name for name in safetensors_header(path) if name != "__metadata__")


class Stored(Mapping[str, Tensor]):
    """A direction that stays on disk: a mapping that reads each tensor when it is asked for.

    Args:
        path: a ``.safetensors`` file as :func:`save_directions` writes it.
        axis: which of its directions.

    Raises:
        SpecError: the file is missing, damaged, or lacks the axis.
    """

    def __init__(self, path: str | os.PathLike[str], axis: str) -> None:
        self._path, self._axis = Path(path), axis
        entries = _entries(self._path)
        self._names = [name for entry in entries for own, _, name in [entry.partition("/")] if own == axis]
        if not self._names:
            raise SpecError(f"{self._path} has no direction {axis!r}; its entries are {entries[:3]} …")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        with reading(self._path, "safetensors"), safe_open(self._path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(f"{self._axis}/{name}")
            sealing.check(self._path, {f"{self._axis}/{name}": tensor}, file.metadata())
            return tensor


def load_labels(path: str | os.PathLike[str]) -> dict[str, str]:
    """What the axes of a file of directions are called, if it says so; otherwise empty."""
    try:
        labels = json.loads(safetensors_header(path).get("__metadata__", {}).get("labels", "{}"))
    except (SpecError, ValueError, RecursionError):
        return {}
    return {axis: str(words) for axis, words in labels.items()} if isinstance(labels, dict) else {}
