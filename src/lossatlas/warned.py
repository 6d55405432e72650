"""Where does a warning point, and how often is it given? At the line that called the package; once, where asked."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

__all__ = ["each_once", "ours", "warn"]

_BETWEEN = ("contextlib", "dataclasses", "functools", "torch.utils._contextlib")
"""Modules whose frames may lie between ours: decorators, a ``with``, a dataclass that was replaced."""

_said: ContextVar[set[str] | None] = ContextVar("_said", default=None)


def warn(words: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first line outside the package, which is where the user can change something.

    ``skip_file_prefixes`` of :func:`warnings.warn` does much the same from Python 3.12 on.

    Args:
        words: the text.
        category: of the warning.

    Example:
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     warn("the data is drawn anew at every pass")
        >>> str(told[0].message)
        'the data is drawn anew at every pass'
    """
    said = _said.get()
    if said is not None:
        if words in said:
            return
        said.add(words)
    frame = _outside(sys._getframe(1))
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(words, category, frame.f_code.co_filename, frame.f_lineno, _module(frame), registry)


@contextmanager
def each_once(said: set[str]) -> Iterator[None]:
    """Give no warning of the package twice: once is enough for one that would recur at every epoch.

    Args:
        said: the warnings already given; it grows.

    Example:
        >>> said: set[str] = set()
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     for epoch in range(3):
        ...         with each_once(said):
        ...             warn("the data is drawn anew at every pass")
        >>> len(told)
        1
    """
    before = _said.set(said)
    try:
        yield
    finally:
        _said.reset(before)


def _outside(frame: FrameType) -> FrameType:
    """The first frame on the way out that is not ours; the outermost, where all are."""
    while ours(frame) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "<unknown>"))


def ours(frame: FrameType) -> bool:
    """Whether a frame is the package's, or one that only lies between two of its own."""
    module = _module(frame)
    return module == "lossatlas" or module.startswith("lossatlas.") or module in _BETWEEN
