"""Does a run of the real Weights & Biases hold our pictures and numbers, and all that the training logged? Offline."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from lossatlas.paths import callbacks
from lossatlas.paths.edge import Edge

wandb = pytest.importorskip("wandb")

BLOCK, HEADER = 32768, 7
WHOLE, LAST = 1, 4


def records(folder: Path) -> Iterator:
    """What a run wrote while offline: protocol buffers in the format of LevelDB's log, behind seven bytes."""
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # waits for the process that writes
    (path,) = folder.rglob("run-*.wandb")
    data, at, body = path.read_bytes(), HEADER, b""
    assert data[:4] == b":W&B"
    while at + HEADER <= len(data):
        if (left := BLOCK - at % BLOCK) < HEADER:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + HEADER])
        body += data[at + HEADER : at + HEADER + size]
        at += HEADER + size
        if kind in (WHOLE, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(body)
            body = b""
            yield record


def rows(folder: Path) -> dict[int, dict]:
    """The rows of a run by its own steps; of a picture the file."""
    found = {}
    for record in records(folder):
        if record.HasField("history"):
            row: dict = {}
            for item in record.history.item:
                name, *inner = item.nested_key or [item.key]
                if inner:
                    row.setdefault(name, {})[inner[0]] = json.loads(item.value_json)
                else:
                    row[name] = json.loads(item.value_json)
            found[row["_step"]] = row
    return found


def axes(folder: Path) -> dict[str, str]:
    return {one.metric.name: one.metric.step_metric for one in records(folder) if one.HasField("metric")}


def file_of(folder: Path, picture: dict) -> Path:
    (files,) = folder.rglob("run-*.wandb")
    return files.parent / "files" / picture["path"]


def started(folder: Path):
    return wandb.init(project="lossatlas", mode="offline", dir=folder, settings=wandb.Settings(silent=True))


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 3, generator=generator), torch.randint(2, (20,), generator=generator)


def line(**options) -> callbacks.QuickLine:
    return callbacks.QuickLine(data=pair(), loss=F.cross_entropy, points=3, **options)


@pytest.mark.parametrize("names_its_steps", [True, False])
def test_planes_and_the_edge_are_there_and_every_loss_of_the_training(tmp_path, names_its_steps):
    model, plane, edge = nn.Linear(3, 2), line(axes=2), Edge(data=pair(), loss=F.cross_entropy, every=2)
    with started(tmp_path) as run:
        for step in range(6):
            if step % 3 == 0:
                plane.show(model, run, step)
            edge.step(model, 0.1, step=step, to=run)
            run.log({"loss": float(step)}, **({"step": step} if names_its_steps else {}))
    found = rows(tmp_path)
    assert {step: row["loss"] for step, row in found.items()} == {step: float(step) for step in range(6)}
    pictures = {row["lossatlas/step"]: row["lossatlas/plane"] for row in found.values() if "lossatlas/plane" in row}
    assert list(pictures) == [0, 3]
    for picture in pictures.values():
        with Image.open(file_of(tmp_path, picture)) as opened:
            assert opened.format == "PNG" and opened.width == picture["width"] > 300
    edges = {row["lossatlas/step"]: row for row in found.values() if "lossatlas/critical_sharpness" in row}
    assert list(edges) == [0, 2, 4]
    assert [edges[one.step]["lossatlas/critical_sharpness"] for one in edge.moments] == [
        one.critical for one in edge.moments
    ]
    assert all(row["lossatlas/edge_of_stability"] == 20 for row in edges.values())
    assert axes(tmp_path) == dict.fromkeys(
        ("lossatlas/plane", "lossatlas/critical_sharpness", "lossatlas/edge_of_stability"), "lossatlas/step"
    )


def test_pictures_of_a_run_that_logs_nothing_else_are_all_kept(tmp_path):
    look = line()
    landscape = look.sample(nn.Linear(3, 2))
    with started(tmp_path) as run:
        for step in (10, 20, 30):
            look.log(landscape, run, step)
            look.log(landscape, run, step, name="again")
    found = [(row["lossatlas/step"], "lossatlas/line" in row, "again" in row) for row in rows(tmp_path).values()]
    assert found == [(10, True, True), (20, True, True), (30, True, True)]


def test_a_run_that_other_processes_write_too_gets_rows_of_its_own(tmp_path, monkeypatch):
    """Such a run has no open row of its own; wandb cannot make one without a network, so its answer is planted."""

    def refuses(self):
        raise RuntimeError("step is unknown in mode shared")

    look = line()
    landscape = look.sample(nn.Linear(3, 2))
    with started(tmp_path) as run:
        monkeypatch.setattr(type(run), "step", property(refuses))
        for step in (10, 20):
            look.log(landscape, run, step)
    assert [row["lossatlas/step"] for row in rows(tmp_path).values()] == [10, 20]


def test_the_logger_of_lightning_keeps_pictures_at_its_own_steps(tmp_path, monkeypatch):
    pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.loggers import WandbLogger

    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = WandbLogger(project="lossatlas", offline=True, save_dir=str(tmp_path))
    look, edge = line(), Edge(data=pair(), loss=F.cross_entropy)
    landscape, found = look.sample(nn.Linear(3, 2)), edge.look(nn.Linear(3, 2), 0.1, 3)
    look.log(landscape, logger, 3)
    edge.log(found, logger)
    logger.log_metrics({"loss": 1.0}, step=49)
    logger.experiment.finish()
    shown = [(row["trainer/global_step"], sorted(set(row) & {"lossatlas/line", "lossatlas/critical_sharpness", "loss"}))
             for row in rows(tmp_path).values()]  # fmt: skip
    assert shown == [(3, ["lossatlas/line"]), (3, ["lossatlas/critical_sharpness"]), (49, ["loss"])]
