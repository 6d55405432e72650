"""How does a dataset become a netCDF file and get read back, with a checksum of every value, name and attribute?

Both happen in memory: the HDF5 library never sees a disk, which may be full, or end in the middle of a file. Every
chunk has the Fletcher-32 sum of HDF5 too, which any program that reads the file checks.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import h5netcdf
import numpy as np
import xarray as xr
from xarray.backends import H5NetCDFStore

from lossatlas import checksum
from lossatlas.errors import SpecError
from lossatlas.results.checked import plain_attributes
from lossatlas.untrusted import reading, shown

__all__ = ["ENGINE", "decoded", "encoded"]

ENGINE: Literal["h5netcdf"] = "h5netcdf"


def encoded(dataset: xr.Dataset) -> bytes:
    """A dataset as the bytes of a netCDF file.

    Returns:
        The bytes.

    Example:
        >>> written = encoded(xr.Dataset({"a": ("x", [1.0, 2.0])}))
        >>> decoded(written, Path("a.nc"))["a"].values.tolist()
        [1.0, 2.0]
    """
    summed = dataset.assign_attrs({checksum.CHECKSUM: _sum(dataset)})
    encoding = {name: {"fletcher32": True} for name, variable in dataset.variables.items() if variable.size > 1}
    target = io.BytesIO()
    with h5netcdf.File(target, "w") as file:  # only recent versions of xarray take a file in memory in to_netcdf
        summed.dump_to_store(H5NetCDFStore(file), encoding={n: e for n, e in encoding.items() if dataset[n].ndim})
    return target.getvalue()


def decoded(content: bytes, source: Path) -> xr.Dataset:
    """The dataset that a netCDF file holds, checked against its checksum where it has one.

    Args:
        content: all bytes of the file.
        source: the file, for messages.

    Returns:
        The dataset, with plain numbers and texts as attributes.

    Raises:
        SpecError: it is not a netCDF file, or not what was written.
    """
    with reading(source, "a Landscape (netCDF)"):
        dataset = xr.load_dataset(io.BytesIO(content), engine=ENGINE)
        plain_attributes(dataset)
        told = dataset.attrs.pop(checksum.CHECKSUM, None)
        same = told is None or told == _sum(dataset)
    if not same:
        raise SpecError(f"{shown(source)} is damaged (its checksum does not match: it is not what was written)")
    return dataset


def _sum(dataset: xr.Dataset) -> str:
    """The checksum of every value, dimension and attribute of a dataset."""
    parts = [_json(dataset.attrs)]
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        values = np.asarray(variable.values)
        plain = values.dtype.kind in "biufc"
        content = values.astype(values.dtype.newbyteorder("<")).tobytes() if plain else _json({"": values.tolist()})
        kind = values.dtype.kind + str(values.dtype.itemsize) if plain else "text"
        parts += [_json({"name": name, "dims": variable.dims, "shape": values.shape, "kind": kind}), content]
        parts.append(_json(variable.attrs))
    return checksum.of(*parts).hex()


def _json(content: Mapping[Any, Any]) -> bytes:
    plain = {str(name): _plain(value) for name, value in content.items()}
    return json.dumps(plain, sort_keys=True, default=_listed).encode()


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


def _plain(value: Any) -> Any:
    """A number of Python where netCDF gave one of NumPy."""
    if isinstance(value, np.ndarray) and value.shape == (1,):
        return value[0].item()
    return value.item() if isinstance(value, np.generic) else value
