"""Is an argument what a function takes, and what is the message if it is not?"""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lossatlas.errors import SpecError

__all__ = ["LANDSCAPE", "check_kind", "check_number", "check_whole", "described_type", "one_of", "path_of", "texts"]

LANDSCAPE = "a Landscape (xarray.Dataset): la.open('runs/a'), or what la.sample returns"
"""What a function of a Landscape expects, and how to get one."""


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
    kind = one_of(type(got))
    return f"{kind} ({got!r:.40})" if isinstance(got, (int, float, str)) else kind


def one_of(kind: type) -> str:
    """The name of a type with its article.

    Returns:
        The words.

    Example:
        >>> one_of(int), one_of(dict)
        ('an int', 'a dict')
    """
    return f"{'an' if kind.__name__[0] in 'aeiouAEIO' else 'a'} {kind.__name__}"


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


def check_number(argument: str, got: Any, expected: str = "a number") -> None:
    """Check that an argument is a number, of Python or NumPy.

    Raises:
        SpecError: it is something else.

    Example:
        >>> check_number("tolerance", "a", "a share, such as 0.02")
        Traceback (most recent call last):
        ...
        lossatlas.errors.SpecError: tolerance is a str ('a'); expected a share, such as 0.02
    """
    if isinstance(got, bool) or not isinstance(got, numbers.Real):
        raise SpecError(f"{argument} is {described_type(got)}; expected {expected}")


def check_whole(argument: str, got: Any, least: int | None = None) -> None:
    """Check that an argument is a whole number, and not too small.

    Raises:
        SpecError: it is something else.

    Example:
        >>> check_whole("seed", 1.5)
        Traceback (most recent call last):
        ...
        lossatlas.errors.SpecError: seed is a float (1.5); expected a whole number
    """
    expected = "a whole number" if least is None else f"a whole number of at least {least}"
    if isinstance(got, bool) or not isinstance(got, numbers.Integral):
        raise SpecError(f"{argument} is {described_type(got)}; expected {expected}")
    if least is not None and got < least:
        raise SpecError(f"{argument}={got}; expected {expected}")


def texts(argument: str, got: Any, expected: str) -> tuple[str, ...]:
    """One text or several, as a tuple.

    Args:
        argument: the argument's name.
        got: what it was given.
        expected: what it may be, in words.

    Returns:
        The texts.

    Raises:
        SpecError: it is something else.

    Example:
        >>> texts("only", "layer3.*", "patterns of names"), texts("only", ["a", "b"], "patterns of names")
        (('layer3.*',), ('a', 'b'))
    """
    if isinstance(got, str):
        return (got,)
    if not isinstance(got, Iterable):
        raise SpecError(f"{argument} is {described_type(got)}; expected {expected}")
    found = tuple(got)
    for one in found:
        check_kind(f"{argument}: an entry", one, str, expected)
    return found


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
