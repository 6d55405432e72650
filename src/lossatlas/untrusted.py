"""How is a file from someone else read? With checks before any of it is trusted."""

from __future__ import annotations

import contextlib
import json
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lossatlas import heaps
from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.expected import described_type
from lossatlas.extras import MissingExtraError

__all__ = [
    "LARGE",
    "MOST_CORPUS",
    "MOST_HEADER",
    "MOST_TEXT",
    "bare_name",
    "check_hdf5",
    "check_zip",
    "hdf5",
    "json_object",
    "printable",
    "printable_fields",
    "reading",
    "safetensors_header",
    "shown",
    "text_of",
]

MOST_TEXT = 256 * 1024**2
"""The largest text or JSON file that is read, in bytes."""

MOST_CORPUS = 16 * 1024**3
"""The largest text that is read as data, in bytes."""

MOST_HEADER = 100_000_000
"""The largest header of a safetensors file, in bytes: the limit of the library itself."""

LARGE = 256 * 1024**2
"""Compressed contents of up to this many bytes are read, however small the file."""

_MOST_COMPRESSED = 100
"""Larger compressed contents may be at most this many times as large as the file."""

_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "F32": 4, "I32": 4, "U32": 4} | {
    "F64": 8, "I64": 8, "U64": 8, "C64": 8,
}  # fmt: skip
"""How many bytes an entry of a safetensors file takes, where its format is one of these."""

_DEEPEST = 64
"""How deeply groups may be nested."""

_OURS = (SpecError, RunMismatchError, MissingExtraError)


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], kind: str, hint: str = "") -> Iterator[Path]:
    """What a malformed file makes a reader raise, as one sentence with the file's name.

    Args:
        path: the file or folder, for the message.
        kind: what it is read as: "a Landscape (netCDF)".
        hint: what to do about it, if anything helps.

    Yields:
        The path.

    Raises:
        SpecError: whatever the block raised; our own errors pass unchanged.

    Example:
        >>> with reading("a.json", "JSON"):
        ...     json.loads("{")
        Traceback (most recent call last):
        ...
        lossatlas.errors.SpecError: a.json cannot be read as JSON: Expecting property name enclosed in double quotes: \
line 1 column 2 (char 1)
    """
    ending = f"; {hint}" if hint else ""
    try:
        yield Path(path)
    except _OURS:
        raise
    except Exception as fault:
        raise SpecError(f"{shown(path)} cannot be read as {kind}: {_said(fault)}{ending}") from fault
    except BaseException as fault:
        if type(fault).__name__ != "PanicException":  # a library written in Rust gave up on the content
            raise
        raise SpecError(f"{shown(path)} cannot be read as {kind}: damaged{ending}") from fault


def _said(fault: BaseException) -> str:
    """The first line of what a library said, short and printable."""
    if isinstance(fault, RecursionError):
        return "it is nested too deeply"
    if isinstance(fault, MemoryError):
        return "it claims to hold more than fits into memory"
    if isinstance(fault, OSError) and fault.strerror and fault.errno:
        return fault.strerror
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    told = printable(lines[0])[:200] if lines else ""
    telling = told and not isinstance(fault, (KeyError, IndexError, AttributeError, TypeError, AssertionError))
    return told if telling else f"{type(fault).__name__}{f' ({told})' if told else ''}"


def shown(path: str | os.PathLike[str]) -> str:
    """A path as messages show it: printable, whatever its bytes."""
    return printable(os.fspath(path))


def printable(text: str) -> str:
    r"""A text whose control characters and lone surrogates are each replaced by a mark.

    Args:
        text: from anyone: a title, a file name, a message. Line breaks and tabs become spaces.

    Returns:
        The text; it can be written as UTF-8, to a terminal, and into XML.

    Example:
        >>> printable("a\x1b[31m\tb\ud800\n")
        'a�[31m b� '
    """
    if text.isprintable():
        return text
    return "".join(_one(letter) for letter in text)


