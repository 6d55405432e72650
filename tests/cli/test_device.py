"""Does the command line take the accelerator that is there, say so, and leave a model where its own code put it?"""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from lossatlas.cli import atlas
from lossatlas.cli.device import device_for


@pytest.fixture
def card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A card")


def test_a_card_that_is_there_is_taken_and_named(card, capsys) -> None:
    for asked in ("", "auto"):
        assert device_for(asked, nn.Linear(2, 2)) == "cuda"
        assert capsys.readouterr().err == "device: cuda (A card); --device cpu for the processor\n"


def test_what_is_asked_for_is_taken_in_silence(card, capsys) -> None:
    assert device_for("cpu", nn.Linear(2, 2)) == "cpu"
    assert capsys.readouterr().err == ""


def test_a_model_in_place_or_on_a_device_of_its_own_stays(card, capsys) -> None:
    assert device_for("", nn.Linear(2, 2), in_place=True) is None
    assert device_for("", nn.Linear(2, 2, device="meta")) is None
    assert capsys.readouterr().err == ""


def test_without_an_accelerator_nothing_is_said(monkeypatch, capsys) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device_for("auto", nn.Linear(2, 2)) is None
    assert capsys.readouterr().err == ""


def test_apples_card_is_not_given_doubles(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device_for("", nn.Linear(2, 2)) == "mps"
    assert device_for("", nn.Linear(2, 2).double()) is None


@pytest.mark.parametrize("device", ["cuda:99", "nothing"])
def test_a_device_that_is_not_here_is_refused_in_a_sentence(device):
    words = ["sample", "--model", "zoo:mlp", "--data", "zoo:digits", "--x", "-1", "1", "3", "--device", device]
    told = CliRunner().invoke(atlas, words)
    assert told.exit_code == 2, told.output
    assert f"{device}" in told.output
    assert isinstance(told.exception, SystemExit)
