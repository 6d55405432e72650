"""How does an object show itself in a line or two, however much it holds?"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["FEW", "LETTERS", "in_words", "one_line"]

LETTERS = 600
"""Letters after which the rest of a line is left out."""

FEW = 4
"""Entries up to which a sequence, a mapping or an array is written out."""


def one_line(self: Any) -> str:
    """A dataclass in a line: names and values, arrays by their shape; to be its ``__repr__``.

    Args:
        self: an instance of a dataclass.

    Returns:
        At most :data:`LETTERS` letters.

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
        depth: how far inside another value it stands; deep down only the type is named.

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
        return repr(value if len(value) <= 80 else f"{value[:79]}…")
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
    if value.ndim == 1 and value.shape[0] <= FEW and type(value).__module__ == "numpy" and value.dtype.kind in "biuf":
        return f"[{', '.join(in_words(one) for one in value.tolist())}]"
    return f"{kind} [{', '.join(map(str, value.shape))}]"


def _of_dataset(value: Any) -> str:
    sizes = " × ".join(f"{name} {length}" for name, length in value.sizes.items())
    return f"<{type(value).__name__}: {', '.join(map(str, list(value.data_vars)[:FEW]))} on {sizes or 'a point'}>"


def _of_mapping(value: Mapping[Any, Any], depth: int) -> str:
    entries = list(value.values())
    if entries and all(hasattr(one, "shape") and hasattr(one, "dtype") for one in entries):
        size = sum(math.prod(one.shape) for one in entries)
        return f"{{{len(entries)} {'array' if len(entries) == 1 else 'arrays'}, {size:,} numbers}}"
    if depth > 2 or len(entries) > FEW:
        return f"{{{len(entries)} entr{'y' if len(entries) == 1 else 'ies'}}}"
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
