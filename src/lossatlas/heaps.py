"""Do the heaps of an HDF5 file end?

The library walks through each heap, object by object, and never reaches the end of one whose free space has zero bytes
(seen in HDF5 2.0.0). Damage can make such a file.

A heap begins with ``GCOL``, version 1, three reserved bytes, and its size. Each object has a header of index (two
bytes; 0 for free space), references (two), four reserved bytes and size; the size of free space counts its header.
Sizes have as many bytes as the superblock says. Source: HDF5 File Format Specification 3.0, section III.E, "Global
Heap".
"""

from __future__ import annotations

import mmap
from pathlib import Path

__all__ = ["endless"]

_SUPERBLOCK = b"\x89HDF\r\n\x1a\n"
_HEAP = b"GCOL\x01"
_WIDEST = 8


def endless(source: Path) -> bool:
    r"""Whether an HDF5 file has a heap whose end a reader may never reach.

    Args:
        source: the file, of any size; it is searched in place.

    Returns:
        True where some object of a heap takes no space, or so much that its end cannot be determined.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.h5")
        ...     _ = file.write_bytes(b"GCOL\x01\0\0\0" + (64).to_bytes(8, "little") + bytes(48))
        ...     endless(file)
        True
    """
    if not source.stat().st_size:
        return False
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        width, at = _width(content), content.find(_HEAP)
        while at >= 0:
            if not _ends(content, at, width):
                return True
            at = content.find(_HEAP, at + 1)
    return False


def _width(content: mmap.mmap) -> int:
    """How many bytes a size has: after the signature of the superblock come versions, and the sizes of two numbers."""
    start = content.find(_SUPERBLOCK)
    if start < 0:
        return _WIDEST
    version = content[start + 8 : start + 9]
    place = start + (14 if version in (b"\0", b"\1") else 10)
    told = int.from_bytes(content[place : place + 1], "little")
    return told if told in (2, 4, 8) else _WIDEST


def _ends(content: mmap.mmap, start: int, width: int) -> bool:
    """Whether the library reaches the end of a heap, or an object that it refuses."""
    size = int.from_bytes(content[start + 8 : start + 8 + width], "little")
    end, header = start + size, 8 + width
    if end > len(content):
        return True  # refused
    at = start + header
    while at + header <= end:
        index = int.from_bytes(content[at : at + 2], "little")
        taken = int.from_bytes(content[at + 8 : at + header], "little")
        need = taken if index == 0 else header + -(-taken // 8) * 8
        if not need or need >= 2 ** (8 * width - 1):
            return False
        if at + need > end:
            return True  # refused
        at += need
    return True
