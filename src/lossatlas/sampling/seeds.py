"""How much does a picture depend on its directions? One scan along several planes shows it."""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, described_type, path_of
from lossatlas.field.uncertainty import BELOW, Seeds
from lossatlas.objective.function import Measurable
from lossatlas.results.opening import name_kind
from lossatlas.sampling.run import sample
from lossatlas.sampling.samplers import Sampler
from lossatlas.space.charts import Plane
from lossatlas.space.facts import plane_identity
from lossatlas.space.inputs import InputPlane
from lossatlas.space.normalize import STILL, By

__all__ = ["seeds"]


def seeds(
    objective: Measurable,
    grid: Sampler,
    seeds: Iterable[int] | Iterable[Plane | InputPlane] = range(5),
    *,
    by: By = "filter",
    still: Iterable[str] = STILL,
    only: str | Iterable[str] = (),
    orthogonal: bool = False,
    run: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Seeds:
    """Sample one random plane for each seed, and report how far apart they are.

    Args:
        objective: what is measured.
        grid: which points, the same for all; its axes are those of the planes.
        seeds: seeds of the directions, at least two different ones; or the planes themselves, which then have their own
            normalisation, and are numbered by the seed of their recipe, or from 0 without one.
        by: normalisation, as for :meth:`lossatlas.Plane.random`, likewise the next three.
        still: roles of tensors that do not move.
        only: patterns of names of the tensors that may move.
        orthogonal: turn the directions of a plane until they are orthogonal.
        run: a folder below which each seed has a run folder, ``seed-0`` and so on. The same call resumes, and more
            seeds may be added later.
        **options: of :func:`lossatlas.sample`: ``standard_error``, ``plan``, ``precision``, ``block``, ``progress``,
            ``retry``, ``strict``.

    Returns:
        Mean, median and spread at every cell, words, and the runs: ``la.draw(found.runs, "band.png")`` draws a line
        as its median and a band, ``la.draw(found.landscape, "median.png")`` a plane's medians.

    Raises:
        SpecError: there are fewer than two seeds or planes, one is given twice, or an option makes no sense.
        RunMismatchError: a folder holds another run.

    Example:
        >>> import torch, lossatlas as la
        >>> net, (x, y) = la.zoo.model("mlp", widths=(64, 8, 10)), la.zoo.data("digits")
        >>> objective = la.Objective(net, (x[:50].flatten(1), y[:50]), loss=torch.nn.functional.cross_entropy)
        >>> found = la.seeds(objective, la.Grid(x=(-1, 1, 5)), seeds=range(3))
        >>> found.mean().dims, float(found.spread().sel(x=0)) < 1e-6 < float(found.spread().sel(x=1))
        (('x',), True)
    """
    wanted = _wanted(seeds)
    if not hasattr(grid, "axes"):
        raise SpecError(
            f"grid is {described_type(grid)}; expected points such as la.Grid(x=(-1, 1, 51), y=(-1, 1, 51))"
        )
    planes: Mapping[int, Plane | InputPlane]
    if any(isinstance(one, (Plane, InputPlane)) for one in wanted):
        planes = _given(wanted)
    else:
        planes = {
            seed: Plane.random(
                objective, seed=seed, axes=tuple(grid.axes), by=by, still=still, only=only, orthogonal=orthogonal
            )
            for seed in map(int, wanted)
        }
    if len(planes) < 2 or len(planes) < len(wanted):
        raise SpecError(f"seeds={wanted}; expected at least two different seeds, such as range(5)")
    if run is not None:
        name_kind(path_of("run", run), "seeds")
    runs = []
    for seed, plane in planes.items():
        folder = None if run is None else Path(run) / f"{BELOW}{seed}"
        runs.append(sample(objective, plane, grid, run=folder, **options))
    return Seeds(runs=tuple(runs), seeds=tuple(planes))


def _wanted(seeds: Any) -> list[Any]:
    expected = "several seeds, such as range(5), or planes"
    check_kind("seeds", seeds, Iterable, expected)
    found = list(seeds)
    for one in found:
        if not isinstance(one, (Plane, InputPlane)):
            check_kind("seeds: an entry", one, numbers.Integral, expected)
    return found


def _given(planes: Sequence[object]) -> dict[int, Plane | InputPlane]:
    """Planes by their seeds, if each has one of its own, otherwise by their place."""
    found = [plane for plane in planes if isinstance(plane, (Plane, InputPlane))]
    if len(found) < len(planes) or len(found) < 2:
        raise SpecError(f"seeds: {len(found)} planes of {len(planes)} entries; expected two or more planes, or seeds")
    identities = {plane_identity(plane.inputs if isinstance(plane, InputPlane) else plane) for plane in found}
    if len(identities) < len(found):
        raise SpecError("seeds: a plane is given twice, which would make the spread too small")
    own = [plane.recipe.seed for plane in found]
    numbers = [seed for seed in own if seed is not None]
    return dict(zip(numbers if len(set(numbers)) == len(found) else range(len(found)), found, strict=True))
