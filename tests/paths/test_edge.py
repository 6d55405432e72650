"""Does a training log its critical sharpness beside 2/η, without being touched?"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.errors import SpecError
from lossatlas.paths import callbacks
from lossatlas.paths.edge import Edge


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 3, generator=generator), torch.randint(2, (20,), generator=generator)


class Board:
    def __init__(self) -> None:
        self.numbers: list = []

    def add_scalar(self, name, value, step) -> None:
        self.numbers.append((name, value, step))


def trained(edge, steps=6):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.1), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.5)
    x, y = pair()
    for _ in range(steps):
        if edge is not None:
            edge.step(model, optimizer)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("along", ["gradient", "optimizer"])
def test_a_training_that_is_watched_is_the_same_training_bit_for_bit(along):
    watched = trained(Edge(data=pair(), loss=F.cross_entropy, along=along)).state_dict()
    alone = trained(None).state_dict()
    assert all(torch.equal(watched[name], alone[name]) for name in alone)


def test_every_so_many_steps_it_is_that_of_the_model_as_it_is(tmp_path):
    board = Board()
    edge = Edge(data=pair(), loss=F.cross_entropy, every=5, to=board)
    model = trained(edge)
    assert [one.step for one in edge.moments] == [0, 5]
    assert all(one.edge == 4.0 for one in edge.moments)
    found = edge.look(model, 0.5)
    alone = la.sharpness.critical(la.Objective(model, pair(), F.cross_entropy), tolerance=1e-6).value
    assert found.critical == pytest.approx(alone, rel=0.02)
    assert [(name, step) for name, _, step in board.numbers] == [
        ("lossatlas/critical_sharpness", 0),
        ("lossatlas/edge_of_stability", 0),
        ("lossatlas/critical_sharpness", 5),
        ("lossatlas/edge_of_stability", 5),
    ]
    kept = json.loads(edge.save(tmp_path / "edge.json").read_text(encoding="utf-8"))
    assert [one["critical"] for one in kept] == [one.critical for one in edge.moments]
    la.draw(edge, tmp_path / "edge.png")
    labels = [series.label for series in edge.plot().panels[0].series]
    assert labels == ["critical sharpness", "2/η"]


def test_on_a_quadratic_at_the_largest_stable_rate_both_numbers_meet():
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(layer.weight)
    edge = Edge(data=(torch.ones(4, 1).double(), torch.zeros(4, 1).double()), loss=F.mse_loss)
    found = edge.step(layer, torch.optim.SGD(layer.parameters(), lr=1.0))  # L = w², H = 2, so 2/η = 2 is the edge
    assert found is not None
    assert found.critical == pytest.approx(found.edge, rel=1e-6)


def test_a_point_without_a_gradient_leaves_a_gap_and_the_training_goes_on():
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(layer.weight)
    edge = Edge(data=(torch.ones(4, 1).double(), torch.zeros(4, 1).double()), loss=F.mse_loss)
    found = edge.step(layer, 0.1)
    assert found is not None
    assert math.isnan(found.critical)
    assert "gradient is zero" in found.note


def test_bad_options_are_named():
    with pytest.raises(la.SpecError, match="every=0"):
        Edge(data=pair(), every=0)
    with pytest.raises(la.SpecError, match="choose one of: gradient, optimizer"):
        Edge(data=pair(), along="momentum")
    with pytest.raises(la.SpecError, match="needs the torch.optim.Optimizer itself"):
        Edge(data=pair(), loss=F.cross_entropy, along="optimizer").step(nn.Linear(3, 2), 0.1)
    with pytest.raises(la.SpecError, match="nothing has been looked at yet"):
        Edge(data=pair()).plot()


def test_lightning_logs_it_to_the_loggers_of_the_trainer(tmp_path):
    pl = pytest.importorskip("lightning.pytorch")
    loggers = pytest.importorskip("lightning.pytorch.loggers")

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(3, 2)

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.5)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*pair()), batch_size=4)
    edge = Edge(data=pair(), loss=F.cross_entropy, every=2, along="optimizer")
    trainer = pl.Trainer(
        max_epochs=1,
        callbacks=[callbacks.lightning(edge=edge)],
        logger=loggers.CSVLogger(tmp_path),
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), loader)
    assert [one.step for one in edge.moments] == [0, 2, 4]
    text = next(tmp_path.rglob("metrics.csv")).read_text(encoding="utf-8")
    assert "lossatlas/critical_sharpness" in text.splitlines()[0]


def test_the_trainer_of_hugging_face_is_watched():
    pytest.importorskip("transformers")
    edge = Edge(data=pair(), loss=F.cross_entropy)
    watching = callbacks.trainer(edge=edge, to=(board := Board()))
    model = nn.Linear(3, 2)
    state = type("State", (), {"is_world_process_zero": True, "global_step": 3, "epoch": 1.0})()
    watching.on_step_end(None, state, None, model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    assert [one.step for one in edge.moments] == [3]
    assert len(board.numbers) == 2


@pytest.mark.parametrize("update", [None, lambda p: {"w": np.array([4.0, 1.0]) * p["w"]}])
def test_a_loop_without_torch_logs_the_same_numbers(update):
    board, weights = Board(), np.array([1.0, 1.0])
    edge = Edge(update=update, to=board)
    for _ in range(3):
        bowl = la.Function(lambda p: float(2 * p["w"][0] ** 2 + p["w"][1] ** 2 / 2), {"w": weights})
        found = edge.step(bowl, 0.1)
        slope = np.array([4.0, 1.0]) * weights
        assert found.critical == pytest.approx(float(slope**2 @ [4.0, 1.0] / (slope @ slope)), rel=0.02)
        weights = weights - 0.1 * slope
    assert [one.edge for one in edge.moments] == [20.0] * 3
    assert {name for name, _, _ in board.numbers} == {"lossatlas/critical_sharpness", "lossatlas/edge_of_stability"}
    assert edge.plot().panels[0].series[0].y[0] == edge.moments[0].critical


def test_what_a_torch_model_needs_is_said():
    with pytest.raises(SpecError, match=r"a torch model needs|data is missing"):
        Edge().step(nn.Linear(3, 2), 0.1)
    with pytest.raises(SpecError, match="update is for a lossatlas.Function"):
        Edge(data=pair(), loss=F.cross_entropy, update=lambda p: p).step(nn.Linear(3, 2), 0.1)
    with pytest.raises(SpecError, match="update is an int"):
        Edge(update=5)
