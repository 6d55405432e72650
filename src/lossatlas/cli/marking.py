"""Which places does `--mark` name, coordinates or checkpoints, and where do they lie in the plane?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from lossatlas.errors import SpecError
from lossatlas.figure.overlays import Overlay, Points
from lossatlas.figure.words import number

__all__ = ["check_marks", "marked", "parsed", "points", "upon"]

Mark = tuple[str, tuple[float, float] | str]


def parsed(mark: str) -> Mark:
    """The name of a mark, and its coordinates or its file.

    Returns:
        Both.

    Raises:
        SpecError: it has no name, or nothing beside it.

    Example:
        >>> parsed("SGD=0.4,-0.1"), parsed("SWA=epoch=3.ckpt")
        (('SGD', (0.4, -0.1)), ('SWA', 'epoch=3.ckpt'))
    """
    name, _, at = mark.rpartition("=")
    try:
        x, y = map(float, at.split(","))
    except ValueError:
        name, _, at = mark.partition("=")
        if not name.strip() or not at:
            raise SpecError(f"--mark {mark}: expected NAME=X,Y or NAME=FILE") from None
        return name, at
    if not name.strip() or not np.isfinite((x, y)).all():
        raise SpecError(f"--mark {mark}: expected NAME=X,Y with a name and two finite coordinates")
    return name, (x, y)


def points(marks: Iterable[str]) -> list[Overlay]:
    """Places that are given by coordinates, for a picture of a run.

    Args:
        marks: as they were given.

    Returns:
        No overlay, or one.

    Raises:
        click.BadParameter: a mark of another form.
    """
    found = []
    for mark in marks:
        try:
            name, at = parsed(mark)
        except SpecError:
            name, at = "", ""
        if isinstance(at, str):
            raise click.BadParameter(f"{mark!r}; expected NAME=X,Y", param_hint="--mark")
        found.append((name, at))
    return _points(found)


def _points(found: Sequence[tuple[str, tuple[float, float]]]) -> list[Overlay]:
    if not found:
        return []
    x, y = np.array([at for _, at in found]).T
    return [Points(x=x, y=y, words=[name for name, _ in found])]


def check_marks(scan: Any) -> None:
    """Check the marks of a scan before anything is loaded.

    Args:
        scan: a :class:`lossatlas.cli.scan.Scan`.

    Raises:
        SpecError: a mark of another form, a name twice, a file that is not there, or a scan that has no plane to mark
            them on.
    """
    every = [parsed(mark) for mark in scan.mark]
    names = [name for name, _ in every]
    if again := [name for name in names if names.count(name) > 1]:
        raise SpecError(f"--mark {again[0]!r} is given {names.count(again[0])} times; give each mark a name of its own")
    files = [at for _, at in every if isinstance(at, str)]
    if files and scan.function:
        raise SpecError(f"--mark NAME={files[0]}: a function of arrays has no checkpoints; expected NAME=X,Y")
    for file in files:
        if not Path(file).is_file():
            raise SpecError(f"--mark: there is no file {file}; expected NAME=X,Y, or NAME=FILE with a checkpoint")
    if scan.mark and (scan.seeds or len(scan.axes) != 2):
        raise SpecError("--mark needs one plane with two axes: leave --seeds out, and give --x and --y or neither")
    if scan.mark and scan.shard:
        raise SpecError("--mark: a shard draws nothing; mark the whole run with lossatlas draw --mark")
    if files and (scan.canonical or scan.input_plane):
        raise SpecError(
            "--mark NAME=FILE needs a plane through the weights as they are: leave out --canonical and --input-plane"
        )


def upon(scan: Any, plane: Any, load: Callable[[str], Any]) -> list[Overlay]:
    """The marks of a scan, networks at the nearest points of its plane.

    Args:
        scan: a :class:`lossatlas.cli.scan.Scan`.
        plane: its plane.
        load: gives the network of a checkpoint.

    Returns:
        Points with their names, and how far networks are off the plane.
    """
    if not scan.mark:
        return []
    from lossatlas.paths.marks import marks

    every = [parsed(mark) for mark in scan.mark]
    networks = {name: load(at) for name, at in every if isinstance(at, str)}
    places = [(name, at) for name, at in every if not isinstance(at, str)]
    return _points(places) + (marks(plane, networks) if networks else [])


def marked(overlays: Sequence[Overlay]) -> list[str]:
    """What is printed about marks: a line for each.

    Args:
        overlays: of :func:`upon`.

    Returns:
        The lines.
    """
    each = [one for one in overlays if isinstance(one, Points)]
    rows = [row for one in each for row in zip(one.words, one.x, one.y, strict=True)]
    return [f"marked: {name} at ({number(float(x))}, {number(float(y))})" for name, x, y in rows]
