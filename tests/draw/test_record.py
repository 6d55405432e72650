"""Does the file of a picture say how it was made, and is that read back whole from every format?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import lossatlas as la
from lossatlas.draw.record import PICTURES, read
from lossatlas.errors import SpecError
from lossatlas.figure.plot import Panel, Plot, Series

Make = Callable[..., xr.Dataset]
ODD = 'net (a) \\ "quoted" ) ( λ₁ <b> & 中 %s --> ]]>'


@pytest.fixture
def known(make: Make) -> xr.Dataset:
    loss = np.add.outer(np.linspace(-1, 1, 7) ** 2, np.linspace(-1, 1, 5) ** 2)
    about: dict[str, Any] = {"title": ODD, "model": ODD, "data": "digits", "samples": 64, "seed": 11}
    return make(loss, provenance={"command": "lossatlas sample --seed 11"}, **about)


@pytest.mark.parametrize("suffix", PICTURES)
def test_model_data_seed_and_command_come_back_from_every_format(
    suffix: str, known: xr.Dataset, tmp_path: Path
) -> None:
    path = la.draw(known, tmp_path / f"a{suffix}", width=3.4, caption="none", command="lossatlas draw (x)\\")
    found = read(path)
    (one,) = found["landscapes"]
    assert one["model"] == ODD
    assert one["data"] == "digits"
    assert one["seed"] == 11
    assert one["command"] == "lossatlas sample --seed 11"
    assert one["axes"]["y"] == {
        "direction": "random direction (seed 1)", "length": 3.0, "points": 5, "from": -1.0, "to": 1.0,
    }  # fmt: skip
    assert found["drawing"] == "lossatlas draw (x)\\"
    assert found["view"] == {"width": 3.4, "caption": "none"}
    assert any("64 samples" in sentence for sentence in found["caption"])


@pytest.mark.parametrize("suffix", PICTURES)
def test_a_picture_drawn_twice_is_the_same_file(suffix: str, known: xr.Dataset, tmp_path: Path) -> None:
    files = [la.draw(known, tmp_path / f"{name}{suffix}", dpi=60).read_bytes() for name in "ab"]
    assert files[0] == files[1]


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".webp", "WEBP"), (".png", "PNG")])
def test_rasters_have_the_pixels_asked_for(suffix: str, kind: str, known: xr.Dataset, tmp_path: Path) -> None:
    with Image.open(la.draw(known, tmp_path / f"a{suffix}", width=4, dpi=100)) as opened:
        assert opened.format == kind
        assert opened.width == 400


def test_a_plot_has_a_record_too(tmp_path: Path) -> None:
    line = Series(x=np.arange(3), y=np.arange(3.0))
    plot = Plot(panels=[Panel(series=[line], x_label="x", y_label="y")], caption=["What was found."], title="Found")
    for suffix in PICTURES:
        found = read(la.draw(plot, tmp_path / f"p{suffix}", width=3.0))
        assert found["title"] == "Found"
        assert found["caption"] == ["What was found."]


def test_the_description_of_a_png_is_the_whole_caption(known: xr.Dataset, tmp_path: Path) -> None:
    with Image.open(la.draw(known, tmp_path / "a.png", caption="none")) as opened:
        assert "64 samples" in opened.info["Description"]


def test_an_eps_is_drawn_without_words_of_matplotlib(known: xr.Dataset, tmp_path: Path, caplog) -> None:
    la.draw(known, tmp_path / "a.eps", kind="surface")
    assert not [one for one in caplog.records if "transparen" in one.getMessage()]


def test_a_picture_of_another_program_is_said_to_be_one(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    (tmp_path / "a.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4\n/Keywords (mine)")
    (tmp_path / "a.eps").write_text("%!PS\n")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(SpecError, match="carries no record of lossatlas"):
            read(path)


def test_a_damaged_picture_is_refused_in_a_sentence(known: xr.Dataset, tmp_path: Path) -> None:
    for suffix in (".png", ".svg", ".jpg", ".webp"):
        (tmp_path / f"a{suffix}").write_bytes(b"\x00\x01 no picture")
        with pytest.raises(SpecError, match="cannot be read as a picture"):
            read(tmp_path / f"a{suffix}")
    with pytest.raises(SpecError, match="cannot be read as a picture"):
        read(tmp_path / "absent.pdf")
    deep = "[" * 100_000
    (tmp_path / "deep.pdf").write_text(f'/Keywords ({{"drawn by": {deep})')
    with pytest.raises(SpecError, match="damaged record"):
        read(tmp_path / "deep.pdf")


def test_letters_that_steer_a_terminal_are_not_handed_on(tmp_path: Path) -> None:
    record = json.dumps({"drawn by": "\x1b[2J", "title": "a\x07b"})
    (tmp_path / "a.pdf").write_text(
        f"/Keywords ({record})".replace("\\u001b", "\\\\u001b").replace("\\u0007", "\\\\u0007")
    )
    assert read(tmp_path / "a.pdf") == {"drawn by": " [2J", "title": "a b"}


def test_a_latex_caption_stands_beside_on_request(known: xr.Dataset, tmp_path: Path) -> None:
    la.draw(known, tmp_path / "my figure.pdf", latex=True)
    text = (tmp_path / "my figure.tex").read_text(encoding="utf-8")
    assert text.startswith(r"\caption{net (a) \textbackslash{} ")
    assert r"\&" in text
    assert text.endswith("\\label{fig:my-figure}\n")
    la.draw(known, tmp_path / "b.pdf")
    assert not (tmp_path / "b.tex").exists()


@pytest.mark.skipif(shutil.which("pdfinfo") is None, reason="pdfinfo is not installed")
def test_another_reader_of_pdf_finds_the_record(known: xr.Dataset, tmp_path: Path) -> None:
    import subprocess

    path = la.draw(known, tmp_path / "a.pdf")
    said = subprocess.run(["pdfinfo", path], capture_output=True, text=True, check=True).stdout
    words = next(line for line in said.splitlines() if line.startswith("Keywords:")).removeprefix("Keywords:").strip()
    assert json.loads(words) == read(path)
