"""Is a flag that would do nothing refused, in one kind of sentence that says what it is for?"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib.image import imread

import lossatlas as la
from lossatlas.cli import COMMANDS, atlas
from lossatlas.cli.needed import Checked, Needing, flag, needing, says, settled, unless
from lossatlas.errors import SpecError

USER = """
import torch

def make_model():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)

torch.manual_seed(1)
pair = torch.randn(12, 3), torch.randint(2, (12,))
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*pair), batch_size=6)
"""

MODEL = "--model user.py:make_model --data user.py:pair"

REFUSED = {
    "demo": {
        "--live --quick": "--quick is for the other demos; --live lasts as long as you watch it",
        "--port 8000": "--port is for --live: add that, or leave --port out",
    },
    "sample": {
        "--key a": "--key is for a checkpoint, but none is named: add --checkpoint FILE",
        "--prefix a.": "--prefix is for a checkpoint",
        "--partial": "--partial is for a checkpoint",
        "--trust-pickle": "--trust-pickle is for a checkpoint",
        "--directions d.h5 --seed 3": "--seed is for random directions, but no axis is one here: leave it out",
        "--towards a.pt --x 0 1 5 --seed 3": "--seed is for random directions",
        "--input-plane towards:1 --seed 3": "--seed is for random directions",
        "--input-plane adversarial --x 0 1 5 --seed 3": "--seed is for random directions",
        "--directions d.h5 --normalize layer": "--normalize is for random directions of weights",
        "--directions d.h5 --still none": "--still is for random directions of weights",
        "--input-plane random --normalize layer": "--normalize is for random directions of weights",
        "--x 0 1 5 --orthogonal": "--orthogonal is for two random directions of weights, but there are fewer here",
        "--towards a.pt --orthogonal": "--orthogonal is for two random directions of weights",
        "--directions d.h5 --rank 2": "--rank is for a plane of random directions of weights",
        "--print-config --print-python": "--print-python is for a command without --print-config",
        "--data user.py:loader --batch-size 4": "--batch-size is for data that are not in batches yet",
    },
    "eigen": {
        "--x 0 1 5": "--x is for --map or --along: add that, or leave --x out",
        "--y 0 1 5": "--y is for --map or --along",
        "--normalize layer": "--normalize is for --map or --along",
        "--still none": "--still is for --map or --along",
        "--orthogonal": "--orthogonal is for --map or --along",
        "--towards a.pt": "--towards is for --map or --along",
        "--directions d.h5": "--directions is for --map or --along",
        "--map --directions d.h5 --still none": "--still is for random directions of weights",
        "--map --critical --directions d.h5 --seed 1": "--seed is for random numbers, but --critical uses none",
        "--map --k 2": "--k is for eigenvalues at the point, but --map or --batches asks for others: leave it out",
        "--batches --k 2": "--k is for eigenvalues at the point",
        "--map --probes 2": "--probes is for eigenvalues at the point",
        "--batches --rows 2": "--rows is for eigenvalues at the point",
        "--map --density": "--density is for eigenvalues at the point",
        "--batches --density": "--density is for eigenvalues at the point",
        "--map --critical --kind ggn": "--kind is for the spectrum, but --critical does not compute one",
        "--map --critical --tensors weights": "--tensors is for the spectrum",
        "--map --how differences": "--how is for the point itself, but --map is about a grid: leave one of them out",
        "--vectors 2": "--vectors is for --density",
        "--critical": "--critical is for --map: add that; for a single point use lossatlas sharpness --measure critical",
        "--map --second-loss mse": "--second-loss is for critical sharpness: add --map --critical",
        "--second-data user.py:pair": "--second-data is for critical sharpness: add --map --critical",
        "--map --along": "--along is for the point itself",
        "--by layer --along": "--along is for the whole matrix, but --by or --batches asks for parts of it",
        "--step 0.1": "--step is for --along",
        "--map --save e.safetensors": "--save is for the point itself",
        "--batches --save e.safetensors": "--save is for the whole matrix",
        "--by layer --map": "--map is for the whole matrix",
        "--by layer --batches": "--by is for blocks, but --batches is another question: leave one of them out",
        "--batches --data user.py:loader --batch-size 4": "--batch-size is for data that are not in batches yet",
    },
    "sharpness": {
        "--measure fisher_rao --seed 1": "--seed is for measures that draw random numbers, but none of these does: leave it",
        "--measure sam --second-loss mse": "--second-loss is for critical sharpness: add --measure critical",
        "--second-data user.py:pair": "--second-data is for critical sharpness: add --measure critical",
        "--key a": "--key is for a checkpoint",
    },
    "quantise": {"--group 64": "--group is for --by group: add that, or leave --group out"},
    "llc": {
        **{
            f"--volume {chains}": f"{chains.split()[0]} is for chains, but --volume runs none: leave one of them out"
            for chains in (
                "--step 0.1", "--nbeta 2", "--gamma 1", "--chains 2", "--draws 5", "--burn 5", "--full", "--plain", "--scan"
            )
        },
        **{
            volume: f"{volume.split()[0]} is for --volume: add that, or leave {volume.split()[0]} out"
            for volume in ("--heights 1e-6 1e-2", "--radius 2", "--ways 10", "--scaled hessian")
        },
    },
    "connect": {
        "--to a.pt --seed 1": "--seed is for a curve: add --curve bezier or polygon",
        "--to a.pt --bends 2": "--bends is for a curve",
        "--to a.pt --epochs 2": "--epochs is for a curve",
        "--to a.pt --lr 0.1": "--lr is for a curve",
        "--to a.pt --plane p.png": "--plane is for a curve",
        "--to a.pt --curve bezier --grid 5": "--grid is for --plane or --report",
        "--to a.pt --scale log": "--scale is for --out or --plane or --report",
    },
    "trajectory": {
        **{
            f"--folder path {one}": f"{one.split()[0]} is for the surface under the path, which needs --model and --data"
            for one in (
                "--data user.py:pair", "--checkpoint a.pt", "--loss mse", "--samples 3", "--device cpu", "--metric error",
                "--x 0 1 5", "--plan plain", "--precision exact", "--run r", "--title a", "--grid 5", "--out a.png",
                "--losses a.png", "--film a.gif", "--report a.html",
            )
        },
        f"--folder path {MODEL} --x 0 1 5 --y 0 1 5 --grid 5": "--grid is for axes that enclose the path",
        f"--folder path {MODEL} --seconds 2": "--seconds is for --film",
        f"--folder path {MODEL} --rate 2": "--rate is for --film",
        f"--folder path {MODEL} --width 200": "--width is for --film",
    },
    "explain": {"--sizes --canonical zoo:mlp": "--canonical is for the filters of one model"},
    "topology": {"runs/a --scale log": "--scale is for --out: add that, or leave --scale out"},
    "serve": {
        "--budget 5": "--budget is for --sample-while-training",
        "--grid 9": "--grid is for --sample-while-training",
        "--model user.py:make_model": "--model is for --sample-while-training",
        "--config scan.toml": "--config is for --sample-while-training",
        "--metric error": "--metric is for --sample-while-training",
    },
    "draw": {
        **{
            f"runs/a -o a.{kind} {one}": f"{one.split()[0]} is for what is set on a page (png, pdf, svg): leave it out"
            for kind, one in (
                ("html", "--x-label a"), ("html", "--letters"), ("html", "--caption full"), ("html", "--width 3"),
                ("html", "--height 3"), ("html", "--aspect 1"), ("html", "--font serif"), ("html", "--font-size 7"),
                ("html", "--dpi 60"), ("html", "--legend"), ("glb", "--x-label a"), ("glb", "--no-legend"),
            )
        },
        "runs/a -o a.html --ticks in": "--ticks is for lines and maps that are set on a page",
        "runs/a -o a.png --kind surface --ticks in": "--ticks is for lines and maps that are set on a page",
        "runs/a -o a.png --kind surface --no-units": "--no-units is for lines and maps that are set on a page",
        "line.nc -o a.png --y-label a": "--y-label is for maps and reliefs that are set on a page",
        "runs/a -o a.html --y-label a": "--y-label is for maps and reliefs that are set on a page",
        "runs/a -o a.png --contours": "--contours is for reliefs: --kind surface: leave it out",
        "runs/a -o a.png --camera 30 40": "--camera is for reliefs: --kind surface: leave it out",
        "line.nc -o a.svg --camera 30 40": "--camera is for reliefs",
        "line.nc -o a.png --mark A=0,0": "--mark is for maps, reliefs and meshes: leave it out",
        "line.nc -o a.png --points": "--points is for maps: leave it out",
        "runs/a -o a.png --kind surface --points": "--points is for maps: leave it out",
        "runs/a -o a.glb --title a": "--title is for pictures and pages: leave it out",
        "runs/a -o a.glb --theme dark": "--theme is for pictures and pages: leave it out",
        "runs/a -o a.png --bare": "--bare is for --render: add that, or leave --bare out",
        "runs/a -o a.png --transparent": "--transparent is for --render: add that, or leave --transparent out",
    },
    "animate": {
        "runs/a -o a.gif --factor 2": "--factor is for --film zoom: add that, or leave --factor out",
        "runs/a -o a.gif --film zoom --contours": "--contours is for --film turn or morph",
    },
    "import": {
        "table.csv --model user.py:make_model": "--model is for directions, but this source has none: leave it out",
        "surface.h5 --model user.py:make_model": "--model is for directions",
        "surface.h5 --axis x": "--axis is for tables and arrays; an .h5 file names its axes itself: leave it out",
        "surface.h5 --label x=y": "--label is for tables and arrays; an .h5 file names its axes itself: leave it out",
        "directions.h5 --model user.py:make_model --title a": "--title is for values, but directions have none",
        "directions.h5 --model user.py:make_model --data a": "--data is for values",
        "directions.h5 --model user.py:make_model --samples 3": "--samples is for values",
    },
    "export": {
        "runs/a s.h5 --model user.py:make_model": "--model is for --directions or --lora",
        "runs/a s.h5 --lora-rank 2": "--lora-rank is for --lora",
        "runs/a s --lora --directions d.h5 --model user.py:make_model": "--directions is for an .h5 surface, but --lora",
    },
    "study": {
        "--list --scale paper": "--scale is for a study, but --list names them all: name a study",
        "width --list --set seeds=2": "--set is for studies that are run, but --list runs none",
        "--all --set seeds=2": "--set is for one study, but --all runs them all",
        "--list --all": "--all is for studies that are run",
        "width --jobs 2": "--jobs is for --all: it says how many studies are run at a time",
        "--list --jobs 2": "--jobs is for studies that are run",
        "--list --dry-run": "--dry-run is for studies that are run",
        "--list --out a": "--out is for studies that are run",
        "--list --device cpu": "--device is for studies that are run",
    },
}  # fmt: skip
"""Flags by command, with what is beside them, and the beginning of the sentence that refuses them."""

WITH_MODEL = ("sample", "eigen", "sharpness", "quantise", "llc", "connect")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("needed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("user.py").write_text(USER)
        namespace: dict = {}
        exec(USER, namespace)
        net = namespace["make_model"]()
        torch.save(net.state_dict(), "a.pt")
        recorder = la.Recorder("path")
        for _ in range(3):
            with torch.no_grad():
                net.weight += 0.1
            recorder.step(net, loss=1.0)
        torch.save(net.state_dict(), "b.pt")
        told = ["sample", *shlex.split(MODEL), "--x", "-1", "1", "3", "--y", "-1", "1", "3", "--run", "runs/a"]
        assert CliRunner().invoke(atlas, told).exit_code == 0
        said = CliRunner().invoke(
            atlas,
            ["export", "runs/a", "surface.h5", "--directions", "directions.h5", "--model", "user.py:make_model"],
        )
        assert said.exit_code == 0, said.output
        la.landscape(x=np.linspace(-1, 1, 5), loss=np.linspace(-1, 1, 5) ** 2).to_netcdf("line.nc")
        Path("table.csv").write_text("x,loss\n0,1\n1,2\n")
        Path("scan.toml").write_text('model = "user.py:make_model"\ndata = "user.py:pair"\n')
    return folder


@pytest.fixture
def here(prepared, monkeypatch) -> Path:
    monkeypatch.chdir(prepared)
    return prepared


def run(*words: object):
    return CliRunner().invoke(atlas, [str(word) for word in words])


@pytest.mark.parametrize(
    ("command", "flags", "said"), [(name, *case) for name, cases in REFUSED.items() for case in cases.items()]
)
def test_a_flag_that_would_do_nothing_is_refused_and_says_what_it_is_for(command, flags, said, here):
    before = sorted(here.rglob("*"))
    base = shlex.split(MODEL) if command in WITH_MODEL else []
    done = run(command, *base, *shlex.split(flags))
    assert done.exit_code == 2, done.output
    assert f"lossatlas: {said}" in done.output
    assert sorted(here.rglob("*")) == before


def every_needing_flag() -> set[tuple[str, str]]:
    found = set()
    for name in COMMANDS:
        command = atlas.get_command(click.Context(atlas), name)
        found |= {(name, max(one.opts, key=len)) for one in command.params if isinstance(one, Needing) and one.needs}
    return found


def test_each_flag_that_needs_something_has_a_case_here():
    told = {(name, flag) for name, cases in REFUSED.items() for words in cases.values() for flag in [words.split()[0]]}
    told |= {(name, flag.replace("--no-", "--")) for name, flag in told}
    repeated = {("serve", flag) for name, flag in every_needing_flag() if name == "serve"}
    repeated |= {("trajectory", flag) for name, flag in every_needing_flag() if name == "trajectory"}
    loading = {"--key", "--prefix", "--partial", "--trust-pickle", "--batch-size"}  # the same options in all commands
    missing = {one for one in every_needing_flag() - told - repeated if one[1] not in loading}
    assert missing == set()


def test_every_command_with_such_a_flag_checks_it():
    for name in {name for name, _ in every_needing_flag()}:
        assert isinstance(atlas.get_command(click.Context(atlas), name), Checked), name


@pytest.mark.parametrize(
    "line",
    [
        f"sample {MODEL} --checkpoint a.pt --partial --x 0 1 3",
        f"sample {MODEL} --towards b.pt --partial --x 0 1 3",
        f"sample {MODEL} --mark A=b.pt --partial --x 0 1 3 --y 0 1 3",
        f"sample {MODEL} --towards b.pt --seed 3 --normalize layer --x 0 1 3 --y 0 1 3",
        f"sample {MODEL} --orthogonal --x 0 1 3 --y 0 1 3",
        f"sample {MODEL} --batch-size 4 --x 0 1 3",
        f"connect {MODEL} --to b.pt --partial --steps 3",
        f"eigen {MODEL} --along --x 0 1 3 --step 0.05 --seed 1 --probes 0",
        f"eigen {MODEL} --by layer --k 1 --probes 2 --density --vectors 1",
        f"sharpness {MODEL} --measure lpf --seed 1",
    ],
)
def test_the_same_flags_are_taken_where_they_do_something(line, here):
    done = run(*shlex.split(line))
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("drawn", "flags"),
    [
        (
            "line.nc -o {}.png",
            "--x-label a|--letters|--caption full|--width 3|--height 3|--aspect 1|--font serif|--font-size 7|--dpi 60"
            "|--ticks in|--no-units|--title a|--theme dark|--value-label a",
        ),
        (
            "runs/a -o {}.png",
            "--y-label a|--ticks in|--no-units|--mark A=0,0|--points|--title a|--theme dark|--letters|--caption full",
        ),
        (
            "runs/a -o {}.png --kind surface",
            "--contours|--camera 30 40|--y-label a|--mark A=0,0|--title a|--theme dark|--letters|--aspect 1|--width 3",
        ),
    ],
)
def test_a_flag_that_draw_takes_changes_the_picture(drawn, flags, here):
    def picture(added: str) -> np.ndarray:
        done = run("draw", *shlex.split(f"{drawn.format('taken')} {added}"))
        assert done.exit_code == 0, done.output
        return imread(here / "taken.png")

    plain = picture("")
    assert np.array_equal(plain, picture(""))
    for added in flags.split("|"):
        assert not np.array_equal(plain, picture(added)), added
    (here / "taken.png").unlink()


def test_a_flag_that_one_of_several_pictures_shows_is_taken(here):
    done = run("draw", "runs/a", "-o", "both.png", "-o", "both.html", "--width", "3")
    assert done.exit_code == 0, done.output


def test_a_map_of_curvature_is_said_as_json(here):
    done = CliRunner().invoke(
        atlas, ["eigen", *shlex.split(MODEL), *shlex.split("--map --critical --x -1 1 3 --y -1 1 3 --json")]
    )
    found = json.loads(done.stdout)
    assert np.shape(found["values"]) == (3, 3)
    assert found["axes"] == {"x": [-1, 0, 1], "y": [-1, 0, 1]}
    assert found["about"] == "critical sharpness"


def test_a_settings_file_is_refused_by_sample_alone_and_a_flag_may_overrule_it(here):
    settings = 'model = "user.py:make_model"\ndata = "user.py:pair"\n'
    (here / "odd.toml").write_text(settings + 'directions = "directions.h5"\nseed = 3\n')
    said = "lossatlas: odd.toml: seed is for random directions, but no axis is one here: leave it out"
    assert said in run("sample", "--config", "odd.toml").output
    assert run("eigen", "--config", "odd.toml", "--probes", 0).exit_code == 0  # reads another part of the file
    (here / "seeded.toml").write_text(settings + "seed = 3\n")
    shown = run("sample", "--config", "seeded.toml", "--directions", "directions.h5", "--print-config").output
    assert "seed" not in shown
    (here / "shown.toml").write_text(shown)
    assert run("sample", "--config", "shown.toml", "--print-config").output == shown


def test_a_default_is_never_refused_and_a_negated_flag_is_named_as_it_was_written():
    @click.command(cls=Checked)
    @click.option("--map", "drawn", is_flag=True)
    @click.option("--by", default="none")
    @needing("--open/--no-open", needs=flag("drawn", words="--map"), default=True)
    @needing(
        "-n", "--number", needs=(says("by", "row"), unless("drawn", words="lists, and --map draws none")), default=3
    )
    def command(**told):
        click.echo(told)

    def said(*words):
        done = CliRunner().invoke(command, words)
        return str(done.exception or done.output)

    assert "'number': 3" in said()
    assert said("--no-open") == "--no-open is for --map: add that, or leave --no-open out"
    assert said("--open") == "--open is for --map: add that, or leave --open out"
    assert said("-n", "3") == "--number is for --by row: add that, or leave --number out"
    assert (
        said("-n", "3", "--by", "row", "--map") == "--number is for lists, and --map draws none: leave one of them out"
    )
    assert "'number': 5" in said("-n", "5", "--by", "row")


def test_settled_leaves_a_file_alone_that_contradicts_nothing(tmp_path):
    ctx = click.Context(atlas.get_command(click.Context(atlas), "sample"))
    assert settled(ctx, None, {"seed": 3}) == {"seed": 3}
    with pytest.raises(SpecError, match="no such file"):
        settled(ctx, tmp_path / "none.toml", {})
