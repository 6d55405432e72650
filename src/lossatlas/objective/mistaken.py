"""What is a file that was given as a checkpoint and is none: a web page, a pointer, a text?"""

from __future__ import annotations

import codecs
from pathlib import Path

from lossatlas.untrusted import printable

__all__ = ["mistaken_for"]

_FIRST = 1024
"""Bytes that are looked at."""

_POINTER = b"version https://git-lfs"

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def mistaken_for(path: Path) -> str:
    """What a file is, going by its first bytes, if it is certainly no checkpoint.

    Args:
        path: a file that could not be read as one.

    Returns:
        What it is, and what to do; empty if it may be a checkpoint that is damaged.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "weights.pt"
        >>> file.write_text("<!DOCTYPE html><html>Sign in</html>") and mistaken_for(file)
        'a web page, not a checkpoint: the download gave a page in its place; download the file itself'
    """
    with path.open("rb") as file:
        start = file.read(_FIRST)
    if not start:
        return "empty; was it still being written, or is the disk full?"
    if start.startswith(_POINTER):
        return "a pointer of Git LFS, not the file itself; fetch that with git lfs pull"
    for mark, name in _COMPRESSED.items():
        if start.startswith(mark):
            return f"compressed with {name}; decompress it first"
    text = _text(start)
    if text.lower().startswith(("<!doctype html", "<html")):
        return "a web page, not a checkpoint: the download gave a page in its place; download the file itself"
    return f"a text, not a checkpoint; it begins with {printable(text.splitlines()[0])[:60]!r}" if text else ""


def _text(start: bytes) -> str:
    """The beginning of a file as text; empty if it is none."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(start)  # the last letter may be cut
    except UnicodeDecodeError:
        return ""
    plain = all(letter.isprintable() or letter in "\t\r\n\f" for letter in text)
    return text.strip() if plain else ""
