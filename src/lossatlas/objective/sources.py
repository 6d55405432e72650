"""Where can a tensor be read again: from which file, or which named data set, did it come?

Code that reads a checkpoint or a data set notes here what came out of it, by a few bytes of each tensor. Work that is
sent to a worker then names the file instead of holding its content, and a hash of all bytes shows whether the worker
has read the same.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossatlas.objective.hashing import fingerprint

__all__ = [
    "LEAST",
    "Source",
    "UnmadeError",
    "bytes_of",
    "content_of",
    "forget",
    "note",
    "read_again",
    "source_of",
]

LEAST = 1024
"""Size in bytes from which a tensor's source is noted: smaller ones are sent as fast as the name of a file."""

KEPT = 50_000
"""How many tensors' sources are remembered; those noted first are forgotten first."""

PIECES, PIECE = 64, 16
"""How many pieces of a tensor identify it, and how many bytes each of them has."""


class UnmadeError(Exception):
    """What was to be made again here came out differently, or not at all."""


@dataclass(frozen=True)
class Source:
    """What tensors are read from.

    Args:
        read: an importable function that gives them, always in the same order.
        arguments: what it is called with; paths are absolute.
    """

    read: Callable[..., Sequence[Tensor]]
    arguments: tuple[Any, ...]


_KNOWN: dict[tuple[int, bytes], tuple[Source, int]] = {}


def note(source: Source, tensors: Iterable[Tensor]) -> None:
    """Note what came out of a source.

    Args:
        source: that was read.
        tensors: in the order of the source; small ones, and those not plainly in this machine's memory, are skipped.
    """
    for number, tensor in enumerate(tensors):
        plain = type(tensor) is Tensor and tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or not tensor.is_contiguous() or tensor.numel() * tensor.element_size() < LEAST:
            continue
        key = _key(bytes_of(tensor))
        _KNOWN.pop(key, None)
        _KNOWN[key] = source, number
    while len(_KNOWN) > KEPT:
        _KNOWN.pop(next(iter(_KNOWN)))


def source_of(content: Tensor) -> tuple[Source, int] | None:
    """Where bytes seem to come from, and the number of the tensor there; only a fingerprint of all of them proves it.

    Args:
        content: uint8 [n].

    Returns:
        Source and number, or ``None`` if nothing like it was noted.
    """
    return _KNOWN.get(_key(content)) if _KNOWN and len(content) >= LEAST else None


def _key(content: Tensor) -> tuple[int, bytes]:
    starts = torch.linspace(0, len(content) - PIECE, PIECES, dtype=torch.float64).long()
    places = (starts[:, None] + torch.arange(PIECE)).to(content.device)
    pieces = content[places].cpu().numpy().tobytes()
    return len(content), hashlib.blake2b(pieces, digest_size=16).digest()


def content_of(tensor: Tensor) -> Tensor:
    """All bytes of the memory that a tensor lies in, uint8 [n], shared with it."""
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())


def bytes_of(tensor: Tensor) -> Tensor:
    """The bytes of a tensor in the order of its elements, uint8 [n]."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def read_again(source: Source, number: int, expected: bytes) -> Tensor:
    """The bytes of a tensor, read from its source here.

    Args:
        source: of the tensor.
        number: of the tensor there.
        expected: the fingerprint that they must have.

    Returns:
        uint8 [n], in memory of its own.

    Raises:
        UnmadeError: the source cannot be read here, or holds something else.
    """
    try:
        found = bytes_of(_read(source)[number]).clone()
    except Exception as fault:  # whatever a missing or different file raises
        raise UnmadeError(f"{source.arguments}: {type(fault).__name__}: {fault}") from fault
    if fingerprint(found) != expected:
        raise UnmadeError(f"{source.arguments} has different content here")
    return found


@functools.lru_cache(maxsize=2)
def _read(source: Source) -> Sequence[Tensor]:
    return source.read(*source.arguments)


def forget() -> None:
    """Release what was read again."""
    _read.cache_clear()
