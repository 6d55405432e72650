r"""How far may a landscape be off? The spread over direction seeds, and whether two models differ by more than that.

Two things are uncertain in a picture. One is the samples: another draw of the data gives other means, to within the
standard error that ``sample(..., standard_error=True)`` puts beside every cell. The other is the directions: another
seed gives another plane. This module is about the second, and adds the first where it is known.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError, unknown
from lossatlas.field.comparison import FEW, Comparison, caveat_of, in_words, titles_of, welch
from lossatlas.figure.words import number, percent
from lossatlas.oneline import number_of, one_line
from lossatlas.results import reading
from lossatlas.results.landscape import About, Axis, Status, axis_names, build, structured, value_names
from lossatlas.results.store import SPEC

__all__ = ["BELOW", "FEW", "LOGARITHMIC", "SPREAD", "Comparison", "Seeds", "compare", "seed_folders"]

LOGARITHMIC = 30.0
"""From this ratio of the largest to the smallest value on, the mean of the logarithm is compared."""

SPREAD = "_spread"
BELOW = "seed-"


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """The same scan along several random directions.

    Attributes:
        runs: a Landscape for each seed, all on one grid.
        seeds: the seeds, in the same order.

    Raises:
        SpecError: there are fewer than two runs, one is there twice, or their grids or models differ.
    """

    runs: tuple[xr.Dataset, ...]
    seeds: tuple[int, ...]

    __repr__ = one_line

    def __post_init__(self) -> None:
        _check_alike(self.runs)
        if len({value_names(run) for run in self.runs}) > 1:
            raise SpecError("the runs have different values; measure the same in all of them")
        titles = {(str(run.attrs.get("title")), str(run.attrs.get("model")), _origin(run)) for run in self.runs}
        if len(titles) > 1:
            raise SpecError(f"runs are of different models ({', '.join(sorted(title for title, *_ in titles))})")
        _check_apart(self.runs, self.seeds)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Seeds:
        """The runs below a folder that :func:`lossatlas.seeds` wrote.

        Returns:
            The runs, side by side.

        Raises:
            SpecError: the folder has no such runs.
        """
        found = {int(path.name.removeprefix(BELOW)): path for path in seed_folders(folder)}
        if not found:
            raise SpecError(
                f"{folder} has no runs seed-0, seed-1, …; lossatlas.seeds(..., run=folder), or "
                "lossatlas sample --seeds K --run FOLDER, makes them"
            )
        return cls(runs=tuple(reading.open(found[seed]) for seed in sorted(found)), seeds=tuple(sorted(found)))

    @property
    def title(self) -> str:
        """What the model is called."""
        return str(self.runs[0].attrs.get("title") or "model")

    def values(self, value: str = "loss") -> np.ndarray:
        """All runs, float64 [seeds, …cells]; NaN stays NaN."""
        return np.stack([run[value].values for run in self.runs])

    def mean(self, value: str = "loss") -> xr.DataArray:
        """The mean over seeds at every cell; NaN where a run has no finite value there."""
        return self._cells(value, self._finite(value).mean(axis=0))

    def median(self, value: str = "loss") -> xr.DataArray:
        """The median over seeds at every cell; NaN where a run has no value."""
        return self._cells(value, np.median(self.values(value), axis=0))

    def spread(self, value: str = "loss") -> xr.DataArray:
        """The standard deviation over seeds at every cell, with K - 1; NaN where a run has no finite value there."""
        return self._cells(value, self._finite(value).std(axis=0, ddof=1))

    def _finite(self, value: str) -> np.ndarray:
        found = self.values(value)
        return np.where(np.isfinite(found), found, np.nan)

    def _cells(self, value: str, array: np.ndarray) -> xr.DataArray:
        return self.runs[0][value].copy(data=array)

    @property
    def shown(self) -> tuple[xr.Dataset, ...] | xr.Dataset:
        """What a picture shows: for a line all runs, as median and band; for a plane the medians."""
        return self.runs if self.runs[0]["status"].ndim == 1 else self.landscape

    @property
    def landscape(self) -> xr.Dataset:
        """A Landscape of medians, with ``loss_spread`` and the like: the standard deviation over seeds.

        ``la.draw(found.landscape, "median.png")``, and ``value="loss_spread"`` draws the spread.
        """
        first, k = self.runs[0], len(self.runs)
        values: dict[str, np.ndarray] = {}
        for name in value_names(first):
            values[name] = self.median(name).values
        for name in value_names(first):
            values[name + SPREAD] = self.spread(name).values
        axes = {
            name: Axis(
                coordinates=first[name].values,
                length=float(np.mean([run[name].attrs["length"] for run in self.runs])),
                label=f"{k} random directions",
            )
            for name in axis_names(first)
        }
        about = replace(_about(first), title=f"{self.title}, {k} direction seeds", cosines={}, seed=None)
        found = build(axes, values, self._status(), about=about)
        found.attrs["sampling"] = _verdict(self)
        for name in value_names(first):
            found[name + SPREAD].attrs["long_name"] = f"standard deviation of {name} over {number_of(k, 'seed')}"
        return found

    def _status(self) -> np.ndarray:
        """Ok where all runs are; otherwise the status of the first run that is not."""
        table = np.stack([run["status"].values for run in self.runs])
        fine = np.isin(table, (Status.OK, Status.INTERPOLATED))
        which = np.argmin(fine, axis=0)
        bad = np.take_along_axis(table, which[None], axis=0)[0]
        whole = np.where((table == Status.INTERPOLATED).any(axis=0), Status.INTERPOLATED, Status.OK)
        return np.asarray(np.where(fine.all(axis=0), whole, bad), np.int8)

    def summary(self, value: str = "loss", scale: Literal["linear", "log"] = "linear") -> np.ndarray:
        """One number for each seed: the mean over the grid's finite cells, of the value or of its logarithm, [K]."""
        cells = np.isfinite(self.values(value)).all(axis=0)
        return _summaries(self.values(value)[:, cells], scale)

    def words(self, value: str = "loss") -> str:
        """Mean and spread in a sentence.

        Returns:
            The sentence.

        Raises:
            SpecError: no cell is finite in all runs.
        """
        per_seed = self.summary(value)
        if not np.isfinite(per_seed).all():
            raise SpecError(f"{value} is finite in no cell of all {len(self.runs)} runs; there is no spread to report")
        mean, spread = self.mean(value), self.spread(value)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (spread / np.abs(mean)).values
        share = share[np.isfinite(share)]  # where the mean is 0 no share of it makes sense
        at = np.unravel_index(int(np.nanargmax(spread.values)), spread.shape)
        place = ", ".join(f"{axis} = {number(float(mean[axis][i]))}" for axis, i in zip(mean.dims, at, strict=True))
        typical = percent(float(np.median(share)) if len(share) else 0.0)
        return (
            f"{value} of {self.title} over {len(self.runs)} direction seeds: mean over the grid "
            f"{number(per_seed.mean())} ± {number(per_seed.std(ddof=1), 2)} (standard deviation over seeds); "
            f"at a cell the seeds differ by {typical} of the mean (median over cells), "
            f"at most by {number(float(spread.values[at]), 2)} at {place}."
        )

    @property
    def caveat(self) -> str:
        """What the spread does not say."""
        few = f"{len(self.runs)} seeds determine their spread poorly. " if len(self.runs) < FEW else ""
        return (
            f"{few}The spread is over random directions only: another training run, other data or another "
            "normalisation may differ by more, and no random direction shows what happens along only a few directions."
        )


