"""Has somebody asked to stop: a run that listens ends after the block in hand, so that nothing of it is lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["after_block", "ask", "listening"]

_asked = threading.Event()
_listeners: list[int] = []


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """A stretch of work that calls :func:`after_block` whenever it can stop without a loss."""
    _asked.clear()
    _listeners.append(1)
    try:
        yield
    finally:
        _listeners.pop()


def ask() -> bool:
    """Ask whoever is at work to stop after the block in hand.

    Returns:
        Whether anybody listens who was not asked before; if not, stop at once.
    """
    heard = bool(_listeners) and not _asked.is_set()
    _asked.set()
    return heard


def after_block() -> None:
    """Stop here, if somebody asked for it.

    Raises:
        KeyboardInterrupt: somebody did.

    Example:
        >>> with listening():
        ...     after_block()  # nobody has asked
        ...     ask(), ask()
        (True, False)
    """
    if _listeners and _asked.is_set():
        _asked.clear()
        raise KeyboardInterrupt
