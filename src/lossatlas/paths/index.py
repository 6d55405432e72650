"""What does the folder of a recorded path say: which tensors there are, and which checkpoint is which file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lossatlas.errors import SpecError
from lossatlas.untrusted import json_object, reading, text_of

__all__ = ["FORMAT", "INDEX", "LAYOUT", "file_of", "read_index"]

FORMAT = 1
LAYOUT, INDEX = "path.json", "index.jsonl"


def file_of(step: int) -> str:
    """The name of the file that holds the checkpoint of a step."""
    return f"step-{step:09d}.safetensors"


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
    if layout.get("format") != FORMAT:
        raise SpecError(f"{source} has format {layout.get('format')!r}; this version reads format {FORMAT}")
    names, shapes = layout.get("parameters"), layout.get("shapes")
    if not isinstance(names, list) or not isinstance(shapes, dict) or not all(isinstance(name, str) for name in names):
        raise SpecError(f"{folder} is damaged ({LAYOUT} lists no parameters and shapes); choose another folder")
    source = folder / INDEX
    text = text_of(source, "the index of a path") if source.exists() else ""
    with reading(source, "the index of a path", "choose another folder"):
        return layout, [_entry(json.loads(line), source) for line in text.splitlines(True) if line.endswith("\n")]


def _entry(entry: dict[str, Any], source: Path) -> dict[str, Any]:
    """A line of the index, if it is one: a file that is not its step's could be any, and a Recorder deletes files."""
    values = [entry[key] for key in ("epoch", "loss", "lr")]
    good = type(entry["step"]) is int and all(value is None or type(value) in (int, float) for value in values)
    if not good or entry["file"] != file_of(entry["step"]) or not isinstance(entry["notes"], dict):
        raise SpecError(
            f"{source.parent} is damaged ({source.name}: {str(entry)[:120]} is not a checkpoint, or names another "
            "file); choose another folder"
        )
    return entry
