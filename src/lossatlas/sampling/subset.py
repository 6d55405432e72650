r"""How can fewer samples do? A fixed subset at every point, corrected where all samples were seen.

With a subset S of the N samples, and anchors a spread over the plane at which every sample is evaluated, the value at a
point c is

.. math:: g(L(c)) ≈ g(L_S(c)) + r(c), \qquad r(a) = g(L(a)) - g(L_S(a)),

where r is interpolated between the anchors and g is the logarithm for a positive loss: a control variate. The subset is
the same at every point, because a fresh one would make a smooth surface look rough. It is stratified, and then balanced
on the losses at the anchors (:mod:`lossatlas.sampling.balance`). Of thousands of samples, most anchors see only a part
(:mod:`lossatlas.sampling.phases`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.expected import check_number
from lossatlas.field.stated import WHOLE, stated_for, view
from lossatlas.figure.ranges import Range
from lossatlas.objective import Objective
from lossatlas.objective.part import taken
from lossatlas.objective.reduction import Derived
from lossatlas.results.asked import check_parts
from lossatlas.results.landscape import Status, structured, with_uncertainty
from lossatlas.results.spec import Block
from lossatlas.sampling.adaptive import coarse_cells
from lossatlas.sampling.anchoring import Anchoring
from lossatlas.sampling.correction import Anchors, Subsets, within_share
from lossatlas.sampling.executors import HERE, Executor
from lossatlas.sampling.phases import first_phase
from lossatlas.sampling.provenance import question_identity
from lossatlas.sampling.samplers import Queue, Sampler
from lossatlas.sampling.shown import seen
from lossatlas.space.charts import Chart

__all__ = ["FEWEST", "Corrected", "Subset", "reduced"]

FEWEST = 32
"""The smallest subset that "auto" tries."""


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Measure on a subset of the data, corrected to all of it, with a stated error at every cell.

    All samples are evaluated at some anchors (37 in a plane), a fixed subset everywhere, which has the means of all at
    the anchors. How far the correction may be off between anchors is known from subsets chosen without some of them.
    Where there are thousands of samples, a part of them is evaluated at every anchor, and all at as many anchors as are
    needed to know the means to half of the tolerance. The Landscape gets ``loss_uncertainty``, the stated error of
    every cell as a share of the shown range.

    Attributes:
        size: samples in the subset; "auto" takes the smallest whose held-out errors are within the tolerance, and all
            samples if half of them would not do.
        tolerance: wanted error, as a share of the range that a picture shows.
        seed: of the choice.

    Raises:
        SpecError: the size or the tolerance makes no sense.

    Example:
        >>> import torch, lossatlas as la
        >>> net, data = la.zoo.model("mlp"), la.zoo.data("digits")
        >>> objective = la.Objective(net, data, loss=torch.nn.functional.cross_entropy)
        >>> plane, grid = la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 15), y=(-1, 1, 15))
        >>> found = la.sample(objective, plane, grid, samples=Subset(size=300))
        >>> found.attrs["samples"], bool((found["loss_uncertainty"] > 0).any())
        (300, True)
    """

    size: int | Literal["auto"] = "auto"
    tolerance: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.size != "auto" and not (isinstance(self.size, int) and self.size > 0):
            raise SpecError(f"Subset(size={self.size!r}); expected 'auto' or a number of samples, such as size=500")
        check_number("tolerance", self.tolerance, "a share of the shown range, such as 0.02 (2 %)")
        if not 0 < self.tolerance < 0.5:
            raise SpecError(f"tolerance={self.tolerance!r}; expected a share of the shown range, such as 0.02 (2 %)")


def reduced(
    objective: Objective,
    chart: Chart,
    sampler: Sampler,
    subset: Subset,
    *,
    run: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    executor: Executor = HERE,
) -> tuple[Objective, Sampler]:
    """What a run on a subset measures, and at which points: the loss on the subset, corrected once it is finished.

    Args:
        objective: what is measured, with all its data.
        chart: where.
        sampler: which points.
        subset: how many samples.
        run: run folder, which keeps the anchors.
        progress: as for :func:`lossatlas.sample`.
        executor: what evaluates the anchors.

    Returns:
        The objective on the subset and a sampler that corrects; if all samples are needed, both unchanged.

    Raises:
        SpecError: a size that is not a subset, a grid too small to gain from one, a loss that is not a mean over
            samples.
    """
    check_parts(run, question_identity(objective, chart, sampler))  # the anchors of another run are not overwritten
    if subset.size != "auto" and not subset.size < objective.samples:
        raise SpecError(f"samples={subset.size!r}; expected 'auto' or a number below the {objective.samples} there are")
    cells = coarse_cells(sampler.axes)
    total = int(np.prod([len(c) for c in sampler.axes.values()]))
    if total < 3 * len(cells):
        raise SpecError(
            f"samples={subset.size!r}: a grid of {total} points is too small to gain from a subset; leave samples out"
        )
    anchoring = Anchoring(objective, chart, sampler, run, progress, executor)
    first = first_phase(objective.samples, subset.seed, 0 if subset.size == "auto" else 2 * subset.size)
    anchors = anchoring.all(cells, None) if first is None else anchoring.part(cells, first, subset.tolerance)
    found = _chosen(anchors, subset)
    if found is None and first is not None:
        anchors, first = anchoring.all(cells, first), None
        found = _chosen(anchors, subset)
    if found is None:
        return objective, _Noted(sampler, anchors.all_needed(subset.tolerance))
    derived = {name: metric for name, metric in objective.metrics.items() if isinstance(metric, Derived)}
    corrected = Corrected(sampler, anchors, found, subset.tolerance, centre=anchoring.centre(anchors), derived=derived)
    return taken(objective, found.chosen if first is None else first[found.chosen]), corrected


