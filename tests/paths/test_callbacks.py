"""Do the callbacks record what the trainers do, and log a line without touching the training?"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.extras import MissingExtraError
from lossatlas.paths import callbacks


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 3, generator=generator), torch.randint(2, (20,), generator=generator)


class Board:
    """Stands for a SummaryWriter."""

    def __init__(self) -> None:
        self.pictures: list = []

    def add_image(self, name, picture, step, dataformats) -> None:
        self.pictures.append((name, picture.shape, step, dataformats))


def line(**options) -> callbacks.QuickLine:
    return callbacks.QuickLine(data=pair(), loss=F.cross_entropy, points=3, **options)


def test_a_line_leaves_the_model_and_the_random_state_alone():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
    before, state = {n: t.clone() for n, t in model.state_dict().items()}, torch.get_rng_state()
    landscape = line().sample(model)
    assert model.training
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    board = Board()
    assert line().log(landscape, board, 7)
    ((name, shape, step, layout),) = board.pictures
    assert (name, step, layout, shape[2]) == ("lossatlas/line", 7, "HWC", 3)
    assert not line().log(landscape, object(), 7)


def test_a_line_is_logged_to_tensorboard(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with tensorboard.SummaryWriter(tmp_path) as writer:
        assert line().log(line().sample(nn.Linear(3, 2)), writer, 5)
    events = reader.EventAccumulator(str(tmp_path)).Reload()
    (picture,) = events.Images("lossatlas/line")
    assert picture.step == 5
    assert picture.encoded_image_string.startswith(b"\x89PNG")


def test_a_plane_is_logged_under_its_own_name():
    plane, board = line(axes=2), Board()
    assert plane.sample(nn.Linear(3, 2))["loss"].shape == (3, 3)
    plane.show(nn.Linear(3, 2), board, 4)
    assert [(name, step) for name, _, step, _ in board.pictures] == [("lossatlas/plane", 4)]
    with pytest.raises(la.SpecError, match="axes=3; expected 1 for a line or 2 for a plane"):
        line(axes=3)


def test_a_line_is_logged_to_weights_and_biases_where_it_is_present(monkeypatch):
    class Wandb:
        @staticmethod
        def Image(path):
            return Path(path).read_bytes()

    class Run:
        step = 0

        def __init__(self) -> None:
            self.logged: list = []

        def define_metric(self, name, step_metric) -> None:
            assert (name, step_metric) == ("lossatlas/line", "lossatlas/step")

        def log(self, content, commit) -> None:
            assert commit is False
            self.logged.append(content)

    run = Run()
    landscape = line().sample(nn.Linear(3, 2))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    assert not line().log(landscape, run, 3)
    monkeypatch.setitem(sys.modules, "wandb", Wandb)
    assert line().log(landscape, run, 3)
    (content,) = run.logged
    assert content["lossatlas/line"].startswith(b"\x89PNG")
    assert content["lossatlas/step"] == 3


@pytest.mark.parametrize("there", [(), ("lightning",), ("pytorch_lightning",)])
def test_a_missing_or_broken_lightning_is_named(monkeypatch, tmp_path, there):
    """It has two names; where the one that is there is broken, installing the other is no help."""
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in there:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('raise OSError("libtorch.so: undefined symbol")')
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    words = (
        f"pip install --force-reinstall --no-deps {there[0]}$"
        if there
        else "lightning is needed to record a path.*: pip install lightning$"
    )
    with pytest.raises(MissingExtraError, match=words):
        callbacks.lightning()


def test_bad_options_are_named():
    with pytest.raises(la.SpecError, match="choose one of: step, epoch"):
        callbacks.lightning(when="batch")
    with pytest.raises(la.SpecError, match="every=0"):
        line(every=0)


@pytest.mark.parametrize(("when", "steps"), [("step", [0, 1, 2, 3, 4, 5, 6]), ("epoch", [0, 1, 2])])
def test_lightning_records_every_optimizer_step_or_epoch(tmp_path, when, steps, recwarn):
    pl = pytest.importorskip("lightning.pytorch")

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

    pytest.importorskip("tensorboard")
    loggers = pytest.importorskip("lightning.pytorch.loggers")
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*pair()), batch_size=4)
    recorder = la.Recorder(tmp_path / "path")
    module = Module()
    initial = module.net.weight.detach().clone()
    logger = loggers.TensorBoardLogger(tmp_path / "logs")
    trainer = pl.Trainer(
        max_epochs=2,
        callbacks=[callbacks.lightning(recorder, when=when, line=line(every=2))],
        logger=[logger, loggers.CSVLogger(tmp_path / "csv")],
        accelerator="cpu",
        accumulate_grad_batches=2,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader)
    assert [entry["step"] for entry in recorder.entries] == steps
    first, last = (load_file(tmp_path / "path" / recorder.entries[i]["file"]) for i in (0, -1))
    torch.testing.assert_close(first["net.weight"], initial, rtol=0, atol=0)
    torch.testing.assert_close(last["net.weight"], module.net.weight.detach(), rtol=0, atol=0)
    assert recorder.entries[-1]["lr"] == 0.5
    assert recorder.entries[-1]["loss"] > 0
    assert not [warning for warning in recwarn if "went back" in str(warning.message)]  # two batches make one step
    events = reader.EventAccumulator(logger.log_dir).Reload()
    assert [picture.step for picture in events.Images("lossatlas/line")] == [6]


@pytest.mark.parametrize(("when", "steps"), [("step", [0, 1, 2, 3, 4, 5, 6]), ("epoch", [0, 1, 2])])
def test_the_hugging_face_trainer_is_recorded(tmp_path, when, steps):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(3, 2)

        def forward(self, x, labels=None):
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    x, y = pair()
    data = [{"x": x[i], "labels": y[i]} for i in range(18)]
    recorder = la.Recorder(tmp_path / "path")
    model = Net()
    initial = model.net.weight.detach().clone()
    board = Board()
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"), num_train_epochs=2, per_device_train_batch_size=6, logging_steps=1,
        save_strategy="no", report_to=[], learning_rate=0.1, use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    look = callbacks.QuickLine(data=[{"x": x, "labels": y}], points=3, every=2)
    callback = callbacks.trainer(recorder, when=when, line=look, to=board)
    transformers.Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()
    assert [entry["step"] for entry in recorder.entries] == steps
    first, last = (load_file(tmp_path / "path" / recorder.entries[i]["file"]) for i in (0, -1))
    torch.testing.assert_close(first["net.weight"], initial, rtol=0, atol=0)
    torch.testing.assert_close(last["net.weight"], model.net.weight.detach(), rtol=0, atol=0)
    assert recorder.entries[0]["lr"] >= recorder.entries[-1]["lr"]
    assert recorder.entries[-1]["epoch"] == 2
    assert [picture[2] for picture in board.pictures] == [6]


class Broken:
    """Stands for a recorder on a full disk."""

    def __init__(self) -> None:
        self.calls = 0

    def step(self, *arguments, **named) -> None:
        self.calls += 1
        raise OSError("no space left on device")


@pytest.mark.parametrize("library", ["lightning", "transformers"])
def test_what_fails_in_a_callback_is_warned_of_once_and_the_training_goes_on(library, tmp_path):
    bad = callbacks.QuickLine(data=[torch.full((4, 3), torch.nan)], loss=F.mse_loss, points=3)
    recorder, x, y = Broken(), *pair()
    if library == "lightning":
        pl = pytest.importorskip("lightning.pytorch")

        class Module(pl.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.net = nn.Linear(3, 2)

            def forward(self, x):
                return self.net(x)

            def training_step(self, batch, index):
                return {"loss": F.cross_entropy(self.net(batch[0]), batch[1])}

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.5)

        model = Module()
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=5)
        trainer = pl.Trainer(
            max_epochs=2, callbacks=[callbacks.lightning(recorder, line=bad)], logger=False, accelerator="cpu",
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip

        def train():
            trainer.fit(model, loader)
            return trainer.global_step
    else:
        transformers = pytest.importorskip("transformers")
        pytest.importorskip("accelerate")

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = nn.Linear(3, 2)

            def forward(self, x, labels=None):
                logits = self.net(x)
                return {"loss": F.cross_entropy(logits, labels), "logits": logits}

        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / "out"), num_train_epochs=2, per_device_train_batch_size=5, logging_steps=1,
            save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True,
        )  # fmt: skip
        data = [{"x": x[i], "labels": y[i]} for i in range(20)]
        callback = callbacks.trainer(recorder, line=bad, to=Board())
        loop = transformers.Trainer(Net(), arguments, train_dataset=data, callbacks=[callback])

        def train():
            return loop.train().global_step

    with pytest.warns(UserWarning, match="training goes on") as told:
        assert train() == 8
    said = [str(one.message) for one in told if "training goes on" in str(one.message)]
    assert recorder.calls >= 8
    assert len([words for words in said if "path was not recorded" in words and "no space left" in words]) == 1
    assert len([words for words in said if "no line was logged" in words]) == 1


def test_epochs_of_lightning_are_numbered_through_where_a_training_goes_on(tmp_path):
    pl = pytest.importorskip("lightning.pytorch")

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(3, 2)

        def training_step(self, batch, index):
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.5)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*pair()), batch_size=4)
    quiet = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    held = pl.callbacks.ModelCheckpoint(dirpath=tmp_path, save_last=True)
    for epochs, ckpt in ((2, None), (4, tmp_path / "last.ckpt")):
        watch = callbacks.lightning(la.Recorder(tmp_path / "path"), when="epoch")
        pl.Trainer(max_epochs=epochs, callbacks=[watch, held], **quiet).fit(Module(), loader, ckpt_path=ckpt)
    path = la.Trajectory.open(tmp_path / "path")
    assert [(one.step, one.epoch) for one in path.checkpoints] == [(n, n) for n in range(5)]
    weights = [load_file(tmp_path / "path" / f"step-{n:09d}.safetensors")["net.weight"] for n in range(5)]
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(weights))
