"""What does the folder of a recorded path say? Which tensors there are, and which checkpoint is which file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossatlas import checksum
from lossatlas.errors import SpecError
from lossatlas.untrusted import json_object, reading, text_of

__all__ = ["FORMAT", "INDEX", "LAYOUT", "WEIGHTS", "check_cut_off", "file_of", "line_of", "read_index"]

FORMAT, FIRST = 2, 1
"""The format that is written, and the oldest that is read: version 0.1 kept no checksums."""

WEIGHTS = "weights"
"""The part of an entry that identifies the content of its file by a checksum."""

LAYOUT, INDEX = "path.json", "index.jsonl"


def file_of(step: int) -> str:
    """The name of the file that holds the checkpoint of a step."""
    return f"step-{step:09d}.safetensors"


def line_of(entry: Mapping[str, Any]) -> str:
    """An entry as a line of the index, with its checksum.

    Returns:
        The line, with its newline.

    Raises:
        SpecError: a note that JSON cannot hold.
    """
    try:
        return checksum.sealed(entry, indent=None) + "\n"
    except TypeError as fault:
        raise SpecError(f"notes: {fault}; expected numbers, texts, or lists and dictionaries of them") from fault


def read_index(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The layout and the entries of a recorded path; a last line that was cut off does not count.

    Args:
        folder: as a Recorder wrote it.

    Returns:
        The layout, and an entry for each checkpoint.

    Raises:
        SpecError: the folder holds no path, or its files are damaged, or name files that no Recorder writes.
    """
    if not (folder / LAYOUT).is_file():
        raise SpecError(f"{folder} holds no path of a training ({LAYOUT} is missing); lossatlas.Recorder writes one")
    source = folder / LAYOUT
    layout = json_object(source, "the layout of a path")
    if layout.get("format") not in (FIRST, FORMAT):
        raise SpecError(
            f"{source} has format {layout.get('format')!r}; this version reads formats {FIRST} and {FORMAT}"
        )
    sealed = layout["format"] == FORMAT
    layout = checksum.verified(layout, source, required=sealed)
    names, shapes = layout.get("parameters"), layout.get("shapes")
    if not isinstance(names, list) or not isinstance(shapes, dict) or not all(isinstance(name, str) for name in names):
        raise SpecError(f"{folder} is damaged ({LAYOUT} lists no parameters and shapes); choose another folder")
    source = folder / INDEX
    text = text_of(source, "the index of a path") if source.exists() else ""
    with reading(source, "the index of a path", "choose another folder"):
        lines = text.split("\n")
        check_cut_off(lines[-1], source, "choose another folder")
        return layout, [_entry(json.loads(line), source, sealed=sealed) for line in lines[:-1]]


def check_cut_off(line: str, source: Path, remedy: str) -> None:
    """A last line that was cut off is the beginning of a line; if it goes on after the end of one, it was changed.

    Raises:
        SpecError: it was changed.
    """
    try:
        _, end = json.JSONDecoder().raw_decode(line)
    except ValueError:
        return
    if end < len(line):
        raise SpecError(f"{source} is damaged (its last line does not end where it should); {remedy}")


def _entry(entry: dict[str, Any], source: Path, *, sealed: bool) -> dict[str, Any]:
    """A line of the index, if valid: another file name than its step's could be any, and a Recorder deletes files."""
    entry = checksum.verified(entry, source, required=sealed)
    values = [entry[key] for key in ("epoch", "loss", "lr")]
    good = type(entry["step"]) is int and all(value is None or type(value) in (int, float) for value in values)
    if not good or entry["file"] != file_of(entry["step"]) or not isinstance(entry["notes"], dict):
        raise SpecError(
            f"{source.parent} is damaged ({source.name}: {str(entry)[:120]} is not a checkpoint, or names another "
            "file); choose another folder"
        )
    return entry