class _Noted:
    """A sampler whose Landscape records something more."""

    def __init__(self, sampler: Sampler, facts: Mapping[str, Any]) -> None:
        self.sampler = sampler
        self.axes = sampler.axes
        cells = int(np.prod([len(c) for c in sampler.axes.values()]))
        self.expected = int(getattr(sampler, "expected", cells))
        self.identity = dict(sampler.identity)
        self.facts = dict(facts)

    def start(self, told: Block) -> Queue:
        """As the sampler does."""
        return self.sampler.start(told)

    def finish(self, landscape: xr.Dataset) -> xr.Dataset:
        """Record it, after what the sampler records."""
        result = self.sampler.finish(landscape)
        before = structured(result, "sampling")
        words = "; ".join(text for text in (before.get("verdict"), self.facts["verdict"]) if text)
        return _with(result, before | self.facts | {"verdict": words})


class Corrected(_Noted):
    """A sampler on a subset of the samples, whose Landscape is corrected to all of them.

    Args:
        sampler: which points.
        anchors: where all samples were seen.
        subsets: the subset, and others that show its error.
        tolerance: wanted error.
        centre: values at the origin, of all samples.
        derived: numbers that follow from corrected ones.
    """

    def __init__(
        self,
        sampler: Sampler,
        anchors: Anchors,
        subsets: Subsets,
        tolerance: float,
        *,
        centre: Mapping[str, float],
        derived: Mapping[str, Derived],
    ) -> None:
        total = anchors.means.of
        size = len(subsets.chosen)
        error, standard = anchors.within(subsets)
        verdict = (
            f"{size} of {total} samples, corrected at {anchors.words}: 95 % of "
            f"held-out points within {100 * error:.2g} % of the range, standard error {100 * standard:.2g} %"
        )
        facts = {"kind": "subset", "samples": size, "of": total, "tolerance": tolerance, "within": error}
        facts |= {"standard error": standard}
        super().__init__(sampler, facts | {"verdict": verdict})
        self.identity |= {"subset": size, "of": total}
        self._anchors = anchors
        self._subsets = subsets
        self._centre = dict(centre)
        self._derived = dict(derived)

    def finish(self, landscape: xr.Dataset) -> xr.Dataset:
        """Correct every cell that has a value."""
        result = super().finish(landscape).copy(deep=True)
        result.attrs["centre"] = json.dumps(self._centre, sort_keys=True)
        usable = np.isin(result["status"].values, (Status.OK, Status.INTERPOLATED))
        for column, name in enumerate(self._anchors.names):
            before = stated_for(result, name)
            values, errors, factor = self._corrected(column, result[name].values)
            result[name].values[usable] = values[usable]
            result, shown = _viewed(result, name, before)
            shares = seen(shown, values, within_share(shown, values, errors, factor=factor, beyond=WHOLE))
            if f"{name}_uncertainty" in result:
                shares = shares + result[f"{name}_uncertainty"].values * np.ptp(before.limits) / np.ptp(shown.limits)
            with_uncertainty(result, name, np.where(usable, shares, 0.0))
        for name, metric in self._derived.items():
            result[name].values[usable] = metric(result[metric.of].values[usable])
        return result

    def _corrected(self, column: int, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """Corrected values, and by how much they may be off, or the decimal logarithm of the factor."""
        terms, errors = (part.reshape(values.shape) for part in self._anchors.correction(column, self._subsets))
        if self._anchors.logarithmic(column):
            return values * 10.0**terms, errors, True
        new = values + terms
        samples = self._anchors.table[:, :, column]
        if column and samples.min() >= 0 and samples.max() <= 1:
            new = np.clip(new, 0, 1)  # the mean of shares is a share
        return new, errors, False


def _viewed(landscape: xr.Dataset, name: str, before: Range) -> tuple[xr.Dataset, Range]:
    """A Landscape with the view of its corrected values for which their errors are stated, and that view."""
    told = structured(landscape, "sampling")
    bare = _with(landscape, {key: fact for key, fact in told.items() if key != "view"})
    shown = stated_for(bare, name)
    if shown.scale != before.scale:  # what was interpolated has errors on that scale
        shown = before
    return (_with(bare, told | {"view": view(shown)}) if name == "loss" else landscape), shown


def _with(landscape: xr.Dataset, facts: Mapping[str, Any]) -> xr.Dataset:
    return landscape.assign_attrs(sampling=json.dumps(facts, sort_keys=True))


def _chosen(anchors: Anchors, subset: Subset) -> Subsets | None:
    """A subset of the size asked for, or the smallest whose held-out errors are within the tolerance."""
    if subset.size != "auto":
        return anchors.subsets(subset.size, subset.seed)
    total, seen, good = anchors.means.of, anchors.table.shape[1], None
    sizes = [total // (1 << k) for k in range(1, 12)]
    if seen < total:
        sizes = [seen, *(size for size in sizes if size < seen)]
    for size in sizes:
        if size < FEWEST:
            break
        found = anchors.subsets(size, subset.seed)
        if anchors.within(found)[0] > subset.tolerance:
            break
        good = found
    return good
