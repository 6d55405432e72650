"""What a worker can draw or read again does not travel, and the values are the same bit for bit, also where it cannot."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.evaluate.choice import Ways
from lossatlas.evaluate.plans import Plan
from lossatlas.objective import sources
from lossatlas.objective.checkpoints import load_checkpoint
from lossatlas.sampling.executors import Work
from lossatlas.sampling.workers import subject
from lossatlas.sampling.workers.pool import Futures

POINT = np.array([[0.5, -0.25]])


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(3)
    path = tmp_path / "net.pt"
    torch.save({"state_dict": network().state_dict()}, path)
    return path


@pytest.fixture
def images(tmp_path):
    torch.manual_seed(4)
    path = tmp_path / "images.npz"
    np.savez(path, x=torch.randint(0, 255, (60, 8, 8, 3)).numpy().astype(np.uint8), y=np.arange(60) % 10)
    return path


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 100), nn.ReLU(), nn.Linear(100, 10))


def work_of(objective, plane, plan=None) -> Work:
    make = partial(Ways(objective, plane).way, plan or Plan())
    return Work(make=make, width=1, decisive=(0,), subject=objective)


def loaded(checkpoint, images) -> la.Objective:
    model = network()
    load_checkpoint(model, checkpoint)
    return la.Objective(model, la.zoo.data("npz", path=images), loss=F.cross_entropy)


def answer(found) -> bytes:
    return found.values.tobytes()


def test_directions_weights_and_data_do_not_travel_and_the_bits_are_the_same(checkpoint, images):
    objective = loaded(checkpoint, images)
    work = work_of(objective, la.Plane.random(objective, seed=0))
    parcel = subject.pack(work)
    bytes_of_all = sum(tensor.nbytes for tensor in objective.origin.values())
    assert len(parcel.content) < bytes_of_all / 4 < len(parcel.whole().content) / 8
    found = subject.evaluate(parcel.fingerprint, POINT, pickle.loads(pickle.dumps(parcel)))
    assert answer(found) == answer(work.evaluator().answer(POINT))


@pytest.mark.parametrize("options", [{}, {"by": "layer"}, {"by": "none"}, {"only": "3.*"}, {"still": ()}])
def test_a_direction_is_drawn_again_with_its_options(options):
    torch.manual_seed(0)
    objective = la.Objective(network(), (torch.randn(20, 192), torch.arange(20) % 10), loss=F.cross_entropy)
    plane = la.Plane.random(objective, seed=7, axes=("x", "y"), **options)
    work = work_of(objective, plane)
    parcel = subject.pack(work)
    size = sum(tensor.nbytes for direction in plane.directions.values() for tensor in direction.values())
    assert len(parcel.content) < len(parcel.whole().content) - 0.9 * size
    subject.keep(parcel)
    there = subject._HELD[parcel.fingerprint].way.chart
    for axis, direction in plane.directions.items():
        assert {n: t.numpy().tobytes() for n, t in there.directions[axis].items()} == {
            n: t.numpy().tobytes() for n, t in direction.items()
        }


@pytest.mark.parametrize("change", ["gone", "other weights", "damaged", "other data"])
def test_a_worker_that_reads_something_else_is_sent_the_bytes(change, checkpoint, images):
    objective = loaded(checkpoint, images)
    work = work_of(objective, la.Plane.random(objective, seed=0))
    expected = answer(work.evaluator().answer(POINT))
    parcel = subject.pack(work)
    if change == "gone":
        checkpoint.unlink()
    elif change == "other weights":
        torch.save({"state_dict": network().state_dict()}, checkpoint)
    elif change == "damaged":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-500])
    else:
        np.savez(images, x=np.zeros((60, 8, 8, 3), np.uint8), y=np.arange(60) % 10)
    missing = subject.evaluate(parcel.fingerprint, POINT, parcel)
    assert isinstance(missing, subject.Missing)
    assert missing.whole
    with ThreadPoolExecutor(2) as pool, Futures(pool).start(work) as session:
        assert [answer(session.submit(POINT).result()) for _ in range(3)] == [expected] * 3


@pytest.mark.parametrize("executor", ["processes:2", "dask:2"])
def test_processes_of_other_folders_read_again_and_fall_back_to_the_bytes(executor, checkpoint, images, monkeypatch):
    pytest.importorskip("distributed", reason="pip install 'lossatlas[dask]'")
    monkeypatch.chdir(checkpoint.parent)
    objective = loaded(checkpoint.name, images.name)
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 4), y=(-1, 1, 3))
    serial = la.sample(objective, plane, grid, block=2)
    checkpoint.unlink()
    found = la.sample(objective, plane, grid, block=2, executor=executor)
    assert serial["loss"].values.tobytes() == found["loss"].values.tobytes()


def test_weights_that_were_changed_after_they_were_read_travel_as_they_are(checkpoint, images):
    model = network()
    load_checkpoint(model, checkpoint)
    with torch.no_grad():
        model[1].weight[17, 101] += 1
    objective = la.Objective(model, la.zoo.data("npz", path=images), loss=F.cross_entropy)
    work = work_of(objective, la.Plane.random(objective, seed=0))
    with ThreadPoolExecutor(1) as pool, Futures(pool).start(work) as session:
        assert answer(session.submit(POINT).result()) == answer(work.evaluator().answer(POINT))


def test_a_direction_that_was_written_to_travels_as_it_is():
    torch.manual_seed(0)
    objective = la.Objective(network(), (torch.randn(20, 192), torch.arange(20) % 10), loss=F.cross_entropy)
    plane = la.Plane.random(objective, seed=7)
    plane.directions["x"]["1.weight"][3, 5] += 2
    work = work_of(objective, plane)
    with ThreadPoolExecutor(1) as pool, Futures(pool).start(work) as session:
        assert answer(session.submit(POINT).result()) == answer(work.evaluator().answer(POINT))


def test_tensors_that_share_memory_share_it_at_the_worker_too(checkpoint, images):
    objective = loaded(checkpoint, images)
    subject.keep(parcel := subject.pack(work_of(objective, la.Plane.random(objective, seed=0))))
    there = subject._HELD[parcel.fingerprint].way.objective
    held = [batch[0].untyped_storage().data_ptr() for batch in there.batches]
    assert len(set(held)) == len({batch[0].untyped_storage().data_ptr() for batch in objective.batches})
    assert not any(tensor._is_view() for tensor in there.origin.values())


def test_what_is_small_or_unknown_has_no_source():
    assert sources.source_of(sources.bytes_of(torch.randn(5000))) is None
    sources.note(sources.Source(list, ()), [torch.zeros(3)])
    assert sources.source_of(sources.bytes_of(torch.zeros(3))) is None
