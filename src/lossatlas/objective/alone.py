"""Who uses an objective now? Only one thread at a time, since its private copy moves from point to point."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from lossatlas.objective.objective import Objective

__all__ = ["one_at_a_time"]

Given = ParamSpec("Given")
Found = TypeVar("Found")

_locks: weakref.WeakKeyDictionary[Objective, Any] = weakref.WeakKeyDictionary()
_making = threading.Lock()


def one_at_a_time(function: Callable[Given, Found]) -> Callable[Given, Found]:
    """Make other threads that use the same objective wait while a function of it runs.

    Args:
        function: its first argument is the objective.

    Returns:
        The same function, with a lock for each objective.
    """

    @functools.wraps(function)
    def alone(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        objective = args[0] if args else kwargs.get("objective")
        if not isinstance(objective, Objective):
            return function(*args, **kwargs)
        with _making:
            lock = _locks.setdefault(objective, threading.RLock())
        with lock:
            return function(*args, **kwargs)

    return alone
