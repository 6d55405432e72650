"""Is the page complete in itself, and does it hold each value in its place?"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from lossatlas.draw import draw, interactive
from lossatlas.draw.view import View, compile
from lossatlas.errors import SpecError
from lossatlas.results.landscape import with_standard_error
from lossatlas.untrusted import printable

Make = Callable[..., xr.Dataset]


class Elements(HTMLParser):
    """Collects elements, their attributes, and the text of scripts of data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.data = self.arrays = self.code = self.style = ""
        self.title = ""
        self._inside: tuple[str, dict[str, str | None]] = ("", {})
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = (tag, dict(attrs))
        self.found.append(self._inside)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ("", {})

    def handle_data(self, data: str) -> None:
        if self._inside == ("script", {"type": "application/json", "id": "data"}):
            self.data += data
        if self._inside == ("script", {"type": "application/octet-stream", "id": "arrays"}):
            self.arrays += data
        if self._inside == ("script", {}):
            self.code += data
        if self._inside == ("style", {}):
            self.style += data
        if self._inside[0] == "title":
            self.title += data


def content(page: str) -> dict[str, Any]:
    """What the page draws, with its arrays as lists."""
    elements = Elements(page)
    numbers = base64.b64decode(elements.arrays)

    def opened(part: Any) -> Any:
        if isinstance(part, dict) and set(part) == {"$"}:
            place, kind, shape = part["$"]
            dtype = {"f8": "<f8", "u1": "u1"}[kind]
            return np.frombuffer(numbers, dtype, int(np.prod(shape)), place).reshape(shape).tolist()
        if isinstance(part, dict):
            return {name: opened(inner) for name, inner in part.items()}
        return [opened(inner) for inner in part] if isinstance(part, list) else part

    found: dict[str, Any] = opened(json.loads(elements.data))
    return found


def test_values_are_indexed_row_by_row_with_x_along_the_row(tilted: xr.Dataset) -> None:
    (block,) = content(interactive.page(compile(tilted)))["blocks"]
    x, y = (axis["coordinates"] for axis in block["axes"])
    assert (len(x), len(y)) == (5, 3)
    (rows,) = block["values"]["loss"]
    assert rows == [[a + 10 * b for a in x] for b in y]


def test_a_map_of_curvature_comes_with_its_own_grid(make: Make) -> None:
    ratio = np.arange(6.0).reshape(3, 2) / 10
    status = np.array([[1, 1], [3, 1], [1, 0]])
    found = make(ratio, x=[-1, 0, 1], y=[-0.5, 0.5], metrics={"ratio": ratio}, status=status)
    (block,) = content(interactive.page(compile(make(np.zeros((9, 7))), View(ratio=found))))["blocks"]
    assert (block["ratio"]["x"], block["ratio"]["y"]) == ([-1, 0, 1], [-0.5, 0.5])
    values = np.array(block["ratio"]["values"])
    assert values.shape == (2, 3)
    assert np.array_equal(values[status.T == 1], ratio.T[status.T == 1])
    assert block["ratio"]["status"] == status.T.tolist()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"lengths": (2.0, 4.0)}, "axis y has length 4.0 there and 3.0 here"),
        ({"seed": 1}, "seed is 1 there and not known here"),
        ({"model": "B"}, "model is B there and A here"),
        ({"data": "D"}, "data is D there and not known here"),
    ],
)
def test_a_map_of_another_plane_is_refused_with_what_differs(make: Make, other: dict[str, Any], said: str) -> None:
    values = np.zeros((3, 3))
    found = make(values, metrics={"ratio": values}, **{"model": "A", **other})
    with pytest.raises(SpecError, match=f"not of this plane: {said}"):
        compile(make(np.zeros((5, 5)), model="A"), View(ratio=found))


def test_only_a_page_takes_a_map_of_curvature(make: Make, tmp_path: Path) -> None:
    values = np.zeros((3, 3))
    surface, found = make(values), make(values, metrics={"ratio": values})
    for name in ("a.png", "a.glb"):
        with pytest.raises(SpecError, match="only a page"):
            draw(surface, tmp_path / name, ratio=found)
    with pytest.raises(SpecError, match="only a page"):
        draw(surface, tmp_path / "a.png", ratio=found, render=True)
    with pytest.raises(SpecError, match="one landscape"):
        draw([surface, surface], tmp_path / "a.html", ratio=found)
    with pytest.raises(SpecError, match="no value 'ratio'"):
        draw(surface, tmp_path / "a.html", ratio=surface)


def test_a_volume_is_indexed_by_its_third_axis_first(volume: xr.Dataset) -> None:
    (block,) = content(interactive.page(compile(volume)))["blocks"]
    x, y, z = (axis["coordinates"] for axis in block["axes"])
    assert block["values"]["loss"] == [[[a + 10 * b + 100 * c for a in x] for b in y] for c in z]


def test_nothing_is_loaded_from_a_network(bowl: xr.Dataset) -> None:
    page = interactive.page(compile(bowl))
    for tag, attributes in Elements(page).found:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:"), f"<{tag} {name}={attributes.get(name)!r}>"
    own = page[: page.index("<style>")] + page[page.index("</style>") : page.index('<script type="application/json"')]
    assert not re.search(r"https?:|//[a-z]+\.[a-z]|@import|url\((?!data:)", own + interactive._resource("atlas.css"))


