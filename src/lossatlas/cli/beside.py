"""Which files does a settings file mean? Those seen from the current folder; namesakes beside it are pointed out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lossatlas.warned import warn

__all__ = ["point_at_others"]


def point_at_others(config: Path, settings: Mapping[str, Any]) -> None:
    """Point out files named in a settings file from another folder that lie beside it as well, or only there.

    Args:
        config: the settings file.
        settings: what it says.

    Example:
        >>> point_at_others(Path("scan.toml"), {"model": "train.py:model"})  # beside it is here
    """
    folder = config.parent
    if folder.resolve() == Path.cwd():
        return
    for name in dict.fromkeys(_files(settings)):
        here, beside = Path(name), folder / name
        if here.is_absolute() or not beside.is_file() or (here.exists() and here.samefile(beside)):
            continue
        if here.exists():
            warn(
                f"{name} is taken from the current folder; {config} names it too, and there is another beside that "
                f"file: {beside}"
            )
        else:
            warn(
                f"{name} was looked for in the current folder, but lies beside {config}, which names it: run the "
                f"command from {folder}"
            )


def _files(settings: Mapping[str, Any]) -> Iterator[str]:
    """What may be a file: a whole value, or what stands before its last colon and any brackets."""
    for value in settings.values():
        for text in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(text, str) and text:
                yield text.partition("(")[0].rpartition(":")[0] or text
