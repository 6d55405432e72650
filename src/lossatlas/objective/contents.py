"""Which tensors does a checkpoint (a file or folder) hold, and under which keys? Read without running its code."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.expected import described_type
from lossatlas.objective.mistaken import mistaken_for
from lossatlas.objective.packed import packed_in, unpacked
from lossatlas.objective.sources import Source, note
from lossatlas.oneline import one_line
from lossatlas.untrusted import bare_name, check_zip, json_object, reading, safetensors_header

__all__ = ["FIRST", "TRAINING", "Contents", "Entry", "contents_of", "part_of", "read_checkpoint", "read_contents"]

DEPTH = 8
"""How deeply dictionaries may be nested."""

FOLDERS = ("model", "pytorch_model", "adapter_model", "diffusion_pytorch_model")
"""What libraries call the weights in a folder, before ``.safetensors``, ``.bin`` and the index of several files."""

FIRST = ("state_dict", "model_state_dict", "model", "net", "module")
"""Keys preferred to others if there is no model to compare with and several hold equally many tensors."""

INDEX = ".index.json"
"""How the index of a checkpoint in several files ends."""

_PART = re.compile(r"^(.*)-(\d+)-of-(\d+)\.(safetensors|bin)$")
TRAINING = re.compile(r"optim|sched|scaler|rng", re.IGNORECASE)
"""Keys of what training needs to continue, which are not weights of the network."""


class Entry(NamedTuple):
    """One tensor of a checkpoint.

    Attributes:
        key: the keys that lead to its dictionary, joined by dots; empty at the top.
        name: its name there.
        tensor: the tensor itself, on the CPU.
    """

    key: str
    name: str
    tensor: Tensor

    @property
    def full(self) -> str:
        """Keys and name joined by dots."""
        return f"{self.key}.{self.name}" if self.key else self.name


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a checkpoint holds.

    Attributes:
        source: the file or folder, for messages.
        entries: all tensors, however deeply nested.
        keys: what is at the top, for messages.
        arguments: the arguments that built the model, if a Lightning file has them (``hyper_parameters``).
        argument: their name, if they were given as a single argument.
        packed: names of weights that were packed, and are dequantised here.
    """

    source: Path
    entries: tuple[Entry, ...]
    keys: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    argument: str = ""
    packed: tuple[str, ...] = ()

    __repr__ = one_line

    def by_key(self) -> dict[str, dict[str, Tensor]]:
        """The tensors of each dictionary that holds some, by its keys."""
        found: dict[str, dict[str, Tensor]] = {}
        for entry in self.entries:
            found.setdefault(entry.key, {})[entry.name] = entry.tensor
        return found


def read_contents(path: str | os.PathLike[str], *, trust_pickle: bool = False) -> Contents:
    """Read a checkpoint, on the CPU.

    Args:
        path: a file of ``torch.save`` or safetensors, or a folder as Hugging Face lays it out, in one file or several,
            or the index of these.
        trust_pickle: run the code in the file, if there is any.

    Returns:
        Its tensors and keys.

    Raises:
        SpecError: the file is missing, damaged, holds code, or has no tensors.
    """
    source = Path(path)
    if source.is_dir() or source.name.endswith(INDEX):
        merged = {name: t for file in _files(source) for name, t in _plain(file, trust_pickle).items()}
        found = contents_of(merged, source)
    elif source.is_file():
        found = contents_of(_content(source, trust_pickle), source)
    else:
        raise SpecError(f"checkpoint {source}: no such file")
    if not trust_pickle:
        note(Source(_tensors, (str(source.absolute()),)), (entry.tensor for entry in found.entries))
    return found


def _tensors(path: str) -> list[Tensor]:
    """What a worker reads instead of being sent it."""
    return [entry.tensor for entry in read_contents(path).entries]


def _content(source: Path, trust_pickle: bool) -> Any:
    try:
        return _safetensors(source) if source.suffix == ".safetensors" else _torch_file(source, trust_pickle)
    except SpecError as fault:
        if what := mistaken_for(source):
            raise SpecError(f"checkpoint {source} is {what}") from fault
        raise


