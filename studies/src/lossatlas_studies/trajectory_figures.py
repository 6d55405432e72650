"""How are the paths of training runs shown? On their planes, with variance beside a random walk's, and angles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from lossatlas.figure.overlays import Path
from lossatlas.figure.plot import Mark, Panel, Plot, Series
from lossatlas.paths.findings import PathLosses
from lossatlas_studies.measures import percent
from lossatlas_studies.study import Figure, Numbers

if TYPE_CHECKING:
    from lossatlas_studies.trajectories import Course

CLIP = 12.0
Shown = tuple[PathLosses, list[xr.Dataset], np.ndarray]


def figures(ways: Sequence[Course], shown: Mapping[str, Shown], kinds: Mapping[str, Any]) -> list[Figure]:
    """All figures of the study."""
    return [
        Figure(
            name="variance",
            shown=_variance(ways, kinds),
            words="How much of a path two directions hold, and how much they would hold of a random walk.",
        ),
        *(_plane(label, *found) for label, found in shown.items()),
        Figure(
            name="angles",
            shown=_angles(ways, kinds),
            words="Which way the path goes in the principal plane: 1 is straight down the surface, 0 along a contour, "
            "-1 straight up.",
        ),
        Figure(
            name="losses",
            shown=_losses({label: found[0] for label, found in shown.items()}),
            words="The loss of the first network of each kind, beside that of the surface below it, and how far it is "
            "from the plane.",
        ),
    ]


def _plane(label: str, along: PathLosses, landscapes: list[xr.Dataset], random: np.ndarray) -> Figure:
    overlays = [
        replace(along.overlay(), panel=0),
        Path(x=random[:, 0], y=random[:, 1], label="the same path over random directions", panel=1),
    ]
    return Figure(
        name=f"path-{label.lower().replace(', ', '-').replace(' ', '-')}",
        shown=landscapes,
        words=f"{label}: the path of the first training over the surface in its principal plane, and in a plane of two "
        "random directions of the same extent. Hollow: first checkpoint; full: last.",
        view={"kind": "filled", "scale": "log", "clip": CLIP, "levels": 20, "overlays": overlays},
    )


def _variance(ways: Sequence[Course], kinds: Mapping[str, Any]) -> Plot:
    place = np.arange(len(kinds), dtype=float)
    own = [[way for way in ways if way.kind == label] for label in kinds]
    shares = [np.array([100 * way.numbers["share"] for way in group]) for group in own]
    walks = [[100 * float(np.mean([w.numbers[n] for w in group])) for n in ("walk", "low", "high")] for group in own]
    middle, low, high = np.array(walks).T
    series = [
        Series(
            x=place, y=np.array([s.mean() for s in shares]), low=np.array([s.min() for s in shares]),
            high=np.array([s.max() for s in shares]), style="bars", color=0,
            label="trainings: mean, smallest and largest",
        ),
        Series(
            x=place, y=middle, low=low, high=high, style="points", color=1,
            label="random walks with the same step lengths: mean and 95 %",
        ),
    ]  # fmt: skip
    panel = Panel(
        series=series,
        x_label="",
        y_label="variance along the first two directions (%)",
        x_ticks=[(float(i), label) for i, label in enumerate(kinds)],
    )
    return Plot(panels=[panel], caption=[f"{len(own[0])} trainings of each kind; variance about the mean of a path."])


def _angles(ways: Sequence[Course], kinds: Mapping[str, Any]) -> Plot:
    series = []
    for number, label in enumerate(kinds):
        own = np.array([way.cosines for way in ways if way.kind == label])
        epochs = np.arange(own.shape[1]) + 0.5
        series.append(Series(x=epochs, y=own.mean(axis=0), label=label, color=number))
    rates = ways[0].rates
    marks = [Mark(x=float(i), label="lr ÷ 10" if first else "") for first, i in _firsts(rates[1:] < rates[:-1])]
    panel = Panel(
        series=series, x_label="epoch", y_label="cosine of step and downward slope", marks=[Mark(y=0.0), *marks]
    )
    return Plot(panels=[panel], caption=["Means over the trainings of a kind, in the principal plane of each."])


def _firsts(falls: np.ndarray) -> list[tuple[bool, int]]:
    return [(number == 0, int(i)) for number, i in enumerate(np.flatnonzero(falls))]


def _losses(shown: Mapping[str, PathLosses]) -> Plot:
    losses, off = [], []
    for number, (label, along) in enumerate(shown.items()):
        x = np.arange(len(along.own["loss"]))
        losses.append(Series(x=x, y=along.own["loss"], label=label, color=number))
        losses.append(Series(x=x, y=along.surface["loss"], color=number, dashed=True))
        off.append(Series(x=x, y=along.projected.residual, color=number))
    return Plot(
        panels=[
            Panel(series=losses, x_label="epoch", y_label="training loss", y_scale="log"),
            Panel(series=off, x_label="epoch", y_label="distance from the plane, parameter norm"),
        ],
        caption=["Solid: the networks. Dashed: the surface at the nearest point of the principal plane."],
    )


def tables(ways: Sequence[Course]) -> list[Numbers]:
    """All that is known about each path: about its variance, and about the surface below it."""
    return [
        Numbers(
            name="trainings",
            rows=[_variance_row(way) for way in ways],
            note="Two directions: variance of the first two components about the mean of the path; random walk: mean "
            "of walks with the same step lengths (95 % of them). About the last: the same about the last checkpoint. "
            "Random plane: share of the variance, and in units of 2/P.",
        ),
        Numbers(
            name="surfaces",
            rows=[_surface_row(way) for way in ways],
            note="Cosine of step and downward slope: mean before and after the learning rate first falls. Off the "
            "plane: largest distance, as a share of the path's extent. Loss hidden: mean factor by which the loss of "
            "the network exceeds that of the surface.",
        ),
    ]


def _variance_row(way: Course) -> dict[str, str]:
    found = way.numbers
    return {
        "training": f"{way.kind}, seed {way.seed}",
        "training loss": f"{way.scores['train_loss']:.2g}",
        "test error": percent(way.scores["test_error"]),
        "two directions": percent(found["share"]),
        "random walk": f"{percent(found['walk'])} ({percent(found['low'])} to {percent(found['high'])})",
        "about the last": f"{percent(found['last'])}, walk {percent(found['last_walk'])}",
        "random plane": f"{100 * found['random']:.2g} % ({found['ratio']:.2f})",
    }


def _surface_row(way: Course) -> dict[str, str]:
    parts = {"before": way.cosines[: way.drop], "after": way.cosines[way.drop :]}
    known = {name: values[np.isfinite(values)] for name, values in parts.items()}
    return {
        "training": f"{way.kind}, seed {way.seed}",
        **{f"cosine {name}": f"{values.mean():.2f}" if len(values) else "" for name, values in known.items()},
        "off the plane": percent(float(way.off.max() / way.far.max())),
        "loss hidden": f"{10**way.hidden:.2g}",
    }
