"""Is a run gone on with only where everything that its values depend on is the same?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import RunMismatchError, SpecError
from lossatlas.evaluate.evaluator import Evaluator, out_of_memory
from lossatlas.results import reading
from lossatlas.results.landscape import Status

torch.manual_seed(0)
X, Y = torch.randn(30, 4), torch.randint(3, (30,))
SCALE = 1.0


def small(loss=F.cross_entropy, **options) -> la.Objective:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return la.Objective(model, (options.pop("x", X).clone(), Y), loss=loss, **options)


def scan(folder, objective, points=5):
    return la.sample(objective, la.Plane.random(objective, seed=0, axes=("x",)), la.Grid(x=(-1, 1, points)), run=folder)


def by(scale):
    return lambda outputs, targets: scale * F.cross_entropy(outputs, targets)


def global_scale(outputs, targets):
    return SCALE * F.cross_entropy(outputs, targets)


def test_a_metric_edited_but_equal_at_the_centre_is_refused(tmp_path):
    scan(tmp_path / "run", small(metrics={"m": lambda o, t: o.argmax(1) != t}))
    with pytest.raises(RunMismatchError, match="code metric m source is"):
        scan(tmp_path / "run", small(metrics={"m": lambda o, t: (o.argmax(1) != t) | (o.abs().amax(1) > 1e9)}))
    scan(tmp_path / "run", small(metrics={"m": lambda o, t: o.argmax(1) != t}))


def test_another_value_in_a_closure_is_refused_by_its_name(tmp_path):
    scan(tmp_path / "run", small(loss=by(1.0)))
    scan(tmp_path / "run", small(loss=by(1.0)))
    with pytest.raises(RunMismatchError, match="code loss scale is"):
        scan(tmp_path / "run", small(loss=by(1.0 + 1e-9)))


def test_a_constant_of_the_module_belongs_to_the_function_that_reads_it(tmp_path, monkeypatch):
    scan(tmp_path / "run", small(loss=global_scale))
    monkeypatch.setitem(globals(), "SCALE", 1.0 + 1e-9)
    with pytest.raises(RunMismatchError, match="code loss SCALE is"):
        scan(tmp_path / "run", small(loss=global_scale))


def test_a_forward_edited_where_the_centre_does_not_see_it_is_refused(tmp_path):
    scan(tmp_path / "run", small(forward=lambda m, b: (m(b[0]), b[1])))
    with pytest.raises(RunMismatchError, match="code forward source is"):
        scan(tmp_path / "run", small(forward=lambda m, b: (m(b[0]).clamp(-1e9, 1e9), b[1])))


NETWORK = """
class Net(nn.Module):
    bound = 1e9

    def __init__(self, power=1):
        super().__init__()
        self.inner, self.power = nn.Linear(4, 3), power

    def forward(self, x):
        return self.kept(self.inner(x)) ** self.power

    def kept(self, x):
        return x

    def training_step(self, batch):
        return 0
