"""How do numbers from anywhere, arrays or tables, become a Landscape that can be drawn and measured?"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, texts
from lossatlas.results.landscape import About, Axis, Status, build
from lossatlas.results.moves import COLUMN
from lossatlas.results.naming import check_axes, check_names
from lossatlas.untrusted import check_zip, reading, text_of

__all__ = ["UNKNOWN", "landscape", "read_table"]

UNKNOWN = "unknown"
"""What an imported Landscape says where its source does not name a number format or a device."""

_AXES = ("x", "y", "z", "alpha", "beta", "gamma", "t", "u", "v", "w", "a", "b", "c", "α", "β", "γ")
_DIRECTION = re.compile(rf"({'|'.join(_AXES)}|d|dir|direction|axis|pc|e|eig|eigenvector)[ _-]?[0-9xy]?", re.IGNORECASE)
"""Names of columns that are taken for coordinates along a direction."""

_SCORE = re.compile(r"acc|err|score|f1|auc", re.IGNORECASE)
_MOST_EMPTY = 4
"""A table is on no grid if its points fill less than one part in this many of it."""


def landscape(
    *,
    axes: Sequence[str] = (),
    title: str = "imported",
    lengths: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    model: str = "",
    data: str = "",
    samples: int = 0,
    source: str = "arrays",
    **columns: Any,
) -> xr.Dataset:
    """Make a Landscape from arrays: ``la.landscape(x=…, y=…, loss=…)``.

    The arrays are either a grid, ``x`` [nx], ``y`` [ny] and ``loss`` [nx, ny] with ``loss[i, j]`` at ``x[i]``,
    ``y[j]``; or a table, all of the same shape, with a row for each point. Points missing from a table count as not
    sampled; nothing is filled in.

    Args:
        axes: the names of the columns that are coordinates; by default those called x, y, z, alpha, beta, t, …, or else
            the first ones, one for each dimension. Of columns with other names, such as "step" or "lr", no
            centre is marked and nothing is claimed of convexity, unless ``labels`` or ``lengths`` say that they are
            directions.
        title: what pictures call the model.
        lengths: norm of the direction by axis, so that coordinate times length is a distance in parameter space;
            without it the length is unknown and no second scale is drawn.
        labels: what each direction is, by axis.
        model: class or source of the model.
        data: source of the data.
        samples: number of samples behind each mean; 0 where it is unknown.
        source: where the numbers come from.
        **columns: coordinates, in multiples of the direction, and values. Where none of the values is called "loss",
            the first one that is not a score, such as "test_loss" or "value", becomes the loss.

    Returns:
        A Landscape.

    Raises:
        SpecError: the shapes do not match, a point is given twice, the points are on no grid, or there are no
            coordinates or no values.

    Example:
        >>> x, y = np.linspace(-1, 1, 5), np.linspace(0, 1, 3)
        >>> bowl = landscape(x=x, y=y, loss=x[:, None] ** 2 + y[None, :])
        >>> float(bowl["loss"].sel(x=0.5, y=1.0)), bowl.attrs["dtype"]
        (1.25, 'unknown')
    """
    for argument, by_axis in (("lengths", lengths), ("labels", labels)):
        check_kind(argument, {} if by_axis is None else by_axis, Mapping, "a mapping by axis, such as {'x': …}")
    for argument, words in (("title", title), ("model", model), ("data", data), ("source", source)):
        check_kind(argument, words, str, "a text")
    arrays = {name.replace("/", "_"): _numbers(name, column) for name, column in columns.items()}
    if empty := [name for name, array in arrays.items() if not array.size]:
        raise SpecError(f"{empty[0]} is empty; expected a number for each point")
    names = _axis_names(arrays, texts("axes", axes, "names of columns, such as ('x', 'y')"))
    values = _with_loss([name for name in arrays if name not in names])
    if not values:
        raise SpecError(f"columns {list(arrays)}: no values beside the coordinates {list(names)}; give loss=")
    check_names("columns", values.values(), axes=names)
    check_axes(names)
    coordinates, grids, status = _on_grid(arrays, names, list(values))
    made = _axes(coordinates, lengths or {}, labels or {})
    other = any(axis.label == COLUMN for axis in made.values())
    chart = {"chart": f"table of {' and '.join(names)}"} if other else {}
    about = About(
        title=title, model=model, data=data, samples=samples, dtype=UNKNOWN, device=UNKNOWN, software=source,
        loss=next((old.replace("_", " ") for old, new in values.items() if new == "loss" and old != new), ""),
        provenance={"source": source, **chart},
    )  # fmt: skip
    return build(made, {values[name]: grid for name, grid in grids.items()}, status, about=about)


def _axes(
    coordinates: Mapping[str, np.ndarray], lengths: Mapping[str, float], labels: Mapping[str, str]
) -> dict[str, Axis]:
    """The axes; a column that neither its name nor the user calls a direction is a column."""
    for argument, by_axis in (("lengths", lengths), ("labels", labels)):
        if wrong := [name for name in by_axis if name not in coordinates]:
            raise SpecError(f"{argument}: no axis {wrong[0]!r}; there are {list(coordinates)}")

    def label(name: str) -> str:
        known = _DIRECTION.fullmatch(name) or name in lengths
        return labels.get(name, "direction" if known else COLUMN)

    return {
        name: Axis(coordinates=coordinate, length=float(lengths.get(name, np.nan)), label=label(name))
        for name, coordinate in coordinates.items()
    }


def _numbers(name: str, column: Any) -> np.ndarray:
    try:
        array = np.asarray(column, np.float64)
    except (TypeError, ValueError) as fault:
        raise SpecError(f"{name} holds no numbers ({fault}); give an array of numbers") from fault
    if array.ndim not in (1, 2, 3):
        raise SpecError(f"{name} has {array.ndim} dimensions; expected 1 to 3")
    return array


def _axis_names(arrays: Mapping[str, np.ndarray], asked: Sequence[str]) -> tuple[str, ...]:
    """Which columns are coordinates."""
    missing = [name for name in asked if name not in arrays]
    if missing:
        raise SpecError(f"axes={list(asked)}: no column {missing[0]!r}; there are {list(arrays)}")
    if asked:
        return tuple(asked)
    flat = tuple(name for name, array in arrays.items() if array.ndim == 1)
    deepest = max((array.ndim for array in arrays.values()), default=1)
    if flat and deepest > 1:
        return flat
    known = tuple(name for name in arrays if name.lower() in _AXES)[: deepest if deepest > 1 else None]
    if not known:  # by position: those before the first that is called a loss or a score
        told = [bool(_SCORE.search(name)) or "loss" in name.lower() or name.lower() == "value" for name in arrays]
        known = tuple(arrays)[: told.index(True)] if any(told) else tuple(arrays)[:-1]
    if len(known) == len(arrays):
        known = known[:-1]  # x, y, z: heights over a plane
    if not 1 <= len(known) <= 3:
        raise SpecError(f"columns {list(arrays)}: which of them are coordinates? Name one to three: axes=, --axis")
    return known


def _with_loss(values: Sequence[str]) -> dict[str, str]:
    """Names of the values there and here: one of them is the loss, unless all are scores."""
    losses = [name for name in values if "loss" in name.lower()] or [name for name in values if not _SCORE.search(name)]
    renamed = dict(zip(values, values, strict=True))
    if "loss" not in values and losses:
        renamed[losses[0]] = "loss"
    return renamed


def _on_grid(
    arrays: Mapping[str, np.ndarray], names: Sequence[str], values: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray | None]:
    """Coordinates and values on the grid of the axes, increasing; the status where a table leaves points out."""
    shape = tuple(len(arrays[name]) for name in names)
    separate = all(arrays[name].ndim == 1 for name in names)
    if separate and all(arrays[name].shape == shape for name in values):
        orders = [np.argsort(arrays[name], kind="stable") for name in names]
        coordinates = {name: arrays[name][order] for name, order in zip(names, orders, strict=True)}
        for name, coordinate in coordinates.items():
            if not np.isfinite(coordinate).all():
                raise SpecError(f"{name} has a coordinate that is not a number; leave such rows out")
            if len(np.unique(coordinate)) < len(coordinate):
                raise SpecError(f"{name} has a coordinate twice; give each once")
        return coordinates, {name: arrays[name][np.ix_(*orders)] for name in values}, None
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        turned = separate and all(arrays[name].shape == shape[::-1] for name in values)
        hint = "; give the transpose, values[i, j] at x[i], y[j]" if turned else ""
        raise SpecError(
            f"shapes {shapes}: values need the shape {shape} of the axes {list(names)}, or all arrays the "
            f"same shape{hint}"
        )
    return _gathered({name: array.ravel() for name, array in arrays.items()}, names, values)


def _gathered(
    rows: Mapping[str, np.ndarray], names: Sequence[str], values: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """The points of a table on their grid."""
    coordinates, places = {}, []
    for name in names:
        if not np.isfinite(rows[name]).all():
            raise SpecError(f"{name} has a coordinate that is not a number; leave such rows out")
        coordinates[name], place = _distinct(rows[name])
        places.append(place)
    shape = tuple(len(coordinate) for coordinate in coordinates.values())
    count = len(places[0])
    if count * _MOST_EMPTY < np.prod(shape):
        raise SpecError(
            f"{count} points have {' × '.join(map(str, shape))} different coordinates {list(names)}, which form no "
            "grid; interpolate them yourself, or measure on a grid"
        )
    flat = np.ravel_multi_index(places, shape)
    found, times = np.unique(flat, return_counts=True)
    if times.max(initial=1) > 1:
        twice = np.unravel_index(found[np.argmax(times)], shape)
        where = ", ".join(f"{name} = {coordinates[name][i]:g}" for name, i in zip(names, twice, strict=True))
        raise SpecError(f"the point {where} is given {times.max()} times; give each point once")
    grids = {}
    for name in values:
        grid = np.full(shape, np.nan)
        grid.flat[flat] = rows[name]
        grids[name] = grid
    status = np.full(shape, Status.NOT_SAMPLED)
    finite = np.all([np.isfinite(rows[name]) for name in values], axis=0)
    status.flat[flat] = np.where(finite, Status.OK, Status.NON_FINITE)
    return coordinates, grids, status


def _distinct(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different coordinates, those that differ only by the rounding of a text as one, and which each row has."""
    order = np.argsort(column, kind="stable")
    size = float(np.ptp(column))
    new = np.concatenate([[False], np.diff(column[order]) > 1e-7 * size]) if len(column) else np.zeros(0, bool)
    place = np.empty(len(column), int)
    place[order] = np.cumsum(new)
    first = np.flatnonzero(np.concatenate([[True], new[1:]]))
    return column[order][first], place


