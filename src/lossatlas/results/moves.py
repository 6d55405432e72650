"""What do the coordinates of a Landscape move: the weights of a network, or its inputs?"""

from __future__ import annotations

from collections.abc import Iterable

import xarray as xr

from lossatlas.oneline import number_of
from lossatlas.results.landscape import axis_names, structured

__all__ = ["ATTACKS", "COLUMN", "TOWARDS", "along_words", "moved_words", "not_convex", "of_inputs", "of_table"]

ATTACKS = "A low loss on this plane does not prove robustness: an attack may go in any other direction."
"""What a picture of the inputs does not prove."""

COLUMN = "column of a table"
"""The label of an axis that may be no direction, such as a learning rate."""

TOWARDS = "towards "
"""How the label of a direction begins that ends at another input."""

_NORMS = {"unit-linf": "directions of maximum norm 1 for each example", "unit-l2": "directions of Euclidean norm 1"}


def of_inputs(landscapes: Iterable[xr.Dataset]) -> bool:
    """Whether any of some Landscapes is of inputs that move while the weights stay."""
    return any(structured(landscape, "provenance").get("moves") == "inputs" for landscape in landscapes)


def of_table(landscape: xr.Dataset) -> bool:
    """Whether an axis is a column of a table of which nobody said that it is a direction; then there is no centre."""
    return any(landscape[axis].attrs.get("long_name") == COLUMN for axis in axis_names(landscape))


def not_convex(landscapes: Iterable[xr.Dataset]) -> str:
    """What a loss is shown not to be where a slice violates the inequality of convex functions.

    Returns:
        Words after "is not".

    Example:
        >>> not_convex([])
        'convex'
    """
    return "convex in the input" if of_inputs(landscapes) else "convex"


def along_words(landscape: xr.Dataset) -> str:
    """What moves along which axis, if it is the inputs, in as few words as a picture has room for.

    Returns:
        A clause; empty where the weights move.
    """
    if not of_inputs([landscape]):
        return ""
    layer = str(structured(landscape, "provenance").get("layer", ""))
    named: dict[str, list[str]] = {}
    for axis in axis_names(landscape):
        named.setdefault(str(landscape[axis].attrs.get("long_name", "direction")), []).append(axis)
    ways = [f"{way} ({', '.join(axes)})" for way, axes in named.items()]
    if all(way.startswith(TOWARDS) for way in ways):
        along = f"{TOWARDS}{', '.join(way.removeprefix(TOWARDS) for way in ways)}"
    else:
        along = f"along {', '.join(ways)}"
    return f"{f'output of {layer}' if layer else 'inputs'} moved {along}"


def moved_words(landscape: xr.Dataset) -> str:
    """What moves, if it is the inputs, how many of them, and how their directions were scaled.

    Returns:
        A clause of the caption; empty where the weights move.
    """
    if not of_inputs([landscape]):
        return ""
    told = structured(landscape, "provenance")
    number, layer = int(told.get("examples", 0)), str(told.get("layer", ""))
    of = number_of(number, "example")
    words = [f"output of {layer} moved for {of}" if layer else f"inputs of {of} moved", "weights fixed"]
    words.append(_NORMS.get(str(landscape.attrs.get("normalisation", "")), "directions not normalised"))
    if "clamp" in told:
        words.append(f"inputs clamped to {told['clamp']}")
    return ", ".join(words)
