"""Which extra brings an optional library."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["MissingExtraError", "require"]


class MissingExtraError(ImportError):
    """An optional library is not installed; the message has the command that installs it."""


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional library, or say which extra to install.

    Args:
        module: the module to import, for instance ``"matplotlib.figure"``.
        extra: the extra of this package that brings it, for instance ``"draw"``.
        purpose: what it is needed for, completing "... is needed to".

    Returns:
        The imported module.

    Raises:
        MissingExtraError: the library is not installed; the message has the command that installs it.
        ModuleNotFoundError: the library itself lacks one of its own requirements.

    Example:
        >>> require("no_such_library", extra="draw", purpose="draw a png")
        Traceback (most recent call last):
        ...
        lossatlas.extras.MissingExtraError: no_such_library is needed to draw a png: pip install 'lossatlas[draw]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        root = module.partition(".")[0]
        if missing.name is None or missing.name.partition(".")[0] != root:
            raise
        raise MissingExtraError(f"{root} is needed to {purpose}: pip install 'lossatlas[{extra}]'") from missing
