"""What is a Landscape? The schema of the dataset, and how one is built, checked, saved and read.

A Landscape is an ``xarray.Dataset`` (see :mod:`lossatlas.results.dataset`). Its dimensions carry the names of the axes,
so a value is looked up by coordinate and never by position: ``landscape["loss"].sel(x=0, y=0)``.

======================  ==========  =================================================================
variable                dims        meaning
======================  ==========  =================================================================
``x`` …                 (x,)        coordinate, in multiples of the direction; one for each axis
``x_length``            (x,)        the same, times the norm of the direction: a distance
``loss``                (x, y, …)   the mean over samples, float64; ``kind`` is "loss"
metric's name           (x, y, …)   the mean over samples, float64; ``kind`` is "metric"
``…_uncertainty``       (x, y, …)   the stated error of an estimate, interpolated or from a part of the samples, as a
                                    share of the range a picture shows; 0 where it is exact; ``kind`` is "uncertainty"
``…_se``                (x, y, …)   the standard error of a mean over samples, in its unit; ``kind`` is "standard error"
``…_low``, ``…_high``   (x, y, …)   the Clopper–Pearson interval of a mean of scores of 0 or 1; ``kind`` is "interval"
``status``              (x, y, …)   what became of the cell, see :class:`Status`; no value is ever repaired
======================  ==========  =================================================================
"""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lossatlas.atomic import replacing, sweep
from lossatlas.errors import SpecError
from lossatlas.expected import LANDSCAPE, check_kind
from lossatlas.oneline import number_of, one_line
from lossatlas.results.checked import check_contents
from lossatlas.results.dataset import Landscape, landscape_of
from lossatlas.results.intervals import with_interval
from lossatlas.results.naming import check_names
from lossatlas.results.netcdf import decoded, encoded
from lossatlas.untrusted import check_hdf5, printable, reading, shown

__all__ = [
    "ATTRIBUTES",
    "SCHEMA",
    "About",
    "Axis",
    "Count",
    "Status",
    "axis_names",
    "build",
    "complete",
    "cut_at",
    "load",
    "save",
    "structured",
    "validate",
    "value_names",
    "with_evaluation",
    "with_standard_error",
    "with_uncertainty",
]

SCHEMA = 1

ATTRIBUTES: dict[str, str] = {
    "schema": "version of this schema",
    "title": "short name of the model, as a picture should call it",
    "model": "class or source of the model",
    "data": "source of the data",
    "loss": "name of the loss function",
    "samples": "number of samples behind each mean",
    "normalisation": "filter, layer, weight, none, head, unit-filter, unit-layer, unit-linf, unit-l2, or empty",
    "still": "roles of tensors that do not move, separated by commas",
    "batchnorm": "frozen, recalibrated or interpolated, or by the statistics of each batch; empty without BatchNorm",
    "seed": "seed of the random directions; empty where there is none",
    "dtype": "number format of the evaluation",
    "device": "kind of device of the evaluation",
    "counts": "JSON: by value, what its mean is over, where not samples: unit, number, and if scores are 0 or 1",
    "centre": "JSON: value of the loss and of each metric at the origin",
    "cosines": "JSON: cosine between each pair of directions, by 'x,y'",
    "created": "date and time, ISO 8601",
    "software": "name and version of what computed it",
    "provenance": "JSON: versions, command, fingerprints",
    "sampling": "JSON: which cells were evaluated and which interpolated; empty for a whole grid",
    "curvature": "JSON: of the full Hessian at the centre, where it was computed: lambda_min, lambda_max, …",
    "evaluation": "JSON: how the points were evaluated, how fast, and the error of a short number format",
}