def compare(
    a: Seeds | Sequence[xr.Dataset],
    b: Seeds | Sequence[xr.Dataset],
    value: str = "loss",
    *,
    scale: Literal["auto", "linear", "log"] = "auto",
) -> Comparison:
    r"""Test whether two models differ by more than the spread over direction seeds.

    Each seed contributes one number, the mean over the grid. The numbers of the two models are compared by Welch's
    interval (Welch 1947, Biometrika 34); where standard errors over samples are known, their mean over the grid, which
    the error of the mean cannot exceed, is added:

    .. math:: \bar a - \bar b ± t_{0.975} \sqrt{s_a^2 / K_a + s_b^2 / K_b + e_a^2 + e_b^2}

    Args:
        a: the runs of one model.
        b: the runs of the other, on the same grid.
        value: the loss or a metric.
        scale: "linear", or "log" for the mean of the logarithm, so that a few high cells do not decide; "auto" chooses
            "log" where all values are positive and span more than a factor of 30.

    Returns:
        Difference and interval, in numbers and words.

    Raises:
        SpecError: a model has fewer than two runs, the grids differ, the value is unknown, or no cell is finite in all
            runs.

    Example:
        >>> axis = Axis(coordinates=np.linspace(-1, 1, 5), length=1.0)
        >>> def runs(steepness, title):
        ...     values = [(steepness + 0.1 * seed) * axis.coordinates**2 for seed in range(5)]
        ...     return [build({"x": axis}, {"loss": one}, about=About(title=title)) for one in values]
        >>> compare(runs(2.0, "sharp"), runs(1.0, "flat")).differ
        True
        >>> compare(runs(1.1, "A"), runs(1.0, "B")).differ
        False
    """
    if scale not in ("auto", "linear", "log"):
        raise SpecError(unknown("scale", scale, ("auto", "linear", "log")))
    sides = [_runs(side) for side in (a, b)]
    for side in sides:
        _check_alike(side)
    _check_alike([sides[0][0], sides[1][0]])
    shared = [name for name in value_names(sides[0][0]) if all(name in run for side in sides for run in side)]
    if value not in shared:
        raise SpecError(unknown("value", value, shared))
    tables = [np.stack([run[value].values for run in side]) for side in sides]
    cells = np.isfinite(np.concatenate(tables)).all(axis=0)
    if not cells.any():
        raise SpecError(f"{value} is finite in no cell of all runs; there is nothing to compare")
    tables = [table[:, cells] for table in tables]
    used = _scale(tables, scale)
    numbers = [_summaries(table, used) for table in tables]
    errors = [_sample_error(side, value, cells, used) for side in sides]
    difference, half = welch(numbers, errors)
    low, high = difference - half, difference + half
    ends = (difference, low, high) if used == "linear" else tuple(math.exp(end) for end in (difference, low, high))
    return Comparison(
        value=value,
        scale=used,
        difference=ends[0],
        low=ends[1],
        high=ends[2],
        differ=not low <= 0 <= high,
        words=in_words(sides, value, used, ends, differ=not low <= 0 <= high),
        caveat=caveat_of(sides, cells, errors),
        titles=titles_of(sides),
        means=(_plain(numbers[0], used), _plain(numbers[1], used)),
    )


