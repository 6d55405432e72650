"""Which axes of a plane are random, and so have a seed, a scale, a rank or right angles?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lossatlas.cli.needed import Need

__all__ = ["NEEDS", "where"]

Told = Mapping[str, Any]


def _random(told: Told) -> int:
    """How many axes are random directions, of weights or of inputs."""
    plane = told.get("input_plane") or ""
    led = plane.partition(":")[0] in ("towards", "token")
    if told.get("directions") or led:
        return 0
    asked = sum(told.get(axis) is not None for axis in "xyz") or 2
    return max(asked - (plane == "adversarial") - len(told.get("towards") or ()), 0)


def _of_weights(told: Told) -> int:
    return 0 if told.get("input_plane") else _random(told)


def _alone(told: Told) -> int:
    return 0 if told.get("towards") else _of_weights(told)


_NONE, _OUT = ", but no axis is one here", "leave it out"
SEED = Need(words=f"random directions{_NONE}", met=lambda told: _random(told) > 0, so=_OUT)
SCALED = Need(words=f"random directions of weights{_NONE}", met=lambda told: _of_weights(told) > 0, so=_OUT)
ORTHOGONAL = Need(
    words="two random directions of weights, but there are fewer here", met=lambda told: _alone(told) > 1, so=_OUT
)
RANKED = Need(
    words="a plane of random directions of weights, but this one leads elsewhere",
    met=lambda told: _alone(told) > 0,
    so=_OUT,
)

NEEDS: Mapping[str, Need] = {
    "seed": SEED,
    "normalize": SCALED,
    "still": SCALED,
    "orthogonal": ORTHOGONAL,
    "rank": RANKED,
}
"""What the flags about random directions need, by their names."""


def where(asked: Need) -> dict[str, tuple[Need, ...]]:
    """What the flags about the axes need in a command that has axes only sometimes.

    Args:
        asked: what has to be asked for.

    Returns:
        Needs by the names of flags.
    """
    asked = replace(asked, so="")
    names = ("x", "y", "normalize", "still", "orthogonal", "towards", "directions")
    return {name: (asked, *([NEEDS[name]] if name in NEEDS else [])) for name in names}