class Status(enum.IntEnum):
    """What became of a cell. A value that is not finite stays as it is; its status says so."""

    NOT_SAMPLED = 0
    OK = 1
    NON_FINITE = 2
    FAILED = 3
    CENSORED = 4
    INTERPOLATED = 5


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a Landscape.

    Attributes:
        coordinates: float64 [n], increasing, in multiples of the direction.
        length: norm of the direction, so that ``coordinates * length`` is a distance.
        label: what the direction is, for a picture; ``unit`` is that of the distance.
    """

    coordinates: np.ndarray
    length: float
    label: str = "direction"
    unit: str = "parameter norm"

    __repr__ = one_line


@dataclass(frozen=True, kw_only=True)
class Count:
    """What a mean is over.

    Attributes:
        unit: "sample", "token", "problem".
        number: how many of them; their weight, where they are weighted.
        zero_one: whether each is a score of 0 or 1.
    """

    unit: str
    number: float
    zero_one: bool = False


@dataclass(frozen=True, kw_only=True)
class About:
    """What a Landscape says about itself: the attributes of the schema, as Python values."""

    title: str = "model"
    model: str = ""
    data: str = ""
    loss: str = ""
    samples: int = 0
    counts: Mapping[str, Any] = field(default_factory=dict)
    normalisation: str = ""
    still: tuple[str, ...] = ()
    batchnorm: str = ""
    seed: int | None = None
    dtype: str = "float32"
    device: str = "cpu"
    centre: Mapping[str, float] = field(default_factory=dict)
    cosines: Mapping[str, float] = field(default_factory=dict)
    created: str = ""
    software: str = "lossatlas"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    curvature: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)

    __repr__ = one_line

    def attributes(self) -> dict[str, str | int]:
        """The same as netCDF attributes: text and whole numbers, JSON where there is structure."""
        attributes: dict[str, str | int] = {"schema": SCHEMA}
        for name in list(ATTRIBUTES)[1:]:
            value = getattr(self, name)
            if isinstance(value, tuple):
                value = ",".join(value)
            elif isinstance(value, Mapping):
                value = json.dumps(dict(value), sort_keys=True)
            attributes[name] = "" if value is None else printable(value) if isinstance(value, str) else value
        return attributes


def build(
    axes: Mapping[str, Axis],
    values: Mapping[str, np.ndarray],
    status: np.ndarray | None = None,
    *,
    about: About | None = None,
) -> xr.Dataset:
    """Make a Landscape from arrays.

    Args:
        axes: the axes in the order of the arrays' dimensions.
        values: float64 arrays by name, each of shape ``[len(axis) for axis in axes]``. ``"loss"`` is the loss,
            all others are metrics.
        status: int8, same shape; by default it follows from which values are finite.
        about: what the Landscape says of itself.

    Returns:
        A valid Landscape.

    Raises:
        SpecError: an array's shape does not match the axes, or a name is taken.

    Example:
        >>> axis = Axis(coordinates=np.array([-1.0, 0.0, 1.0]), length=2.0)
        >>> landscape = build({"x": axis}, {"loss": np.array([4.0, 0.0, np.nan])})
        >>> landscape["x_length"].values.tolist()
        [-2.0, 0.0, 2.0]
        >>> landscape["status"].values.tolist()
        [1, 1, 2]
    """
    dims = tuple(axes)
    check_names("values", values, axes=dims, endings=())
    shape = tuple(len(axis.coordinates) for axis in axes.values())
    for name, array in values.items():
        if np.shape(array) != shape:
            raise SpecError(f"values[{name!r}] has shape {np.shape(array)}; the axes {dims} need {shape}")
    if status is None:
        finite = np.all([np.isfinite(array) for array in values.values()], axis=0)
        status = np.where(finite, Status.OK, Status.NON_FINITE)
    dataset: xr.Dataset = Landscape(attrs=(about or About()).attributes())
    for name, axis in axes.items():
        dataset[name] = (name, np.asarray(axis.coordinates, float))
        dataset[name].attrs = {
            "units": "multiple of the direction",
            "long_name": printable(axis.label),
            "length": axis.length,
        }
        lengths = (name, np.asarray(axis.coordinates, float) * axis.length, {"units": axis.unit})
        dataset = dataset.assign_coords({f"{name}_length": lengths})
    for name, array in values.items():
        kind = "loss" if name == "loss" else "metric"
        dataset[name] = (dims, np.asarray(array, np.float64), {"kind": kind, "long_name": name})
    dataset["status"] = (dims, np.asarray(status, np.int8), _status_attributes())
    for name, count in ((about or About()).counts).items():
        if count["zero_one"] and name in values:
            with_interval(dataset, name, round(count["number"]))
    validate(dataset)
    return dataset


def complete(
    landscape: xr.Dataset,
    filled: Mapping[str, np.ndarray],
    errors: Mapping[str, np.ndarray],
    sampling: Mapping[str, Any],
) -> xr.Dataset:
    """Fill the empty cells of a Landscape by interpolation. Evaluated cells keep their values bit for bit.

    Args:
        landscape: with cells that were not sampled.
        filled: by value, float64 [cells] in C order; only cells that were not sampled are taken from it.
        errors: by value, float64 [cells]: stated errors, as a share of the range a picture shows.
        sampling: what the Landscape says of it.

    Returns:
        A new Landscape.
    """
    result = landscape.copy(deep=True)
    empty = landscape["status"].values == Status.NOT_SAMPLED
    for name, values in filled.items():
        result[name].values[empty] = values.reshape(empty.shape)[empty]
        with_uncertainty(result, name, np.where(empty, errors[name].reshape(empty.shape), 0.0))
    if filled:
        result["status"].values[empty] = Status.INTERPOLATED
    result.attrs["sampling"] = json.dumps(dict(sampling), sort_keys=True)
    validate(result)
    return result


def with_uncertainty(landscape: xr.Dataset, name: str, errors: np.ndarray) -> None:
    """Put the stated error of a value beside it, as a share of the range that a picture shows; in place."""
    attributes = {
        "kind": "uncertainty",
        "units": "share of the shown range",
        "long_name": f"stated error of {name}",
    }
    landscape[f"{name}_uncertainty"] = (landscape["status"].dims, errors, attributes)


def with_standard_error(landscape: xr.Dataset, name: str, errors: np.ndarray) -> None:
    """Put the standard error of a mean over samples beside it, in its own unit; in place."""
    few = ", widened as they are few" if int(landscape.attrs["samples"]) < 100 else ""
    words = f"standard error of {name} over {number_of(landscape.attrs['samples'], 'sample')}{few}"
    landscape[f"{name}_se"] = (landscape["status"].dims, errors, {"kind": "standard error", "long_name": words})


def with_evaluation(landscape: xr.Dataset, told: Mapping[str, Any]) -> xr.Dataset:
    """The same Landscape, with more recorded about how its points were evaluated.

    Args:
        landscape: a Landscape; it is left as it is.
        told: JSON values by name.

    Returns:
        A shallow copy.
    """
    told = {**structured(landscape, "evaluation"), **told}
    return landscape.assign_attrs(evaluation=json.dumps(told, sort_keys=True))


def _status_attributes() -> dict[str, Any]:
    return {
        "flag_values": np.array([int(flag) for flag in Status], np.int8),
        "flag_meanings": " ".join(flag.name.lower() for flag in Status),
    }


def axis_names(landscape: xr.Dataset) -> tuple[str, ...]:
    """The names of the axes, in the order of the arrays' dimensions."""
    return tuple(str(name) for name in landscape["status"].dims)


