"""Which extra brings an optional library."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from types import ModuleType
from typing import Any

__all__ = ["MissingExtraError", "broken", "importing", "require", "require_from"]

_IMPORTING = ("_frozen_importlib", "_frozen_importlib_external", "importlib")


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
        raise MissingExtraError(broken(root, purpose, missing)) from missing
    except Exception as fault:  # a library built for another torch may raise anything while it is imported
        raise MissingExtraError(broken(root, purpose, fault)) from fault


def require_from(module: str, name: str, *, extra: str, purpose: str) -> Any:
    """Import a name from an optional library, which may load what the name needs only then, as transformers does.

    Args:
        module: as for :func:`require`.
        name: of a class or function in it.
        extra: as there.
        purpose: as there.

    Returns:
        The class or function.

    Raises:
        MissingExtraError: as there.

    Example:
        >>> require_from("math", "sqrt", extra="", purpose="draw a root")(4.0)
        2.0
    """
    library = require(module, extra=extra, purpose=purpose)
    try:
        return getattr(library, name)
    except Exception as fault:
        root = module.partition(".")[0]
        raise MissingExtraError(broken(root, purpose, fault)) from fault


@contextmanager
def importing(root: str, purpose: str) -> Iterator[None]:
    """Call an optional library that imports more while it works; only a failing import is reported in another way.

    Args:
        root: the library, which :func:`require` gave.
        purpose: as there.

    Raises:
        MissingExtraError: what the library imported raised, of any kind; the message says what to do.

    Example:
        >>> with importing("math", "count"):
        ...     import no_such_library
        Traceback (most recent call last):
        ...
        ModuleNotFoundError: No module named 'no_such_library'
    """
    try:
        yield
    except MissingExtraError:
        raise
    except Exception as fault:
        if _while_importing(fault):
            raise MissingExtraError(broken(root, purpose, fault)) from fault
        raise


def _while_importing(fault: BaseException) -> bool:
    """Whether an error, or its cause, was raised by a module while it was being imported."""
    frames = [frame for frame, _ in traceback.walk_tb(fault.__traceback__)][2:]  # without ours and that of the caller
    while fault.__cause__ is not None:
        fault = fault.__cause__
        frames += [frame for frame, _ in traceback.walk_tb(fault.__traceback__)]
    return any(frame.f_code.co_name == "<module>" for frame in frames)


def broken(root: str, purpose: str, fault: BaseException) -> str:
    """Why a library that is installed cannot be imported, and what to do.

    Args:
        root: the library that is needed.
        purpose: what for, completing "... is needed to".
        fault: what its import raised; the message gives the first cause, which a library that imports lazily wraps.

    Returns:
        Two sentences.

    Example:
        >>> broken("transformers", "make hf:net", RuntimeError("no such operator")).partition(";")[0]
        'transformers is needed to make hf:net'
    """
    while fault.__cause__ is not None:
        fault = fault.__cause__
    said = " ".join(str(fault).split()) or "no message"
    said = said if len(said) <= 200 else said[:199] + "…"
    culprit = _at_fault(fault) or root
    through = "" if culprit == root else f" in {culprit}, which it imports"
    return (
        f"{root} is needed to {purpose}; it is installed but cannot be imported "
        f"({type(fault).__name__}: {said}{through}). {_remedy(culprit, fault)}"
    )


def _remedy(culprit: str, fault: BaseException) -> str:
    if isinstance(fault, ModuleNotFoundError) and fault.name and "." not in fault.name:
        return f"Install what it requires: pip install {culprit}"
    return f"Install a version that fits this Python and this torch: {_anew(culprit)}"


def _anew(library: str) -> str:
    # Without --no-deps, pip reinstalls everything that the library requires, torch included, and the newest torchvision
    # brings its own torch. Version 0.(n + 15) of torchvision belongs to torch 2.n, and its builds lie beside those of
    # torch.
    anew = "pip install --force-reinstall --no-deps"
    if library != "torchvision":
        return f"{anew} {library}"
    try:
        release, _, build = metadata.version("torch").partition("+")
        major, minor, patch = (int(part) for part in release.split("."))
    except (metadata.PackageNotFoundError, ValueError):  # a nightly build, say
        return f"{anew} {library}"
    index = f", with the --index-url that your torch (build {build}) came from" if build else ""
    return f"{anew} {library}==0.{minor + 15}.{patch}{index}" if major == 2 else f"{anew} {library}"


def _at_fault(fault: BaseException) -> str:
    """The library in whose code an import failed: the innermost except torch, which only reports the misfit."""
    frames = traceback.walk_tb(fault.__traceback__)
    names = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame, _ in frames]
    others = [name for name in names if name not in ("", "lossatlas", "torch", *_IMPORTING)]
    return others[-1] if others else ""
