"""What does a Landscape say about where it comes from? Words by name, for the page that shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import xarray as xr

from lossatlas.results.landscape import structured

__all__ = ["PLAIN", "PYTHON", "facts"]

PLAIN = (
    "title",
    "model",
    "data",
    "loss",
    "samples",
    "normalisation",
    "still",
    "batchnorm",
    "seed",
    "dtype",
    "device",
)
"""Attributes that are words or numbers, in the order of the schema."""

PYTHON = "provenance: python"
"""The program that repeats a run."""

_LINE, _PROGRAM = 400, 8000
_STRUCTURED = ("counts", "cosines", "sampling", "curvature", "evaluation", "provenance")


def facts(landscape: xr.Dataset) -> dict[str, str]:
    """What is known of a Landscape, the structured attributes entry by entry; what is not known is left out.

    Args:
        landscape: a Landscape.

    Returns:
        Words by name, in the order of the schema.

    Example:
        >>> import numpy as np
        >>> from lossatlas.results.landscape import About, Axis, build
        >>> axis = Axis(coordinates=np.array([0.0, 1.0]), length=1.0)
        >>> about = About(model="Net", samples=10, provenance={"command": "lossatlas sample"})
        >>> known = facts(build({"x": axis}, {"loss": np.ones(2)}, about=about))
        >>> known["model"], known["samples"], known["provenance: command"]
        ('Net', '10', 'lossatlas sample')
    """
    known = {name: str(landscape.attrs.get(name, "")) for name in (*PLAIN, "created", "software")}
    known["samples"] = "" if known["samples"] == "0" else known["samples"]
    for name in _STRUCTURED:
        known |= _entries(name, structured(landscape, name))
    return {name: words for name, words in known.items() if words}


def _entries(name: str, content: Mapping[str, Any]) -> dict[str, str]:
    """One line for each entry; what is longer is left to the file, except the program that repeats the run."""
    lines = {f"{name}: {key}": _words(value) for key, value in content.items() if key != "numbers"}
    return {key: words for key, words in lines.items() if len(words) <= (_PROGRAM if key == PYTHON else _LINE)}


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(inner)}".rstrip() for name, inner in value.items())
    if isinstance(value, list) and all(isinstance(one, (str, int, float)) for one in value):
        return ", ".join(map(_words, value))
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
