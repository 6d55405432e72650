"""Do directions of low rank have the rank and the filters' norms that they say, and do they approach full ones?"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import lossatlas as la
from lossatlas.space.low_rank import factors_of, low_rank


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Embedding(50, 24), nn.Linear(24, 40), nn.LayerNorm(40), nn.Unflatten(-1, (10, 2, 2)), nn.Conv2d(10, 12, 2)
    )


@pytest.mark.parametrize("by", ["filter", "layer", "none"])
def test_every_matrix_has_the_rank_and_every_filter_its_norm(by) -> None:
    model = net()
    direction = low_rank(model, rank=3, seed=1, by=by)
    full = la.directions.random(model, seed=1, by=by)
    assert set(direction) == set(full) == {"0.weight", "1.weight", "4.weight"}
    for name, tensor in direction.items():
        assert torch.linalg.matrix_rank(tensor.flatten(1)) == 3
        pair = direction.factors[name]
        torch.testing.assert_close((pair.left @ pair.right).reshape(tensor.shape), tensor, rtol=1e-4, atol=1e-6)
        weight = dict(model.named_parameters())[name].detach()
        if by == "filter":
            torch.testing.assert_close(tensor.flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1), rtol=1e-4, atol=0)
        if by == "layer":
            torch.testing.assert_close(tensor.norm(), weight.norm(), rtol=1e-4, atol=0)
    assert direction.label == "random direction of rank 3"


def test_a_matrix_thinner_than_the_rank_is_drawn_in_full() -> None:
    direction = low_rank(nn.Linear(2, 30), rank=4)
    assert direction.factors == {}
    assert torch.linalg.matrix_rank(direction["weight"]) == 2


def test_the_same_seed_gives_the_same_direction_and_streams_are_independent() -> None:
    first, again, other = (low_rank(net(), rank=2, stream=stream) for stream in ("x", "x", "y"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    cosine = torch.nn.functional.cosine_similarity(first["1.weight"].flatten(), other["1.weight"].flatten(), dim=0)
    assert abs(float(cosine)) < 0.5


def test_factors_are_found_again_in_stored_tensors() -> None:
    direction = low_rank(net(), rank=3)
    for tensor in direction.values():
        found = factors_of(tensor, 8)
        assert found is not None
        assert found.rank == 3
        torch.testing.assert_close((found.left @ found.right).reshape(tensor.shape), tensor, rtol=1e-3, atol=1e-5)
    assert factors_of(torch.randn(30, 30), 8) is None


def test_bad_ranks_are_refused() -> None:
    with pytest.raises(la.SpecError, match="at least 1"):
        low_rank(net(), rank=0)
    with pytest.raises(la.SpecError, match="destroys the low rank"):
        low_rank(net(), by="weight")


def test_a_plane_written_as_adapters_is_the_same_surface_in_peft(tmp_path) -> None:
    peft = pytest.importorskip("peft")
    from lossatlas.space.adapterfiles import save_adapters

    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(30, 16), nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 30))
    plane = la.Plane.random(model, seed=0, rank=3)
    assert plane.recipe.labels["x"] == "random direction 1 of rank 3"
    save_adapters(plane.directions, model, tmp_path)
    tokens = torch.randint(0, 30, (5, 7))
    adapted = peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path / "x", adapter_name="x")
    adapted.load_adapter(tmp_path / "y", adapter_name="y")
    adapted.add_weighted_adapter(["x", "y"], [0.5, 0.25], "both", combination_type="cat")
    for name, at in (("x", {"x": 1.0}), ("y", {"y": 1.0}), ("both", {"x": 0.5, "y": 0.25})):
        adapted.set_adapter(name)
        with torch.no_grad():
            expected = torch.func.functional_call(model, plane.at(at), (tokens,))
            torch.testing.assert_close(adapted(tokens), expected, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_an_adapter_is_refused(tmp_path) -> None:
    from lossatlas.space.adapterfiles import save_adapters

    with pytest.raises(la.SpecError, match="rank above 8"):
        save_adapters({"x": la.directions.random(nn.Linear(20, 20))}, nn.Linear(20, 20), tmp_path, rank=8)
    with pytest.raises(la.SpecError, match="not a matrix"):
        save_adapters({"x": {"bias": torch.ones(20)}}, nn.Linear(20, 20), tmp_path)
    with pytest.raises(la.SpecError, match="no LoRA layer"):
        lstm = nn.LSTM(20, 20)
        save_adapters({"x": low_rank(lstm, rank=2)}, lstm, tmp_path)
