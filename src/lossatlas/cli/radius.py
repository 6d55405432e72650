"""How does ``--radius`` become a grid? A number does so at once, ``auto`` when there is something to measure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import click

from lossatlas.errors import SpecError

__all__ = ["AUTO", "grid_of", "grid_of_seeds", "reaching"]

AUTO = "auto"

Axes = dict[str, tuple[float, float, int]]


def reaching(axes: Mapping[str, tuple[float, float, int]], radius: str) -> Axes:
    """Axes with the ends that ``--radius`` says; with ``auto`` as they are, until it is found.

    Args:
        axes: ``(low, high, points)`` by axis.
        radius: a number, "auto", or nothing.

    Returns:
        The axes.

    Raises:
        SpecError: neither a number above 0 nor "auto".

    Example:
        >>> reaching({"x": (-1.0, 1.0, 51)}, "0.5"), reaching({"x": (-1.0, 1.0, 51)}, "")
        ({'x': (-0.5, 0.5, 51)}, {'x': (-1.0, 1.0, 51)})
    """
    if radius in ("", AUTO):
        return dict(axes)
    try:
        far = float(radius)
    except ValueError:
        far = math.nan
    if not (math.isfinite(far) and far > 0):
        raise SpecError(f"--radius {radius}; expected a number above 0, or {AUTO}")
    return {axis: (-far, far, points) for axis, (_, _, points) in axes.items()}


def grid_of(scan: Any, objective: Any, plane: Any) -> Any:
    """The grid of a scan; ``--radius auto`` finds it and reports it.

    Args:
        scan: what was asked for.
        objective: what is measured.
        plane: where; several are compared, and get one grid.

    Returns:
        A :class:`lossatlas.Grid`.
    """
    import lossatlas as la

    if scan.radius != AUTO:
        return la.Grid(**scan.axes)
    found = la.Grid.auto(objective, plane, points={axis: bounds[2] for axis, bounds in scan.axes.items()})
    click.echo(f"{'range:':8} {found.range_words.removeprefix('range ')}", err=True)
    click.echo(
        f"{'':8} use the same in every comparison: --radius {max(found.axes[next(iter(found.axes))]):g}",
        err=True,
    )
    return found


def grid_of_seeds(scan: Any, objective: Any, seeds: Iterable[int]) -> Any:
    """The one grid of several direction seeds.

    Args:
        scan: what was asked for.
        objective: what is measured.
        seeds: of the planes.

    Returns:
        A :class:`lossatlas.Grid`.
    """
    import lossatlas as la

    options = {"by": scan.normalize, "still": scan.still, "only": scan.only, "orthogonal": scan.orthogonal}
    axes = tuple(scan.axes)
    if scan.radius != AUTO:
        return la.Grid(**scan.axes)
    return grid_of(scan, objective, [la.Plane.random(objective, seed=one, axes=axes, **options) for one in seeds])
