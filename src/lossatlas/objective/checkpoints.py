"""How a checkpoint gets into a model: safely, whole or not at all, whatever its wrapping."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lossatlas.errors import SpecError

__all__ = ["INDEX", "PREFIXES", "WRAPPERS", "Loaded", "load_checkpoint", "load_state", "read_checkpoint"]

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "module")
"""Keys under which a checkpoint may keep its state dict: Lightning's first, then those of common training scripts."""

PREFIXES = ("module.", "model.", "net.", "network.", "backbone.", "_orig_mod.")
"""What wrappers put before the names: DataParallel, Lightning modules, torch.compile."""

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What was loaded.

    Attributes:
        tensors: number of tensors copied.
        prefix: what was taken off the names in the file.
        absent: tensors of the model that old files lack by right (``num_batches_tracked``).
        ignored: entries of the file that the model does not have; only with ``strict=False``.
    """

    tensors: int
    prefix: str
    absent: tuple[str, ...]
    ignored: tuple[str, ...]


def load_checkpoint(
    model: nn.Module, path: str | os.PathLike[str], *, trust_pickle: bool = False, strict: bool = True
) -> Loaded:
    """Load a checkpoint into a model. Everything is checked first, so the model is never left half loaded.

    Args:
        model: changed in place.
        path: a state dict (``.pt``, ``.pth``, ``.bin``), a ``.safetensors`` file, a Lightning checkpoint, a dictionary
            with ``state_dict``, or a folder in the layout of Hugging Face. Prefixes such as ``module.`` are found by
            comparison with the model.
        trust_pickle: run the code in the file, if there is any. Only for files you made yourself.
        strict: refuse entries that the model does not have.

    Returns:
        What was loaded.

    Raises:
        SpecError: the file is missing, damaged, holds code, or belongs to another architecture.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "linear.pt"
        >>> torch.save({"state_dict": {"module.weight": torch.ones(1, 2), "module.bias": torch.zeros(1)}}, path)
        >>> model = nn.Linear(2, 1)
        >>> load_checkpoint(model, path).prefix
        'module.'
        >>> model.weight.tolist()
        [[1.0, 1.0]]
    """
    return load_state(model, read_checkpoint(path, trust_pickle=trust_pickle), source=Path(path), strict=strict)


def load_state(model: nn.Module, state: Mapping[str, Tensor], *, source: Path, strict: bool = True) -> Loaded:
    """Copy a state dict into a model, after checking all of it.

    Args:
        model: changed in place.
        state: tensors by name, with or without a prefix.
        source: what to call it in messages.
        strict: refuse entries that the model does not have.

    Returns:
        What was loaded.

    Raises:
        SpecError: another architecture; the message counts and shows what differs.
    """
    wanted = model.state_dict()
    prefix = _prefix(state, wanted)
    found = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    absent = tuple(name for name in wanted if name not in found and name.endswith("num_batches_tracked"))
    missing = [name for name in wanted if name not in found and name not in absent]
    extra = [name for name in found if name not in wanted]
    reshaped = [name for name in wanted if name in found and found[name].shape != wanted[name].shape]
    if missing or reshaped or (extra and strict):
        raise SpecError(_difference(source, type(model).__name__, missing, extra, reshaped, found, wanted))
    with torch.no_grad():
        for name, place in wanted.items():
            if name in found:
                place.copy_(found[name])
    return Loaded(tensors=len(wanted) - len(absent), prefix=prefix, absent=absent, ignored=tuple(extra))


def _prefix(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """The prefix, perhaps of several parts, under which most of the model's names are found."""
    candidates = {""}
    for name in state:
        prefix = ""
        while start := next((p for p in PREFIXES if name.startswith(p, len(prefix))), None):
            prefix += start
            candidates.add(prefix)
    return max(sorted(candidates, key=len), key=lambda prefix: sum(prefix + name in state for name in wanted))


