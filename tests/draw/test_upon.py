"""Is what lies upon a surface on every picture of it: maps, meshes, films, folders, and in words where it lies outside?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib.text import Text
from mpl_toolkits.mplot3d.proj3d import proj_transform

import lossatlas as la
from lossatlas import checksum
from lossatlas.cli import atlas
from lossatlas.draw import compile, mesh, mesh_overlays
from lossatlas.draw.film import Grow, _losses, animate
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
        assert found.n_lines == 1 and found.n_verts == 3  # the ends of the path, and the point
        assert set(np.unique(found.point_data["overlay"])) == {0, 1, 2, 3}
        assert list(found.field_data["overlays"]) == ["run", "run, first, run, last", "A"]
    else:
        trimesh = pytest.importorskip("trimesh")
        assert {"valley", "run", "A"} <= set(trimesh.load(file).geometry)


BENT = Path(x=[-0.8, 0.2, 0.6, 0.6], y=[0.4, 0.4, -0.2, -0.2], label="run", arrows=[0, 1, 3], words=[(1, "lr ÷ 10")])


def test_the_head_of_an_arrow_ends_at_its_point_and_comes_along_the_path():
    heads = BENT.heads
    assert heads[:, 1].tolist() == [[0.2, 0.4], [0.6, -0.2]]  # none at the first point, which has no way before it
    ways = heads[:, 1] - heads[:, 0]
    assert np.allclose(ways[0] / np.linalg.norm(ways[0]), [1, 0])
    assert np.allclose(ways[1] / np.linalg.norm(ways[1]), np.array([0.4, -0.6]) / np.hypot(0.4, 0.6))
    assert Path(x=[1, 1], y=[0, 0], arrows=[1]).heads.shape == (0, 2, 2)
    with pytest.raises(SpecError, match="arrows must be at points 0 to 3"):
        Path(x=BENT.x, y=BENT.y, arrows=[4])


def test_arrows_are_drawn_on_maps_and_reliefs_where_the_path_goes():
    chart = la.plot(field(), overlays=[BENT], kind="contour")
    axes = chart.axes[0]
    drawn = [patch for patch in axes.patches if patch.get_gid() == "arrow"]
    assert [tuple(patch._posA_posB[1]) for patch in drawn] == [(0.2, 0.4), (0.6, -0.2)]
    relief = la.plot(field(), overlays=[BENT], kind="surface", clip=None, scale="linear")
    relief.draw_without_rendering()
    axes = next(axes for axes in relief.axes if axes.name == "3d")
    upon = [patch for patch in axes.patches if patch.get_gid() == "arrow"]
    tips = np.array([patch._posA_posB[1] for patch in upon])
    for x, y in ((0.2, 0.4), (0.6, -0.2)):
        at = np.array(proj_transform(x, y, 4 * x**2 + y**2, axes.get_proj())[:2])
        assert np.linalg.norm(tips - at, axis=1).min() < 1e-3  # the field is linear between its points
    assert len(upon) == 4  # and on the map below


@pytest.mark.parametrize("suffix", [".glb", ".vtp"])
def test_arrows_and_named_places_of_a_path_are_in_a_mesh(tmp_path, suffix):
    file = la.draw(field(), tmp_path / f"a{suffix}", overlays=[BENT], clip=None, scale="linear")
    by = mesh.factors(compile(field(), la.View(overlays=[BENT], clip=None, scale="linear")))
    tip = np.array([0.2 * by[0], 0.4 * by[1]])
    if suffix == ".vtp":
        found = pytest.importorskip("pyvista").read(file)
        assert list(found.field_data["overlays"])[1:] == [
            "run, first, run, last, lr \\xf7 10",
            "run, arrow, run, arrow",
        ]
        places = found.points[found.point_data["overlay"] == 3]
        assert len(places) == 6  # two outlines of three places
        assert np.linalg.norm(places[:, :2] - tip, axis=1).min() < 1e-3
    else:
        shapes = pytest.importorskip("trimesh").load(file).geometry
        assert {"run", "run, first", "run, last", "lr ÷ 10", "run, arrow"} <= set(shapes)
        cone = shapes["run, arrow"]
        assert cone.is_watertight and cone.volume > 0
        assert np.linalg.norm(cone.vertices[:, [0, 2]] - tip * [1, -1], axis=1).min() < 1e-3


def test_where_the_rate_fell_the_path_of_a_training_has_an_arrow():
    objective, plane, path = walked()
    for checkpoint, rate in zip(path.checkpoints, (0.1, 0.1, 0.01, 0.01), strict=True):
        object.__setattr__(checkpoint, "lr", rate)
    (drawn,) = path.losses(objective, plane).overlays()
    assert list(drawn.arrows) == [2] and drawn.note.endswith("Arrows: the learning rate falls.")


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
    with pytest.raises(SpecError, match="the plane has 1 axis;"):
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
    assert "expected NAME=X,Y" in CliRunner().invoke(atlas, ["draw", "x", "-o", "a.png", "--mark", "A=1"]).output


def test_several_runs_grow_in_one_film(tmp_path):
    objective, plane, path = walked(runs=2)
    landscape = la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 5)), progress=False)
    losses = path.losses(objective, plane)
    assert len(losses.each) == 2
    film = Grow(path=losses)
    labels = [series.label for series in _losses(film.paths, la.View()).panels[0].series]
    assert labels == ["training path, run 1", "training path, run 2"]  # as in the key of the map beside it
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
    assert la.plot(line).axes[0].get_xlabel() == "SGD → Adam (fraction of the way)"
    x, y = (la.landscape(x=SIDE, y=SIDE, loss=np.add.outer(SIDE, SIDE)), line)
    x["x"].attrs["long_name"] = y["x"].attrs["long_name"]
    assert la.plot(x).axes[0].get_xlabel() == "x (fraction of the way)"  # on a map the way is in the caption
    plain = la.interpolate(objective, path.at(0), path.at(-1), steps=5)
    assert la.plot(plain).axes[0].get_xlabel() == "first model → second model"  # without room for more


def test_one_minimum_is_a_sentence_and_no_tree():
    plot = plot_of(la.topology(field()))
    assert [panel.title for panel in plot.panels] == ["Persistence diagram"]
    assert "there is no tree of basins" in " ".join(plot.sentences)


def test_a_map_of_curvature_is_drawn_in_cells():
    objective, plane, _ = walked()
    found = la.curvature_map(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), progress=False)
    assert compile(found, la.View(value="ratio")).kind == "heat"
    assert compile(found, la.View(value="ratio", kind="contour")).kind == "contour"


def names_on(figure):
    """The words beside places, with their boxes, and the boxes of all other words."""
    figure.draw_without_rendering()
    every = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    named = {text.get_text(): text.get_window_extent() for text in every if text.get_gid() == "name"}
    return named, [text.get_window_extent() for text in every if text.get_gid() != "name"]


@pytest.mark.parametrize("kind", ["filled", "surface"])
def test_names_stand_on_reliefs_as_on_maps_and_touch_nothing(kind):
    crowd = {f"client {number} (0.3 off)": (0.02 * number, -0.02 * number) for number in range(4)}
    x, y = np.array(list(crowd.values())).T
    figure = la.plot(field(), kind=kind, width="text", overlays=[Points(x=x, y=y, words=list(crowd))])
    named, others = names_on(figure)
    assert set(named) == set(crowd)
    boxes = list(named.values())
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in (*boxes[index + 1 :], *others))


def test_a_name_stays_beside_its_place_when_the_relief_turns():
    figure = la.plot(field(), kind="surface", overlays=[Points(x=[0.8], y=[0.0], words=["here"])])
    axes = next(axes for axes in figure.axes if axes.name == "3d")
    for azimuth in (0, 90, 200):
        axes.view_init(40, azimuth)
        (box,) = names_on(figure)[0].values()
        x, y, _ = proj_transform(0.8, 0.0, 4 * 0.64, axes.get_proj())
        place = axes.transData.transform((x, y))
        gap = np.array([box.x0 - place[0], place[0] - box.x1, box.y0 - place[1], place[1] - box.y1]).max()
        assert 0 < gap < 20


WINDING = {
    "diagonal": [(-0.8, -0.8), (0.8, 0.8)],
    "turning back": [(0.8, 0.7), (-0.5, -0.6), (0.6, 0.9), (-0.6, -0.3)],
    "upright": [(0.0, 0.8), (0.0, -0.8)],
    "level": [(-0.9, 0.0), (0.0, 0.02), (0.9, 0.0)],
    "zigzag": [(x, 0.5 * (-1) ** i) for i, x in enumerate(np.linspace(-0.9, 0.9, 16))],
}


@pytest.mark.parametrize("kind", ["filled", "heat", "surface"])
@pytest.mark.parametrize("shape", WINDING)
def test_the_words_of_a_path_do_not_lie_on_it_or_stand_in_the_caption(shape, kind):
    x, y = map(list, zip(*WINDING[shape], strict=True))
    last = len(x) - 1
    words = [(0, "step 0"), (last // 2, "halfway"), (last, f"step {last}")]
    figure = la.plot(field(), kind=kind, overlays=[Path(x=x, y=y, words=words)])
    figure.draw_without_rendering()
    axes = next(
        one for one in figure.axes if any(text.get_gid() == "name" for text in one.texts) or one is figure.axes[0]
    )
    names = [text for text in axes.texts if text.get_gid() == "name"]
    caption = " ".join(text.get_text() for text in figure.texts)
    for _, word in words:
        assert (word in [text.get_text() for text in names]) != (word in caption), word
    if kind == "surface":
        return  # where the path runs on the page is known to the drawing alone
    way = axes.transData.transform(
        np.column_stack([np.interp(np.linspace(0, last, 2000), range(last + 1), z) for z in (x, y)])
    )
    for text in names:
        box = Text.get_window_extent(text)
        inside = (box.x0 < way[:, 0]) & (way[:, 0] < box.x1) & (box.y0 < way[:, 1]) & (way[:, 1] < box.y1)
        assert not inside.any(), (text.get_text(), shape)


@pytest.mark.parametrize("kind", ["filled", "surface"])
def test_paths_that_begin_at_one_place_name_it_once(kind):
    ends = ([0.5, 0.1], [0.4, -0.6], [-0.3, 0.5], [-0.5, -0.4], [0.6, 0.5])
    paths = [Path(x=[0.0, x], y=[0.0, y], words=[(0, "epoch 0"), (1, f"run {at}")]) for at, (x, y) in enumerate(ends)]
    figure = la.plot(field(), kind=kind, overlays=paths)
    names = [text.get_text() for axes in figure.axes for text in axes.texts if text.get_gid() == "name"]
    assert names.count("epoch 0") == 1
    assert "epoch 0" not in " ".join(text.get_text() for text in figure.texts)


def test_words_for_which_there_is_no_room_are_named_in_the_caption():
    turns = np.linspace(0, 14 * np.pi, 400)
    spiral = Path(
        x=0.9 * np.cos(turns) * turns / turns[-1], y=0.9 * np.sin(turns) * turns / turns[-1], words=[(0, "the start")]
    )
    figure = la.plot(field(), kind="filled", overlays=[spiral])
    assert not [text for axes in figure.axes for text in axes.texts if text.get_gid() == "name"]
    assert "no room to label: the start" in " ".join(text.get_text() for text in figure.texts)
    whole = la.plot(field(), kind="filled", overlays=[spiral], caption="full")
    assert "No room to label: the start." in " ".join(text.get_text() for text in whole.texts).replace("\n", " ")


def test_a_name_without_room_on_the_right_stands_on_another_side():
    figure = la.plot(field(), kind="filled", overlays=[Points(x=[0.99], y=[0.99], words=["in the corner"])])
    (box,) = names_on(figure)[0].values()
    frame = figure.axes[0].bbox
    assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and box.y1 <= frame.y1


NET = """
import torch
def model():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)
def data():
    return torch.randn(16, 3, generator=torch.Generator().manual_seed(1)), torch.arange(16) % 2
