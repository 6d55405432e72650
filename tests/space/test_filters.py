"""Is a filter what it should be, for every type of module?"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import SpecError
from lossatlas.space import filters
from lossatlas.space.filters.modules import RULES

CASES = [
    (nn.Conv1d(3, 5, 2), 5),
    (nn.Conv2d(4, 6, 3, groups=2), 6),
    (nn.Conv3d(2, 3, 2), 3),
    (nn.ConvTranspose1d(3, 5, 2), 5),
    (nn.ConvTranspose2d(4, 6, 3, groups=2), 6),
    (nn.ConvTranspose3d(2, 3, 2), 3),
    (nn.Linear(7, 4), 4),
    (nn.Bilinear(2, 3, 4), 4),
    (nn.Embedding(9, 4), 9),
    (nn.EmbeddingBag(9, 4), 9),
]


@pytest.mark.parametrize(("module", "count"), CASES, ids=lambda value: type(value).__name__)
def test_number_of_filters_by_module(module, count):
    row = filters.table(module)["weight"]
    assert row.layout.count == count
    assert row.role == "weight"
    assert not row.default


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_scaling_a_filter_of_a_transposed_convolution_scales_one_output_channel(groups):
    """The definition of a filter, by what it does: no other channel may notice."""
    module = nn.ConvTranspose2d(4, 8, 3, groups=groups, bias=False).double()
    layout = filters.table(module)["weight"].layout
    x = torch.randn(2, 4, 5, 5).double()
    before = module(x)
    for index in range(layout.count):
        group, within = divmod(index, 8 // groups)
        view = module.weight.data.reshape(layout.shape)
        view[group, :, within] *= 3
        changed = (module(x) - before).abs().amax((0, 2, 3)) > 1e-9
        assert changed.nonzero().flatten().tolist() == [index]
        view[group, :, within] /= 3


def test_norms_of_grouped_transposed_filters_by_hand():
    module = nn.ConvTranspose2d(4, 6, 3, groups=2)
    norms = filters.table(module)["weight"].layout.norms(module.weight).flatten()
    expected = [module.weight[2 * g : 2 * g + 2, o].norm() for g in range(2) for o in range(3)]
    torch.testing.assert_close(norms, torch.stack(expected).double(), rtol=1e-6, atol=0)


def test_roles_of_a_network():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(4, 2))
    roles = {name: row.role for name, row in filters.table(model).items()}
    assert roles == {
        "0.weight": "weight", "0.bias": "bias", "1.weight": "norm", "1.bias": "norm",
        "2.weight": "norm", "2.bias": "norm", "4.weight": "weight", "4.bias": "bias",
    }  # fmt: skip


def test_a_class_called_norm_counts_as_one():
    class ToyRMSNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

    assert filters.table(nn.Sequential(ToyRMSNorm()))["0.weight"].role == "norm"


def test_tied_tensors_appear_once_with_their_other_name():
    model = nn.ModuleDict({"embed": nn.Embedding(9, 4), "head": nn.Linear(4, 9, bias=False)})
    model["head"].weight = model["embed"].weight
    table = filters.table(model)
    assert list(table) == ["embed.weight"]
    assert table["embed.weight"].also == ("head.weight",)
    objective = la.Objective(model, [torch.zeros(2, 1)], forward=lambda m, b: (m, b), loss=lambda m, b: b.sum())
    assert list(objective.origin) == ["embed.weight"]
    assert list(la.directions.random(objective, seed=0)) == ["embed.weight"]


def test_a_tied_tensor_moves_once_and_everywhere():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)).double()
    model[1].weight = model[0].weight
    x = torch.randn(4, 3).double()
    objective = la.Objective(model, (x, x), loss=F.mse_loss)
    plane = la.Plane.random(objective, axes=("x",))
    w = model[0].weight.detach() + 0.5 * plane.directions["x"]["0.weight"]
    landscape = la.sample(objective, plane, la.Grid(x=(0, 1, 3)))
    assert float(landscape["loss"].sel(x=0.5)) == pytest.approx(float(F.mse_loss(x @ w.T @ w.T, x)), rel=1e-12)


def test_frozen_tensors_stay():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[0].requires_grad_(False)
    direction = la.directions.random(model, seed=0, still=())
    assert set(direction) == {"1.weight", "1.bias"}
    model.requires_grad_(False)
    with pytest.raises(SpecError, match=r"no tensor of the direction is left to move.*requires_grad_\(True\)"):
        la.directions.random(model, seed=0)


def test_unknown_module_takes_the_stated_default():
    class Custom(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.ones(4, 2, 3))
            self.gain = nn.Parameter(torch.ones(4))

    table = filters.table(Custom())
    assert table["table"].default
    assert table["table"].layout.count == 4
    assert table["gain"].role == "bias"


def test_a_rule_registered_for_a_class_holds_for_its_subclasses():
    class Columns(nn.Linear):
        pass

    class Derived(Columns):
        pass

    filters.register(Columns, lambda module, name, t: filters.Layout(shape=tuple(t.shape), dims=(1,), rule="columns"))
    try:
        assert filters.table(Derived(3, 5))["weight"].layout.count == 3
    finally:
        del RULES[Columns]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_filter_by_filter_a_random_direction_has_the_norm_of_the_weights(data):
    """Against a loop over filters written without the library, on random architectures."""
    layers: list[nn.Module] = []
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from([nn.Conv1d, nn.Conv2d, nn.Linear, nn.Embedding]))
        a, b, k = (data.draw(st.integers(1, 6)) for _ in range(3))
        layers.append(kind(a, b) if kind in (nn.Linear, nn.Embedding) else kind(a, b, k))
    model = nn.Sequential(*layers)
    direction = la.directions.random(model, seed=data.draw(st.integers(0, 2**31)))
    for name, d in direction.items():
        w = model.get_parameter(name).detach()
        for index in range(len(w)):
            assert float(d[index].norm()) == pytest.approx(float(w[index].norm()), rel=1e-6, abs=1e-12)
