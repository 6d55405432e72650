"""How Landscapes are cut into what is drawn: blocks, slices, curves, and the axes they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from lossatlas.draw.scene import PARAMETERS, Cells, Curve, PictureAxis
from lossatlas.errors import SpecError
from lossatlas.figure.words import WAY, number
from lossatlas.results.landscape import axis_names, cut_at, structured, value_names
from lossatlas.results.moves import COLUMN, TOWARDS, of_table

__all__ = ["alone", "block", "curves", "limits", "minus_centre", "named_apart", "shared_values", "slices", "strips"]


def block(landscape: xr.Dataset) -> Cells:
    """A whole Landscape as arrays, its axes increasing; one that was cut out of a larger one records where it lies."""
    names = axis_names(landscape)
    ordered = landscape.sortby(list(names))
    axes = tuple(_axis(ordered, name) for name in names)
    cut = cut_at(landscape)
    return Cells(
        title=str(landscape.attrs.get("title") or "model"),
        axes=axes,
        values={name: ordered[name].transpose(*names).to_numpy() for name in value_names(ordered)},
        status=ordered["status"].transpose(*names).to_numpy(),
        note=", ".join(f"{name} = {number(coordinate)}" for name, coordinate in cut.items()),
        marks_centre=all(map(_holds_zero, axes)) and not any(cut.values()) and not of_table(landscape),
        errors={value: found for value in value_names(ordered) if (found := _errors(ordered, value, names))},
    )


_SAID = {"se": "standard error", "uncertainty": "stated error", "low": "95 % from", "high": "95 % to"}


def _errors(landscape: xr.Dataset, value: str, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """What is kept beside a value, by its words."""
    return {
        words: landscape[f"{value}_{ending}"].transpose(*names).to_numpy()
        for ending, words in _SAID.items()
        if f"{value}_{ending}" in landscape.data_vars
    }


def minus_centre(entry: Cells, landscape: xr.Dataset, value: str) -> Cells:
    """A block with a value minus its value at the centre.

    Args:
        entry: the block.
        landscape: where it comes from.
        value: the value.

    Returns:
        A new block.

    Raises:
        SpecError: the Landscape does not know its value at the centre, and it was not evaluated there either.
    """
    centre = structured(landscape, "centre").get(value)
    if centre is None and entry.marks_centre:
        at = tuple(np.flatnonzero(axis.coordinates == 0.0) for axis in entry.axes)
        if all(len(place) for place in at) and entry.drawable(value)[np.ix_(*at)].all():
            centre = float(entry.values[value][np.ix_(*at)].flat[0])
    if centre is None:
        raise SpecError(
            f"minus_centre: {entry.title!r} has no known {value} at the centre; evaluate it at 0, or leave it out"
        )
    return replace(entry, values={**entry.values, value: entry.values[value] - centre})


def _axis(landscape: xr.Dataset, name: str) -> PictureAxis:
    coordinate = landscape[name]
    label = str(coordinate.attrs.get("long_name", "direction"))
    length = float(coordinate.attrs.get("length", np.nan))
    unit = str(landscape[f"{name}_length"].attrs.get("units", PARAMETERS))
    values = coordinate.to_numpy().astype(float)
    known: dict[str, Any] = {"length": length}
    if label.startswith(("fraction of the ", "share of the ")):  # the second of these in files of version 0.1
        known["counted"] = label
    elif label == COLUMN:
        known["counted"] = ""
    elif WAY.match(label) or label.startswith(TOWARDS):
        known["counted"] = "fraction of the way"
    elif f"{label} chart" == f"{name} of a {structured(landscape, 'provenance').get('chart')}":  # bent
        known = {"length": np.nan, "counted": f"coordinate{label.removeprefix(name)} chart"}
    return PictureAxis(name=name, label=label, coordinates=values, unit=unit, **known)


def _holds_zero(axis: PictureAxis) -> bool:
    return bool(axis.coordinates[0] <= 0.0 <= axis.coordinates[-1])


def named_apart(blocks: Sequence[Cells], landscapes: Sequence[xr.Dataset], *, merge: bool) -> list[Cells]:
    """Give blocks with the same title different ones, by seed or by number, unless they are runs to be merged."""
    titles = [entry.title for entry in blocks]
    if merge or len(set(titles)) == len(titles):
        return list(blocks)
    seeds = [str(landscape.attrs.get("seed", "")) for landscape in landscapes]
    by_seed = [f"{title} (seed {seed})" for title, seed in zip(titles, seeds, strict=True)]
    by_number = [f"{title} ({index})" for index, title in enumerate(titles, start=1)]
    better = by_seed if len(set(by_seed)) == len(by_seed) and all(seeds) else by_number
    return [
        replace(entry, title=new) if titles.count(entry.title) > 1 else entry
        for entry, new in zip(blocks, better, strict=True)
    ]


def slices(volume: Cells) -> list[Cells]:
    """The three slices of a volume that lie nearest to its origin, each with the coordinate it was cut at.

    Args:
        volume: a block with three axes.

    Returns:
        Three blocks with two axes: without the third axis, without the second, without the first.
    """
    found = []
    for kept in combinations(range(3), 2):
        (cut,) = set(range(3)) - set(kept)
        axis = volume.axes[cut]
        index = int(np.argmin(np.abs(axis.coordinates)))
        found.append(
            Cells(
                title=volume.title,
                axes=tuple(volume.axes[position] for position in kept),
                values={name: array.take(index, axis=cut) for name, array in volume.values.items()},
                status=volume.status.take(index, axis=cut),
                errors={
                    name: {words: array.take(index, axis=cut) for words, array in said.items()}
                    for name, said in volume.errors.items()
                },
                note=f"{axis.name} = {number(float(axis.coordinates[index]))}",
                marks_centre=volume.marks_centre and axis.coordinates[index] == 0.0,
            )
        )
    return found


def curves(blocks: Sequence[Cells]) -> tuple[Curve, ...]:
    """Group blocks with one axis by title: the runs of one model.

    Returns:
        A curve for each title, in the order of the blocks.

    Raises:
        SpecError: runs with the same title are not on the same coordinates.
    """
    groups: dict[str, list[Cells]] = {}
    for entry in blocks:
        groups.setdefault(entry.title, []).append(entry)
    for title, members in groups.items():
        if any(not np.array_equal(m.axes[0].coordinates, members[0].axes[0].coordinates) for m in members):
            raise SpecError(
                f"landscapes titled {title!r} have different coordinates, so they cannot share a band; sample them on "
                "the same grid or give them different titles"
            )
    return tuple(
        Curve(title=title, axis=members[0].axes[0], members=tuple(members)) for title, members in groups.items()
    )


def limits(blocks: Sequence[Cells]) -> dict[str, tuple[float, float]]:
    """By name of an axis, the range that holds the coordinates of all blocks."""
    found: dict[str, tuple[float, float]] = {}
    for entry in blocks:
        for axis in entry.axes:
            low, high = float(axis.coordinates[0]), float(axis.coordinates[-1])
            known = found.get(axis.name, (low, high))
            found[axis.name] = (min(low, known[0]), max(high, known[1]))
    return found


def shared_values(landscapes: Sequence[xr.Dataset]) -> tuple[str, ...]:
    """The values that all Landscapes have, the loss first."""
    return tuple(name for name in value_names(landscapes[0]) if all(name in value_names(other) for other in landscapes))


def alone(heights: np.ndarray) -> np.ndarray:
    """The points that no contour and no facet reaches: those that are a corner of no cell with four values.

    Args:
        heights: float64 [nx, ny]; NaN where there is no value.

    Returns:
        bool, same shape.

    Example:
        >>> alone(np.array([[1.0, 2.0, np.nan], [3.0, 4.0, np.nan], [np.nan, np.nan, 5.0]])).sum()
        np.int64(1)
    """
    there = np.isfinite(heights)
    cells = there[:-1, :-1] & there[1:, :-1] & there[:-1, 1:] & there[1:, 1:]
    reached = np.zeros(there.shape, bool)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        reached[i : i + cells.shape[0], j : j + cells.shape[1]] |= cells
    return np.asarray(there & ~reached)


def strips(mask: np.ndarray) -> list[tuple[int, int, int]]:
    """Cover the true cells of a mask by strips along the second axis.

    Args:
        mask: bool [nx, ny].

    Returns:
        ``(i, first, last)`` for each strip: the cells ``[i, first]`` to ``[i, last]``, both included.

    Example:
        >>> strips(np.array([[True, True, False, True], [False, False, False, True]]))
        [(0, 0, 1), (0, 3, 3), (1, 3, 3)]
    """
    found = []
    for i, row in enumerate(mask):
        steps = np.diff(np.concatenate([[0], row.astype(int), [0]]))
        starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1
        found += [(i, int(first), int(last)) for first, last in zip(starts, ends, strict=True)]
    return found
