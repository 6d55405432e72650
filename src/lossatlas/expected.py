"""Is an argument what a function takes, and what to say where it is not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lossatlas.errors import SpecError

__all__ = ["LANDSCAPE", "check_kind", "described_type", "path_of"]

LANDSCAPE = "a Landscape (xarray.Dataset): la.open('runs/a'), or what la.sample returns"
"""What a function of a Landscape expects, and how to have one."""


def described_type(got: object) -> str:
    """What something is, in words.

    Args:
        got: anything.

    Returns:
        Its type with an article; a class is called one, since an instance of it is often what was meant.

    Example:
        >>> described_type(5), described_type([1]), described_type(int)
        ('an int (5)', 'a list', 'the class int, not an instance of it')
    """
    if isinstance(got, type):
        return f"the class {got.__name__}, not an instance of it"
    name = type(got).__name__
    article = "an" if name[0] in "aeiouAEIO" else "a"
    return f"{article} {name} ({got!r:.40})" if isinstance(got, (int, float, str)) else f"{article} {name}"


def check_kind(argument: str, got: Any, kinds: type | tuple[type, ...], expected: str) -> None:
    """Check the type of an argument.

    Args:
        argument: its name.
        got: what it was given.
        kinds: what it may be.
        expected: the same in words, and how to make it.

    Raises:
        SpecError: it is something else.

    Example:
        >>> check_kind("metrics", 5, dict, 'callables by name, such as {"error": error}')
        Traceback (most recent call last):
        ...
        lossatlas.errors.SpecError: metrics is an int (5); expected callables by name, such as {"error": error}
    """
    if not isinstance(got, kinds):
        raise SpecError(f"{argument} is {described_type(got)}; expected {expected}")


def path_of(argument: str, got: str | os.PathLike[str]) -> Path:
    """A file or folder by its name.

    Args:
        argument: the argument's name.
        got: what it was given.

    Returns:
        The path.

    Raises:
        SpecError: it is not a path.
    """
    check_kind(argument, got, (str, os.PathLike), "a path, such as 'runs/a'")
    return Path(got)