def printable_fields(record: Any, *names: str) -> None:
    """Make texts of a frozen dataclass printable, in place; line breaks stay.

    Args:
        record: the dataclass, in its ``__post_init__``.
        *names: fields that are texts, or lists of texts.
    """
    for name in names:
        value = getattr(record, name)
        one = isinstance(value, str)
        cleaned = [_lines(text) if isinstance(text, str) else text for text in ([value] if one else value or ())]
        object.__setattr__(record, name, cleaned[0] if one else type(value)(cleaned) if cleaned else value)


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


def _one(letter: str) -> str:
    if letter in "\t\n\r\v\f\x85\u2028\u2029":
        return " "
    code = ord(letter)
    # Marks that turn the direction of writing can make a name look like another one; XML forbids U+FFFE and U+FFFF.
    odd = code < 32 or 127 <= code < 160 or 0xD800 <= code < 0xE000 or 0x202A <= code <= 0x202E
    return "\ufffd" if odd or 0x2066 <= code <= 0x2069 or code & 0xFFFE == 0xFFFE else letter


def text_of(path: str | os.PathLike[str], kind: str = "text", *, most: int = MOST_TEXT) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        kind: what it is read as, for messages.
        most: the largest file that is read, in bytes.

    Returns:
        The text.

    Raises:
        SpecError: the file is missing, not a regular file, too large, or not UTF-8.
    """
    source = Path(path)
    with reading(source, kind):
        if not source.is_file():
            raise SpecError(f"{shown(source)}: no such file")
        if (size := source.stat().st_size) > most:
            raise SpecError(f"{shown(source)} has {size:,} bytes; {kind} may have at most {most:,}")
        return source.read_text(encoding="utf-8-sig")


def json_object(path: str | os.PathLike[str], kind: str = "JSON", *, most: int = MOST_TEXT) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: the file.
        kind: what it is read as, for messages.
        most: the largest file that is read, in bytes.

    Returns:
        Its entries.

    Raises:
        SpecError: the file is missing, too large, not JSON, or holds something other than an object.
    """
    text = text_of(path, kind, most=most)
    with reading(path, kind):
        content = json.loads(text)
        if not isinstance(content, dict):
            raise SpecError(f"{shown(path)} holds {described_type(content)}; {kind} needs an object {{…}}")
        return content


def bare_name(name: object, source: str | os.PathLike[str]) -> str:
    """A file's name found in another file, which may not lead out of its folder.

    Args:
        name: what the file says.
        source: the file that says it, for messages.

    Returns:
        The name.

    Raises:
        SpecError: it is not the bare name of a file.

    Example:
        >>> bare_name("../a.pt", "index.json")
        Traceback (most recent call last):
        ...
        lossatlas.errors.SpecError: index.json names a file outside of its folder: '../a.pt'; expected a bare file name
    """
    bare = isinstance(name, str) and name not in ("", ".", "..") and name.isprintable() and not set(name) & set("/\\:")
    if not bare or not isinstance(name, str) or len(name.encode(errors="replace")) > 255:
        raise SpecError(
            f"{shown(source)} names a file outside of its folder: {str(name)[:80]!r}; expected a bare file name"
        )
    return name


