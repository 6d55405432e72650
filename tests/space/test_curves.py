"""Are curves where their points say, and their coordinate the share of their length?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import lossatlas as la
from lossatlas.space.curvefile import load_curve
from lossatlas.space.curves import Curve


def points(*rows: tuple[float, ...]) -> list[dict[str, torch.Tensor]]:
    return [{"a": torch.tensor(row[:1], dtype=torch.float64), "b": torch.tensor(row[1:]).double()} for row in rows]


def flat(point: dict[str, torch.Tensor]) -> np.ndarray:
    return torch.cat([point["a"], point["b"]]).numpy()


ROWS = [(0.0, 0.0, 1.0), (3.0, 1.0, -1.0), (1.0, 4.0, 2.0), (5.0, 5.0, 0.0)]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_bezier_curve_is_that_of_de_casteljau(count):
    curve = Curve(points(*ROWS[:count]), "bezier")
    for t in (0.0, 0.2, 0.5, 0.9, 1.0):
        level = [np.array(row) for row in ROWS[:count]]
        while len(level) > 1:
            level = [(1 - t) * p + t * q for p, q in itertools.pairwise(level)]
        np.testing.assert_allclose(flat(curve.point(t)), level[0], atol=1e-12)


def test_a_chain_of_lines_passes_through_its_points_and_nowhere_else():
    curve = Curve(points(*ROWS), "polygon")
    for k, row in enumerate(ROWS):
        np.testing.assert_allclose(flat(curve.point(k / 3)), row, atol=1e-12)
    np.testing.assert_allclose(flat(curve.point(0.5)), (np.array(ROWS[1]) + ROWS[2]) / 2, atol=1e-12)
    expected = sum(np.linalg.norm(np.subtract(p, q)) for p, q in itertools.pairwise(ROWS))
    assert curve.length == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["bezier", "polygon"])
def test_the_coordinate_is_the_share_of_the_length(kind):
    curve = Curve(points(*ROWS), kind)
    way = np.array([flat(curve.at({"x": share})) for share in np.linspace(0, 1, 4001)])
    steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    assert steps.sum() == pytest.approx(curve.length, rel=1e-3)  # a corner is cut between two points
    corners = 0 if kind == "bezier" else 4
    assert np.sort(np.abs(steps / steps.mean() - 1))[: -corners or None].max() < 5e-3
    assert curve.times([0, 1]).tolist() == [0, 1]


def test_a_file_that_holds_no_curve_says_what_is_missing(tmp_path):
    weights = {name: tensor.contiguous() for name, tensor in points(ROWS[0])[0].items()}
    for name, metadata, missing in (("kind", None, "'kind'"), ("point", {"kind": "polygon"}, "point 1")):
        numbers = (0, 2) if name == "point" else (0, 1)
        held = {f"{number}/{key}": tensor.clone() for number in numbers for key, tensor in weights.items()}
        save_file(held, tmp_path / f"{name}.safetensors", metadata)
        with pytest.raises(la.SpecError, match=f"holds no curve: {missing} is missing"):
            load_curve(tmp_path / f"{name}.safetensors")


def test_bad_curves_are_named():
    with pytest.raises(la.SpecError, match="choose one of: bezier, polygon"):
        Curve(points(*ROWS), "spline")
    with pytest.raises(la.SpecError, match="1 given"):
        Curve(points(ROWS[0]))
    with pytest.raises(la.SpecError, match="all the same"):
        Curve(points(ROWS[0], ROWS[0]))
    with pytest.raises(la.SpecError, match="another shape"):
        Curve([*points(ROWS[0]), {"a": torch.zeros(1), "b": torch.zeros(3)}])
    with pytest.raises(la.SpecError, match="only the axis 'x'"):
        Curve(points(*ROWS)).at({"y": 0.5})
