"""Has somebody asked to stop? A run that listens ends after the block in hand, so that none of it is lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["after_block", "ask", "asked", "begin", "end", "ended", "held", "listening", "release"]

_asked = threading.Event()
_ended = threading.Event()
_listeners: list[int] = []
_held: list[int] = []


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """A stretch of work that calls :func:`after_block` whenever it can stop without a loss.

    Raises:
        KeyboardInterrupt: the program was asked to end before it got here, and the exception was swallowed on the way,
            as some libraries do while they are imported.
    """
    if ended():
        raise KeyboardInterrupt
    _asked.clear()
    _listeners.append(1)
    try:
        yield
    finally:
        _listeners.pop()


def ask() -> bool:
    """Ask the work in progress to stop after the block in hand.

    Returns:
        Whether anything is listening that had not been asked before; if not, stop at once.
    """
    heard = bool(_listeners) and not _asked.is_set()
    _asked.set()
    return heard


def begin() -> None:
    """Nobody has asked to stop yet: a program begins."""
    _asked.clear()
    _ended.clear()


def end() -> None:
    """The program ends at once: no stretch of work begins any more until the next program does."""
    _ended.set()


def ended() -> bool:
    """Whether the program was asked to end at once, so that whatever goes wrong from now on is not its fault."""
    return _ended.is_set()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """A stretch of work in which no process stops on its own: one that is asked to stop waits for :func:`release`."""
    _held.append(1)
    try:
        yield
    finally:
        _held.clear()


def asked() -> bool:
    """Whether somebody has asked to stop."""
    return _asked.is_set()


def release() -> None:
    """Let a held process stop after the block in hand, since all were told to."""
    _held.clear()
    _asked.set()


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
    if _listeners and _asked.is_set() and not _held:
        _asked.clear()
        raise KeyboardInterrupt
