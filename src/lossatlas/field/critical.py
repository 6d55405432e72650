"""What is a critical point of a field?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lossatlas.oneline import one_line

__all__ = ["Critical", "Kind"]

Kind = Literal["minimum", "saddle", "maximum"]


@dataclass(frozen=True, kw_only=True)
class Critical:
    """A minimum, saddle or maximum.

    Attributes:
        kind: which of them.
        cell: its indices in the field.
        coordinates: where it lies, by axis.
        value: the value there.
        persistence: how far it stands out; infinite for the lowest minimum.
        boundary: whether it lies on the edge of the field and may be there only because the field ends.
    """

    kind: Kind
    cell: tuple[int, ...]
    coordinates: Mapping[str, float]
    value: float
    persistence: float
    boundary: bool

    __repr__ = one_line
