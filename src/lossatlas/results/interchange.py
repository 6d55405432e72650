r"""How are the files of the original code read and written? Its HDF5 surfaces and directions.

The layout (tomgoldstein/loss-landscape, ``plot_surface.py``, ``net_plotter.py``):

*   A surface has ``xcoordinates``, in two dimensions ``ycoordinates``, and arrays ``train_loss``, ``train_acc`` (and
    ``test_loss``, ``test_acc``) with accuracies in percent. A cell that was not computed holds -1.
*   The two-dimensional arrays are allocated as [len(x), len(y)] but filled in the order of ``numpy.meshgrid(x, y)``,
    whose result has the shape [len(y), len(x)]. For a square grid this means that ``stored[i, j]`` is the value at x
    index j and y index i. For any other grid the flat order is still that of the meshgrid, and only the shape is wrong;
    both cases are read in the same way, by viewing the flat array as [len(y), len(x)].
*   A direction is a group ``xdirection`` or ``ydirection`` with an array for each parameter, named by its number. The
    names of the parameters are absent.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import xarray as xr

from lossatlas.atomic import replacing
from lossatlas.errors import SpecError
from lossatlas.oneline import number_of
from lossatlas.results.arrays import UNKNOWN, landscape
from lossatlas.results.landscape import About, Axis, Status, axis_names, build, value_names
from lossatlas.untrusted import hdf5

__all__ = [
    "NAMES",
    "NOT_COMPUTED",
    "Result",
    "is_directions",
    "match",
    "opened",
    "read_directions",
    "read_surface",
    "write_directions",
    "write_surface",
]

Result = TypeVar("Result")

NAMES = {"train_loss": "loss", "train_acc": "accuracy", "test_loss": "test_loss", "test_acc": "test_accuracy"}
"""Names of the variables there and here. Accuracies are percentages there and fractions here."""

NOT_COMPUTED = -1.0
_ENDING = "coordinates"


def read_surface(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a surface of the original code.

    A cell counts as not sampled only where every variable holds -1, since a loss may well be negative.

    Args:
        path: the ``.h5`` file.

    Returns:
        A Landscape with ``loss`` and ``accuracy`` (and ``test_loss``, ``test_accuracy`` where they are). A file with
        values of the test set only gives these as ``loss`` and ``accuracy``, and says so. What the file does not say
        (the length of the directions, the number of samples, the number format and the device) stays unknown.

    Raises:
        SpecError: the file is missing, damaged, or not a surface.
    """
    return _reading(Path(path), _surface)


def opened(path: str | os.PathLike[str]) -> xr.Dataset:
    """What a file of the original code shows without the model.

    Args:
        path: the ``.h5`` file.

    Returns:
        The Landscape of a surface.

    Raises:
        SpecError: the file is missing, damaged, or holds directions, whose names only the model knows.
    """
    if is_directions(path):
        raise SpecError(
            f"{path} holds directions without names: lossatlas import {path} --model NAME says whose they are"
        )
    return read_surface(path)


def _surface(file: h5py.File, path: Path) -> xr.Dataset:
    ends = sorted(name for name in file if name.endswith(_ENDING) and name != _ENDING)
    axes = {name.removesuffix(_ENDING).strip("_"): np.asarray(file[name], np.float64) for name in ends}
    stored = {name: np.asarray(file[name], np.float64) for name in NAMES if name in file}
    if not axes and not stored:
        return _plain(file, path)
    if not 1 <= len(axes) <= 2 or not stored:
        raise SpecError(
            f"{path} is not a surface: it has {sorted(file)}; expected xcoordinates (and ycoordinates) and one of "
            f"{', '.join(NAMES)}"
        )
    size = int(np.prod([len(coordinates) for coordinates in axes.values()]))
    for name, array in stored.items():
        if array.size != size:
            raise SpecError(f"{path}: {name} has {number_of(array.size, 'value')}; the coordinates need {size}")
    skipped = np.all([array == NOT_COMPUTED for array in stored.values()], axis=0)
    testing = not any(name.startswith("train") for name in stored)
    called = {name: NAMES[name].removeprefix("test_") if testing else NAMES[name] for name in stored}
    columns = {called[name]: np.where(skipped, np.nan, _scale(name) * array) for name, array in stored.items()}
    finite = np.all([np.isfinite(array) for array in columns.values()], axis=0)
    status = np.where(skipped, Status.NOT_SAMPLED, np.where(finite, Status.OK, Status.NON_FINITE))
    return build(
        {axis: Axis(coordinates=c, length=np.nan, label="direction") for axis, c in axes.items()},
        {name: _from_meshgrid(array, axes) for name, array in columns.items()},
        _from_meshgrid(status, axes),
        about=About(
            title=path.stem,
            data="test set" if testing else "",
            dtype=UNKNOWN,
            device=UNKNOWN,
            software="the original code",
            provenance={"source": path.name},
        ),
    )


def _plain(file: h5py.File, path: Path) -> xr.Dataset:
    """A file that holds arrays of coordinates and values under their own names."""
    arrays = {name: np.asarray(entry) for name, entry in file.items() if isinstance(entry, h5py.Dataset)}
    columns: dict[str, Any] = {n: array for n, array in arrays.items() if array.ndim and array.dtype.kind in "fiub"}
    if len(columns) < 2:
        raise SpecError(
            f"{path} is not a surface: it has {sorted(file)}; expected xcoordinates and train_loss, or arrays"
        )
    try:
        return landscape(title=path.stem, source=path.name, **columns)
    except SpecError as fault:
        raise SpecError(f"{path}: {fault}") from fault


