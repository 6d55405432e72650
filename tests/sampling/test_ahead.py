"""Do points that are given ahead change nothing but the time a scan takes, whatever ends first and whatever fails?"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import signal
import time
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from tests.sampling.test_executors import Long
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import stopping
from lossatlas.evaluate.evaluator import Answer
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block
from lossatlas.results.store import RunFolder
from lossatlas.sampling import ahead, loop
from lossatlas.sampling.executors import Work
from lossatlas.sampling.loop import Places, visit
from lossatlas.sampling.workers.pool import PoolSession
from lossatlas.sampling.workers.processes import Processes

N = 21
X, Y = np.meshgrid(np.linspace(-1, 1, N), np.linspace(-1, 1, N), indexing="ij")
TRUTH = (1 + X**2 + 2 * Y**2 + 0.5 * np.cos(5 * X * Y) + np.abs(X - 0.3 * Y)).ravel()
SAMPLER = la.Adaptive(x=(-1, 1, N), y=(-1, 1, N), tolerance=0.03, clip=None)
PLACES = Places(SAMPLER.axes, ("x", "y"))
CELLS = {tuple(point): cell for cell, point in enumerate(PLACES.of(np.arange(N * N)))}


class Dealt(PoolSession):
    """Workers whose points end in an order that is drawn, each in so many seconds as it says."""

    def __init__(self, workers=8, seed=0, seconds=1.0, truth=TRUTH, raises=(), deadly=(), lives=0):
        super().__init__(None, None)
        self.number, self.chance, self.seconds, self.truth = workers, random.Random(seed), seconds, truth
        self.raises, self.deadly, self.lives = set(raises), set(deadly), lives
        self.log, self.ahead, self.waits, self.revived = [], [], 0, 0

    workers = property(lambda self: self.number)

    def start(self, work):
        return self

    def submit(self, coordinates, *, ahead=False):
        cells = [CELLS[tuple(point)] for point in coordinates]
        assert not ahead or self.idle > 0, "given to somebody who has something to do"
        self.log += cells
        self.ahead += cells if ahead else []
        return super().submit(coordinates, ahead=ahead)

    def give(self, coordinates, parcel=None, worker=""):
        future = Future()
        future.cells = [CELLS[tuple(point)] for point in coordinates]
        return future

    def wait(self, pending):
        future = self.chance.choice(list(pending))
        self.waits += 1
        if self.deadly & set(future.cells) or (self.lives and self.waits % self.lives == 0):
            for sent in self._sent:
                if not sent.future.done():
                    sent.future.set_exception(BrokenExecutor("killed"))
            return
        if self.raises & set(future.cells):
            future.set_exception(RuntimeError("the pool has a fault"))
            return
        values = self.truth[future.cells]
        status = np.where(np.isfinite(values), Status.OK, Status.NON_FINITE).astype(np.int8)
        status[values == -np.inf] = Status.FAILED
        values = np.where(np.isfinite(values), values, np.nan)
        notes = tuple("it failed" if one == Status.FAILED else "" for one in status)
        seconds = self.seconds * len(values)
        future.set_result(Answer(values=values[:, None], status=status, notes=notes, seconds=seconds))

    def lost(self, fault):
        return isinstance(fault, BrokenExecutor)

    def revive(self):
        self.revived += 1
        self.again()


class Kept:
    """A journal in memory."""

    def __init__(self):
        self.cells, self.values, self.status, self.notes, self.evaluation = [], [], [], [], {}

    def commit(self, block):
        self.cells += block.indices.tolist()
        self.values += block.values.ravel().tolist()
        self.status += block.status.tolist()
        self.notes += block.notes

    def note_evaluation(self, evaluation):
        self.evaluation = evaluation

    @property
    def rows(self):
        return list(zip(self.cells, np.array(self.values).tobytes(), self.status, self.notes, strict=False))

    @property
    def given(self):
        return self.evaluation.get("given ahead")


def scanned(session, told=None, **options) -> Kept:
    kept, queue = Kept(), SAMPLER.start(told or Block.joined([], 1))
    work = Work(make=lambda: None, width=1, decisive=(0,))
    visit(work, PLACES, queue, kept, session, seconds=1.0, size=N * N, progress=False, **options)
    return kept


@pytest.fixture(scope="module")
def alone() -> Kept:
    return scanned(Dealt(workers=1))


@pytest.fixture(autouse=True)
def _whatever_predicting_costs(monkeypatch):
    monkeypatch.setattr(ahead, "TIMES", 0.0)


@pytest.mark.parametrize("workers", [2, 5, 16])
@pytest.mark.parametrize("seed", [0, 1])
def test_whatever_ends_first_the_points_and_their_order_are_those_of_one_worker(alone, workers, seed):
    session = Dealt(workers, seed)
    kept = scanned(session)
    assert alone.given is None
    assert kept.rows == alone.rows
    assert len(session.log) == len(set(session.log)), "a point was evaluated twice"
    assert kept.given == {"points": len(session.ahead), "asked for": len(set(session.ahead) & set(kept.cells))}
    assert kept.given["asked for"] > 0.3 * kept.given["points"] > 0
    assert set(session.log) - set(kept.cells) == set(session.ahead) - set(kept.cells)


@pytest.mark.parametrize("seed", [0, 1])
def test_points_that_fail_are_ordinary_where_asked_for_and_silent_elsewhere(seed):
    truth = TRUTH.copy()
    truth[np.random.default_rng(seed).permutation(N * N)[:30]] = -np.inf
    truth[:N] = np.inf
    one, many = (scanned(Dealt(workers, seed, truth=truth)) for workers in (1, 9))
    assert many.rows == one.rows
    assert Status.FAILED in many.status
    assert many.given["points"] > 0


def test_a_fault_of_the_pool_is_raised_of_points_that_were_asked_for_alone(alone):
    first = Dealt(8)
    kept = scanned(first)
    unasked = set(first.ahead) - set(kept.cells)
    assert unasked
    assert scanned(Dealt(8, raises=unasked)).rows == alone.rows
    with pytest.raises(RuntimeError, match="the pool has a fault"):
        scanned(Dealt(8, raises=set(first.ahead) & set(kept.cells)))


def test_a_point_given_ahead_that_kills_its_worker_is_let_go_of(alone):
    first = Dealt(8)
    kept = scanned(first)
    deadly = set(first.ahead) - set(kept.cells)
    session = Dealt(8, deadly=deadly)
    assert scanned(session).rows == alone.rows
    assert 0 < session.revived <= len(deadly)
    assert all(session.log.count(cell) <= 1 for cell in deadly)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_workers_that_die_now_and_then_change_nothing(alone, seed):
    session = Dealt(6, seed, lives=4)
    assert scanned(session).rows == alone.rows
    assert session.revived > 5
    assert len(session.ahead) > 5


def test_what_was_let_go_of_is_evaluated_where_it_is_asked_for_and_not_given_ahead_again():
    session, cell = Dealt(2), np.array([7])
    given = ahead.Given()
    ours = ahead.Ahead.of(session, PLACES.of, SAMPLER.start(Block.joined([], 1)), given)
    for let_go_of_first in (True, False):
        ours._sent[7] = session.submit(PLACES.of(cell), ahead=True)
        session.again()
        if let_go_of_first:
            ours.give()
            assert not ours._sent
            assert ours._known(7)
        before = len(session.log)
        assert not ours.submit(cell).lost
        assert session.log[before:] == [7]
    assert given.asked == 0


def test_a_run_that_goes_on_asks_for_the_rest_alone(alone):
    cells = np.array(alone.cells[:50])
    told = Block(indices=np.sort(cells), values=TRUTH[np.sort(cells)][:, None], status=np.ones(50, np.int8))
    kept = scanned(Dealt(7), told)
    assert kept.cells == alone.cells[50:]


def test_few_points_are_held_that_nobody_asked_for(monkeypatch):
    session = Dealt(4)
    monkeypatch.setattr(ahead, "HELD", 1)
    most, give = [0], ahead.Ahead.give

    def watched(self):
        more = give(self)
        most[0] = max(most[0], len(self._sent) + len(self._found))
        return more

    monkeypatch.setattr(ahead.Ahead, "give", watched)
    scanned(session)
    assert 0 < most[0] <= 4


@pytest.mark.parametrize(("seconds", "pays"), [(0.001, False), (0.07, False), (0.3, True)])
def test_points_are_given_ahead_where_one_takes_eight_times_as_long_as_choosing_a_round(
    monkeypatch, alone, seconds, pays
):
    ticks = itertools.count()
    for module in (ahead, loop):
        monkeypatch.setattr(module, "clock", lambda: 0.01 * next(ticks))  # choosing and predicting take 10 ms each
    monkeypatch.setattr(ahead, "TIMES", 8.0)
    kept = scanned(Dealt(8, seconds=seconds))
    assert (kept.given is not None) == pays
    assert kept.rows == alone.rows


def test_nothing_is_given_ahead_where_somebody_wants_to_stop(monkeypatch):
    monkeypatch.setattr(stopping, "asked", lambda: True)
    assert scanned(Dealt(8)).given is None


def test_of_threads_that_take_turns_none_is_idle_while_one_evaluates():
    with ThreadPoolExecutor(3) as pool, PoolSession(pool, None) as session:
        assert session.idle == 1
        session.give = lambda coordinates: Future()
        session.submit(np.zeros((1, 2)))
        assert session.idle == 0


def test_no_more_than_a_block_that_was_chosen_is_kept_at_once(alone):
    sizes = []

    class Sized(Kept):
        def commit(self, block):
            sizes.append(len(block.indices))
            super().commit(block)

    kept, queue = Sized(), SAMPLER.start(Block.joined([], 1))
    work = Work(make=lambda: None, width=1, decisive=(0,))
    visit(work, PLACES, queue, kept, Dealt(6), seconds=1.0, size=N * N, progress=False, block=3)
    assert kept.rows == alone.rows
    assert max(sizes) == 3


def test_a_block_in_parts_is_done_when_all_of_them_are():
    one = Answer(values=np.ones((1, 1)), status=np.zeros(1, np.int8), notes=("",))
    known, order, later = ahead._Known(one), np.array([1, 0]), Future()
    assert ahead._Joined([known, known], order).done() is True
    assert ahead._Joined([known, later], order).done() is False
    later.set_result(one)
    assert ahead._Joined([known, later], order).done() is True


def test_predicting_leaves_a_queue_as_it_is():
    queue = SAMPLER.start(Block.joined([], 1))
    first = queue.ask(500)
    half = np.sort(first[:20])
    queue.tell(Block(indices=half, values=TRUTH[half][:, None], status=np.ones(20, np.int8)))
    before = {name: getattr(queue, name).copy() for name in ("_values", "_told", "_heard", "_there", "_round")}
    foreseen = [cells for _, cells in zip(range(3), queue.foresee(Block.joined([], 1)), strict=False)]
    assert len(foreseen) == 3
    assert not np.isin(np.concatenate(foreseen), first).any()
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(queue, name), array)


def test_nothing_is_predicted_where_too_little_is_known_or_a_spline_is_singular(monkeypatch):
    queue = SAMPLER.start(Block.joined([], 1))
    assert list(queue.foresee(Block.joined([], 1))) == []
    first = np.sort(queue.ask(500))

    def singular(*_, **__):
        raise np.linalg.LinAlgError("singular")

    monkeypatch.setattr("lossatlas.sampling.surrogate.interpolate", singular)
    told = Block(indices=first, values=TRUTH[first][:, None], status=np.ones(len(first), np.int8))
    assert list(queue.foresee(told)) == []


def small() -> la.Objective:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    return la.Objective(net, (torch.randn(30, 4).double(), torch.randint(3, (30,))), F.cross_entropy)


def test_a_worker_that_is_killed_changes_no_bit_of_an_adaptive_scan_with_points_given_ahead(tmp_path, monkeypatch):
    plane, sampler = la.Plane.random(small(), seed=0), la.Adaptive(x=(-1, 1, 21), y=(-1, 1, 21), tolerance=0.01)
    serial = la.sample(small(), plane, sampler, run=tmp_path / "serial")
    killed, commits = [], []

    def kill_one(self, block, commit=RunFolder.commit):
        commit(self, block)
        commits.append(1)
        if len(commits) == 3:
            killed.append(multiprocessing.active_children()[0])
            os.kill(killed[0].pid, signal.SIGKILL)

    monkeypatch.setattr(RunFolder, "commit", kill_one)
    found = la.sample(small(), plane, sampler, run=tmp_path / "run", executor="processes:3")
    assert killed
    for name in ("loss", "status", "loss_uncertainty"):
        assert serial[name].values.tobytes() == found[name].values.tobytes()
    assert not multiprocessing.active_children()
    told = json.loads(found.attrs["evaluation"]).get("given ahead", {"points": 0, "asked for": 0})
    assert 0 <= told["asked for"] <= told["points"]


@pytest.mark.parametrize("how", ["it is done", "somebody stops it"])
def test_a_run_that_ends_waits_for_no_point_that_nobody_asked_for(tmp_path, how):
    work, stop = Work(make=partial(Long, tmp_path), width=1, decisive=(0,)), how == "somebody stops it"
    with pytest.raises(KeyboardInterrupt) if stop else nullcontext(), Processes(1).start(work) as session:
        session.submit(np.zeros((1, 1)), ahead=True)
        while not (tmp_path / "begun").exists():
            time.sleep(0.02)
        if stop:
            raise KeyboardInterrupt
    assert not (tmp_path / "waited for").exists()
    assert not multiprocessing.active_children()