def read_table(path: str | os.PathLike[str], *, axes: Sequence[str] = (), **about: Any) -> xr.Dataset:
    """Read a table (csv, tsv, txt) or arrays (npz) of coordinates and values.

    A table has a row for each point, and a first row of names; without names the last column is the loss. An empty
    field is read as NaN, and a column without a name that numbers the rows is left out. Where semicolons separate
    fields, numbers may have decimal commas.

    Args:
        path: the file.
        axes: the columns that are coordinates, see :func:`landscape`.
        **about: title, lengths, labels, model, data, samples, as for :func:`landscape`.

    Returns:
        A Landscape.

    Raises:
        SpecError: the file is missing, damaged, or holds no such table.
    """
    source = Path(path)
    if not source.is_file():
        raise SpecError(f"{source}: no such file")
    columns = _arrays(source) if source.suffix.lower() == ".npz" else _columns(source)
    try:
        return landscape(axes=axes, **{"title": source.stem, "source": source.name, **about}, **columns)
    except SpecError as fault:
        raise SpecError(f"{source}: {fault}") from fault


def _arrays(source: Path) -> dict[str, np.ndarray]:
    """The arrays of numbers in a file; single numbers and texts are left out."""
    check_zip(source)
    with reading(source, "arrays (npz)"), np.load(source, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    return {name: array for name, array in found.items() if array.ndim and array.dtype.kind in "fiub"}


def _columns(source: Path) -> dict[str, list[float]]:
    text = text_of(source, "text (csv, tsv)")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise SpecError(f"{source} is empty; expected a row of names and a row for each point")
    mark = next((mark for mark in ("\t", ";", ",") if mark in lines[0]), None)
    with reading(source, "a table"):
        rows = list(csv.reader(lines, delimiter=mark)) if mark else [line.split() for line in lines]
    head = [entry.strip() for entry in rows[0]]
    if all(_is_number(entry) for entry in head):
        if not 2 <= len(head) <= 4:
            raise SpecError(f"{source} has {len(head)} columns without names; put their names in the first row")
        head = [*"xyz"[: len(head) - 1], "loss"]
    else:
        rows = rows[1:]
    for number, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise SpecError(f"{source}: row {number} has {len(row)} fields; the first row has {len(head)}: {head}")
    if mark == ";" and any("," in entry for row in rows for entry in row):  # as spreadsheets write in much of Europe
        rows = [[entry.replace(",", ".") for entry in row] for row in rows]
    try:
        columns = {
            name: [float(row[place]) if row[place].strip() else np.nan for row in rows]
            for place, name in enumerate(head)
        }
    except ValueError as fault:
        raise SpecError(f"{source}: {fault}; expected numbers below the names {head}") from fault
    return {name: column for name, column in columns.items() if name or not _numbers_rows(column)}


def _numbers_rows(column: list[float]) -> bool:
    """Whether a column without a name numbers the rows, as the index of a pandas table does."""
    return any(column == [float(n) for n in range(first, first + len(column))] for first in (0, 1))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
