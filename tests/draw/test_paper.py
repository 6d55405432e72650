"""Is a printed picture set as asked, and can every word on it be read, whatever its size, theme and labels?"""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

import lossatlas as la
from lossatlas.draw import View, brief, captions, compiled, static, words_on_page
from lossatlas.draw.view import compile
from lossatlas.errors import SpecError
from lossatlas.field.stated import view
from lossatlas.figure.overlays import Path as Walk
from lossatlas.figure.overlays import Points
from lossatlas.figure.paper import WIDTHS, Paper
from lossatlas.figure.plot import Mark, Panel, Plot, Series
from lossatlas.figure.ranges import choose
from lossatlas.results.landscape import About, Axis, build, complete

Make = Callable[..., xr.Dataset]

HOSTILE = (
    "",
    "Ünïcode → λ₁ ≤ 10⁻³ 中",
    "$x^2$ <b>&amp; \\frac{1}{2} %s {0}",
    "a name that goes on and on, longer than any column of any paper would ever be, and then some",
    "OneWordWithoutAnyBlankThatIsLongerThanAColumnOfAPaperIsWideAndCannotBeBroken",
)
KINDS = ("contour", "filled", "heat", "surface", "line", "two maps", "three lines", "plot")
WIDE = (2.6, "column", 4.5, "text", "slide")