def seed_folders(folder: str | os.PathLike[str]) -> list[Path]:
    """The run folders that :func:`lossatlas.seeds` made below a folder; empty where there are none."""
    there = [path for path in Path(folder).glob(f"{BELOW}*") if (path / SPEC).is_file()]
    return sorted(path for path in there if path.name.removeprefix(BELOW).lstrip("-").isdigit())


def _runs(side: Seeds | Sequence[xr.Dataset]) -> tuple[xr.Dataset, ...]:
    if isinstance(side, Seeds):
        return side.runs
    if isinstance(side, xr.Dataset):
        raise SpecError("a and b need several runs each, of different direction seeds; got one Landscape")
    runs = tuple(side) if isinstance(side, Iterable) else ()
    if not isinstance(side, Iterable) or not all(isinstance(run, xr.Dataset) for run in runs):
        raise SpecError(f"a and b are what seeds() returns, or a list of Landscapes each; got {type(side).__name__}")
    return runs


def _check_alike(runs: Sequence[xr.Dataset]) -> None:
    if len(runs) < 2:
        raise SpecError(f"{len(runs)} run has no spread; give at least two seeds, preferably {FEW}")
    first = runs[0]
    for run in runs[1:]:
        axes = axis_names(run)
        if axes != axis_names(first) or any(not np.array_equal(run[one].values, first[one].values) for one in axes):
            raise SpecError("the runs have different grids; sample all of them with one")


def _check_apart(runs: Sequence[xr.Dataset], seeds: Sequence[int]) -> None:
    """Two planes never have the same value in every cell, unless nothing moves in either."""
    if len(set(seeds)) < len(runs):
        raise SpecError(f"seeds={tuple(seeds)} of {len(runs)} runs; expected a different one for each")
    known: dict[bytes, int] = {}
    for seed, run in zip(seeds, runs, strict=False):
        values = run[value_names(run)[0]].values
        finite = values[np.isfinite(values)]
        twin = known.setdefault(values.tobytes(), seed)
        if twin != seed and (finite != finite[:1]).any():
            raise SpecError(
                f"the runs of seeds {twin} and {seed} are the same, so the spread would be too small; leave one out"
            )


def _origin(run: xr.Dataset) -> str:
    return str(structured(run, "provenance").get("fingerprints", {}).get("model", ""))


def _about(run: xr.Dataset) -> About:
    """What a run says about itself, except for what depends on its seed or its speed."""
    names = ("title", "model", "data", "loss", "samples", "normalisation", "batchnorm", "dtype", "device", "software")
    still = tuple(role for role in str(run.attrs.get("still", "")).split(",") if role)
    return About(
        **{name: run.attrs[name] for name in names},
        still=still,
        centre=structured(run, "centre"),
        counts={name: count | {"zero_one": False} for name, count in structured(run, "counts").items()},
    )


def _verdict(found: Seeds) -> str:
    seeds = ", ".join(map(str, found.seeds))
    verdict = f"medians over direction seeds {seeds}; …{SPREAD} is their standard deviation"
    return json.dumps({"kind": "seeds", "seeds": list(found.seeds), "verdict": verdict})


def _summaries(table: np.ndarray, scale: str) -> np.ndarray:
    """The mean over cells for each run, of the values or of their logarithms; table [K, cells]."""
    if not table.shape[1]:
        return np.full(len(table), np.nan)
    return np.asarray((np.log(table) if scale == "log" else table).mean(axis=1))


def _scale(tables: list[np.ndarray], scale: str) -> Literal["linear", "log"]:
    smallest, largest = min(t.min() for t in tables), max(t.max() for t in tables)
    if scale == "log" and smallest <= 0:
        raise SpecError(f"scale='log': the smallest value is {smallest:g}, which has no logarithm; use 'linear'")
    if scale == "log" or (scale == "auto" and smallest > 0 and largest > LOGARITHMIC * smallest):
        return "log"
    return "linear"


def _plain(means: np.ndarray, scale: str) -> tuple[float, ...]:
    """Means over the grid in the unit of the value."""
    return tuple((np.exp(means) if scale == "log" else means).tolist())


def _sample_error(side: Sequence[xr.Dataset], value: str, cells: np.ndarray, scale: str) -> float | None:
    """The mean over the grid of the standard error over samples; ``None`` where it is not known."""
    if any(f"{value}_se" not in run for run in side):
        return None
    errors = np.stack([run[f"{value}_se"].values[cells] for run in side])
    if scale == "log":
        errors = errors / np.stack([run[value].values[cells] for run in side])
    return float(errors.mean())
