from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from lossatlas.draw.payload import payload
from lossatlas.draw.view import View, compile
from lossatlas.errors import SpecError
from lossatlas.field.ways import MISFIT
from lossatlas.results.landscape import About, Axis, Status, build

Make = Callable[..., xr.Dataset]


@pytest.mark.parametrize(
    ("field", "bad", "message"),
    [
        ("kind", "surf", "kind='surf' is unknown; choose one of: auto, line, contour, filled, heat, surface"),
        ("scale", "ln", "scale='ln' is unknown; choose one of: auto, linear, log"),
        ("theme", "sepia", "theme='sepia' is unknown; choose one of: light, dark, talk"),
        ("colours", "jett", "colours='jett' is not a colour map; did you mean jet"),
        ("clip", "most", "clip='most' is not a finite number"),
        ("clip", float("nan"), "clip=nan is not a finite number"),
        ("levels", 0, "levels=0: expected a whole number from 1 to 50"),
        ("camera", (1.0,), r"camera=\(1.0,\): expected 'auto' or \(elevation, azimuth\)"),
    ],
)
def test_a_bad_field_lists_the_good_ones(field: str, bad: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        View(**{field: bad})  # type: ignore[arg-type]


def test_the_scene_keeps_the_order_of_the_axes(tilted: xr.Dataset) -> None:
    panel = compile(tilted).panels[0]
    assert [axis.name for axis in panel.axes] == ["x", "y"]
    x, y = (axis.coordinates for axis in panel.axes)
    assert panel.values["loss"].shape == (5, 3)
    assert np.array_equal(panel.values["loss"], x[:, None] + 10 * y[None, :])


def test_axes_that_run_backwards_are_turned_with_their_values(tilted: xr.Dataset) -> None:
    backwards = tilted.isel(x=slice(None, None, -1), y=slice(None, None, -1))
    panel = compile(backwards).panels[0]
    x, y = (axis.coordinates for axis in panel.axes)
    assert x[0] < x[-1]
    assert np.array_equal(panel.values["loss"], x[:, None] + 10 * y[None, :])


def test_the_second_scale_is_the_length_of_the_direction(tilted: xr.Dataset) -> None:
    x, y = compile(tilted).panels[0].axes
    assert np.array_equal(x.coordinates * x.length, tilted["x_length"])
    assert np.array_equal(y.coordinates * y.length, tilted["y_length"])


def test_compared_landscapes_share_range_levels_axes_and_camera(make: Make) -> None:
    low, high = np.linspace(0.1, 1, 20).reshape(5, 4), np.linspace(0.5, 3, 20).reshape(5, 4)
    one = make(low, title="one")
    other = make(high, title="other", x=np.linspace(-2, 0.5, 5))
    scene = compile([one, other])
    assert (scene.range.low, scene.range.high) == (0.1, 3.0)
    assert scene.limits["x"] == (-2.0, 1.0)
    assert len(scene.panels) == 2
    alone = compile(one)
    assert alone.range.high == 1.0


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_scale_that_is_asked_for_is_shared_too(make: Make, scale: str) -> None:
    one = make(np.linspace(0.1, 1, 20).reshape(5, 4), title="one")
    other = make(np.linspace(0.5, 3, 20).reshape(5, 4), title="other")
    shown = compile([one, other], View(scale=scale)).range  # type: ignore[arg-type]
    assert (shown.scale, shown.low, shown.high) == (scale, 0.1, 3.0)


def test_comparison_takes_the_logarithm_from_all_together(make: Make) -> None:
    smooth = make(np.linspace(1, 2, 20).reshape(5, 4), title="smooth")
    chaotic = make(10 ** np.linspace(0, 6, 20).reshape(5, 4), title="chaotic")
    assert compile(smooth).range.scale == "linear"
    assert compile([smooth, chaotic]).range.scale == "log"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_hatched_and_never_filled(make: Make, value: float) -> None:
    loss = np.arange(12.0).reshape(4, 3)
    loss[1, 2] = value
    scene = compile(make(loss))
    panel = scene.panels[0]
    heights = panel.heights("loss", scene.range)
    assert np.argwhere(np.isnan(heights)).tolist() == [[1, 2]]
    assert {status: np.argwhere(mask).tolist() for status, mask in panel.hatched("loss").items()} == {
        Status.NON_FINITE: [[1, 2]]
    }
    assert (scene.range.low, scene.range.high) == (0.0, 11.0)
    assert "1 not finite" in scene.caption.empty


def test_failed_and_missing_cells_are_hatched_even_where_a_number_stands(make: Make) -> None:
    status = np.ones((4, 3), int)
    status[0, 0], status[1, 1], status[2, 2] = Status.FAILED, Status.NOT_SAMPLED, Status.CENSORED
    loss = np.arange(12.0).reshape(4, 3)
    loss[0, 0] = 1e9
    scene = compile(make(loss, status=status))
    assert set(scene.panels[0].hatched("loss")) == {Status.FAILED, Status.NOT_SAMPLED, Status.CENSORED}
    assert scene.range.high == 11.0
    assert scene.caption.empty == "Hatched, of 12 cells: 1 not sampled, 1 failed, 1 censored."


def test_a_finite_loss_beside_a_metric_that_is_nan_is_drawn(make: Make) -> None:
    error = np.zeros((4, 3))
    error[3, 0] = np.nan
    landscape = make(np.arange(12.0).reshape(4, 3), metrics={"error": error})
    assert landscape["status"].values[3, 0] == Status.NON_FINITE
    panel = compile(landscape).panels[0]
    assert panel.hatched("loss") == {}
    assert list(panel.hatched("error")) == [Status.NON_FINITE]


def test_nothing_finite_at_all_still_makes_a_scene(make: Make) -> None:
    scene = compile(make(np.full((4, 3), np.nan)))
    assert scene.caption.shown == "Loss: no cell has a finite value."


def test_a_metric_has_its_own_colours(bowl: xr.Dataset) -> None:
    assert compile(bowl).colours == "viridis"
    assert compile(bowl, View(value="error")).colours == "cividis"


def test_the_clip_and_its_share_stand_in_the_caption(make: Make) -> None:
    scene = compile(make(np.arange(1.0, 101.0).reshape(10, 10)), View(clip=69))
    assert "clipped at 69: 31 % of cells above, up to 100" in scene.caption.shown


def test_a_logarithm_that_is_not_legal_is_replaced_and_said(make: Make) -> None:
    scene = compile(make(np.arange(-2.0, 10.0).reshape(4, 3)), View(scale="log"))
    assert scene.range.scale == "symlog"
    assert "symmetric logarithmic scale, linear below" in scene.caption.shown
    assert "values at or below zero have no logarithm" in scene.caption.shown


def test_the_caption_names_all_that_a_reader_needs(bowl: xr.Dataset) -> None:
    words = " ".join(compile(bowl).caption.sentences)
    for part in (
        "Quadratic", "1500 samples", "cross_entropy", "filter-normalised", "biases and norm layers still",
        "BatchNorm frozen", "seed 7", "x: random direction (seed 0) of length 2", "+ marks the centre, loss 0.1",
        "Loss from 0.1 to 2.1, linear scale", "A slice that looks convex does not prove that the loss is.",
    ):  # fmt: skip
        assert part in words, part


@pytest.mark.parametrize("label", ["from a.pt (0) to b.pt (1)", "towards b.pt", "fraction of the Bézier curve"])
def test_the_caption_says_where_frozen_statistics_do_not_fit(line: Make, bowl: xr.Dataset, label: str) -> None:
    t = np.linspace(0, 1, 21)
    for one in (line(t * (1 - t), t=t), bowl):
        for mode in ("frozen", "recalibrated", ""):
            way = one.assign_attrs(batchnorm=mode, model="net").copy()
            way[way["loss"].dims[0]].attrs["long_name"] = label
            caption, wrong = compile(way).caption, mode == "frozen"
            assert (MISFIT in " ".join(caption.sentences)) == wrong
            assert (MISFIT in caption.proves) == wrong
            assert ("BatchNorm frozen at one network's statistics" in caption.what) == wrong
            assert ("BatchNorm frozen at one network's statistics" in caption.about) == wrong


def test_a_caption_of_a_comparison_lists_what_differs_once(make: Make) -> None:
    values = np.arange(12.0).reshape(4, 3)
    scene = compile([make(values, seed=1, model="net"), make(values, seed=2, model="net")])
    assert scene.caption.about == "net · seed 1, 2."


def test_equal_titles_are_told_apart_by_seed(make: Make) -> None:
    values = np.arange(12.0).reshape(4, 3)
    titles = [panel.title for panel in compile([make(values, seed=1), make(values, seed=2)]).panels]
    assert titles == ["model (seed 1)", "model (seed 2)"]


def test_runs_of_one_model_become_a_median_with_a_band(line: Make) -> None:
    runs = [line([1.0, 5.0, 2.0]), line([3.0, 4.0, np.nan]), line([8.0, 9.0, 4.0])]
    scene = compile([*runs, line([0.0, 0.0, 1.0], title="B")])
    assert [curve.title for curve in scene.curves] == ["A", "B"]
    assert scene.curves[0].median("loss").tolist() == [3.0, 5.0, 3.0]
    low, high = scene.curves[0].band("loss")
    assert (low.tolist(), high.tolist()) == ([1.0, 4.0, 2.0], [8.0, 9.0, 4.0])
    assert "median of 3, 1 runs" in scene.caption.runs


@pytest.mark.parametrize("by", [0.0, 1e-3])
def test_curves_that_lie_on_each_other_are_named(line: Make, by: float) -> None:
    """Two methods that end in the same network: the first line is under the second, and the key shows both."""
    t = np.linspace(-1, 1, 11)
    drawn = [line(1 + t**2, title="A"), line(3 - t, title="B"), line(1 + (1 + by) * t**2, title="C")]
    caption = compile(drawn).caption
    words = "A and C coincide: " + (
        "they agree within 0.5 % of the range shown everywhere" if by else "their values are equal"
    )
    assert f"{words}." in caption.notes
    assert caption.what[0] == words
    assert "coincide" not in str(compile(drawn[:2]).caption)


def test_a_curve_that_leaves_another_anywhere_is_seen(line: Make) -> None:
    t = np.linspace(-1, 1, 11)
    parting = np.where(t > 0.9, 1.1, 1.0) * (1 + t**2)
    holed = np.where(t > 0.9, np.nan, 1 + t**2)
    for other in (line(parting, title="B"), line(holed, title="B")):
        assert "coincide" not in compile([line(1 + t**2, title="A"), other]).caption.notes


def test_runs_on_different_coordinates_are_refused(line: Make) -> None:
    with pytest.raises(SpecError, match="titled 'A' have different coordinates.*same grid or.*different titles"):
        compile([line([1.0, 2.0, 3.0]), line([1.0, 2.0])])


def test_a_volume_is_cut_at_stated_coordinates(volume: xr.Dataset) -> None:
    scene = compile(volume)
    assert [panel.note for panel in scene.panels] == ["z = 0.1", "y = 0", "x = 0"]
    assert [[axis.name for axis in panel.axes] for panel in scene.panels] == [["x", "y"], ["x", "z"], ["y", "z"]]
    x_y, x_z, y_z = (panel.values["loss"] for panel in scene.panels)
    assert np.array_equal(x_y, volume["loss"].sel(z=0.1))
    assert np.array_equal(x_z, volume["loss"].sel(y=0.0))
    assert np.array_equal(y_z, volume["loss"].sel(x=0.0))
    assert scene.range.high == volume["loss"].max()


def test_landscapes_of_different_rank_are_refused(bowl: xr.Dataset, line: Make) -> None:
    with pytest.raises(SpecError, match="landscapes have 1 and 2 axes"):
        compile([bowl, line([1.0, 2.0])])


def test_a_kind_that_does_not_fit_lists_those_that_do(bowl: xr.Dataset, line: Make) -> None:
    with pytest.raises(SpecError, match="kind='line' does not fit.*2 axes; choose one of: auto, contour, filled"):
        compile(bowl, View(kind="line"))
    with pytest.raises(SpecError, match="kind='surface' does not fit.*1 axis; choose one of: auto, line"):
        compile(line([1.0, 2.0]), View(kind="surface"))


def test_an_unknown_value_lists_the_known_ones(bowl: xr.Dataset) -> None:
    with pytest.raises(SpecError, match="value='accuracy' is unknown; choose one of: loss, error"):
        compile(bowl, View(value="accuracy"))


def test_an_empty_list_and_a_stranger_are_refused(bowl: xr.Dataset) -> None:
    with pytest.raises(SpecError, match="landscapes is empty"):
        compile([])
    with pytest.raises(SpecError, match="landscapes holds a str"):
        compile([bowl, "runs/a"])  # type: ignore[list-item]


def test_an_axis_of_one_point_is_refused() -> None:
    axes = {name: Axis(coordinates=np.array(c), length=1.0) for name, c in (("x", [0.0]), ("y", [0.0, 1.0]))}
    with pytest.raises(SpecError, match="axis 'x' has 1 point; a picture needs at least 2"):
        compile(build(axes, {"loss": np.zeros((1, 2))}))


def test_a_second_axis_is_never_clipped(line: Make) -> None:
    t = np.linspace(-1, 1, 51)
    peak, blown = 0.1 + 0.89 * np.exp(-((t / 0.12) ** 2)), np.append(np.ones(50), 1e9)
    for clip in ("auto", None, 2.0):
        shown = compile(line(0.01 + 30 * t**2, t=t, metrics={"accuracy": peak}), View(clip=clip)).beside_range  # type: ignore[arg-type]
        assert shown is not None
        assert (shown.low, shown.high, shown.clipped) == (peak.min(), peak.max(), None)
    shown = compile(line(t**2, t=t, metrics={"perplexity": blown})).beside_range
    assert shown is not None
    assert (shown.high, shown.clipped) == (1e9, None)


@pytest.mark.parametrize("name", ["accuracy", "test_accuracy", "top5", "token_error", "val-acc"])
def test_a_score_is_linear_and_whole_whatever_its_values(make: Make, name: str) -> None:
    score = np.full((9, 7), 1e-3)
    score[4, 3] = 1.0
    shown = compile(make(np.ones((9, 7)), metrics={name: score}), View(value=name)).range
    assert (shown.scale, shown.low, shown.high, shown.clipped) == ("linear", 1e-3, 1.0, None)


def test_a_perplexity_beside_its_loss_is_left_out_and_another_value_is_not(line: Make) -> None:
    t = np.linspace(0.0, 1.0, 11)
    error = t / 2
    drawn = compile(line(1 + t**2, t=t, metrics={"perplexity": np.exp(1 + t**2), "error": error}))
    assert drawn.beside == ("error",)
    assert compile(line(1 + t**2, t=t, metrics={"perplexity": np.exp(1 + t)})).beside == ("perplexity",)
    alone = compile(line(1 + t**2, t=t, metrics={"perplexity": np.exp(1 + t**2)}), View(value="perplexity"))
    assert alone.value == "perplexity"
    assert alone.beside == ()


@pytest.mark.parametrize(
    ("metrics", "drawn"),
    [
        ({"accuracy": 0.9, "grad_norm": 60.0}, ("accuracy",)),
        ({"grad_norm": 60.0, "accuracy": 0.9}, ("accuracy",)),
        ({"accuracy": 0.9, "error": 0.02}, ("accuracy", "error")),  # of one scale, however small
        ({"accuracy": 90.0, "top5_error": 0.4}, ("accuracy",)),
        ({"norm": 2.0, "entropy": 0.7}, ("norm", "entropy")),
        ({"norm": 2.0, "entropy": 0.001, "test_loss": 1.0}, ("norm",)),
        ({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, ("a", "b", "c")),
    ],
)
def test_a_second_axis_flattens_none_of_its_curves_and_what_is_left_out_is_named(
    line: Make, metrics: dict[str, float], drawn: tuple[str, ...]
) -> None:
    t = np.linspace(-1, 1, 21)
    scene = compile(line(1 + t**2, t=t, metrics={name: size * (1 - t**2 / 2) for name, size in metrics.items()}))
    assert scene.beside == drawn
    assert scene.beside_range is not None
    assert scene.beside_range.high == max(metrics[name] for name in drawn)
    out = [name for name in metrics if name not in (*drawn, *scene.alongside)]
    said = f"ot drawn here: {', '.join(out)}"
    assert (f"N{said}." in scene.caption.notes) == (f"n{said}" in scene.caption.what) == bool(out)
    sent = payload(scene)["beside"]
    assert tuple(sent["names"]) == drawn


def test_curves_of_different_sizes_stay_visible_when_each_is_shown_from_its_centre() -> None:
    t = np.linspace(-1, 1, 41)
    axis = {"x": Axis(coordinates=t, length=1.0, label="random direction")}
    flat, steep = (
        build(axis, {"loss": loss}, about=About(title=title))
        for title, loss in (("A", 0.02 + 0.5 * t**2), ("B", 1e4 + 1e6 * t**2))
    )
    shown = compile([flat, steep], View(minus_centre=True)).range
    heights, (bottom, top) = shown.heights(0.5 * t**2), shown.limits
    assert np.ptp(heights) > 0.1 * (top - bottom)


def test_one_value_among_holes_is_not_the_value_of_every_cell(line: Make) -> None:
    t = np.linspace(-1, 1, 21)
    holes = compile(line(np.where(t > 0.5, np.nan, 2.0), t=t)).caption.shown
    whole = compile(line(np.full(21, 2.0), t=t)).caption.shown
    assert (holes, whole) == ("Loss is 2 in every cell with a value.", "Loss is 2 in every cell.")


def test_a_metric_without_ends_is_no_score(make: Make) -> None:
    norm = np.geomspace(1e-3, 1, 63).reshape(9, 7)
    assert compile(make(np.ones((9, 7)), metrics={"norm": norm}), View(value="norm")).range.scale == "log"


@pytest.mark.parametrize("label", ["towards B", "from the first model (0) to the second (1)"])
def test_the_way_between_two_networks_is_linear_unless_asked(label: str) -> None:
    t = np.linspace(0, 1, 21)
    for lowest in (1e-4, 0.0099, 0.0101, 0.1):
        axis = Axis(coordinates=t, length=1.0, label=label)
        way = build({"x": axis}, {"loss": lowest + 4 * t * (1 - t)})
        assert compile(way).range.scale == "linear"
        assert compile(way, View(scale="log")).range.scale == "log"


def test_of_compared_curves_none_is_cut_away(line: Make) -> None:
    t = np.linspace(-1, 1, 21)
    curves = {"A": 0.02 + t**2, "B": 0.03 + 1.1 * t**2, "C": 2.31 + 0.02 * t}
    for outlier in (1.0, 1e4, 1e9):
        scene = compile([line(outlier ** (name == "C") * values, t=t, title=name) for name, values in curves.items()])
        assert scene.range.clipped is None
        for curve in scene.curves:
            heights = scene.range.heights(curve.median("loss"))
            assert ((heights >= scene.range.limits[0]) & (heights <= scene.range.limits[1])).all()


def test_a_single_run_that_blew_up_does_not_hide_the_others(line: Make) -> None:
    t = np.linspace(-1, 1, 21)
    runs = [line(1 + seed + t**2, t=t, title="A") for seed in range(4)]
    assert compile([*runs, line(np.full(21, 1e12), t=t, title="A")]).range.clipped is not None
    assert compile([*runs, line(np.full(21, 1e12), t=t, title="B")]).range.clipped is None


def test_a_test_loss_stands_on_the_axis_of_the_loss(line: Make) -> None:
    t = np.linspace(-1, 1, 21)
    scene = compile(line(1 + t**2, t=t, metrics={"test_loss": 5 + t**2, "accuracy": np.full(21, 0.5)}))
    assert (scene.alongside, scene.beside) == (("test_loss",), ("accuracy",))
    assert scene.range.high == 6.0


def test_both_ends_of_a_range_may_be_given_by_hand(make: Make) -> None:
    field = make(np.linspace(1.0, 3.0, 12).reshape(4, 3))
    shown = compile(field, View(vmin=0.0, vmax=5.0)).range
    assert (shown.low, shown.high) == (0.0, 5.0)
    scene = compile(field, View(vmin=1.5, vmax=2.5))
    assert "clipped at 2.5" in scene.caption.shown
    assert "floor at 1.5" in scene.caption.shown
    with pytest.raises(SpecError, match=r"vmin=2\.0 is not below vmax=1\.0"):
        View(vmin=2.0, vmax=1.0)
    with pytest.raises(SpecError, match=r"clip=2\.0 and vmax=3\.0 both end the range"):
        View(clip=2.0, vmax=3.0)
    with pytest.raises(SpecError, match="vmin=nan is not a finite number"):
        View(vmin=float("nan"))


def test_values_minus_their_centres_are_compared_by_how_far_they_rise(line: Make) -> None:
    t = np.linspace(-1, 1, 21)
    one, other = line(0.1 + t**2, t=t, title="A"), line(7 + 2 * t**2, t=t, title="B", centre={"loss": 7.0})
    scene = compile([one, other], View(minus_centre=True))
    first, second = (curve.median("loss") for curve in scene.curves)
    assert first == pytest.approx(t**2)
    assert second == pytest.approx(2 * t**2)
    assert scene.label == "loss − centre"
    assert scene.caption.shown.startswith("Loss − centre from 0 to 2, linear scale")
    assert "loss 7" in scene.caption.centre
    nowhere = line(t**2, t=np.linspace(0.5, 1, 21))
    with pytest.raises(SpecError, match="minus_centre: 'A' has no known loss at the centre"):
        compile(nowhere, View(minus_centre=True))


def test_a_slice_says_where_it_lies_and_marks_only_a_centre_that_is_in_it(volume: xr.Dataset) -> None:
    for z, marked in ((0.1, False), (1.0, False)):
        scene = compile(volume.sel(z=z))
        assert scene.panels[0].note == f"z = {z:g}"
        assert scene.panels[0].marks_centre is marked
        assert f"slice at z = {z:g}" in scene.caption.axes
    through = compile(volume.sel(x=0.0, z=1.0))
    assert through.curves[0].members[0].note == "x = 0, z = 1"
    assert not through.curves[0].members[0].marks_centre
    assert compile(volume.sel(y=0.0)).panels[0].marks_centre
