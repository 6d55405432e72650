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
        MissingExtraError: the library is not installed, and the message has the command that installs it; or it is
            installed and cannot be imported, and the message says why and what to do.

    Example:
        >>> require("no_such_library", extra="draw", purpose="draw a png")
        Traceback (most recent call last):
        ...
        lossatlas.extras.MissingExtraError: no_such_library is needed to draw a png: pip install 'lossatlas[draw]'
    """
    root = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name is not None and missing.name.partition(".")[0] == root:
            wanted = f"pip install 'lossatlas[{extra}]'" if extra else f"pip install {root}"
            raise MissingExtraError(f"{root} is needed to {purpose}: {wanted}") from missing
        raise MissingExtraError(_broken(root, purpose, missing)) from missing
    except Exception as fault:  # a library built for another torch may raise anything while it is imported
        raise MissingExtraError(_broken(root, purpose, fault)) from fault


def _broken(root: str, purpose: str, fault: Exception) -> str:
    said = " ".join(str(fault).split()) or "no message"
    said = said if len(said) <= 200 else said[:199] + "…"
    return (
        f"{root} is needed to {purpose}; it is installed but cannot be imported ({type(fault).__name__}: {said}). "
        f"Install a version that fits this Python and this torch: pip install --force-reinstall {root}"
    )
