"""Are barriers what their definition says, and do trained curves go round them?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.connect import connections, curve_training
from lossatlas.connect.barriers import barrier, height
from lossatlas.connect.curve import Training
from lossatlas.field.ways import MISFIT
from lossatlas.figure.words import number
from lossatlas.results.landscape import Axis, build
from lossatlas.space.curvefile import load_curve


class Place(nn.Module):
    """A point of the plane, whose loss is a function of it: a landscape with a known answer."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([float(x), float(y)]))

    def forward(self, scale: torch.Tensor) -> torch.Tensor:
        return self.at.expand(len(scale), 2) * scale[:, None]


def ring(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A circular valley of radius 1: a barrier of height 1 on the line through its middle."""
    return (outputs.square().sum(dim=1) - 1) ** 2


def valley() -> tuple[la.Objective, Place, Place]:
    a, b = Place(-1, 0), Place(1, 0.001)
    data = [(torch.ones(3), torch.zeros(3)), (torch.ones(1), torch.zeros(1))]
    return la.Objective(a, data, ring), a, b


def test_the_height_is_that_above_the_line_between_the_ends():
    x = np.linspace(0, 1, 9)
    landscape = build({"x": Axis(coordinates=x, length=1.0)}, {"loss": 2 * x + 8 * x * (1 - x)})
    found = height(landscape)
    assert (found.height, found.at, found.ends) == (2.0, 0.5, (0.0, 2.0))
    assert found.above_mean == pytest.approx(np.max(2 * x + 8 * x * (1 - x)) - 1)
    assert found.grid_error == 0
    coarse = height(
        build({"x": Axis(coordinates=x[[0, 3, 6, 8]], length=1.0)}, {"loss": (8 * x * (1 - x))[[0, 3, 6, 8]]})
    )
    assert coarse.height + coarse.grid_error == pytest.approx(2)
    bowl = build({"x": Axis(coordinates=x, length=1.0)}, {"loss": (x - 0.5) ** 2})
    assert height(bowl).height == 0
    said = "no barrier, at no point above the straight line between the losses of the ends; ends 0.25 and 0.25"
    assert height(bowl).words == said
    assert found.words == "barrier 2 at 0.5 of the path; ends 0 and 2"
    assert f"of the path, perhaps {number(coarse.grid_error, 2)} higher between the points" in coarse.words


def test_a_barrier_on_a_known_valley():
    objective, a, b = valley()
    found, way = barrier(objective, a, b, steps=11)
    assert found.height == pytest.approx(1, abs=1e-3)
    assert found.at == 0.5
    assert found.standard_error == pytest.approx(0, abs=1e-6)
    assert found.samples == 4
    assert way["loss"].dims == ("x",)


def test_the_error_of_a_barrier_is_that_of_its_samples():
    a, b = Place(-1, 0), Place(1, 0)
    scales = torch.linspace(0.5, 1.5, 150)
    objective = la.Objective(a, (scales, torch.zeros(150)), ring)
    found, _ = barrier(objective, a, b, steps=5)
    own = (1 - ((scales**2 - 1) ** 2)).double().numpy()  # at the middle the loss is 1, at the ends that of the scale
    assert found.height == pytest.approx(own.mean(), rel=1e-5)
    assert found.standard_error == pytest.approx(own.std(ddof=1) / np.sqrt(150), rel=1e-4)
    total = la.Objective(a, (scales, torch.zeros(150)), lambda o, t: ring(o, t).mean() ** 0.5)
    assert np.isnan(barrier(total, a, b, steps=5)[0].standard_error)


@pytest.mark.parametrize(("kind", "bends"), [("bezier", 1), ("polygon", 1), ("bezier", 3)])
def test_a_trained_curve_goes_round_the_hill(kind, bends):
    objective, a, b = valley()
    before = a.at.detach().clone()
    found = la.connect(objective, a, b, kind=kind, bends=bends, steps=31, training=Training(epochs=400, lr=0.05))
    assert found.line_barrier.height == pytest.approx(1, abs=1e-2)
    assert found.barrier.height < 0.35
    assert found.curve.length > 2.2
    assert torch.equal(a.at, before)
    assert float(found.landscape["loss"][0]) == pytest.approx(0, abs=1e-6)
    assert found.losses[-1] < found.losses[0]
    way = [found.curve.at({"x": share})["at"] for share in (0, 1)]
    torch.testing.assert_close(torch.stack(way), torch.stack([a.at, b.at]).detach())
    again = la.connect(objective, a, b, kind=kind, bends=bends, steps=31, training=Training(epochs=400, lr=0.05))
    np.testing.assert_array_equal(again.landscape["loss"].values, found.landscape["loss"].values)
    assert "Straight line: barrier" in found.words


def test_the_plane_through_both_networks_and_the_bend_shows_the_curve(tmp_path):
    objective, a, b = valley()
    found = la.connect(objective, a, b, steps=11, training=Training(epochs=200))
    plane = found.plane()
    assert plane.project(b).coordinates == pytest.approx({"x": 1, "y": 0}, abs=1e-6)
    assert abs(plane.cosines["x,y"]) < 1e-6
    assert plane.lengths["x"] == pytest.approx(plane.lengths["y"], rel=1e-5)
    curve, _ = found.overlay()
    for t, x, y in zip(np.linspace(0, 1, 41), curve.x, curve.y):
        torch.testing.assert_close(plane.at({"x": x, "y": y})["at"], found.curve.point(t)["at"], atol=1e-5, rtol=0)
    assert curve.note == ""
    line = la.Plane(objective, {"x": {"at": torch.tensor([1.0, 0.5])}, "y": {"at": torch.tensor([0.0, 2.0])}})
    skewed, ends = found.overlay(line)
    torch.testing.assert_close(line.at({"x": skewed.x[20], "y": skewed.y[20]})["at"], found.curve.point(0.5)["at"])
    torch.testing.assert_close(line.at({"x": ends.x[1], "y": ends.y[1]})["at"], b.at.detach())
    bounds = found.bounds(7)
    assert bounds["x"][0] < min(curve.x) <= max(curve.x) < bounds["x"][1]
    landscape = la.sample(objective, plane, la.Grid(**bounds))
    la.draw(landscape, tmp_path / "plane.png", overlays=found.overlay())
    la.draw(found, tmp_path / "ways.svg")
    assert "straight line" in (tmp_path / "ways.svg").read_text()


def small(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).eval()


def test_statistics_along_the_curve_are_a_stated_choice():
    torch.manual_seed(0)
    data = torch.randn(40, 4) * 3 + 1, torch.randint(3, (40,))
    a, b = small(0), small(1)
    quick = Training(epochs=2)
    with pytest.warns(UserWarning, match="batchnorm='recalibrated'"):
        frozen = la.connect(la.Objective(a, data, F.cross_entropy), a, b, steps=3, training=quick)
    again = la.connect(la.Objective(a, data, F.cross_entropy, batchnorm="recalibrated"), a, b, steps=3, training=quick)
    mixed = la.connect(la.Objective(a, data, F.cross_entropy, batchnorm="interpolated"), a, b, steps=3, training=quick)
    assert [one.batchnorm for one in (frozen, again, mixed)] == ["frozen", "recalibrated", "interpolated"]
    for one, words in ((frozen, "frozen at one network's statistics"), (again, "recalibrated")):
        assert one.plot().caption[0].endswith(f" BatchNorm {words}.")
        assert (one.plot().caption[-1] == MISFIT) == (one is frozen)
    # At the second network's end: frozen has the first one's statistics, interpolated its own, recalibrated the data's.
    b.train()
    with torch.no_grad():
        expected = float(F.cross_entropy(b(data[0]), data[1]))
    b.eval()
    assert float(again.landscape["loss"][-1]) == pytest.approx(expected, rel=0.02)  # variance over n - 1
    b.load_state_dict(small(1).state_dict())
    with torch.no_grad():
        own = float(F.cross_entropy(b(data[0]), data[1]))
    assert float(mixed.landscape["loss"][-1]) == pytest.approx(own, rel=1e-5)
    assert again.landscape.attrs["batchnorm"] == "recalibrated"


def test_ways_are_drawn_on_the_scale_that_is_asked_for():
    axis = Axis(coordinates=np.linspace(0, 1, 5), length=1.0)
    ways = {
        "line": build({"x": axis}, {"loss": np.array([1, 9, 99, 9, 1.0]), "error": np.array([0, 0.1, 0.2, 0.1, 0])})
    }
    told = {"title": "t", "caption": ("first", "last")}
    for scale, drawn in (("auto", "linear"), ("linear", "linear"), ("log", "log")):
        plot = connections.plot(ways, **told, scale=scale)
        assert (plot.panels[0].y_scale, plot.caption) == (drawn, ("first", "last"))
    plot = connections.plot(ways, **told, scale="log", value="error")
    assert plot.panels[0].y_scale == "symlog"
    assert plot.caption == (
        "first", "Symmetric logarithmic scale: values at or below zero have no logarithm.", "last"
    )  # fmt: skip
    with pytest.raises(la.SpecError, match="scale='cubic' is unknown; choose one of: auto, linear, log"):
        connections.plot(ways, **told, scale="cubic")


def test_frozen_tensors_are_not_trained():
    objective, a, b = valley()
    a.at.requires_grad_(False)
    net, other = nn.Sequential(a, nn.Linear(2, 2)), nn.Sequential(b, nn.Linear(2, 2))
    objective = la.Objective(net, (torch.ones(4), torch.zeros(4)), ring)
    found = la.connect(objective, net, other, steps=3, training=Training(epochs=3))
    torch.testing.assert_close(found.curve.points[1]["0.at"], (a.at + b.at).detach() / 2)
    assert not torch.equal(found.curve.points[1]["1.weight"], (net[1].weight + other[1].weight).detach() / 2)


def test_bad_connections_are_named():
    objective, a, b = valley()
    with pytest.raises(la.SpecError, match="bends=0"):
        la.connect(objective, a, b, bends=0)
    with pytest.raises(la.SpecError, match="steps=2"):
        la.connect(objective, a, b, steps=2)
    with pytest.raises(la.SpecError, match="choose one of: bezier, polygon"):
        la.connect(objective, a, b, kind="spline")
    with pytest.raises(la.SpecError, match="all the same: there is no path between them"):
        la.connect(objective, a, a)
    with pytest.raises(la.SpecError, match="the same weights"):
        barrier(objective, a, a)
    with pytest.raises(la.SpecError, match="another architecture: 1 tensor missing, first 'at'"):
        la.connect(objective, a, nn.Linear(2, 1))
    with pytest.raises(la.SpecError, match="diverged in epoch"):
        la.connect(objective, a, b, training=Training(epochs=30, lr=1e4))
    broken = {name: tensor * torch.nan for name, tensor in b.state_dict().items()}
    with pytest.raises(la.SpecError, match="weights that are not finite"):
        la.connect(objective, a, broken, training=Training(epochs=1))
    x, y = next(iter(objective.batches))
    nowhere = la.Objective(objective.model, (x * torch.nan, y), objective.loss)
    with pytest.raises(la.SpecError, match="loss of the first network is nan already"):
        la.connect(nowhere, a, b, training=Training(epochs=1))
    with pytest.raises(la.SpecError, match="epochs=-1"):
        Training(epochs=-1)
    axis = Axis(coordinates=np.linspace(0, 1, 3), length=1.0)
    with pytest.raises(la.SpecError, match="1 of 3 points is not finite"):
        height(build({"x": axis}, {"loss": np.array([0, np.nan, 0])}))
    with pytest.raises(la.SpecError, match="along one"):
        height(build({"x": axis, "y": axis}, {"loss": np.zeros((3, 3))}))
    far = Axis(coordinates=np.linspace(-1, 2, 3), length=1.0)
    with pytest.raises(la.SpecError, match="does not run from 0 to 1"):
        height(build({"x": far}, {"loss": np.zeros(3)}))


def shuffled() -> tuple[la.Objective, nn.Module, nn.Module]:
    """Data that is read anew at each pass, in another order each time."""
    torch.manual_seed(0)
    rows = torch.utils.data.TensorDataset(torch.randn(24, 4).double(), torch.randint(3, (24,)))
    loader = torch.utils.data.DataLoader(rows, batch_size=8, shuffle=True, generator=torch.Generator())
    a, b = (nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double() for _ in range(2))
    return la.Objective(a, loader, F.cross_entropy, memory=0), a, b


@pytest.mark.parametrize("make", [valley, shuffled])
def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path, monkeypatch, make):
    objective, a, b = make()
    recipe = Training(epochs=8, lr=0.05)
    whole = la.connect(objective, a, b, bends=2, steps=5, training=recipe)
    monkeypatch.setattr(curve_training, "SECONDS", -1.0)
    epoch = curve_training._State.epoch

    def stop_at_five(self, number):
        if number == 5:
            raise KeyboardInterrupt
        return epoch(self, number)

    monkeypatch.setattr(curve_training._State, "epoch", stop_at_five)
    with pytest.raises(KeyboardInterrupt):
        la.connect(objective, a, b, bends=2, steps=5, training=recipe, run=tmp_path / "ways")
    seen = []
    monkeypatch.setattr(curve_training._State, "epoch", lambda self, n: (seen.append(n), epoch(self, n))[1])
    resumed = la.connect(objective, a, b, bends=2, steps=5, training=recipe, run=tmp_path / "ways")
    assert seen == [5, 6, 7]
    np.testing.assert_array_equal(resumed.losses, whole.losses)
    np.testing.assert_array_equal(resumed.landscape["loss"], whole.landscape["loss"])
    again = la.connect(objective, a, b, bends=2, steps=5, training=recipe, run=tmp_path / "ways")
    assert seen == [5, 6, 7]
    np.testing.assert_array_equal(again.losses, whole.losses)
    kept = load_curve(tmp_path / "ways" / "curve" / "curve.safetensors")
    for name, tensor in whole.curve.points[1].items():
        assert torch.equal(kept.points[1][name], tensor)
    np.testing.assert_array_equal(la.open(tmp_path / "ways" / "line")["loss"], whole.line["loss"])
    with pytest.raises(la.RunMismatchError, match="ways/curve has 5 points along x, and steps=7 asks for 7"):
        la.connect(objective, a, b, bends=2, steps=7, training=recipe, run=tmp_path / "ways")
    with pytest.raises(la.RunMismatchError, match="training lr is 0.05 there and 0.1 here"):
        la.connect(objective, a, b, bends=2, training=Training(epochs=8, lr=0.1), run=tmp_path / "ways")
    with pytest.raises(la.SpecError, match="choose another folder"):
        la.connect(objective, a, b, training=recipe, run=tmp_path / "ways" / "line")
