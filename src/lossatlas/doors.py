"""What do other distributions bring? Entry points by group and name, imported when asked for."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lossatlas.errors import SpecError, unknown

__all__ = ["GROUPS", "brought", "names_of"]

GROUPS = {
    "lossatlas.renderers": "a suffix of a file, and what writes a scene into it: lossatlas.draw.renderer.Renderer",
    "lossatlas.measures": "a measure of flatness: lossatlas.flatness.door.Measure",
    "lossatlas.executors": "who evaluates points, called with the text after the colon: lossatlas.sampling.executors",
    "lossatlas.studies": "a study, run by `lossatlas study`: lossatlas_studies.study.Study",
    "lossatlas.commands": "a command of `lossatlas`, a click.Command",
}
"""The doors: groups of entry points, and what stands behind a name of each."""


def names_of(group: str) -> tuple[str, ...]:
    """What other distributions bring to a door, by name; nothing of it is imported.

    Args:
        group: one of :data:`GROUPS`.

    Returns:
        The names, sorted.

    Example:
        >>> names_of("lossatlas.no-such-door")
        ()
    """
    return tuple(sorted({entry.name for entry in entry_points(group=group)}))


def brought(group: str, name: str) -> Any:
    """One thing that another distribution brings, imported now.

    Args:
        group: one of :data:`GROUPS`.
        name: one of :func:`names_of`.

    Returns:
        What the entry point names.

    Raises:
        SpecError: no distribution brings it, or two do, or its import fails; the message names the distribution.
    """
    found = list(entry_points(group=group, name=name))
    if not found:
        raise SpecError(unknown(group, name, names_of(group)))
    if len({entry.value for entry in found}) > 1:
        raise SpecError(
            f"{group}: {name!r} is brought by {' and by '.join(map(_source, found))}; uninstall one of them"
        )
    try:
        return found[0].load()
    except (ImportError, AttributeError) as fault:
        raise SpecError(
            f"{group}: {name!r}, brought by {_source(found[0])}, cannot be imported ({fault}); fix or uninstall it"
        ) from fault


def _source(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value
