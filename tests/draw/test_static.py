"""Does the printed picture show each value in its place, and every word whole?"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from lossatlas.draw import static
from lossatlas.draw.static_surface import TICK
from lossatlas.draw.view import View, compile
from lossatlas.figure.palettes import THEMES

Make = Callable[..., xr.Dataset]

LONG = "A residual network with fifty-six layers and a name that goes on for ever $x^2$ <b>&"


def pictures(figure: Figure) -> list[Axes]:
    """The panels' axes, without colour bars."""
    return [axes for axes in figure.axes if axes.get_label() != "colour bar"]


def of_type(axes: Axes, kind: type) -> list[object]:
    return [child for child in axes.get_children() if isinstance(child, kind)]


def test_a_heat_map_has_x_to_the_right_and_y_upwards(tilted: xr.Dataset) -> None:
    figure = static.figure(compile(tilted, View(kind="heat", scale="linear", clip=None)))
    axes = pictures(figure)[0]
    (mesh,) = of_type(axes, QuadMesh)
    assert isinstance(mesh, QuadMesh)
    shown = np.asarray(mesh.get_array())
    assert shown.shape == (3, 5)
    assert np.array_equal(shown, tilted["loss"].values.T)
    corners = mesh.get_coordinates()
    assert corners[0, :, 0].tolist() == pytest.approx([-2, -1.5, -0.5, 0.5, 1.5, 2])
    assert corners[:, 0, 1].tolist() == pytest.approx([1, 1.5, 3, 4])
    assert axes.get_xlim() == (-2, 2)
    assert axes.get_ylim() == (1, 4)


@pytest.mark.parametrize("kind", ["contour", "filled"])
def test_contours_of_a_tilted_plane_lie_where_arithmetic_says(tilted: xr.Dataset, kind: str) -> None:
    figure = static.figure(compile(tilted, View(kind=kind, scale="linear", clip=None)))  # type: ignore[arg-type]
    lines = [entry for entry in of_type(pictures(figure)[0], QuadContourSet) if not entry.filled]  # type: ignore[attr-defined]
    assert lines
    checked = 0
    for level, path in zip(lines[0].levels, lines[0].get_paths(), strict=True):  # type: ignore[attr-defined]
        for x, y in path.vertices:
            assert x + 10 * y == pytest.approx(level)
            checked += 1
    assert checked > 10


