"""Does a grid visit every point once, coarse to fine, and refuse what is no grid?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lossatlas as la
from lossatlas import SpecError
from lossatlas.results.spec import Block
from lossatlas.sampling.samplers import coarse_to_fine


def told(indices) -> Block:
    indices = np.array(indices, np.int64)
    return Block(indices=indices, values=np.zeros((len(indices), 1)), status=np.ones(len(indices), np.int8))


shapes = st.lists(st.integers(2, 12), min_size=1, max_size=3).map(tuple)


@given(shapes)
def test_every_point_is_visited_exactly_once(shape):
    assert sorted(coarse_to_fine(shape)) == list(range(math.prod(shape)))


@given(shapes, st.integers(1, 50), st.randoms())
def test_what_was_told_is_not_asked_again(shape, count, random):
    grid = la.Grid(**{axis: (0, 1, n) for axis, n in zip("xyz", shape, strict=False)})
    known = random.sample(range(math.prod(shape)), random.randrange(math.prod(shape)))
    queue, asked = grid.start(told(known)), []
    while len(block := queue.ask(count)):
        assert len(block) <= count
        asked += block.tolist()
    assert sorted(asked + known) == list(range(math.prod(shape)))


def test_the_first_points_are_a_coarse_grid():
    order = coarse_to_fine((9, 9))
    first = sorted(divmod(int(index), 9) for index in order[:9])
    assert first[0] == (0, 0)
    assert {(0, 0), (0, 8), (8, 0), (8, 8)} <= {divmod(int(index), 9) for index in order[:4]}
    assert sorted(divmod(int(i), 9) for i in order[:25]) == [(a, b) for a in range(0, 9, 2) for b in range(0, 9, 2)]


@pytest.mark.parametrize("shape", [(51, 51), (50, 31)])
def test_wherever_a_grid_stops_it_has_looked_everywhere_alike(shape):
    order = np.stack(np.unravel_index(coarse_to_fine(shape), shape), axis=1) / (np.array(shape) - 1)
    for share in (0.1, 0.2, 0.4, 0.6, 0.8):
        seen = order[: int(share * len(order))]
        for low, high in ((0.0, 0.3), (0.35, 0.65), (0.7, 1.0)):
            for axis in (0, 1):
                band = np.mean((seen[:, axis] >= low) & (seen[:, axis] <= high))
                whole = np.mean((order[:, axis] >= low) & (order[:, axis] <= high))
                assert abs(band / whole - 1) < 0.15


def test_the_ends_of_every_axis_come_first():
    order = [np.unravel_index(i, (51, 32)) for i in coarse_to_fine((51, 32))[:4]]
    assert {(int(i), int(j)) for i, j in order} == {(0, 0), (50, 0), (0, 31), (50, 31)}


def test_axes_keep_their_order_bounds_and_an_exact_zero():
    grid = la.Grid(y=(-1.5, 1.5, 31), x=(0, 2, 3))
    assert list(grid.axes) == ["y", "x"]
    assert grid.shape == (31, 3)
    assert 0.0 in grid.axes["y"]
    assert grid.axes["x"].tolist() == [0, 1, 2]
    for points in range(3, 400, 2):
        assert 0.0 in la.Grid(x=(-1, 1, points)).axes["x"]


def test_one_sided_ranges_bounds_of_zero_and_arrays_are_fine():
    assert la.Grid(x=(-1, 0, 5)).axes["x"][-1] == 0
    assert la.Grid(x=(2, 3, 2)).axes["x"].tolist() == [2, 3]
    assert la.Grid(x=np.array([0.0, 0.1, 5.0])).axes["x"].tolist() == [0, 0.1, 5]


BAD = {
    "one point": (dict(x=(-1, 1, 1)), r"x=\(-1, 1, 1\) has 1 point; an axis needs a whole number of at least two"),
    "part of a point": (dict(x=(-1, 1, 2.5)), "a whole number of at least two"),
    "reversed": (dict(x=(1, -1, 5)), r"reversed bounds; the lower one comes first, x=\(-1.0, 1.0, 5\)"),
    "empty range": (dict(x=(1, 1, 5)), "reversed bounds"),
    "nan": (dict(x=(math.nan, 1, 5)), "not finite"),
    "two numbers": (dict(x=(0, 1)), r"expected x=\(low, high, points\)"),
    "text": (dict(x="abc"), r"expected x=\(low, high, points\)"),
    "no axis": ({}, "0 axes; expected one, two or three"),
    "four axes": (dict.fromkeys("abcd", (0, 1, 2)), "4 axes"),
    "array of one": (dict(x=np.array([1.0])), "1 point; an axis needs at least two"),
    "falling array": (dict(x=np.array([1.0, 0.0])), "finite and increasing"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_grids_are_named(case):
    axes, message = BAD[case]
    with pytest.raises(SpecError, match=message):
        la.Grid(**axes)
