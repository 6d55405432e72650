"""How a file is written whole or not at all: beside its place first, and moved there when it is complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["replacing", "write_text"]


@contextlib.contextmanager
def replacing(target: Path, *, ending: str = "", durably: bool = False) -> Iterator[Path]:
    """A path to write to, which takes the place of ``target`` when the block ends well, and is gone when it does not.

    Args:
        target: the file, in a folder that exists.
        ending: of the path to write to, for writers that look at it.
        durably: wait until the disk has it, so that it outlives a loss of power.

    Yields:
        A hidden path in the same folder, of this process alone.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with replacing(target) as scratch:
        ...     _ = scratch.write_text("all of it")
        >>> target.read_text(), len(list(target.parent.iterdir()))
        ('all of it', 1)
    """
    scratch = target.with_name(f".{target.name}.{os.getpid()}{ending}")
    try:
        yield scratch
        if durably:
            with scratch.open("r+b") as file:
                os.fsync(file.fileno())
        scratch.replace(target)
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a small text file whole or not at all, durably."""
    with replacing(target, durably=True) as scratch:
        scratch.write_text(text, encoding="utf-8")
