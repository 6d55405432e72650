"""How are many checkpoints read side by side without holding them? A part of one tensor at a time.

Files in the safetensors format are read with plain reads at the offsets that their headers name. They are not mapped
into memory, since mapped pages count as resident and would grow with the number of checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.expected import described_type
from lossatlas.objective import sealing
from lossatlas.objective.checkpoints import read_checkpoint
from lossatlas.space.directions import tensors_of
from lossatlas.untrusted import bare_name, json_object, reading, safetensors_header

__all__ = [
    "BLOCK_BYTES",
    "FORMATS",
    "STATISTICS",
    "Held",
    "Sharded",
    "Source",
    "Stored",
    "Stripped",
    "blocks",
    "check_alike",
    "inside",
    "moving",
    "source_of",
    "tensor_of",
]

BLOCK_BYTES = 2**26
"""How much of all checkpoints together is in memory at once, in double precision."""

FORMATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SHARDS = "model.safetensors.index.json"
_WEIGHTS = (
    "model.safetensors", SHARDS, "pytorch_model.bin", "adapter_model.safetensors", "adapter_model.bin",
)  # fmt: skip
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Source(Protocol):
    """One checkpoint, tensor by tensor."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each floating-point tensor."""
        ...

    def part(self, name: str, start: int, stop: int) -> Tensor:
        """Some entries of a flattened tensor, in its own format."""
        ...


class Stored:
    """A safetensors file; only its header is held.

    A tensor of a file that has checksums is checked when any of it is read for the first time.

    Args:
        path: the file.
        recorded: what :func:`lossatlas.objective.sealing.content_sum` must give for it; by default anything.

    Raises:
        SpecError: it is missing, damaged, or not the file that was meant.
    """

    def __init__(self, path: Path, *, recorded: str | None = None) -> None:
        self.path = path
        header = safetensors_header(path)
        self._about: Mapping[str, str] = header.get("__metadata__", {})
        if recorded and sealing.content_sum(self._about) != recorded:
            raise SpecError(f"{path} is damaged, or not the file that was recorded: its checksum does not match")
        sealing.check(path, {}, self._about, names={name: None for name in header if name != "__metadata__"})
        self._unseen = set(header) if sealing.SUMS in self._about else set()
        kept = {n: e for n, e in header.items() if n != "__metadata__" and e["dtype"] in FORMATS}
        self.shapes = {name: tuple(entry["shape"]) for name, entry in kept.items()}
        self._formats = {name: FORMATS[entry["dtype"]] for name, entry in kept.items()}
        self._starts = {name: entry["data_offsets"][0] for name, entry in kept.items()}

    def part(self, name: str, start: int, stop: int) -> Tensor:
        """Some entries of a flattened tensor.

        Returns:
            The entries, in the format of the file.

        Raises:
            SpecError: the file ends too early, or the tensor is not what was written.
        """
        if name in self._unseen:
            every = self._read(name, 0, math.prod(self.shapes[name])).reshape(self.shapes[name])
            sealing.check(self.path, {name: every}, self._about)
            self._unseen.discard(name)
        return self._read(name, start, stop)

    def _read(self, name: str, start: int, stop: int) -> Tensor:
        dtype = self._formats[name]
        buffer = bytearray((stop - start) * dtype.itemsize)
        with self.path.open("rb") as file:
            file.seek(self._starts[name] + start * dtype.itemsize)
            if file.readinto(buffer) != len(buffer):
                raise SpecError(f"checkpoint {self.path} ends within {name!r}; truncated?")
        return torch.frombuffer(buffer, dtype=dtype) if buffer else torch.empty(0, dtype=dtype)


class Sharded:
    """The files of one model, with an index that says which holds what.

    Args:
        index: the index, in the layout of Hugging Face.

    Raises:
        SpecError: it is damaged, or names a file that is missing or elsewhere.
    """

    def __init__(self, index: Path) -> None:
        content = json_object(index, "an index of a checkpoint")
        with reading(index, "an index of a checkpoint"):
            names = sorted({bare_name(name, index) for name in content["weight_map"].values()})
        self._owners = {key: one for name in names for one in [Stored(index.parent / name)] for key in one.shapes}
        self.shapes = {key: one.shapes[key] for key, one in self._owners.items()}

    def part(self, name: str, start: int, stop: int) -> Tensor:
        """Some entries of a flattened tensor."""
        return self._owners[name].part(name, start, stop)


