"""How does the table ``[view]`` of a TOML file become fields of a View?"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from lossatlas.errors import SpecError, unknown

__all__ = ["view_fields"]


def view_fields(path: Path, table: Any) -> dict[str, Any]:
    """The fields of a View that a file sets, checked before anything is measured.

    Args:
        path: the file, for messages.
        table: what stands below ``[view]``: ``scale = "log"``, ``vmin = 0``, ``clip = "none"``, …

    Returns:
        Values by the names of the fields.

    Raises:
        SpecError: an unknown field or a value that it cannot have; the message lists the valid ones.

    Example:
        >>> view_fields(Path("scan.toml"), {"vmin": 0, "vmax": 3.5, "clip": "none"})
        {'vmin': 0, 'vmax': 3.5, 'clip': None}
    """
    from lossatlas.draw import View

    if not isinstance(table, dict):
        raise SpecError(f"{path}: view = {table!r}; expected a table [view] with entries such as vmin = 0")
    known = [entry.name for entry in fields(View) if entry.name != "overlays"]
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            raise SpecError(f"{path}: {unknown('key of [view]', key, known)}")
        found[name] = None if name == "clip" and value == "none" else tuple(value) if isinstance(value, list) else value
    try:
        View(**found)
    except SpecError as fault:
        raise SpecError(f"{path}, [view]: {fault}") from fault
    return found
