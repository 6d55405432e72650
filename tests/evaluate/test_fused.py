"""Does a model whose convolutions take in what follows them give the values of the model itself, everywhere?"""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.evaluate import choice, layout
from lossatlas.evaluate.fused import fused
from lossatlas.evaluate.graph.trace import UntraceableError
from lossatlas.evaluate.layout import FusedKernels
from lossatlas.evaluate.plain import Plain
from lossatlas.evaluate.plans import Plan
from lossatlas.results.store import MemoryRun

POINTS = np.array([[0.0, 0.0], [0.3, -0.2], [-0.5, 0.5], [0.05, 0.4]])


def trained(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """A norm whose four vectors are none of the trivial ones."""
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        if norm.affine:
            norm.weight.uniform_(0.5, 2.0)
            norm.bias.normal_()
    return norm


class Block(nn.Module):
    """A residual block with a projection, in one of several spellings; ``kernels`` says how many should be made."""

    def __init__(self, spelling: str = "function", **conv) -> None:
        super().__init__()
        options = {"padding": 1, "bias": False} | conv
        self.spelling = spelling
        self.first, self.second = nn.Conv2d(3, 4, 3, **options), nn.Conv2d(4, 4, 3, padding=1)
        self.short, self.gate = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 4, 1)
        self.norms = nn.ModuleList([trained(nn.BatchNorm2d(4)) for _ in range(3)])
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 3)
        self.offset = nn.Parameter(torch.randn(1, 4, 6, 6))

    def forward(self, x):
        one, two, three = self.norms
        y = F.relu(one(self.first(x)))
        if self.spelling == "function":
            y = F.relu(two(self.second(y)) + three(self.short(x)))
        elif self.spelling == "in place":
            y = two(self.second(y))
            y += three(self.short(x))
            y = self.relu(y)
        elif self.spelling == "identity":
            y = self.relu(two(self.second(y)) + y)
        elif self.spelling == "torch.add":
            y = torch.add(two(self.second(y)), y).relu()
        elif self.spelling == "read again":
            z = self.relu(two(self.second(y)) + y)
            y = z * y
        elif self.spelling == "a view is kept":
            kept = y[:, :2]
            y = F.relu(two(self.second(y)) + y)
            y = y + kept.repeat(1, 2, 1, 1)
        elif self.spelling == "written between":
            z = self.second(y)
            y.mul_(0.5)
            y = F.relu(two(z) + y)
        elif self.spelling == "output read twice":
            z = self.second(y)
            y = F.relu(two(z)) + z
        elif self.spelling == "broadcast":
            y = F.relu(two(self.second(y)) + self.offset)
        elif self.spelling == "gated":
            y = two(self.second(y)) * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        elif self.spelling == "scaled sum":
            y = torch.add(two(self.second(y)), y, alpha=2)
        elif self.spelling == "no relu":
            y = two(self.second(y)) + y
        return self.head(y.mean((2, 3)))


SPELLINGS = (
    "function",
    "in place",
    "identity",
    "torch.add",
    "read again",
    "a view is kept",
    "written between",
    "output read twice",
    "broadcast",
    "gated",
    "scaled sum",
    "no relu",
)


def objective_of(net: nn.Module, **options) -> la.Objective:
    torch.manual_seed(1)
    data = torch.randn(25, 3, 6, 6), torch.randint(3, (25,))
    return la.Objective(
        net.eval(), data, F.cross_entropy, metrics={"error": la.metrics.error}, batch_size=10, **options
    )


def agree(objective: la.Objective, plane: la.Plane | None = None, workers: int = 2) -> FusedKernels:
    plane = la.Plane.random(objective, seed=0, still=()) if plane is None else plane
    way = FusedKernels(objective, plane, Plan(name="fused", micro=5, workers=workers))
    np.testing.assert_allclose(way.values(POINTS), Plain(objective, plane).values(POINTS), rtol=2e-6)
    way.close()
    return way


def kernels(way: FusedKernels) -> int:
    return sum(name.startswith("kernel_") for name, _ in way._ways[0].objective.private.named_children())


def norms_called(way: FusedKernels) -> int:
    read = way._ways[0].objective.private
    called = [read.get_submodule(str(node.target)) for node in read.graph.nodes if node.op == "call_module"]
    return sum(isinstance(module, nn.BatchNorm2d) for module in called)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_block_keeps_its_values(spelling, workers):
    torch.manual_seed(0)
    objective = objective_of(Block(spelling))
    still = la.Plane.random(objective, seed=0)
    way = agree(objective, still, workers)
    assert kernels(way) >= 1
    assert norms_called(way) == (1 if spelling == "output read twice" else 0)


