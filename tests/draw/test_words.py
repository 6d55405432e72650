"""Can every word be read on every kind of picture that a result has, whatever its models are called?"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from lossatlas.draw import compiled, static, words_on_page
from lossatlas.figure.plot import Panel, Plot, Series

sys.path.insert(0, str(Path(__file__).parent))
from specimens import SPECIMENS

NAMES = (
    "net",
    "Ünïcode → λ₁ ≤ 10⁻³ 中",
    "$x^2$ <b>&amp; \\frac{1}{2} %s {0}",
    "a name that goes on and on, longer than any column of any paper would ever be, and then some",
    "OneWordWithoutAnyBlankThatIsLongerThanAColumnOfAPaperIsWideAndCannotBeBroken",
)
WIDE: tuple[tuple[float | str, str, float | None], ...] = (
    (2.8, "light", 7),
    ("column", "print", None),
    ("column", "dark", 7),
    ("text", "light", None),
    ("slide", "talk", None),
)
CAPTIONS = ("short", "full", "none")
EVERY = list(itertools.product(SPECIMENS, NAMES, WIDE, CAPTIONS))
"""1,275 pictures. A part of them, four of each kind, is drawn each time; all of them in `make soak`."""


@pytest.mark.parametrize("room", [150, 225, 460])
def test_a_sentence_that_is_cut_short_ends_with_its_full_stop(room: float) -> None:
    words = "The first components explain 81 % and 12 % of the variance; a random walk gives 60 % and 15 % of its own."
    panel = Panel(series=[Series(x=np.arange(2), y=np.arange(2))], x_label="x", y_label="y")
    plot = Plot(panels=[panel], title="a", caption=(words, "A second sentence.", "It proves little."))
    *said, last = words_on_page.caption(plot, 8, room)
    assert " ".join(said).replace("\xa0", " ") in (words, f"{words.partition(';')[0]}.")
    assert last == "It proves little."


def some() -> list[tuple[str, str, tuple[float | str, str, float | None], str]]:
    draw = np.random.default_rng(0)
    size = len(EVERY) // len(SPECIMENS)
    return [EVERY[kind * size + int(at)] for kind in range(len(SPECIMENS)) for at in draw.choice(size, 4, False)]


def wrong(entries: list[Any], faults: Callable[[Figure], list[str]]) -> str:
    said = []
    for kind, name, (width, theme, size), caption in entries:
        if kind == "tree":
            pytest.importorskip("gudhi")
        source, view = SPECIMENS[kind](name)
        view = {**view, "width": width, "theme": theme, "caption": caption, **({"font_size": size} if size else {})}
        found = faults(static.figure(compiled(source, None, view)))
        said += [f"{kind}, {name[:12]!r}, {width}, {theme}, {caption}: {one}" for one in found]
    return "\n".join(said)


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("part", range(4))
def test_no_words_overlap_and_none_leave_the_page(part: int, faults: Callable[[Figure], list[str]]) -> None:
    said = wrong(some()[part::4], faults)
    assert not said, said


@pytest.mark.parametrize("width", [2.8, "column", "text"])
@pytest.mark.parametrize("kind", SPECIMENS)
def test_a_short_caption_has_whole_sentences(kind: str, width: float | str) -> None:
    if kind == "tree":
        pytest.importorskip("gudhi")
    source, view = SPECIMENS[kind]("net")
    drawn = compiled(source, None, {**view, "width": width, "caption": "short"})
    lines = words_on_page.caption(drawn, 7.5, 72 * {"column": 3.3, "text": 6.75}.get(width, width))
    assert not any(line.endswith("…") for line in lines), lines
    assert lines[-1].endswith("."), lines
    assert len(lines) <= {"text": 3, "column": 4}.get(str(width), 5), lines


def test_a_short_caption_keeps_what_was_found() -> None:
    found = "loss, mean over the grid, 2 and 2 direction seeds: A minus B is −0.0107 (95 % interval −0.02 to −0.001)."
    limits = "The error over the samples is not in the interval at all: standard_error=True would give it."
    drawn = Plot(panels=[Panel(series=[Series(x=[1], y=[1])], x_label="x", y_label="y")], caption=[found, limits])
    lines = words_on_page.caption(drawn, 7.5, 238.0)
    assert " ".join(lines).replace("\xa0", " ").startswith(found)
    assert lines[-1] == "The error over the samples is not in the interval at all."


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("kind", SPECIMENS)
def test_no_words_overlap_and_none_leave_the_page_in_all(kind: str, faults: Callable[[Figure], list[str]]) -> None:
    said = wrong([entry for entry in EVERY if entry[0] == kind], faults)
    assert not said, said
