"""Which measures of flatness do other distributions bring, and what is a measure?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lossatlas.doors import brought, names_of
from lossatlas.errors import SpecError, unknown
from lossatlas.expected import described_type
from lossatlas.flatness.definitions import DEFINITIONS, Definition

if TYPE_CHECKING:
    from lossatlas.flatness.result import Sharpness
    from lossatlas.objective import Objective
    from lossatlas.space.parameters import Parameters

__all__ = ["GROUP", "Measure", "definition_of", "from_elsewhere", "known"]

GROUP = "lossatlas.measures"
"""The door: an entry point of this group is named as its measure."""


@runtime_checkable
class Measure(Protocol):
    """A measure of flatness: a callable that says what it is.

    Attributes:
        definition: its formula, source and cost, what leaves it unchanged, and whether flatter is smaller.
    """

    definition: Definition

    def __call__(self, objective: Objective, params: Parameters | None = None, **options: Any) -> Sharpness:
        """The measure at a point; by default at the origin. Its result names the measure as the entry point does."""
        ...


def known() -> tuple[str, ...]:
    """The names of all measures: our own, then those that other distributions bring.

    Returns:
        The names; nothing is imported.
    """
    return (*DEFINITIONS, *(name for name in names_of(GROUP) if name not in DEFINITIONS))


def from_elsewhere(name: str) -> Measure:
    """A measure that another distribution brings.

    Args:
        name: of its entry point.

    Returns:
        The measure.

    Raises:
        SpecError: no distribution brings it, it cannot be imported, or it is not a
            measure; for an unknown name the message lists all valid ones.
    """
    if name not in known():
        raise SpecError(unknown("measure", name, known()))
    found = brought(GROUP, name)
    if not callable(found) or not isinstance(getattr(found, "definition", None), Definition):
        raise SpecError(
            f"{GROUP}: {name!r} is {described_type(found)}; expected a callable (objective, params=None, **options) "
            "with an attribute definition, a lossatlas.sharpness.Definition"
        )
    measure: Measure = found
    return measure


def definition_of(name: str) -> Definition:
    """What a measure is, wherever it comes from.

    Args:
        name: one of :func:`known`.

    Returns:
        Its definition.

    Raises:
        SpecError: an unknown name; the message lists all valid ones.
    """
    return DEFINITIONS[name] if name in DEFINITIONS else from_elsewhere(name).definition
