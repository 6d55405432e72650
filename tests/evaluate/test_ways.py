"""Does every way of evaluation keep the promises of the protocol?"""

from __future__ import annotations

import functools
import json
import threading
import time
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.curvature.map import Ends
from lossatlas.curvature.products import Matrix
from lossatlas.evaluate.called import Called
from lossatlas.evaluate.choice import Ways
from lossatlas.evaluate.evaluator import Evaluator
from lossatlas.evaluate.graph.run import Graphs
from lossatlas.evaluate.graph.trace import UntraceableError
from lossatlas.evaluate.layout import ChannelsLast, Each, FusedKernels, layouts
from lossatlas.evaluate.plain import Plain, PlainEach, PlainWithErrors
from lossatlas.evaluate.plans import Plan, workers_to_try
from lossatlas.evaluate.streaming import Streamed
from lossatlas.evaluate.way import Begun, UnmeasuredError
from lossatlas.objective.spread import measure_with_errors
from lossatlas.results.landscape import Status
from lossatlas.space.curves import Curve

POINTS = np.array([[0.0, 0.0], [0.3, -0.2], [-0.5, 0.5], [0.05, 0.4]])


class WayContract:
    """Inherit, and say what is made: ``objective()``, ``chart(objective)`` and ``way(objective, chart)``."""

    EXACT = 1e-6
    """Relative difference that another company of points may make."""

    def objective(self) -> la.Objective:
        raise NotImplementedError

    def chart(self, objective):
        return la.Plane.random(objective, seed=1)

    def way(self, objective, chart):
        raise NotImplementedError

    def expected(self, objective, chart) -> np.ndarray:
        """The values at the origin."""
        return np.array(list(objective().values()))

    @pytest.fixture
    def made(self):
        objective = self.objective()
        chart = self.chart(objective)
        way = self.way(objective, chart)
        yield objective, chart, way
        way.close()

    def points(self, chart) -> np.ndarray:
        return POINTS[:, : len(chart.axes)]

    def test_values_are_float64_with_a_row_for_each_point(self, made):
        _, chart, way = made
        for count in (1, 3):
            values = way.values(self.points(chart)[:count])
            assert values.dtype == np.float64
            assert values.shape[0] == count
            assert values.ndim == 2

    def test_the_same_call_gives_the_same_bits(self, made):
        objective, chart, way = made
        first = way.values(self.points(chart))
        way.close()
        again = self.way(objective, chart)
        np.testing.assert_array_equal(again.values(self.points(chart)), first)
        again.close()

    def test_a_row_depends_on_its_own_point_alone(self, made):
        _, chart, way = made
        points = self.points(chart)
        together = way.values(points)
        backwards = way.values(points[::-1])[::-1]
        alone = np.concatenate([way.values(row[None]) for row in points])
        np.testing.assert_allclose(backwards, together, rtol=self.EXACT, atol=1e-12)
        np.testing.assert_allclose(alone, together, rtol=self.EXACT, atol=1e-12)

    def test_at_the_origin_it_is_the_value_of_the_objective(self, made):
        objective, chart, way = made
        found = way.values(np.zeros((1, len(chart.axes))))[0]
        np.testing.assert_allclose(found, self.expected(objective, chart), rtol=max(self.EXACT, 1e-6), atol=1e-12)

    def test_the_model_is_left_as_it_was(self, made):
        objective, chart, way = made
        before = {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}
        random, mode = torch.get_rng_state(), objective.model.training
        way.values(self.points(chart))
        way.close()
        way.close()  # twice does no harm
        assert all(torch.equal(tensor, before[name]) for name, tensor in objective.model.state_dict().items())
        assert torch.equal(torch.get_rng_state(), random)
        assert objective.model.training == mode


def objective(**options) -> la.Objective:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).eval()
    data = torch.randn(25, 4), torch.randint(3, (25,))
    return la.Objective(net, data, F.cross_entropy, metrics={"error": la.metrics.error}, batch_size=10, **options)


class TestPlain(WayContract):
    def objective(self):
        return objective()

    def way(self, objective, chart):
        return Plain(objective, chart)


