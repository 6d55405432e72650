"""What lies between two networks? The barrier on the straight line, low curves around it, and units that correspond."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """This package, which may be called: ``lossatlas.connect`` is the name of the function and of its room.

    Importing any part of a package binds the package to its name, so it has to do what the function does.
    """

    @property
    def __signature__(self) -> inspect.Signature:
        """Of the function, for whoever asks what it takes."""
        from lossatlas.connect.curve import connect

        return inspect.signature(connect)

    def __call__(self, *args: Any, **options: Any) -> Any:
        from lossatlas.connect.curve import connect

        return connect(*args, **options)


sys.modules[__name__].__class__ = _Callable
