"""Do points come out the same, bit for bit, whoever evaluates them, and also where a worker dies?"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.evaluate.choice import Ways
from lossatlas.evaluate.plans import Plan
from lossatlas.results.store import RunFolder
from lossatlas.sampling import ahead
from lossatlas.sampling.executors import Serial, Work
from lossatlas.sampling.workers import subject
from lossatlas.sampling.workers.named import executor_of, named
from lossatlas.sampling.workers.pool import Futures
from lossatlas.sampling.workers.processes import Processes


def error(outputs, targets):
    return (outputs.argmax(1) != targets).float()


def small() -> la.Objective:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    return la.Objective(
        net, (torch.randn(30, 4).double(), torch.randint(3, (30,))), F.cross_entropy, metrics={"error": error}
    )


class ExecutorContract:
    """What every executor promises: inherit, and give one as the fixture ``executor``."""

    @pytest.mark.parametrize("plan", ["plain", "graph"])
    def test_the_bits_are_those_of_the_serial_one(self, executor, plan):
        objective = small()
        plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 5), y=(-1, 1, 4))
        serial = la.sample(objective, plane, grid, plan=plan, block=3)
        other = la.sample(objective, plane, grid, plan=plan, block=3, executor=executor)
        assert serial["loss"].values.tobytes() == other["loss"].values.tobytes()
        np.testing.assert_array_equal(serial["status"], other["status"])

    def test_an_adaptive_scan_ends_and_its_points_are_right(self, executor):
        objective = small()
        plane = la.Plane.random(objective, seed=0)
        sampler = la.Adaptive(x=(-1, 1, 11), y=(-1, 1, 11), tolerance=0.05)
        whole = la.sample(objective, plane, la.Grid(**sampler.axes))
        found = la.sample(objective, plane, sampler, executor=executor, block=7)
        seen = found["status"].values == 1
        assert seen.any()
        np.testing.assert_array_equal(found["loss"].values[seen], whole["loss"].values[seen])

    @pytest.mark.parametrize("plan", ["plain", "graph"])
    def test_an_adaptive_scan_with_points_given_ahead_has_the_bits_of_the_serial_one(self, executor, plan, monkeypatch):
        monkeypatch.setattr(ahead, "TIMES", 0.0)
        objective = small()
        plane, sampler = la.Plane.random(objective, seed=0), la.Adaptive(x=(-1, 1, 15), y=(-1, 1, 15), tolerance=0.01)
        serial = la.sample(objective, plane, sampler, plan=plan)
        other = la.sample(objective, plane, sampler, plan=plan, executor=executor)
        for name in ("loss", "error", "loss_uncertainty", "status"):
            assert serial[name].values.tobytes() == other[name].values.tobytes()

    def test_a_point_that_raises_is_part_of_the_answer(self, executor):
        objective = small()
        plane = la.Plane.random(objective, seed=0)
        work = Work(make=partial(Raises, Ways(objective, plane).way(Plan())), width=2, decisive=(0,))
        with executor.start(work) as session:
            answer = session.submit(np.array([[0.0, 0.0], [9.0, 0.0]])).result()
        assert answer.status.tolist() == [1, 3]
        assert "nine" in answer.notes[1]


class Raises:
    def __init__(self, way):
        self.way, self.close = way, way.close

    def values(self, coordinates):
        if (coordinates == 9).any():
            raise RuntimeError("nine")
        return self.way.values(coordinates)


class TestSerial(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls):
        return Serial()


class TestThreadPool(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls):
        with ThreadPoolExecutor(3) as pool:
            yield Futures(pool)


class TestProcessPoolAsItIs(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls):
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield executor_of(pool)


class TestDask(ExecutorContract):
    """A scheduler and two workers as processes, reached over loopback; the same client for all."""

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls):
        distributed = pytest.importorskip("distributed", reason="pip install 'lossatlas[dask]'")
        with (
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield executor_of(client)

    def test_a_worker_that_is_killed_is_replaced_and_the_bits_are_the_same(self, executor, tmp_path, monkeypatch):
        objective = small()
        plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 7), y=(-1, 1, 6))
        serial = la.sample(objective, plane, grid)
        killed = []

        def kill_one(self, block, commit=RunFolder.commit):
            commit(self, block)
            if not killed:
                killed.extend(nanny.pid for nanny in executor.client.cluster.workers.values())
                os.kill(killed[0], signal.SIGKILL)

        monkeypatch.setattr(RunFolder, "commit", kill_one)
        found = la.sample(objective, plane, grid, run=tmp_path / "run", executor=executor, block=4)
        assert killed
        assert serial["loss"].values.tobytes() == found["loss"].values.tobytes()

    def test_a_worker_that_dies_while_it_is_sent_the_work_ends_no_run(self, executor, monkeypatch):
        objective = small()
        plane, grid = la.Plane.random(objective, seed=5), la.Grid(x=(-1, 1, 4), y=(-1, 1, 3))
        faults, scatter = [OSError("the stream is closed"), OSError("the stream is closed")], executor.client.scatter
        monkeypatch.setattr("lossatlas.sampling.workers.dask_client.AGAIN_SECONDS", 0.01)
        monkeypatch.setattr(executor.client, "scatter", lambda *a, **k: _first_of(faults) or scatter(*a, **k))
        found = la.sample(objective, plane, grid, executor=executor, block=4)
        assert not faults
        assert found["loss"].values.tobytes() == la.sample(objective, plane, grid)["loss"].values.tobytes()
        faults.extend([OSError("gone")] * 9)
        session = executor.start(Work(make=Counts, width=2, decisive=(0,)))
        with session, pytest.raises(ChildProcessError, match="no worker took the work.*gone.*points are safe"):
            session.submit(np.array([[0.5]])).result()


def _first_of(faults: list) -> None:
    if faults:
        raise faults.pop()


class TestProcesses:
    """Our own are started for each run, so all that they promise is seen in one run with a worker killed in it."""

    def test_a_worker_that_is_killed_is_replaced_and_the_bits_are_the_same(self, tmp_path, monkeypatch):
        objective = small()
        plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 7), y=(-1, 1, 6))
        serial = la.sample(objective, plane, grid)
        killed = []

        def kill_one(self, block, commit=RunFolder.commit):
            commit(self, block)
            if not killed:
                killed.append(multiprocessing.active_children()[0])
                os.kill(killed[0].pid, signal.SIGKILL)

        monkeypatch.setattr(RunFolder, "commit", kill_one)
        found = la.sample(objective, plane, grid, run=tmp_path / "run", executor="processes:2", block=4)
        assert killed
        assert serial["loss"].values.tobytes() == found["loss"].values.tobytes()
        assert serial["error"].values.tobytes() == found["error"].values.tobytes()
        assert not multiprocessing.active_children()

    def test_workers_that_die_again_and_again_end_the_run_and_points_are_safe(self, monkeypatch):
        monkeypatch.setattr("lossatlas.sampling.workers.pool.BREAKS", 1)
        work = Work(make=Deadly, width=1, decisive=(0,))
        with Processes(1).start(work) as session, pytest.raises(ChildProcessError, match="died 2 times.*__main__"):
            session.submit(np.array([[0.0]])).result()


class Deadly:
    def values(self, coordinates):
        os._exit(1)

    def close(self):
        pass


class Counts:
    """Says which process evaluated, and how often work was made there."""

    made = 0

    def __init__(self):
        Counts.made += 1

    def values(self, coordinates):
        return np.full((len(coordinates), 2), [os.getpid(), Counts.made], float)

    def close(self):
        pass


class Long:
    """A point that takes ten minutes, and says so if anybody waited for it."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def values(self, coordinates):
        (self.folder / "begun").touch()
        time.sleep(600)
        (self.folder / "waited for").touch()
        return np.zeros((len(coordinates), 1))

    def close(self):
        pass