class TestPlainOnACurve(TestPlain):
    def chart(self, objective):
        bend, end = ({n: t + s * torch.ones_like(t) for n, t in objective.origin.items()} for s in (0.1, 0.2))
        return Curve([dict(objective.origin), bend, end], "bezier")

    def points(self, chart):
        return np.array([[0.0], [0.4], [0.7], [1.0]])


class TestPlainOnAnyChart(TestPlain):
    def chart(self, objective):
        class Circle:
            axes = ("t",)

            def at(self, coordinates):
                swing = np.sin(coordinates.get("t", 0.0))
                return {name: t + swing * torch.ones_like(t) for name, t in objective.origin.items()}

        return Circle()


def convolutional(**options) -> la.Objective:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(1)).eval()
    head = nn.Sequential(net, nn.Linear(2 * 4 * 4, 3))
    data = torch.randn(25, 3, 8, 8), torch.randint(3, (25,))
    return la.Objective(head, data, F.cross_entropy, metrics={"error": la.metrics.error}, batch_size=10, **options)


class TestChannelsLast(WayContract):
    def objective(self):
        return convolutional()

    def way(self, objective, chart):
        return ChannelsLast(objective, chart, Plan(name="channels_last", micro=3, workers=2))

    def test_it_agrees_with_the_plain_evaluation_everywhere(self, made):
        objective, chart, way = made
        plain = Plain(objective, chart).values(POINTS)
        np.testing.assert_allclose(way.values(POINTS), plain, rtol=1e-6)

    def test_the_objective_s_own_copy_keeps_its_layout_and_its_place(self, made):
        objective, _, way = made
        kernel = objective.private[0][0].weight
        before = kernel.clone()
        way.values(POINTS)
        assert torch.equal(kernel, before)
        assert kernel.stride() == before.stride() == (27, 9, 3, 1)


class Keeping(nn.Module):
    """A loss that keeps something between two lines, and lets the other thread pass before it reads it again."""

    meeting = threading.Barrier(2)
    threads = False
    last: torch.Tensor

    def forward(self, outputs, targets):
        self.last = F.cross_entropy(outputs, targets)
        if self.threads:
            self.meeting.wait(timeout=300)
        return self.last


class Failing:
    """A loss that fails for one part of the data at once, and for the other takes its time."""

    done: ClassVar[list[int]] = []
    fails = False

    def __call__(self, outputs, targets):
        if self.fails and targets[0] == 0:
            raise ValueError("no loss of this part")
        if self.fails:
            time.sleep(0.3)
            self.done.append(1)
        return F.cross_entropy(outputs, targets)


def in_two(loss, net=None):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 5)) if net is None else net
    made = la.Objective(net, (torch.randn(8, 3, 5, 5), torch.tensor([0, 1, 2, 3, 4, 1, 2, 3])), loss)
    made()
    return made, la.Plane.random(made, seed=0), Plan(name="channels_last", micro=4, workers=2)


def test_a_loss_that_keeps_something_is_not_shared_by_threads(monkeypatch):
    made, plane, plan = in_two(Keeping())
    truth = Plain(made, plane).values(POINTS)
    way = ChannelsLast(made, plane, plan)
    monkeypatch.setattr(Keeping, "threads", True)
    np.testing.assert_allclose(way.values(POINTS), truth, rtol=1e-6)
    way.close()


def test_a_part_that_fails_is_waited_for_with_all_others(monkeypatch):
    made, plane, plan = in_two(Failing())
    way = ChannelsLast(made, plane, plan)
    monkeypatch.setattr(Failing, "fails", True)
    with pytest.raises(ValueError, match="no loss of this part"):
        way.values(POINTS[:1])
    assert Failing.done == [1]
    way.close()


def test_a_hook_that_is_a_function_is_not_called_from_two_threads():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 5))
    seen = {}
    net[0].register_forward_hook(lambda module, inputs, outputs: seen.update(last=outputs))
    made, plane, plan = in_two(F.cross_entropy, net)
    with pytest.raises(UntraceableError, match="a hook of the model, which is a function"):
        ChannelsLast(made, plane, plan)
    ChannelsLast(made, plane, Plan(name="channels_last", micro=4)).close()


