"""Do coordinates lead where they say, and is the way back their inverse, for directions at any angle?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lossatlas as la
from lossatlas import SpecError
from lossatlas.space.planefile import load_directions, save_directions

numbers = st.floats(-3, 3, allow_nan=False)


def skewed(k: int, seed: int = 0) -> la.Plane:
    """Directions far from orthogonal and of very different lengths."""
    g = torch.Generator().manual_seed(seed)
    origin = {"a": torch.randn(4, 3, generator=g).double(), "b": torch.randn(5, generator=g).double()}
    common = {name: torch.randn(t.shape, generator=g).double() for name, t in origin.items()}
    directions = {
        axis: {n: 10**i * (common[n] + 0.3 * torch.randn(t.shape, generator=g).double()) for n, t in origin.items()}
        for i, axis in zip(range(k), "xyz", strict=False)
    }
    return la.Plane(origin, directions)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.lists(numbers, min_size=3, max_size=3), st.integers(0, 5))
def test_projecting_a_point_of_the_plane_gives_its_coordinates(k, values, seed):
    plane = skewed(k, seed)
    coordinates = dict(zip(plane.axes, values, strict=False))
    found, residual = plane.project(plane.at(coordinates))
    assert found == pytest.approx(coordinates, abs=1e-8)
    # The residual is a share of the distance walked, so a walk of a few roundings has no meaningful one.
    assert residual < 1e-5 or plane.lengths["x"] * max(map(abs, coordinates.values())) < 1e-6


def test_projection_against_least_squares():
    plane = skewed(3)
    target = {name: torch.randn_like(t) for name, t in plane.origin.items()}
    flat = np.concatenate([(target[n] - plane.origin[n]).numpy().ravel() for n in plane.origin])
    basis = np.stack([np.concatenate([d[n].numpy().ravel() for n in plane.origin]) for d in plane.directions.values()])
    solution, *_ = np.linalg.lstsq(basis.T, flat, rcond=None)
    found, residual = plane.project(target)
    assert list(found.values()) == pytest.approx(solution.tolist(), rel=1e-8)
    assert residual == pytest.approx(np.linalg.norm(flat - solution @ basis) / np.linalg.norm(flat), rel=1e-8)


def test_origin_is_at_zero_bit_for_bit_and_is_not_copied_where_it_stays():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    plane = la.Plane.random(model)
    at = plane.at({})
    assert all(torch.equal(at[name], p) for name, p in model.named_parameters())
    assert at["0.bias"].data_ptr() == model[0].bias.data_ptr()
    assert plane.project(model) == ({"x": 0.0, "y": 0.0}, 0.0)


def test_lengths_are_distances_in_parameter_space():
    plane = skewed(2)
    point = plane.at({"x": 2.0})
    gap = sum(float((point[n] - plane.origin[n]).square().sum()) for n in point) ** 0.5
    assert gap == pytest.approx(2 * plane.lengths["x"], rel=1e-12)


def test_short_formats_are_rounded_once():
    origin = {"w": torch.full((1000,), 1.0, dtype=torch.bfloat16)}
    d = {
        axis: {"w": torch.randn(1000, generator=torch.Generator().manual_seed(i)) * 0.01} for i, axis in enumerate("xy")
    }
    plane = la.Plane(origin, d)
    exact = (origin["w"].float() + 0.3 * d["x"]["w"] + 0.7 * d["y"]["w"]).bfloat16()
    assert torch.equal(plane.at({"x": 0.3, "y": 0.7})["w"], exact)


def test_directions_survive_the_way_to_disk(tmp_path):
    model = nn.Linear(3, 4)
    plane = la.Plane.random(model, seed=3)
    back = load_directions(save_directions(plane, tmp_path / "d.safetensors"))
    assert {axis: list(d) for axis, d in back.items()} == {"x": ["weight"], "y": ["weight"]}
    assert torch.equal(back["y"]["weight"], plane.directions["y"]["weight"])


@pytest.mark.parametrize(("stored", "ending"), [(True, ".safetensors"), (False, ".json")])
def test_the_path_that_comes_back_is_that_of_the_file(tmp_path, stored, ending):
    plane = la.Plane.random(nn.Linear(3, 4), seed=3, stored=stored)
    for _ in range(2):  # the second time it is there
        assert save_directions(plane, tmp_path / "d.safetensors") == tmp_path / f"d{ending}"
    assert [entry.name for entry in tmp_path.iterdir()] == [f"d{ending}"]


def test_direction_files_that_are_none_are_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(SpecError, match="no such file"):
        load_directions(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"12345678")
    with pytest.raises(SpecError, match="cannot be read as safetensors"):
        load_directions(tmp_path / "bad")
    save_file({"weight": torch.ones(2)}, tmp_path / "weights")
    with pytest.raises(SpecError, match="'weight' is not a direction; expected names like"):
        load_directions(tmp_path / "weights")


ORIGIN = {"w": torch.ones(3)}
X = {"w": torch.tensor([1.0, 0, 0])}
BAD = {
    "none": ({}, "0 axes; expected one, two or three"),
    "four": (dict.fromkeys("abcd", X), "4 axes"),
    "axis name": ({"loss": X}, "'loss' cannot name an axis"),
    "zero": ({"x": {"w": torch.zeros(3)}}, r"directions\['x'\] has norm zero"),
    "parallel": ({"x": X, "y": {"w": -2 * X["w"]}}, "parallel"),
    "shape": ({"x": {"w": torch.ones(2)}}, r"direction\['w'\] has shape \(2,\)"),
    "stranger": ({"x": {"v": torch.ones(2)}}, "'v', which the origin lacks"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_planes_are_named(case):
    directions, message = BAD[case]
    with pytest.raises(SpecError, match=message):
        la.Plane(ORIGIN, directions)


def test_bad_points_are_named():
    plane = la.Plane(ORIGIN, {"x": X})
    with pytest.raises(SpecError, match="no axis 'z'; it has"):
        plane.at({"z": 1.0})
    with pytest.raises(SpecError, match=r"first 'w': got \(2,\), expected \(3,\)"):
        plane.project({"w": torch.ones(2)})
