"""Which tensors may move? Those that a pattern names, and none that are quantised."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping

from torch import nn

from lossatlas.errors import SpecError
from lossatlas.expected import texts
from lossatlas.oneline import number_of
from lossatlas.space.filters.table import Row
from lossatlas.space.filters.wrapped import quantised

__all__ = ["matching", "patterns_of", "without_quantised"]


def patterns_of(only: str | Iterable[str]) -> tuple[str, ...]:
    """Patterns of names as a tuple."""
    return texts("only", only, "patterns of names, such as 'layer3.*'")


def matching(table: Mapping[str, Row], only: str | Iterable[str]) -> list[str]:
    """The tensors whose names match a pattern; a tied tensor matches under each of its names.

    Args:
        table: rows by name.
        only: shell-style patterns: ``*`` any text, ``?`` one character, ``[ab]`` one of some.

    Returns:
        Names, in the order of the table.

    Raises:
        SpecError: a pattern matches no name; the message lists similar names.

    Example:
        >>> from lossatlas.space.filters import table
        >>> matching(table(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))), "1.*")
        ['1.weight', '1.bias']
    """
    patterns = patterns_of(only)
    names = {name: (name, *row.also) for name, row in table.items()}
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(alias, pattern) for aliases in names.values() for alias in aliases):
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4) or _spread(list(names))
            raise SpecError(
                f"only={pattern!r} matches none of the {len(names)} tensors, such as {', '.join(near)} …; * stands for "
                "any text, and lossatlas explain lists all names"
            )
    return [
        name
        for name, aliases in names.items()
        if any(fnmatch.fnmatchcase(alias, pattern) for alias in aliases for pattern in patterns)
    ]


def _spread(names: list[str]) -> list[str]:
    """A few names, spread from the first to the last."""
    return names[:: max(1, len(names) // 4)][:5]


def without_quantised(origin: object, table: Mapping[str, Row]) -> list[str]:
    """All tensors of an origin, unless it has quantised weights, whose picture would show only the rounding.

    Args:
        origin: an Objective, a model, or tensors by name.
        table: its rows by name.

    Returns:
        Names, in the order of the table.

    Raises:
        SpecError: weights are quantised; the message says which, and what to do.
    """
    model = getattr(origin, "model", origin)
    found = quantised(model) if isinstance(model, nn.Module) else {}
    if found:
        name, reason = next(iter(found.items()))
        raise SpecError(
            f"{number_of(len(found), 'weight')} cannot be moved, first {name}: {reason}. A step along a direction "
            f"would be rounded "
            "away. Load the model in a floating-point format, or name what may move, as with only='*lora_*'"
        )
    return list(table)