def table() -> Iterator[tuple[str, float | str, str, dict[str, Any]]]:
    """Two hundred pictures: kinds, widths and labels each with each, the rest in turn."""
    every = itertools.product(KINDS, WIDE, HOSTILE)
    for index, (kind, width, words) in enumerate(every):
        wide = isinstance(width, str) and width != "column"
        themes = ("light", "dark", "print", "talk") if wide else ("light", "dark", "print")
        rest = {
            "theme": themes[index % len(themes)],
            "caption": ("short", "full", "none")[index % 7 % 3],
            "ticks": ("out", "in", "none")[index // 3 % 3],
            "units": index % 4 != 1,
            "letters": index % 2 == 0,
            "font": ("sans-serif", "serif", "monospace")[index // 2 % 3],
        }
        if not wide:
            rest["font_size"] = (7, 8, 7.5)[index % 3]
        if words:
            rest |= {"x_label": words, "y_label": words} if index % 2 else {"value_label": words}
        yield kind, width, words, rest


TABLE = list(table())


@pytest.fixture
def drawn(make: Make, line: Make) -> Callable[..., Figure]:
    """Draw one kind of picture with hostile words in all that the user names."""
    radius = np.add.outer(np.linspace(-1, 1, 9) ** 2, np.linspace(-1, 1, 7) ** 2)
    holes = np.where(np.arange(63).reshape(9, 7) == 17, np.nan, radius)

    def made(kind: str, width: float | str, words: str, fields: dict[str, Any]) -> Figure:
        name = words or "net"
        about = {"title": name, "model": name, "data": name, "samples": 50000, "seed": 3, "batchnorm": "frozen"}
        field = make(1e-7 + 30 * holes, lengths=(1234.5, 0.0042), **about)
        upon = [
            Walk(x=[-0.8, 0, 0.4], y=[0.8, 0.5, 0], label=name, words=[(0, "0"), (1, "epoch 1"), (2, "2")]),
            Points(x=[0.5, -0.5], y=[-0.5, -0.5], label=f"{name} 2", words=["here", "there"]),
        ]
        curves = [line(np.linspace(1, k, 9), title=f"{name} {k}", metrics={"error": np.ones(9)}) for k in (2, 3, 4)]
        plot = Plot(
            panels=[
                Panel(
                    series=[Series(x=np.arange(4), y=np.arange(4) ** 2, label=name, names=["a", "b", "c", "d"])],
                    x_label=name, y_label=name, title=name, marks=[Mark(x=1.5, label="a mark")],
                )
            ] * 2,
            title=name,
            caption=[f"{name}." if name else "What it is.", "What it does not prove."],
        )  # fmt: skip
        sources: dict[str, Any] = {
            "line": curves[0], "three lines": curves, "two maps": [field, make(radius, title="b")], "plot": plot,
        }  # fmt: skip
        view = {"width": width, **fields}
        if kind in ("contour", "filled", "heat", "surface"):
            view |= {"kind": kind, "overlays": upon, "title": words}
        if kind == "plot":
            view = {key: value for key, value in view.items() if key in (*Paper.__dataclass_fields__, "theme")}
        return static.figure(compiled(sources.get(kind, field), None, view))

    return made


# A word in a font that lacks a letter is drawn with a box for it, of which matplotlib warns.
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("part", [0, 1, 2, *(pytest.param(part, marks=pytest.mark.slow) for part in range(3, 8))])
def test_no_words_overlap_and_none_leave_the_page_in_two_hundred_pictures(
    part: int, drawn: Callable[..., Figure], faults: Callable[[Figure], list[str]]
) -> None:
    wrong = {}
    for index, entry in list(enumerate(TABLE))[part::8]:
        kind, width, words, fields = entry
        figure = drawn(*entry)
        found = faults(figure)
        if found:
            wrong[f"{index}: {kind}, {width}, {words[:12]!r}, {fields}"] = found
        asked = WIDTHS[width] if isinstance(width, str) else width
        assert figure.get_figwidth() == pytest.approx(asked)
    assert len(TABLE) == 200
    assert not wrong, "\n".join(f"{name}\n    {one}" for name, every in wrong.items() for one in every)


def test_words_that_overlap_or_leave_the_page_are_seen(faults: Callable[[Figure], list[str]]) -> None:
    figure = Figure(figsize=(2, 1))
    figure.text(0.1, 0.5, "one lies")
    figure.text(0.12, 0.5, "on another")
    figure.text(0.9, 0.1, "and one is cut off")
    found = " ".join(faults(figure))
    assert "lies on" in found
    assert "cut off" in found


def test_the_name_of_y_stands_clear_of_the_upper_scale(bowl: xr.Dataset, faults: Callable[..., list[str]]) -> None:
    for longest in (1.0, 999.0, 0.000123, 12345.0):
        scaled = bowl.copy()
        scaled["x"].attrs["length"] = longest
        for kind in ("contour", "filled", "heat"):
            assert faults(static.figure(compiled(scaled, None, {"kind": kind, "width": 3.3, "font_size": 7}))) == []


@pytest.mark.parametrize(
    ("width", "inches"), [("column", 3.3), ("text", 6.8), ("slide", 10.0), (4.2, 4.2), ("84mm", 84 / 25.4)]
)
def test_a_width_is_kept_by_name_and_by_number(bowl: xr.Dataset, width: Any, inches: float) -> None:
    assert static.figure(compiled(bowl, None, {"width": width})).get_figwidth() == pytest.approx(inches)


def test_a_height_is_kept_and_so_is_an_aspect(bowl: xr.Dataset) -> None:
    assert static.figure(compiled(bowl, None, {"width": 4, "height": 3})).get_figheight() == 3
    figure = static.figure(compiled(bowl, None, {"aspect": 0.5}))
    box = figure.axes[0].bbox
    assert box.height / box.width == pytest.approx(0.5)


@pytest.mark.parametrize("fields", [{"width": 1.0}, {"height": 0.9}])
def test_paper_without_room_says_how_much_it_takes(bowl: xr.Dataset, fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"leaves no room for a picture .*give at least [0-9.]+ in"):
        static.figure(compiled(bowl, None, fields))
    least = {"width": 1.0, "height": 0.9} | fields
    with pytest.raises(SpecError) as fault:
        static.figure(compiled(bowl, None, fields))
    name = next(iter(fields))
    enough = float(str(fault.value).split("at least ")[1].split(" in")[0])
    assert enough > least[name]
    static.figure(compiled(bowl, None, {name: enough}))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"width": "wide"}, "width='wide': expected column, text, slide, a number of inches"),
        ({"width": -1}, "width=-1"),
        ({"height": "5 miles"}, "height='5 miles'"),
        ({"font": "No Such Family"}, "font='No Such Family' is not installed"),
        ({"font_size": 0}, "font_size=0: expected a number from 3 to 72"),
        ({"caption": "long"}, "caption='long' is unknown; choose one of: short, full, none"),
        ({"ticks": "both"}, "choose one of: out, in, none"),
        ({"dpi": True}, "dpi=True"),
        ({"colours": "virids"}, "did you mean viridis"),
        ({"labels": "SGD"}, "labels='SGD' is one text"),
    ],
)
def test_a_bad_word_lists_the_good_ones(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        View(**fields)


def test_more_labels_than_landscapes_are_refused(bowl: xr.Dataset) -> None:
    with pytest.raises(SpecError, match="labels has 2 names for 1 landscape;"):
        compiled(bowl, None, {"labels": ["a", "b"]})


def test_type_of_seven_points_has_nothing_smaller(bowl: xr.Dataset) -> None:
    figure = static.figure(compiled(bowl, None, {"width": "column", "font_size": 7}))
    sizes = sorted({text.get_fontsize() for text in figure.findobj(Text) if text.get_text() and text.get_text() != "▲"})
    assert sizes[0] == 7


def test_a_family_of_type_is_used_for_every_word(bowl: xr.Dataset) -> None:
    figure = static.figure(compiled(bowl, None, {"font": "serif"}))
    with static.own_settings("serif"):
        figure.draw_without_rendering()
    names = {text.get_fontname() for text in figure.findobj(Text) if text.get_text()}
    assert names == {"STIXGeneral"}


def test_a_short_caption_has_two_lines_and_the_scene_knows_the_rest(bowl: xr.Dataset) -> None:
    scene = compiled(bowl, None, {"width": "column"})
    texts = [text.get_text() for text in static.figure(scene).texts]
    assert texts[:2] == [
        "Quadratic · BatchNorm frozen · none · 1500 samples · seed 7",
        "A slice that looks convex does not prove that the loss is.",
    ]
    assert "filter-normalised" in " ".join(scene.sentences)
    none = static.figure(compiled(bowl, None, {"caption": "none"}))
    assert not any("BatchNorm" in text.get_text() for text in none.texts)
    full = static.figure(compiled(bowl, None, {"caption": "full"}))
    assert any("filter-normalised" in text.get_text() for text in full.texts)


def test_a_short_caption_says_what_is_proved(make: Make) -> None:
    x = np.linspace(-1, 1, 15)
    figure = static.figure(compiled(make(np.cos(4 * x)[:, None] + x[None, :] ** 2), None, {}))
    assert any(text.get_text() == "This slice proves that the loss is not convex." for text in figure.texts)


def test_units_off_leaves_one_scale_and_no_unit(bowl: xr.Dataset) -> None:
    axes = static.figure(compiled(bowl, None, {"units": False})).axes[0]
    assert axes.child_axes == []
    assert axes.get_xlabel() == "x"


def test_ticks_stand_in_or_not_at_all(bowl: xr.Dataset) -> None:
    for style, length in (("in", True), ("none", False)):
        figure = static.figure(compiled(bowl, None, {"ticks": style}))
        tick = figure.axes[0].xaxis.get_major_ticks()[0]
        assert (tick.tick1line.get_markersize() > 0) is length
    assert figure.axes[0].get_xticklabels()


def test_a_caption_says_plainly_which_of_several_slices_prove_something() -> None:
    at = np.linspace(-1, 1, 9)
    up, down = (la.landscape(x=at, y=at, loss=sign * np.add.outer(at**2, at**2) + 3) for sign in (1, -1))
    (sentence,) = brief.proves([up, down, up], "loss")
    first, second = sentence.split("\n")
    assert first == "1 of 3 slices proves that its loss is not convex; the others prove nothing."
    assert second == "1 of 3 has a centre that is not a minimum of the slice."
    (sentence,) = brief.proves([up, down, down], "loss")
    first, second = sentence.split("\n")
    assert first == "2 of 3 slices prove that their loss is not convex; the other proves nothing."
    assert second == "2 of 3 have a centre that is not a minimum of the slice."


@pytest.mark.parametrize("width", [3.0, 5.0, 9.0])
@pytest.mark.parametrize("bottom", [0.5, 0.0])
def test_a_centre_that_is_no_minimum_is_named_below_the_picture_at_any_width(width, bottom):
    x = np.linspace(-1, 1, 9)
    bowl = la.landscape(x=x, y=x, loss=(x - bottom) ** 2 + x[:, None] ** 2)
    scene = compiled(bowl, None, {"width": width})
    lines = words_on_page.caption(scene, 8, 72 * width)
    assert ("not a minimum of this slice" in " ".join(lines)) is bool(bottom)
    assert captions.CAVEAT in " ".join(lines)
    (sentence,) = brief.proves([bowl, bowl, bowl], "loss")
    assert ("3 of 3 have a centre that is not a minimum of the slice." in sentence) is bool(bottom)


def test_two_lines_say_what_was_not_evaluated_before_anything_else() -> None:
    axis, status = Axis(coordinates=np.linspace(-1, 1, 4), length=1.0), np.array([1, 0, 0, 1], np.int8)
    half = build({"x": axis}, {"loss": np.array([1.0, np.nan, np.nan, 1.0])}, status, about=About(model="MLP"))
    values, errors = {"loss": np.array([1.0, 0.5, 0.5, 1.0])}, {"loss": np.array([0, 0.1, 0.1, 0])}
    shown = view(choose(values["loss"], scale="linear", clip=None))
    whole = complete(half, values, errors, {"view": shown})
    assert brief.what([whole], choose(values["loss"])) == ("50 % of cells interpolated", "MLP")
    assert compiled(whole, None, {}).brief[0][0] == "50 % of cells interpolated"
    part = build({"x": axis}, values, about=About(model="MLP"))
    part.attrs["sampling"] = json.dumps({"kind": "subset", "samples": 100, "of": 1797})
    assert brief.what([part], choose(values["loss"]))[-1] == "100 of 1797 samples"


def test_a_symbol_of_the_key_stands_as_far_from_its_words_as_a_line(bowl: xr.Dataset) -> None:
    upon = [Walk(x=[-1, 1], y=[0, 0], label="a path"), Points(x=[0], y=[0], label="a place")]
    figure = static.figure(compiled(bowl, None, {"overlays": upon}))
    figure.canvas.draw()
    line, symbol = (one for one in figure.artists if isinstance(one, Line2D))
    words = {text.get_text(): text.get_window_extent().x0 for text in figure.texts}
    gap = words["a path"] - figure.transFigure.transform(line.get_xydata()[-1])[0]
    at = figure.transFigure.transform(symbol.get_xydata()[symbol.get_markevery()[0]])[0]
    assert words["a place"] - at - symbol.get_markersize() * figure.dpi / 144 >= gap > 0
    assert sum(1 for _ in symbol.get_xydata()[slice(symbol.get_markevery()[0], None, symbol.get_markevery()[1])]) == 1


def test_letters_and_names_stand_over_the_panels(bowl: xr.Dataset) -> None:
    figure = static.figure(compiled([bowl, bowl], None, {"letters": True, "labels": ["SGD", "Adam"]}))
    texts = {text.get_text() for text in figure.texts}
    assert {"(a) SGD", "(b) Adam"} <= texts


def test_any_map_of_matplotlib_is_taken_and_an_uneven_one_is_warned_of(bowl: xr.Dataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("magma", "inferno", "plasma", "gray", "cividis_r", "coolwarm", "viridis", "diverging"):
            compiled(bowl, None, {"colours": name})
    for name in ("jet", "hsv", "rainbow", "turbo", "hot", "tab10"):
        with pytest.warns(UserWarning, match=f"colours='{name}' is not perceptually uniform"):
            View(colours=name)


def test_the_bands_of_a_map_have_the_colours_of_matplotlib(bowl: xr.Dataset) -> None:
    from lossatlas.figure.palettes import rgb

    at = np.linspace(0, 1, 50)
    assert rgb(at, "magma") == pytest.approx(mpl.colormaps["magma"](at)[:, :3], abs=0.02)


def test_print_is_in_greys(bowl: xr.Dataset) -> None:
    figure = static.figure(compiled(bowl, None, {"theme": "print"}))
    figure.set_dpi(50)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    assert np.ptp(pixels, axis=-1).max() <= 1


def test_a_page_has_the_map_that_is_asked_for_among_those_a_reader_may_choose(bowl: xr.Dataset) -> None:
    from lossatlas.draw.payload import payload

    content = payload(compiled(bowl, None, {"colours": "magma"}))
    assert set(content["colours"].values()) <= set(content["maps"])
    assert {"viridis", "cividis", "gray", "diverging", "magma"} == set(content["maps"])


def test_a_cut_stands_in_a_caption_of_two_lines_however_narrow(make) -> None:
    values = np.add.outer(np.linspace(-1, 1, 9) ** 2, np.linspace(-1, 1, 7) ** 2)
    scene = compile(make(values, title="a"), View(clip=1.0, scale="linear"))
    assert scene.brief[0][0].startswith("Clipped at 1, ")
    uncut = compile(make(values, title="a"), View(clip=None, scale="linear"))
    assert not any("clipped" in part for part in uncut.brief[0])
