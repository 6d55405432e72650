"""Does every example in the help do what it says? Each is executed, in order, beside small files of the names it uses."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import COMMANDS, atlas

USER = """
from collections import OrderedDict
import torch

def make_model(seed=0):
    torch.manual_seed(seed)
    layers = OrderedDict(layer3=torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()), head=torch.nn.Linear(4, 2))
    return torch.nn.Sequential(layers)

torch.manual_seed(1)
pair = torch.randn(20, 3), torch.randint(2, (20,))
earlier = (1.5 * pair[0], pair[1])
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*pair), batch_size=10)
"""

SIMULATION = """
import numpy as np
import lossatlas as la

def make():
    return la.Function(lambda p: float((p["kernel"] ** 2).sum()), {"kernel": np.arange(6.0).reshape(2, 3)})
"""

WORDS = """
import torch

class Sentence(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(20, 4)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, tokens):
        return self.head(self.embedding(tokens).tanh().mean(dim=1))

torch.manual_seed(2)
pair = torch.randint(16, (6, 5)), torch.randint(2, (6,))
"""

SCAN = """
model = "train.py:make_model"
data = "train.py:pair"
checkpoint = "a.pt"
x = [-1.0, 1.0, 5]
y = [-1.0, 1.0, 5]
"""

SMALLER = {
    "zoo:resnet20": "train.py:make_model",
    "zoo:resnet56": "train.py:make_model",
    "zoo:mlp ": "train.py:make_model ",
    "zoo:digits": "train.py:loader",
    "images.npz": "train.py:pair",
    "resnet56.pt": "a.pt",
    " 51": " 7",
    " 61": " 7",
    " 41": " 7",
    "--grid 31": "--grid 7",
    "-1 1 9": "-1 1 3",
    "--probes 20": "--probes 2",
    "--batch-size 64": "--batch-size 5",
    "critical.m=64": "critical.m=10",
    "radius.directions=20": "radius.directions=2",
    "--seeds 5": "--seeds 2",
    "--seconds 4": "--seconds 0.3",
    "--shard 3/8": "--shard 2/3",
    "--executor processes:4": "--executor serial",
    "llc --model": "llc --draws 100 --model",
    'llc --config scan.toml --only "layer3.*"': 'llc --config scan.toml --only "layer3.*" --draws 100',
    "llc --config scan.toml --run": "llc --config scan.toml --draws 100 --run",
    "--draws 500": "--draws 50",
    "--volume": "--volume --ways 20",
}
"""What makes an example small; nothing else of it is changed."""

ELSEWHERE = {
    "demo": "trains networks: tests/cli/test_demos.py",
    "serve": "serves until it is stopped: tests/atlas",
    "study": "trains networks: studies/tests",
    "doctor": "looks at the machine: tests/cli/test_doctor.py",
}
CODES = {"lossatlas check runs/seed-0 runs/seed-1 --strict": 1}
"""Examples whose answer here is no."""

LONG = ("hf:", "--render", "-o a.mp4", "--kind surface", "--film", "-o frames")
"""Examples that ask a hub, or draw for some seconds: both have tests of their own."""


def examples(name: str) -> Iterator[str]:
    """The commands in the help of a command, each on one line."""
    command = atlas.get_command(None, name)
    text = re.sub(r" *\\\n *", " ", command.help or "")
    for line in text.splitlines():
        if match := re.match(r" +(lossatlas .*?)(?: {3,}\S.*| +\(.*\))?$", line):
            yield match[1].strip()


def run(line: str) -> None:
    small = line
    for long, short in () if "explain" in line else SMALLER.items():
        small = small.replace(long, short)
    done = CliRunner().invoke(atlas, shlex.split(small)[1:])
    said = f"{small}\n{done.output[-1500:]}\n{done.exception!r}"
    if done.exit_code == 2 and "pip install" in done.output:
        pytest.skip(done.output[-200:])
    refused = line.startswith("lossatlas llc ") and "the estimate is refused" in done.output
    assert done.exit_code == (1 if refused else CODES.get(line, 0)), said


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A folder with everything that the examples name."""
    folder = tmp_path_factory.mktemp("examples") / "work"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("train.py").write_text(USER)
        Path("sim.py").write_text(SIMULATION)
        Path("words.py").write_text(WORDS)
        Path("scan.toml").write_text(SCAN)
        for kind in ("skip", "noskip"):
            Path(f"{kind}.toml").write_text(SCAN)
        namespace: dict = {}
        exec(USER, namespace)
        for seed, name in enumerate(("a", "b", "c", "best")):
            net = namespace["make_model"](seed)
            torch.save(net.state_dict(), f"{name}.pt")
        recorder = la.Recorder("runs/path")
        for _ in range(4):
            with torch.no_grad():
                net.layer3[0].weight += 0.1 * torch.randn(4, 3)
            recorder.step(net, loss=1.0)
        for name in ("sgd", "adam"):
            shutil.copytree("runs/path", f"runs/{name}")
        made = {"a": "0", "b": "1", "skip": "2", "noskip": "3", "seed-0": "4", "seed-1": "5"}
        for name, seed in made.items():
            run(f"lossatlas sample --config scan.toml --metric error --seed {seed} --run runs/{name}")
        run("lossatlas sample --config scan.toml --data train.py:loader --checkpoint best.pt --run runs/best")
        run("lossatlas connect --config scan.toml --to b.pt --run runs/ways")
        run("lossatlas eigen --config scan.toml --map --x -1 1 3 --y -1 1 3 --run runs/map")
        told = CliRunner().invoke(atlas, ["sharpness", "--config", "scan.toml", "--measure", "sam", "--json"])
        Path("flat.json").write_text(told.stdout)
        run("lossatlas draw runs/a -o figure.pdf")
        run("lossatlas export runs/a surface.h5 --directions directions.h5 --model train.py:make_model")
        shutil.copy("directions.h5", "dir.h5")
        shutil.copy("runs/a/landscape.nc", "a.nc")
        Path("table.csv").write_text("alpha,beta,loss\n0,0,1\n0,1,2\n1,0,3\n1,1,4\n")
    return folder