def test_who_stops_at_once_waits_for_no_process(tmp_path):
    work = Work(make=partial(Long, tmp_path), width=1, decisive=(0,))
    with pytest.raises(KeyboardInterrupt), Processes(1).start(work) as session:
        session.submit(np.zeros((1, 1)))
        while not (tmp_path / "begun").exists():
            time.sleep(0.02)
        raise KeyboardInterrupt
    assert not (tmp_path / "waited for").exists()
    assert not multiprocessing.active_children()


def test_processes_without_a_number_are_as_many_as_cores():
    assert (Processes().number, Processes(3).number) == (os.cpu_count() or 1, 3)
    with pytest.raises(la.SpecError, match="expected at least one"):
        Processes(-1)


def test_the_work_is_made_once_at_each_worker_and_shared_memory_travels_once():
    rows = torch.randn(100_000)
    shared = partial(_first, Counts, list(torch.split(rows, 1000)))  # pickled one by one: 100 times the memory
    parcel = subject.pack(Work(make=shared, width=2, decisive=(0,)))
    assert len(parcel.content) < 2 * rows.numel() * rows.element_size()
    first = subject.evaluate(parcel.fingerprint, np.zeros((1, 1)))
    assert isinstance(first, subject.Missing)
    before = Counts.made
    answers = [subject.evaluate(parcel.fingerprint, np.zeros((1, 1)), parcel) for _ in range(3)]
    assert [answer.values[0, 1] for answer in answers] == [before + 1] * 3


