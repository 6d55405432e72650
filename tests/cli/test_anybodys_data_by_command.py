"""Are derivatives, sizes and data of any kind within reach of the command line?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from numpy.testing import assert_allclose

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.cli.samples import first_samples

USER = """
import torch
from torch.utils.data import Dataset

class Physics(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))

    def forward(self, t):
        t = t.clone().requires_grad_(True)
        u = self.net(t)
        return torch.autograd.grad(u.sum(), t, create_graph=True)[0] + u

def net():
    return Physics()

def data():
    t = torch.linspace(0, 1, 20)[:, None]
    return t, torch.zeros(20, 1)

class Rows(Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, at):
        return data()[0][at], data()[1][at]

def rows():
    return Rows()

def sum_loss(outputs, targets):
    return (outputs - targets).square().sum()

def plain():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)

torch.manual_seed(1)
x, y = torch.randn(20, 3), torch.randint(2, (20,))
pair = (x, y)

def cells():
    return [{"cells": x[i:i + 8], "genes": y[i:i + 8]} for i in range(0, 20, 8)]

def through(model, batch):
    return model(batch["cells"]), batch["genes"]

class Through:
    def __init__(self, key="cells"):
        self.key = key

    def __call__(self, model, batch):
        return model(batch[self.key]), batch["genes"]
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "user.py").write_text(USER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(atlas, [*arguments])


BASE = ("sample", "--model", "user.py:net", "--loss", "mse", "--x", "-1", "1", "3")


def test_derivatives_by_the_inputs_need_the_flag_that_the_message_names(here):
    refused = run(*BASE, "--data", "user.py:data")
    assert refused.exit_code != 0
    assert "--autograd" in refused.output
    done = run(*BASE, "--data", "user.py:data", "--autograd", "--run", "a")
    assert done.exit_code == 0, done.output
    assert float(la.open("a")["loss"].sel(x=0)) > 0
    shown = run(*BASE, "--data", "user.py:data", "--autograd", "--size", "5", "--print-python")
    assert "size=5, autograd=True" in shown.output


def test_curvature_takes_the_flag_too(here):
    done = run("eigen", "--model", "user.py:net", "--data", "user.py:data", "--loss", "mse", "--autograd")
    assert done.exit_code == 0, done.output


def test_a_dataset_is_cut_and_its_first_samples_taken(here):
    options = ("--autograd", "--batch-size", "8", "--run")
    assert run(*BASE, "--data", "user.py:rows", *options, "whole").exit_code == 0
    done = run(*BASE, "--data", "user.py:rows", *options, "part", "--samples", "10")
    assert done.exit_code == 0, done.output
    assert la.open("whole").attrs["samples"] == 20
    assert la.open("part").attrs["samples"] == 10


def test_a_sum_is_refused_by_the_command_for_eigenvalues(here):
    refused = run(
        "eigen", "--model", "user.py:net", "--data", "user.py:data", "--loss", "user.py:sum_loss", "--autograd"
    )
    assert refused.exit_code != 0
    assert "is a sum over samples" in refused.output


def test_the_first_samples_of_graphs_end_where_a_batch_does():
    data = [{"x": torch.zeros(12, 3), "batch": torch.arange(4).repeat_interleave(3), "y": torch.zeros(4)}] * 2
    assert [len(batch["y"]) for batch in first_samples(data, 4)] == [4]
    with pytest.raises(la.SpecError, match="a batch of 4 samples cannot be cut into single ones"):
        first_samples(data, 6)


FORWARD = ("sample", "--model", "user.py:plain", "--data", "user.py:cells", "--x", "-1", "1", "3")


def test_a_forward_of_the_users_takes_batches_of_any_shape(here):
    refused = run(*FORWARD)
    assert refused.exit_code != 0
    assert "--forward file.py:function" in refused.output
    named = ("--forward", "user.py:through")
    done = run(*FORWARD, *named, "--run", "a")
    assert done.exit_code == 0, done.output
    assert run(*FORWARD[:4], "user.py:pair", *FORWARD[5:], "--run", "pairs").exit_code == 0
    assert_allclose(la.open("a")["loss"].values, la.open("pairs")["loss"].values, rtol=1e-6)
    made = run(*FORWARD, "--forward", 'user.py:Through(key="cells")', "--run", "b")
    assert made.exit_code == 0, made.output
    assert_allclose(la.open("b")["loss"].values, la.open("a")["loss"].values, rtol=1e-6)
    curved = run("eigen", *FORWARD[1:5], *named, "--probes", "0")
    assert curved.exit_code == 0, curved.output


def test_a_forward_is_written_into_the_program_and_the_file_that_say_the_same(here):
    named = ("--forward", "user.py:through", "--run", "c")
    Path("c.toml").write_text(run(*FORWARD, *named, "--print-config").output)
    assert run("sample", "--config", "c.toml").exit_code == 0
    first = la.open("c")["loss"].values
    exec(run(*FORWARD, *named[:3], "d", "--print-python").output, {})
    assert_allclose(la.open("d")["loss"].values, first, rtol=1e-6)
    absent = run(*FORWARD, "--forward", "user.py:throgh")
    assert "has no 'throgh'; it has through" in absent.output
    assert "of the model and a batch" in run(*FORWARD, "--forward", "user.py:x").output
