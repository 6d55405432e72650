"""Are points that share their products the points of materialised weights, whatever reads the weights?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.evaluate.test_ways import WayContract
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.evaluate.graph.trace import UntraceableError
from lossatlas.evaluate.plain import Plain
from lossatlas.evaluate.plans import Plan
from lossatlas.evaluate.shared import Shared, plans_sharing
from lossatlas.objective.language import cross_entropy
from lossatlas.sampling import loop

POINTS = np.array([[0.0, 0.0], [0.5, -0.3], [-1.0, 1.0], [0.2, 0.7], [1.0, 0.4]])


class Decoder(nn.Module):
    """A small transformer with positions that all samples share and a head that is the embedding."""

    def __init__(self, width: int = 24, vocabulary: int = 40) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(16, width)
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        q, k, v = (part.unflatten(-1, (3, 8)).transpose(1, 2) for part in self.qkv(self.norm(h)).chunk(3, -1))
        h = h + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return self.head(h + self.down(F.gelu(self.up(h))))


def language(samples: int = 3, length: int = 6, batch_size: int = 2) -> la.Objective:
    torch.manual_seed(0)
    x, y = torch.randint(0, 40, (samples, length)), torch.randint(0, 40, (samples, length))
    y[0, 0] = -100
    return la.Objective(Decoder(), (x, y), cross_entropy, batch_size=batch_size)


def plane_of(objective, rank: int | None = 2) -> la.Plane:
    return la.Plane.random(objective, seed=1, rank=rank)


class TestShared(WayContract):
    def objective(self):
        return language()

    def chart(self, objective):
        return plane_of(objective)

    def way(self, objective, chart):
        return Shared(objective, chart, 3)


class TestSharedOfFullRank(TestShared):
    def chart(self, objective):
        return plane_of(objective, None)


class TestSharedWithMetrics(TestShared):
    def objective(self):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 5))
        data = torch.randn(7, 12), torch.randint(0, 5, (7,))
        return la.Objective(net, data, F.cross_entropy, metrics={"error": la.metrics.error}, batch_size=4)


@pytest.mark.parametrize("rank", [1, 4, None])
@pytest.mark.parametrize("make", [language, TestSharedWithMetrics().objective])
def test_shared_products_are_those_of_materialised_weights(make, rank) -> None:
    objective = make()
    plane = plane_of(objective, rank)
    exact = Plain(objective, plane).values(POINTS)
    for points in (1, 2, 8):
        np.testing.assert_allclose(Shared(objective, plane, points).values(POINTS), exact, rtol=1e-6)


def test_transformers_own_layers_and_positions_are_seen() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    size = {"vocab_size": 60, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**size)).eval()
    x = torch.randint(0, 60, (3, 7))
    forward = lambda net, batch: (net(batch[0]).logits, batch[1])
    objective = la.Objective(model, (x, x), cross_entropy, forward=forward, batch_size=2)
    plane = plane_of(objective)
    exact = Plain(objective, plane).values(POINTS)
    np.testing.assert_allclose(Shared(objective, plane, 4).values(POINTS), exact, rtol=1e-6)


def test_what_the_plain_way_moved_in_between_does_not_matter() -> None:
    objective = language()
    plane = plane_of(objective)
    plain, shared = Plain(objective, plane), Shared(objective, plane, 2)
    first = shared.values(POINTS)
    plain.values(POINTS[1:])
    np.testing.assert_array_equal(shared.values(POINTS), first)


def test_a_weight_that_is_read_in_another_way_is_refused_by_name() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight.T

    objective = la.Objective(Odd(), (torch.randn(4, 5), torch.randint(0, 6, (4,))), F.cross_entropy)
    plane = plane_of(objective)
    assert plans_sharing(objective, plane, 10**6, 1.0) == []
    with pytest.raises(UntraceableError, match="'weight' is used in"):
        Shared(objective, plane, 2)
    with pytest.raises(la.SpecError, match="'weight' is used in"):
        la.sample(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), plan="shared")


def test_outputs_that_are_no_one_tensor_and_weights_that_nothing_reads_are_refused() -> None:
    class Odd(nn.Module):
        def __init__(self, reads: bool) -> None:
            super().__init__()
            self.reads, self.layer = reads, nn.Linear(5, 6)

        def forward(self, x: torch.Tensor) -> object:
            return {"of": self.layer(x), "and": x} if self.reads else x

    def loss(found: object, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(found["of"] if isinstance(found, dict) else found, y)

    data = torch.randn(4, 5), torch.randint(0, 5, (4,))
    for reads in (True, False):
        objective = la.Objective(Odd(reads), data, loss)
        plane = plane_of(objective)
        assert plans_sharing(objective, plane, 10**6, 1.0) == []
        with pytest.raises(UntraceableError, match="was seen, or the outputs are not one tensor"):
            Shared(objective, plane, 2)


def test_a_forward_under_autocast_is_left_to_other_plans(monkeypatch) -> None:
    """Once the plan's first look at such a model ended the run with torch's words about formats."""
    monkeypatch.setattr("lossatlas.evaluate.shared.WORTH_SECONDS", 0.0)

    def short(model, batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(batch[0]).float(), batch[1]

    torch.manual_seed(0)
    x, y = torch.randn(30, 8), torch.randint(3, (30,))
    objective = la.Objective(
        nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)), (x, y), F.cross_entropy, forward=short
    )
    grid = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    found = la.sample(objective, plane_of(objective, None), grid, progress=False)
    plain = la.sample(objective, plane_of(objective, None), grid, progress=False, plan="plain")
    assert found.loss.values == pytest.approx(plain.loss.values, rel=1e-2)


def test_the_rule_goes_by_the_rows_of_a_point() -> None:
    few, many = language(samples=4, length=8), language(samples=64, length=16)
    (plan,) = plans_sharing(few, plane_of(few), 10**6, 1.0)
    assert plan == Plan(name="shared", points=64)
    assert plans_sharing(many, plane_of(many), 10**6, 1.0) == []  # 1,024 rows
    some = language(samples=8, length=8)
    assert plans_sharing(some, plane_of(some), 10**6, 1.0) != []  # 64 rows
    assert plans_sharing(some, plane_of(some, None), 10**6, 1.0) == []
    assert plans_sharing(few, plane_of(few, None), 10**6, 1.0) != []  # 32 rows
    assert plans_sharing(few, plane_of(few), 9, 1e-4) == []  # over before anything could pay


def test_auto_takes_it_by_the_rule_and_says_so(monkeypatch) -> None:
    monkeypatch.setattr("lossatlas.evaluate.shared.WORTH_SECONDS", 0.0)
    objective = language()
    plane = plane_of(objective)
    grid = la.Grid(x=(-1, 1, 4), y=(-1, 1, 3))
    found = la.sample(objective, plane, grid)
    plain = la.sample(objective, plane, grid, plan="plain")
    np.testing.assert_allclose(found["loss"], plain["loss"], rtol=1e-6)
    assert "shared" in str(found.attrs)
    assert "rank 2" in str(found["x"].attrs["long_name"])


def test_the_surface_approaches_that_of_full_directions_as_the_rank_grows() -> None:
    """Over many seeds, the mean rise along a direction of rank r nears that of full rank."""
    objective = TestSharedWithMetrics().objective()
    points = np.array([[1.0], [-1.0]])

    def rise(rank: int | None) -> np.ndarray:
        found = []
        for seed in range(40):
            plane = la.Plane.random(objective, seed=seed, axes=("x",), rank=rank)
            found.append(Plain(objective, plane).values(points)[:, 0].mean())
        return np.array(found)

    full = rise(None)
    error = math.sqrt(2 / len(full)) * full.std()
    assert abs(rise(8).mean() - full.mean()) < 3 * error


def test_the_check_and_the_blocks_of_a_run_are_whole_stacks(monkeypatch):
    """However slow a plain point is: what tries the plan are points of the run, and no stack is filled with repeats."""
    monkeypatch.setattr(loop, "BLOCK_SECONDS", 0.0)
    stacks, real = [], Shared._chunk
    monkeypatch.setattr(Shared, "_chunk", lambda self, rows: stacks.append(len(rows)) or real(self, rows))
    objective = language(samples=1)
    plane, plan = plane_of(objective), Plan(name="shared", points=16)
    for counts, wanted in (((4, 4), [16]), ((5, 7), [16, 16, 3])):
        grid = la.Grid(x=(-1, 1, counts[0]), y=(-1, 1, counts[1]))
        stacks.clear()
        shared = la.sample(objective, plane, grid, plan=plan)
        assert len(stacks) <= len(wanted) + (wanted != [16])
        assert stacks[0] == 16
        plain = la.sample(objective, plane, grid, plan="plain")
        np.testing.assert_allclose(shared["loss"].values, plain["loss"].values, rtol=1e-6)
    stacks.clear()
    la.sample(objective, plane, grid, plan=plan, block=1)
    assert stacks.count(1) > 10  # what somebody chose is kept
