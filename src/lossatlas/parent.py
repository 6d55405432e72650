"""What does Ctrl-C mean to a process that another one started? Nothing: its parent is told too, and ends it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker

__all__ = ["leave_to_parent", "starting"]

_LEFT = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
"""What a terminal sends to all processes that run in it. TERM is how a parent, and a pool of Python, ends a process."""


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """A stretch in which processes are started that hear neither Ctrl-C nor HUP from their first instruction on.

    Their imports take seconds, and a signal that met them there would end each with a traceback. One that meets this
    process in the meantime is answered at the end of the stretch.

    Example:
        >>> with starting():
        ...     pass
    """
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT)
    try:
        resource_tracker.ensure_running()  # a process of Python's own, which does not survive a HUP either
        signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT)  # its start unblocks Ctrl-C
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Ignore Ctrl-C and HUP from now on, in a process that was started so; those it starts may hear them again."""
    for number in _LEFT:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _LEFT)
