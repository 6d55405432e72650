"""Is the mean over the right samples, whatever a batch is, and does what is in it arrive as it was?"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import lossatlas as la
from lossatlas import SpecError
from lossatlas.objective.batches import fingerprint
from lossatlas.objective.containers import map_tensors, moved


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(n: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(3, (n,), generator=torch.Generator().manual_seed(seed))


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 3).double()


class Graphs(nn.Module):
    """A label for each graph: the sum over its nodes."""

    def __init__(self):
        super().__init__()
        self.inner = linear()

    def forward(self, x, batch):
        return torch.zeros(int(batch.max()) + 1, 3, dtype=x.dtype).index_add(0, batch, self.inner(x))


def graphs(count: int, nodes: int, seed: int) -> dict[str, torch.Tensor]:
    owner = torch.arange(count).repeat_interleave(nodes)
    return {"x": rand(count * nodes, 4, seed=seed), "batch": owner, "y": classes(count, seed)}


def test_graphs_are_counted_and_not_their_nodes():
    model, data = Graphs(), [graphs(4, 3, 1), graphs(4, 12, 2), graphs(2, 30, 3)]
    objective = la.Objective(model, data, F.cross_entropy, metrics={"error": la.metrics.error})
    sums = [F.cross_entropy(model(b["x"], b["batch"]), b["y"], reduction="sum") for b in data]
    assert (objective.samples, objective.sizes) == (10, (4, 4, 2))
    assert objective()["loss"] == pytest.approx(float(sum(sums).detach()) / 10, rel=1e-12)


def test_images_of_several_sizes_are_counted_and_not_their_channels():
    class Pool(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Conv2d(3, 3, 3).double()

        def forward(self, images):
            return torch.stack([self.inner(image[None]).mean((0, 2, 3)) for image in images])

    torch.manual_seed(0)
    model = Pool()
    data = [([rand(3, 8, 8 + i, seed=i) for i in range(n)], classes(n, n)) for n in (4, 4, 1)]
    objective = la.Objective(model, data, F.cross_entropy)
    truth = sum(float(F.cross_entropy(model(x), y, reduction="sum").detach()) for x, y in data) / 9
    assert objective.samples == 9
    assert objective()["loss"] == pytest.approx(truth, rel=1e-12)


def masked(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    return rand(10, 4), rand(10, 10, seed=3).abs(), classes(10), torch.arange(10) < count


def test_the_nodes_of_a_mask_are_counted_whether_forward_or_the_loss_takes_them():
    x, adjacency, y, mask = masked(4)
    model = linear()
    truth = float(F.cross_entropy((adjacency @ model(x))[mask], y[mask]).detach())

    def forward(model, batch):
        return (batch["A"] @ model(batch["x"]))[mask], batch["y"][mask]

    data = [{"x": x, "A": adjacency, "y": y}]
    objective = la.Objective(model, data, F.cross_entropy, forward=forward, metrics={"error": la.metrics.error})
    assert objective.samples == 4
    assert objective()["loss"] == pytest.approx(truth, rel=1e-12)
    inside = la.Objective(
        model,
        data,
        lambda o, t: F.cross_entropy(o[mask], t[mask], reduction="none"),
        forward=lambda m, b: (b["A"] @ m(b["x"]), b["y"]),
    )
    assert inside.samples == 4
    assert inside()["loss"] == pytest.approx(truth, rel=1e-12)


class Plain:
    """A batch that is no container, as a graph library has them."""

    def __init__(self, n: int, seed: int):
        self.x, self.y, self.name = rand(n, 4, seed=seed), classes(n, seed), "a"


@dataclass(frozen=True)
class Record:
    x: torch.Tensor
    y: torch.Tensor


Pair = namedtuple("Pair", "x y")


class Attributes(dict):
    def __getattr__(self, name):
        return self[name]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x, y: Record(x, y),
        Pair,
        lambda x, y: Attributes(x=x, y=y),
        lambda x, y: SimpleNamespace(x=x, y=y),
    ],
)
def test_a_batch_of_any_class_reaches_forward_as_what_it_is(wrap):
    model = linear()
    data = [wrap(rand(n, 4, seed=n), classes(n, n)) for n in (5, 2)]
    kinds = []

    def forward(model, batch):
        kinds.append(type(batch))
        return model(batch.x), batch.y

    objective = la.Objective(model, data, F.cross_entropy, forward=forward)
    truth = sum(float(F.cross_entropy(model(b.x), b.y, reduction="sum").detach()) for b in data) / 7
    assert objective()["loss"] == pytest.approx(truth, rel=1e-12)
    assert objective.samples == 7
    assert set(kinds) == {type(data[0])}


def test_a_whole_scan_and_its_curvature_work_on_batch_objects():
    data = [Plain(6, 1), Plain(3, 2)]
    objective = la.Objective(linear(), data, F.cross_entropy, forward=lambda m, b: (m(b.x), b.y))
    both = la.Objective(linear(), tuple(torch.cat([getattr(b, n) for b in data]) for n in "xy"), F.cross_entropy)
    grid = la.Grid(x=(-1, 1, 3))
    got = la.sample(objective, la.Plane.random(objective, axes=("x",)), grid, progress=False)
    expected = la.sample(both, la.Plane.random(both, axes=("x",)), grid, progress=False)
    assert got["loss"].values == pytest.approx(expected["loss"].values, rel=1e-12)
    assert la.eigenvalues(objective).values == pytest.approx(la.eigenvalues(both).values, rel=1e-6, abs=1e-9)


def test_batch_encodings_keep_their_attributes():
    encoding = pytest.importorskip("transformers").BatchEncoding
    data = [encoding({"input_ids": rand(5, 4), "labels": classes(5)})]
    objective = la.Objective(linear(), data, F.cross_entropy, forward=lambda m, b: (m(b.input_ids), b.labels))
    assert objective()["loss"] > 0
    assert objective.samples == 5


def test_containers_that_move_themselves_are_asked_and_the_users_own_is_not_written_to():
    class Graph:
        def __init__(self):
            self.x, self.place = torch.ones(2), "here"

        def to(self, device):
            self.place = device
            return self

    graph = Graph()
    there = moved((graph, "name"), torch.device("cpu"))[0]
    assert (type(there), there.place, graph.place) == (Graph, torch.device("cpu"), "here")
    meta = moved({"list": [Record(torch.ones(2), torch.zeros(1))], "plain": Plain(3, 1)}, torch.device("meta"))
    assert meta["list"][0].x.is_meta
    assert meta["plain"].y.is_meta
    assert meta["plain"].name == "a"


@pytest.mark.parametrize("layout", ["coo", "csr", "csc", "bsr"])
def test_sparse_and_complex_tensors_in_batches_and_buffers_work(layout):
    dense = torch.eye(10, dtype=torch.float64) * 2
    convert = {"coo": torch.Tensor.to_sparse, "csr": torch.Tensor.to_sparse_csr, "csc": torch.Tensor.to_sparse_csc}
    sparse = convert[layout](dense) if layout in convert else dense.to_sparse_bsr((2, 2))
    x, y = rand(10, 4), classes(10)
    model = linear()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model
            self.register_buffer("A", sparse)

        def forward(self, x):
            return self.A @ self.inner(x)

    truth = float(F.cross_entropy(2 * model(x), y).detach())
    in_batch = la.Objective(model, [(x, sparse, y)], F.cross_entropy, forward=lambda m, b: (b[1] @ m(b[0]), b[2]))
    waves = la.Objective(
        model, [(torch.complex(x, x), y)], F.cross_entropy, forward=lambda m, b: (2 * m(b[0].conj().real), b[1])
    )
    for objective in (in_batch, la.Objective(Net(), (x, y), F.cross_entropy), waves):
        assert objective()["loss"] == pytest.approx(truth, rel=1e-12)


def test_fingerprints_are_of_what_is_held_and_not_of_where_it_lies():
    assert fingerprint(Plain(3, 1)) == fingerprint(Plain(3, 1))
    assert fingerprint(Plain(3, 1)) != fingerprint(Plain(3, 2))
    big = torch.arange(5000.0)
    assert fingerprint(Record(big, big)) != fingerprint(Record(big.clone().index_fill(0, torch.tensor(2500), 1), big))
    assert fingerprint(torch.eye(3).to_sparse()) != fingerprint((2 * torch.eye(3)).to_sparse())
    assert fingerprint(torch.complex(big, -big).conj()) == fingerprint(torch.complex(big, big))
    ring = SimpleNamespace(x=big)
    ring.me = ring
    assert fingerprint(ring) == fingerprint(ring)
    assert map_tensors(torch.neg, ring).x[1] == -1


def test_packed_sequences_are_counted_by_label_or_by_token():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = linear()

        def forward(self, packed):
            return PackedSequence(self.inner(packed.data), packed.batch_sizes)

    texts = [[rand(n, 4, seed=n) for n in lengths] for lengths in ([5, 3, 2], [4])]
    model = Tagger()
    packed = [pack_sequence(text) for text in texts]
    labels = [classes(3), classes(1)]
    last = la.Objective(
        model,
        list(zip(packed, labels, strict=True)),
        F.cross_entropy,
        forward=lambda m, b: (m(b[0]).data[: len(b[1])], b[1]),
    )
    assert last.sizes == (3, 1)
    tags = [PackedSequence(classes(len(p.data)), p.batch_sizes) for p in packed]
    tokens = la.Objective(model, list(zip(packed, tags, strict=True)), lambda o, t: F.cross_entropy(o.data, t.data))
    every = [F.cross_entropy(model(p).data, t.data, reduction="sum") for p, t in zip(packed, tags, strict=True)]
    assert tokens.samples == 14
    assert tokens()["loss"] == pytest.approx(float(sum(every).detach()) / 14, rel=1e-12)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors_are_drawn_and_their_curvature_is_known(layout):
    class Pool(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = linear()

        def forward(self, parts):
            return self.inner(torch.nested.to_padded_tensor(parts, 0.0)).mean(1)

    model = Pool()
    texts = [[rand(n, 4, seed=n) for n in lengths] for lengths in ([5, 3, 2], [4, 1])]
    data = [(torch.nested.nested_tensor(text, layout=layout), classes(len(text))) for text in texts]
    objective = la.Objective(model, data, F.cross_entropy)
    drawn = la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
    sums = [F.cross_entropy(model(parts), labels, reduction="sum") for parts, labels in data]
    assert objective.sizes == (3, 2)
    assert float(drawn["loss"].sel(x=0, y=0)) == pytest.approx(float(sum(sums).detach()) / 5, rel=1e-12)
    assert la.trace(objective).value > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_digits_of_a_short_format_are_no_reason_to_refuse_single_samples(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 4)).to(dtype)
    data = torch.randn(300, 20).to(dtype), torch.randint(0, 4, (300,))
    objective = la.Objective(model, data, lambda o, t: F.cross_entropy(o, t, label_smoothing=0.1))
    plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    assert "loss_se" in la.sample(objective, plane, grid, standard_error=True)


def test_lists_of_boxes_for_each_image_are_counted_by_image():
    def found(n: int) -> list[dict[str, torch.Tensor]]:
        return [{"boxes": rand(3, 4), "labels": classes(3)} for _ in range(n)]

    data = [([rand(3, 8, 8) for _ in range(n)], found(n)) for n in (4, 1)]
    objective = la.Objective(
        linear(),
        data,
        lambda o, t: torch.stack([o.square().mean()] * len(t)).mean(),
        forward=lambda m, b: (m(b[1][0]["boxes"]), b[1]),
    )
    assert objective.sizes == (4, 1)


class Rows(Dataset):
    def __init__(self, ragged: bool = False):
        self.ragged = ragged

    def __len__(self):
        return 7

    def __getitem__(self, at):
        return rand(4 + self.ragged * at, seed=at), classes(1, at)[0]


class Stream(IterableDataset):
    def __iter__(self):
        return (Rows()[at] for at in range(7))


def test_datasets_are_cut_into_batches_and_those_that_cannot_be_are_refused():
    model = linear()
    x, y = (torch.stack([Rows()[at][part] for at in range(7)]) for part in (0, 1))
    truth = float(F.cross_entropy(model(x), y).detach())
    for data in (Rows(), Stream(), TensorDataset(x, y), {"input": x, "y": y}):
        objective = la.Objective(model, data, F.cross_entropy, batch_size=3)
        assert objective.sizes == (3, 3, 1)
        assert objective()["loss"] == pytest.approx(truth, rel=1e-12)
    with pytest.raises(SpecError, match="items of the Dataset cannot be batched.*pass a DataLoader with a collate_fn"):
        la.Objective(model, Rows(ragged=True), F.cross_entropy)


def test_streams_are_read_again_and_one_that_runs_dry_is_named():
    class Dry:
        def __init__(self):
            self.left = [(rand(3, 4), classes(3))]

        def __iter__(self):
            while self.left:
                yield self.left.pop()

    assert la.Objective(linear(), Stream(), F.cross_entropy, memory=0, batch_size=4)()["loss"] > 0
    with pytest.raises(SpecError, match="data gave 1 batches at first and 0 now.*are the same each time"):
        la.Objective(linear(), Dry(), F.cross_entropy, memory=0)()


def test_batches_that_are_seeds_work_with_a_size_and_their_targets_tell_it():
    def drawn(model, seed):
        x = rand(6, 4, seed=seed)
        return model(x), classes(6, seed)

    model = linear()
    truth = sum(float(F.cross_entropy(*drawn(model, seed)).detach()) for seed in range(3)) / 3
    objective = la.Objective(model, range(3), F.cross_entropy, forward=drawn)
    assert objective.samples == 18
    assert objective()["loss"] == pytest.approx(truth, rel=1e-12)

    def residual(model, seed):
        return model(rand(6, 4, seed=seed)).sum(1), None

    def square(outputs, _):
        return outputs.square().mean()

    assert la.Objective(model, range(3), square, forward=residual, size=6).samples == 18
    sized = la.Objective(model, range(3), square, forward=residual, size=lambda seed: seed + 1)
    values = [float(square(*residual(model, seed)).detach()) for seed in range(3)]
    assert sized()["loss"] == pytest.approx((values[0] + 2 * values[1] + 3 * values[2]) / 6, rel=1e-12)
    each = la.Objective(model, range(3), lambda o, _: o.square(), forward=residual)
    assert each.samples == 18


def test_what_cannot_be_counted_is_refused_with_what_to_do():
    data = [{"inside": rand(9, 4), "edge": rand(2, 4)}] * 2

    def forward(model, batch):
        return (model(batch["inside"]), model(batch["edge"])), None

    def loss(outputs, _):
        return outputs[0].square().mean() + outputs[1].square().mean()

    with pytest.raises(SpecError, match=r"how many samples a batch of type dict holds cannot be read.*pass size="):
        la.Objective(linear(), data, loss, forward=forward)()
    assert la.Objective(linear(), data, loss, forward=forward, size=1)()["loss"] > 0
    for size in (0, -1, 2.5, "3"):
        with pytest.raises(SpecError, match="size="):
            la.Objective(linear(), data, loss, forward=forward, size=size)
    with pytest.raises(SpecError, match=r"size= gave 'a' for a batch"):
        la.Objective(linear(), data, loss, forward=forward, size=lambda batch: "a")


def test_one_batch_where_a_list_is_wanted_is_named():
    class Graph(Plain):
        def to(self, device):
            return self

        def __iter__(self):
            return iter([("x", self.x)])

    with pytest.raises(SpecError, match=r"data is a Graph, which looks like one batch; pass \[data\]"):
        la.Objective(linear(), Graph(3, 1), F.cross_entropy)


def test_recalibrated_statistics_weigh_batches_by_their_graphs():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.norm = Graphs(), nn.BatchNorm1d(3).double()

        def forward(self, x, batch):
            return self.norm(self.inner(x, batch))

    torch.manual_seed(0)
    model, data = Net(), [graphs(4, 3, 1), graphs(2, 40, 2)]
    objective = la.Objective(model, data, F.cross_entropy, batchnorm="recalibrated")
    objective()
    means = [model.inner(b["x"], b["batch"]).mean(0) for b in data]
    assert objective.private.norm.running_mean == pytest.approx(((4 * means[0] + 2 * means[1]) / 6).detach(), rel=1e-9)


@pytest.mark.parametrize("message", [(), ("",), ("\n",)])
def test_items_that_fail_without_a_message_are_named_by_what_was_raised(message) -> None:
    class Bare(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, _: int):
            raise RuntimeError(*message)

    with pytest.raises(SpecError, match=r"items of the Dataset cannot be batched \(RuntimeError\)"):
        la.Objective(nn.Linear(1, 1), Bare(), F.mse_loss)()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_outputs_that_cannot_be_cut_are_measured():
    class Ragged(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))

        def forward(self, x):
            found = self.inner(x)
            return torch.nested.nested_tensor(
                [found[i : i + 1 + i % 2] for i in range(len(x) - 1)], layout=torch.jagged
            )

    torch.manual_seed(0)
    data = torch.randn(12, 3), torch.zeros(12)
    objective = la.Objective(Ragged(), data, lambda outputs, targets: outputs.values().square().mean())
    found = la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
    assert found["loss"].notnull().all()
    assert objective.mixed == ()
