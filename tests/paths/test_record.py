"""Does the recorder keep what was there, leave the training alone, and survive whatever happens to it?"""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.paths.record import growing, learning_rate


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def trained(folder=None, steps: int = 7, **options) -> str:
    """A few steps with dropout, whose weights tell whether anything touched the training; a hash of them."""
    model = nn.Sequential(net(), nn.Dropout(0.5), nn.Linear(2, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = la.Recorder(folder, **options) if folder else None
    torch.manual_seed(1)
    for step in range(steps):
        if recorder:
            recorder.step(model, epoch=step / 2, loss=torch.tensor(1.0 / (step + 1)), lr=optimizer)
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(5, 3)), torch.randint(2, (5,))).backward()
        optimizer.step()
    assert model.training
    return hashlib.sha1(b"".join(t.numpy().tobytes() for t in model.state_dict().values())).hexdigest()


def test_recording_changes_no_bit_of_the_training(tmp_path):
    assert trained(tmp_path / "path", every=2) == trained()


def test_what_is_kept_is_what_was_there(tmp_path):
    model = net()
    recorder = la.Recorder(tmp_path / "path")
    recorder.step(model, epoch=0, loss=0.5, lr=0.1, batch=[3, 4], why="start")
    kept = load_file(tmp_path / "path" / recorder.entries[0]["file"])
    assert kept.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(kept[name], tensor, rtol=0, atol=0)
    assert recorder.entries[0]["notes"] == {"batch": [3, 4], "why": "start"}
    line = json.loads((tmp_path / "path" / "index.jsonl").read_text())
    assert (line["step"], line["epoch"], line["loss"], line["lr"]) == (0, 0, 0.5, 0.1)


def test_bfloat16_halves_the_weights_and_leaves_the_statistics(tmp_path):
    model = net()
    recorder = la.Recorder(tmp_path / "path", bf16=True)
    recorder.save(model)
    kept = load_file(tmp_path / "path" / recorder.entries[0]["file"])
    assert kept["0.weight"].dtype == torch.bfloat16
    assert kept["1.running_var"].dtype == torch.float32
    torch.testing.assert_close(kept["0.weight"].float(), model[0].weight.detach(), rtol=2**-8, atol=0)


