"""Does a rendered relief stand where its axes say, in the colours of the picture, and on nothing else?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import lossatlas as la
from lossatlas.draw import Render, static, static_surface
from lossatlas.draw.view import View, compile
from lossatlas.errors import SpecError

pytest.importorskip("pyvista")
image = pytest.importorskip("matplotlib.image")
Make = Callable[..., xr.Dataset]
SMALL = Render(width=240, words=False)


def projected(scene, point):
    """Where a point of the box of a relief falls in the bare picture, in pixels (column, row)."""
    view = static_surface.whole_view(scene)
    right, up, _ = view.frame
    across, tall = view.high - view.low
    height = round(240 * tall / across)
    share = (np.array([point @ right, point @ up]) - view.low) / (view.high - view.low)
    return int(share[0] * 240), int((1 - share[1]) * height)


def test_a_hill_stands_on_its_own_coordinates(make: Make) -> None:
    x, y = np.linspace(-1, 1, 21), np.linspace(-1, 1, 21)
    hill = np.exp(-20 * ((x[:, None] - 0.5) ** 2 + (y[None, :] + 0.4) ** 2))
    scene = compile(make(hill, x=x, y=y), View(kind="surface", scale="linear", clip=None, camera=(50.0, -52.0)))
    picture = static_surface.bare(scene, SMALL)
    column, row = projected(scene, np.array([0.75, 0.3, 0.6 * (0.4 + 0.97)]))
    top = picture[row - 2 : row + 3, column - 2 : column + 3, :3].reshape(-1, 3).mean(axis=0)
    assert top[0] > 150  # the yellow end of viridis
    assert top[2] < 110
    column, row = projected(scene, np.array([0.25, 0.7, 0.6 * 0.4]))
    foot = picture[row - 2 : row + 3, column - 2 : column + 3, :3].reshape(-1, 3).mean(axis=0)
    assert foot[2] > foot[1]  # the violet end


def test_what_is_cut_off_and_what_has_no_value_is_not_there(make: Make) -> None:
    x = np.linspace(-1, 1, 21)
    field = x[:, None] ** 2 + x[None, :] ** 2
    field[:, 10:] = np.nan
    scene = compile(make(field, x=x, y=x), View(kind="surface", scale="linear", clip=0.5, camera=(89.0, -90.0)))
    alone = static_surface.bare(scene, Render(width=240, words=False, floor=False, transparent=True))[..., 3] > 127
    # From above: of a disc of radius √0.5 in a square of side 2 the part below y = -0.1, where the last row of values is.
    r2, y = 0.5, 0.1
    part = np.pi * r2 / 2 - (y * np.sqrt(r2 - y**2) + r2 * np.arcsin(y / np.sqrt(r2)))
    side = 240 / (static_surface.whole_view(scene).high - static_surface.whole_view(scene).low)[0]
    assert alone.sum() / side**2 == pytest.approx(part / 4, rel=0.04)


def test_the_page_holds_the_rendered_relief_behind_its_axes(bowl: xr.Dataset) -> None:
    scene = compile(bowl, View(kind="surface"))
    figure = static.figure(scene, Render(width=200))
    behind = [axes for axes in figure.axes if axes.get_gid() == "rendered-0"]
    assert len(behind) == 1
    assert behind[0].get_zorder() < min(axes.get_zorder() for axes in figure.axes if axes is not behind[0])


def test_a_transparent_cover_has_no_paper_and_says_what_it_is(bowl: xr.Dataset, tmp_path: Path) -> None:
    la.draw(bowl, tmp_path / "a.png", render=Render(words=False, transparent=True, width=200))
    assert image.imread(tmp_path / "a.png")[0, 0, 3] == 0
    assert b"Description" in (tmp_path / "a.png").read_bytes()


def test_what_cannot_be_rendered_is_refused(bowl: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"for a rendered relief.*\.png, \.pdf, \.svg"):
        la.draw(bowl, tmp_path / "a.html", render=True)
    with pytest.raises(SpecError, match="kind='heat' is not one"):
        la.draw(bowl, tmp_path / "a.png", render=True, kind="heat")
    with pytest.raises(SpecError, match=r"write a \.png, not a \.pdf"):
        la.draw(bowl, tmp_path / "a.pdf", render=Render(words=False))
    with pytest.raises(SpecError, match="width=5"):
        Render(width=5)
