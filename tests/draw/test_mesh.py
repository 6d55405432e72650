"""Do the mesh files parse again, with the right shape, values and holes?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from lossatlas.draw import mesh, rim, solid
from lossatlas.draw.view import View, compile
from lossatlas.errors import SpecError
from lossatlas.figure.palettes import rgb
from lossatlas.results.landscape import Status

pyvista = pytest.importorskip("pyvista")
trimesh = pytest.importorskip("trimesh")

Make = Callable[..., xr.Dataset]


def written(landscapes: Any, path: Path, **view: Any) -> Path:
    mesh.write(compile(landscapes, View(**view)), path)
    return path


def test_a_vtp_holds_values_as_measured_at_their_coordinates(tilted: xr.Dataset, tmp_path: Path) -> None:
    read = pyvista.read(written(tilted, tmp_path / "a.vtp", clip=30.0, scale="linear"))
    measured = read["status"] == int(Status.OK)
    assert measured.sum() == 10  # five of the fifteen points lie above the clip
    assert read["loss"] == pytest.approx(read["x"] + 10 * read["y"])
    assert read["loss"][measured].max() == 22
    assert set(read["status"][~measured]) == {int(Status.INTERPOLATED)}
    assert read["error"] == pytest.approx(read["y"] / 8)
    # x spans 4 with norm 2 and y spans 3 with norm 3: in parameter space 8 by 9, of which the longer side is 2.
    assert read.bounds == pytest.approx((-2 * 4 / 9, 2 * 4 / 9, 2 / 3, 3.2 * 2 / 3, 0, 1.2))
    factor = float(read.field_data["height_factor"][0])
    assert read.points[:, 2] == pytest.approx((read["loss"] - 8) * factor, abs=1e-6)
    assert read.points[:, 2].max() == pytest.approx(1.2)
    assert "clipped at 30" in read.field_data["caption"][0]


def test_a_vti_puts_every_value_at_its_coordinates(make: Make, tmp_path: Path) -> None:
    x, y = np.linspace(-2, 2, 5), np.array([1.0, 2.5, 4.0])
    read = pyvista.read(written(make(x[:, None] + 10 * y[None, :], x=x, y=y), tmp_path / "a.vti"))
    assert read.dimensions == (5, 3, 1)
    assert read["loss"] == pytest.approx(read.points[:, 0] + 10 * read.points[:, 1])


def test_a_volume_becomes_a_vti_with_nan_where_nothing_is(volume: xr.Dataset, tmp_path: Path) -> None:
    even = volume.isel(y=[0, 1], z=[2, 3, 4]).copy(deep=True)
    even["loss"][1, 0, 2] = np.nan
    read = pyvista.read(written(even, tmp_path / "a.vti"))
    assert read.dimensions == (4, 2, 3)
    expected = read.points @ [1, 10, 100]
    empty = np.isnan(read["loss"])
    assert np.asarray(read.points)[empty].tolist() == [[0.0, 0.0, 2.0]]
    assert np.asarray(read["loss"])[~empty] == pytest.approx(expected[~empty])


def test_uneven_coordinates_are_refused_for_vti(tilted: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"evenly spaced coordinates, but axis 'y' has none; use \.vtp"):
        written(tilted, tmp_path / "a.vti")


def test_a_glb_stands_upright_in_the_pictures_colours(tilted: xr.Dataset, tmp_path: Path) -> None:
    scene = compile(tilted, View(scale="linear", clip=None))
    mesh.write(scene, tmp_path / "a.glb")
    (shape,) = trimesh.load(tmp_path / "a.glb").geometry.values()
    by_x, by_y, by_z = mesh.factors(scene)
    x, up, minus_y = shape.vertices.T
    loss = x / by_x + 10 * -minus_y / by_y
    assert up / by_z + scene.range.low == pytest.approx(loss, rel=1e-5)
    expected = rgb((loss - 8) / 34, "viridis")
    assert shape.visual.vertex_colors[:, :3] / 255 == pytest.approx(expected, abs=0.01)
    assert shape.face_normals[:, 1].min() > 0
    assert shape.metadata["height_factor"] == pytest.approx(by_z)


def test_compared_surfaces_stand_side_by_side_at_one_scale(make: Make, tmp_path: Path) -> None:
    one = make(np.linspace(0.5, 1, 20).reshape(5, 4), title="one")
    two = make(np.linspace(0, 4, 20).reshape(5, 4), title="two")
    read = trimesh.load(written([one, two], tmp_path / "a.glb"))
    bounds = {name: shape.bounds for name, shape in read.geometry.items()}
    assert bounds["one"][1][0] < bounds["two"][0][0]
    assert bounds["one"][1][1] / bounds["two"][1][1] == pytest.approx(0.25)
    whole = pyvista.read(written([one, two], tmp_path / "a.vtp"))
    assert set(whole["landscape"]) == {0, 1}
    assert np.array_equal(whole["loss"][whole["landscape"] == 1], two["loss"].values.ravel())


@pytest.mark.parametrize("suffix", [".vtp", ".glb"])
def test_a_cell_without_a_value_is_a_hole(make: Make, tmp_path: Path, suffix: str) -> None:
    loss = np.add.outer(np.arange(6.0), np.arange(5.0))
    loss[2, 2] = np.nan
    path = written(make(loss), tmp_path / f"a{suffix}")
    if suffix == ".vtp":
        read = pyvista.read(path)
        assert (read.n_points, read.n_cells) == (29, 2 * (20 - 4))
        assert np.isfinite(read.points).all()
    else:
        (shape,) = trimesh.load(path).geometry.values()
        assert (len(shape.vertices), len(shape.faces)) == (29, 2 * (20 - 4))


HOLES = {
    "none": [],
    "one": [(3, 3)],
    "at the border": [(0, 2)],
    "touching at a corner": [(2, 2), (4, 4)],
    "a checkerboard": [(i, j) for i in range(1, 9, 2) for j in range(1, 9, 2)],
}


@pytest.mark.parametrize("holes", HOLES)
def test_an_stl_is_a_closed_body_of_the_stated_size(make: Make, tmp_path: Path, holes: str) -> None:
    loss = np.add.outer(np.linspace(-1, 1, 12) ** 2, np.linspace(-1, 1, 12) ** 2)
    for cell in HOLES[holes]:
        loss[cell] = np.nan
    body = trimesh.load(written(make(loss, lengths=(2.0, 2.0)), tmp_path / "a.stl", scale="linear"))
    assert body.is_watertight
    assert body.is_winding_consistent
    assert body.volume > 0
    size = body.bounds[1] - body.bounds[0]
    assert size == pytest.approx([100, 100, 63], rel=1e-4)
    header = (tmp_path / "a.stl").read_bytes()[:80]
    assert header.startswith(b"lossatlas loss linear, mm per unit of height ")


def test_the_volume_of_a_flat_body_is_its_box() -> None:
    surface = rim.surface(np.linspace(0, 2, 4), np.linspace(0, 3, 5), np.full((4, 5), 1.5))
    vertices, faces = solid.closed(surface.points, surface.triangles, base=0.5)
    assert trimesh.Trimesh(vertices, faces, process=False).volume == pytest.approx(2 * 3 * 2.0)


@pytest.mark.parametrize("suffix", [".vtp", ".glb", ".stl"])
def test_a_landscape_without_a_whole_cell_is_refused(make: Make, tmp_path: Path, suffix: str) -> None:
    with pytest.raises(SpecError, match="landscape 'model': no four neighbouring cells have values"):
        written(make(np.full((4, 3), np.nan)), tmp_path / f"a{suffix}")


def test_curves_and_volumes_are_sent_to_a_format_that_holds_them(line: Make, volume: xr.Dataset) -> None:
    with pytest.raises(SpecError, match=r"\.glb file holds surfaces.*1 axis; draw it as \.png or \.html"):
        mesh.check(compile(line([1.0, 2.0])), ".glb")
    with pytest.raises(SpecError, match=r"\.stl file holds surfaces.*3 axes; draw it as \.vti or \.html"):
        mesh.check(compile(volume), ".stl")


def test_a_vti_of_several_landscapes_is_refused(bowl: xr.Dataset) -> None:
    with pytest.raises(SpecError, match=r"a \.vti file holds one landscape, got 2"):
        mesh.check(compile([bowl, bowl]), ".vti")


def test_letters_that_vtk_cannot_store_are_written_out(make: Make, tmp_path: Path) -> None:
    read = pyvista.read(written(make(np.arange(12.0).reshape(4, 3) - 5, title="Été"), tmp_path / "a.vtp"))
    assert "from -5 to 6" in read.field_data["caption"][0]
