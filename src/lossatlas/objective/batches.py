"""How are the data read? Once, in order, and kept where they are needed; or streamed if they are too large."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, described_type
from lossatlas.objective.containers import map_tensors, moved, tensors_of
from lossatlas.objective.hashing import fingerprint
from lossatlas.objective.randomness import seeded
from lossatlas.objective.unusual import check_tables, check_two, tensor_of
from lossatlas.oneline import first_line

__all__ = ["Batches", "batches_of", "fingerprint", "map_tensors", "size_of", "tensors_of"]

Rows = (Tensor, np.ndarray)


def size_of(batch: Any) -> int:
    """The rows of a batch: the first dimension of its first tensor that has one.

    Whether a row is a sample is another matter, see :mod:`lossatlas.objective.counting`.

    Returns:
        The number of samples.

    Raises:
        SpecError: the batch has no such tensor.
    """
    for tensor in tensors_of(batch):
        if tensor.dim() > 0:
            return tensor.size(0)  # a nested tensor has no shape
    raise SpecError(f"data: a batch of type {type(batch).__name__} holds no tensor with a sample dimension")


class Batches:
    """The data of an objective. Iterating gives its batches, on the device, always in the same order.

    Args:
        source: a DataLoader, a Dataset, any re-iterable of batches, or tensors with one row for each sample, in a tuple
            or by name.
        device: where the batches are to be.
        memory: how many bytes of data may be kept on the device; beyond that, data are read afresh at every pass.
        batch_size: rows in a batch if ``source`` is made of tensors, or is a Dataset.
        look: is shown each batch while the data are read for the first time.

    Attributes:
        number: of batches.
        kept: whether the data are held on the device.
        quiet: whether an evaluation is known to draw no random number.
        fingerprint: hash of all batches, as text.

    Raises:
        SpecError: there are no data, they can be read only once, or the items of a Dataset cannot be batched.
    """

    def __init__(
        self,
        source: Any,
        *,
        device: torch.device,
        memory: int,
        batch_size: int,
        look: Callable[[Any], object] = lambda batch: None,
    ) -> None:
        check_kind("batch_size", batch_size, int, "a number of samples")
        check_kind("memory", memory, int, "a number of bytes")
        self.source = batches_of(source, batch_size)
        self._collated = self.source is not source and isinstance(self.source, DataLoader)
        self.device = device
        self.number = 0
        self.kept = True
        self.quiet = False
        self._held: list[Any] = []
        with self.reading(0):
            self._read_once(memory, look)

    def _read_once(self, memory: int, look: Callable[[Any], object]) -> None:
        digest = hashlib.blake2b(digest_size=16)
        held_bytes = 0
        for batch in self._read():
            look(batch)
            self.number += 1
            digest.update(fingerprint(batch))
            held_bytes += sum(tensor.numel() * tensor.element_size() for tensor in map(_dense, tensors_of(batch)))
            if held_bytes > memory:
                self.kept, self._held = False, []
            if self.kept:
                with torch.inference_mode(False):  # what is kept is used in whichever mode the measures need
                    self._held.append(moved(batch, self.device))
        if not self.number:
            raise SpecError("data is empty: it gave no samples; expected a DataLoader, a list of batches or (x, y)")
        self.fingerprint = digest.hexdigest()

    def _read(self) -> Iterator[Any]:
        """A pass over the source."""
        try:
            yield from self.source
        except (TypeError, RuntimeError, KeyError) as fault:
            if not self._collated:
                raise
            words = first_line(fault)
            raise SpecError(
                f"data: the items of the Dataset cannot be batched ({words}); pass a DataLoader with a collate_fn "
                "that does it"
            ) from fault

    def seeded(self, seed: int) -> AbstractContextManager[None]:
        """The global random state, and the DataLoader's own generator, under a seed, and restored afterwards.

        Left alone if it is known that an evaluation draws nothing (``quiet``) and the data are kept.

        Returns:
            A context.
        """
        if self.quiet and self.kept:
            return contextlib.nullcontext()
        return seeded(seed, getattr(self.source, "generator", None))

    def reading(self, seed: int) -> AbstractContextManager[None]:
        """The same for a pass over the source, which draws nothing if that is a list of batches."""
        if isinstance(self.source, list):
            return contextlib.nullcontext()
        return seeded(seed, getattr(self.source, "generator", None))

    def assert_unchanged(self) -> None:
        """Check that the data that are kept are what was read.

        Raises:
            SpecError: they were changed in place.
        """
        if not self.kept:
            return
        digest = hashlib.blake2b(digest_size=16)
        for batch in self._held:
            digest.update(fingerprint(batch))
        if digest.hexdigest() != self.fingerprint:
            raise SpecError(
                "objective: the data changed after the Objective was made, in place, so its values would not belong to "
                "the data it names; make a new Objective, or clone the tensors before writing to them"
            )

    def sample_fingerprints(self, seed: int) -> list[list[bytes]]:
        """Read the source once more, whatever is kept: a hash of each sample, batch by batch."""
        with self.reading(seed):
            return [_rows(batch) for batch in self.source]

    def __iter__(self) -> Iterator[Any]:
        if self.kept:
            yield from self._held
            return
        number = 0
        for batch in self._read():
            number += 1
            yield moved(batch, self.device)
        if number != self.number:
            raise SpecError(
                f"data gave {self.number} batches at first and {number} now, and they are read again at every point; "
                "pass data that are the same each time, or let them be kept: memory=, in bytes (--memory, in GiB)"
            )


def _dense(tensor: Tensor) -> Tensor:
    """The memory that a tensor takes, approximately."""
    return tensor if tensor.layout in (torch.strided, torch.jagged) else tensor.detach().values()


def _rows(batch: Any) -> list[bytes]:
    size = size_of(batch)
    return [fingerprint([t[i] for t in tensors_of(batch) if t.shape[:1] == (size,)]) for i in range(size)]


def batches_of(source: Any, batch_size: int) -> Iterable[Any]:
    """Some data as batches: what is not yet a list of batches is cut.

    Args:
        source: as for :class:`Batches`.
        batch_size: rows in a batch, if it is cut.

    Returns:
        A re-iterable.

    Raises:
        SpecError: the source is of another kind.
    """
    if batch_size < 1:
        raise SpecError(f"batch_size={batch_size}; expected at least 1")
    check_tables(source)
    check_two(source)
    if isinstance(source, tuple) and source and all(isinstance(part, Rows) for part in source):
        return _split(tuple(map(tensor_of, source)), batch_size)
    if isinstance(source, Rows):
        return _split((tensor_of(source),), batch_size)
    if type(source) is TensorDataset:
        return _split(source.tensors, batch_size)
    if isinstance(source, Mapping) and source and all(isinstance(part, Rows) for part in source.values()):
        parts = _split(tuple(map(tensor_of, source.values())), batch_size)
        return [dict(zip(source, part, strict=True)) for part in parts]
    if _is_dataset(source):
        return DataLoader(source, batch_size=batch_size)
    _check_source(source)
    return source  # type: ignore[no-any-return]


def _is_dataset(source: Any) -> bool:
    """Whether single samples are read from it: a Dataset of torch, or of the Hugging Face library."""
    theirs = type(source).__module__.partition(".")[0] == "datasets" and hasattr(source, "set_format")
    return isinstance(source, (Dataset, IterableDataset)) or theirs


def _check_source(source: Any) -> None:
    one_batch = not isinstance(source, (list, DataLoader)) and callable(getattr(type(source), "to", None))
    if one_batch or isinstance(source, Mapping):
        raise SpecError(f"data is {described_type(source)}, which looks like one batch; pass [data], a list of batches")
    if isinstance(source, (str, bytes)) or not isinstance(source, Iterable):
        raise SpecError(
            f"data is {described_type(source)}; expected a DataLoader, a Dataset, a list of batches or a tuple (x, y) "
            "of tensors"
        )
    # iter(source) would show it too, but makes a DataLoader draw a seed from the user's generator.
    if hasattr(source, "__next__"):
        raise SpecError(
            f"data is {described_type(source)}, which can be read only once; pass list(data) or the DataLoader itself"
        )


def _split(parts: tuple[Tensor, ...], batch_size: int) -> list[tuple[Tensor, ...]]:
    if any(part.layout is not torch.strided or not part.dim() for part in parts):
        raise SpecError("data: a tensor without rows, or a sparse one, cannot be cut; pass a list of batches")
    lengths = [len(part) for part in parts]
    if len(set(lengths)) != 1:
        raise SpecError(f"data: the tensors have {lengths} rows; a tuple of tensors needs one row for each sample")
    return list(zip(*(torch.split(part, batch_size) for part in parts), strict=True)) if lengths[0] else []
