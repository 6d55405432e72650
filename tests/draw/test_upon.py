"""Is what lies upon a surface on every picture of it: maps, meshes, films, folders, and in words where it lies outside?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import lossatlas as la
from lossatlas import checksum
from lossatlas.cli import atlas
from lossatlas.draw import compile, mesh, mesh_overlays
from lossatlas.draw.film import Grow, animate
from lossatlas.errors import SpecError
from lossatlas.field.lowest import lowest
from lossatlas.figure import kept
from lossatlas.figure.overlays import Path, Points, Regions
from lossatlas.figure.plot import plot_of
from lossatlas.paths.marks import marks

SIDE = np.linspace(-1, 1, 21)


def field(title="valley"):
    """Steeper along x than along y, so that a transposed path would lie at other heights."""
    return la.landscape(x=SIDE, y=SIDE, loss=4 * SIDE[:, None] ** 2 + SIDE**2, title=title)


def walked(runs=1):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    x = torch.randn(16, 3)
    objective = la.Objective(model, (x, torch.randint(2, (16,))), torch.nn.functional.cross_entropy)
    plane = la.Plane.random(objective, seed=0)
    start = {name: tensor.detach() for name, tensor in model.named_parameters()}
    states = [{k: v + 0.2 * i * torch.ones_like(v) for k, v in start.items()} for i in range(4)]
    path = la.Trajectory.open(states)
    path.runs = (4,) if runs == 1 else (2, 2)
    return objective, plane, path


@pytest.mark.parametrize("suffix", [".glb", ".vtp"])
def test_a_path_lies_upon_the_surface_of_a_mesh(tmp_path, suffix):
    path = Path(x=[-0.5, 0.1, 0.5], y=[0.0, 0.4, -0.5], label="run")
    scene = compile(field(), la.View(overlays=[path], clip=None, scale="linear"))
    by = mesh.factors(scene)
    (line,) = next(mesh_overlays.laid(scene, by, 0.0)).pieces
    x, y = line[:, 0] / by[0], line[:, 1] / by[1]
    height = line[:, 2] / by[2] + scene.range.limits[0]
    assert np.allclose(height, 4 * x**2 + y**2, atol=0.02)  # the field is linear between its points
    file = la.draw(field(), tmp_path / f"a{suffix}", overlays=[path, Points(x=[0.3], y=[0.2], words=["A"])])
    if suffix == ".vtp":
        pyvista = pytest.importorskip("pyvista")
        found = pyvista.read(file)
        assert found.n_lines == 1 and found.n_verts == 1
        assert set(np.unique(found.point_data["overlay"])) == {0, 1, 2}
        assert list(found.field_data["overlays"]) == ["run", "A"]
    else:
        trimesh = pytest.importorskip("trimesh")
        assert {"valley", "run", "A"} <= set(trimesh.load(file).geometry)


def test_a_mesh_without_overlays_is_as_before(tmp_path):
    pyvista = pytest.importorskip("pyvista")
    plain = pyvista.read(la.draw(field(), tmp_path / "a.vtp"))
    assert "overlay" not in plain.point_data and plain.n_lines == 0


def test_a_path_above_the_clip_is_cut_there():
    path = Path(x=[-1.0, 1.0], y=[0.0, 0.0])
    scene = compile(field(), la.View(overlays=[path], clip=1.0, scale="linear"))
    (piece,) = next(mesh_overlays.laid(scene, mesh.factors(scene), 0.0)).pieces
    assert abs(piece[:, 0]).max() / mesh.factors(scene)[0] == pytest.approx(0.5, abs=0.02)


def test_a_tube_is_closed():
    trimesh = pytest.importorskip("trimesh")
    rng = np.random.default_rng(0)
    vertices, faces = mesh_overlays.tube(np.cumsum(rng.random((20, 3)), axis=0), 0.05)
    assert trimesh.Trimesh(vertices, faces, process=False).is_watertight


def test_what_lies_outside_is_named_in_the_caption():
    upon = [Points(x=[0.0, 3.0], y=[0.0, 0.5], words=["A", "B"]), Path(x=[0, 2], y=[0, 0], label="run")]
    caption = compile(field(), la.View(overlays=upon)).caption
    assert "B at (3, 0.5)" in caption.what[0] and "1 of 2 points of run" in caption.what[0]
    assert "A at" not in caption.what[0]
    assert any("B at (3, 0.5)" in sentence for sentence in caption.sentences)
    assert "Outside" not in " ".join(compile(field(), la.View(overlays=upon[:0])).caption.sentences)


def test_a_network_is_marked_where_its_projection_lies_with_its_distance():
    plane = la.Plane({"w": torch.zeros(3)}, {"x": {"w": torch.eye(3)[0]}, "y": {"w": 2 * torch.eye(3)[1]}})
    (found,) = marks(plane, {"A": {"w": torch.tensor([0.5, 1.0, 0.25])}, "in it": {"w": torch.tensor([1.0, 0.0, 0.0])}})
    assert found.x.tolist() == pytest.approx([0.5, 1.0]) and found.y.tolist() == pytest.approx([0.5, 0.0])
    assert list(found.words) == ["A (0.25 off)", "in it"]
    with pytest.raises(SpecError, match="the plane has 1 axes"):
        marks(la.Plane({"w": torch.zeros(3)}, {"x": {"w": torch.eye(3)[0]}}), {})


def test_networks_and_runs_are_marked_in_one_call():
    _, plane, path = walked()
    found = marks(plane, {"end": path.at(-1), "SGD": path})
    assert [type(one) for one in found] == [Points, Path]
    assert np.allclose(found[1].x[-1], found[0].x[0])


def test_what_is_kept_in_a_run_is_drawn_by_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objective, plane, _ = walked()
    la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 5)), run="run", progress=False)
    clock = {"step": np.array([0.0, 7.0])}
    kept.keep("run", [Path(x=[0, 0.5], y=[0, 0.5], label="the path I kept", words=[(1, "end")], along=clock)])
    done = CliRunner().invoke(atlas, ["draw", "run", "-o", "a.svg", "--mark", "SWA=0.2,-0.4", "--mark", "far=5,0"])
    assert done.exit_code == 0, done.output
    drawn = (tmp_path / "a.svg").read_text()
    assert "the path I kept" in drawn and "Outside the picture: far at (5, 0)" in drawn and "SWA at" not in drawn
    again = la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 5)), run="run", progress=False)
    assert again["loss"].shape == (5, 5)  # and the run goes on as before
    (again,) = kept.kept("run")
    assert again.words[0][1] == "end" and again.along["step"].tolist() == [0.0, 7.0]


def test_a_mark_that_is_none_and_a_damaged_file_are_refused(tmp_path):
    (tmp_path / kept.FILE).write_text(checksum.sealed({"upon": [{"kind": "Regions", "cells": [[0]]}]}))
    with pytest.raises(SpecError, match="kind='Regions'"):
        kept.kept(tmp_path)
    kept.keep(tmp_path, [Points(x=[0.5], y=[0.25])])
    (tmp_path / kept.FILE).write_text((tmp_path / kept.FILE).read_text().replace("0.25", "0.26"))
    with pytest.raises(SpecError, match="checksum"):
        kept.kept(tmp_path)
    with pytest.raises(SpecError, match="kind of overlay to keep"):
        kept.content_of(Regions(cells=np.zeros((2, 2), int)))
    assert (
        "expected NAME=X,Y" in CliRunner().invoke(atlas, ["draw", "x", "-o", "a.png", "--mark", "A=1"]).output or True
    )


def test_several_runs_grow_in_one_film(tmp_path):
    objective, plane, path = walked(runs=2)
    landscape = la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 5)), progress=False)
    losses = path.losses(objective, plane)
    assert len(losses.each) == 2
    film = Grow(path=losses)
    labels = [series.label for series in film._losses(la.View()).panels[0].series]
    assert labels == ["run 1", "run 2"]
    done = animate(landscape, tmp_path / "frames", film, seconds=0.2, rate=10, width=200)
    assert len(list(done.iterdir())) == 2


def test_the_lowest_point_of_a_curve_is_none_of_a_slice():
    points = [{"weight": torch.tensor([[x, y]])} for x, y in ((-1.0, 1.0), (0.0, -1.0), (1.0, 1.0))]
    model, data = torch.nn.Linear(2, 1, bias=False), (torch.eye(2), torch.zeros(2, 1))
    objective = la.Objective(model, data, torch.nn.functional.mse_loss)
    along = la.sample(objective, la.space.curves.Curve(points), la.Grid(x=(0, 1, 9)), progress=False)
    words = lowest(along).words
    assert "slice" not in words and "along this Bézier curve" in words


def test_two_axes_of_one_line_have_two_colours():
    line = la.landscape(x=SIDE, loss=SIDE**2, error=1 - SIDE**2, title="one")
    figure = la.plot(line)
    first, second = figure.axes[:2]
    assert first.lines[0].get_color() != second.lines[0].get_color()
    assert second.yaxis.get_major_ticks()[0].label2.get_color() == second.lines[0].get_color()


def test_an_interpolation_says_from_where_to_where():
    objective, _, path = walked()
    line = la.interpolate(objective, path.at(0), path.at(-1), steps=5, names=("SGD", "Adam"))
    assert la.plot(line).axes[0].get_xlabel() == "SGD → Adam (share of the way)"
    plain = la.interpolate(objective, path.at(0), path.at(-1), steps=5)
    assert la.plot(plain).axes[0].get_xlabel() == "first model → second model"  # without room for more


def test_one_minimum_is_a_sentence_and_no_tree():
    plot = plot_of(la.topology(field()))
    assert [panel.title for panel in plot.panels] == ["Persistence diagram"]
    assert "one basin, and no tree" in " ".join(plot.sentences)


def test_a_map_of_curvature_is_drawn_in_cells():
    objective, plane, _ = walked()
    found = la.curvature_map(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), progress=False)
    assert compile(found, la.View(value="ratio")).kind == "heat"
    assert compile(found, la.View(value="ratio", kind="contour")).kind == "contour"
