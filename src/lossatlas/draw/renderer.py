"""What writes a scene into a file, chosen by the file's suffix: our own back ends, and those of other distributions."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from lossatlas.doors import brought, names_of
from lossatlas.draw import interactive, mesh, static
from lossatlas.draw.scene import Scene
from lossatlas.errors import SpecError
from lossatlas.expected import described_type

__all__ = ["GROUP", "Renderer", "renderer_of", "suffixes"]

GROUP = "lossatlas.renderers"
"""The door: an entry point of this group is named as the suffix without its dot."""


@runtime_checkable
class Renderer(Protocol):
    """Draws a scene, in which range, levels, colours and words have been decided once, into a file."""

    def check(self, scene: Scene, suffix: str) -> None:
        """Refuse a scene that cannot be drawn, or a library that is missing, before anything is written."""
        ...

    def write(self, scene: Scene, path: Path) -> None:
        """Write the file; it appears under its name once this succeeds."""
        ...


_OWN: dict[str, Renderer] = {suffix: one for one in (static, interactive, mesh) for suffix in one.SUFFIXES}


def suffixes() -> tuple[str, ...]:
    """The suffixes that can be drawn: our own, then those that other distributions bring.

    Returns:
        Suffixes with their dot.
    """
    others = (f".{name.lower().removeprefix('.')}" for name in names_of(GROUP))
    return (*_OWN, *(suffix for suffix in others if suffix not in _OWN))


def renderer_of(suffix: str) -> Renderer:
    """What draws files of a suffix; one of our own cannot be replaced.

    Args:
        suffix: one of :func:`suffixes`.

    Returns:
        The renderer.

    Raises:
        SpecError: what another distribution brings is not a renderer, or cannot be imported.
    """
    if suffix in _OWN:
        return _OWN[suffix]
    name = next(one for one in names_of(GROUP) if f".{one.lower().removeprefix('.')}" == suffix)
    found = brought(GROUP, name)
    if not isinstance(found, Renderer):
        raise SpecError(
            f"{GROUP}: {name!r} is {described_type(found)}; expected check(scene, suffix), write(scene, path)"
        )
    return found
