"""What does a Landscape show where nothing has been evaluated yet? Interpolated values, each with a stated error."""

from __future__ import annotations

import functools

import numpy as np
import xarray as xr

from lossatlas.field.stated import view
from lossatlas.figure.ranges import choose
from lossatlas.results.landscape import Status, complete, value_names
from lossatlas.sampling import surrogate
from lossatlas.sampling.shown import Show

__all__ = ["interpolated", "preview"]


def interpolated(
    landscape: xr.Dataset, show: Show = choose, fresh: np.ndarray | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Values and stated errors of all cells, from those that were evaluated.

    Args:
        landscape: with cells that were not sampled.
        show: how the loss is shown; metrics are shown linearly.
        fresh: int64, those of the evaluated cells that were drawn at random; by default none was.

    Returns:
        By value, float64 [cells] in C order: the values, and the errors as shares of the shown range. Both are empty
        where no cell is left to fill, or too few were evaluated for an estimate.
    """
    status = landscape["status"].values
    known = np.flatnonzero(status.ravel() == Status.OK)
    if not (status == Status.NOT_SAMPLED).any() or len(known) < surrogate.fewest(status.ndim):
        return {}, {}
    cells = surrogate.places(status.shape)
    found = {
        name: surrogate.estimate(cells, known, landscape[name].values.ravel()[known], _shown(name, show), fresh=fresh)
        for name in value_names(landscape)
    }
    return {name: one.values for name, one in found.items()}, {name: one.errors for name, one in found.items()}


def _shown(name: str, show: Show) -> Show:
    return show if name == "loss" else functools.partial(choose, scale="linear", clip=None)


def preview(landscape: xr.Dataset) -> xr.Dataset:
    """A first picture of an unfinished run: the missing cells, interpolated and marked as such.

    Args:
        landscape: of an unfinished run.

    Returns:
        A Landscape whose caption says how much of it was evaluated; unchanged where nothing is missing, or too little
        is known.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = np.linspace(-1, 1, 9)
        >>> axes = {"x": Axis(coordinates=x, length=1.0)}
        >>> coarse = build(axes, {"loss": np.where(np.arange(9) % 2, np.nan, x**2)}, (np.arange(9) + 1) % 2)
        >>> bool(np.allclose(preview(coarse)["loss"], x**2))
        True
    """
    filled, errors = interpolated(landscape)
    if not filled:
        return landscape
    status = landscape["status"].values
    evaluated = int((status != Status.NOT_SAMPLED).sum())
    whole = np.where(status == Status.NOT_SAMPLED, filled["loss"].reshape(status.shape), landscape["loss"].values)
    verdict = f"unfinished: {evaluated} of {status.size} points evaluated, the others interpolated and not checked"
    facts = {"kind": "unfinished", "scale": "auto", "clip": "auto", "evaluated": evaluated, "cells": status.size}
    shown = view(choose(whole[np.isfinite(whole)]))
    return complete(landscape, filled, errors, facts | {"view": shown, "verdict": verdict})
