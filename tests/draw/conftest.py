"""Landscapes with known values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

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
