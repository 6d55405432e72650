"""How the data is read: once, in order, and kept where it is needed; or streamed when it is too large."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective.randomness import seeded

__all__ = ["Batches", "fingerprint", "map_tensors", "size_of", "tensors_of"]


def map_tensors(function: Callable[[Tensor], Any], batch: Any) -> Any:
    """Apply a function to every tensor of a nested batch; all else stays as it is.

    Returns:
        The batch, nested as before.

    Example:
        >>> map_tensors(lambda t: t.shape[0], {"x": torch.zeros(3, 2), "name": "a"})
        {'x': 3, 'name': 'a'}
    """
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, np.ndarray):
        return function(torch.from_numpy(batch))
    if isinstance(batch, Mapping):
        return {key: map_tensors(function, value) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(map_tensors(function, value) for value in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(map_tensors(function, value) for value in batch)
    return batch


def tensors_of(batch: Any) -> list[Tensor]:
    """All tensors of a nested batch, in order."""
    found: list[Tensor] = []
    map_tensors(found.append, batch)
    return found


def size_of(batch: Any) -> int:
    """The number of samples of a batch: the first dimension of its first tensor that has one.

    Returns:
        The number of samples.

    Raises:
        SpecError: the batch has no such tensor.
    """
    for tensor in tensors_of(batch):
        if tensor.dim() > 0:
            return tensor.shape[0]
    raise SpecError(f"data: a batch of type {type(batch).__name__} holds no tensor with a sample dimension")


def fingerprint(batch: Any) -> bytes:
    """A hash of every value, shape and type in a batch."""
    digest = hashlib.blake2b(digest_size=16)
    _digest(batch, digest)
    return digest.digest()


def _digest(part: Any, digest: Any) -> None:
    if isinstance(part, (Tensor, np.ndarray)):
        if hasattr(part, "full_tensor"):  # spread over processes
            part = part.full_tensor()
        tensor = torch.as_tensor(part).detach().cpu().contiguous()
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    elif isinstance(part, Mapping):
        for key in part:
            digest.update(str(key).encode())
            _digest(part[key], digest)
    elif isinstance(part, (tuple, list)):
        for item in part:
            _digest(item, digest)
    else:
        digest.update(repr(part).encode())


class Batches:
    """The data of an objective. Iterating gives its batches, on the device, always in the same order.

    Args:
        source: a DataLoader, any re-iterable of batches, or a tuple of tensors with one row for each sample.
        device: where the batches are wanted.
        memory: how many bytes of data may be kept on the device; beyond that it is read anew at every pass.
        batch_size: rows in a batch where ``source`` is a tuple of tensors.

    Attributes:
        samples: number of samples.
        sizes: number of samples of each batch.
        kept: whether the data is held on the device.
        fingerprint: hash of all batches, as text.

    Raises:
        SpecError: no data, or data that can be read only once.
    """

    def __init__(self, source: Any, *, device: torch.device, memory: int, batch_size: int) -> None:
        self.source = _batched(source, batch_size)
        self.device = device
        self.samples = 0
        self.sizes: list[int] = []
        self.kept = True
        self._held: list[Any] = []
        with self.seeded(0):
            self._read_once(memory)

    def _read_once(self, memory: int) -> None:
        digest = hashlib.blake2b(digest_size=16)
        held_bytes = 0
        for batch in self.source:
            self.sizes.append(size_of(batch))
            self.samples += self.sizes[-1]
            digest.update(fingerprint(batch))
            held_bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(batch))
            if held_bytes > memory:
                self.kept, self._held = False, []
            if self.kept:
                self._held.append(self._on_device(batch))
        if self.samples == 0:
            raise SpecError("data is empty: it gave no sample; expected a DataLoader, a list of batches or (x, y)")
        self.fingerprint = digest.hexdigest()

    def seeded(self, seed: int) -> AbstractContextManager[None]:
        """The global random state, and the DataLoader's own generator, under a seed and put back afterwards."""
        return seeded(seed, getattr(self.source, "generator", None))

    def sample_fingerprints(self, seed: int) -> list[list[bytes]]:
        """Read the source once more, whatever is kept: a hash of each sample, batch by batch."""
        with self.seeded(seed):
            return [_rows(batch) for batch in self.source]

    def _on_device(self, batch: Any) -> Any:
        return map_tensors(lambda tensor: tensor.to(self.device, non_blocking=True), batch)

    def __iter__(self) -> Iterator[Any]:
        if self.kept:
            yield from self._held
        else:
            for batch in self.source:
                yield self._on_device(batch)


def _rows(batch: Any) -> list[bytes]:
    size = size_of(batch)
    return [fingerprint([t[i] for t in tensors_of(batch) if t.shape[:1] == (size,)]) for i in range(size)]


def _batched(source: Any, batch_size: int) -> Iterable[Any]:
    """The source as a re-iterable of batches."""
    if isinstance(source, tuple) and source and all(isinstance(part, (Tensor, np.ndarray)) for part in source):
        return _split(tuple(torch.as_tensor(part) for part in source), batch_size)
    if isinstance(source, (Tensor, np.ndarray)):
        return _split((torch.as_tensor(source),), batch_size)
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise SpecError(
            f"data is a {type(source).__name__}; expected a DataLoader, a list of batches or a tuple (x, y) of tensors"
        )
    # iter(source) would tell too, but it makes a DataLoader draw a seed from the user's generator.
    if hasattr(source, "__next__"):
        raise SpecError(
            f"data is a {type(source).__name__}, which can be read only once; pass list(data) or the DataLoader itself"
        )
    return source


def _split(parts: tuple[Tensor, ...], batch_size: int) -> list[tuple[Tensor, ...]]:
    lengths = [len(part) for part in parts]
    if len(set(lengths)) != 1:
        raise SpecError(f"data: the tensors have {lengths} rows; a tuple of tensors needs one row for each sample")
    if batch_size < 1:
        raise SpecError(f"batch_size={batch_size}; expected at least 1")
    return list(zip(*(torch.split(part, batch_size) for part in parts), strict=True)) if lengths[0] else []