def write_surface(
    landscape: xr.Dataset, path: str | os.PathLike[str], *, direction_file: str | os.PathLike[str] | None = None
) -> Path:
    """Write a Landscape in the layout of the original code, for scripts that read it.

    A metric ``error`` is written as the accuracy it implies. Other metrics have no place there and are left out. So is
    the status, except that cells which were not sampled hold -1.

    Args:
        landscape: of one or two axes.
        path: the ``.h5`` file, written whole or not at all.
        direction_file: the direction file to name in it.

    Returns:
        The path.

    Raises:
        SpecError: three axes, or no loss.
    """
    names = axis_names(landscape)
    if len(names) > 2 or "loss" not in value_names(landscape):
        raise SpecError(f"the original layout holds a loss on one or two axes; this Landscape has {list(names)}")
    skipped = landscape["status"].values == Status.NOT_SAMPLED

    def write(file: h5py.File) -> None:
        file["dir_file"] = "" if direction_file is None else str(direction_file)
        for theirs, ours in zip("xy", names, strict=False):
            file[f"{theirs}coordinates"] = landscape[ours].values
        for theirs, array in _columns(landscape).items():
            file[theirs] = np.where(skipped, NOT_COMPUTED, array).T

    return _writing(Path(path), write)


def _columns(landscape: xr.Dataset) -> dict[str, np.ndarray]:
    found = {name: landscape[name].values for name in value_names(landscape)}
    for prefix in ("", "test_"):
        if f"{prefix}error" in found:
            found.setdefault(f"{prefix}accuracy", 1 - found[f"{prefix}error"])
    return {theirs: found[ours] / _scale(theirs) for theirs, ours in NAMES.items() if ours in found}


def _scale(name: str) -> float:
    return 0.01 if name.endswith("_acc") else 1.0


def _from_meshgrid(array: np.ndarray, axes: Mapping[str, np.ndarray]) -> np.ndarray:
    return array.reshape([len(coordinates) for coordinates in axes.values()][::-1]).T


def read_directions(path: str | os.PathLike[str]) -> dict[str, list[np.ndarray]]:
    """Read the directions of the original code: arrays in the order of the parameters, by axis.

    Args:
        path: the ``.h5`` file.

    Returns:
        ``{"x": [...]}`` or ``{"x": [...], "y": [...]}``. See :func:`match` for their names.

    Raises:
        SpecError: the file is missing, damaged, or has no direction.
    """
    return _reading(Path(path), _directions)


def _directions(file: h5py.File, path: Path) -> dict[str, list[np.ndarray]]:
    found = {}
    for axis in "xy":
        group = file.get(f"{axis}direction")
        if isinstance(group, h5py.Group):
            # By number: as text, "10" would come before "2".
            found[axis] = [np.asarray(group[key]) for key in sorted(group, key=int)]
    if not found:
        raise SpecError(f"{path} has no direction: it has {sorted(file)}; expected the group xdirection")
    return found


def match(arrays: Sequence[np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Give unnamed arrays the names of a model's parameters, in order.

    Args:
        arrays: as :func:`read_directions` gives them.
        shapes: name and shape of every parameter, in the order of ``named_parameters``.

    Returns:
        The arrays by name.

    Raises:
        SpecError: the number of arrays or a shape differs; the message names the first difference.

    Example:
        >>> list(match([np.zeros((2, 3)), np.zeros(2)], {"weight": (2, 3), "bias": (2,)}))
        ['weight', 'bias']
    """
    for number, (array, (name, shape)) in enumerate(zip(arrays, shapes.items(), strict=False)):
        if array.shape != tuple(shape):
            raise SpecError(
                f"directions: entry {number} has shape {array.shape}; the model's {name!r} there has {tuple(shape)}"
            )
    if len(arrays) != len(shapes):
        raise SpecError(
            f"directions: {number_of(len(arrays), 'entry', 'entries')}; the model has "
            f"{number_of(len(shapes), 'parameter')}"
        )
    return dict(zip(shapes, arrays, strict=True))


def write_directions(
    path: str | os.PathLike[str],
    directions: Mapping[str, Mapping[str, np.ndarray]],
    shapes: Mapping[str, tuple[int, ...]],
) -> Path:
    """Write directions in the layout of the original code.

    Args:
        path: the ``.h5`` file, written whole or not at all.
        directions: arrays by name, by axis; at most two axes.
        shapes: name and shape of every parameter of the model, in order: those that do not move are written as zeros.

    Returns:
        The path.

    Raises:
        SpecError: more than two axes.
    """
    if len(directions) > 2:
        raise SpecError(f"the original layout holds one or two directions; got {list(directions)}")

    def write(file: h5py.File) -> None:
        for theirs, direction in zip("xy", directions.values(), strict=False):
            group = file.create_group(f"{theirs}direction")
            for number, (name, shape) in enumerate(shapes.items()):
                group[str(number)] = direction.get(name, np.zeros(shape, np.float32))

    return _writing(Path(path), write)


def is_directions(path: str | os.PathLike[str]) -> bool:
    """Whether a file of the original code holds directions rather than a surface."""
    return _reading(Path(path), lambda file, _: "xdirection" in file)


def _reading(path: Path, read: Callable[[h5py.File, Path], Result]) -> Result:
    with hdf5(path, "a file of the original code (HDF5)") as file:
        return read(file, path)


def _writing(path: Path, write: Callable[[Any], None]) -> Path:
    content = io.BytesIO()  # on a full disk the HDF5 library itself would crash
    with h5py.File(content, "w") as file:
        write(file)
    with replacing(path) as scratch:
        scratch.write_bytes(content.getvalue())
    return path
