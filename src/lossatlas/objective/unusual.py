"""What do people pass as data that is none, or means something else? Said before it fails in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.expected import described_type

__all__ = ["BARE", "check_tables", "check_two", "tensor_of"]

BARE = (
    "a batch is a single tensor, so its inputs are its targets, as for an autoencoder; for others data is (inputs, "
    "targets), a tuple of tensors, or a list, Dataset or DataLoader of such pairs"
)


def tensor_of(rows: Any) -> Tensor:
    """Rows as a tensor.

    Args:
        rows: a tensor or an array.

    Returns:
        The tensor, in the same memory where that is possible.

    Raises:
        SpecError: an array that does not hold numbers.
    """
    try:
        return torch.as_tensor(rows)
    except TypeError as fault:
        raise SpecError(
            f"data: an array of dtype {rows.dtype} does not hold numbers that torch knows; convert it first, such as "
            "array.astype('float32')"
        ) from fault


def check_tables(source: Any) -> None:
    """Check that data are not the tables of another library, such as a DataFrame.

    Args:
        source: what was given as data.

    Raises:
        SpecError: it is a table or a column, or holds one.
    """
    parts = source.values() if type(source) is dict else source if isinstance(source, (tuple, list)) else ()
    for one in (source, *parts):
        if callable(getattr(type(one), "to_numpy", None)):
            holds = "data is" if one is source else f"data, {described_type(source)}, holds"
            raise SpecError(
                f"{holds} {described_type(one)}; expected tensors or arrays: data=(inputs.to_numpy(dtype='float32'), "
                "targets.to_numpy())"
            )


def check_two(source: Any) -> None:
    """Check that a list of two batches is not meant as inputs and targets.

    Args:
        source: what was given as data.

    Raises:
        SpecError: it is a list of two tensors or arrays with as many rows that cannot be batches of the same kind.
    """
    if type(source) is not list or len(source) != 2 or not all(isinstance(one, (Tensor, np.ndarray)) for one in source):
        return
    a, b = source
    if not (a.ndim and b.ndim and len(a) == len(b)):
        return
    if a.dtype != b.dtype or a.ndim != b.ndim or (b.shape[1:] != a.shape[1:] and set(b.shape[1:]) == {1}):
        kind = f"{_kind(a)} and {_kind(b)}"
        raise SpecError(
            f"data is a list of two {'tensors' if isinstance(a, Tensor) else 'arrays'}, {kind}, and a list holds "
            "batches; expected a tuple for inputs and targets: data=(inputs, targets), or one batch in a list: "
            "data=[(inputs, targets)]"
        )


def _kind(rows: Any) -> str:
    return f"{str(rows.dtype).removeprefix('torch.')} {list(rows.shape)}"
