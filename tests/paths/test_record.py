"""Does the recorder keep what was there, leave the training alone, and survive whatever happens to it?"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import subprocess
import sys

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


class Run:
    """A small training that can be recorded, interrupted, and begun again."""

    def __init__(self, seed: int = 0, lr: float = 0.1) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=0.9)
        generator = torch.Generator().manual_seed(9)
        self.x, self.y = torch.randn(30, 8, generator=generator), torch.randint(3, (30,), generator=generator)

    def go(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(self.x), self.y).backward()
            self.optimizer.step()

    def recorded(self, recorder, epochs, *, numbered: bool = False, told: bool = True) -> None:
        for epoch in epochs:
            self.go(1)
            recorder.step(self.model, **({"step": epoch} if numbered else {}), **({"epoch": epoch} if told else {}))


def steps_in(folder) -> list[int]:
    return [entry["step"] for entry in la.Recorder(folder, resume=True).entries]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("numbered", [True, False])
def test_a_resumed_recording_goes_on_where_it_was(tmp_path, numbered, told):
    run = Run()
    run.recorded(la.Recorder(tmp_path), range(6), numbered=numbered, told=told)
    recorder = la.Recorder(tmp_path)
    assert recorder.count == 6
    run.recorded(recorder, range(6, 10), numbered=numbered, told=told)
    assert steps_in(tmp_path) == list(range(10))


def test_a_recording_in_bfloat16_is_gone_on_with(tmp_path):
    run = Run(lr=1e-4)
    run.recorded(la.Recorder(tmp_path, bf16=True), range(6))
    run.recorded(la.Recorder(tmp_path, bf16=True), range(6, 8))
    assert steps_in(tmp_path) == list(range(8))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("recorded", [1, 2, 30])
def test_another_training_in_the_same_folder_is_refused_and_nothing_lost(tmp_path, seed, told, recorded):
    first = Run()
    recorder = la.Recorder(tmp_path, every=2)
    recorder.step(first.model, **({"epoch": 0} if told else {}))
    first.recorded(recorder, range(1, 2 * recorded), told=told)
    before = steps_in(tmp_path)
    again = Run(seed=seed, lr=0.01)
    if seed == 0 and recorded == 1:
        return  # a single checkpoint, and the same weights: nothing can tell, and nothing is glued
    with pytest.raises(la.RunMismatchError, match="Two training runs are not one path.*overwrite=True"):
        la.Recorder(tmp_path, every=2).step(again.model, **({"epoch": 0} if told else {}))
    assert steps_in(tmp_path) == before


def test_another_training_is_refused_even_where_its_first_call_is_not_due(tmp_path):
    Run().recorded(la.Recorder(tmp_path, every=2), range(20))
    other = Run(seed=3)
    other.go(1)
    with pytest.raises(la.RunMismatchError, match="not one path"):
        la.Recorder(tmp_path, every=7).step(other.model)


def test_a_training_begun_again_with_numbered_steps_replaces_the_first(tmp_path):
    Run().recorded(la.Recorder(tmp_path, every=2), range(1, 21), numbered=True)
    with pytest.warns(UserWarning, match="went back to step 1; 10 checkpoints"):
        Run(seed=1).recorded(la.Recorder(tmp_path, every=5), range(1, 11), numbered=True)
    assert steps_in(tmp_path) == [5, 10]


def test_a_path_is_replaced_when_asked_for(tmp_path):
    Run().recorded(la.Recorder(tmp_path), range(8))
    recorder = la.Recorder(tmp_path, overwrite=True)
    assert recorder.entries == []
    assert steps_in(tmp_path) == list(range(8))  # nothing is lost before there is something new
    other = nn.Linear(2, 1)
    with pytest.warns(UserWarning, match="8 checkpoints of an earlier training, steps 0 to 7, are replaced"):
        recorder.step(other, epoch=0)
    recorder.step(other, epoch=1)
    assert steps_in(tmp_path) == [0, 1]
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert len(la.Trajectory.open(tmp_path).shapes) == 2
    with pytest.raises(la.SpecError, match="either replaced or continued; choose one"):
        la.Recorder(tmp_path, overwrite=True, resume=True)


def test_a_path_is_gone_on_with_from_anywhere_when_asked_for(tmp_path):
    Run().recorded(la.Recorder(tmp_path), range(8))
    la.Recorder(tmp_path, resume=True).step(Run(seed=5).model, epoch=0)
    assert steps_in(tmp_path) == list(range(9))


def test_a_path_that_ended_in_nan_is_not_gone_on_with_in_silence(tmp_path):
    run = Run()
    recorder = la.Recorder(tmp_path)
    run.recorded(recorder, range(4))
    nn.init.constant_(run.model[0].weight, float("nan"))
    recorder.step(run.model, epoch=4)
    with pytest.raises(la.RunMismatchError):
        la.Recorder(tmp_path).step(Run().model)


def test_a_training_that_went_back_replaces_what_came_after(tmp_path):
    model = nn.Linear(1, 1)
    recorder = la.Recorder(tmp_path / "path")
    for _ in range(5):
        recorder.step(model)
    nn.init.zeros_(model.weight)
    with pytest.warns(
        UserWarning, match="went back to step 4; 1 checkpoint from there on, recorded before, is replaced"
    ):
        la.Recorder(tmp_path / "path").step(model, step=4)
    with pytest.warns(UserWarning, match="went back to step 3; 2 checkpoints from there on, recorded before, are repl"):
        la.Recorder(tmp_path / "path").step(model, step=3)
    assert [entry["step"] for entry in la.Recorder(tmp_path / "path").entries] == [0, 1, 2, 3]
    files = sorted(file.name for file in (tmp_path / "path").glob("*.safetensors"))
    assert len(files) == 4
    assert float(load_file(tmp_path / "path" / files[-1])["weight"]) == 0


def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path):
    trained(tmp_path / "path", steps=3)
    index = tmp_path / "path" / "index.jsonl"
    index.write_text(index.read_text()[:-10])
    recorder = la.Recorder(tmp_path / "path", resume=True)
    assert [entry["step"] for entry in recorder.entries] == [0, 1]
    recorder.step(nn.Sequential(net(), nn.Dropout(0.5), nn.Linear(2, 2)))
    assert [json.loads(line)["step"] for line in index.read_text().splitlines()] == [0, 1, 2]


@pytest.mark.parametrize("where", ["weights", "index"])
def test_a_full_disk_is_warned_of_once_and_the_training_goes_on(tmp_path, monkeypatch, where):
    recorder = la.Recorder(tmp_path / "path")
    recorder.step(nn.Linear(1, 1))
    before = {file.name: file.read_bytes() for file in (tmp_path / "path").iterdir()}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        if where == "weights":
            patched.setattr("lossatlas.paths.record.save_file", full)
        else:
            patched.setattr(os, "fsync", full)  # of the line, since the weights are on the disk by then
            patched.setattr("lossatlas.paths.record.replacing", lambda path, **_: contextlib.nullcontext(path))
        with pytest.warns(UserWarning, match=r"path: step 1 was not recorded \(No space left on device\)") as told:
            assert [recorder.step(nn.Linear(1, 1)) for _ in range(3)] == [False] * 3
        assert len(told) == 1
        assert {file.name: file.read_bytes() for file in (tmp_path / "path").iterdir()} == before
    assert recorder.step(nn.Linear(1, 1))
    assert [entry["step"] for entry in la.Recorder(tmp_path / "path").entries] == [0, 4]


FULL = """
import resource, signal, sys
from torch import nn
import lossatlas as la
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
recorder = la.Recorder(sys.argv[1])
recorder.step(nn.Linear(1, 1))
line = (recorder.folder / "index.jsonl").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (line + 40, line + 40))
from lossatlas.atomic import append
try:
    append(recorder.folder / "index.jsonl", "x" * 100)
except OSError as fault:
    print(fault.strerror, (recorder.folder / "index.jsonl").stat().st_size == line)
"""


def test_a_line_for_which_there_is_half_the_room_leaves_no_half_line(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "path")], capture_output=True, text=True)
    assert done.stdout == "File too large True\n", done.stderr


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
