"""How does one of our safetensors files show that it is whole? By a checksum of each tensor, and of its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lossatlas import checksum
from lossatlas.errors import SpecError
from lossatlas.objective.hashing import fingerprint

__all__ = ["SUMS", "check", "content_sum", "sealed"]

SUMS = "checksums"
"""The entry of the metadata that holds them."""


def sealed(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a file with its checksums.

    Returns:
        The metadata.

    Example:
        >>> import torch
        >>> weights = {"w": torch.zeros(2)}
        >>> check(Path("a.safetensors"), weights, sealed(weights, {"by": "filter"}), names=weights)
        >>> check(Path("a.safetensors"), {"w": torch.ones(2)}, sealed(weights, {}))
        Traceback (most recent call last):
        ...
        lossatlas.errors.SpecError: a.safetensors is damaged ('w' is not what was written)
    """
    sums = {name: fingerprint([name, tensor]).hex()[:16] for name, tensor in tensors.items()}
    return {**metadata, SUMS: json.dumps({"tensors": sums, "about": checksum.of_json([dict(metadata), sums])})}


def content_sum(metadata: Mapping[str, str] | None) -> str:
    """The checksum of a sealed file's whole content, by which another file may refer to it; empty if it has none.

    Returns:
        The checksum.

    Example:
        >>> import torch
        >>> one, other = sealed({"w": torch.zeros(2)}, {}), sealed({"w": torch.ones(2)}, {})
        >>> content_sum(one) == content_sum(other), content_sum({})
        (False, '')
    """
    try:
        return str(json.loads((metadata or {})[SUMS])["about"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def check(
    source: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None, *, names: Mapping[str, object] = {}
) -> None:
    """Check what was read from a file against its checksums, if it has them; other programs' files have none.

    Args:
        source: the file, for messages.
        tensors: what was read from it.
        metadata: of the file.
        names: all that it holds, if all of it must be there.

    Raises:
        SpecError: it is not what was written.
    """
    if not metadata or SUMS not in metadata:
        return
    try:
        told = json.loads(metadata[SUMS])
        sums = told["tensors"]
        about = checksum.of_json([{key: text for key, text in metadata.items() if key != SUMS}, sums])
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise SpecError(f"{source} is damaged (its checksums cannot be read: {fault})") from fault
    if about != told.get("about") or not isinstance(sums, dict) or (names and names.keys() != sums.keys()):
        raise SpecError(f"{source} is damaged (its header is not what was written)")
    for name, tensor in tensors.items():
        if sums.get(name) != fingerprint([name, tensor]).hex()[:16]:
            raise SpecError(f"{source} is damaged ({name!r} is not what was written)")