def _difference(
    source: Path,
    model: str,
    missing: list[str],
    extra: list[str],
    reshaped: list[str],
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
) -> str:
    parts = []
    if missing:
        parts.append(f"{len(missing)} of {len(wanted)} tensors are missing ({_some(missing)})")
    if extra:
        parts.append(f"{len(extra)} are unexpected ({_some(extra)})")
    if reshaped:
        shapes = [f"{n} {tuple(found[n].shape)} instead of {tuple(wanted[n].shape)}" for n in reshaped]
        parts.append(f"{len(reshaped)} have another shape ({_some(shapes)})")
    return f"{source} belongs to another architecture than {model}: {'; '.join(parts)}. The model was not changed"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def read_checkpoint(path: str | os.PathLike[str], *, trust_pickle: bool = False) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, by name, on the CPU.

    Args:
        path: as for :func:`load_checkpoint`.
        trust_pickle: run the code in the file, if there is any.

    Returns:
        Tensors by name, with any prefix still on.

    Raises:
        SpecError: the file is missing, damaged, holds code, or has no tensors.
    """
    source = Path(path)
    if source.is_dir():
        return _folder(source)
    if not source.is_file():
        raise SpecError(f"checkpoint {source}: no such file")
    if source.suffix == ".safetensors":
        return _safetensors(source)
    content = _torch_file(source, trust_pickle)
    if isinstance(content, nn.Module):
        content = content.state_dict()
    return _state_dict(source, content)


def _safetensors(source: Path) -> dict[str, Tensor]:
    try:
        return load_file(source)
    except (SafetensorError, OSError) as fault:
        raise SpecError(f"checkpoint {source} cannot be read as safetensors; truncated? ({fault})") from fault


def _folder(source: Path) -> dict[str, Tensor]:
    """A folder in the layout of Hugging Face: one safetensors file, or an index of several."""
    index = source / INDEX
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.is_file() else []
    except (ValueError, KeyError) as fault:
        raise SpecError(f"checkpoint {index} is damaged ({fault})") from fault
    files = [source / name for name in names] or [source / "model.safetensors"]
    for file in files:
        if not file.is_file() or file.parent != source:
            raise SpecError(f"checkpoint {source} is a folder without {file.name}; name the file itself")
    return {name: tensor for file in files for name, tensor in _safetensors(file).items()}


def _torch_file(source: Path, trust_pickle: bool) -> Any:
    try:
        return torch.load(source, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as fault:
        if "Weights only load failed" in str(fault) and _looks_whole(source):
            raise SpecError(
                f"checkpoint {source} holds more than tensors, and reading it would run code from the file "
                f"({_reason(fault)}). Save a state dict instead; or, only if you made the file yourself, read it with "
                "trust_pickle=True (--trust-pickle)"
            ) from fault
        raise SpecError(f"checkpoint {source} cannot be read; truncated or damaged? ({_reason(fault)})") from fault
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, ImportError) as fault:
        raise SpecError(f"checkpoint {source} cannot be read; truncated or damaged? ({_reason(fault)})") from fault


def _looks_whole(source: Path) -> bool:
    """Whether the file is a whole archive of torch.save, or a whole bare pickle."""
    if zipfile.is_zipfile(source):
        return True
    content = source.read_bytes()
    return content[:1] == b"\x80" and content.endswith(b".")


def _reason(fault: BaseException) -> str:
    """The line of torch's long message that says what is wrong."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    telling = [line for line in lines if "WeightsUnpickler error" in line or "Unsupported" in line]
    return (telling or lines or [type(fault).__name__])[0][:160]


def _state_dict(source: Path, content: Any) -> dict[str, Tensor]:
    """The state dict within whatever a training script saved."""
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None or len(tensors) > len(inner):
            if tensors:
                return {str(name): tensor for name, tensor in tensors.items()}
            break
        content = inner
    keys = (
        f"the keys {sorted(map(str, content))[:5]}" if isinstance(content, Mapping) else f"a {type(content).__name__}"
    )
    raise SpecError(f"checkpoint {source} has no tensors: it holds {keys}; expected a state dict or one of {WRAPPERS}")