KEPT: dict[str, torch.Tensor] = {}


def keeping_in_its_module(outputs, targets):
    KEPT["last"] = outputs
    time.sleep(0.01)
    return F.cross_entropy(KEPT["last"], targets)


def calling_one_that_keeps(outputs, targets):
    return keeping_in_its_module(outputs, targets)


def keeping_in_a_closure():
    last = None

    def loss(outputs, targets):
        nonlocal last
        last = outputs
        return F.cross_entropy(last, targets)

    return loss


def writing_in_place():
    by = torch.zeros(8, 5)

    def loss(outputs, targets):
        return F.cross_entropy(by[: len(outputs)].copy_(outputs), targets)

    return loss


class ForwardThatKeeps(nn.Sequential):
    def forward(self, x):
        KEPT["last"] = x
        return super().forward(KEPT["last"])


@pytest.mark.parametrize(
    ("loss", "shared"),
    [
        (keeping_in_its_module, "'KEPT' of keeping_in_its_module|what keeping_in_its_module writes to"),
        (calling_one_that_keeps, "'KEPT' of keeping_in_its_module|what keeping_in_its_module writes to"),
        (functools.partial(calling_one_that_keeps), "keeping_in_its_module"),
        (keeping_in_a_closure(), "what loss writes to"),
        (writing_in_place(), "what loss writes to in place"),
    ],
)
def test_a_function_that_keeps_something_is_not_called_from_two_threads(loss, shared):
    made, plane, plan = in_two(loss)
    with pytest.raises(UntraceableError, match=shared):
        ChannelsLast(made, plane, plan)
    assert {one.workers for one in layouts(made)} == {1}
    way = ChannelsLast(made, plane, Plan(name="channels_last", micro=4))
    np.testing.assert_allclose(way.values(POINTS), Plain(made, plane).values(POINTS), rtol=1e-6)
    way.close()


def test_a_forward_that_keeps_something_in_its_module_is_not_called_from_two_threads():
    made, plane, plan = in_two(F.cross_entropy, ForwardThatKeeps(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 5)))
    with pytest.raises(UntraceableError, match="'KEPT' of forward"):
        ChannelsLast(made, plane, plan)


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "shared"), [(lambda x: KEPT.setdefault("last", x), True), (lambda x: F.relu(x), False)]
)
def test_a_function_that_a_layer_holds_is_looked_into(function, shared):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), Calls(function), nn.Flatten(), nn.Linear(36, 5))
    KEPT.clear()
    made, plane, plan = in_two(F.cross_entropy, net)
    assert {one.workers for one in layouts(made)} == ({1} if shared else {workers_to_try(made.device)[0]})
    if shared:
        with pytest.raises(UntraceableError, match="'KEPT' of <lambda>"):
            ChannelsLast(made, plane, plan)


WEIGHTS = torch.ones(5)


def plain_loss(outputs, targets, smoothing=0.1):
    return F.cross_entropy(outputs, targets, WEIGHTS, label_smoothing=smoothing)


@pytest.mark.parametrize(
    "loss",
    [F.cross_entropy, plain_loss, functools.partial(plain_loss, smoothing=0.0), nn.CrossEntropyLoss(), Keeping()],
)
def test_a_plain_function_and_an_object_are_called_from_two_threads(loss):
    made, plane, plan = in_two(loss)
    ChannelsLast(made, plane, plan).close()


def test_workers_share_what_they_only_read():
    way = ChannelsLast(*in_two(F.cross_entropy))
    first, second = ([*each._mover._base.values(), *each._mover._directions["x"].values()] for each in way._ways)
    assert [one.data_ptr() for one in first] == [one.data_ptr() for one in second]
    assert way._ways[0].objective.private[0].weight.data_ptr() != way._ways[1].objective.private[0].weight.data_ptr()
    way.close()


class TestChannelsLastAlone(TestChannelsLast):
    def way(self, objective, chart):
        return ChannelsLast(objective, chart, Plan(name="channels_last"))