class Deep(nn.Module):
    """Two convolutions beside an identity, whose sum may be written over it unless somebody reads it afterwards."""

    def __init__(self, after: str) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)])
        self.norms = nn.ModuleList([trained(nn.BatchNorm2d(4)) for _ in range(3)])
        self.head, self.after = nn.Linear(4, 3), after

    def forward(self, x):
        first, second, third = self.convs
        one, two, three = self.norms
        x = F.relu(one(first(x)))
        view = x[:, :2]
        y = F.relu(three(third(F.relu(two(second(x))))) + x)
        y = {"nothing": y, "itself": y * x, "a view": y * view.repeat(1, 2, 1, 1)}[self.after]
        return self.head(y.mean((2, 3)))


@pytest.mark.parametrize("after", ["nothing", "itself", "a view"])
def test_a_sum_is_written_over_its_summand_only_where_nobody_reads_that_again(after):
    torch.manual_seed(0)
    objective = objective_of(Deep(after))
    assert kernels(agree(objective, la.Plane.random(objective, seed=0))) == 3


def test_what_looks_alike_for_one_sample_alone_is_not_fused():
    torch.manual_seed(0)
    net, data = Block("broadcast").eval(), torch.randn(4, 3, 6, 6)
    expected = net(data)
    with torch.inference_mode():
        found = fused(net, lambda model: model(data[:1]), lambda tensor: True)
        for tensor, factor in found.factors:
            tensor.mul_(factor)
        torch.testing.assert_close(found.model(data), expected)


@pytest.mark.parametrize(
    "conv",
    [
        {"bias": True},
        {"padding": 2, "dilation": 2},
        {"padding": "same"},
        {"padding_mode": "reflect"},
        {"padding": 1, "stride": 1, "padding_mode": "circular"},
    ],
    ids=str,
)
def test_every_convolution_keeps_its_values(conv):
    torch.manual_seed(0)
    agree(objective_of(Block(**conv)), la.Plane.random(objective_of(Block(**conv)), seed=0))


def test_a_norm_that_moves_is_called():
    torch.manual_seed(0)
    net = Block()
    net.norms[0].requires_grad_(False)
    assert norms_called(agree(objective_of(net))) == 2


def test_a_frozen_convolution_takes_its_norm_in_where_it_stands():
    torch.manual_seed(0)
    net = Block()
    net.second.requires_grad_(False)
    objective = objective_of(net)
    assert norms_called(agree(objective, la.Plane.random(objective, seed=0))) == 0


def test_a_norm_without_weights_of_its_own_is_taken_in():
    torch.manual_seed(0)
    net = Block()
    net.norms[1] = trained(nn.BatchNorm2d(4, affine=False))
    objective = objective_of(net)
    assert norms_called(agree(objective, la.Plane.random(objective, seed=0))) == 0


def test_a_norm_whose_statistics_move_is_called():
    torch.manual_seed(0)
    a, b = Block(), Block()
    objective = objective_of(a, batchnorm="interpolated")
    other = objective_of(b, batchnorm="interpolated").origin
    steps = {name: t - objective.origin[name] for name, t in other.items() if not name.startswith("norms.0")}
    plane = la.Plane(objective.origin, {"x": steps, "y": {"head.bias": torch.ones(3)}})
    way = FusedKernels(objective, plane, Plan(name="fused", micro=5))
    points = np.array([[0.0, 0.0], [0.5, 0.1], [1.0, -0.1]])
    np.testing.assert_allclose(way.values(points), Plain(objective, plane).values(points), rtol=2e-6)
    assert norms_called(way) == 2