def _first(make, _):
    return make()


def test_a_map_of_curvature_is_evaluated_by_others_too():
    objective = small()
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 2))
    alone = la.curvature_map(objective, plane, grid, warm=False)
    with ThreadPoolExecutor(2) as pool:
        found = la.curvature_map(objective, plane, grid, executor=pool)
        assert found.equals(alone)
        with pytest.raises(la.SpecError, match="cannot be shared out; leave executor out"):
            la.curvature_map(objective, plane, grid, executor=pool, warm=True)


def test_futures_that_a_cluster_cancelled_while_they_were_waited_for_are_no_fault_of_the_run():
    pytest.importorskip("distributed", reason="pip install 'lossatlas[dask]'")
    from concurrent.futures import CancelledError

    from lossatlas.sampling.workers.dask_client import DaskSession

    class Cancels:
        def wait(self, *_, **__):
            raise CancelledError("lost with its worker")

    session = DaskSession(None, None)
    session._distributed = Cancels()
    session.wait([])


def test_a_worker_keeps_few_works_and_lets_go_of_the_oldest():
    closed = []

    class Noted(Counts):
        def close(self):
            closed.append(1)

    parcels = [subject.pack(Work(make=Counts, width=n, decisive=(0,))) for n in range(1, 1 + subject.KEPT)]
    oldest = subject.Parcel(fingerprint="oldest", content=parcels[0].content, versions=parcels[0].versions)
    subject.evaluate("oldest", np.zeros((1, 1)), oldest)
    subject._HELD["oldest"].way = Noted()
    for parcel in parcels:
        subject.evaluate(parcel.fingerprint, np.zeros((1, 1)), parcel)
    assert closed
    assert "oldest" not in subject._HELD


def test_a_worker_with_another_version_refuses_the_work():
    objective = small()
    plane = la.Plane.random(objective, seed=0)
    parcel = subject.pack(Work(make=partial(Ways(objective, plane).way, Plan()), width=2, decisive=(0,)))
    other = subject.Parcel(fingerprint="other", content=parcel.content, versions=parcel.versions | {"torch": "1.0"})
    refused = subject.evaluate("other", np.zeros((1, 2)), other)
    assert isinstance(refused, subject.Refused)
    assert "torch" in refused.note
    with ThreadPoolExecutor(1) as pool:
        session = Futures(pool).start(Work(make=Counts, width=2, decisive=(0,)))
        session.parcel = subject.Parcel(fingerprint="third", content=b"", versions=other.versions)
        with session, pytest.raises(la.SpecError, match="has versions other than the driver"):
            session.submit(np.zeros((1, 1))).result()


