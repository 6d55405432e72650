"""Is a Landscape what its schema says, and does it survive the way to disk?"""

from __future__ import annotations

import math

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from lossatlas import SpecError
from lossatlas.results.landscape import (
    ATTRIBUTES,
    About,
    Axis,
    axis_names,
    build,
    load,
    save,
    structured,
    validate,
    value_names,
)


def axes(**lengths: int) -> dict[str, Axis]:
    return {name: Axis(coordinates=np.linspace(0, 1, n), length=2.0, label=f"to {name}") for name, n in lengths.items()}


def bowl() -> xr.Dataset:
    values = np.arange(6.0).reshape(3, 2)
    about = About(title="net", seed=None, still=("bias", "norm"), centre={"loss": 0.5}, samples=7)
    return build(axes(x=3, y=2), {"error": values / 10, "loss": values}, about=about)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(2, 4), min_size=1, max_size=3), st.integers(0, 2**31))
def test_any_landscape_survives_the_way_to_disk(tmp_path_factory, shape, seed):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=shape)
    values.flat[0], values.flat[1] = math.nan, math.inf
    landscape = build(axes(**dict(zip("abc", shape, strict=False))), {"loss": values})
    path = save(landscape, tmp_path_factory.mktemp("nc") / "a.nc")
    assert load(path).identical(landscape)


def test_values_are_found_by_coordinate_and_lengths_travel_along():
    landscape = bowl()
    assert axis_names(landscape) == ("x", "y")
    assert value_names(landscape) == ("loss", "error")
    assert float(landscape["loss"].sel(x=1, y=0)) == 4
    assert landscape["x_length"].values.tolist() == [0, 1, 2]
    assert landscape["x"].attrs["units"] == "multiple of the direction"


def test_attributes_are_those_of_the_schema_with_python_types(tmp_path):
    landscape = load(save(bowl(), tmp_path / "a.nc"))
    assert set(landscape.attrs) == set(ATTRIBUTES)
    assert landscape.attrs["seed"] == ""
    assert landscape.attrs["still"] == "bias,norm"
    assert structured(landscape, "centre") == {"loss": 0.5}
    assert all(type(value) in (str, int) for value in landscape.attrs.values())


def without_status():
    return bowl().drop_vars("status")


def with_stranger():
    return bowl().assign_attrs(mood="good")


def without_length():
    return bowl().drop_vars("x_length")


def without_values():
    return bowl().drop_vars(["loss", "error"])


def with_other_dims():
    landscape = bowl()
    landscape["loss"] = landscape["loss"].isel(x=0, drop=True).assign_attrs(kind="loss")
    return landscape


BAD = [
    (without_status, "'status' is missing"),
    (with_stranger, r"unknown attributes \['mood'\]"),
    (without_length, "axis 'x' needs the coordinates"),
    (without_values, "no variable of kind"),
    (with_other_dims, "'loss' has dims"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_what_is_no_landscape_is_refused(make, message, tmp_path):
    with pytest.raises(SpecError, match=message):
        validate(make())
    with pytest.raises(SpecError, match=message):
        save(make(), tmp_path / "a.nc")


@pytest.mark.parametrize("shape", [{"x": 3}, {"x": 3, "y": 2}, {"x": 3, "y": 2, "z": 4}])
def test_one_to_three_axes_are_saved_also_in_folders_that_are_not_there_yet(tmp_path, shape):
    landscape = build(axes(**shape), {"loss": np.arange(float(np.prod(list(shape.values())))).reshape(*shape.values())})
    path = save(landscape, tmp_path / "a" / "b" / "c.nc")
    assert path == tmp_path / "a" / "b" / "c.nc"
    assert load(path).identical(landscape)


def test_arrays_of_another_shape_are_named():
    with pytest.raises(SpecError, match=r"values\['loss'\] has shape \(2, 3\); the axes \('x', 'y'\) need \(3, 2\)"):
        build(axes(x=3, y=2), {"loss": np.zeros((2, 3))})


def test_a_failed_save_leaves_the_old_file_and_no_scratch(tmp_path, monkeypatch):
    path = save(bowl(), tmp_path / "a.nc")
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(xr.Dataset, "dump_to_store", fail)
    with pytest.raises(OSError, match="disk full"):
        save(bowl(), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.nc"]


@pytest.mark.parametrize("told", [[2.5], [2.5, 3.5], [1, 2, 3]])
def test_attributes_of_several_numbers_survive_the_way_to_disk(tmp_path, told):
    landscape = bowl()
    landscape["x"].attrs["told"] = np.array(told)
    read = load(save(landscape, tmp_path / "a.nc"))["x"].attrs["told"]
    assert np.atleast_1d(read).tolist() == told
    with h5py.File(tmp_path / "a.nc", "r+") as file:
        file["x"].attrs["told"] = np.array([*told[:-1], told[-1] + 1])
    with pytest.raises(SpecError, match="damaged|checksum"):
        load(tmp_path / "a.nc")


@pytest.mark.parametrize("places", [(0.0, 0.0, 1.0), (0.0, 1.0, 0.5), (0.0, np.nan, 1.0)])
def test_coordinates_of_a_file_that_do_not_rise_are_refused(tmp_path, places):
    landscape = build(axes(x=3), {"loss": np.zeros(3)})
    path = save(landscape.assign_coords(x=("x", list(places), landscape["x"].attrs)), tmp_path / "a.nc")
    with pytest.raises(SpecError, match="the coordinates 'x' are not finite numbers in increasing order"):
        load(path)