NAMES = [name for name in COMMANDS if name not in ELSEWHERE]


@pytest.mark.parametrize("name", NAMES)
def test_every_example_in_the_help_can_be_typed_as_it_stands(name, prepared, tmp_path, monkeypatch):
    here = tmp_path / "work"
    shutil.copytree(prepared, here)
    monkeypatch.chdir(here)
    if name == "compare":  # its own examples make them
        for kind in ("skip", "noskip"):
            shutil.rmtree(here / "runs" / kind)
    for kind in {"sample": ("a", "best"), "connect": ("ways",), "eigen": ("map",), "merge": ("a",)}.get(name, ()):
        shutil.rmtree(here / "runs" / kind)
    for share in ("1/2", "2/2") if name == "merge" else ():
        run(f"lossatlas sample --config scan.toml --run runs/a --shard {share}")
    for line in examples(name):
        if not any(word in line for word in LONG):
            run(line)


def test_most_commands_have_examples_and_they_are_found():
    found = {name: list(examples(name)) for name in NAMES}
    assert sum(map(len, found.values())) > 50
    assert found["sample"][0].endswith("--metric error --run runs/best --out best.html")
    assert "lossatlas draw runs/a -o a.png --vmin 0 --vmax 3" in found["draw"]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_no_help_shows_a_mark_or_joins_lines_that_stand_alone(name):
    words = [name] if name else []
    told = CliRunner().invoke(atlas, [*words, "--help"], catch_exceptions=False).stdout
    assert "\\b" not in told
    assert "\b" not in told
    command = atlas.get_command(click.Context(atlas), name) if name else atlas
    alone = {line for line in inspect.cleandoc(command.help).splitlines() if line.startswith("  ")}
    assert alone or "not installed" in command.help
    assert alone <= {line.removeprefix("  ") for line in told.splitlines()}
