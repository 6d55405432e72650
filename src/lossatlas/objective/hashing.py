"""Is this the same data, or the same network? A hash of every value, shape and type."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.objective.containers import DEPTH, attributes

__all__ = ["fingerprint", "is_array"]

_COMPRESSED = {
    torch.sparse_csr: ("crow_indices", "col_indices"),
    torch.sparse_bsr: ("crow_indices", "col_indices"),
    torch.sparse_csc: ("ccol_indices", "row_indices"),
    torch.sparse_bsc: ("ccol_indices", "row_indices"),
}


def fingerprint(batch: Any) -> bytes:
    """A hash of every value, shape and type in a batch, whatever holds them; the same in every process.

    Returns:
        16 bytes.

    Example:
        >>> x = torch.eye(2)
        >>> fingerprint({"x": x}) == fingerprint({"x": x.clone()}), fingerprint(x) == fingerprint(x.to_sparse())
        (True, False)
    """
    digest = hashlib.blake2b(digest_size=16)
    _digest(batch, digest, frozenset(), 0)
    return digest.digest()


def is_array(part: Any) -> bool:
    """Whether something is an array of NumPy, of JAX or of a library like them."""
    return not isinstance(part, type) and all(hasattr(part, name) for name in ("dtype", "shape", "__array__"))


def _digest(part: Any, digest: Any, above: frozenset[int], depth: int) -> None:
    above = above | {id(part)}
    if isinstance(part, Tensor):
        _tensor(part.detach(), digest)
    elif isinstance(part, np.ndarray) and part.dtype.kind in "biufc":
        _tensor(torch.as_tensor(part), digest)
    elif isinstance(part, Mapping):
        for key in part:
            digest.update(str(key).encode())
            _digest(part[key], digest, above, depth + 1)
    elif isinstance(part, (tuple, list)):
        for item in part:
            _digest(item, digest, above, depth + 1)
    elif isinstance(part, (set, frozenset)):
        digest.update(repr(sorted(map(repr, part))).encode())
    elif is_array(part):
        _digest(part.tolist() if isinstance(part, np.ndarray) else np.asarray(part), digest, above, depth + 1)
    elif callable(part) or not (held := list(attributes(part))):
        text = repr(part)  # the address of an object differs from process to process
        digest.update(_kind(part) if " at 0x" in text else text.encode())
    else:
        digest.update(_kind(part))
        for name, value in held:
            if id(value) not in above and depth < DEPTH:
                digest.update(name.encode())
                _digest(value, digest, above, depth + 1)


def _kind(part: Any) -> bytes:
    return f"{type(part).__module__}.{getattr(part, '__qualname__', type(part).__qualname__)}".encode()


def _tensor(tensor: Tensor, digest: Any) -> None:
    if hasattr(tensor, "full_tensor"):  # spread over processes
        tensor = tensor.full_tensor()
    if tensor.is_nested:
        for piece in tensor.unbind():
            _tensor(piece, digest)
        return
    if tensor.layout is not torch.strided:
        digest.update(f"{tensor.layout}{tuple(tensor.shape)}".encode())
        for piece in _pieces(tensor):
            _tensor(piece, digest)
        return
    if tensor.is_quantized:
        digest.update(repr(tensor.qscheme()).encode())
        tensor = tensor.int_repr()
    tensor = tensor.cpu().resolve_conj().resolve_neg().contiguous()
    digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")


def _pieces(tensor: Tensor) -> list[Tensor]:
    """The dense tensors that a sparse one is made of."""
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce()
        return [tensor.indices(), tensor.values()]
    if tensor.layout in _COMPRESSED:
        return [*(getattr(tensor, name)() for name in _COMPRESSED[tensor.layout]), tensor.values()]
    return [tensor.to_dense()]
