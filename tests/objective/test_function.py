"""Is a function of arrays called with what it was given, moved; and is what it gives read as it is?"""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch

import lossatlas as la
from lossatlas import SpecError
from lossatlas.objective.trees import Tree

Pair = namedtuple("Pair", ["w", "b"])


def norm(p):
    return sum(float((np.asarray(a) ** 2).sum()) for a in p.values())


def test_a_tree_keeps_its_containers_its_kinds_of_array_and_what_does_not_move():
    given = {
        "layers": [Pair(np.ones((2, 3), np.float32), torch.zeros(3)), (2.5, None)],
        "more": OrderedDict(steps=7, name="a", mask=np.array([True]), z=np.array([1j])),
    }
    tree = Tree(given)
    assert list(tree.tensors) == ["layers.0.w", "layers.0.b", "layers.1.0", "more.z"]
    back = tree.joined(tree.tensors)
    assert type(back["layers"][0]) is Pair
    assert type(back["more"]) is OrderedDict
    assert back["layers"][1] == (2.5, None)
    assert type(back["layers"][1][0]) is np.float64
    assert isinstance(back["layers"][0].w, np.ndarray)
    assert back["layers"][0].w.dtype == np.float32
    assert isinstance(back["layers"][0].b, torch.Tensor)
    assert back["more"]["mask"] is given["more"]["mask"]
    assert back["more"]["z"].dtype == np.complex128


def test_a_function_may_write_into_what_it_gets():
    mine = {"w": np.array([3.0, 4.0]), "b": np.array([1.0])}

    def loss(p):
        p["w"] *= p["w"]
        p["b"] += 1
        return p["w"].sum() + p["b"].sum()

    function = la.Function(loss, mine)
    assert function() == function() == {"loss": 27.0}
    plane = la.Plane(function, {"x": {"w": np.ones(2)}})
    landscape = la.sample(function, plane, la.Grid(x=(0, 1, 2)))
    assert landscape["loss"].values.tolist() == [27.0, 43.0]
    assert (mine["w"].tolist(), mine["b"].tolist()) == ([3.0, 4.0], [1.0])


def test_arrays_that_change_afterwards_do_not_move_the_origin():
    mine = {"w": np.array([3.0, 4.0])}
    function = la.Function(norm, mine)
    mine["w"][:] = 0
    assert function() == {"loss": 25.0}


def test_parameters_may_be_an_array_by_itself_and_strange_byte_orders_and_strides():
    function = la.Function(lambda w: float(w @ w), np.arange(6, dtype=">f8")[::-2])
    assert function() == {"loss": 35.0}
    assert list(function.origin) == ["parameters"]
    plane = la.Plane(function, {"x": np.array([1.0, 0.0, 0.0])})
    assert la.sample(function, plane, la.Grid(x=(0, 1, 2)))["loss"].values.tolist() == [35.0, 46.0]


def test_points_are_given_nested_or_by_name_and_part_of_them_suffices():
    function = la.Function(lambda p: p["a"]["w"].sum() + 10 * p["b"].sum(), {"a": {"w": np.ones(2)}, "b": np.ones(1)})
    assert function()["loss"] == 12.0
    assert function({"a": {"w": np.zeros(2)}})["loss"] == 10.0
    assert function({"a.w": torch.zeros(2)})["loss"] == 10.0
    assert function({"b": np.zeros(1)})["loss"] == 2.0
    with pytest.raises(SpecError, match=r"params has 'c', which the parameters lack; they have \['a.w', 'b'\]"):
        function({"c": np.zeros(1)})
    with pytest.raises(SpecError, match=r"params\['b'\] has shape \(3,\); expected shape \(1,\)"):
        function({"b": np.zeros(3)})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "loss returned a NoneType for 'loss'; expected a number"),
        ("0.5", "loss returned a str .* expected a number"),
        (np.zeros(10), r"an array of shape \(10,\) for 'loss'; expected a number: take the mean"),
        (1j, "expected a number .*complex128"),
        ({"error": 1.0}, r"numbers by name, \['error'\]; expected one called 'loss'"),
        (object(), "expected a number"),
        ([1.0, 2.0], "expected a number"),
    ],
)
def test_a_value_that_is_no_number_is_refused(value, message):
    with pytest.raises(SpecError, match=message):
        la.Function(lambda p: value, {"w": np.ones(2)})()


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2.0), np.array([2.0]), torch.tensor(2.0)])
def test_a_value_may_be_any_kind_of_number(value):
    assert la.Function(lambda p: value, {"w": np.ones(2)})() == {"loss": 2.0}


@pytest.mark.parametrize("given", [[2.0, 3.0], (2, 3), np.array([2.0, 3.0]), torch.tensor([2.0, 3.0])])
def test_many_points_have_their_values_in_a_list_or_an_array(given):
    function = la.Function(lambda points: given, {"w": np.ones(2)}, calls="many")
    assert function.values([function.origin] * 2).tolist() == [[2.0], [3.0]]


def test_values_by_name_may_come_point_by_point_or_name_by_name():
    rows = la.Function(lambda points: [{"acc": 1, "loss": 2}] * len(points), {"w": np.ones(2)}, calls="many")
    columns = la.Function(lambda points: {"acc": [1], "loss": [2]}, {"w": np.ones(2)}, calls="many")
    assert rows() == columns() == {"loss": 2.0, "acc": 1.0}
    assert rows.names == ("loss", "acc")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": 5}, r"loss is an int \(5\); expected a function of the parameters"),
        ({"parameters": 5}, "parameters has no array of real or complex numbers"),
        ({"parameters": {}}, "parameters has no array"),
        ({"parameters": {"w": np.array([1, 2])}}, "parameters has no array"),
        ({"parameters": {"w": object()}}, r"parameters\['w'\] is an object; expected arrays by name"),
        ({"parameters": {"w": np.ones(2, np.longdouble)}}, r"parameters\['w'\] is of type float128; expected one of"),
        ({"parameters": torch.nn.Linear(2, 2)}, "parameters is a Linear; a torch module is measured by la.Objective"),
        ({"parameters": {"a": {"b": np.ones(1)}, "a.b": np.ones(1)}}, "two arrays are called 'a.b'"),
        ({"calls": "two"}, "calls='two' is unknown; choose one of: one, many, vmap"),
        ({"layout": "rows"}, "layout='rows' is unknown; choose one of: auto, first, last, or give a rule"),
        ({"layout": 5}, "layout=5 is unknown"),
        ({"at_once": 0}, "at_once=0; expected a whole number of at least 1"),
        ({"at_once": "a"}, "at_once='a'; expected a whole number"),
        ({"samples": -1}, "samples=-1; expected a whole number of at least 0"),
        ({"name": 5}, r"name is an int \(5\); expected a text"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(options, message):
    with pytest.raises(SpecError, match=message):
        la.Function(**{"loss": norm, "parameters": {"w": np.ones(2)}, **options})
