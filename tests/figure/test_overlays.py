"""Are paths, points and regions drawn where they lie, on every kind of picture."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest

import lossatlas as la
from lossatlas.draw import compile, interactive, static
from lossatlas.draw.static_overlays import lifted
from lossatlas.figure.overlays import Path, Points, Regions, borders
from lossatlas.results.landscape import Axis, build


def field() -> object:
    x, y = np.linspace(-1, 1, 21), np.linspace(-2, 2, 17)
    axes = {"x": Axis(coordinates=x, length=2.0), "y": Axis(coordinates=y, length=1.0)}
    return build(axes, {"loss": (x[:, None] ** 2 - 0.4) ** 2 + 0.3 * y[None] ** 2 + 0.1 * x[:, None]})


def overlays() -> list[object]:
    x = np.linspace(-1, 1, 21)
    cells = np.repeat((x > 0).astype(int)[:, None], 17, axis=1)
    t = np.linspace(0, 1, 9)
    return [
        Regions(cells=cells, label="basins"),
        Path(
            x=0.9 - 1.5 * t, y=1.8 - 1.8 * t**0.5, label="training", words=[(0, "epoch 0"), (8, "8")],
            note="The path lies off the plane by 30 % of its length.",
        ),
        Points(x=[-0.63, 0.63], y=[0, 0], words=["0.10", "0.22"], label="minima", symbol="triangle"),
    ]  # fmt: skip


def test_a_path_is_where_it_lies_on_the_map() -> None:
    scene = compile(field(), la.View(overlays=overlays(), scale="linear"))
    axes = static.figure(scene).axes[0]
    drawn = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) == 9]
    np.testing.assert_allclose(drawn[0], np.column_stack([overlays()[1].x, overlays()[1].y]))
    words = [text.get_text() for text in axes.texts]
    assert {"epoch 0", "8", "0.10", "0.22"} <= set(words)
    assert any(artist.get_gid() == "regions" for artist in axes.collections)
    assert "30 %" in " ".join(scene.sentences)


def test_on_the_surface_a_point_has_the_height_of_the_loss() -> None:
    scene = compile(field(), la.View(scale="linear", clip=None))
    panel = scene.panels[0]
    *_, z = lifted(panel, panel.heights("loss", scene.range), np.array([0.5, 7.0]), np.array([-1.0, 0.0]))
    assert z[0] == pytest.approx((0.25 - 0.4) ** 2 + 0.3 + 0.05)
    assert np.isnan(z[1])


def test_borders_run_between_the_regions() -> None:
    x, y = borders(np.array([[0, 0], [0, 1]]), np.array([0.0, 1, 2]), np.array([0.0, 1, 2]))
    assert x.tolist()[:2] == [1, 1]
    assert y.tolist()[:2] == [1, 2]
    assert x.tolist()[3:5] == [1, 2]
    assert y.tolist()[3:5] == [1, 1]


def test_the_page_has_the_same_overlays_with_its_words_escaped(tmp_path) -> None:
    bad = Path(x=[0, 0.5], y=[0, 0.5], label="</script><b>", words=[(0, "<i>")])
    page = la.draw(field(), tmp_path / "a.html", overlays=[*overlays(), bad]).read_text()
    assert page.count("</script>") == 4  # what is drawn, its arrays, the page and its relief
    found = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])["overlays"]
    assert [entry["kind"] for entry in found] == ["regions", "path", "points", "path"]
    assert found[1]["words"][0] == "epoch 0"
    cells = found[0]["cells"]["$"]
    numbers = base64.b64decode(re.search(r'id="arrays">(.*?)</script>', page, re.S)[1])
    drawn = np.frombuffer(numbers, "<f8", int(np.prod(cells[2])), cells[0]).reshape(cells[2])
    assert np.array_equal(drawn.T, overlays()[0].cells)
    assert found[3]["label"] == "</script><b>"


@pytest.mark.parametrize("kind", ["filled", "contour", "heat", "surface"])
def test_every_kind_is_drawn(tmp_path, kind) -> None:
    assert la.draw(field(), tmp_path / "a.png", kind=kind, overlays=overlays()).stat().st_size > 10_000


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(la.SpecError, match=r"shape \[2, 2\] and the panel has \[21, 17\]"):
        compile(field(), la.View(overlays=[Regions(cells=np.zeros((2, 2), int))]))
    with pytest.raises(la.SpecError, match="panels 0 to 0"):
        compile(field(), la.View(overlays=[Points(x=[0], y=[0], panel=1)]))
    with pytest.raises(la.SpecError, match="holds a str"):
        compile(field(), la.View(overlays=["path"]))
    line = build({"x": Axis(coordinates=np.linspace(-1, 1, 5), length=1.0)}, {"loss": np.arange(5.0)})
    with pytest.raises(la.SpecError, match="two axes"):
        compile(line, la.View(overlays=[Points(x=[0], y=[0])]))
    with pytest.raises(la.SpecError, match="1 word for 2 points"):
        Points(x=[0, 1], y=[0, 1], words=["a"])
    assert interactive.payload(compile(field()))["overlays"] == []
