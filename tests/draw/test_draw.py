"""Does one call write the right kind of file, whole or not at all?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from lossatlas import draw as package
from lossatlas.draw import View, draw, interactive
from lossatlas.errors import SpecError

MAGIC = {
    ".png": b"\x89PNG", ".pdf": b"%PDF-", ".svg": b"<?xml", ".html": b"<!doctype html>",
    ".vtp": b"<?xml", ".vti": b"<?xml", ".glb": b"glTF", ".stl": b"lossatlas",
}  # fmt: skip


@pytest.mark.parametrize("suffix", MAGIC)
def test_the_suffix_chooses_the_format(bowl: xr.Dataset, tmp_path: Path, suffix: str) -> None:
    path = draw(bowl, tmp_path / "new" / f"a{suffix}")
    assert path.read_bytes().startswith(MAGIC[suffix])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["a.bmp", "a"])
def test_an_unknown_suffix_lists_all(bowl: xr.Dataset, tmp_path: Path, name: str) -> None:
    with pytest.raises(
        SpecError, match=r"\.png, \.pdf, \.svg, \.jpg, \.jpeg, \.webp, \.eps, \.html, \.vtp, \.vti, \.glb, \.stl"
    ):
        draw(bowl, tmp_path / name)


def test_an_unknown_field_lists_all(bowl: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match="field of View='zscale' is unknown; choose one of: width, height, .*value, kind, scale, clip"
    ):
        draw(bowl, tmp_path / "a.png", zscale="log")


def test_fields_take_precedence_over_the_view(bowl: xr.Dataset, tmp_path: Path) -> None:
    draw(bowl, tmp_path / "a.svg", View(scale="log", clip=1.5), clip=1.0)
    words = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "clipped at 1:" in words
    assert "logarithmic scale" in words


def test_the_module_may_be_called_like_the_function(bowl: xr.Dataset, tmp_path: Path) -> None:
    assert callable(package)
    assert package(bowl, tmp_path / "a.svg").is_file()


def test_a_folder_that_cannot_be_written_is_named(bowl: xr.Dataset, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(OSError, match="the picture cannot be written: .*file/a.png"):
        draw(bowl, blocker / "a.png")


def test_a_failed_write_leaves_the_old_file_and_no_scratch(
    bowl: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.html"
    target.write_text("old")

    def full(_scene: object, path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(interactive, "write", full)
    with pytest.raises(OSError, match="the picture cannot be written: No space left on device"):
        draw(bowl, target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.html"]


@pytest.mark.parametrize(
    ("suffix", "library", "extra"),
    [
        ("png", "matplotlib", "draw"),
        ("vtp", "pyvista", "mesh"),
        ("stl", "trimesh", "mesh"),
    ],
)
def test_a_missing_library_names_its_extra(
    bowl: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, library: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name == library or name.startswith(f"{library}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"{library} is needed to .*pip install 'lossatlas\[{extra}\]'"):
        draw(bowl, tmp_path / f"a.{suffix}")


def test_importing_draw_brings_in_no_heavy_library() -> None:
    code = (
        "import sys, lossatlas.draw; "
        "heavy = {'torch', 'matplotlib', 'pyvista', 'trimesh'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_partly_sampled_landscape_is_drawn_in_every_format(bowl: xr.Dataset, tmp_path: Path) -> None:
    partial = bowl.copy(deep=True)
    partial["loss"][10:, :] = np.nan
    partial["status"][10:, :] = 0
    for suffix in MAGIC:
        assert draw(partial, tmp_path / f"a{suffix}").stat().st_size > 500
