"""Does everything that is evaluated at points go through the one loop: any chart, any executor, the same bits?"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.connect.curve import along
from lossatlas.evaluate.choice import Ways
from lossatlas.evaluate.plans import Plan
from lossatlas.results.spec import Block
from lossatlas.sampling import executors
from lossatlas.sampling.executors import Serial, Work
from lossatlas.sampling.loop import Places, visit
from lossatlas.sampling.samplers import GridQueue
from lossatlas.sampling.workers.named import named
from lossatlas.space.curvefile import load_curve
from lossatlas.space.curves import Curve


class Threads:
    """Several blocks under way, each thread with a way of its own: the smallest executor that is not serial."""

    def __init__(self, workers: int = 2, log: list | None = None) -> None:
        self.workers = workers
        self.log = [] if log is None else log

    def start(self, work):
        if work.in_order:
            raise la.SpecError("executor: this work has to be done in order")
        return _ThreadSession(pickle.loads(pickle.dumps(work)), self)


class _ThreadSession:
    def __init__(self, work, executor):
        self.room = executor.workers
        self._log = executor.log
        self._evaluator = work.evaluator()  # one, behind one thread: an Objective is not for two at once
        self._pool = ThreadPoolExecutor(1)

    def submit(self, coordinates):
        self._log.append(coordinates.copy())
        return self._pool.submit(self._evaluator.answer, coordinates)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._pool.shutdown()
        self._evaluator.way.close()


def error(outputs, targets):
    return (outputs.argmax(1) != targets).float()


def small() -> la.Objective:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    return la.Objective(
        net, (torch.randn(30, 4).double(), torch.randint(3, (30,))), F.cross_entropy, metrics={"error": error}
    )


def test_no_point_is_sent_off_twice_where_the_sampler_waits_to_be_told():
    objective, log = small(), []
    plane = la.Plane.random(objective, seed=0)
    sampler = la.Adaptive(x=(-1, 1, 11), y=(-1, 1, 11), tolerance=0.05)
    la.sample(objective, plane, sampler, executor=Threads(3, log), block=7)
    sent = [tuple(row) for block in log for row in block]
    assert len(sent) == len(set(sent))


def test_blocks_are_kept_in_the_order_in_which_they_were_asked_for():
    kept = []

    class Journal:
        def commit(self, block: Block) -> None:
            kept.append(block.indices.tolist())

    objective = small()
    plane = la.Plane.random(objective, seed=0, axes=("x",))
    places = Places({"x": np.linspace(-1, 1, 6)}, ("x",))
    work = Work(make=partial(Ways(objective, plane).carried_out, Plan()), width=2, decisive=(0,))
    visit(work, places, GridQueue(np.arange(6)), Journal(), Threads(3), seconds=1.0, size=6, block=2)
    assert kept == [[0, 1], [2, 3], [4, 5]]


def test_a_curve_and_a_chart_of_ones_own_are_sampled_and_resumed(tmp_path):
    objective = small()
    end = {name: t + 0.3 for name, t in objective.origin.items()}
    curve = Curve([dict(objective.origin), end], "polygon")
    found = la.sample(objective, curve, la.Grid(x=(0, 1, 5)), run=tmp_path / "curve")
    assert found["loss"].values.tolist() == [objective(curve.at({"x": x}))["loss"] for x in np.linspace(0, 1, 5)]
    assert float(found["x"].attrs["length"]) == pytest.approx(curve.length)
    assert load_curve(tmp_path / "curve" / "curve.safetensors").kind == "polygon"
    with pytest.raises(la.RunMismatchError, match="curve is polygon .* there and bezier .* here"):
        la.sample(objective, Curve(curve.points, "bezier"), la.Grid(x=(0, 1, 5)), run=tmp_path / "curve")

    class Bent:
        axes = ("t",)

        def __init__(self, size):
            self.size = size

        def at(self, coordinates):
            t = coordinates.get("t", 0.0)
            return {name: w + self.size * (np.sin(t) + t**2) for name, w in objective.origin.items()}

    grid = la.Grid(t=(-1, 1, 5))
    own = la.sample(objective, Bent(0.1), grid, run=tmp_path / "own")
    assert own["loss"].dims == ("t",)
    assert own["loss"].values.tolist() == [objective(Bent(0.1).at({"t": t}))["loss"] for t in np.linspace(-1, 1, 5)]
    assert la.sample(objective, Bent(0.1), grid, run=tmp_path / "own").equals(own)
    with pytest.raises(la.RunMismatchError, match="chart"):
        la.sample(objective, Bent(0.2), grid, run=tmp_path / "own")
    with pytest.raises(la.SpecError, match="plan='graph' needs a Plane"):
        la.sample(objective, Bent(0.1), grid, plan="graph")


def test_a_connection_does_not_compute_finished_points_again(tmp_path, monkeypatch):
    objective = small()
    curve = Curve([dict(objective.origin), {name: t + 0.3 for name, t in objective.origin.items()}], "polygon")
    points, measure = [], la.Objective.measure

    def counted(self, *arguments, **options):
        points.append(1)
        if len(points) == 2 + 4:  # the probe of the first end looks twice
            raise KeyboardInterrupt
        return measure(self, *arguments, **options)

    monkeypatch.setattr(la.Objective, "measure", counted)
    monkeypatch.setattr("lossatlas.sampling.loop.BLOCK_SECONDS", 0.0)  # each point is a block
    with pytest.raises(KeyboardInterrupt):
        along(objective, curve, steps=9, run=tmp_path / "way")
    kept = int((la.open(tmp_path / "way")["status"] == 1).sum())
    assert kept == 1 + 3  # the centre is the first
    points[:] = [0] * 10
    along(objective, curve, steps=9, run=tmp_path / "way")
    assert len(points) - 10 == 2 + 3 + (9 - kept) + 1  # the other three stored points again, and the centre in the end
    points[:] = [0] * 10
    along(objective, curve, steps=9, run=tmp_path / "way")
    assert len(points) - 10 == 2


def test_anchors_of_a_subset_that_were_seen_are_not_seen_again(tmp_path, monkeypatch):
    objective = small()
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 15), y=(-1, 1, 15))
    options = {"run": tmp_path / "run", "samples": la.Subset(size=12)}
    whole = la.sample(objective, plane, grid, samples=la.Subset(size=12))
    each, seen = la.Objective.each, []

    def counted(self):
        seen.append(1)
        if len(seen) == 12:
            raise KeyboardInterrupt
        return each(self)

    monkeypatch.setattr(la.Objective, "each", counted)
    monkeypatch.setattr("lossatlas.sampling.loop.BLOCK_SECONDS", 0.0)
    monkeypatch.setattr("lossatlas.sampling.anchors.WRITE_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        la.sample(objective, plane, grid, **options)
    seen[:] = [0] * 20
    again = la.sample(objective, plane, grid, **options)
    assert len(seen) - 20 == 1 + 37 - 11  # one look at the centre, which was an anchor, and what is left of 37
    np.testing.assert_array_equal(again["loss"], whole["loss"])


def test_an_installed_package_offers_an_executor_by_name(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    def __init__(self, text): self.text = text\n    def start(self, work): pass\n"
    )
    (tmp_path / "mine-1.dist-info").mkdir()
    (tmp_path / "mine-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (tmp_path / "mine-1.dist-info" / "entry_points.txt").write_text(f"[{executors.GROUP}]\nmine = mine:Mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert named("mine:host:80").text == "host:80"
    assert named("serial") == Serial()
    with pytest.raises(la.SpecError, match="executor='nobody' is unknown; choose one of: serial, .*mine"):
        named("nobody")
    with pytest.raises(la.SpecError, match="takes nothing after the colon"):
        named("serial:4")
    sys.modules.pop("mine", None)


def test_what_is_asked_with_a_wrong_type_says_how_it_is_made():
    objective = small()
    plane, grid = la.Plane.random(objective), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    for arguments, words in (
        ((objective.model, plane, grid), r"objective is a Sequential; expected .* la.Objective\(model, data"),
        ((objective, objective.model, grid), r"chart is a Sequential; expected a plane such as la.Plane.random"),
        ((objective, plane, {"x": (-1, 1, 3)}), r"sampler is a dict; expected points such as la.Grid"),
    ):
        for ask in (la.sample, la.curvature_map):
            with pytest.raises(la.SpecError, match=words):
                ask(*arguments)
    with pytest.raises(la.SpecError, match="samples=100; expected 'auto' or a lossatlas.Subset"):
        la.sample(objective, plane, grid, samples=100)
    with pytest.raises(
        la.SpecError, match=r"executor is an int \(\d+\); expected a concurrent.futures.Executor, a Dask Client"
    ):
        la.sample(objective, plane, grid, executor=4)
    with pytest.raises(la.SpecError, match="states its own error"):
        la.sample(objective, plane, grid, samples=la.Subset(), standard_error=True)


def test_seeds_takes_planes():
    objective, grid = small(), la.Grid(x=(-1, 1, 3))
    planes = [la.Plane.random(objective, seed=seed, axes=("x",)) for seed in (4, 7)]
    found = la.seeds(objective, grid, planes)
    by_number = la.seeds(objective, grid, (4, 7))
    assert found.seeds == (4, 7)
    np.testing.assert_array_equal(found.values(), by_number.values())
    given = [la.Plane(objective, plane.directions) for plane in planes]
    assert la.seeds(objective, grid, given).seeds == (0, 1)
    with pytest.raises(la.SpecError, match="a plane is given twice"):
        la.seeds(objective, grid, [planes[0], planes[0]])


def test_the_former_name_of_a_subset_goes_on_with_a_warning():
    objective = small()
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 15), y=(-1, 1, 15))
    with pytest.warns(DeprecationWarning, match=r"samples=lossatlas\.Subset"):
        before = la.sample_subset(objective, plane, grid, samples=12)
    after = la.sample(objective, plane, grid, samples=la.Subset(size=12))
    np.testing.assert_array_equal(before["loss"], after["loss"])
    assert json.loads(after.attrs["sampling"])["samples"] == 12


def test_a_grid_is_sampled_without_statistics_and_compilers():
    """What a scan of a whole grid has no use for would be a quarter of a second, and a compiler a whole one."""
    code = """
import sys
sys.modules["dask"] = None  # xarray loads it, and it the half of scipy, where another extra has installed it
import torch, lossatlas as la
from torch import nn
net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
objective = la.Objective(net, (torch.randn(20, 1, 8, 8), torch.randint(3, (20,))), nn.functional.cross_entropy)
plane = la.Plane.random(objective, seed=0)
for plan in ("auto", "fused"):
    la.sample(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), plan=plan)
heavy = {"scipy", "matplotlib", "torch._dynamo", "torch._inductor", "sympy"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