def cut_at(landscape: xr.Dataset) -> dict[str, float]:
    """Where a slice of a larger Landscape lies: the coordinates of the axes that were cut away, by name.

    Returns:
        Coordinates by name; empty for a whole Landscape.

    Example:
        >>> axis = Axis(coordinates=np.array([0.0, 1.0]), length=1.0)
        >>> cut_at(build({"x": axis, "y": axis}, {"loss": np.ones((2, 2))}).sel(y=1.0))
        {'y': 1.0}
    """
    single = [str(name) for name, coordinate in landscape.coords.items() if coordinate.ndim == 0]
    return {name: float(landscape.coords[name]) for name in single if f"{name}_length" in single}


def value_names(landscape: xr.Dataset) -> tuple[str, ...]:
    """The names of what was measured, the loss first."""
    names = [str(name) for name in landscape.data_vars if landscape[name].attrs.get("kind") in ("loss", "metric")]
    return tuple(sorted(names, key=lambda name: landscape[name].attrs["kind"] != "loss"))


def structured(landscape: xr.Dataset, attribute: str) -> dict[str, Any]:
    """A JSON attribute (``centre``, ``counts``, ``cosines``, ``evaluation``, …) as a mapping."""
    content: dict[str, Any] = json.loads(landscape.attrs.get(attribute) or "{}")
    return content


def validate(landscape: xr.Dataset) -> None:
    """Check that a dataset is a Landscape.

    Raises:
        SpecError: a variable or coordinate is missing or has wrong dimensions, or an attribute is not in the schema.
    """
    check_kind("landscape", landscape, xr.Dataset, LANDSCAPE)
    if "status" not in landscape:
        raise SpecError("not a Landscape: the variable 'status' is missing; build one with lossatlas.sample")
    strangers = sorted(set(map(str, landscape.attrs)) - ATTRIBUTES.keys())
    if strangers:
        raise SpecError(f"not a Landscape: unknown attributes {strangers}; the schema has {sorted(ATTRIBUTES)}")
    dims = landscape["status"].dims
    for name in dims:
        if name not in landscape.coords or f"{name}_length" not in landscape.coords:
            raise SpecError(f"not a Landscape: axis {name!r} needs the coordinates {name!r} and '{name}_length'")
    if not value_names(landscape):
        raise SpecError("not a Landscape: no variable of kind 'loss' or 'metric'")
    for value in value_names(landscape):
        if landscape[value].dims != dims:
            raise SpecError(f"not a Landscape: {value!r} has dims {landscape[value].dims}, 'status' has {dims}")


def save(landscape: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a Landscape to a netCDF file, whole or not at all; an existing file is replaced.

    Args:
        landscape: a valid Landscape.
        path: the file, usually ``.nc``.

    Returns:
        The path.

    Raises:
        SpecError: not a Landscape.
        OSError: it cannot be written; a file that was there stays.
    """
    validate(landscape)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    content = encoded(landscape)
    sweep(target)
    with replacing(target) as scratch:
        scratch.write_bytes(content)
    return target


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a whole Landscape from a netCDF file into memory.

    Returns:
        The Landscape, checked against the schema.

    Raises:
        SpecError: the file is missing, damaged, not a netCDF file, or holds something else.
    """
    check_hdf5(path, "a Landscape (netCDF)")
    with reading(path, "a Landscape (netCDF)"):
        landscape = landscape_of(decoded(Path(path).read_bytes(), Path(path)))
        try:
            validate(landscape)
            check_contents(landscape)
        except SpecError as fault:
            raise SpecError(f"{shown(path)}: {fault}") from fault
    return landscape