def test_tied_compiled_and_wrapped_models_keep_their_own_names(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    recorder = la.Recorder(tmp_path / "path")
    recorder.step(nn.DataParallel(model))
    recorder.step(torch.compile(model))
    for entry in recorder.entries:
        assert list(load_file(tmp_path / "path" / entry["file"])) == ["0.weight"]


def test_views_of_one_storage_are_kept_apart(tmp_path):
    model = nn.Linear(2, 2, bias=False)
    whole = torch.arange(8.0)
    model.weight = nn.Parameter(whole[4:].view(2, 2))
    model.register_buffer("same", model.weight.data)
    model.register_buffer("across", model.weight.data.T)
    model.register_buffer("before", whole[:5])
    recorder = la.Recorder(tmp_path / "path")
    recorder.save(model)
    kept = load_file(tmp_path / "path" / recorder.entries[0]["file"])
    assert kept["weight"].tolist() == kept["same"].tolist() == [[4, 5], [6, 7]]
    assert kept["across"].tolist() == [[4, 6], [5, 7]]
    assert kept["before"].tolist() == [0, 1, 2, 3, 4]


def test_trainable_tensors_alone_on_request(tmp_path):
    model = net()
    model[0].requires_grad_(False)
    recorder = la.Recorder(tmp_path / "path", tensors="trainable")
    recorder.save(model)
    kept = load_file(tmp_path / "path" / recorder.entries[0]["file"])
    assert "0.weight" not in kept
    assert "3.weight" in kept
    with pytest.raises(la.SpecError, match="no parameter to record"):
        recorder.save(model.requires_grad_(False))


def test_every_a_function_or_a_growing_distance_says_which_steps(tmp_path):
    model = nn.Linear(1, 1)
    for every, expected in (
        (3, [0, 3, 6, 9]),
        (lambda step: step in (2, 5), [2, 5]),
        (growing(1.5), [0, 1, 2, 3, 4, 6, 9]),
    ):
        recorder = la.Recorder(tmp_path / str(len(expected)) / repr(type(every)), every=every)
        for _ in range(10):
            recorder.step(model)
        assert [entry["step"] for entry in recorder.entries] == expected


def test_a_resumed_recording_goes_on_where_it_was(tmp_path):
    trained(tmp_path / "path", steps=3)
    recorder = la.Recorder(tmp_path / "path")
    assert recorder.count == 3
    model = nn.Sequential(net(), nn.Dropout(0.5), nn.Linear(2, 2))
    recorder.step(model)
    assert [entry["step"] for entry in la.Recorder(tmp_path / "path").entries] == [0, 1, 2, 3]


def test_a_training_that_went_back_replaces_what_came_after(tmp_path):
    model = nn.Linear(1, 1)
    recorder = la.Recorder(tmp_path / "path")
    for _ in range(5):
        recorder.step(model)
    nn.init.zeros_(model.weight)
    with pytest.warns(UserWarning, match="went back to step 3; 2 checkpoints"):
        la.Recorder(tmp_path / "path").step(model, step=3)
    assert [entry["step"] for entry in la.Recorder(tmp_path / "path").entries] == [0, 1, 2, 3]
    files = sorted(file.name for file in (tmp_path / "path").glob("*.safetensors"))
    assert len(files) == 4
    assert float(load_file(tmp_path / "path" / files[-1])["weight"]) == 0


def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path):
    trained(tmp_path / "path", steps=3)
    index = tmp_path / "path" / "index.jsonl"
    index.write_text(index.read_text()[:-10])
    recorder = la.Recorder(tmp_path / "path")
    assert [entry["step"] for entry in recorder.entries] == [0, 1]
    recorder.step(nn.Sequential(net(), nn.Dropout(0.5), nn.Linear(2, 2)))
    assert [json.loads(line)["step"] for line in index.read_text().splitlines()] == [0, 1, 2]


def test_a_file_that_cannot_be_written_leaves_no_line(tmp_path, monkeypatch):
    recorder = la.Recorder(tmp_path / "path")
    recorder.step(nn.Linear(1, 1))

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("lossatlas.paths.record.save_file", full)
    with pytest.raises(OSError, match="No space"):
        recorder.step(nn.Linear(1, 1))
    assert len(la.Recorder(tmp_path / "path").entries) == 1
    assert not [file for file in (tmp_path / "path").iterdir() if file.name.startswith(".")]


def test_bad_input_is_named(tmp_path):
    with pytest.raises(la.SpecError, match="every=0"):
        la.Recorder(tmp_path / "path", every=0)
    with pytest.raises(la.SpecError, match="choose one of: all, trainable"):
        la.Recorder(tmp_path / "path", tensors="some")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(la.SpecError, match=r"holds no path of a training"):
        la.Recorder(tmp_path / "other")
    recorder = la.Recorder(tmp_path / "path")
    recorder.step(nn.Linear(2, 1))
    with pytest.raises(la.RunMismatchError, match=r"'weight' has shape \[1, 2\] there and \[1, 3\] here"):
        la.Recorder(tmp_path / "path").step(nn.Linear(3, 1))
    with pytest.raises(la.SpecError, match="notes: .*expected numbers"):
        recorder.step(nn.Linear(2, 1), note=object())
    with pytest.raises(la.SpecError, match="lr is a str"):
        learning_rate("0.1")
    with pytest.raises(la.SpecError, match="model is a dict"):
        recorder.step({})
    with pytest.raises(la.SpecError, match="ratio=1"):
        growing(1)


def test_a_schedulers_rate_is_read():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    optimizer.step()
    scheduler.step()
    assert learning_rate(scheduler) == pytest.approx(0.1)
    assert learning_rate(torch.tensor(0.25)) == 0.25
