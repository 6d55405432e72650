"""Do all plans give the value of the plain one, and is a wrong one refused?"""

from __future__ import annotations

import contextlib
import functools
import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.errors import SpecError
from lossatlas.evaluate import agreement, choice, layout, rule
from lossatlas.evaluate.agreement import Agreement, check_points
from lossatlas.evaluate.calibration import Calibration, fastest
from lossatlas.evaluate.graph import rewrite as rewriting
from lossatlas.evaluate.graph import stage as staging
from lossatlas.evaluate.graph import trace as tracing
from lossatlas.evaluate.graph.capture import Captured
from lossatlas.evaluate.graph.run import Graphs, GraphWay, cut
from lossatlas.evaluate.graph.stage import mixed, summed
from lossatlas.evaluate.graph.trace import UntraceableError
from lossatlas.evaluate.graph.weights import Rows, Weights
from lossatlas.evaluate.layout import layouts
from lossatlas.evaluate.plain import Plain
from lossatlas.evaluate.plans import Plan
from lossatlas.results.store import RunFolder

POINTS = np.array([[0.0, 0.0], [0.3, -0.2], [-1.0, 1.0], [0.05, 0.4], [1.0, 0.2]])


class Block(nn.Module):
    """Two convolutions with norms, a skip connection and an activation that writes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.Conv2d(4, 4, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.norms[1](self.second(self.act(self.norms[0](self.first(x)))))
        return self.act(x + y)


def conv_net() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), Block(), nn.Flatten(), nn.LazyLinear(5)
    )
    net(torch.randn(2, 3, 9, 9))
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.2, 3)
    return net.eval()


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(60, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 5)
    ).eval()


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(60, 60), nn.Linear(60, 60)
        self.b.weight = self.a.weight
        self.out = nn.Linear(60, 5)

    def forward(self, x):
        return self.out(torch.relu(self.b(torch.relu(self.a(x)))))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.out = nn.Linear(16, 5)

    def forward(self, x):
        return self.out(self.layer(self.embed(x)).mean(1))


NETS = {
    "convolutions": (conv_net, lambda n: torch.randn(n, 3, 9, 9)),
    "mlp": (mlp, lambda n: torch.randn(n, 60)),
    "tied": (Tied, lambda n: torch.randn(n, 60)),
    "attention": (lambda: Attention().eval(), lambda n: torch.randint(0, 20, (n, 7))),
    "resnet": (
        lambda: la.zoo.model("resnet", depth=8, width=4, channels=1, seed=0).eval(),
        lambda n: torch.randn(n, 1, 8, 8),
    ),
}
PLANS = [
    Plan(name="graph"),
    Plan(name="graph", micro=7),
    Plan(name="graph", micro=7, workers=2),
    Plan(name="stacked", micro=23, points=3),
]


def objective_of(name: str, samples: int = 23, **options) -> la.Objective:
    torch.manual_seed(0)
    make, inputs = NETS[name]
    data = inputs(samples), torch.randint(0, 5, (samples,))
    return la.Objective(make(), data, F.cross_entropy, metrics={"error": la.metrics.error}, batch_size=10, **options)


@pytest.mark.parametrize("still", [("bias", "norm"), ()], ids=["norms still", "all move"])
@pytest.mark.parametrize("name", NETS)
def test_every_plan_gives_the_value_of_the_plain_one(name, still):
    objective = objective_of(name)
    plane = la.Plane.random(objective, seed=1, still=still)
    truth = Plain(objective, plane).values(POINTS)
    graphs = Graphs(objective, plane)
    for plan in PLANS:
        way = graphs.way(plan)
        assert way.values(POINTS) == pytest.approx(truth, rel=1e-6, abs=1e-12), str(plan)
        way.close()


def test_interpolated_statistics_move_in_the_graph_too():
    objective = objective_of("convolutions", batchnorm="interpolated")
    other = {name: tensor + 0.1 * torch.rand_like(tensor) for name, tensor in objective.origin.items()}
    plane = la.Plane.towards(objective, other)
    points = np.array([[0.0], [0.5], [1.0]])
    truth = Plain(objective, plane).values(points)
    assert Graphs(objective, plane).way(Plan(name="graph")).values(points) == pytest.approx(truth, rel=1e-6)


def test_norms_are_folded_and_kernels_fused_only_where_that_is_exact():
    objective = objective_of("convolutions")
    for still, norms in ((("bias", "norm"), 3), (("bias",), 0)):
        plane = la.Plane.random(objective, still=still)
        slots = {
            n: Rows(torch.stack([plane.origin[n], *(d[n] for d in plane.directions.values())])) for n in plane.moving
        }
        work = rewriting.program(tracing.trace(objective), slots, {})
        before = calls(work), {name: rows.tensors.clone() for name, rows in work.slots.items()}
        folded = rewriting.fold_norms(work)
        assert calls(work, *rewriting.NORMS) - calls(folded, *rewriting.NORMS) == norms
        fused = rewriting.fuse_kernels(folded)
        assert calls(fused, *rewriting.CONVOLUTIONS[1:]) == (
            3 if norms else 2
        )  # two whose input moves, for their packing
        assert calls(folded, *rewriting.CONVOLUTIONS[1:]) == 0
        assert before[0] == calls(work)
        assert all(torch.equal(rows.tensors, before[1][name]) for name, rows in work.slots.items())


def calls(work, *targets):
    """How many nodes of a program call one of some operations, or any."""
    return sum(not targets or node.target in targets for node in work.graph.graph.nodes)


class Summed(torch.nn.Module):
    """A block whose input is read once more after the sum, or not."""

    def __init__(self, again: bool) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.inner, self.last = torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.Conv2d(4, 4, 3, padding=1)
        self.out, self.again = torch.nn.Linear(4, 3), again

    def forward(self, x):
        first = torch.relu(self.stem(x))
        second = torch.relu(self.last(torch.relu(self.inner(first))) + first)
        return self.out((second + 3 * first if self.again else second).mean((2, 3)))


@pytest.mark.skipif(not hasattr(torch.ops.mkldnn, "_convolution_pointwise"), reason="this build has no oneDNN")
@pytest.mark.parametrize("again", [False, True])
def test_a_sum_is_written_over_its_summand_only_where_nobody_reads_that_again(again):
    torch.manual_seed(0)
    objective = la.Objective(
        Summed(again), (torch.randn(23, 1, 8, 8), torch.randint(0, 3, (23,))), F.cross_entropy, batch_size=10
    )
    plane = la.Plane.random(objective, seed=0)
    way = Graphs(objective, plane).way(Plan(name="graph", micro=5))
    names = [str(node.target) for node in way._staged.after.graph.nodes]
    assert names.count("mkldnn._convolution_pointwise_.binary") == (0 if again else 1)
    assert names.count("mkldnn._convolution_pointwise.binary") == (1 if again else 0)
    assert set(way._staged.work.packed) == {f"p_model_{name}_weight" for name in ("stem", "inner", "last")}
    truth = Plain(objective, plane).values(POINTS)
    for _ in range(2):
        assert way.values(POINTS) == pytest.approx(truth, rel=1e-6)


class Recorder:
    """Stands for ``torch.cuda``: a graph that, like the real one, writes into the memory it was recorded with."""

    def __init__(self):
        self.calls, self.replays, self.captured, self.work = 0, 0, None, None

    def current_stream(self):
        return self

    Stream = current_stream

    def wait_stream(self, other):
        pass

    @contextlib.contextmanager
    def stream(self, aside):
        yield

    graph = stream

    def CUDAGraph(self):
        return self

    def run(self, given):
        self.calls += 1
        return (given * 2).sum(1)

    def replay(self):
        self.replays += 1
        self.captured._found.copy_((self.captured._given * 2).sum(1))


def test_a_captured_function_is_replayed_on_its_own_memory():
    fake = Recorder()
    fake.captured = Captured(fake.run, torch.ones(2, 3), cuda=fake)
    first = fake.captured(torch.full((2, 3), 2.0))
    second = fake.captured(torch.zeros(2, 3))
    assert first.tolist() == [12.0, 12.0]  # not overwritten by the second
    assert second.tolist() == [0.0, 0.0]
    assert (fake.calls, fake.replays) == (4, 2)


def test_on_a_gpu_every_plan_is_tried_as_a_cuda_graph_too():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert rule.captured(Plan(name="graph"), cpu) == [Plan(name="graph")]
    assert [plan.captured for plan in rule.captured(Plan(name="graph"), cuda)] == [False, True]
    assert [plan.captured for plan in rule.captured(Plan(name="compiled"), cuda)] == [False]


def test_a_cuda_graph_is_refused_without_a_cuda_device():
    objective = objective_of("mlp")
    way = Graphs(objective, la.Plane.random(objective, seed=0)).way(Plan(name="graph", captured=True))
    with pytest.raises(RuntimeError, match="needs a CUDA device; the objective is on cpu"):
        way.values(POINTS)


def test_what_does_not_move_is_computed_once():
    objective = objective_of("mlp")
    for parameter in objective.model[1].parameters():
        parameter.requires_grad_(False)
    objective = la.Objective(objective.model, objective.batches.source, F.cross_entropy)
    plane = la.Plane.random(objective, seed=0)
    traced = tracing.trace(objective)
    slots = {n: Rows(torch.stack([plane.origin[n], *(d[n] for d in plane.directions.values())])) for n in plane.moving}
    work = rewriting.program(traced, slots, {})
    staged = staging.split(work, room=1 << 20, samples=23)
    left = [str(node.target) for node in staged.after.graph.nodes if node.op == "call_function"]
    assert left.count("aten.linear.default") == 2  # the frozen one is gone
    assert "aten.tanh.default" not in left
    cramped = staging.split(work, room=0, samples=23)
    assert "aten.tanh.default" in [str(node.target) for node in cramped.after.graph.nodes]
    way = Graphs(objective, plane).way(Plan(name="graph"))
    assert way.values(POINTS) == pytest.approx(Plain(objective, plane).values(POINTS), rel=1e-6)


def test_the_first_layer_is_mixed_from_its_outputs_for_every_direction():
    objective = objective_of("mlp")
    plane = la.Plane.random(objective, still=())
    way = Graphs(objective, plane).way(Plan(name="graph"))
    targets = [node.target for node in way._staged.after.graph.nodes]
    assert staging.mixed in targets
    assert way.values(POINTS) == pytest.approx(Plain(objective, plane).values(POINTS), rel=1e-6)


def test_weights_come_from_the_pristine_ones_at_every_point():
    weights = Weights(
        {"w": Rows(torch.randn(3, 4, 2, 3, 3)), "b": Rows(torch.randn(3, 4))}, dtype=torch.float32, channels_last=True
    )
    first = {name: tensor.clone() for name, tensor in weights.move(np.array([[0.0, 0.0]])).items()}
    weights.move(np.array([[1e8, -1e8]]))
    again = weights.move(np.array([[0.0, 0.0]]))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert again["w"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"training": True}, "random numbers"),
        ({"autograd": True}, "derivatives"),
        ({"batchnorm": "recalibrated"}, "afresh at every point"),
        ({"memory": 1}, "do not stay"),
    ],
)
def test_what_has_no_graph_says_why(options, reason):
    with pytest.raises(UntraceableError, match=reason):
        tracing.trace(objective_of("convolutions", **options))


def test_a_model_that_looks_at_its_weights_has_no_graph_and_is_sampled_plainly(monkeypatch):
    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return x * self.w if float(self.w.sum()) > 0 else -x

    objective = la.Objective(Looks(), (torch.randn(9, 3), torch.randn(9, 3)), F.mse_loss)
    plane = la.Plane.random(objective, still=())
    monkeypatch.setattr(choice, "WORTH_SECONDS", 0.0)
    found = la.sample(objective, plane, la.Grid(x=(-2, 2, 3), y=(-2, 2, 3)))
    how = json.loads(found.attrs["evaluation"])
    assert how["in words"] == "plain"
    assert all("torch.export" in reason for reason in how["refused"].values()), how["refused"]
    assert how["refused"]
    assert how["chosen"] == "by rule"
    with pytest.raises(SpecError, match="plan='graph' .* cannot be used here: .*torch.export"):
        la.sample(objective, plane, la.Grid(x=(-2, 2, 3), y=(-2, 2, 3)), plan="graph")


class Slow:
    """Makes ways whose points take as long as a table says, on a clock of its own: no test waits for a machine."""

    def __init__(self, objective, plane, seconds):
        self.graphs, self.seconds, self.now = Graphs(objective, plane), seconds, 0.0

    def clock(self):
        return self.now

    def way(self, plan):
        way, maker = self.graphs.way(plan), self

        class Timed:
            def values(self, coordinates):
                maker.now += maker.seconds(plan) * len(coordinates)
                return way.values(coordinates)

            close = way.close

        return Timed()


def calibrated(objective, seconds=lambda plan: 1e-3, **options):
    """The plan that the clock chooses, where a plain point takes 10 ms and another as long as it is said to."""
    plane = la.Plane.random(objective)
    points = check_points(la.Grid(x=(-1, 1, 9), y=(-1, 1, 9)).axes)
    truth = Plain(objective, plane).values(points)
    maker = Slow(objective, plane, seconds)
    found = Calibration(plan=Plan(), seconds={"plain": 0.01})
    held = Agreement(objective, plane, points, truth)
    fastest(maker, objective, held, found, each=0.01, remaining=81, clock=maker.clock, **options)
    return found


def test_the_search_tries_several_plans_and_takes_the_fastest():
    quick = Plan(name="stacked", micro=23, points=16)
    found = calibrated(objective_of("convolutions"), lambda plan: 1e-4 if plan == quick else 1e-3)
    assert found.plan == quick
    assert found.seconds[str(quick)] == pytest.approx(1e-4)
    assert len(found.seconds) > 3
    assert found.chosen == "by the clock"


def test_where_nothing_is_faster_the_search_stays_with_the_plain_way():
    assert calibrated(objective_of("convolutions"), lambda plan: 0.02).plan == Plan()


def test_a_search_that_has_had_its_share_of_the_time_tries_no_more():
    found = calibrated(objective_of("convolutions"), lambda plan: 3.0)
    assert sum("not tried: the search had used up its share" in reason for reason in found.refused.values()) > 1
    assert len(found.seconds) == 2  # the plain way, and the first plan


def test_a_plan_that_differs_is_refused(monkeypatch):
    def wrong(work):
        return replace(work, slots={name: Rows(rows.tensors * (1 + 1e-4)) for name, rows in work.slots.items()})

    monkeypatch.setattr(rewriting, "fold_norms", wrong)
    found = calibrated(objective_of("convolutions"))
    assert found.plan.name == "plain"
    assert all("differs from the plain" in reason or "not tried" in reason for reason in found.refused.values())


def test_a_loss_that_weighs_batches_otherwise_is_not_cut():
    """A mean over batch pairs changes with the batches, so only whole batches may be used."""
    objective = objective_of("mlp")
    objective.loss = lambda outputs, targets: (outputs.mean(0) ** 2).sum()
    found = calibrated(objective)
    assert found.plan.micro == 0
    assert any("micro" not in name and "samples at once" in name for name in found.refused)


def test_a_short_format_states_its_error_and_it_is_the_true_one(tmp_path):
    objective = objective_of("convolutions")
    plane = la.Plane.random(objective, seed=0)
    grid = la.Grid(x=(-1, 1, 5), y=(-1, 1, 5))
    exact = la.sample(objective, plane, grid, plan="plain")["loss"].values
    found = la.sample(objective, plane, grid, precision="bf16", run=tmp_path / "run")
    stated = json.loads(found.attrs["evaluation"])["error"]["loss"]["largest relative"]
    true = np.abs(found["loss"].values / exact - 1)
    assert 0 < stated < 0.1
    at_corner = true[0, 0]
    assert at_corner <= stated * 1.01 + 1e-9
    assert found.attrs["dtype"] == "bf16"
    with pytest.raises(la.RunMismatchError, match="precision is bf16 there and exact here"):
        la.sample(objective, plane, grid, run=tmp_path / "run")


def stop():
    raise KeyboardInterrupt


def test_a_resumed_run_keeps_its_plan(tmp_path, monkeypatch):
    objective = objective_of("convolutions")
    plane, grid = la.Plane.random(objective), la.Grid(x=(-1, 1, 4), y=(-1, 1, 4))
    whole = la.sample(objective, plane, grid, plan="graph", block=4)
    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        commit = RunFolder.commit
        stopped.setattr(RunFolder, "commit", lambda run, block: (commit(run, block), stop())[0])
        la.sample(objective, plane, grid, plan="graph", run=tmp_path / "a", block=4)
    kept = json.loads((tmp_path / "a" / "evaluation.json").read_text())
    assert kept["plan"]["name"] == "graph"
    again = la.sample(objective, plane, grid, run=tmp_path / "a", block=4)
    assert np.array_equal(whole["loss"].values, again["loss"].values)
    with pytest.raises(SpecError, match="this run began with the plan 'graph"):
        la.sample(objective, plane, grid, plan="stacked", run=tmp_path / "a")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"plan": "fast"},
            "plan='fast' is unknown; choose one of: auto, fastest, plain, channels_last, fused, graph, stacked, shared, compiled",
        ),
        ({"precision": "int8"}, "precision='int8' is unknown; choose one of: exact, tf32, bf16, fp16"),
        ({"precision": "tf32"}, "needs an NVIDIA GPU"),
        ({"precision": "bf16", "plan": "plain"}, "needs a graph"),
    ],
)
def test_bad_plans_are_named(options, message):
    objective = objective_of("mlp")
    with pytest.raises(SpecError, match=message):
        la.sample(objective, la.Plane.random(objective), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), **options)


def test_threads_and_model_are_as_before(request):
    request.addfinalizer(functools.partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(3)
    objective = objective_of("convolutions")
    before = torch.get_num_threads()
    way = Graphs(objective, la.Plane.random(objective)).way(Plan(name="graph", micro=5, workers=2))
    way.values(POINTS)
    way.close()
    assert ThreadPoolExecutor(1).submit(torch.get_num_threads).result() == before
    state = {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}
    la.sample(objective, la.Plane.random(objective), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), plan="graph")
    assert torch.get_num_threads() == before
    assert all(torch.equal(tensor, state[name]) for name, tensor in objective.model.state_dict().items())


def test_values_that_are_not_finite_pass_through_a_graph():
    objective = objective_of("mlp")
    plane = la.Plane.random(objective, still=())
    values = Graphs(objective, plane).way(Plan(name="graph")).values(np.array([[1e38, 1e38]]))
    assert not math.isfinite(values[0, 0])


def test_every_worker_gets_as_many_parts_and_no_sample_is_lost() -> None:
    model = torch.nn.Linear(3, 2)
    data = (torch.arange(300.0).reshape(100, 3), torch.zeros(100, dtype=torch.long))
    objective = la.Objective(model, data, torch.nn.functional.cross_entropy, batch_size=100)
    parts = [leaves[0] for leaves in cut(objective, 40, workers=2)]
    assert [len(part) for part in parts] == [25, 25, 25, 25]
    assert torch.equal(torch.cat(parts), data[0])


def test_the_plain_way_gives_every_worker_as_many_parts_too() -> None:
    model = torch.nn.Linear(3, 5)
    data = (torch.arange(300.0).reshape(100, 3), torch.zeros(100, dtype=torch.long))
    objective = la.Objective(model, data, torch.nn.functional.cross_entropy, batch_size=100)
    parts = [part[0] for part in layout._cut(objective, Plan(name="channels_last", micro=40, workers=2))]
    assert [len(part) for part in parts] == [25, 25, 25, 25]
    assert torch.equal(torch.cat(parts), data[0])


def test_double_precision_weighs_short_batches_by_their_samples() -> None:
    objective = objective_of("mlp")  # batches of 10, 10 and 3
    plane = la.Plane.random(objective, seed=0)
    truth = Plain(objective, plane).values(np.zeros((1, 2)))[0]
    np.testing.assert_allclose(agreement.in_double(objective, objective.origin), truth, rtol=1e-6)


def test_a_plan_says_all_that_it_does() -> None:
    plan = Plan(name="stacked", micro=1, workers=2, points=2, precision="bf16", captured=True)
    assert str(plan) == "stacked, 1 sample at once, 2 workers, 2 points at once, captured, bf16"
    assert str(Plan()) == "plain"


def test_sums_mix_the_outputs_of_an_affine_layer_as_a_product_does() -> None:
    parts, at = torch.randn(3, 5, 4), torch.tensor([1.0, -0.3, 0.7])
    torch.testing.assert_close(summed(at, parts), mixed(at, parts))


def test_a_small_loss_may_be_twice_as_far_from_double_precision_as_the_plain_one_and_no_further(monkeypatch):
    objective = objective_of("mlp")
    plane = la.Plane.random(objective, seed=0)
    double, truth = np.array([[1.0, 0.0]]), np.array([[1.0 + 1e-5, 0.0]])  # plain: 1e-5 off, as of a tiny loss
    monkeypatch.setattr(agreement, "in_double", lambda *_: double[0])
    held = Agreement(objective, plane, np.zeros((1, 2)), truth)
    assert held.reason_against(np.array([[1.0 - 1.9e-5, 0.0]])) == ""
    assert "differs from the plain evaluation" in held.reason_against(np.array([[1.0 - 2.1e-5, 0.0]]))
    assert "differs from the plain evaluation" in held.reason_against(np.array([[1.0 + 1e-4, 0.0]]))


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"plan": {"name": "graph"', '{"plan": {"speed": 3}}'])
def test_a_run_whose_plan_is_no_longer_known_is_not_gone_on_with_by_another(tmp_path, damage):
    objective = objective_of("convolutions")
    plane, grid = la.Plane.random(objective), la.Grid(x=(-1, 1, 4), y=(-1, 1, 4))
    la.sample(objective, plane, grid, plan="graph", run=tmp_path / "a")
    kept = tmp_path / "a" / "evaluation.json"
    kept.write_text(damage)
    with pytest.raises(SpecError, match=r"evaluation\.json is damaged"):
        la.sample(objective, plane, grid, run=tmp_path / "a")


def test_two_fresh_runs_follow_the_same_plan_however_fast_the_machine_seems(tmp_path, monkeypatch):
    """The plain evaluation seems to take a microsecond in one run and a minute in the other."""
    objective = objective_of("convolutions")
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 4), y=(-1, 1, 4))
    monkeypatch.setattr(choice, "WORTH_SECONDS", 0.0)
    found = []
    for step in (1e-6, 60.0):
        now = iter(range(10**9))
        monkeypatch.setattr("time.perf_counter", lambda step=step, now=now: step * next(now))
        found.append(la.sample(objective, plane, grid, progress=False))
    first, second = found
    plans = [json.loads(one.attrs["evaluation"])["in words"] for one in found]
    assert plans[0] == plans[1] != "plain"
    assert first["loss"].values.tobytes() == second["loss"].values.tobytes()
    assert json.loads(first.attrs["evaluation"])["chosen"] == "by rule"


def test_the_rule_counts_work_and_ends_with_the_plain_way():
    tiny, wide = objective_of("mlp"), objective_of("mlp", samples=2300)
    assert 0 < rule.reckoned(tiny) < rule.reckoned(wide)
    assert rule.reckoned(tiny) == rule.reckoned(tiny)
    short = rule.plans_for(tiny, points=9, seconds=0.001, wanted="auto", precision="exact")
    assert short[0].name == "stacked"
    assert short[-1] == Plan()
    heavy = rule.plans_for(wide, points=9, seconds=1.0, wanted="auto", precision="exact")
    assert {plan.name for plan in heavy} == {"graph", "plain"}
    assert Plan() not in rule.plans_for(wide, points=9, seconds=1.0, wanted="auto", precision="bf16")


def test_a_plan_of_ones_own_is_carried_out_as_it_is():
    objective = objective_of("mlp")
    plane, grid = la.Plane.random(objective), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    own = la.Plan(name="stacked", micro=11, points=2)
    how = json.loads(la.sample(objective, plane, grid, plan=own).attrs["evaluation"])
    assert (how["in words"], how["chosen"]) == (str(own), "as asked for")
    with pytest.raises(
        SpecError, match=r"plan.name='auto' is unknown; choose one of: plain, channels_last, fused, graph"
    ):
        la.sample(objective, plane, grid, plan=la.Plan(name="auto"))
    with pytest.raises(SpecError, match=r"plan is an int \(\d+\); expected a name"):
        la.sample(objective, plane, grid, plan=3)


def test_a_plan_by_rule_is_checked_on_few_samples_and_on_all_at_the_centre(monkeypatch):
    """No plain evaluation of all samples is made for it, and what is built for the check is what carries the run."""
    objective = objective_of("convolutions", samples=80)
    plane, made = la.Plane.random(objective, seed=0), []
    measured, built = Plain._measured, GraphWay.__init__
    monkeypatch.setattr(Plain, "_measured", lambda way: (made.append(way.objective.samples), measured(way))[1])
    monkeypatch.setattr(
        GraphWay, "__init__", lambda way, part, *rest: (made.append(-part.samples), built(way, part, *rest))[1]
    )
    la.sample(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), plan="graph")
    assert made == [10] * 5 + [-10, -80]  # the first batch has ten samples


def test_a_short_run_of_a_network_with_convolutions_takes_the_layout_that_they_like(monkeypatch):
    objective = objective_of("convolutions", samples=80)
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    monkeypatch.setattr(choice, "LAYOUT_SECONDS", 0.0)
    truth, found = la.sample(objective, plane, grid, plan="plain"), la.sample(objective, plane, grid)
    assert json.loads(found.attrs["evaluation"])["plan"]["name"] == "fused"
    np.testing.assert_allclose(found["loss"], truth["loss"], rtol=1e-6)
    mlp = objective_of("mlp")
    found = la.sample(mlp, la.Plane.random(mlp, seed=0), grid)
    assert json.loads(found.attrs["evaluation"])["plan"]["name"] == "plain"


class Particular(nn.Module):
    """Convolutions that take some numbers of rows alone, and say so in their own way."""

    def __init__(self, taken: tuple[int, ...], fault: type[Exception]) -> None:
        super().__init__()
        self.net, self.taken, self.fault = conv_net(), taken, fault

    def forward(self, x):
        if len(x) not in self.taken:
            raise self.fault(len(x))
        return self.net(x)


@pytest.mark.parametrize("fault", [AssertionError, KeyError, NameError])
@pytest.mark.parametrize("taken", [(8, 10), (10,)], ids=["the few too", "its own alone"])
def test_a_model_that_refuses_parts_of_a_batch_in_words_of_its_own_is_sampled_plainly(monkeypatch, taken, fault):
    objective = objective_of("convolutions", samples=80)
    objective = la.Objective(Particular(taken, fault), objective.batches, F.cross_entropy)
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    monkeypatch.setattr(choice, "LAYOUT_SECONDS", 0.0)
    monkeypatch.setattr(layout, "workers_to_try", lambda device: [2])
    truth, found = la.sample(objective, plane, grid, plan="plain"), la.sample(objective, plane, grid)
    assert json.loads(found.attrs["evaluation"])["plan"]["name"] == "plain"
    assert np.array_equal(found["loss"], truth["loss"])


def test_tensors_of_five_dimensions_beside_convolutions_are_left_as_they_are(monkeypatch):
    net = conv_net()
    net.register_buffer("volume", torch.ones(1, 1, 1, 1, 2))
    objective = la.Objective(net, objective_of("convolutions", samples=80).batches, F.cross_entropy)
    monkeypatch.setattr(choice, "LAYOUT_SECONDS", 0.0)
    found = la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
    assert json.loads(found.attrs["evaluation"])["plan"]["name"] == "fused"


@pytest.mark.parametrize("seconds", ["LAYOUT_SECONDS", "WORTH_SECONDS"])
def test_a_run_inside_autocast_is_sampled_plainly(monkeypatch, seconds):
    """Autocast holds for one thread, and a graph rounds at other places: the run ended with a centre that differs."""
    objective = objective_of("convolutions", samples=80)
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    for name in ("LAYOUT_SECONDS", "WORTH_SECONDS"):
        monkeypatch.setattr(choice, name, 0.0 if name == seconds else math.inf)
    with torch.autocast("cpu", torch.bfloat16):
        truth, found = la.sample(objective, plane, grid, plan="plain"), la.sample(objective, plane, grid)
        with pytest.raises(SpecError, match="autocast is on around the run"):
            la.sample(objective, plane, grid, plan="graph")
    assert json.loads(found.attrs["evaluation"])["plan"]["name"] == "plain"
    assert np.array_equal(found["loss"], truth["loss"])


def test_work_is_not_counted_where_there_is_the_plain_plan_alone(monkeypatch):
    objective = objective_of("convolutions", batchnorm="recalibrated")
    monkeypatch.setattr(choice, "reckoned", lambda objective: pytest.fail("counted for nothing"))
    found = la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 2), y=(-1, 1, 2)))
    assert json.loads(found.attrs["evaluation"])["refused"] == {"graph": "BatchNorm is measured afresh at every point"}


def test_a_user_s_own_forward_is_not_called_from_two_threads():
    def forward(model, batch):
        return model(batch[0]), batch[1]

    assert layouts(objective_of("convolutions"))
    assert not layouts(objective_of("convolutions", forward=forward))
    assert not layouts(objective_of("mlp"))


def test_a_plan_that_is_right_on_few_samples_and_wrong_on_all_is_refused(monkeypatch):
    objective = objective_of("mlp", samples=80)
    objective.loss = lambda outputs, targets: (outputs.mean(0) ** 2).sum()  # depends on how the data is cut
    plane, grid = la.Plane.random(objective), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    monkeypatch.setattr(choice, "WORTH_SECONDS", 0.0)
    truth = la.sample(objective, plane, grid, plan="plain")
    found = la.sample(objective, plane, grid)
    how = json.loads(found.attrs["evaluation"])
    assert any("differs from the plain evaluation" in reason for reason in how["refused"].values())
    np.testing.assert_allclose(found["loss"], truth["loss"], rtol=1e-5)


def test_an_adaptive_run_is_reckoned_by_the_points_that_it_takes():
    sampler = la.Adaptive(x=(-1, 1, 51), y=(-1, 1, 51))
    assert 250 < sampler.expected < 350
    assert la.Adaptive(x=(-1, 1, 4), y=(-1, 1, 4)).expected == 16