"""


def network(source: str = NETWORK, **arguments) -> la.Objective:
    users = {"__name__": "train", "nn": nn}
    exec(source, users)
    torch.manual_seed(0)
    return la.Objective(users["Net"](**arguments), (X, Y), loss=F.cross_entropy)


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("return self.kept(self.inner(x))", "return self.kept(self.inner(x).clamp(-1e9, 1e9))", "Net.forward"),
        ("        return x\n", "        return x.clamp(-1e9, 1e9)\n", "Net.kept"),
    ],
)
def test_a_model_edited_where_the_centre_does_not_see_it_is_refused(tmp_path, before, after, named):
    scan(tmp_path / "run", network())
    scan(tmp_path / "run", network())
    with pytest.raises(RunMismatchError, match=f"code model {named} is"):
        scan(tmp_path / "run", network(NETWORK.replace(before, after)))


def test_a_model_with_another_setting_is_refused_and_one_with_another_training_step_is_not(tmp_path):
    scan(tmp_path / "run", network())
    scan(tmp_path / "run", network(NETWORK.replace("return 0", "return 1")))
    with pytest.raises(RunMismatchError, match=r"code model Net.power is"):
        scan(tmp_path / "run", network(power=1.0))


def test_a_forward_put_upon_a_model_belongs_to_it(tmp_path):
    def put(objective, bound):
        inner = objective.model.forward
        objective.model.forward = lambda x: inner(x).clamp(-bound, bound)
        return objective

    scan(tmp_path / "run", put(small(), 1e9))
    with pytest.raises(RunMismatchError, match=r"code model Sequential.forward is"):
        scan(tmp_path / "run", put(small(), 1e8))


def test_a_function_that_counts_its_calls_is_the_same_function(tmp_path):
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        return F.cross_entropy(outputs, targets)

    scan(tmp_path / "run", small(loss=loss))
    scan(tmp_path / "run", small(loss=loss))


def test_data_changed_in_place_is_seen_when_a_run_begins(tmp_path):
    torch.manual_seed(0)
    model, x = nn.Linear(4, 3), X.clone()
    objective = la.Objective(model, [(x, Y)], loss=F.cross_entropy)
    scan(tmp_path / "run", objective)
    x[0, 0] += 1
    with pytest.raises(SpecError, match="the data changed after the Objective was made"):
        scan(tmp_path / "run", objective)


class Tiring(nn.Module):
    """Another function from its so-manyth call on."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.inner, self.calls, self.after = nn.Linear(4, 3), [0], after

    def forward(self, x):
        self.calls[0] += 1
        return self.inner(x) * (1.5 if self.calls[0] > self.after else 1.0)


@pytest.mark.parametrize("after", [10, 15, 22])
def test_a_model_that_changes_after_some_calls_is_refused(tmp_path, after):
    torch.manual_seed(0)
    objective = la.Objective(Tiring(after), (X, Y), loss=F.cross_entropy)
    with pytest.raises((SpecError, RunMismatchError), match="centre|two evaluations"):
        scan(tmp_path / "run", objective, points=21)


def test_stored_points_of_another_function_are_found_when_a_run_goes_on(tmp_path):
    hidden = {"power": 1.0}

    class Reads:
        def __call__(self, outputs, targets):
            return F.cross_entropy(outputs, targets) ** (1.0 if outputs[0, 0] == CENTRE else hidden["power"])

    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    CENTRE = float(model(X)[0, 0].detach())
    plane = la.Plane(dict(model.named_parameters()), {"x": {"weight": torch.ones(3, 4)}})
    objective = la.Objective(model, (X, Y), loss=Reads(), batch_size=30)

    la.sample(objective, plane, la.Grid(x=(-1, 1, 5)), run=tmp_path / "run")
    (tmp_path / "run" / "landscape.nc").unlink()
    import contextlib
    import sqlite3

    from lossatlas.results import repair

    with contextlib.closing(sqlite3.connect(tmp_path / "run" / "journal.sqlite")) as journal, journal:
        journal.execute("DELETE FROM points WHERE i = 1")
    repair.mend(repair.examine(tmp_path / "run"))
    hidden["power"] = 2.0
    with pytest.raises(RunMismatchError, match=r"stored points belong to another function: at x = -1 the loss was"):
        la.sample(objective, plane, la.Grid(x=(-1, 1, 5)), run=tmp_path / "run")


def test_failed_points_are_tried_again_when_a_run_goes_on(tmp_path):
    broken = [True]
    plain = small()
    LIMIT = float(plain.model(X).abs().max().detach()) * 1.2

    class Loss:
        def __call__(self, outputs, targets):
            if broken[0] and outputs.abs().max() > LIMIT:
                raise ValueError("no")
            return F.cross_entropy(outputs, targets)

    first = scan(tmp_path / "run", small(loss=Loss()), points=9)
    failed = int((first["status"] == Status.FAILED).sum())
    assert failed
    assert reading.progress(tmp_path / "run").failures == {"ValueError: no": failed}
    broken[0] = False
    second = scan(tmp_path / "run", small(loss=Loss()), points=9)
    assert (second["status"] == Status.OK).all()
    np.testing.assert_array_equal(
        second["loss"].values,
        la.sample(small(loss=Loss()), la.Plane.random(small(), seed=0, axes=("x",)), la.Grid(x=(-1, 1, 9)))[
            "loss"
        ].values,
    )


