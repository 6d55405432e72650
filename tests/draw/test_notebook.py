"""Does a result show itself where it stands: in a cell of a notebook, in a line of a terminal, in an Axes?"""

from __future__ import annotations

import base64
import dataclasses
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image

import lossatlas as la
from lossatlas.connect.connections import note
from lossatlas.curvature.minibatches import batch_eigenvalues
from lossatlas.errors import SpecError
from lossatlas.field.steps import steps_of
from lossatlas.figure.plot import Plot
from lossatlas.figure.stored import Numbers, Section, keep
from lossatlas.flatness import degeneracy
from lossatlas.oneline import one_line
from lossatlas.paths.edge import Edge
from lossatlas.results.dataset import Landscape
from lossatlas.results.landscape import load, save

matplotlib.use("Agg")

LINES, LETTERS = 12, 1000
"""What a result may take in a terminal."""


def bowl(title="bowl"):
    x = np.linspace(-1, 1, 9)
    return la.landscape(x=x, y=x, loss=x[:, None] ** 2 + 2 * x**2, title=title)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """One of every public result, of a small network."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    x = torch.randn(64, 4)
    loss = torch.nn.functional.cross_entropy
    objective = la.Objective(model, (x, (x[:, 0] > 0).long()), loss, metrics={"error": la.metrics.error})
    plane = la.Plane.random(objective, seed=0)
    grid = la.Grid(x=(-1, 1, 7), y=(-1, 1, 7))
    landscape = la.sample(objective, plane, grid, progress=False)
    start = {name: tensor.detach() for name, tensor in model.named_parameters()}
    moved = [{name: t + 0.1 * i + 0.01 * torch.randn_like(t) for name, t in start.items()} for i in range(4)]
    path = la.Trajectory.open(moved)
    runs = [la.seeds(objective, la.Grid(x=(-1, 1, 5)), range(2), by=by) for by in ("filter", "layer")]
    sam = la.sharpness.measure("sam", objective)
    walked = path.plane()
    inputs = la.InputPlane.random(objective)
    edge = Edge(data=(x, (x[:, 0] > 0).long()), loss=loss)
    edge.step(model, 0.1)
    quick = {"chains": 2, "draws": 20, "burn": 5, "progress": False}
    eigen = la.eigenvalues(objective, k=2)
    folder = tmp_path_factory.mktemp("kept")
    la.connect(objective, moved[0], moved[1], run=folder / "ways")
    note(folder / "ways", {"line": "straight line"}, title="Ways", caption=["No curve."])
    keep(folder / "numbers", Numbers(title="Curvature", sections={"ends": Section(about="", plot=eigen.plot())}))
    return {
        "objective": objective,
        "plane": plane,
        "direction": path.directions()["x"],
        "grid": grid,
        "adaptive": la.Adaptive(x=(-1, 1, 31), y=(-1, 1, 31)),
        "trajectory": path,
        "principal": path.principal(),
        "losses": path.losses(objective, walked),
        "projected": path.project(walked),
        "contrast": path.contrast(),
        "topology": la.topology(landscape),
        "eigenvalues": eigen,
        "blocks": la.eigenvalues(objective, by="layer"),
        "batches": batch_eigenvalues(objective, batch_size=16),
        "ways": la.open(folder / "ways"),
        "numbers": la.open(folder / "numbers"),
        "profile": la.sharpness.profile(objective, points=5),
        "quantised": la.quantise(objective, (4, 3), points=3, layers=None, forecast=False),
        "coefficient": la.llc(objective, **quick),
        "scan": degeneracy.scan(objective, vary="gamma", factors=(0.5, 1.0), **quick),
        "volume": degeneracy.local_volume(objective, only="2.bias", directions=5, levels=3, progress=False),
        "edge": edge,
        "masked": la.masked_gradients(objective, inputs, la.sample(objective, inputs, grid), steps=2),
        "steps": steps_of(landscape, "error"),
        "density": la.spectral_density(objective, probes=2, steps=8),
        "trace": la.trace(objective, probes=3),
        "sharpness": sam,
        "table": la.sharpness.table({"a": objective, "b": objective}, ["sam"]),
        "seeds": runs[0],
        "comparison": importlib.import_module("lossatlas.field.uncertainty").compare(*runs),
        "connection": la.connect(objective, moved[0], moved[1]),
        "landscape": landscape,
        "line": la.interpolate(objective, moved[0], moved[1], steps=5),
        "view": la.View(),
        "subset": la.Subset(),
    }


def test_every_result_shows_itself_in_a_few_lines(found):
    datasets = {"landscape", "line"}
    for name, one in found.items():
        text = repr(one)
        assert " at 0x" not in text, name
        assert len(text.splitlines()) <= (40 if name in datasets else LINES), (name, text)
        assert len(text) <= (3000 if name in datasets else LETTERS), (name, len(text))
        assert "\n        " not in text or name in datasets, f"{name} prints an array: {text[:200]}"


def test_what_a_user_asked_for_is_told_whole(found):
    """Eigenvalues are numbers and a comparison is a sentence: neither is cut away for the sake of a short line."""
    eigen = found["eigenvalues"]
    assert all(f"{value:.6g}" in repr(eigen) for value in eigen.values)
    assert repr(found["comparison"].words) in repr(found["comparison"])
    drawn = repr(eigen.plot())
    assert drawn.startswith("Plot('Curvature of Sequential', 1 panel, caption=[") and "Series" not in drawn


def test_what_hangs_on_la_never_shows_an_address():
    own = {name: one for name, one in vars(la).items() if inspect.isclass(one) and not issubclass(one, Exception)}
    assert {"Recorder", "Function", "InputPlane", "Plane"} <= {*own, *la.__all__}
    for name in la.__all__:
        one = getattr(la, name)
        if inspect.isclass(one) and not issubclass(one, Exception):
            assert one.__repr__ is not object.__repr__, name


def test_every_public_dataclass_that_draws_itself_is_told_in_a_line():
    bare = [
        one.__name__
        for one in plotting()
        if dataclasses.is_dataclass(one) and getattr(one.__repr__, "__wrapped__", None) is not None
    ]
    assert not bare, bare


def public_classes():
    for module in pkgutil.walk_packages(la.__path__, "lossatlas."):
        if module.name.startswith(("lossatlas.cli", "lossatlas.evaluate", "lossatlas.__main__", "lossatlas.atlas")):
            continue
        try:
            there = importlib.import_module(module.name)
        except ImportError:
            continue
        for name in getattr(there, "__all__", ()):
            one = getattr(there, name, None)
            if inspect.isclass(one) and one.__module__ == module.name:
                yield one


def public_dataclasses():
    return filter(dataclasses.is_dataclass, public_classes())


def test_no_public_class_prints_what_its_arrays_hold():
    large = re.compile(r"ndarray|Tensor|Dataset|Parameters")
    printing = [
        f"{one.__module__}.{one.__name__}"
        for one in public_dataclasses()
        if any(large.search(str(f.type)) and "Callable" not in str(f.type) and f.repr for f in dataclasses.fields(one))
        and one.__repr__ is not one_line
        and "__repr__" in vars(one)
        and getattr(one.__repr__, "__wrapped__", None) is not None  # what the decorator of dataclasses writes
    ]
    assert not printing, " ".join(printing)


def test_a_line_of_anything_is_short_and_names_what_it_leaves_out():
    @dataclasses.dataclass(frozen=True)
    class Nest:
        inner: object

        __repr__ = one_line

    assert repr(Nest({"a": np.zeros((3, 4)), "b": "x"})) == "Nest(inner={'a': float64 [3, 4], 'b': 'x'})"
    deep = Nest([Nest(torch.zeros(1000)), Nest({"b": [Nest(torch.zeros(1000))]}), "x" * 5000])
    assert "float32 [1000]" in repr(deep) and "{1 entry}" in repr(deep)
    assert len(repr(deep)) < 300
    assert len(repr(Nest(["x" * 80] * 4 + [0]))) < len(repr(Nest(["x" * 80] * 4))) < 700


def plotting():
    """Every public class that finds numbers and draws them itself."""
    for one in public_classes():
        if (
            callable(getattr(one, "plot", None))
            and not issubclass(one, xr.Dataset)
            and not getattr(one, "_is_protocol", False)
        ):
            yield one


def test_every_public_class_with_a_plot_takes_an_axes():
    takes = {one.__name__: inspect.signature(one.plot).parameters.get("ax") for one in plotting()}
    assert {"Eigen", "Density", "Table", "Quantised", "LearningCoefficient", "Edge", "Profile"} <= set(takes)
    assert [name for name, ax in takes.items() if ax is None or ax.default is not None] == []


def test_what_finds_numbers_draws_itself_into_an_axes(found):
    shown = {type(one): one for one in found.values() if type(one) in set(plotting())}
    missing = {one.__name__ for one in plotting()} - {one.__name__ for one in shown} - {"Atlas"}
    assert not missing, "add one of each to found"
    for kind, one in shown.items():
        figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), gridspec_kw={"wspace": 0.4})
        plot = one.plot(ax=left)
        assert isinstance(plot, Plot), kind
        assert left not in figure.axes and right in figure.axes, kind
        drawn = [axes for axes in figure.axes if axes is not right]
        assert drawn and any(axes.lines or axes.patches or axes.collections for axes in drawn), kind
        assert all(axes.get_position().x1 < 0.55 for axes in drawn if axes.figure is figure), kind
        plt.close(figure)
        assert one.plot()._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n", kind


def test_a_comparison_shows_the_mean_of_every_seed(found):
    comparison = found["comparison"]
    means = [run["loss"].values.mean() for run in found["seeds"].runs]
    panel = comparison.plot().panels[0]
    expected = [np.exp(np.log(run["loss"].values).mean()) for run in found["seeds"].runs]
    wanted = means if comparison.scale == "linear" else expected
    assert np.allclose(panel.series[0].y, wanted, rtol=1e-12)
    assert [words for _, words in panel.x_ticks] == list(comparison.titles)


def test_a_landscape_shows_its_picture_in_a_notebook():
    landscape = bowl()
    assert isinstance(landscape, xr.Dataset) and isinstance(landscape, Landscape)
    bundle = landscape._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/png"}
    picture = Image.open(io.BytesIO(bundle["image/png"]))
    assert picture.width > 300
    shown = int(re.search(r"width:(\d+)px", bundle["text/html"])[1])
    assert shown == pytest.approx(96 * picture.width / picture.info["dpi"][0], abs=1), "an inch is 96 CSS pixels"
    inside = re.search(r"base64,([^\"]+)", bundle["text/html"])[1]
    assert base64.b64decode(inside) == bundle["image/png"]
    assert "<details>" in bundle["text/html"]


def test_a_hostile_title_is_text_in_the_cell():
    shown = bowl(title='<script>alert("1")</script>')._repr_html_()
    assert "<script>alert" not in shown


def test_what_cannot_be_drawn_shows_its_numbers_alone():
    point = bowl().sel(x=0.0, y=0.0)
    assert isinstance(point, Landscape)
    assert "<img" not in point._repr_html_() and "loss" in point._repr_html_()
    assert "image/png" not in point._repr_mimebundle_()


def test_what_xarray_makes_of_a_landscape_is_one_again(tmp_path):
    landscape = bowl()
    for one in (landscape.isel(x=slice(2, 6)), landscape.copy(deep=True), landscape.assign_attrs(title="other")):
        assert isinstance(one, Landscape)
    again = load(save(landscape, tmp_path / "a.nc"))
    assert isinstance(again, Landscape) and again.identical(landscape)
    import pickle

    assert isinstance(pickle.loads(pickle.dumps(landscape)), Landscape)


def test_the_accessor_draws_what_the_functions_draw(tmp_path):
    known = bowl()
    plain = xr.Dataset(dict(known.data_vars), coords=dict(known.coords), attrs=known.attrs)
    assert type(plain) is xr.Dataset
    figure = plain.atlas.plot(kind="contour")
    assert isinstance(figure, Figure) and "multiples" in figure.axes[0].get_xlabel()
    drawn = plain.atlas.draw(tmp_path / "a.svg", kind="heat")
    assert drawn.read_bytes() == la.draw(plain, tmp_path / "b.svg", kind="heat").read_bytes()
    page = plain.atlas.report(tmp_path / "a.html", title="A bowl").read_text()
    assert "A bowl" in page and "This slice proves nothing" in page


def test_a_dataset_that_is_no_landscape_says_so():
    with pytest.raises(SpecError, match="not a Landscape: the variable 'status' is missing"):
        _ = xr.Dataset({"a": ("x", [1.0])}).atlas


def test_bars_suit_the_notebook_they_stand_in():
    import tqdm.auto

    for name in ("sampling.loop", "flatness.table", "connect.curve_training", "draw.film", "zoo.train"):
        assert importlib.import_module(f"lossatlas.{name}").tqdm is tqdm.auto.tqdm


def test_a_dataset_has_its_atlas_as_soon_as_lossatlas_is_imported():
    code = "import xarray, lossatlas; assert callable(xarray.Dataset.atlas)"
    subprocess.run([sys.executable, "-c", code], check=True)