"""


def test_sample_marks_checkpoints_and_places_and_keeps_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    namespace = {}
    exec(NET, namespace)
    other = namespace["model"]()
    with torch.no_grad():
        other.weight += 0.3
    torch.save(other.state_dict(), "epoch=3.ckpt")
    command = ["sample", "--model", "net.py:model", "--data", "net.py:data", "--run", "run", "--out", "a.png"]
    command += ["--x", "-1", "1", "5", "--y", "-1", "1", "5", "--mark", "SWA=epoch=3.ckpt", "--mark", "here=0.5,-0.25"]
    done = CliRunner().invoke(atlas, command)
    assert done.exit_code == 0, done.output
    by_place, by_network = kept.kept("run")
    assert (list(by_place.words), by_place.x.tolist(), by_place.y.tolist()) == (["here"], [0.5], [-0.25])
    objective = la.Objective(namespace["model"](), namespace["data"](), torch.nn.functional.cross_entropy)
    (expected,) = marks(la.Plane.random(objective, seed=0), {"SWA": other})
    assert by_network.words == list(expected.words) and "off)" in by_network.words[0]
    assert np.allclose([by_network.x, by_network.y], [expected.x, expected.y])
    assert "marked: here at (0.5, −0.25)" in done.output
    told = CliRunner().invoke(atlas, [*command, "--print-python"])
    program = {}
    exec(told.output.replace("'run'", "'again'"), program)
    assert [list(one.words) for one in program["upon"]] == [["here"], list(expected.words)]
    written = CliRunner().invoke(atlas, [*command, "--print-config"]).output
    (tmp_path / "scan.toml").write_text(written.replace('"run"', '"third"'))
    assert CliRunner().invoke(atlas, ["sample", "--config", "scan.toml"]).exit_code == 0
    assert len(kept.kept("third")) == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--mark", "A=b.pt"], "there is no file b.pt"),
        (["--mark", "=0.1,0.2"], "with a name and two finite coordinates"),
        (["--mark", "A"], "expected NAME=X,Y or NAME=FILE"),
        (["--mark", "A=0.1,nan"], "finite"),
        (["--mark", "A=0.1,0.2", "--mark", "A=0.3,0.4"], "--mark 'A' is given 2 times"),
        (["--mark", "A=0,0", "--x", "-1", "1", "5"], "one plane with two axes"),
        (["--mark", "A=0,0", "--seeds", "3"], "one plane with two axes"),
    ],
)
def test_a_mark_that_cannot_be_drawn_is_refused_before_the_run(flags, said):
    done = CliRunner().invoke(atlas, ["sample", "--model", "zoo:mlp", "--data", "zoo:digits", *flags])
    assert done.exit_code != 0
    assert said in done.output
