"""Can everything that was measured be seen, and every label be read?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from matplotlib.contour import QuadContourSet

from lossatlas.draw import static
from lossatlas.draw.cuts import alone
from lossatlas.draw.view import View, compile
from lossatlas.figure.plot import Panel, Plot, Series
from lossatlas.results.landscape import Status

Make = Callable[..., xr.Dataset]


@pytest.mark.parametrize("kind", ["contour", "filled"])
def test_contours_of_a_logarithmic_map_are_solid_below_one(make: Make, kind: str) -> None:
    radius = np.hypot(*np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21)))
    figure = static.figure(compile(make(1e-3 + 10 * radius**2), View(kind=kind, scale="log")))  # type: ignore[arg-type]
    lines = [
        entry
        for axes in figure.axes
        for entry in axes.collections
        if isinstance(entry, QuadContourSet) and not entry.filled
    ]
    assert lines
    assert min(lines[0].levels) < 0
    for style in lines[0].get_linestyles():
        assert style[1] is None


@pytest.mark.parametrize("kind", ["contour", "filled", "surface"])
def test_every_evaluated_point_of_an_unfinished_run_is_seen(make: Make, kind: str) -> None:
    status = np.full((13, 11), int(Status.NOT_SAMPLED))
    status[::4, ::5] = Status.OK
    status[0:2, 0:2] = Status.OK
    loss = np.where(status == Status.OK, np.add.outer(np.arange(13.0), np.arange(11.0)), np.nan)
    figure = static.figure(compile(make(loss, status=status), View(kind=kind)))  # type: ignore[arg-type]
    dots = [entry for axes in figure.axes for entry in axes.collections if entry.get_gid() == "alone"]
    assert len(dots) == 1
    assert len(np.asarray(dots[0].get_offsets())) == (status == Status.OK).sum() - 4


def test_a_whole_field_has_no_dots() -> None:
    assert not alone(np.ones((5, 4))).any()
    assert alone(np.eye(3) + np.where(np.eye(3) == 1, 0, np.nan)).sum() == 3


@pytest.mark.parametrize("kind", ["filled", "heat", "surface", "line"])
@pytest.mark.parametrize(
    ("low", "high"), [(1.2345678, 1.2345699), (123456.1, 123456.9), (-1e-9, 1e-9), (1e-7, 1e7), (1.78, 2.06)]
)
def test_labels_of_values_are_whole(make: Make, kind: str, low: float, high: float) -> None:
    landscape = make(np.linspace(low, high, 63).reshape(9, 7))
    landscape = landscape.isel(y=0) if kind == "line" else landscape
    figure = static.figure(compile(landscape, View(kind=kind)))  # type: ignore[arg-type]
    with static.own_settings():
        figure.draw_without_rendering()
        for axes in figure.axes:
            if getattr(axes, "name", "") == "3d":
                continue
            for label in (*axes.get_yticklabels(), *axes.get_xticklabels()):
                if label.get_text() and label.get_visible():
                    box = label.get_window_extent()
                    assert figure.bbox.x0 - 1 <= box.x0, label.get_text()
                    assert box.x1 <= figure.bbox.x1 + 1, label.get_text()


@pytest.mark.parametrize("kind", ["filled", "line"])
@pytest.mark.parametrize("radius", [1e-5, 5e-4, 0.25, 3e4])
def test_labels_of_coordinates_are_whole(make: Make, kind: str, radius: float) -> None:
    span = np.linspace(-radius, radius, 9)
    landscape = make(np.linspace(1, 2, 81).reshape(9, 9), x=span, y=span)
    landscape = landscape.isel(y=4) if kind == "line" else landscape
    figure = static.figure(compile(landscape))
    with static.own_settings():
        figure.draw_without_rendering()
        every = [axes for parent in figure.axes for axes in (parent, *parent.child_axes)]
        ticks = [tick for axes in every for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()]
        texts = [label for tick in ticks for label in (tick.label1, tick.label2) if label.get_visible()]
        boxes = [label.get_window_extent() for label in texts if label.get_text()]
    assert min(box.x0 for box in boxes) >= figure.bbox.x0 - 1
    assert max(box.x1 for box in boxes) <= figure.bbox.x1 + 1


def test_a_short_logarithmic_axis_of_a_plot_has_ticks_between_powers_of_ten() -> None:
    series = Series(x=np.arange(5), y=np.array([15.0, 20, 30, 60, 75]))
    figure = static.figure(Plot(panels=[Panel(series=[series], x_label="n", y_label="y", y_scale="log")]))
    ticks = [tick for tick in figure.axes[0].get_yticks() if 15 <= tick <= 75]
    assert len(ticks) >= 3


def test_a_narrow_range_is_told_apart_in_the_caption(make: Make) -> None:
    words = compile(make(np.linspace(2.30199, 2.30202, 63).reshape(9, 7))).caption.shown
    assert words.startswith("Loss from 2.30199 to 2.30202, linear scale")


def test_the_numbers_of_an_axis_keep_off_the_panel_before() -> None:
    """Four significant digits below 0.01 are wider than the usual room between panels."""
    values = np.array([0.0027, 0.0034, 0.0039])
    panels = [
        Panel(series=[Series(x=np.arange(3.0), y=values, style="points")], x_label="error", y_label=f"measure {n}")
        for n in range(3)
    ]
    figure = static.figure(Plot(panels=panels))
    figure.draw_without_rendering()
    frames = [axes.get_window_extent() for axes in figure.axes]
    gap = 0.3 * figure.dpi * 7 / 72
    for before, axes in zip(frames, figure.axes[1:], strict=False):
        low, high = axes.get_ylim()
        labels = [one for at, one in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True) if low <= at <= high]
        assert min(one.get_window_extent().x0 for one in labels) > before.x1 + gap