def contents_of(content: Any, source: Path) -> Contents:
    """Find all tensors in what a training script saved: dictionaries in dictionaries, lists, whole modules.

    Args:
        content: what was saved.
        source: what to call it in messages.

    Returns:
        Tensors and keys.

    Raises:
        SpecError: there are no tensors, or packed ones whose parts do not fit together.
    """
    entries, packed = _floating(tuple(_walk(content, ())))
    top = content if isinstance(content, Mapping) else {}
    if not entries:
        what = f"the keys {sorted(map(str, top))[:5]}" if top else described_type(content)
        raise SpecError(
            f"checkpoint {source} has no tensors: it holds {what}; expected a state dict, perhaps in others"
        )
    arguments = top.get("hyper_parameters")
    return Contents(
        source=source,
        entries=entries,
        keys=tuple(map(str, top)),
        arguments={str(k): v for k, v in arguments.items()} if isinstance(arguments, Mapping) else {},
        argument=str(top.get("hparams_name") or ""),
        packed=packed,
    )


def _floating(entries: tuple[Entry, ...]) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The entries with packed weights dequantised, and the names of these."""
    groups: dict[str, dict[str, Tensor]] = {}
    for entry in entries:
        groups.setdefault(entry.key, {})[entry.name] = entry.tensor
    packed = {key: tuple(packed_in(group)) for key, group in groups.items()}
    if not any(packed.values()):
        return entries, ()
    opened = {key: unpacked(group) if packed[key] else group for key, group in groups.items()}
    found = tuple(Entry(key, name, tensor) for key, group in opened.items() for name, tensor in group.items())
    return found, tuple(name for names in packed.values() for name in names)


def _walk(content: Any, path: tuple[str, ...]) -> Iterator[Entry]:
    if isinstance(content, Tensor):
        if path:
            yield Entry(".".join(path[:-1]), path[-1], content.detach())
        return
    if isinstance(content, np.ndarray) and content.dtype.kind in "biufc":
        own = np.array(content, dtype=content.dtype.newbyteorder("="), order="C")
        yield from _walk(torch.from_numpy(own), path)
        return
    if isinstance(content, nn.Module):
        content = content.state_dict()
    elif isinstance(content, (list, tuple)):
        content = dict(enumerate(content))
    if isinstance(content, Mapping) and len(path) < DEPTH:
        for key, value in content.items():
            yield from _walk(value, (*path, str(key)))


def read_checkpoint(path: str | os.PathLike[str], *, trust_pickle: bool = False, key: str = "") -> dict[str, Tensor]:
    """Read the weights in a checkpoint, by name, on the CPU, if there is no model to compare them with.

    Args:
        path: as for :func:`lossatlas.load_checkpoint`.
        trust_pickle: run the code in the file, if there is any.
        key: the dictionary within the file that holds them; by default the one with the most tensors that is not a
            training state.

    Returns:
        Tensors by name, with any prefix still on.

    Raises:
        SpecError: the file is missing, damaged, holds code, has no tensors, or as many under several keys.
    """
    found = read_contents(path, trust_pickle=trust_pickle)
    groups = found.by_key()
    if key:
        own = {e.full.removeprefix(f"{key}."): e.tensor for e in found.entries if e.full.startswith(f"{key}.")}
        if not own:
            raise SpecError(f"key={key!r}: checkpoint {found.source} has no such key; it has {_shown(groups)}")
        return own
    # A group that only holds numbers, such as a counter of steps beside the state dict, is not a network.
    shaped = {k: g for k, g in groups.items() if any(tensor.dim() for tensor in g.values())} or groups
    weights = {k: g for k, g in shaped.items() if not TRAINING.search(k)} or shaped
    most = max(map(len, weights.values()))
    largest = [k for k, group in weights.items() if len(group) == most]
    known = [k for word in FIRST for k in largest if k.rpartition(".")[2] == word]
    if len(largest) > 1 and not known and "" not in largest:
        raise SpecError(
            f"checkpoint {found.source} has weights under several keys, {_shown(largest)}; choose one with key=…"
        )
    return weights["" if "" in largest else (known or largest)[0]]


def _shown(keys: Any) -> str:
    return ", ".join(repr(key) for key in list(keys)[:6])


def _files(folder: Path) -> list[Path]:
    """The files of weights in a folder: one, or those that an index or their numbers name."""
    if not folder.is_dir():
        return [_inside(folder.parent, part) for part in _indexed(folder)]
    for name in FOLDERS:
        for suffix in (".safetensors", ".bin"):
            index = folder / f"{name}{suffix}{INDEX}"
            if index.is_file():
                return [_inside(folder, part) for part in _indexed(index)]
            if (folder / f"{name}{suffix}").is_file():
                return [folder / f"{name}{suffix}"]
    if parts := _numbered(folder):
        return parts
    if (folder / ".metadata").is_file() or any(folder.glob("*.distcp")):
        raise SpecError(
            f"checkpoint {folder} is from torch.distributed.checkpoint, in shards of several processes; join them "
            "first: python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER model.pt"
        )
    others = [p for p in sorted(folder.iterdir()) if p.suffix in (".safetensors", ".pt", ".pth", ".bin", ".ckpt")]
    named = f"; it has {', '.join(p.name for p in others[:4])}" if others else ""
    raise SpecError(f"checkpoint {folder} is a folder without model.safetensors; name the file itself{named}")


def _indexed(index: Path) -> list[str]:
    content = json_object(index, "an index of a checkpoint")
    with reading(index, "an index of a checkpoint"):
        return sorted({bare_name(name, index) for name in content["weight_map"].values()})


def _inside(folder: Path, name: str) -> Path:
    file = folder / name
    if not file.is_file() or file.parent != folder:
        raise SpecError(f"checkpoint {folder} is a folder without {file.name}; name the file itself")
    return file


def _numbered(folder: Path) -> list[Path]:
    """Files ``…-00001-of-00003.safetensors`` without an index, if none is missing."""
    found = [(path, match) for path in sorted(folder.iterdir()) if (match := _PART.match(path.name))]
    if not found:
        return []
    stem, total, suffix = found[0][1][1], int(found[0][1][3]), found[0][1][4]
    own = {int(m[2]): path for path, m in found if (m[1], int(m[3]), m[4]) == (stem, total, suffix)}
    missing = [number for number in range(1, total + 1) if number not in own]
    if missing:
        raise SpecError(f"checkpoint {folder}: part {missing[0]} of {total} is missing")
    return [own[number] for number in range(1, total + 1)]


def part_of(source: Path) -> str:
    """Which part of a checkpoint in several files this one is.

    Args:
        source: a file.

    Returns:
        Words such as "part 1 of 3"; empty if its name says nothing of the kind.
    """
    named = _PART.match(source.name)
    return f"part {int(named[2])} of {int(named[3])}" if named and int(named[3]) > 1 else ""


def _plain(file: Path, trust_pickle: bool) -> dict[str, Tensor]:
    """The state dict that one file of a folder is."""
    content = _content(file, trust_pickle)
    if not isinstance(content, Mapping):
        raise SpecError(f"checkpoint {file} holds {described_type(content)}; expected tensors by name")
    return {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def _safetensors(source: Path) -> dict[str, Tensor]:
    safetensors_header(source)
    with reading(source, "safetensors", "truncated or damaged?"):
        return load_file(source)


def _torch_file(source: Path, trust_pickle: bool) -> Any:
    check_zip(source)
    try:
        return torch.load(source, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as fault:
        if "Weights only load failed" in str(fault) and _looks_whole(source):
            raise SpecError(
                f"checkpoint {source} holds more than tensors, and reading it would run code from the file "
                f"({_reason(fault)}). Save a state dict instead; or, only if you trust the file, read it with "
                "trust_pickle=True (--trust-pickle)"
            ) from fault
        raise SpecError(f"checkpoint {source} cannot be read; truncated or damaged? ({_reason(fault)})") from fault
    except (ImportError, AttributeError) as fault:
        raise SpecError(
            f"checkpoint {source} needs code that is not here ({_reason(fault)}): a whole object was saved, and its "
            "class cannot be imported. Put that code on PYTHONPATH, or save a state dict where the code is available"
        ) from fault
    except Exception as fault:  # a damaged file can fail in any way
        if "TorchScript" in str(fault):
            raise SpecError(
                f"checkpoint {source} is TorchScript, which is code; save its weights where it was made: "
                "torch.save(torch.jit.load(path).state_dict(), 'weights.pt')"
            ) from fault
        raise SpecError(f"checkpoint {source} cannot be read; truncated or damaged? ({_reason(fault)})") from fault


def _looks_whole(source: Path) -> bool:
    """Whether the file is a whole archive of torch.save, or a whole bare pickle."""
    if zipfile.is_zipfile(source):
        return True
    content = source.read_bytes()
    return content[:1] == b"\x80" and content.endswith(b".")


def _reason(fault: BaseException) -> str:
    """What is wrong, without torch's advice around it."""
    text = str(fault)
    if named := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it asks for {named[1]}"
    lines = [line.split("WeightsUnpickler error:")[-1].strip() for line in text.splitlines()]
    own = [line for line in lines if line and "weights_only" not in line and "torch.load" not in line]
    return (own or [type(fault).__name__])[0][:160]
