"""Do the bits stay the same where a worker is killed every ten seconds, for as long as the scan takes?"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.results.reading import progress

EVERY = 10.0
"""Seconds between two kills; more where a machine is so busy that no block was committed since the last."""


def slow(outputs, targets):
    time.sleep(0.12)
    return F.cross_entropy(outputs, targets)


def question(loss) -> tuple[la.Objective, la.Plane, la.Grid]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    objective = la.Objective(net, (torch.randn(30, 4).double(), torch.randint(3, (30,))), loss)
    return objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 20), y=(-1, 1, 20))


class Killer(threading.Thread):
    """Kills one of some processes every ten seconds, and keeps a log."""

    def __init__(self, pids: Callable[[], list[int]], run) -> None:
        super().__init__(daemon=True)
        self.pids, self.run_folder, self.ended, self.log = pids, run, threading.Event(), []
        self.chance, self.started = random.Random(0), time.monotonic()

    def run(self) -> None:
        last = 0
        while not self.ended.wait(EVERY):
            done = progress(self.run_folder).done if self.run_folder.is_dir() else 0
            if done > last and (there := self.pids()):  # workers that die with no block in between end the run
                os.kill(pid := self.chance.choice(there), signal.SIGKILL)
                last, seconds = done, time.monotonic() - self.started
                self.log.append(f"{seconds:4.0f} s: killed {pid} of {sorted(there)}, {done} points committed")

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()
        print("", *self.log, sep="\n")


def same_bits(executor, pids, run) -> None:
    serial = la.sample(*question(F.cross_entropy), plan="plain")
    with Killer(pids, run) as killer:
        found = la.sample(*question(slow), run=run, executor=executor, block=3, plan="plain")
    assert len(killer.log) > 1
    assert serial["loss"].values.tobytes() == found["loss"].values.tobytes()


@pytest.mark.soak
def test_processes_killed_every_ten_seconds_change_no_bit(tmp_path):
    same_bits("processes:2", lambda: [child.pid for child in multiprocessing.active_children()], tmp_path / "run")


@pytest.mark.soak
def test_dask_workers_killed_every_ten_seconds_change_no_bit(tmp_path):
    distributed = pytest.importorskip("distributed", reason="pip install 'lossatlas[dask]'")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        same_bits(client, lambda: [nanny.pid for nanny in cluster.workers.values() if nanny.pid], tmp_path / "run")
