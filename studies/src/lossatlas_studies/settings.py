"""What can be set in a study: fields of a frozen dataclass, set by words such as ``depths=8,14``, cut for a dry run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import one_of

S = TypeVar("S")


def work(default: Any, *, least: int, power: float = 1.0, about: str = "") -> Any:
    """A field for an amount of work, so that a dry run can do less of it.

    Args:
        default: its value at small scale, a whole number.
        least: the smallest value that makes sense.
        power: by which power of the share of work it is cut; points along each of two axes are cut by the root.
        about: what it is, for the page.
    """
    return dataclasses.field(default=default, metadata={"least": least, "power": power, "about": about})


def about(default: Any, words: str) -> Any:
    """A field with its words for the page."""
    return dataclasses.field(default=default, metadata={"about": words})


def reduced(settings: S, share: float = 0.01) -> S:
    """The same settings with a share of the work: fewer epochs, samples, points and seeds, the same networks.

    Example:
        >>> @dataclasses.dataclass(frozen=True, kw_only=True)
        ... class Settings:
        ...     epochs: int = work(300, least=1)
        ...     points: int = work(51, least=5, power=0.5)
        ...     depth: int = 56
        >>> reduced(Settings())
        Settings(epochs=3, points=5, depth=56)
    """
    changes = {
        field.name: max(field.metadata["least"], int(getattr(settings, field.name) * share ** field.metadata["power"]))
        for field in dataclasses.fields(settings)  # type: ignore[arg-type]
        if "least" in field.metadata
    }
    smaller = {name: min(value, getattr(settings, name)) for name, value in changes.items()}
    return dataclasses.replace(settings, **smaller)  # type: ignore[type-var]


def changed(settings: S, assignments: Iterable[str]) -> S:
    """Settings with some fields set by words.

    Args:
        settings: a frozen dataclass.
        assignments: ``"name=value"``; several values are separated by commas.

    Raises:
        SpecError: the name is unknown (the message lists all valid ones), or the value has another type.

    Example:
        >>> @dataclasses.dataclass(frozen=True, kw_only=True)
        ... class Settings:
        ...     depths: tuple[int, ...] = (8, 14)
        ...     lr: float = 0.1
        >>> changed(Settings(), ["depths=8,20,26", "lr=1"])
        Settings(depths=(8, 20, 26), lr=1.0)
    """
    known = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    changes = {}
    for words in assignments:
        name, sign, value = words.partition("=")
        name = name.strip().replace("-", "_")
        if not sign:
            raise SpecError(f"--set {words}: expected NAME=VALUE, where NAME is one of {', '.join(known)}")
        if name not in known:
            raise SpecError(unknown("--set", name, known))
        changes[name] = _typed(name, value.strip(), known[name])
    return dataclasses.replace(settings, **changes)  # type: ignore[type-var]


def described(settings: Any) -> Mapping[str, tuple[str, str]]:
    """Value and meaning of every field, by name, as words."""
    return {
        field.name: (_words(getattr(settings, field.name)), field.metadata.get("about", ""))
        for field in dataclasses.fields(settings)
    }


def assignments(settings: Any, base: Any) -> list[str]:
    """The assignments that lead from one to the other."""
    return [
        f"{field.name}={_words(getattr(settings, field.name))}"
        for field in dataclasses.fields(settings)
        if getattr(settings, field.name) != getattr(base, field.name)
    ]


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_words, value))
    return repr(value) if isinstance(value, float) else str(value)


def _typed(name: str, words: str, default: Any) -> Any:
    """A value in the type of the one that is there."""
    if isinstance(default, tuple):
        return tuple(_typed(name, part.strip(), default[0]) for part in words.split(",") if part.strip())
    if isinstance(default, bool):
        if words.lower() not in ("true", "false"):
            raise SpecError(f"--set {name}={words}: expected true or false")
        return words.lower() == "true"
    try:
        return type(default)(words)
    except ValueError:
        raise SpecError(f"--set {name}={words}: expected {one_of(type(default))}, such as {default}") from None
