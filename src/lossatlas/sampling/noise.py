"""How large is the rounding error of a run's values, and does double precision agree with what they seem to prove?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from lossatlas.errors import SpecError
from lossatlas.evaluate.graph.trace import unlike
from lossatlas.evaluate.plans import PRECISIONS
from lossatlas.evaluate.rounding import Reference
from lossatlas.evaluate.rule import building, reckoned
from lossatlas.field.inequality import Inequality, evaluated, strongest
from lossatlas.field.rounding import SPACING
from lossatlas.field.ruggedness import ruggedness
from lossatlas.objective import Objective
from lossatlas.objective.function import Measurable
from lossatlas.objective.part import glimpse
from lossatlas.oneline import number_of
from lossatlas.results.landscape import axis_names, with_evaluation
from lossatlas.results.store import MemoryRun, RunFolder, assemble
from lossatlas.space.charts import Plane

__all__ = ["note_rounding"]

POINTS = 9
"""Number of evaluated cells, from the smallest to the largest value, at which rounding is measured."""

FEW = 4
"""The same if a run is so short that nine would be a large part of it."""

LONG = 100
"""Number of points from which on a run is long."""

ROUNDS = 4
"""How many violated inequalities may be refuted before nothing is claimed at all."""

SHAKES = 2
"""How often a value is evaluated with its operations perturbed at random."""

MARGIN = 8.0
"""How many times the largest shift found the rounding of a value evaluated in double precision may be."""

PLAIN = 100.0
"""How many times what a single perturbation explains is so much that no further one is tried."""

DOUBLES = 20
"""How many plain evaluations three points and a perturbation in double precision cost."""

SHARING = 5
"""The same where points share their products, so that about so many are evaluated in that time."""

SHARE = 0.05
"""Share of a run that they may take if a point is costly; otherwise only what is clear-cut is proved, by
perturbation."""

COSTLY = 0.02
"""Estimated seconds for a point above which it is costly."""

FEW_SAMPLES = 4
"""Samples on which operations are then perturbed: rounding averages out over more, so on these it is overestimated."""

EXACT = 64 * SPACING["float64"]
"""Only what was evaluated in double precision is this close to it, as a share of the value."""

_SHORT = {"bfloat16", "float16"}

_FAULTS = (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, AssertionError, SpecError)


def note_rounding(journal: RunFolder | MemoryRun, objective: Measurable, plane: object, *, show: bool = False) -> None:
    """Record with a run how far rounding shifts its loss, and the inequality that its slice proves violated.

    If the values violate no inequality of convex functions by more than the least that rounding can be, there is
    nothing to prove, and nothing is measured. Otherwise the inequality that stands out the most is checked in double
    precision, at its three points, see :mod:`lossatlas.evaluate.rounding`. If that refutes it, rounding is measured at
    some cells, from the smallest to the largest value, and what still stands out is checked in turn; each that is
    refuted raises the rounding, and after four nothing is claimed. A model that cannot be evaluated like this is
    perturbed in its own formats instead, and so is a short run at costly points: only what is a hundred times what
    perturbations explain is then proved, whatever double precision might say. A run in a format shorter than its
    model's, at costly points, is compared only with the model's own format, which is a thousand times closer to double
    precision than to the values. Nothing is measured for a model that is moved in place, nor for a function that is not
    torch's.

    Args:
        journal: of the run; a record that is there already is kept.
        objective: what was measured.
        plane: where; for another chart nothing is recorded.
        show: show a progress bar on stderr.
    """
    if "rounding" in journal.evaluation or not isinstance(objective, Objective) or not isinstance(plane, Plane):
        return
    if objective.in_place:
        return
    landscape = assemble(journal.spec, journal.told(), journal.evaluation)
    if not evaluated(landscape).any() or not _stands_out(landscape):
        return
    if (found := _without_doubles(journal, objective, plane, landscape)) is not None:
        journal.note_evaluation({**journal.evaluation, "rounding": {"loss": found}})
        return
    for wide in (True, False):
        with contextlib.suppress(torch.OutOfMemoryError, *_FAULTS), _bar(show) as bar:
            if wide and objective.device.type == "mps":  # Apple's GPU has no doubles
                continue
            found = _Measurement(objective, plane, landscape, bar, wide=wide).record()
            journal.note_evaluation({**journal.evaluation, "rounding": {"loss": found}})
            return


def _without_doubles(
    journal: RunFolder | MemoryRun, objective: Objective, plane: Plane, landscape: xr.Dataset
) -> dict[str, Any] | None:
    """The record of a short run at costly points, which proves what stands out a hundredfold.

    To see what rounding may be in the model's own format, a few samples, or all if there are no more, are evaluated at
    the middle of the three points, and again with every operation perturbed. If nothing stands out that far, so much
    rounding is recorded that nothing is claimed: double precision would take a quarter of the run to say more. If the
    run is in a shorter format than the model, points are evaluated in the model's own, and the record is what they say,
    however long the run. None if double precision is cheap compared with the run. The rule counts operations and
    points, so the same run has the same record every time.

    Returns:
        The record, or None.
    """
    exact = journal.spec.identity.get("precision") == "exact"
    dearer = SHARING if journal.evaluation.get("plan", {}).get("name") == "shared" else 1
    if exact and SHARE * int(evaluated(landscape).sum()) >= DOUBLES * dearer:
        return None
    if unlike(objective) or reckoned(objective) + building(plane) < COSTLY:
        return None
    with contextlib.suppress(torch.OutOfMemoryError, *_FAULTS):
        few = _Measurement(glimpse(objective, FEW_SAMPLES), plane, landscape, _bar(show=False), wide=False)
        if exact:
            return few.plain_or_nothing()
        whole = Reference(objective, plane, wide=False)
        return None if whole.formats & _SHORT else few.short(whole)
    return None


def _stands_out(landscape: xr.Dataset) -> bool:
    """Whether anything exceeds the least that rounding can be; true if that cannot be determined."""
    least = _with(landscape, _least(landscape))
    try:
        return strongest(least) is not None or ruggedness(least).proves
    except SpecError:  # uneven points, or too few
        return True


def _least(landscape: xr.Dataset) -> dict[str, Any]:
    """A record of the least rounding: half a spacing, of the smallest value, or in a short format of each value."""
    size = np.abs(landscape["loss"].values[evaluated(landscape)])
    if (precision := str(landscape.attrs.get("dtype"))) in PRECISIONS:
        sizes = np.sort(size)
        return _record(sizes, SPACING[precision] / 2 * sizes)
    double = str(landscape.attrs.get("dtype")) in ("float64", "complex128")
    errors = [0.0 if double else SPACING["float32"] / 2 * float(size.min())]
    return _record(size.max(keepdims=True), np.array(errors))


def _record(sizes: np.ndarray, errors: np.ndarray) -> dict[str, Any]:
    return {"sizes": sizes.tolist(), "errors": errors.tolist(), "factor": 1.0, "against": "", "formats": []}


def _with(landscape: xr.Dataset, found: Mapping[str, Any]) -> xr.Dataset:
    return with_evaluation(landscape, {"rounding": {"loss": found}})


def _bar(show: bool) -> tqdm[Any]:
    return tqdm(
        bar_format="checking rounding: {n} points [{elapsed}]", disable=not show, dynamic_ncols=True, leave=False
    )


def _broken(again: Inequality) -> bool:
    """Whether an inequality is violated by more than rounding explains."""
    return -again.difference > again.noise


def _plain(again: Inequality) -> bool:
    """The same, by so much that no further perturbation is tried."""
    return -again.difference > PLAIN * again.noise


class _Measurement:
    """What is measured for one run."""

    def __init__(
        self, objective: Objective, plane: Plane, landscape: xr.Dataset, bar: tqdm[Any], *, wide: bool
    ) -> None:
        self.landscape = landscape
        self.bar = bar
        self.wide = wide
        self.reference = Reference(objective, plane, wide=wide)
        self.axes = axis_names(landscape)
        self.looked: Inequality | None = None

    def record(self) -> dict[str, Any]:
        """The record, as described by :func:`lossatlas.field.rounding.measured`."""
        with contextlib.suppress(SpecError):  # a grid without second differences proves nothing
            seen = strongest(_with(self.landscape, _least(self.landscape)))
            if seen is not None and (found := self._at_three(seen)) is not None:
                return found
        cells = list(self._cells())
        values = np.array([float(self.landscape["loss"].values[cell]) for cell in cells])
        told = [self._error(cell) for cell in cells]
        found = self._content(values, np.array([error for error, _ in told]), all(shaken for _, shaken in told))
        with contextlib.suppress(SpecError):
            self._prove(found, self._again, _broken)
        return found

    def plain_or_nothing(self) -> dict[str, Any]:
        """The record of an exact run: what :meth:`plain` proves, or enough rounding to leave nothing to prove.

        Returns:
            The record.
        """
        with contextlib.suppress(SpecError):  # a grid without second differences proves nothing
            if (found := self.plain(None)) is not None:
                return found
        if (seen := self.looked) is None:
            *_, cell = self._cells()
            point = self._point(cell)
            value = float(self.landscape["loss"].values[cell])
            moves = self._moves(point, self._loss(point), range(SHAKES))
            seen = self._inequality((point,) * 3, [value] * 3, moves)
        found = self._content(np.sort(np.abs(seen.values)), np.full(3, seen.noise / 4), shaken=True)
        with contextlib.suppress(SpecError):
            self._prove(found, lambda broken: broken, lambda _: False)
        return found

    def plain(self, whole: Reference | None) -> dict[str, Any] | None:
        """The record of a run whose strongest inequality is a hundredfold what perturbing a few samples explains.

        Args:
            whole: evaluates all samples, where the values of the run are of a shorter format.

        Returns:
            The record; None if no inequality stands out that far.
        """
        seen = strongest(_with(self.landscape, _least(self.landscape)))
        if seen is None:
            return None
        self.looked = again = self._on_few(seen, whole)
        if not _plain(again):
            return None
        moved = float(np.abs(np.array(again.values) - seen.values).max())
        found = self._content(np.sort(np.abs(seen.values)), np.full(3, max(again.noise / 4, 2 * moved)), shaken=True)
        found["proof"] = self._proof(again)
        return found if strongest(_with(self.landscape, found)) is not None else None

    def short(self, whole: Reference) -> dict[str, Any]:
        """The record of a run in a shorter format than its model's, compared with the model's own.

        What exceeds half a spacing of every value is checked first. If that is refuted, the error is measured at some
        cells, and what exceeds it is checked in turn. An inequality counts as confirmed if it exceeds a hundredfold
        what perturbations of a few samples explain, otherwise as refuted.

        Args:
            whole: evaluates all samples in the model's own format.

        Returns:
            The record.
        """
        with contextlib.suppress(SpecError):
            if (found := self.plain(whole)) is not None:
                return found
        cells = list(self._cells())
        values = np.array([float(self.landscape["loss"].values[cell]) for cell in cells])
        errors = np.abs([whole.loss(self._point(cell)) for cell in cells] - values)
        found = self._content(values, errors, shaken=False)
        found |= {"against": f"at {number_of(len(cells), 'point')} against the model's own format"}
        with contextlib.suppress(SpecError):
            self._prove(found, lambda seen: self._on_few(seen, whole), _plain)
        return found

    def _on_few(self, seen: Inequality, whole: Reference | None) -> Inequality:
        """The same points, evaluated on all samples if they are of a shorter format, and the perturbations of a few."""
        value = self._loss(seen.points[1])
        moves = self._moves(seen.points[1], value, range(11, 11 + SHAKES))
        values = seen.values if whole is None else [whole.loss(p) for p in seen.points]
        return self._inequality(seen.points, values, moves)

    def _at_three(self, seen: Inequality) -> dict[str, Any] | None:
        """The record of a run whose strongest inequality double precision confirms; None if it does not."""
        again = self._again(seen)
        if not _broken(again):
            return None
        moved = np.abs(np.array(again.values) - seen.values)
        error = 2 * max(float(moved.max()), again.noise / (4 * MARGIN))  # three points may agree by chance
        shaken = not self.wide or bool((moved <= EXACT * np.abs(seen.values)).all())
        found = self._content(np.sort(np.abs(seen.values)), np.full(3, error), shaken)
        found["proof"] = self._proof(again)
        return found if strongest(_with(self.landscape, found)) is not None else None

    def _content(self, values: np.ndarray, errors: np.ndarray, shaken: bool) -> dict[str, Any]:
        how = "by moving every operation by one spacing of its format" if shaken else "against double precision"
        return {
            "sizes": np.abs(values).tolist(),
            "errors": np.maximum.accumulate(errors).tolist(),
            "factor": 1.0,
            "against": f"at {number_of(len(values), 'point')} {how}",
            "formats": sorted(self.reference.formats) or ["float64"],
            "proof": None,
            "refuted": 0,
        }

    def _proof(self, again: Inequality) -> dict[str, Any]:
        return {
            "axes": list(self.axes),
            "points": [list(point.values()) for point in again.points],
            "values": list(again.values),
            "noise": again.noise,
            "known": again.known,
            "double": again.double,
        }

    def _cells(self) -> Iterator[tuple[int, ...]]:
        """Cells spread over the values, the smallest and the largest among them."""
        size = np.abs(self.landscape["loss"].values)
        usable = np.flatnonzero(evaluated(self.landscape))
        ordered = usable[np.argsort(size.ravel()[usable], kind="stable")]
        count = min(POINTS if size.size >= LONG else FEW, len(ordered))
        for at in np.unique(np.linspace(0, len(ordered) - 1, count).round().astype(int)):
            yield tuple(int(i) for i in np.unravel_index(ordered[at], size.shape))

    def _point(self, cell: tuple[int, ...]) -> dict[str, float]:
        return {axis: float(self.landscape[axis].values[i]) for axis, i in zip(self.axes, cell, strict=True)}

    def _loss(self, point: Mapping[str, float], shake: int | None = None) -> float:
        self.bar.update()
        return self.reference.loss(point, shake)

    def _error(self, cell: tuple[int, ...]) -> tuple[float, bool]:
        """How far a cell's value is from the reference; if evaluated in the same way, how far rounding shifts it.

        Returns:
            The error, and whether the value was perturbed to find it.
        """
        point = self._point(cell)
        value = self._loss(point)
        moved = abs(float(self.landscape["loss"].values[cell]) - value)
        shaken = not self.wide or moved <= EXACT * abs(value)
        return max([moved, *self._moves(point, value, range(SHAKES))] if shaken else [moved]), shaken

    def _moves(self, point: Mapping[str, float], value: float, seeds: range) -> list[float]:
        return [abs(self._loss(point, seed) - value) for seed in seeds]

    def _prove(
        self,
        found: dict[str, Any],
        look: Callable[[Inequality], Inequality],
        confirmed: Callable[[Inequality], bool],
    ) -> None:
        """Check more exactly what stands out, until something is confirmed or nothing is left."""
        while (seen := strongest(_with(self.landscape, found))) is not None:
            if found["refuted"] == ROUNDS:
                found["factor"] = None
                return
            again = look(seen)
            if confirmed(again):
                found["proof"] = self._proof(again)
                return
            found["refuted"] += 1
            found["factor"] *= 2.0 * max(1.0, -seen.difference / max(seen.noise, np.finfo(float).tiny))

    def _again(self, seen: Inequality) -> Inequality:
        """The same three points, and how far the rounding of this evaluation may shift them."""
        values = [self._loss(point) for point in seen.points]
        moves = self._moves(seen.points[1], values[1], range(11, 12))
        again = self._inequality(seen.points, values, moves)
        if _plain(again):
            return again
        for point, value, seed in zip(seen.points, values, (10, 13, 12), strict=True):
            moves += self._moves(point, value, range(seed, seed + 1))
        return self._inequality(seen.points, values, moves)

    def _inequality(
        self, points: Sequence[Mapping[str, float]], values: Sequence[float], moves: Sequence[float]
    ) -> Inequality:
        formats = [] if self.wide else [name for name in self.reference.formats if name in SPACING]
        spacing = max(map(SPACING.__getitem__, formats), default=SPACING["float64"])
        return Inequality(
            points=tuple(points),
            values=(values[0], values[1], values[2]),
            noise=4 * MARGIN * (max(moves) / 2 + spacing * max(map(abs, values))),
            known="by moving every operation by one spacing of its format",
            double=self.wide,
        )