class Held:
    """Tensors that are in memory anyway.

    Args:
        tensors: by name.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = {name: t.detach() for name, t in tensors.items() if t.is_floating_point()}
        self.shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def part(self, name: str, start: int, stop: int) -> Tensor:
        """Some entries of a flattened tensor."""
        return self._tensors[name].reshape(-1)[start:stop].cpu()


class Stripped:
    """A checkpoint of which only the tensors with a prefix count, under their names without it.

    Args:
        source: the whole checkpoint.
        prefix: what their names begin with, such as ``"net."``.

    Raises:
        SpecError: no name begins with it.
    """

    def __init__(self, source: Source, prefix: str) -> None:
        self._source, self._prefix = source, prefix
        own = {name: shape for name, shape in source.shapes.items() if name.startswith(prefix)}
        if not own:
            raise SpecError(
                f"prefix={prefix!r}: no tensor begins with it; the first is {next(iter(source.shapes), '')!r}"
            )
        self.shapes = {name.removeprefix(prefix): shape for name, shape in own.items()}

    def part(self, name: str, start: int, stop: int) -> Tensor:
        """Some entries of a flattened tensor."""
        return self._source.part(self._prefix + name, start, stop)


def source_of(item: Any) -> Source:
    """A model, a state dict or a checkpoint file as something to read from.

    A safetensors file is read a part at a time; other files are held whole.

    Returns:
        Where to read its tensors.

    Raises:
        SpecError: it is none of these, or cannot be read.
    """
    if isinstance(item, (nn.Module, Mapping)):
        return Held(tensors_of(item))
    if not isinstance(item, (str, Path)):
        raise SpecError(f"a checkpoint is {described_type(item)}; expected a file, a state dict or a model")
    path = Path(item)
    if path.is_dir():
        path = inside(path) or path
    if path.name == SHARDS:
        return Sharded(path)
    return Stored(path) if path.suffix == ".safetensors" else Held(read_checkpoint(path))


def inside(folder: Path) -> Path | None:
    """The weights in a folder in the layout of Hugging Face, a whole model's before an adapter's, if there are any."""
    return next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)


def moving(source: Source) -> list[str]:
    """The tensors that count as parameters if nothing says which do: all but running statistics."""
    return [name for name in source.shapes if name.rpartition(".")[2] not in STATISTICS]


def tensor_of(source: Source, name: str) -> Tensor:
    """A tensor in its own shape and format."""
    shape = source.shapes[name]
    found = source.part(name, 0, math.prod(shape)).reshape(shape)
    return found if isinstance(source, (Stored, Sharded)) else found.clone()


def check_alike(sources: Sequence[Source], labels: Sequence[str]) -> None:
    """Check that all checkpoints are of one architecture.

    Raises:
        SpecError: one has other tensors than the last; the message names checkpoint and tensor.
    """
    last = sources[-1].shapes
    for source, label in zip(sources, labels, strict=True):
        for name in (*last, *source.shapes):
            here, there = source.shapes.get(name), last.get(name)
            if here != there:
                raise SpecError(
                    f"{label} is of another architecture than {labels[-1]}: tensor {name!r} has shape {here} "
                    f"instead of {there}"
                )


def blocks(sources: Sequence[Source], shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, int, int, Tensor]]:
    """All checkpoints side by side, a part at a time.

    Args:
        sources: n checkpoints.
        shapes: the tensors to read.

    Yields:
        Name, start and stop of a part of a flattened tensor, and its values, float64 [n, stop - start]. The memory of
        one block does not depend on the number of checkpoints or their size.
    """
    width = max(BLOCK_BYTES // (8 * len(sources)), 1)
    buffer = torch.empty(len(sources), width, dtype=torch.float64)
    for name, shape in shapes.items():
        size = math.prod(shape)
        for start in range(0, size, width):
            stop = min(start + width, size)
            block = buffer[:, : stop - start]
            for row, source in zip(block, sources, strict=True):
                row.copy_(source.part(name, start, stop))
            yield name, start, stop, block