@pytest.fixture
def faces(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The corners of every collection of polygons in space, in the order in which they are made."""
    from mpl_toolkits.mplot3d import art3d

    made: list[np.ndarray] = []

    class Kept(art3d.Poly3DCollection):  # type: ignore[misc]
        def __init__(self, corners: np.ndarray, **style: object) -> None:
            super().__init__(corners, **style)
            made.append(np.asarray(corners))

    monkeypatch.setattr(art3d, "Poly3DCollection", Kept)
    return made


def test_the_lit_surface_stands_on_its_own_coordinates(tilted: xr.Dataset, faces: list[np.ndarray]) -> None:
    static.figure(compile(tilted, View(kind="surface", scale="linear", clip=None)))
    points = np.concatenate(faces[-1])
    assert np.ptp(points[:, 0]) == 4
    assert np.ptp(points[:, 1]) == 3
    assert points[:, 0] + 10 * points[:, 1] == pytest.approx(points[:, 2])


@pytest.mark.parametrize("camera", [(30.0, -60.0), (50.0, 30.0), (15.0, 120.0), (70.0, -135.0)])
def test_the_numbers_of_a_relief_are_level_with_their_ticks(bowl: xr.Dataset, camera: tuple[float, float]) -> None:
    figure = static.figure(compile(bowl, View(kind="surface", camera=camera)))
    figure.draw_without_rendering()
    axes: Any = figure.axes[0]
    numbers = [text for text in axes.texts if text.get_gid() == TICK]
    assert len(numbers) == len(axes.get_zticks()) > 1
    for one, tick in zip(numbers, axes.zaxis.majorTicks, strict=True):
        box, ends = one.get_window_extent(), axes.transData.transform(np.transpose(tick.tick1line.get_data()))
        assert (box.y0 + box.y1) / 2 == pytest.approx(ends[:, 1].mean(), abs=0.2 * box.height)
        assert not box.x0 < ends[:, 0].mean() < box.x1, "beside the tick, not upon it"


def test_every_colour_bar_tick_is_a_level_at_its_height(bowl: xr.Dataset) -> None:
    scene = compile(bowl, View(scale="log"))
    figure = static.figure(scene)
    bar = next(axes for axes in figure.axes if axes.get_label() == "colour bar")
    labels = [float(text.get_text()) for text in bar.get_yticklabels()]
    assert 10 ** np.asarray(bar.get_yticks()) == pytest.approx(labels)


@pytest.mark.parametrize("kind", ["contour", "filled", "heat"])
def test_cells_without_a_value_are_hatched_and_not_filled(make: Make, kind: str) -> None:
    loss = np.add.outer(np.arange(6.0), np.arange(5.0))
    loss[2, 3], loss[5, 0] = np.nan, np.inf
    status = np.where(np.isfinite(loss), 1, 2)
    status[0, 0] = 3
    figure = static.figure(compile(make(loss, status=status), View(kind=kind)))  # type: ignore[arg-type]
    axes = pictures(figure)[0]
    hatched = {patch.get_gid(): patch for patch in axes.patches if str(patch.get_gid()).startswith("hatched")}
    assert set(hatched) == {"hatched-non_finite", "hatched-failed"}
    assert all(patch.get_hatch() for patch in hatched.values())
    path = hatched["hatched-non_finite"].get_path()
    assert path.contains_point((-1 + 2 * 2 / 5, -1 + 2 * 3 / 4))
    assert path.contains_point((1 - 1e-3, -1 + 1e-3))
    assert not path.contains_point((0.0, -0.2))
    key = [text.get_text() for text in figure.texts]
    assert "not finite" in key
    assert "failed" in key


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
@pytest.mark.parametrize("kind", ["contour", "filled", "heat"])
def test_evaluated_points_stand_out_from_what_is_behind_them(make: Make, kind: str, theme: str) -> None:
    view = View(kind=kind, theme=theme, points=True)  # type: ignore[arg-type]
    axes = pictures(static.figure(compile(make(np.add.outer(np.arange(6.0), np.arange(5.0))), view)))[0]
    dots = next(line for line in axes.lines if line.get_gid() == "evaluated")
    behind = THEMES[theme].paper if kind == "contour" else "black"
    assert np.abs(np.subtract(to_rgb(dots.get_color()), to_rgb(behind))).max() > 0.5


def test_a_hole_in_the_surface_has_no_facets(make: Make, faces: list[np.ndarray]) -> None:
    loss = np.add.outer(np.arange(6.0), np.arange(5.0))
    loss[2, 3] = np.nan
    static.figure(compile(make(loss), View(kind="surface")))
    x, y = np.linspace(-1, 1, 6), np.linspace(-1, 1, 5)
    middles = faces[-1].mean(axis=1)
    inside = (middles[:, 0] > x[1]) & (middles[:, 0] < x[3]) & (middles[:, 1] > y[2]) & (middles[:, 1] < y[4])
    assert not inside.any()
    assert np.isfinite(middles).all()


def test_one_dimension_puts_the_loss_left_and_the_metric_right(line: Make) -> None:
    loss, error = np.array([3.0, 1.0, 2.0]), np.array([0.3, 0.1, 0.2])
    figure = static.figure(compile(line(loss, metrics={"error": error}), View(scale="linear")))
    left, right = figure.axes[0], figure.axes[1]
    assert left.lines[0].get_ydata() == pytest.approx(loss)
    assert right.lines[0].get_ydata() == pytest.approx(error)
    assert right.yaxis.get_ticks_position() == "right"


def test_a_clipped_curve_leaves_through_the_top(line: Make) -> None:
    figure = static.figure(compile(line([1.0, 2.0, 3.0, 1e10]), View(clip=3, scale="linear")))
    axes = figure.axes[0]
    assert axes.get_ylim()[1] == 3.0
    assert max(axes.lines[0].get_ydata()) == 1e10  # type: ignore[arg-type]


def test_the_band_spans_the_runs(line: Make) -> None:
    figure = static.figure(compile([line([1.0, 5.0, 2.0]), line([3.0, 4.0, 6.0])], View(scale="linear")))
    (band,) = figure.axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (1.0, 6.0)


def test_the_second_scale_is_length(tilted: xr.Dataset) -> None:
    figure = static.figure(compile(tilted))
    figure.draw_without_rendering()
    top, right = pictures(figure)[0].child_axes
    assert top.get_xlim() == pytest.approx((-4, 4))
    assert right.get_ylim() == pytest.approx((3, 12))


def test_compared_panels_share_limits_levels_and_one_colour_bar(make: Make) -> None:
    one = make(np.linspace(0, 1, 20).reshape(5, 4), title="one")
    other = make(np.linspace(0, 7, 20).reshape(5, 4), title="other", x=np.linspace(-2, 0, 5))
    figure = static.figure(compile([one, other], View(kind="contour")))
    first, second = pictures(figure)
    assert first.get_xlim() == second.get_xlim() == (-2, 1)
    levels = [of_type(axes, QuadContourSet)[0].levels for axes in (first, second)]  # type: ignore[attr-defined]
    assert np.array_equal(*levels)
    assert len(figure.axes) == 3


def scenes(make: Make, line: Make, volume: xr.Dataset) -> dict[str, tuple[object, dict[str, object]]]:
    radius = np.add.outer(np.linspace(-1, 1, 15) ** 2, np.linspace(-1, 1, 11) ** 2)
    broken = radius.copy()
    broken[3:5, 4] = np.nan
    about = {"title": LONG, "model": LONG, "data": "/a/path/" + "without/a/blank/" * 12, "samples": 50000, "seed": 3}
    field, cliff = make(broken, **about), make(np.where(radius > 1.8, 1e10, radius + 1e-5), **about)
    curves = [line(np.linspace(1, k, 9), title=f"{LONG} {k}", metrics={"error": np.ones(9)}) for k in (2, 3, 4)]
    return {
        "one filled": (field, {}),
        "one heat, logarithmic": (cliff, {"kind": "heat", "scale": "log"}),
        "two contours": ([field, cliff], {"kind": "contour", "title": LONG * 3}),
        "five": ([field] * 5, {"theme": "dark"}),
        "one surface": (cliff, {"kind": "surface", "scale": "log"}),
        "two surfaces": ([field, cliff], {"kind": "surface", "theme": "talk"}),
        "curves": (curves, {}),
        "one curve on a slide": (curves[0], {"theme": "talk"}),
        "volume": (volume, {}),
        "volume in relief": (volume, {"kind": "surface"}),
    }


CASES = (
    "one filled", "one heat, logarithmic", "two contours", "five", "one surface", "two surfaces", "curves",
    "one curve on a slide", "volume", "volume in relief",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_no_text_overlaps_another_or_is_cut_off(case: str, make: Make, line: Make, volume: xr.Dataset) -> None:
    landscapes, view = scenes(make, line, volume)[case]
    figure = static.figure(compile(landscapes, View(**view)))  # type: ignore[arg-type]
    with static.own_settings():
        figure.draw_without_rendering()
        boxes = [(text.get_text(), text.get_window_extent()) for text in drawn_texts(figure)]
    assert len(boxes) > 8
    page = figure.bbox
    for words, box in boxes:
        outside = (page.x0 - box.x0, box.x1 - page.x1, page.y0 - box.y0, box.y1 - page.y1)
        assert max(outside) <= 1, f"{words!r} is cut off"
    for (words, box), (other, other_box) in combinations(boxes, 2):
        assert not overlap(box, other_box), f"{words!r} lies on {other!r}"


def drawn_texts(figure: Figure) -> list[Text]:
    """All texts that are drawn; a tick outside the limits has a label that never is."""
    every = [axes for parent in figure.axes for axes in (parent, *parent.child_axes)]
    flat = [axes for axes in every if getattr(axes, "name", "") != "3d"]
    axises = [axis for axes in flat for axis in axes._axis_map.values()]
    labels = {id(label) for axis in axises for tick in all_ticks(axis) for label in (tick.label1, tick.label2)}
    ticks = [tick for axis in axises if axis.get_visible() for tick in axis._update_ticks()]
    shown = [label for tick in ticks for label in (tick.label1, tick.label2)]
    others = [text for text in figure.findobj(Text) if id(text) not in labels]
    return [text for text in (*shown, *others) if text.get_visible() and text.get_text()]


def all_ticks(axis: Any) -> list[Any]:
    return [*axis.majorTicks, *axis.minorTicks]


def overlap(one: Bbox, other: Bbox) -> bool:
    """Whether two boxes share more than a hair's breadth: a box includes room above and below the letters."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width > 1.0 and height > 0.3 * min(one.height, other.height)


def test_text_sizes_suit_a_column_of_a_paper(bowl: xr.Dataset) -> None:
    figure = static.figure(compile(bowl))
    assert figure.get_figwidth() == 3.5
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text()}
    assert min(sizes) >= 7 or (sizes - {min(sizes)} and min(s for s in sizes if s > 4) >= 7)
    assert max(sizes) <= 9


