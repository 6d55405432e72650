"""Do jobs that cannot talk to each other give the run that one job gives, whichever ends, dies or comes again?"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.results import store
from lossatlas.results.folders import EVALUATION
from lossatlas.results.merge import merge
from lossatlas.results.reading import progress
from lossatlas.results.shards import Shard
from lossatlas.results.store import RunFolder


def small() -> la.Objective:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    return la.Objective(net, (torch.randn(30, 4).double(), torch.randint(3, (30,))), F.cross_entropy)


def asked() -> tuple:
    objective = small()
    return objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 7), y=(-1, 1, 6))


def test_shards_make_the_run_that_one_job_makes_bit_for_bit(tmp_path):
    whole = la.sample(*asked(), run=tmp_path / "one")
    for number in (2, 1, 3):
        part = la.sample(*asked(), run=tmp_path / "many", shard=f"{number}/3")
        if number == 2:
            assert int((part["status"] == 1).sum()) == 14
            assert progress(tmp_path / "many").done == 14
            assert la.open(tmp_path / "many").identical(part)
    assert part["loss"].values.tobytes() == whole["loss"].values.tobytes()
    assert la.open(tmp_path / "many")["loss"].values.tobytes() == whole["loss"].values.tobytes()
    assert part.attrs["evaluation"] == la.open(tmp_path / "many").attrs["evaluation"]
    assert "rounding" in part.attrs["evaluation"]
    assert merge(tmp_path / "many").whole
    again = la.sample(*asked(), run=tmp_path / "many")
    assert again["loss"].values.tobytes() == whole["loss"].values.tobytes()


def test_a_shard_that_died_is_finished_by_running_it_again(tmp_path, monkeypatch):
    whole = la.sample(*asked())
    commit, count = RunFolder.commit, []

    def dies(self, block):
        commit(self, block)
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "commit", dies)
    with pytest.raises(KeyboardInterrupt):
        la.sample(*asked(), run=tmp_path / "run", shard=(1, 2), block=4)
    monkeypatch.undo()
    la.sample(*asked(), run=tmp_path / "run", shard=(2, 2))
    found = merge(tmp_path / "run")
    assert (found.done, found.total, found.whole) == (29, 42, False)
    assert found.shards == {"1/2": 8, "2/2": 21}
    seen, measure = [], la.Objective.measure
    monkeypatch.setattr(la.Objective, "measure", lambda self, *a, **k: seen.append(1) or measure(self, *a, **k))
    last = la.sample(*asked(), run=tmp_path / "run", shard=(1, 2))
    assert len(seen) < 42
    assert last["loss"].values.tobytes() == whole["loss"].values.tobytes()


def test_one_job_goes_on_where_shards_were(tmp_path, monkeypatch):
    la.sample(*asked(), run=tmp_path / "run", shard="1/3")
    asked_for, submit = [], la.sampling.executors._SerialSession.submit
    monkeypatch.setattr(
        la.sampling.executors._SerialSession,
        "submit",
        lambda self, coordinates: asked_for.append(len(coordinates)) or submit(self, coordinates),
    )
    found = la.sample(*asked(), run=tmp_path / "run")
    assert sum(asked_for) == 28
    assert int((found["status"] == 1).sum()) == 42


def test_a_shard_that_died_before_it_had_a_plan_hides_no_points_of_those_after_it(tmp_path, monkeypatch):
    la.sample(*asked(), run=tmp_path / "run", shard="2/2")
    monkeypatch.setattr(RunFolder, "note_evaluation", lambda self, evaluation: _dies_at(EVALUATION, ""))
    with pytest.raises(KeyboardInterrupt):
        la.sample(*asked(), run=tmp_path / "run", shard="1/2")
    monkeypatch.undo()
    asked_for, submit = [], la.sampling.executors._SerialSession.submit
    monkeypatch.setattr(
        la.sampling.executors._SerialSession,
        "submit",
        lambda self, coordinates: asked_for.append(len(coordinates)) or submit(self, coordinates),
    )
    la.sample(*asked(), run=tmp_path / "run")
    assert sum(asked_for) == 21


@pytest.mark.parametrize("moment", ["before the plan is noted", "between its two copies"])
@pytest.mark.parametrize("then", [{"shard": "2/2"}, {}])
def test_a_shard_that_died_while_its_plan_was_noted_is_gone_on_with(moment, then, tmp_path, monkeypatch):
    whole = la.sample(*asked())
    la.sample(*asked(), run=tmp_path / "run", shard="1/2")
    if moment.startswith("before"):
        monkeypatch.setattr(RunFolder, "note_evaluation", lambda self, evaluation: _dies_at(EVALUATION, ""))
    else:
        monkeypatch.setattr(store, "_write_durably", _dies_at)
    with pytest.raises(KeyboardInterrupt):
        la.sample(*asked(), run=tmp_path / "run", shard="2/2")
    monkeypatch.undo()
    found = la.sample(*asked(), run=tmp_path / "run", **then)
    assert found["loss"].values.tobytes() == whole["loss"].values.tobytes()
    assert found.attrs["evaluation"] == la.open(tmp_path / "run").attrs["evaluation"]


def _dies_at(path, text, write=store._write_durably) -> None:
    if Path(path).name == EVALUATION:
        raise KeyboardInterrupt
    write(path, text)


def test_a_shard_of_another_run_or_plan_is_refused(tmp_path):
    objective, plane, grid = asked()
    la.sample(objective, plane, grid, run=tmp_path / "run", shard="1/2", plan="plain")
    other = la.Plane.random(objective, seed=1)
    la.sample(objective, other, grid, run=tmp_path / "other", shard="2/2")
    shutil.copytree(tmp_path / "other" / "shards" / "2-of-2", tmp_path / "run" / "shards" / "2-of-2")
    with pytest.raises(la.RunMismatchError, match="2-of-2 belongs to another run"):
        la.open(tmp_path / "run")
    with pytest.raises(la.RunMismatchError, match="2-of-2 belongs to another run"):
        merge(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "shards" / "2-of-2")
    with pytest.raises(la.RunMismatchError, match="by the plan 'graph.*rerun that shard"):
        la.sample(objective, plane, grid, run=tmp_path / "run", shard="2/2", plan="graph")


@pytest.mark.parametrize("given", ["3", "0/2", "3/2", "a/b", 4, (1,), "1/0"])
def test_a_share_that_is_none_says_how_it_is_written(given, tmp_path):
    with pytest.raises(la.SpecError, match="expected"):
        la.sample(*asked(), run=tmp_path / "run", shard=given)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_shared_out_is_refused_at_once(tmp_path):
    objective, plane, grid = asked()
    with pytest.raises(la.SpecError, match="needs run="):
        la.sample(objective, plane, grid, shard="1/2")
    adaptive = la.Adaptive(x=(-1, 1, 11), y=(-1, 1, 11))
    with pytest.raises(la.SpecError, match="only a Grid"):
        la.sample(objective, plane, adaptive, run=tmp_path / "run", shard="1/2")
    with pytest.raises(la.SpecError, match="another plan for each shard"):
        la.sample(objective, plane, grid, run=tmp_path / "run", shard="1/2", plan="fastest")
    with pytest.raises(la.SpecError, match="has no shards"):
        merge(tmp_path / "run")


def test_shares_are_every_cell_once_and_of_one_size():
    shares = [Shard(number, 4).share(np.arange(42)) for number in range(1, 5)]
    assert sorted(np.concatenate(shares)) == list(range(42))
    assert {len(share) for share in shares} == {10, 11}
