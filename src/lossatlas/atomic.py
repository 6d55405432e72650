"""How is a file written whole or not at all? It is written beside its target and moved there when complete."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["append", "replacing", "sweep", "write_text"]

OLD_SECONDS = 3600.0
"""A file that has not been written to for this long no longer has a writer."""


@contextlib.contextmanager
def replacing(target: Path, *, ending: str = "", durably: bool = False) -> Iterator[Path]:
    """A path to write to, which takes the place of ``target`` when the block succeeds, and is removed when it fails.

    Args:
        target: the file, in a folder that exists.
        ending: of the path to write to, for writers that look at it.
        durably: wait until it is on the disk, so that it survives a power cut.

    Yields:
        A hidden path in the same folder, used by this process alone.

    Raises:
        OSError: the file cannot be written, even where the writing library raises something else; it names the file.

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
    except OSError as fault:
        if fault.errno is None or fault.filename not in (None, str(scratch)):
            raise
        # A failed write names no file, and a failed open names only the scratch file.
        raise type(fault)(fault.errno, fault.strerror, str(target)) from fault
    except Exception as fault:
        if not _is_of_writing(fault):
            raise
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise OSError(errno.EIO, f"cannot be written ({reason}); is the disk full?", str(target)) from fault
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


def append(path: Path, text: str) -> None:
    """Append to a file and wait until the text is on the disk: all of it, or none if the disk is full.

    Args:
        path: the file; created if missing.
        text: what is added.

    Raises:
        OSError: the disk is full or failing.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "lines.txt"
        >>> append(path, "one,"), append(path, "two")
        (None, None)
        >>> path.read_text()
        'one,two'
    """
    left = text.encode("utf-8")
    with path.open("ab", buffering=0) as file:  # a buffer would try again on closing
        before = file.tell()
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise


def sweep(target: Path) -> None:
    """Remove what killed writers of a file left beside it, under the names that :func:`replacing` gives.

    Args:
        target: the file that is about to be written.
    """
    for left in target.parent.glob(f".{glob.escape(target.name)}.*"):
        process = left.name[len(target.name) + 2 :].partition(".")[0]
        with contextlib.suppress(OSError):
            if process.isdigit() and time.time() - left.stat().st_mtime > OLD_SECONDS:
                left.unlink()


def _is_of_writing(fault: Exception) -> bool:
    """Whether a library's own error means that the disk is full: safetensors and torch raise no OSError."""
    said = str(fault)
    if type(fault).__name__ == "SafetensorError":
        return "I/O error" in said or "os error" in said
    signs = ("PytorchStreamWriter", "file write failed", "inline_container.cc")
    return isinstance(fault, RuntimeError) and any(sign in said for sign in signs)


def write_text(target: Path, text: str) -> None:
    """Write a small text file whole or not at all, durably."""
    with replacing(target, durably=True) as scratch:
        scratch.write_text(text, encoding="utf-8")
