"""Does only what a pattern names move, and is all before it computed once?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import SpecError
from lossatlas.evaluate.graph.run import Graphs
from lossatlas.evaluate.plans import Plan
from lossatlas.space import filters


def resnet():
    return la.zoo.model("resnet", depth=20, width=4, channels=1, seed=0).eval()


def digits(count=24):
    x, y = la.zoo.data("digits")
    return x[:count], y[:count]


def objective(model=None, **options):
    return la.Objective(model or resnet(), digits(), loss=F.cross_entropy, **options)


def test_only_what_the_pattern_names_moves_and_by_the_same_numbers():
    everything = la.directions.random(resnet(), seed=4)
    part = la.directions.random(resnet(), seed=4, only="layer3.*")
    assert part
    assert set(part) == {name for name in everything if name.startswith("layer3.")}
    assert all(torch.equal(part[name], everything[name]) for name in part)


def test_several_patterns_add_up_and_orthogonal_planes_keep_to_them():
    plane = la.Plane.random(objective(), only=("layer1.0.*", "linear.*"), orthogonal=True)
    assert set(plane.moving) == {"layer1.0.conv1.weight", "layer1.0.conv2.weight", "linear.weight"}
    assert abs(plane.cosines["x,y"]) < 1e-6
    assert plane.recipe.labels["x"] == "random direction 1 of layer1.0.*, linear.*"


def test_a_tied_tensor_is_named_by_each_of_its_names():
    model = nn.ModuleDict({"embed": nn.Embedding(9, 4), "head": nn.Linear(4, 9, bias=False)})
    model["head"].weight = model["embed"].weight
    assert list(la.directions.random(model, seed=0, only="head.*")) == ["embed.weight"]


def test_a_pattern_that_fits_nothing_lists_names():
    with pytest.raises(
        SpecError, match=r"only='layer9\.\*' matches none of the 65 tensors, such as layer\d.*lossatlas explain"
    ):
        la.directions.random(resnet(), seed=0, only="layer9.*")
    with pytest.raises(SpecError, match="no tensor of the direction is left to move"):
        la.directions.random(resnet(), seed=0, only="*.bn1.*")
    assert filters.matching(filters.table(resnet()), "linear.?ias") == ["linear.bias"]


@pytest.mark.parametrize("by", ["filter", "head", "layer"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_recipe_makes_the_same_tensors_by_head_and_of_a_part(by, fused):
    model = la.zoo.model("vit", seed=0, fused=fused)
    options = {"seed": 2, "by": by, "only": "layers.*"}
    stored, made = la.directions.random(model, **options), la.directions.Seeded(model, **options)
    assert list(stored) == list(made)
    for name, tensor in stored.items():
        torch.testing.assert_close(made[name], tensor)
    assert "only layers.*" in made.identity


def convolutions(way):
    return sum("conv" in str(node.target) for node in way._staged.after.graph.nodes if node.op == "call_function")


@pytest.mark.parametrize(("only", "left"), [((), 21), ("layer3.*", 7), ("layer3.2.conv2.*", 1), ("linear.*", 0)])
def test_everything_before_the_first_moved_layer_is_computed_once(only, left):
    """Counted in the graph that runs at every point: of 21 convolutions, two in shortcuts, those from there on.

    The first moved layer itself may be mixed from stored outputs, so the count is a bound from above.
    """
    goal = objective()
    plane = la.Plane.random(goal, only=only)
    way = Graphs(goal, plane).way(Plan(name="graph"))
    try:
        assert convolutions(way) <= left
        points = np.array([[0.0, 0.0], [0.5, -0.5]])
        values = way.values(points)
    finally:
        way.close()
    expected = [list(goal(plane.at(dict(zip("xy", point)))).values()) for point in points]
    np.testing.assert_allclose(values, expected, rtol=2e-5)


def test_only_that_part_of_the_surface_is_that_of_the_plane_by_hand():
    goal = objective()
    plane = la.Plane.random(goal, only="linear.*")
    landscape = la.sample(goal, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
    model = resnet()
    with torch.no_grad():
        model.linear.weight += plane.directions["x"]["linear.weight"] - plane.directions["y"]["linear.weight"]
        x, y = digits()
        expected = F.cross_entropy(model(x), y)
    assert float(landscape["loss"].sel(x=1, y=-1)) == pytest.approx(float(expected), rel=1e-5)
