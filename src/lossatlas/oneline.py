"""How does an object show itself in a line or two, however much it holds?"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["FEW", "LETTERS", "NUMBERS", "SENTENCE", "first_line", "in_words", "number_of", "one_line", "verb_of"]

LETTERS = 600
"""Characters after which the rest of a line is left out."""

FEW = 4
"""Entries up to which a sequence or a mapping is written out."""

NUMBERS = 12
"""Numbers up to which an array is written out: a handful of eigenvalues, say."""

SENTENCE = 240
"""Length up to which a text is written out if it is a field of the object itself; 80 further down."""

_VERBS = {"is": "are", "was": "were", "has": "have", "does": "do"}


def number_of(count: int, one: str, many: str = "", *, verb: str = "") -> str:
    """How many there are of something, in words that agree.

    Args:
        count: how many.
        one: the word for one of them.
        many: the word for several; ``one`` with an s where it is left out.
        verb: what one of them does, where the verb follows at once; see :func:`verb_of`.

    Returns:
        The words.

    Example:
        >>> number_of(1, "checkpoint"), number_of(3, "checkpoint"), number_of(2, "axis", "axes")
        ('1 checkpoint', '3 checkpoints', '2 axes')
        >>> number_of(1, "point", verb="is"), number_of(3, "point", verb="is")
        ('1 point is', '3 points are')
    """
    said = f"{count} {one if count == 1 else many or f'{one}s'}"
    return f"{said} {verb_of(count, verb)}" if verb else said


def first_line(fault: BaseException | str) -> str:
    r"""The first non-empty line of a message; for an error without one, its type.

    Args:
        fault: what was raised, or what it said.

    Returns:
        The line, stripped of surrounding whitespace.

    Example:
        >>> first_line(ValueError("\n no such file\nmore")), first_line(OSError()), first_line(ValueError("\n"))
        ('no such file', 'OSError', 'ValueError')
    """
    lines = filter(None, map(str.strip, str(fault).splitlines()))
    return next(lines, "" if isinstance(fault, str) else type(fault).__name__)


def verb_of(count: int, one: str) -> str:
    """A verb that agrees with a count, where other words come between.

    Args:
        count: how many.
        one: what one of them does: "is", "has", "belongs".

    Returns:
        The verb.

    Example:
        >>> verb_of(1, "is"), verb_of(3, "is"), verb_of(2, "has"), verb_of(0, "belongs")
        ('is', 'are', 'have', 'belong')
    """
    return one if count == 1 else _VERBS.get(one) or one.removesuffix("s")


def one_line(self: Any) -> str:
    """A dataclass in a line: names and values, arrays by their shape; to be its ``__repr__``.

    Args:
        self: an instance of a dataclass.

    Returns:
        At most :data:`LETTERS` characters.

    Example:
        >>> from dataclasses import dataclass
        >>> import numpy as np
        >>> @dataclass(frozen=True)
        ... class Found:
        ...     name: str
        ...     values: np.ndarray
        ...     __repr__ = one_line
        >>> Found("loss", np.zeros((51, 51)))
        Found(name='loss', values=float64 [51, 51])
    """
    return _of_dataclass(self, 0)


def in_words(value: Any, depth: int = 0) -> str:
    """Any value in a few words.

    Args:
        value: anything.
        depth: how deeply it is nested in another value; deep down only the type is named.

    Returns:
        One line.

    Example:
        >>> in_words([1.0, math.pi]), in_words(list(range(100)))
        ('[1, 3.14159]', '[100 × int]')
    """
    if value is None or isinstance(value, (bool, int)):
        return repr(value)
    if isinstance(value, numbers.Real):
        return f"{float(value):.6g}"
    if isinstance(value, str):
        most = 80 if depth else SENTENCE
        return repr(value if len(value) <= most else f"{value[: most - 1]}…")
    if hasattr(value, "data_vars"):
        return _of_dataset(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _of_array(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _of_dataclass(value, depth + 1)
    if isinstance(value, Mapping):
        return _of_mapping(value, depth + 1)
    if isinstance(value, (Sequence, Set)) and not isinstance(value, (bytes, bytearray)):
        return _of_sequence(list(value), depth + 1, round_brackets=isinstance(value, tuple))
    return _of_object(value)


def _of_dataclass(value: Any, depth: int) -> str:
    name = type(value).__name__
    if depth > 2:
        return f"{name}(…)"
    parts = [f"{f.name}={in_words(getattr(value, f.name), depth)}" for f in fields(value) if f.repr]
    text = ", ".join(parts)
    return f"{name}({text if len(text) <= LETTERS else f'{text[:LETTERS]}…'})"


def _of_array(value: Any) -> str:
    kind = str(value.dtype).removeprefix("torch.")
    few = value.ndim == 1 and value.shape[0] <= NUMBERS
    if few and type(value).__module__ == "numpy" and value.dtype.kind in "biuf":
        return f"[{', '.join(in_words(one) for one in value.tolist())}]"
    return f"{kind} [{', '.join(map(str, value.shape))}]"


def _of_dataset(value: Any) -> str:
    sizes = " × ".join(f"{name} {length}" for name, length in value.sizes.items())
    return f"<{type(value).__name__}: {', '.join(map(str, list(value.data_vars)[:FEW]))} on {sizes or 'a point'}>"


def _of_mapping(value: Mapping[Any, Any], depth: int) -> str:
    entries = list(value.values())
    if entries and all(hasattr(one, "shape") and hasattr(one, "dtype") for one in entries):
        size = sum(math.prod(one.shape) for one in entries)
        return f"{{{number_of(len(entries), 'array')}, {size:,} numbers}}"
    if depth > 2 or len(entries) > FEW:
        return f"{{{number_of(len(entries), 'entry', 'entries')}}}"
    return f"{{{', '.join(f'{key!r}: {in_words(one, depth)}' for key, one in value.items())}}}"


def _of_sequence(value: list[Any], depth: int, *, round_brackets: bool) -> str:
    start, end = "()" if round_brackets else "[]"
    deep = depth > 2 and any(isinstance(one, (Mapping, Sequence)) and not isinstance(one, str) for one in value)
    if len(value) > FEW or deep:
        kinds = {type(one).__name__ for one in value}
        return f"{start}{len(value)} × {kinds.pop() if len(kinds) == 1 else 'value'}{end}"
    inner = ", ".join(in_words(one, depth) for one in value)
    return f"{start}{inner}{',' if round_brackets and len(value) == 1 else ''}{end}"


def _of_object(value: Any) -> str:
    if callable(value) and hasattr(value, "__qualname__"):
        return str(value.__qualname__)
    text = repr(value)
    if " at 0x" in text or "\n" in text:
        return f"<{type(value).__name__}>"
    return text if len(text) <= 80 else f"{text[:79]}…"
