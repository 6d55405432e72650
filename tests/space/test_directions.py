"""Are directions random, independent, reproducible, rightly normalised, and refused where they make no sense?"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import lossatlas as la
from lossatlas import SpecError
from lossatlas.space.directions import orthogonal
from lossatlas.space.parameters import dot, norm


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))


def cosine(a, b) -> float:
    return dot(a, b) / norm(a) / norm(b)


def test_same_seed_same_numbers_and_another_seed_others():
    model = net()
    a, b, c = (la.directions.random(model, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert abs(cosine(a, c)) < 0.1


def test_directions_do_not_touch_the_global_random_state():
    before = torch.get_rng_state()
    la.Plane.random(net(), seed=1, orthogonal=True)
    torch.manual_seed(0)
    expected = torch.get_rng_state()
    torch.set_rng_state(before)
    la.directions.random(net(), seed=1)  # net() itself seeds with 0 and then draws
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), expected)


def test_a_tensors_numbers_depend_on_its_name_alone():
    w, v = torch.ones(3, 4), torch.ones(5, 6)
    both, reversed_, alone = ({"w": w, "v": v}, {"v": v, "w": w}, {"w": w})
    numbers = [la.directions.random(origin, seed=0)["w"] for origin in (both, reversed_, alone)]
    assert torch.equal(numbers[0], numbers[1])
    assert torch.equal(numbers[0], numbers[2])


def test_raw_directions_are_gaussian_with_mean_zero():
    """A direction from U[0, 1] has mean 1/2 and nearly all its length in one direction."""
    d = la.directions.random({"w": torch.ones(300, 300)}, seed=0, by="none")["w"]
    n = d.numel()
    assert abs(float(d.mean())) < 4 / math.sqrt(n)
    assert abs(float(d.var()) - 1) < 4 * math.sqrt(2 / n)
    assert abs(float((d**4).mean()) - 3) < 4 * math.sqrt(96 / n)


def test_two_axes_are_independent_and_their_cosine_is_recorded():
    plane = la.Plane.random(net(), seed=0)
    expected = cosine(plane.directions["x"], plane.directions["y"])
    assert plane.cosines == {"x,y": pytest.approx(expected, abs=1e-12)}
    assert abs(expected) < 0.1


def test_orthogonal_directions_keep_the_norm_of_every_filter():
    model = net()
    plane = la.Plane.random(model, seed=0, axes=("x", "y", "z"), orthogonal=True)
    assert all(abs(value) < 1e-6 for value in plane.cosines.values())
    for direction in plane.directions.values():
        for name, d in direction.items():
            torch.testing.assert_close(d.flatten(1).norm(dim=1), model.get_parameter(name).flatten(1).norm(dim=1))


def test_orthogonal_is_refused_where_filters_are_single_weights():
    """With signs alone left to choose, three weights give inner products of 1 or 3, never 0."""
    origin = {"w": torch.ones(3, 1)}
    with pytest.raises(SpecError, match="the filters are too small"):
        orthogonal({"w": torch.tensor([[1.0], [1.0], [-1.0]])}, {"w": torch.ones(3, 1)}, origin)


def test_every_way_to_normalise_by_hand():
    w = torch.tensor([[3.0, 4.0], [0.6, 0.8]])
    d = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    expected = {
        "filter": [[5, 0], [0, 1]],
        "layer": (d * w.norm() / d.norm()).tolist(),
        "weight": [[3, 0], [0, 1.6]],
        "none": d.tolist(),
        "unit-filter": [[1, 0], [0, 1]],
        "unit-layer": (d / d.norm()).tolist(),
    }
    for by, values in expected.items():
        torch.testing.assert_close(la.normalize({"w": d}, {"w": w}, by=by)["w"], torch.tensor(values, dtype=w.dtype))


@pytest.mark.parametrize("by", ["filter", "layer", "unit-filter", "unit-layer"])
def test_the_length_of_a_direction_does_not_matter_after_normalising(by):
    model = net()
    raw = la.directions.random(model, seed=0, by="none")
    scaled = {name: 7 * d for name, d in raw.items()}
    a, b = la.normalize(raw, model, by=by), la.normalize(scaled, model, by=by)
    assert all(torch.allclose(a[name], b[name], rtol=1e-5) for name in a)


def test_biases_and_norms_are_still_unless_asked_to_move():
    model = net()
    assert set(la.directions.random(model, seed=0)) == {"0.weight", "4.weight"}
    assert set(la.directions.random(model, seed=0, still=("norm",))) == {"0.weight", "0.bias", "4.weight", "4.bias"}
    assert set(la.directions.random(model, seed=0, still=())) == {name for name, _ in model.named_parameters()}
    vectors = la.directions.random(model, seed=0, still=())
    assert float(vectors["4.bias"].norm()) == pytest.approx(float(model[4].bias.norm()), rel=1e-6)


def test_dead_filters_do_not_move_and_make_no_nan():
    direction = la.directions.random({"w": torch.tensor([[0.0, 0.0], [3.0, 4.0]])}, seed=0)["w"]
    assert direction[0].tolist() == [0, 0]
    assert float(direction[1].norm()) == pytest.approx(5)


def test_towards_reaches_the_other_model_biases_included():
    a, b = net(), net()
    for p in b.parameters():
        p.data.add_(torch.randn_like(p))
    plane = la.Plane.towards(a, b)
    for name, tensor in plane.at({"x": 1.0}).items():
        torch.testing.assert_close(tensor, b.get_parameter(name).detach())
    assert all(torch.equal(t, a.get_parameter(name)) for name, t in plane.at({"x": 0.0}).items())
    state = la.directions.towards(a, b.state_dict())
    assert set(state) == {name for name, _ in a.named_parameters()}


BAD = {
    "unknown by": (lambda: la.directions.random(net(), seed=0, by="row"), "choose one of: filter, layer, weight, none"),
    "unknown role": (lambda: la.directions.random(net(), seed=0, still=("conv",)), "still='conv' is unknown; choose"),
    "still as text": (lambda: la.directions.random(net(), seed=0, still="bias"), r"expected a tuple of roles"),
    "all still": (lambda: la.directions.random(net(), seed=0, still=("bias", "norm", "weight")), "left to move"),
    "zero": (lambda: la.normalize({"w": torch.zeros(2, 2)}, {"w": torch.ones(2, 2)}), "norm zero"),
    "nan": (lambda: la.normalize({"w": torch.full((2, 2), torch.nan)}, {"w": torch.ones(2, 2)}), "not finite"),
    "shape": (lambda: la.normalize({"w": torch.ones(2, 3)}, {"w": torch.ones(2, 2)}), r"shape \(2, 3\); the origin"),
    "name": (lambda: la.normalize({"v": torch.ones(2, 2)}, {"w": torch.ones(2, 2)}), "'v', which the origin lacks"),
    "not of the origin, to be turned": (
        lambda: orthogonal({"w": torch.ones(2, 3)}, {"w": torch.ones(2, 2)}, {"w": torch.ones(2, 2)}),
        r"shape \(2, 3\); the origin",
    ),
    "not of the origin, to turn from": (
        lambda: orthogonal({"w": torch.ones(2, 2)}, {"w": torch.ones(2, 3)}, {"w": torch.ones(2, 2)}),
        r"shape \(2, 3\); the origin",
    ),
    "same model": (lambda: la.directions.towards(net(), net()), "the same weights as the origin"),
    "other model": (lambda: la.directions.towards(net(), nn.Linear(2, 2)), "6 of 6 tensors missing"),
    "other shape": (
        lambda: la.directions.towards({"w": torch.ones(2)}, {"w": torch.ones(3)}),
        r"1 of 1 tensors has another shape, first 'w': got \(3,\), expected \(2,\)",
    ),
    "origin": (lambda: la.directions.random(3, seed=0), "origin is an int"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    call, message = BAD[case]
    with pytest.raises(SpecError, match=message):
        call()