class Narrow:
    """A way on a device that holds two points at once, and never those beyond 5."""

    def __init__(self, fault: BaseException) -> None:
        self.fault, self.sizes = fault, []

    def values(self, coordinates):
        self.sizes.append(len(coordinates))
        if len(coordinates) > 2 or coordinates.max() > 5:
            raise self.fault
        return 2 * coordinates

    def close(self):
        pass


FAULTS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("XPU out of memory. Tried to allocate 1 GiB"),
    MemoryError(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{type(fault).__name__}-{str(fault)[:12]}")
def test_out_of_memory_splits_a_block_down_to_one_point_that_fails_with_its_reason(fault):
    assert out_of_memory(fault)
    way = Narrow(fault)
    found = Evaluator(way, 1).answer(np.arange(8.0)[:, None])
    assert found.status.tolist() == [1, 1, 1, 1, 1, 1, 3, 3]
    assert found.values[:6, 0].tolist() == [0, 2, 4, 6, 8, 10]
    assert all(type(fault).__name__ in note for note in found.notes[6:])
    assert 4 in way.sizes


class Stumbling:
    """A loss that refuses far points so often, and then no more."""

    def __init__(self, limit, times):
        self.limit, self.times = limit, times

    def __call__(self, outputs, targets):
        if self.times[0] and outputs.abs().max() > self.limit:
            self.times[0] -= 1
            raise ValueError("no")
        return F.cross_entropy(outputs, targets)


def stumbling(times):
    return small(loss=Stumbling(float(small().model(X).abs().max().detach()) * 1.2, [times]))


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("sampler", [la.Grid(x=(-1, 1, 9)), la.Adaptive(x=(-1, 1, 60))])
def test_retry_evaluates_failed_points_once_more_at_the_end(tmp_path, kept, sampler):
    run = tmp_path / "run" if kept else None
    plane = la.Plane.random(small(), seed=0, axes=("x",))
    once = la.sample(stumbling(2), plane, sampler)  # a block, and its points one by one: one of them fails
    assert int((once["status"] == Status.FAILED).sum()) == 1
    found = la.sample(stumbling(2), plane, sampler, run=run, retry=True)
    assert not (found["status"] == Status.FAILED).any()
    np.testing.assert_array_equal(
        found["loss"].where(found["status"] == Status.OK),
        la.sample(stumbling(0), plane, la.Grid(**sampler.axes))["loss"].where(found["status"] == Status.OK),
    )


def test_retry_keeps_the_failures_of_points_that_fail_again():
    plane = la.Plane.random(small(), seed=0, axes=("x",))
    found = la.sample(stumbling(1000), plane, la.Grid(x=(-1, 1, 9)), retry=True)
    once = la.sample(stumbling(1000), plane, la.Grid(x=(-1, 1, 9)))
    np.testing.assert_array_equal(found["status"], once["status"])
    assert (found["status"] == Status.FAILED).any()


def test_strict_stops_at_the_first_failure_and_the_same_run_goes_on_past_it(tmp_path):
    plane, grid = la.Plane.random(small(), seed=0, axes=("x",)), la.Grid(x=(-1, 1, 9))
    with pytest.raises(
        SpecError, match=r"strict: the point x = -?[\d.]+ failed \(ValueError: no\), and the run stopped"
    ):
        la.sample(stumbling(1000), plane, grid, run=tmp_path / "run", block=1, strict=True)
    there = reading.progress(tmp_path / "run")
    assert there.counts["failed"] == 1 and there.counts["not_sampled"] > 0
    with pytest.raises(SpecError, match="strict: the point"):
        la.sample(stumbling(1000), plane, grid, run=tmp_path / "run", block=1, strict=True)
    on = la.sample(stumbling(1000), plane, grid, run=tmp_path / "run")
    assert (on["status"] == Status.FAILED).sum() > 1 and not (on["status"] == Status.NOT_SAMPLED).any()


def test_strict_without_failures_changes_nothing_and_does_not_go_with_retry():
    plane, grid = la.Plane.random(small(), seed=0, axes=("x",)), la.Grid(x=(-1, 1, 9))
    assert la.sample(small(), plane, grid, strict=True).equals(la.sample(small(), plane, grid))
    with pytest.raises(SpecError, match="give one of them"):
        la.sample(small(), plane, grid, strict=True, retry=True)