def test_the_dark_theme_paints_the_page(bowl: xr.Dataset) -> None:
    figure = static.figure(compile(bowl, View(theme="dark")))
    assert figure.get_facecolor()[:3] == to_rgb(THEMES["dark"].paper)


def test_global_state_of_matplotlib_is_untouched(bowl: xr.Dataset, tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    with mpl.rc_context({"font.size": 31.0, "lines.linewidth": 17.0}):
        before, figures, backend = dict(mpl.rcParams), plt.get_fignums(), mpl.get_backend()
        for kind in ("filled", "surface"):
            static.write(compile(bowl, View(kind=kind)), tmp_path / "a.png")  # type: ignore[arg-type]
        assert dict(mpl.rcParams) == before
        assert plt.get_fignums() == figures
        assert mpl.get_backend() == backend


def test_the_users_own_settings_do_not_change_the_picture(bowl: xr.Dataset, tmp_path: Path) -> None:
    static.write(compile(bowl), tmp_path / "a.png")
    with mpl.rc_context({"font.size": 31.0, "axes.grid": True, "image.cmap": "jet"}):
        static.write(compile(bowl), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_svg_is_well_formed_and_carries_its_caption(make: Make, tmp_path: Path) -> None:
    static.write(compile(make(np.arange(12.0).reshape(4, 3), model="<script> & co")), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert "<script>" not in text
    assert "&lt;script&gt; &amp; co" in text


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF-"), ("svg", b"<?xml")])
def test_the_same_scene_gives_the_same_file(bowl: xr.Dataset, tmp_path: Path, suffix: str, magic: bytes) -> None:
    contents = set()
    for name in ("a", "b"):
        static.write(compile(bowl), tmp_path / f"{name}.{suffix}")
        contents.add((tmp_path / f"{name}.{suffix}").read_bytes())
    assert len(contents) == 1
    assert contents.pop().startswith(magic)


def test_mathematics_in_a_title_is_shown_as_typed(make: Make) -> None:
    figure = static.figure(compile(make(np.arange(12.0).reshape(4, 3), title="cost $in$ US$")))
    title = next(text for text in figure.texts if "cost" in text.get_text())
    assert title.get_text() == "cost $in$ US$"
    assert not title.get_parse_math()


EXTREMES = {
    "constant": np.full((5, 4), 0.7),
    "all zero": np.zeros((5, 4)),
    "nothing finite": np.full((5, 4), np.nan),
    "one cell": np.where(np.arange(20).reshape(5, 4) == 7, 1.0, np.nan),
    "negative": -np.arange(1.0, 21).reshape(5, 4),
    "both signs": np.linspace(-3, 5, 20).reshape(5, 4),
    "1e10 in a corner": np.where(np.arange(20).reshape(5, 4) == 19, 1e10, np.linspace(0.1, 1, 20).reshape(5, 4)),
    "tiny": np.linspace(1, 2, 20).reshape(5, 4) * 1e-30,
    "huge": np.linspace(1, 2, 20).reshape(5, 4) * 1e200,
}


@pytest.mark.parametrize("kind", ["contour", "filled", "heat", "surface"])
@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_extreme_fields_are_drawn_on_either_scale(make: Make, name: str, kind: str) -> None:
    for scale in ("linear", "log"):
        figure = static.figure(compile(make(EXTREMES[name]), View(kind=kind, scale=scale)))  # type: ignore[arg-type]
        figure.draw_without_rendering()


@pytest.mark.shared
def test_the_authors_surface_is_drawn_the_right_way_round(shared_data: Path, make: Make) -> None:
    stored = np.load(shared_data / "resnet56_dense51.npz")
    landscape = make(stored["loss"], x=stored["x"], y=stored["y"])
    figure = static.figure(compile(landscape, View(kind="heat", scale="linear", clip=None)))
    (mesh,) = of_type(pictures(figure)[0], QuadMesh)
    row, column = np.unravel_index(np.argmax(np.asarray(mesh.get_array())), (51, 51))  # type: ignore[attr-defined]
    highest = landscape["loss"].stack(cell=("x", "y")).idxmax().item()
    assert (stored["x"][column], stored["y"][row]) == highest
    assert re.match(
        r"Loss from 9\.24×10⁻⁴ to 52\.7, logarithmic scale\.", compile(landscape, View(clip=None)).caption.shown
    )