class Twice(nn.Module):
    """One convolution before two norms, or two convolutions of one kernel."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.first, self.conv = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.other = nn.Conv2d(4, 4, 3, padding=1)
        self.norms = nn.ModuleList([trained(nn.BatchNorm2d(4)) for _ in range(2)])
        self.head, self.tied = nn.Linear(4, 3), tied
        if tied:
            self.other.weight = self.conv.weight

    def forward(self, x):
        x = F.relu(self.first(x))
        x = F.relu(self.norms[0](self.conv(x)))
        x = F.relu(self.norms[1]((self.other if self.tied else self.conv)(x)))
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("tied", [False, True])
def test_a_kernel_that_serves_twice_is_not_scaled(tied):
    torch.manual_seed(0)
    objective = objective_of(Twice(tied))
    assert norms_called(agree(objective, la.Plane.random(objective, seed=0))) == 2


class Deciding(Block):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


class Hooked(Block):
    def __init__(self) -> None:
        super().__init__()
        self.second.register_forward_hook(lambda module, inputs, outputs: outputs * 2)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (Deciding, "torch.fx: TraceError"),
        (Hooked, "a hook of the model"),
        (Linear, "no convolution is followed by anything"),
    ],
)
def test_what_cannot_be_fused_is_refused_and_sampled_otherwise(monkeypatch, net, words):
    torch.manual_seed(0)
    objective = objective_of(net())
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    with pytest.raises(UntraceableError, match=words):
        FusedKernels(objective, plane, Plan(name="fused", micro=5))
    monkeypatch.setattr(choice, "LAYOUT_SECONDS", 0.0)
    found = la.sample(objective, plane, grid)
    truth = la.sample(objective, plane, grid, plan="plain")
    assert json.loads(found.attrs["evaluation"])["plan"]["name"] in ("channels_last", "plain")
    np.testing.assert_allclose(found["loss"], truth["loss"], rtol=1e-6)


class Penalised(Block):
    """What torch.fx reads as a constant: parameters that are asked for behind its back."""

    def forward(self, x):
        weight = self.second._parameters["weight"]
        return super().forward(x) * (1 + weight.detach().square().sum())


def test_a_weight_that_was_read_as_a_constant_is_found_by_the_check(monkeypatch):
    torch.manual_seed(0)
    objective = objective_of(Penalised())
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    monkeypatch.setattr(choice, "LAYOUT_SECONDS", 0.0)
    found = la.sample(objective, plane, grid)
    said = json.loads(found.attrs["evaluation"])
    assert said["plan"]["name"] == "channels_last"
    assert any(name.startswith("fused") for name in said["refused"])


def test_by_rule_a_short_run_takes_fused_kernels_and_a_resumed_one_too(monkeypatch, tmp_path):
    torch.manual_seed(0)
    objective = objective_of(Block())
    plane = la.Plane.random(objective, seed=0)
    monkeypatch.setattr(choice, "LAYOUT_SECONDS", 0.0)
    grid = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    found = la.sample(objective, plane, grid, run=tmp_path / "run")
    assert json.loads(found.attrs["evaluation"])["plan"]["name"] == "fused"
    again = la.sample(objective, plane, grid, plan="fused")
    np.testing.assert_array_equal(found["loss"], again["loss"])


def test_the_centre_that_a_plan_was_tried_on_is_not_evaluated_again(monkeypatch):
    torch.manual_seed(0)
    objective = objective_of(Block())
    monkeypatch.setattr(choice, "LAYOUT_SECONDS", 0.0)
    seen: list[tuple[float, ...]] = []
    at = FusedKernels._at
    monkeypatch.setattr(FusedKernels, "_at", lambda way, point: (seen.append(tuple(point.values())), at(way, point))[1])
    la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
    assert len(seen) == 2 + 9  # the check points on a few samples, then the grid once, its centre for the check on all
    assert seen[2] == (0.0, 0.0)


class Counted(Block):
    """Counts the samples that it is given."""

    rows = 0

    def __call__(self, x):
        Counted.rows += len(x)
        return super().__call__(x)


def test_the_first_point_costs_the_centre_twice_and_what_precedes_the_second_little_more(monkeypatch):
    """Few samples of large images: what is asked of some of them beforehand is not asked of all."""
    torch.manual_seed(0)
    objective, counted = objective_of(Counted()), []
    samples, parts = objective.samples, la.Objective.parts

    def told(own, batch, *args, **named):
        if not isinstance(own.private, Counted):  # a fused copy
            Counted.rows += len(batch[0])
        return parts(own, batch, *args, **named)

    commit = MemoryRun.commit
    monkeypatch.setattr(choice, "LAYOUT_SECONDS", 0.0)
    monkeypatch.setattr(la.Objective, "parts", told)
    monkeypatch.setattr(MemoryRun, "commit", lambda run, block: (counted.append(Counted.rows), commit(run, block))[1])
    plane = la.Plane.random(objective, seed=0)
    Counted.rows = 0
    la.sample(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), block=1, progress=False)
    assert counted[0] <= 2 * samples + 2 + 4  # the centre, twice; whether it draws; mixing
    # On the fused copy once more, then the second point; checks, reading, reckoning.
    assert counted[1] <= 4 * samples + 2 + 4 + 2 * 2 * 4 + 3 * 4


def test_reading_a_model_leaves_another_thread_s_training_alone():
    """torch.fx listens to every module's calls while it reads: a model of another thread must not be taken for its own."""
    torch.manual_seed(0)
    net, stop, faults = Block(), threading.Event(), []
    data = torch.randn(4, 3, 6, 6)
    expected = net.eval()(data).detach()

    def train() -> None:
        while not stop.is_set():
            try:
                assert torch.equal(net(data).detach(), expected)
            except Exception as fault:  # whatever it is, it is the fault that is looked for
                faults.append(fault)
                return

    thread = threading.Thread(target=train)
    thread.start()
    try:
        for _ in range(20):
            torch.manual_seed(0)
            own = Block().eval()
            with torch.inference_mode():
                fused(own, lambda model: model(data), lambda tensor: True)
    finally:
        stop.set()
        thread.join()
    assert not faults
    assert nn.Module.__call__.__qualname__.startswith("Module")


def test_the_copies_are_made_once_for_the_check_and_for_the_run(monkeypatch):
    torch.manual_seed(0)
    objective = objective_of(Block())
    monkeypatch.setattr(choice, "LAYOUT_SECONDS", 0.0)
    monkeypatch.setattr(layout, "workers_to_try", lambda device: [2])
    made = []
    beside = layout._beside
    monkeypatch.setattr(layout, "_beside", lambda objective: (made.append(1), beside(objective))[1])
    la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
    assert len(made) == 2
