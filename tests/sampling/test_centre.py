"""Is the centre, whose value is known before a plan is chosen, the first point, under every plan and after every end?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.evaluate import choice
from lossatlas.results.landscape import structured
from lossatlas.results.store import MemoryRun
from lossatlas.sampling import run as sampling


class StoppedError(Exception):
    """An end at a chosen moment."""


def net() -> la.Objective:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)
    )
    data = torch.randn(60, 3, 6, 6), torch.randint(3, (60,))
    return la.Objective(model, data, F.cross_entropy, metrics={"accuracy": la.objective.metrics.accuracy})


GRID = {"x": (-1, 1, 5), "y": (-1, 1, 3)}


def asked(objective: la.Objective, **more):
    return la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(**GRID), progress=False, **more)


def ending(monkeypatch, where: str) -> None:
    """Let a run end when it comes to a place."""

    def end(*_: object, **__: object) -> None:
        raise StoppedError

    monkeypatch.setattr(sampling, where, end)


@pytest.mark.parametrize("plan", ["auto", "fused", "graph"])
def test_the_centre_is_kept_before_a_plan_is_chosen_and_is_no_plan_s(plan, monkeypatch):
    monkeypatch.setattr(choice, "LAYOUT_SECONDS", 0.0)
    objective, order = net(), []
    commit, choose = MemoryRun.commit, sampling.choose
    monkeypatch.setattr(MemoryRun, "commit", lambda run, block: (order.append(block), commit(run, block))[1])
    monkeypatch.setattr(sampling, "choose", lambda *a, **k: (order.append("choice"), choose(*a, **k))[1])
    found = asked(objective, plan=plan)
    assert order[1] == "choice"
    assert order[0].indices.tolist() == [7]
    assert found["loss"].sel(x=0, y=0) == objective()["loss"]
    assert found["accuracy"].sel(x=0, y=0) == objective()["accuracy"]
    assert sorted(np.concatenate([block.indices for block in order if block != "choice"])) == list(range(15))


def test_a_run_that_ended_before_it_had_a_plan_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "LAYOUT_SECONDS", 0.0)
    whole = asked(net(), run=tmp_path / "whole")
    with monkeypatch.context() as patch:
        ending(patch, "choose")
        with pytest.raises(StoppedError):
            asked(net(), run=tmp_path / "broken")
    begun = la.open(tmp_path / "broken")
    assert int(np.isfinite(begun["loss"]).sum()) == 1
    broken = asked(net(), run=tmp_path / "broken")
    np.testing.assert_array_equal(whole["loss"], broken["loss"])
    assert structured(whole, "evaluation")["plan"]["name"] == "fused"
    assert structured(broken, "evaluation")["plan"]["name"] == "fused"


def test_a_run_of_which_only_the_centre_is_kept_is_not_gone_on_with_by_another_function(tmp_path, monkeypatch):
    factor = torch.tensor(1.0)

    def scaled(outputs, targets):
        return factor.clone() * F.cross_entropy(outputs, targets)

    objective = net()
    objective.loss = scaled
    with monkeypatch.context() as patch:
        ending(patch, "choose")
        with pytest.raises(StoppedError):
            asked(objective, run=tmp_path / "run")
    with monkeypatch.context() as patch:  # the same question, as far as it can be told beforehand
        patch.setattr("lossatlas.results.spec.RunSpec.differences", lambda *_: [])
        factor.mul_(1.5)
        with pytest.raises(la.RunMismatchError, match="another function"):
            asked(objective, run=tmp_path / "run")


@pytest.mark.parametrize("what", ["no such cell", "a shorter format", "standard errors", "in place"])
def test_where_the_run_has_no_such_value_the_plan_gives_it(what, monkeypatch):
    blocks, commit = [], MemoryRun.commit
    monkeypatch.setattr(MemoryRun, "commit", lambda run, block: (blocks.append(block), commit(run, block))[1])
    objective = net()
    axes = {"x": np.array([0.5, 1.0, 2.0])} if what == "no such cell" else {"x": (-1, 1, 3)}
    more = {"a shorter format": {"precision": "bf16"}, "standard errors": {"standard_error": True}}.get(what, {})
    plane = la.Plane.random(objective, seed=0, axes=("x",), stored=False)
    if what == "in place":
        objective = la.Objective(objective.model, objective.batches.source, F.cross_entropy, in_place=True)
        plane = la.Plane.random(objective, seed=0, axes=("x",), stored=False)
    found = la.sample(objective, plane, la.Grid(**axes), progress=False, block=3, **more)
    assert [len(block.indices) for block in blocks] == [3]
    assert np.isfinite(found["loss"]).all()


def test_the_cell_of_the_centre():
    objective = net()
    blocks = []
    with pytest.MonkeyPatch.context() as patch:
        real = sampling.stated
        patch.setattr(sampling, "stated", lambda spec, *more: (blocks.append(spec.centre_cell), real(spec, *more))[1])
        asked(objective)
        la.sample(objective, la.Plane.random(objective, seed=0, axes=("x",)), la.Grid(x=(0.5, 1, 3)), progress=False)
    assert blocks == [7, None]
