"""Does `lossatlas sample --input-plane` lead where it says, and say what does not go with it?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from torch.nn import functional as F

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.cli.scan import Scan

USER = """
import torch

class Sentence(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(7, 3)
        self.head = torch.nn.Linear(3, 2)

    def forward(self, tokens):
        return self.head(self.embedding(tokens).tanh().mean(dim=1))

def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))

torch.manual_seed(2)
tokens = torch.tensor([[1, 2, 3], [3, 4, 5]]), torch.tensor([0, 1])
pair = torch.randn(9, 4), torch.randint(3, (9,))
"""
POINTS = ["--model", "net.py:network", "--data", "net.py:pair"]
WORDS = ["--model", "net.py:Sentence", "--data", "net.py:tokens"]
LINE, SQUARE = ["--x", "0", "1", "2"], ["--x", "0", "1", "2", "--y", "0", "1", "2"]


@pytest.fixture(autouse=True)
def user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(USER)
    namespace: dict = {}
    exec(USER, namespace)
    return namespace


def sample(*arguments, code=0):
    result = CliRunner().invoke(atlas, ["sample", *arguments])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def test_a_plane_through_three_examples_has_their_losses_with_the_label_of_the_first(user):
    said = sample(*POINTS, "--input-plane", "towards:7,2", "--examples", "4", *SQUARE, "--run", "a").stdout
    found, (x, y), model = la.open("a"), user["pair"], user["network"]()
    for at, (cx, cy) in {4: (0, 0), 7: (1, 0), 2: (0, 1)}.items():
        expected = F.cross_entropy(model(x[[at]]), y[[4]]).item()
        assert float(found["loss"].sel(x=cx, y=cy)) == pytest.approx(expected, rel=1e-5)
    assert found["x"].attrs["long_name"] == "towards example 7"
    assert "inputs: moved towards example 7 (x), towards example 2 (y), the weights fixed and the targets kept" in said


def test_a_word_becomes_another_word_and_all_others_stay(user):
    sample(*WORDS, "--input-plane", "token:-2:6", "--layer", "embedding", *LINE, "--run", "a")
    found, (tokens, label), model = la.open("a"), user["tokens"], user["Sentence"]()
    swapped = tokens.clone()
    swapped[:, 1] = 6
    expected = [F.cross_entropy(model(each), label).item() for each in (tokens, swapped)]
    np.testing.assert_allclose(found["loss"].values, expected, rtol=1e-5)
    assert found["x"].attrs["long_name"] == "towards token 6 at position -2"


@pytest.mark.parametrize(
    "arguments",
    [
        [*POINTS, "--input-plane", "towards:7", "--examples", "4,5", "--clamp", "-1,1", *LINE],
        [*WORDS, "--input-plane", "token:0:6,5", "--layer", "embedding", *SQUARE],
        [*WORDS, "--input-plane", "towards:1", "--examples", "0", "--layer", "embedding", *LINE],
    ],
)
def test_the_printed_program_and_settings_make_the_same_plane(arguments):
    sample(*arguments, "--run", "a")
    exec(compile(sample(*arguments, "--run", "b", "--print-python").stdout, "printed", "exec"), {})
    Path("c.toml").write_text(sample(*arguments, "--run", "c", "--print-config").stdout)
    sample("--config", "c.toml")
    for other in "bc":
        np.testing.assert_array_equal(la.open("a")["loss"].values, la.open(other)["loss"].values)


def test_without_axes_one_other_input_is_a_line_and_two_are_a_square():
    for plane, axes in {"towards:7": ("x",), "towards:7,2": ("x", "y"), "adversarial": ("x", "y")}.items():
        assert tuple(Scan(model="m.py:m", data="m.py:d", input_plane=plane).axes) == axes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["towards:"], "expected adversarial, random, towards:EXAMPLE,… or token:POSITION:NUMBER,…"),
        (["towards:-1"], "expected adversarial"),
        (["towards:7.5"], "expected adversarial"),
        (["token:3"], "expected adversarial"),
        (["tokens:3:1"], "expected adversarial"),
        (["towards:7", *SQUARE], "names 1, but the axes are x, y: give one number for each axis"),
        (["towards:7,2", *LINE], "names 2, but the axes are x: give one number for each axis"),
        (["towards:1,2,3"], "names 3, but the axes are x, y"),
        (["towards:7", "--norm", "2"], "is for adversarial and random"),
        (["towards:99"], "number 99 of 9 samples"),
        (["towards:7", "--examples", "7"], "equal the input they are to reach"),
        (["token:0:1"], "needs --layer NAME, the embedding whose output moves"),
        (["token:0:1", "--layer", "embedding", "--clamp", "0,1"], "--clamp 0,1 is for inputs"),
        (["towards:7", "--towards", "a.pt"], "--towards is about directions of weights"),
    ],
)
def test_what_does_not_go_with_another_input_is_said(arguments, words):
    assert words in sample(*POINTS, "--input-plane", *arguments, code=2).stderr