def test_the_page_runs_its_own_code_alone(bowl: xr.Dataset) -> None:
    elements = Elements(interactive.page(compile(bowl)))
    (policy,) = [
        attributes["content"] or "" for tag, attributes in elements.found if attributes.get("http-equiv") is not None
    ]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    codes = (elements.code, interactive._resource("third.js"))
    for texts, directive in ((codes, "script-src"), ((elements.style,), "style-src")):
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert "".join([directive, *(f" 'sha256-{digest}'" for digest in digests), ";"]) in policy


def test_a_surface_of_51_by_51_weighs_less_than_900_kb(make: Make) -> None:
    page = interactive.page(compile(make(np.random.default_rng(0).normal(size=(51, 51)))))
    assert len(page.encode()) < 900_000


def test_the_code_cannot_end_its_element(bowl: xr.Dataset) -> None:
    assert not re.search(r"</script|<!--", interactive._resource("atlas.js"), re.IGNORECASE)


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \u2028 {{code}} <!-- "
NAME = "<img src=x onerror=alert(2)> & {{code}} <!-- "  # what a value may be called


def test_what_users_wrote_cannot_become_part_of_the_page(make: Make) -> None:
    values = np.arange(12.0).reshape(4, 3)
    landscape = make(values, title=HOSTILE, model=HOSTILE, data=HOSTILE, metrics={NAME: values})
    page = interactive.page(compile(landscape, View(title=HOSTILE)))
    tame = make(values, title="a", model="b", data="c", metrics={"d": values})
    plain = interactive.page(compile(tame, View(title="e")))
    assert [tag for tag, _ in Elements(page).found] == [tag for tag, _ in Elements(plain).found]
    assert content(page)["blocks"][0]["title"] == printable(HOSTILE)
    assert Elements(page).title == printable(HOSTILE)  # a heading has one line
    assert "<img src=x" not in page


def test_every_cell_keeps_its_value_and_its_status(make: Make) -> None:
    loss = np.arange(12.0).reshape(4, 3)
    loss[1, 2], loss[3, 0] = np.nan, np.inf
    status = np.where(np.isfinite(loss), 1, 2)
    status[0, 0] = 3
    data = content(interactive.page(compile(make(loss, status=status))))
    (block,) = data["blocks"]
    assert np.array_equal(np.array(block["values"]["loss"])[0].T, loss, equal_nan=True)
    assert np.array_equal(np.array(block["status"])[0].T, status)
    assert {number: data["reasons"][number] for number in "023"} == {
        "0": "not sampled", "2": "not finite", "3": "failed"
    }  # fmt: skip


def test_what_is_said_of_errors_stands_beside_the_value(make: Make) -> None:
    landscape = make(np.arange(12.0).reshape(4, 3), samples=5)
    with_standard_error(landscape, "loss", np.arange(12.0).reshape(4, 3) / 100)
    (block,) = content(interactive.page(compile(landscape)))["blocks"]
    assert np.array(block["errors"]["loss"]["standard error"])[0].T[3, 2] == 0.11


def test_where_it_comes_from_is_on_the_page(bowl: xr.Dataset) -> None:
    (facts,) = content(interactive.page(compile(bowl)))["facts"]
    assert (facts["model"], facts["samples"], facts["seed"]) == ("Quadratic", "1500", "7")


def test_both_scales_with_and_without_clip_are_there_for_every_value(bowl: xr.Dataset) -> None:
    data = content(interactive.page(compile(bowl)))
    switches = [(scale, clip) for scale in ("linear", "log") for clip in ("clip", "whole")]
    assert set(data["looks"]) == {f"{scale}|{clip}|{value}" for scale, clip in switches for value in ("loss", "error")}


def test_the_page_opens_with_the_range_of_the_scene(make: Make) -> None:
    values = np.append(np.linspace(0.1, 2, 19), 1e10).reshape(5, 4)
    scene = compile(make(values))
    data = content(interactive.page(scene))
    scale = "log" if data["log"] else "linear"
    look = data["looks"][f"{scale}|{'clip' if data['clip'] else 'whole'}|loss"]
    assert (look["low"], look["high"]) == (scene.range.low, scene.range.high)
    assert look["words"] == scene.caption.shown
    assert data["looks"][f"{scale}|whole|loss"]["high"] == 1e10


def test_curves_carry_median_and_band(line: Make) -> None:
    scene = compile([line([1.0, 5.0, np.nan]), line([3.0, 4.0, np.nan])])
    (curve,) = content(interactive.page(scene))["curves"]
    assert np.array_equal(curve["median"]["loss"], [2.0, 4.5, np.nan], equal_nan=True)
    assert np.array_equal(curve["band"]["loss"], [[1.0, 4.0, np.nan], [3.0, 5.0, np.nan]], equal_nan=True)
    assert curve["empty"]["loss"] == [[0.75, 1.0, "not finite"]]


def test_caption_and_caveat_are_on_the_page(bowl: xr.Dataset) -> None:
    caption = content(interactive.page(compile(bowl)))["caption"]
    assert "filter-normalised" in caption["about"]
    assert caption["caveat"] == "A slice that looks convex does not prove that the loss is."


def test_the_same_scene_gives_the_same_page(bowl: xr.Dataset, tmp_path: Path) -> None:
    interactive.write(compile(bowl), tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == interactive.page(compile(bowl))