def safetensors_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The header of a safetensors file, checked against the size of the file before anything else is read.

    Args:
        path: the file.

    Returns:
        ``dtype``, ``shape`` and ``data_offsets`` (from the beginning of the file) by name, and ``__metadata__``.

    Raises:
        SpecError: the file is missing, damaged or cut off.
    """
    source = Path(path)
    with reading(source, "safetensors", "truncated or damaged?"):
        if not source.is_file():
            raise SpecError(f"{shown(source)}: no such file")
        size = source.stat().st_size
        with source.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8 or length > MOST_HEADER:
                raise SpecError(
                    f"{shown(source)} cannot be read as safetensors; truncated? Its header claims {length:,} bytes "
                    f"of a file of {size:,}"
                )
            header = json.loads(file.read(length))
        return {name: _placed(name, entry, 8 + length, source) for name, entry in header.items()}


def _placed(name: str, entry: Any, start: int, source: Path) -> Any:
    """An entry of a header whose tensor lies within the file."""
    if name == "__metadata__":
        good = all(isinstance(value, str) for value in entry.values())
    else:
        shape, (first, last), dtype = entry["shape"], entry["data_offsets"], entry["dtype"]
        good = all(type(number) is int and number >= 0 for number in (*shape, first, last)) and isinstance(dtype, str)
        good = good and first <= last <= source.stat().st_size - start
        good = good and (dtype not in _BYTES or math.prod(shape) * _BYTES[dtype] == last - first)
        entry = {**entry, "data_offsets": [start + first, start + last]}
    if not good:
        raise SpecError(
            f"{shown(source)} cannot be read as safetensors; truncated or damaged? Entry {name[:80]!r} does not lie "
            "within the file"
        )
    return entry


def check_zip(path: str | os.PathLike[str]) -> None:
    """Refuse an archive (``.npz``, ``torch.save``) whose contents claim to be far larger than the file.

    Args:
        path: the file; one that is not an archive is left to its reader.

    Raises:
        SpecError: it claims to be many times larger than it may be.
    """
    source = Path(path)
    with reading(source, "an archive", "truncated or damaged?"):
        if not zipfile.is_zipfile(source):
            return
        with zipfile.ZipFile(source) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
        _check_claim(source, claimed, source.stat().st_size)


def _check_claim(source: Path, claimed: int, stored: int, what: str = "it") -> None:
    if claimed > LARGE + _MOST_COMPRESSED * stored:
        raise SpecError(
            f"{shown(source)}: {what} claims {claimed:,} bytes, stored in {stored:,}; the file is damaged, or was made "
            "to fill the memory"
        )


def check_hdf5(path: str | os.PathLike[str], kind: str) -> None:
    """Check a file as :func:`hdf5` does, for a reader that opens it by name."""
    with hdf5(path, kind):
        pass


@contextlib.contextmanager
def hdf5(path: str | os.PathLike[str], kind: str) -> Iterator[Any]:
    """An HDF5 (or netCDF) file open for reading, which holds its own data and no more than fits into it.

    Links to other files, data stored outside, and virtual data sets are refused before anything is read: each makes
    the reader open a file that the sender of this one has chosen.

    Args:
        path: the file.
        kind: what it is read as, for messages.

    Yields:
        The ``h5py.File``.

    Raises:
        SpecError: it is missing, damaged, refers to other files, or claims more data than it holds; also whatever the
            block raises.
    """
    import h5py

    source = Path(path)
    with reading(source, kind):
        if not source.is_file():
            raise SpecError(f"{shown(source)}: no such file")
        if heaps.endless(source):
            raise SpecError(f"{shown(source)} is damaged (a heap in it has no end); reading it would never end either")
        with h5py.File(source, "r", locking=False) as file:
            _check_groups(file, source)
            yield file


def _check_groups(file: Any, source: Path) -> None:
    import h5py

    seen, waiting, claimed = set(), [(file["/"], 0)], 0
    while waiting:
        group, depth = waiting.pop()
        if depth > _DEEPEST:
            raise SpecError(f"{shown(source)} has groups nested {depth} deep; at most {_DEEPEST} levels are read")
        for name in group:
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise SpecError(f"{shown(source)}: {name[:80]!r} links to another file; copy the data into this one")
            entry = group.get(name)
            if entry is None or isinstance(entry, h5py.Datatype):
                continue
            place = h5py.h5o.get_info(entry.id)
            if (place.fileno, place.addr) in seen:
                continue
            seen.add((place.fileno, place.addr))
            if isinstance(entry, h5py.Group):
                waiting.append((entry, depth + 1))
            else:
                claimed += _claim(entry, name, source)
    _check_claim(source, claimed, source.stat().st_size, "all of it together")


def _claim(entry: Any, name: str, source: Path) -> int:
    """How many bytes a data set claims, once it is known to lie in its own file."""
    import h5py

    if entry.is_virtual or entry.external:
        raise SpecError(f"{shown(source)}: the data of {name[:80]!r} lie in another file; copy them into this one")
    claimed: int = math.prod(entry.shape or ()) * entry.dtype.itemsize
    stored = entry.id.get_storage_size()
    if entry.id.get_create_plist().get_layout() == h5py.h5d.CHUNKED:
        _check_claim(source, claimed, min(stored, source.stat().st_size), f"{name[:80]!r}")
    elif claimed > source.stat().st_size:
        _check_claim(source, claimed, 0, f"{name[:80]!r}")
    return claimed