def test_a_pool_that_breaks_says_that_points_are_safe():
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        Futures(pool).start(Work(make=Deadly, width=1, decisive=(0,))) as session,
        pytest.raises(ChildProcessError, match="committed points are safe"),
    ):
        session.submit(np.array([[0.0]])).result()


def test_what_cannot_travel_is_refused_before_anything_is_started():
    lock = threading.Lock()
    with pytest.raises(la.SpecError, match="cannot be sent to a worker"):
        subject.pack(Work(make=partial(_first, Counts, lock), width=1, decisive=(0,)))
    with pytest.raises(la.SpecError, match="cannot be shared out"):
        subject.pack(Work(make=Counts, width=1, decisive=(0,), in_order=True))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("processes:many", "expected a number of processes"),
        ("dask:", "the address of a scheduler, 'dask://host:8786'"),
        ("dask:0", "the address of a scheduler"),
        ("dask://host", "the address of a scheduler"),
        ("mpi:four", "'mpi:4' to spawn four"),
        ("devices:a", "numbers of GPUs"),
        ("submitit:nowhere.toml", "expected a TOML file"),
        ("slurm", "choose one of: serial, processes, devices, dask, mpi, torchrun, submitit"),
    ],
)
def test_a_name_that_is_wrong_says_what_is_right(text, words):
    with pytest.raises(la.SpecError, match=words):
        named(text)


def test_devices_say_where_they_are_missing():
    work = Work(make=Counts, width=1, decisive=(0,))
    with pytest.raises(la.SpecError, match=r"this machine has \d+ GPUs|the objective is on cpu"):
        named("devices").start(work)


def test_jobs_of_submitit_evaluate_and_nothing_of_the_model_is_written(tmp_path):
    pytest.importorskip("submitit", reason="pip install 'lossatlas[submitit]'")
    pytest.importorskip("distributed", reason="pip install 'lossatlas[submitit]'")
    settings = f'cluster = "local"\njobs = 1\nfolder = "{tmp_path / "logs"}"\n[parameters]\ntimeout_min = 5\n'
    (tmp_path / "local.toml").write_text(settings)
    objective = small()
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 4), y=(-1, 1, 3))
    serial = la.sample(objective, plane, grid)
    found = la.sample(objective, plane, grid, executor=f"submitit:{tmp_path / 'local.toml'}", block=3)
    assert serial["loss"].values.tobytes() == found["loss"].values.tobytes()
    pickled = [path for path in (tmp_path / "logs").rglob("*.pkl")]
    assert pickled
    assert all(b"Linear" not in path.read_bytes() for path in pickled)


SCRIPT = """
import sys, torch, lossatlas as la

def error(outputs, targets):
    return (outputs.argmax(1) != targets).float()

def main():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).double()
    data = torch.randn(30, 4).double(), torch.randint(3, (30,))
    objective = la.Objective(net, data, torch.nn.functional.cross_entropy, metrics={"error": error})
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 5), y=(-1, 1, 4))
    found = la.sample(objective, plane, grid, executor=sys.argv[1], block=3)
    print("bits", found["loss"].values.tobytes().hex())

if __name__ == "__main__":
    main()
"""


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun here: apt-get install openmpi-bin libopenmpi-dev")
def test_mpi_processes_give_the_same_bits(tmp_path):
    pytest.importorskip("mpi4py", reason="pip install 'lossatlas[mpi]'")
    (tmp_path / "scan.py").write_text(SCRIPT)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }  # fmt: skip
    command = ["mpirun", "--oversubscribe", "-n", "3", sys.executable, "-m", "mpi4py.futures", "scan.py", "mpi"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    objective = small()
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 5), y=(-1, 1, 4))
    serial = la.sample(objective, plane, grid)
    assert done.stdout.split()[-1] == serial["loss"].values.tobytes().hex()
