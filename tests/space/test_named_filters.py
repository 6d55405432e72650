"""Is a filter of a named array what the library that named it means?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lossatlas as la
from lossatlas import SpecError
from lossatlas.space.filters.named import by_name


def function(parameters, **options):
    return la.Function(lambda p: 0.0, parameters, **options)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(
    ("name", "shape", "axes"),
    [
        ("params.Conv_0.kernel", (3, 3, 4, 8), (0, 1, 2)),
        ("params.Dense_0.kernel", (4, 8), (0,)),
        ("attention.query.kernel", (8, 2, 4), (0,)),
        ("attention.out.kernel", (2, 4, 8), (0, 1)),
        ("Embed_0.embedding", (10, 4), (1,)),
        ("layers.0.weight", (8, 4), (1,)),
        ("conv.weight", (8, 4, 3, 3), (1, 2, 3)),
        ("haiku.linear.w", (4, 8), (0,)),
    ],
)
def test_every_filter_has_the_norm_of_its_weights(name, shape, axes):
    weights = normal(*shape)
    beside = {"attention.query.kernel": normal(8, 2, 4)} if name.startswith("attention.out") else {}
    made = function({**beside, name: weights}, layout="last")
    direction = la.directions.random(made, seed=0)[name].numpy()
    np.testing.assert_allclose(
        np.linalg.norm(_flat(direction, axes), axis=1), np.linalg.norm(_flat(weights, axes), axis=1)
    )


def _flat(array, inside):
    outer = [axis for axis in range(array.ndim) if axis not in inside]
    return np.transpose(array, (*outer, *inside)).reshape(int(np.prod([array.shape[axis] for axis in outer])), -1)


def test_heads_of_flax_attention_are_scaled_whole():
    shapes = {f"a.{name}.kernel": normal(8, 2, 4) for name in ("query", "key", "value")} | {
        "a.out.kernel": normal(2, 4, 8)
    }
    direction = la.directions.random(function(shapes), seed=0, by="head")
    for name, weights in shapes.items():
        inside = (1, 2) if name == "a.out.kernel" else (0, 2)
        got, wanted = (np.linalg.norm(a, axis=inside) for a in (direction[name].numpy(), weights))
        np.testing.assert_allclose(got, wanted)


def test_biases_norms_and_running_statistics_stand_still():
    made = function(
        {
            "params": {
                "Conv_0": {"kernel": normal(3, 3, 2, 4), "bias": normal(4)},
                "BatchNorm_0": {"scale": normal(4), "bias": normal(4)},
                "query": {"kernel": normal(4, 2, 2), "bias": normal(2, 2)},
            },
            "batch_stats": {"BatchNorm_0": {"mean": normal(4), "var": normal(4)}},
        }
    )
    assert list(la.directions.random(made)) == ["params.Conv_0.kernel", "params.query.kernel"]
    moved = la.directions.random(made, still=("norm",))
    assert list(moved) == ["params.Conv_0.kernel", "params.Conv_0.bias", "params.query.kernel", "params.query.bias"]
    assert not [name for name in la.directions.random(made, still=()) if name.startswith("batch_stats")]
    roles = {name: row.role for name, row in by_name(made.origin).items()}
    reasons = {name: row.reason for name, row in by_name(made.origin).items()}
    assert {name for name, reason in reasons.items() if reason == "running statistics, which never move"} == {
        name for name in reasons if name.startswith("batch_stats.")
    }
    assert roles["params.BatchNorm_0.bias"] == "norm"
    assert roles["params.Conv_0.bias"] == "bias"


@pytest.mark.parametrize("by", ["filter", "unit-filter", "head"])
@pytest.mark.parametrize("stored", [True, False])
def test_nothing_is_guessed_of_a_name_that_says_nothing(by, stored):
    made = function({"w1": normal(4, 8)})
    with pytest.raises(
        SpecError, match=rf"by='{by}': nothing says which axis .* of 'w1', shape \(4, 8\).*layout='last'"
    ):
        la.Plane.random(made, by=by, stored=stored)


@pytest.mark.parametrize("by", ["layer", "weight", "none", "unit-layer"])
def test_what_needs_no_filters_asks_for_none(by):
    assert la.Plane.random(function({"w1": normal(4, 8)}), by=by).axes == ("x", "y")


def test_a_stated_layout_serves_the_arrays_whose_names_say_nothing_and_a_rule_serves_all():
    parameters = {"w": normal(4, 8), "kernel": normal(4, 8), "weight": normal(4, 8)}

    def counts(layout):
        return [
            row.layout.count for row in by_name({n: torch.as_tensor(w) for n, w in parameters.items()}, layout).values()
        ]

    assert counts("first") == [4, 8, 4]
    assert counts("last") == [8, 8, 4]
    assert counts(lambda name, tensor: la.filters.along(tensor, 0, 1, rule="single")) == [32, 32, 32]
    with pytest.raises(SpecError, match=r"layout\('w', …\) returned an int \(1\); expected a lossatlas.filters.Layout"):
        counts(lambda name, tensor: 1)


def test_patterns_name_the_ways_through_the_nesting():
    made = function({"a": {"kernel": normal(4, 8)}, "b": {"kernel": normal(4, 8)}})
    assert list(la.directions.random(made, only="b.*")) == ["b.kernel"]
