"""How is a user's own file imported? With the modules beside it, kept apart from those beside another file."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from lossatlas.errors import SpecError

__all__ = ["at_home", "imported"]

_AWAY: dict[str, dict[str, ModuleType]] = {}
"""By folder, the modules imported from it; they make way while a file from another folder needs their names."""


@contextlib.contextmanager
def at_home(folder: Path) -> Iterator[None]:
    """Imports as a program started in this folder sees them: its own ``helper``, not that of another user's file.

    Args:
        folder: where the file lies whose code runs in the block.

    Yields:
        Nothing.
    """
    home = str(folder.resolve())
    _AWAY.setdefault(home, {})
    for name, module in list(sys.modules.items()):
        other = _home(name)
        if other not in (None, home) and _lies_in(name.partition(".")[0], home):
            _AWAY[str(other)][name] = module
            del sys.modules[name]
    sys.modules.update(_AWAY[home])
    _AWAY[home] = {}
    if home in sys.path:
        sys.path.remove(home)
    sys.path.insert(0, home)
    importlib.invalidate_caches()
    yield


def _home(name: str) -> str | None:
    """The folder of a user's file from which a module was imported, if it is one."""
    top = sys.modules.get(name.partition(".")[0])
    places = [getattr(top, "__file__", None), *list(getattr(top, "__path__", ()))]
    found = {str(Path(place).parent) for place in places if isinstance(place, str)}
    found |= {str(Path(place).parent.parent) for place in places[:1] if isinstance(place, str)}
    return next((folder for folder in _AWAY if folder in found), None)


def _lies_in(top: str, folder: str) -> bool:
    return (Path(folder) / f"{top}.py").is_file() or (Path(folder) / top).is_dir()


def imported(path: Path) -> ModuleType:
    """Run a file as a module of its own.

    Args:
        path: the file.

    Returns:
        The module; two files of one name in two folders are two modules.

    Raises:
        SpecError: there is no such file, or Python cannot import it. What its code raises is left to the caller.
    """
    if not path.is_file():
        raise SpecError(f"{path}: no such file")
    mark = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"_lossatlas_user_{path.stem}_{mark}", path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pickled classes and dataclasses look their module up there
    with at_home(path.parent):
        spec.loader.exec_module(module)
    return module