class TestFused(TestChannelsLast):
    def way(self, objective, chart):
        return FusedKernels(objective, chart, Plan(name="fused", micro=3, workers=2))


class TestBegun(TestChannelsLast):
    """What a plan was tried on at the centre and elsewhere is there already; the rest is evaluated."""

    def way(self, objective, chart):
        way = ChannelsLast(objective, chart, Plan(name="channels_last", micro=3, workers=2))
        return Begun(way, POINTS[1:3], way.values(POINTS[1:3]))


class TestWithErrors(WayContract):
    def objective(self):
        return objective()

    def way(self, objective, chart):
        return PlainWithErrors(objective, chart)

    def expected(self, objective, chart):
        objective.move()
        values, errors = measure_with_errors(objective)
        return np.array([*values.values(), *errors.values()])


class TestEach(WayContract):
    def objective(self):
        return objective()

    def way(self, objective, chart):
        return PlainEach(objective, chart)

    def expected(self, objective, chart):
        objective.move()
        return objective.each().numpy().ravel()


class TestTogether(WayContract):
    """The plain evaluation of batches put together."""

    def objective(self):
        x, y = torch.randn(50, 4, generator=torch.Generator().manual_seed(3)), torch.arange(50) % 3
        return la.Objective(nn.Linear(4, 3), (x, y), F.cross_entropy, metrics={"error": la.metrics.error}, batch_size=7)

    def way(self, objective, chart):
        return Ways(objective, chart).way(Plan(name="plain", micro=20))

    def test_it_agrees_with_the_plain_evaluation_in_fewer_batches(self, made):
        objective, chart, way = made
        np.testing.assert_allclose(way.values(POINTS), Plain(objective, chart).values(POINTS), rtol=1e-6)
        assert objective.batches.number == 8
        assert way.objective.batches.number == 4

    def test_a_run_takes_it_where_calls_cost_more_than_arithmetic(self, monkeypatch):
        objective = self.objective()
        plane, grid = self.chart(objective), la.Grid(x=(-1, 1, 9), y=(-1, 1, 9))
        before = la.sample(objective, plane, grid)
        monkeypatch.setattr("lossatlas.evaluate.rule.TOGETHER_SECONDS", 0.0)
        after = la.sample(objective, plane, grid)
        words = [json.loads(found.attrs["evaluation"])["in words"] for found in (before, after)]
        assert words == ["plain", "plain, 2048 samples at once"]
        np.testing.assert_allclose(after["loss"], before["loss"], rtol=1e-6)

    def test_batches_of_different_kinds_stay_as_they_are(self, monkeypatch):
        monkeypatch.setattr("lossatlas.evaluate.rule.TOGETHER_SECONDS", 0.0)
        batches = [(torch.randn(5, length, 4), torch.randn(5, length, 1)) for length in (2, 3)]
        objective = la.Objective(nn.Linear(4, 1), batches, F.mse_loss)
        found = la.sample(objective, self.chart(objective), la.Grid(x=(-1, 1, 5), y=(-1, 1, 5)))
        assert json.loads(found.attrs["evaluation"])["in words"] == "plain"


class TestEachFused(TestEach):
    """The same by workers that share the batches: rows come in the order of the samples."""

    def objective(self):
        return convolutional()

    def way(self, objective, chart):
        return Each(FusedKernels(objective, chart, Plan(name="fused", micro=3, workers=2)))

    def expected(self, objective, chart):
        return super().expected(objective, chart).astype(np.float32)

    def test_every_sample_has_its_plain_value(self, made):
        objective, chart, way = made
        plain = PlainEach(objective, chart).values(POINTS)
        np.testing.assert_allclose(way.values(POINTS), plain, rtol=1e-5)
        assert len(np.unique(plain[0])) > objective.samples  # the order of the samples shows


class TestGraph(WayContract):
    PLAN = Plan(name="graph", micro=7)

    def objective(self):
        return objective()

    def way(self, objective, chart):
        return Graphs(objective, chart).way(self.PLAN)


