"""Landscapes with known values."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.text import Text

from lossatlas.results.landscape import About, Axis, build

Make = Callable[..., xr.Dataset]


@pytest.fixture
def make() -> Make:
    """Build a Landscape with two axes from values [nx, ny]; keywords become metrics or its description."""

    def made(
        values: Any,
        *,
        x: Any = None,
        y: Any = None,
        lengths: tuple[float, float] = (2.0, 3.0),
        status: Any = None,
        metrics: dict[str, Any] | None = None,
        **about: Any,
    ) -> xr.Dataset:
        loss = np.asarray(values, float)
        xs = np.linspace(-1, 1, loss.shape[0]) if x is None else np.asarray(x, float)
        ys = np.linspace(-1, 1, loss.shape[1]) if y is None else np.asarray(y, float)
        axes = {
            "x": Axis(coordinates=xs, length=lengths[0], label="random direction (seed 0)"),
            "y": Axis(coordinates=ys, length=lengths[1], label="random direction (seed 1)"),
        }
        return build(axes, {"loss": loss, **(metrics or {})}, status, about=About(**about))

    return made


@pytest.fixture
def tilted(make: Make) -> xr.Dataset:
    """loss = x + 10 y on a 5 x 3 grid: any swap of axes shows."""
    x, y = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), np.array([1.0, 2.0, 4.0])
    return make(x[:, None] + 10 * y[None, :], x=x, y=y, metrics={"error": x[:, None] * 0 + y[None, :] / 8})


@pytest.fixture
def bowl(make: Make) -> xr.Dataset:
    """loss = x^2 + y^2 + 0.1 on a 21 x 15 grid."""
    x, y = np.linspace(-1, 1, 21), np.linspace(-1, 1, 15)
    loss = x[:, None] ** 2 + y[None, :] ** 2 + 0.1
    return make(
        loss,
        metrics={"error": loss / 4},
        title="Bowl",
        model="Quadratic",
        data="none",
        loss="cross_entropy",
        samples=1500,
        normalisation="filter",
        still=("bias", "norm"),
        batchnorm="frozen",
        seed=7,
        centre={"loss": 0.1},
    )


@pytest.fixture
def line() -> Make:
    """Build a Landscape with one axis."""

    def made(values: Any, *, t: Any = None, title: str = "A", metrics: Any = None, **about: Any) -> xr.Dataset:
        loss = np.asarray(values, float)
        coordinates = np.linspace(0, 1, len(loss)) if t is None else np.asarray(t, float)
        axis = Axis(coordinates=coordinates, length=4.0, label="towards B")
        return build({"t": axis}, {"loss": loss, **(metrics or {})}, about=About(title=title, **about))

    return made


@pytest.fixture
def volume() -> xr.Dataset:
    """loss = x + 10 y + 100 z on a 4 x 3 x 5 grid."""
    x, y, z = np.array([-1.0, 0.0, 1.0, 2.0]), np.array([0.0, 1.0, 3.0]), np.array([-0.5, 0.1, 1.0, 1.5, 2.0])
    loss = x[:, None, None] + 10 * y[None, :, None] + 100 * z[None, None, :]
    axes = {name: Axis(coordinates=c, length=1.0) for name, c in (("x", x), ("y", y), ("z", z))}
    return build(axes, {"loss": loss})


@pytest.fixture
def faults() -> Callable[[Figure], list[str]]:
    """What is wrong with the words of a figure: those that overlap, and those that leave the page."""
    return _faults


def _faults(figure: Figure) -> list[str]:
    from lossatlas.draw import static

    with static.own_settings():
        figure.draw_without_rendering()
        boxes = [(text.get_text(), text.get_window_extent()) for text in _drawn_texts(figure)]
    page, found = figure.bbox, []
    for words, box in boxes:
        if max(page.x0 - box.x0, box.x1 - page.x1, page.y0 - box.y0, box.y1 - page.y1) > 1:
            found.append(f"{words!r} is cut off")
    for (words, box), (other, other_box) in combinations(boxes, 2):
        width = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
        height = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
        # A box includes room above and below the letters.
        if width > 1.0 and height > 0.3 * min(box.height, other_box.height):
            found.append(f"{words!r} lies on {other!r}")
    return found


def _drawn_texts(figure: Figure) -> list[Text]:
    """All texts that are drawn; a tick outside the limits has a label that never is."""
    every = [axes for parent in figure.axes for axes in (parent, *parent.child_axes)]
    flat = [axes for axes in every if getattr(axes, "name", "") != "3d"]
    axises = [axis for axes in flat for axis in axes._axis_map.values()]
    known = [tick for axis in axises for tick in (*axis.majorTicks, *axis.minorTicks)]
    labels = {id(label) for tick in known for label in (tick.label1, tick.label2)}
    ticks = [tick for axis in axises if axis.get_visible() for tick in axis._update_ticks()]
    shown = [label for tick in ticks for label in (tick.label1, tick.label2)]
    others = [text for text in figure.findobj(Text) if id(text) not in labels]
    return [text for text in (*shown, *others) if text.get_visible() and text.get_text()]
