"""Does training by steps come to the same weights every time, and find its own result again?"""

from __future__ import annotations

import pytest
import torch

import lossatlas as la
from lossatlas import RunMismatchError, SpecError
from lossatlas.zoo.fit import STATE, FitRecipe, fit, reached

LOSS = torch.nn.functional.cross_entropy


def trained(folder=None, **options):
    model = la.zoo.model("mlp", seed=0)
    recipe = FitRecipe(**{"steps": 40, "lr": 1e-2, **options})
    return model, fit(model, la.zoo.data("digits"), LOSS, recipe, folder=folder, progress=False)


def test_training_goes_down_and_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    model, losses = trained()
    assert torch.equal(before, torch.get_rng_state())
    assert len(losses) == 40
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert not model.training
    again, repeated = trained()
    assert losses == repeated
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_it_stops_where_the_loss_is_low_enough():
    _, losses = trained(steps=2000, until=1.0, window=5)
    assert 5 <= len(losses) < 500
    assert sum(losses[-5:]) / 5 < 1.0


def test_a_kept_result_is_found_and_another_one_refused(tmp_path):
    model, losses = trained(tmp_path)
    found, kept = trained(tmp_path)
    assert kept == losses
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), found.parameters(), strict=True))
    with pytest.raises(RunMismatchError, match="lr differ"):
        trained(tmp_path, lr=1e-3)
    (tmp_path / STATE).write_bytes(b"none")
    with pytest.raises(SpecError, match="is not the result of a training run"):
        trained(tmp_path)


def test_a_network_that_misses_its_loss_trains_on(tmp_path):
    once = {"steps": 10, "until": 0.5, "window": 5}
    _, short = trained(**once)
    assert len(short) == 10
    assert not reached(short, FitRecipe(**once))
    _, losses = trained(tmp_path, **once, rounds=20)
    assert losses[:10] == short
    assert 10 < len(losses) < 200
    assert reached(losses, FitRecipe(**once, rounds=20))
    assert trained(tmp_path, **once, rounds=20)[1] == losses
    recipe = FitRecipe(**once, rounds=2)
    assert [recipe.lr_at(step) for step in range(10, 20)] == [recipe.lr_at(step) for step in range(10)]
    assert FitRecipe(steps=30, rounds=5).most == 30
