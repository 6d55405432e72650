"""What is measured around a tuned language model, and between two: planes, radii, ways, and the numbers of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import lossatlas as la
from lossatlas.connect.barriers import height
from lossatlas.flatness.kendall import kendall
from lossatlas.results import landscape as schema
from lossatlas.results.intervals import clopper_pearson
from lossatlas_studies.begun_words import Problems
from lossatlas_studies.images import Row
from lossatlas_studies.stages import Bench
from lossatlas_studies.tuning import SEEDS, Tuned, moved, objective

LANDSCAPE = "landscape.nc"

NORMAL = 1.96
"""Standard errors to either end of a 95 % interval."""

ONE = {kind: f"one {kind} start" for kind in SEEDS}
TWO = {kind: f"two {kind} starts" for kind in SEEDS}


@dataclass(frozen=True, kw_only=True)
class Around:
    """How a network's landscape is measured.

    Attributes:
        points: along each axis of a plane.
        line_points: of a line.
        way_points: of the way between two networks.
        span: planes and lines go from minus to plus this, in multiples of their directions.
        rise: of the loss, at which the radius and the valley end.
        directions: for each radius.
    """

    points: int
    line_points: int
    way_points: int
    span: float
    rise: float
    directions: int


def plane(bench: Bench, one: Tuned, task: Problems, look: Around) -> xr.Dataset:
    """Loss and score around a network along two random directions, from one pass at each point."""
    ends = (-look.span, look.span, look.points)
    return _sampled(bench, "plane", one, task, {"x": ends, "y": ends})


def line(bench: Bench, one: Tuned, task: Problems, look: Around) -> xr.Dataset:
    """The same along one random direction, with more points."""
    return _sampled(bench, "line", one, task, {"x": (-look.span, look.span, look.line_points)})


def _sampled(bench: Bench, what: str, one: Tuned, task: Problems, axes: Mapping[str, Any]) -> xr.Dataset:
    seed = int(one.key["recipe"]["seed"])

    def stage(folder: Path) -> Mapping[str, Any]:
        here = objective(one.model, task, name=f"{one.start.kind} start")
        chosen = la.Plane.random(here, seed=seed, axes=tuple(axes))
        found = la.sample(here, chosen, la.Grid(**axes), run=folder / "run", progress=False)
        schema.save(found, folder / LANDSCAPE)
        return {}

    key = {"network": dict(one.key), "axes": {name: list(ends) for name, ends in axes.items()}, "seed": seed}
    return schema.load(bench.stage(f"{what} of {one.name}", key, stage).folder / LANDSCAPE)


def radius(bench: Bench, one: Tuned, task: Problems, look: Around) -> float:
    """How far one walks along random directions until the loss has risen."""

    def stage(folder: Path) -> Mapping[str, Any]:
        here = objective(one.model, task)
        found = la.sharpness.radius(here, rise=look.rise, directions=look.directions)
        return {"radius": found.value, "note": found.note}

    key = {"network": dict(one.key), "rise": look.rise, "directions": look.directions}
    return float(bench.stage(f"radius of {one.name}", key, stage).result["radius"])


@dataclass(frozen=True, kw_only=True)
class Link:
    """The straight line between two tuned networks.

    Attributes:
        kind: what the two were tuned from.
        ends: their names.
        landscape: loss and score along the way.
        apart: distance of the two, as a share of the first one's length.
        train_loss: the larger one of the two ends.
    """

    kind: str
    ends: tuple[str, str]
    landscape: xr.Dataset
    apart: float
    train_loss: float


def pairs(networks: list[Tuned]) -> list[tuple[str, Tuned, Tuned]]:
    """Which two networks are joined: the two of each start, and the first of each with the second of the next start."""
    found = []
    for kind in SEEDS:
        numbers = sorted({one.start.number for one in networks if one.start.kind == kind})
        at = {(one.start.number, one.run): one for one in networks if one.start.kind == kind}
        found += [(ONE[kind], at[n, 0], at[n, 1]) for n in numbers]
        around = zip(numbers, numbers[1:] + numbers[:1], strict=True)
        found += [(TWO[kind], at[n, 0], at[m, 1]) for n, m in around if n != m]
    return found


def way(bench: Bench, kind: str, a: Tuned, b: Tuned, task: Problems, look: Around) -> Link:
    """Loss and score on the straight line between two networks."""

    def stage(folder: Path) -> Mapping[str, Any]:
        here = objective(a.model, task, name=kind)
        found = la.interpolate(here, a.model, b.model, steps=look.way_points, run=folder / "run", progress=False)
        schema.save(found, folder / LANDSCAPE)
        return {"apart": moved(a.model, b.model)}

    key = {"a": dict(a.key), "b": dict(b.key), "points": look.way_points}
    done = bench.stage(f"way from {a.name} to {b.name}", key, stage)
    return Link(
        kind=kind,
        ends=(a.name, b.name),
        landscape=schema.load(done.folder / LANDSCAPE),
        apart=done.result["apart"],
        train_loss=max(a.scores["train_loss"], b.scores["train_loss"]),
    )


def plateau(scores: np.ndarray, number: int) -> np.ndarray:
    """Where a score is within the 95 % interval of the best one, so that this many problems cannot tell the two apart.

    Args:
        scores: share of the problems that are solved, any shape.
        number: of problems.

    Returns:
        bool, shaped like the scores.

    Example:
        >>> plateau(np.array([1.0, 0.99, 0.9]), 100).tolist()
        [True, True, False]
    """
    low, _ = clopper_pearson(np.nanmax(np.asarray(scores, np.float64), keepdims=True), number)
    found: np.ndarray = scores >= low - 1e-12
    return found


def row(one: Tuned, field: xr.Dataset, distance: float, *, number: int, rise: float) -> Row:
    """The numbers of a network: its radius, and what its plane says about loss and score.

    Args:
        one: the network.
        field: its plane.
        distance: its radius.
        number: of problems behind each score.
        rise: of the loss, at which the valley ends.
    """
    loss, score = field["loss"].values, field["solved"].values
    centre = one.scores["train_loss"]
    level, valley = plateau(score, number), loss < centre + rise
    return Row(
        label=one.name,
        of={"kind": one.start.kind, "start": one.start.name},
        seed=one.run,
        scores=dict(one.scores),
        bend=0.0,
        valley=float(valley.mean()),
        extra={
            "radius": distance,
            "plateau": float(level.mean()),
            "loss_plateau": float((loss <= centre + NORMAL * one.scores["train_error"]).mean()),
            "risen": float((~valley & level).mean()),
            "fallen": float((valley & ~level).mean()),
            "tau": kendall(-loss.ravel(), score.ravel()),
        },
    )


def joined(one: Link) -> Row:
    """The numbers of a way: barriers of the loss and of the share of problems that are not solved."""
    missed = one.landscape.assign(missed=1 - one.landscape["solved"])
    return Row(
        label=" to ".join(one.ends),
        of={"kind": one.kind},
        seed=0,
        scores={"train_loss": one.train_loss},
        bend=0.0,
        extra={
            "barrier": height(one.landscape).height,
            "score_barrier": height(missed, "missed").height,
            "apart": one.apart,
        },
    )