class TestStacked(TestGraph):
    PLAN = Plan(name="stacked", micro=25, points=3)


class TestWorkers(TestGraph):
    PLAN = Plan(name="graph", micro=7, workers=2)


class TestStreamed(WayContract):
    def objective(self):
        return objective(in_place=True)

    def way(self, objective, chart):
        return Streamed(objective, chart)


class TestCurvature(WayContract):
    EXACT = 2e-2  # the iteration ends within a residual, from wherever it begins

    def objective(self):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).double()
        data = torch.randn(12, 3).double(), torch.randint(0, 2, (12,))
        return la.Objective(net, data, F.cross_entropy)

    def way(self, objective, chart):
        options = {"tolerance": 1e-6, "most": 200, "seed": 0, "warm": True}
        return _Ends(Ends(Matrix(objective, objective.origin), chart, options))

    def expected(self, objective, chart):
        found = la.eigenvalues(objective, tolerance=1e-8)
        low, high = found.values[0], found.values[-1]
        return np.array([objective()["loss"], max(-low, 0) / high, low, high])


class TestCalled(WayContract):
    """A function of arrays, one point in each call."""

    OPTIONS: ClassVar[dict[str, object]] = {}

    def objective(self):
        generator = np.random.default_rng(0)
        x, y = generator.normal(size=(20, 3)), generator.normal(size=(20, 2))
        parameters = {"kernel": generator.normal(size=(3, 2)), "bias": generator.normal(size=2)}
        function = la.Function(lambda p: ((x @ p["kernel"] + p["bias"] - y) ** 2).mean(), parameters, **self.OPTIONS)
        function.model = nn.Module()  # nothing of torch's is there to be left as it was
        return function

    def way(self, objective, chart):
        return Called(objective, chart)


class TestCalledOnAnyChart(TestCalled):
    def chart(self, objective):
        class Circle:
            axes = ("t",)

            def at(self, coordinates):
                turn = torch.tensor(coordinates.get("t", 0.0), dtype=torch.float64)
                return {"kernel": turn.cos() * objective.origin["kernel"]}

        return Circle()


class TestCalledForMany(TestCalled):
    OPTIONS: ClassVar[dict[str, object]] = {"calls": "many", "at_once": 3}

    def objective(self):
        one = super().objective()
        loss = one.loss
        one.loss = lambda points: [loss(point) for point in points]
        return one


class TestCalledThroughJax(TestCalled):
    OPTIONS: ClassVar[dict[str, object]] = {"calls": "vmap", "at_once": 8}

    def objective(self):
        pytest.importorskip("jax")
        one = super().objective()
        function = la.Function(one.loss, {n: t.float().numpy() for n, t in one.origin.items()}, **self.OPTIONS)
        function.model = nn.Module()
        return function


class TestCalledThroughJaxOnAnyChart(TestCalledThroughJax):
    chart = TestCalledOnAnyChart.chart


class _Ends:
    """The ends without residual and products, which tell how the iteration went."""

    def __init__(self, way):
        self._way = way
        self.close = way.close

    def values(self, coordinates):
        return self._way.values(coordinates)[:, :4]


class Odd:
    """Raises where x is 1, finds a part where x is 2, and is not finite where x is 3."""

    def values(self, coordinates):
        if (coordinates == 1).any():
            raise RuntimeError("no")
        if (coordinates == 2).any():
            raise UnmeasuredError("half", np.array([5.0, np.nan]))
        return np.hstack([np.where(coordinates == 3, np.inf, coordinates), coordinates])

    def close(self):
        pass


def test_a_point_that_fails_takes_no_other_with_it_and_keeps_what_was_found():
    answer = Evaluator(Odd(), 2).answer(np.array([[0.0], [1.0], [2.0], [3.0]]))
    assert answer.status.tolist() == [Status.OK, Status.FAILED, Status.FAILED, Status.NON_FINITE]
    assert answer.notes == ("", "RuntimeError: no", "half", "")
    assert answer.values[2, 0] == 5.0
    assert np.isnan(answer.values[1]).all()
