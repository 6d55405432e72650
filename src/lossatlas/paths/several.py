"""Which folders are several runs of a training, and what is each called?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lossatlas.errors import SpecError
from lossatlas.paths import streams

__all__ = ["run_names", "runs_of"]


def runs_of(source: Any) -> dict[str, Path]:
    """The folders of several runs by name, if these are given: folders that are not checkpoints themselves.

    Args:
        source: what :meth:`lossatlas.Trajectory.open` was given.

    Returns:
        Folders by name; none where the source is one path.

    Raises:
        SpecError: a name stands for something other than a folder.
    """
    if isinstance(source, Mapping) and source and all(isinstance(one, (str, os.PathLike)) for one in source.values()):
        for name, one in source.items():
            if not Path(one).is_dir():
                raise SpecError(
                    f"{name!r}: {os.fspath(one)} is not a folder; expected the folder of a Recorder by name"
                )
        return {str(name): Path(one) for name, one in source.items()}
    if isinstance(source, (str, os.PathLike)) or not isinstance(source, Sequence):
        return {}
    paths = [Path(item) for item in source if isinstance(item, (str, os.PathLike))]
    whole = bool(paths) and len(paths) == len(source)
    several = whole and all(path.is_dir() and not streams.inside(path) for path in paths)
    return dict(zip(run_names(paths), paths, strict=True)) if several else {}


def run_names(folders: Sequence[Path]) -> list[str]:
    """A name for each of several folders: just enough of the end of its path to tell it from the others.

    Args:
        folders: of the runs; one that is given twice has its place in the list after its name.

    Returns:
        As many names, all different.

    Example:
        >>> run_names([Path("sgd/path"), Path("adam/path")]), run_names([Path("runs/sgd"), Path("runs/adam")])
        (['sgd/path', 'adam/path'], ['sgd', 'adam'])
        >>> run_names([Path("sgd"), Path("sgd")])
        ['sgd (1)', 'sgd (2)']
    """
    parts = [folder.absolute().parts for folder in folders]
    names: list[str] = []
    for long in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(one[-long:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{folder.name} ({place})" for place, folder in enumerate(folders, 1)]
