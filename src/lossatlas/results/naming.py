"""Which names a measured value may have: those that the schema does not need itself. What a nameless loss is called."""

from __future__ import annotations

from collections.abc import Iterable

from lossatlas.errors import SpecError

__all__ = ["ENDINGS", "OWN_LOSS", "TAKEN", "check_axes", "check_names"]

TAKEN = ("status", "x", "y", "z")
"""Names of the schema's own, and of the axes that every command has."""

ENDINGS = ("_length", "_uncertainty", "_se", "_low", "_high", "_spread")
"""Endings of the variables that the schema puts beside a value."""

OWN_LOSS = "the model's own"
"""How a Landscape names a loss that the model itself returns."""

_LONGEST = 10_000


def check_axes(names: Iterable[object]) -> None:
    """Refuse the name of an axis that a Landscape or a file cannot have.

    Raises:
        SpecError: the name is not printable text, or one of the schema's own.
    """
    for name in names:
        if not isinstance(name, str) or not name or not name.isprintable() or "/" in name or len(name) > _LONGEST:
            raise SpecError(f"axes: {str(name)[:80]!r} cannot name an axis; expected a letter or a word, such as 'x'")
        if name in ("status", "loss") or any(name.endswith(ending) for ending in ENDINGS):
            raise SpecError(f"axes: {name[:80]!r} has a meaning of its own in a Landscape; choose another name")


def check_names(
    argument: str, names: Iterable[object], *, axes: Iterable[str] = (), endings: Iterable[str] = ENDINGS
) -> None:
    """Refuse the name of a value that means something else in a Landscape.

    Args:
        argument: what gave the names, for the message.
        names: of metrics, tasks or columns.
        axes: names of axes that are known.
        endings: how no name may end.

    Raises:
        SpecError: a name is not text, is taken, or ends like a variable of the schema.

    Example:
        >>> check_names("metrics", ["error_low"])
        Traceback (most recent call last):
        ...
        lossatlas.errors.SpecError: metrics: 'error_low' cannot name a value, since a Landscape gives names that end \
in _low a meaning of their own; choose another name
    """
    taken = {*TAKEN, *axes}
    endings = tuple(endings)
    for name in names:
        if not isinstance(name, str):
            raise SpecError(f"{argument}: {name!r} cannot name a value; expected a text")
        if not name or not name.isprintable() or "/" in name or len(name) > _LONGEST or name.startswith("."):
            raise SpecError(
                f"{argument}: {name[:80]!r} cannot name a value; expected printable letters without / , such as 'error'"
            )
        if name in taken:
            raise SpecError(
                f"{argument}: {name!r} cannot name a value, since it has a meaning of its own in a Landscape "
                f"({', '.join(sorted(taken))} do); choose another name"
            )
        for ending in endings:
            if name.endswith(ending):
                raise SpecError(
                    f"{argument}: {name[:80]!r} cannot name a value, since a Landscape gives names that end in "
                    f"{ending} a meaning of their own; choose another name"
                )
