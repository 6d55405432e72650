"""Does `lossatlas draw` set a picture as its flags and its file say, and does `info` tell how one was made?"""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lossatlas.cli import atlas
from lossatlas.results.landscape import About, Axis, build, save


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.linspace(-1, 1, 9)
    for seed, name in enumerate(("one", "two")):
        axes = {axis: Axis(coordinates=x, length=2.0) for axis in ("x", "y")}
        about = About(title=name, model="net", data="digits", seed=seed, samples=50, batchnorm="frozen")
        save(build(axes, {"loss": x[:, None] ** 2 + x[None] ** 2}, about=about), tmp_path / f"{name}.nc")
    return tmp_path


def run(*arguments, code=0):
    result = CliRunner().invoke(atlas, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result


def words_of(path):
    return re.sub(r"<[^>]*>|\s+", " ", path.read_text())


def test_a_picture_has_the_size_and_the_names_that_are_asked_for(here):
    flags = ("--width", "text", "--dpi", 50, "--letters", "--caption", "full", "--latex")
    run("draw", "--label", "SGD=one.nc", "--label", "Adam, λ=0.1=two.nc", "-o", "a.png", *flags, "-o", "a.svg")
    with Image.open(here / "a.png") as opened:
        assert opened.width == 340
    assert "\\caption{" in (here / "a.tex").read_text()
    assert '"SGD"' in json.dumps(json.loads(run("info", "a.svg", "--json").output)["view"]["labels"])


def test_a_map_of_curvature_is_laid_over_a_page_and_one_of_another_seed_is_refused(here):
    x = np.array([-0.5, 0.5])
    axes = {axis: Axis(coordinates=x, length=2.0) for axis in ("x", "y")}
    about = About(title="one", model="net", data="digits", seed=0, samples=50, batchnorm="frozen")
    save(build(axes, {"loss": np.ones((2, 2)), "ratio": np.full((2, 2), 0.25)}, about=about), here / "map.nc")
    run("draw", "one.nc", "-o", "a.html", "--ratio", "map.nc")
    assert '"ratio":{"x":' in (here / "a.html").read_text().replace(" ", "")
    refused = run("draw", "two.nc", "-o", "b.html", "--ratio", "map.nc", code=2)
    assert "not of this plane: seed is 0 there and 1 here" in " ".join(refused.stderr.split())
    assert not (here / "b.html").exists()


def test_a_label_without_a_run_says_what_it_looks_like(here):
    assert "expected NAME=RUN, such as 'SGD=runs/a'" in run("draw", "--label", "SGD", "-o", "a.png", code=2).stderr
    assert "RUN is missing" in run("draw", "-o", "a.png", code=2).stderr


def test_a_file_says_the_same_as_flags_and_flags_win(here):
    (here / "style.toml").write_text(
        '[view]\nwidth = "84mm"\nfont-size = 7\nunits = false\nx-label = "α"\ncolours = "magma"\nletters = true\n'
    )
    run("draw", "one.nc", "-o", "a.svg", "--config", "style.toml", "--font-size", 9)
    flags = ("--width", "84mm", "--font-size", 9, "--no-units", "--x-label", "α", "--colours", "magma", "--letters")
    run("draw", "one.nc", "-o", "b.svg", *flags)
    first, second = (json.loads(run("info", f"{name}.svg", "--json").output) for name in "ab")
    assert first["view"] == second["view"]
    assert first["view"]["font_size"] == 9
    (here / "style.toml").write_text("[view]\nwidht = 3\n")
    assert "'widht' is unknown" in run("draw", "one.nc", "-o", "a.svg", "--config", "style.toml", code=2).stderr
    assert "cannot be read" in run("draw", "one.nc", "-o", "a.svg", "--config", "absent.toml", code=2).stderr


@pytest.mark.parametrize("suffix", ["pdf", "png", "svg", "jpg", "webp", "eps"])
def test_info_reads_model_data_seed_and_command_of_a_picture(here, suffix, monkeypatch):
    monkeypatch.setattr("sys.argv", ["lossatlas", "draw", "two.nc", "-o", f"a.{suffix}"])
    run("draw", "two.nc", "-o", f"a.{suffix}")
    found = json.loads(run("info", f"a.{suffix}", "--json").output)
    assert (found["model"], found["data"], found["seed"]) == ("net", "digits", 1)
    assert found["drawing"] == f"lossatlas draw two.nc -o a.{suffix}"
    said = run("info", f"a.{suffix}").output
    for words in ("model: net", "seed: 1", "50 samples"):
        assert words in said


def test_info_of_a_picture_of_another_program_says_so(here):
    Image.new("RGB", (3, 3)).save(here / "mine.png")
    assert "carries no record of lossatlas" in run("info", "mine.png", code=2).stderr


def test_a_width_that_is_too_narrow_is_one_sentence(here):
    assert "leaves no room for a picture" in run("draw", "one.nc", "-o", "a.png", "--width", "0.9", code=2).stderr
    assert not (here / "a.png").exists()


def test_an_ending_that_says_nothing_is_named_with_its_file_and_films_are_sent_on(here):
    assert "'a' has no suffix" in run("draw", "one.nc", "-o", "a", code=2).stderr
    film = run("draw", "one.nc", "-o", "a.gif", code=2).stderr
    assert "'a.gif'" in film
    assert "lossatlas animate" in film


def test_an_option_with_too_few_values_says_which_it_takes(here):
    said = run("sample", "--model", "zoo:mlp", "--x", "-1", "1", code=2).stderr
    assert "'--x' requires 3 arguments: --x LOW HIGH POINTS" in said


def test_what_the_system_refuses_is_a_sentence_without_its_number(here):
    (here / "a").write_text("a file, no folder")
    told = run("draw", "one.nc", "-o", "a/b.png", code=1).stderr.strip().splitlines()[-1]
    assert "a/b.png: the picture cannot be written: " in told
    assert "Errno" not in told
