"""What do Ctrl-C, TERM and HUP do? The first ends a run after its block, the second at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from lossatlas import stopping

__all__ = ["answered", "nothing_to_lose"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_importing: list[int] = []
_WORDS = b"\nstopping after this block; press Ctrl-C to stop at once\n"


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """A stretch of the program that a signal ends in good order; a signal that was ignored stays ignored."""
    before: dict[int, Any] = {}
    stopping.begin()
    if threading.current_thread() is threading.main_thread():
        for name in _SIGNALS:
            number = getattr(signal, name, None)  # there is no HUP on Windows
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                before[number] = signal.signal(number, _answer)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stopping.begin()


@contextlib.contextmanager
def nothing_to_lose() -> Iterator[None]:
    """A stretch of imports: a signal ends the process immediately.

    Some libraries catch an exception in the middle of an import and go on half loaded.
    """
    _importing.append(1)
    try:
        yield
    finally:
        _importing.pop()


def _answer(*_: object) -> None:
    if _importing:
        with contextlib.suppress(OSError):
            os.write(2, b"Aborted!\n")
        os._exit(1)
    if not stopping.ask():
        stopping.end()
        raise KeyboardInterrupt
    with contextlib.suppress(OSError):
        os.write(2, _WORDS)
