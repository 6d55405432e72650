"""Which samples come first in data of whatever shape, and which part of them does a call of the model take?"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective import calling, counting
from lossatlas.objective.batches import map_tensors, size_of
from lossatlas.objective.calling import TARGETS

__all__ = ["first_inputs", "first_samples", "in_format"]


def first_inputs(data: Any, count: int = 8) -> Any:
    """Arguments for a call of the model: the first samples of some data, without the targets.

    Returns:
        A mapping of keyword arguments, or a tuple of positional ones.

    Example:
        >>> first_inputs((torch.arange(20), torch.zeros(20)))[0].tolist()
        [0, 1, 2, 3, 4, 5, 6, 7]
    """
    some = first_samples(data, count)
    batch = some if isinstance(some, tuple) else some[0]
    if isinstance(batch, Mapping):
        return {key: value for key, value in batch.items() if key not in TARGETS}
    return tuple(batch[:-1]) if isinstance(batch, (tuple, list)) and len(batch) > 1 else (batch,)


def first_samples(data: Any, count: int) -> Any:
    """The first samples of some data, in whatever shape it has.

    Returns:
        A tuple of arrays as short, or a list of batches.

    Raises:
        SpecError: a number below one, or one that ends within a batch that cannot be cut.

    Example:
        >>> x, y = first_samples((torch.arange(6), torch.arange(6)), 2)
        >>> x.tolist()
        [0, 1]
    """
    if count < 1:
        raise SpecError(f"--samples {count}; expected at least 1")
    if isinstance(data, tuple) and all(isinstance(part, (Tensor, np.ndarray)) for part in data):
        return tuple(part[:count] for part in data)
    return list(_taken(data, count))


def _taken(batches: Iterable[Any], count: int) -> Iterator[Any]:
    left = count
    for batch in batches:
        size = _size(batch)
        keep = min(size, left)
        if keep < size and size_of(batch) != size:
            raise SpecError(
                f"--samples: a batch of {size} samples cannot be cut into single ones; choose a number at which a "
                "batch ends, or make smaller batches"
            )
        yield batch if keep == size else map_tensors(functools.partial(_head, size=size, keep=keep), batch)
        left -= keep
        if not left:
            return


def _size(batch: Any) -> int:
    """The number of samples in a batch, by its targets where they reveal it."""
    try:
        return counting.count(batch, None, calling.targets(batch))
    except SpecError:
        return size_of(batch)


def _head(tensor: Tensor, *, size: int, keep: int) -> Tensor:
    return tensor[:keep] if tensor.shape[:1] == (size,) else tensor


def in_format(data: Any, dtype: torch.dtype) -> Any:
    """Floating-point tensors of some data in another format."""

    def convert(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    if isinstance(data, (tuple, Mapping)):
        return map_tensors(convert, data)
    return [map_tensors(convert, batch) for batch in data]
