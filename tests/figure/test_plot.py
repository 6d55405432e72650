"""Is a plot of plain numbers drawn as it says: its data, scales, words and marks, in every format."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import lossatlas as la
from lossatlas.draw import static
from lossatlas.figure.plot import Mark, Panel, Plot, Series


def example() -> Plot:
    x = np.linspace(0.1, 3, 30)
    lines = Panel(
        title="two lines",
        series=[
            Series(x=x, y=np.exp(-x), low=np.exp(-x) / 2, high=2 * np.exp(-x), label="measured"),
            Series(x=x, y=1 / (1 + x), label="expected", dashed=True, color=-1),
        ],
        x_label="time, epochs",
        y_label="loss",
        y_scale="log",
        marks=[Mark(x=1.5, label="learning rate ÷ 10"), Mark(y=0.1, label="goal")],
    )
    bars = Panel(
        title="<b>bars & $x_1$",
        series=[Series(x=range(4), y=[3, 1, 2, 4], low=[2, 1, 1, 3], high=[4, 2, 3, 5], style="bars", label="share")],
        x_label="measure",
        y_label="share, %",
        x_ticks=[(i, name) for i, name in enumerate(("first", "a rather long name", "third", "another long one"))],
    )
    points = Panel(
        series=[Series(x=[-100, 0, 100, 1000], y=[1, 2, np.nan, 4], style="both", label="measured")],
        x_label="eigenvalue",
        y_label="density",
        x_scale="symlog",
    )
    return Plot(title="A plot", panels=[lines, bars, points], caption=["What was measured.", "What it does not prove."])


def test_the_figure_holds_the_data_the_scales_and_the_words() -> None:
    figure = static.figure(example())
    lines, bars, points = figure.axes
    assert lines.get_yscale() == "log"
    assert points.get_xscale() == "symlog"
    np.testing.assert_allclose(lines.lines[0].get_ydata(), np.exp(-np.linspace(0.1, 3, 30)))
    assert [patch.get_height() for patch in bars.patches] == [3, 1, 2, 4]
    words = {text.get_text() for axes in figure.axes for text in axes.texts} | {t.get_text() for t in figure.texts}
    assert {"learning rate ÷ 10", "goal", "measured", "expected", "share", "<b>bars & $x_1$", "A plot"} <= words
    assert any("does not prove" in word for word in words)


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg", ".html"])
def test_every_format_is_written_whole_and_twice_the_same(tmp_path, suffix) -> None:
    first, second = (la.draw(example(), tmp_path / f"{i}{suffix}") for i in range(2))
    assert first.stat().st_size > 5000
    assert suffix == ".png" or first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"0{suffix}", f"1{suffix}"]


def test_text_is_escaped_on_a_page(tmp_path) -> None:
    bad = "<script>alert(1)</script>"
    panel = Panel(series=[Series(x=[0, 1], y=[0, 1], label=bad)], x_label=bad, y_label=bad, title=bad)
    page = la.draw(Plot(panels=[panel], title=bad, caption=[bad]), tmp_path / "a.html").read_text()
    assert "<script" not in page


def test_a_result_with_a_plot_is_drawn_and_bad_input_is_refused(tmp_path) -> None:
    class Result:
        def plot(self) -> Plot:
            return example()

    assert la.draw(Result(), tmp_path / "a.svg", theme="dark").is_file()
    with pytest.raises(la.SpecError, match="leave out clip"):
        la.draw(Result(), tmp_path / "a.svg", clip=3)
    with pytest.raises(la.SpecError, match=r"png, .pdf, .svg, .jpg, .jpeg, .webp, .eps, .html"):
        la.draw(Result(), tmp_path / "a.stl")
    with pytest.raises(la.SpecError, match="same length"):
        Series(x=[0, 1], y=[0])
    with pytest.raises(la.SpecError, match="line, points, both, bars, step"):
        Series(x=[0], y=[0], style="pie")  # type: ignore[arg-type]
    with pytest.raises(la.SpecError, match="no series"):
        Panel(series=[], x_label="", y_label="")
    with pytest.raises(la.SpecError, match="either x or y"):
        Mark()


def test_points_stand_off_the_edge_and_a_single_value_has_short_numbers() -> None:
    from lossatlas.draw import static_plot

    value = Series(x=np.zeros(1), y=np.array([3.8909625]), low=[3.890962], high=[3.890963], style="points")
    several = Series(x=np.arange(3.0), y=np.array([1.0, 2.0, 4.0]), style="points")
    figure = static_plot.draw(
        Plot(panels=[Panel(series=[one], x_label="model", y_label="value") for one in (value, several)])
    )
    single, many = figure.axes[:2]
    assert np.ptp(single.get_ylim()) == pytest.approx(0.02 * 3.8909625, rel=1e-3)
    assert many.get_xlim()[0] < -0.1
    assert many.get_xlim()[1] > 2.1
    assert many.get_ylim()[1] > 4.1


def test_names_of_points_stand_beside_them_and_touch_neither_each_other_nor_a_point() -> None:
    x = [1.0, 1.05, 1.1, 1.0, 5.0, 9.0]
    y = [0.50, 0.50, 0.51, 0.53, 0.0, 1.0]
    names = ("training", "validation", "size", "gradient", "far away", "at the edge")
    # A line beside them, since axes with lines settle only when they are drawn.
    series = [Series(x=[1, 9], y=[0.9, 0.9]), Series(x=x, y=y, style="points", names=names)]
    panel = Panel(series=series, x_label="cost", y_label="τ")
    figure = static.figure(Plot(panels=[panel]))
    (axes,) = figure.axes
    figure.draw_without_rendering()
    assert sorted(text.get_text() for text in axes.texts if text.get_text() != "τ") == sorted(names)
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text() != "τ"]
    for number, box in enumerate(boxes):
        assert not any(box.shrunk(0.95, 0.95).overlaps(other.shrunk(0.95, 0.95)) for other in boxes[number + 1 :])
        assert not any(box.contains(*place) for place in axes.transData.transform(np.column_stack([x, y])))
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
    with pytest.raises(la.SpecError, match="2 names for 3 points"):
        Series(x=[0, 1, 2], y=[0, 1, 2], names=("a", "b"))


@pytest.mark.parametrize("beside", [0.015, 0.02, 0.025, 0.03, 0.04])
def test_names_of_points_stand_on_no_error_bar(beside: float) -> None:
    x, y = np.array([0.0, beside, 1.0]), np.array([0.0, 1.0, 0.5])
    low, high = y - np.array([0.1, 1.5, 0.1]), y + np.array([0.1, 0.3, 0.1])
    series = Series(x=x, y=y, low=low, high=high, style="points", names=("a", "b", "c"))
    figure = static.figure(Plot(panels=[Panel(series=[series], x_label="test error", y_label="norm")]))
    (axes,) = figure.axes
    figure.draw_without_rendering()
    for text in axes.texts:
        if text.get_text() in series.names:
            box = text.get_window_extent().shrunk(0.9, 0.7)
            for one, bottom, top in zip(x, low, high, strict=True):
                (left, foot), (_, head) = axes.transData.transform([(one, bottom), (one, top)])
                assert not (box.x0 < left < box.x1 and box.y0 < head and foot < box.y1), (text.get_text(), one)


def boxes(texts):
    """What words take up on the page, in pixels."""
    return [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]


@pytest.mark.parametrize(("low", "high"), [(1e-4, 1e-3), (900.0, 9000.0), (4.9e-4, 1.5e-3), (0.3, 3.0), (2.0, 2.2)])
@pytest.mark.parametrize("panels", [1, 3])
def test_the_ticks_of_a_short_logarithmic_axis_stand_apart(low: float, high: float, panels: int) -> None:
    line = Series(x=[low, (low * high) ** 0.5, high], y=[1, 2, 3], style="points")
    figure = static.figure(Plot(panels=[Panel(series=[line], x_label="step", y_label="λ", x_scale="log")] * panels))
    figure.draw_without_rendering()
    for axes in figure.axes:
        ends = axes.get_xlim()
        shown = [tick.label1 for tick in axes.xaxis.get_major_ticks() if ends[0] <= tick.get_loc() <= ends[1]]
        places = sorted((box.x0, box.x1) for box in boxes(shown))
        assert len(places) >= 2
        assert all(before[1] < after[0] for before, after in itertools.pairwise(places))


def test_the_words_of_a_line_lie_on_no_curve_where_there_is_room() -> None:
    x = np.linspace(0, 1, 200)
    ends_there = Series(x=x, y=1 + 0.05 * np.sin(40 * x) * (x > 0.5), label="curve")
    spike = Series(x=x, y=np.where(abs(x - 0.45) < 0.02, 2.0, 0.0), label="spike")
    marks = [Mark(y=1.0, label="level"), Mark(x=0.4, label="end of it"), Mark(y=1.0, label="other")]
    figure = static.figure(Plot(panels=[Panel(series=[ends_there, spike], x_label="x", y_label="y", marks=marks)]))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    words = [text for text in axes.texts if text.get_text() in ("level", "end of it", "other")]
    assert len(words) == 3
    for box in boxes(words):
        for line in axes.lines[:2]:
            fine = np.interp(np.linspace(0, 1, 5000), x, line.get_ydata())
            passed = axes.transData.transform(np.column_stack([np.linspace(0, 1, 5000), fine]))
            assert not box.count_contains(passed)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes(words), 2))
