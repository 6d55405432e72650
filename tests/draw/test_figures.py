"""Is a picture a Figure to go on with, and does it take the place that it is given?"""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import lossatlas as la

X = np.linspace(-1, 1, 9)


@pytest.fixture
def bowl():
    return la.landscape(x=X, y=X, loss=X[:, None] ** 2 + 2 * X**2)


def test_a_picture_is_a_figure_that_shows_itself_in_a_notebook(bowl):
    figure = la.plot(bowl, clip=None)
    assert isinstance(figure, Figure)
    assert figure._repr_png_()[:4] == b"\x89PNG"


def test_pictures_take_the_places_of_axes_in_a_grid(bowl):
    page = Figure(figsize=(10, 4))
    left, right = page.subplots(1, 2)
    assert la.plot(bowl, left) is page
    la.plot(bowl, right, kind="surface")
    assert left not in page.axes
    assert len(page.subfigs) == 2
    FigureCanvasAgg(page).draw()
    middle = page.bbox.width / 2
    assert all(ax.get_window_extent().x1 <= middle + 1 for ax in page.subfigs[0].axes)
    assert all(ax.get_window_extent().x0 >= middle - 1 for ax in page.subfigs[1].axes)


def test_a_comparison_takes_the_places_of_several_axes(bowl):
    page = Figure(figsize=(10, 8))
    axes = page.subplots(2, 2)
    other = la.landscape(x=X, y=X, loss=3 * X[:, None] ** 2 + X**2)
    assert la.plot([bowl, other], axes[0]) is page
    la.plot(bowl, axes[1, 1])
    FigureCanvasAgg(page).draw()
    assert axes[1, 0] in page.axes
    assert not {axes[0, 0], axes[0, 1], axes[1, 1]} & set(page.axes)
    both, one = page.subfigs
    assert both.bbox.width == pytest.approx(page.bbox.width)
    assert one.bbox.width == pytest.approx(page.bbox.width / 2, rel=0.1)
    assert all(ax.get_window_extent().y0 >= page.bbox.height / 2 - 1 for ax in both.axes)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (lambda axes, _: [axes[0, 0], axes[1, 1]], "do not fill a rectangle"),
        (lambda axes, other: [axes[0, 0], other], "of different grids"),
        (lambda axes, _: [axes[0, 0], 5], "ax is a list of .*; expected an Axes, several of one grid"),
        (lambda axes, _: [], "ax is a list of nothing"),
    ],
)
def test_axes_that_are_no_rectangle_are_refused_and_stay(bowl, chosen, message):
    page = Figure()
    axes = page.subplots(2, 2)
    with pytest.raises(la.SpecError, match=message):
        la.plot(bowl, chosen(axes, Figure().subplots()))
    assert len(page.axes) == 4


def test_what_has_a_plot_is_drawn_as_well(bowl):
    assert la.plot(la.topology(bowl)).axes


def test_what_is_no_place_is_refused(bowl):
    with pytest.raises(la.SpecError, match=r"ax is an int \(5\); expected an Axes"):
        la.plot(bowl, 5)
    with pytest.raises(la.SpecError, match="is not part of a grid"):
        la.plot(bowl, Figure().add_axes((0, 0, 1, 1)))
    with pytest.raises(la.SpecError, match="field of View='colour'"):
        la.plot(bowl, colour="red")


def test_showing_needs_no_screen_in_a_test(bowl, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(True))
    figure = la.show(bowl)
    assert shown == [True]
    assert figure.axes
    pyplot.close(figure)
