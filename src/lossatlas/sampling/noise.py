"""How large is the rounding of a run's values, and does double precision agree with what they seem to prove?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from lossatlas.errors import SpecError
from lossatlas.evaluate.rounding import Reference
from lossatlas.field.inequality import Inequality, evaluated, strongest
from lossatlas.field.rounding import SPACING
from lossatlas.objective import Objective
from lossatlas.results.landscape import axis_names, with_evaluation
from lossatlas.results.store import MemoryRun, RunFolder, assemble
from lossatlas.space.charts import Plane

__all__ = ["note_rounding"]

POINTS = 9
"""Number of evaluated cells, from the smallest to the largest value, at which rounding is measured."""

FEW = 4
"""The same where a run is so short that nine would be a large part of it."""

LONG = 100
"""Number of points from which on a run is long."""

ROUNDS = 4
"""How many broken inequalities may be refuted before nothing is claimed at all."""

SHAKES = 2
"""How often a value is evaluated with its operations moved at random."""

MARGIN = 8.0
"""How many times the largest move found the rounding of a value evaluated in double precision may be."""

_FAULTS = (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, AssertionError, SpecError)


def note_rounding(journal: RunFolder | MemoryRun, objective: Objective, plane: object, *, show: bool = False) -> None:
    """Keep with a run how far rounding moves its loss, and the inequality that its slice proves broken.

    At some cells, from the smallest to the largest value, the loss is evaluated again in double precision, see
    :mod:`lossatlas.evaluate.rounding`. Then the inequality of convex functions that stands out the most is looked at
    in double precision, at its three points. Where that refutes it, the rounding is larger than was thought and is
    raised; after four that were refuted, nothing is claimed. A model that cannot be evaluated so is shaken in its own
    formats instead. Nothing is measured of a model that is moved in place.

    Args:
        journal: of the run; a record that is there already is kept.
        objective: what was measured.
        plane: where; of another chart nothing is recorded.
        show: show a progress bar on stderr.
    """
    if "rounding" in journal.evaluation or objective.in_place or not isinstance(plane, Plane):
        return
    landscape = assemble(journal.spec, journal.told(), journal.evaluation)
    if not evaluated(landscape).any():
        return
    for wide in (True, False):
        with contextlib.suppress(torch.OutOfMemoryError, *_FAULTS), _bar(show) as bar:
            if wide and objective.device.type == "mps":  # Apple's GPU has no doubles
                continue
            found = _Measurement(objective, plane, landscape, bar, wide=wide).record()
            journal.note_evaluation({**journal.evaluation, "rounding": {"loss": found}})
            return


def _bar(show: bool) -> tqdm[Any]:
    return tqdm(desc="rounding", unit="point", disable=not show, dynamic_ncols=True, leave=False)


class _Measurement:
    """What is measured of one run."""

    def __init__(
        self, objective: Objective, plane: Plane, landscape: xr.Dataset, bar: tqdm[Any], *, wide: bool
    ) -> None:
        self.landscape = landscape
        self.bar = bar
        self.wide = wide
        self.reference = Reference(objective, plane, wide=wide)
        self.native = self.reference if not wide else Reference(objective, plane, wide=False)
        self.axes = axis_names(landscape)

    def record(self) -> dict[str, Any]:
        """The record, as :func:`lossatlas.field.rounding.measured` says."""
        cells = list(self._cells())
        formats = self._formats(cells[0])
        exact = set(formats) <= {"float64", "complex128"}
        values = np.array([float(self.landscape["loss"].values[cell]) for cell in cells])
        errors = np.array([self._error(cell, shaken=exact or not self.wide) for cell in cells])
        found: dict[str, Any] = {
            "sizes": np.abs(values).tolist(),
            "errors": np.maximum.accumulate(errors).tolist(),
            "factor": 1.0,
            "against": self._against(exact, len(cells)),
            "formats": formats,
            "proof": None,
            "refuted": 0,
        }
        with contextlib.suppress(SpecError):  # a grid without second differences proves nothing
            self._prove(found)
        return found

    def _against(self, exact: bool, count: int) -> str:
        if exact or not self.wide:
            return f"at {count} points by moving every operation by one spacing of its format"
        return f"at {count} points against double precision"

    def _cells(self) -> Iterator[tuple[int, ...]]:
        """Cells spread over the values, the smallest and the largest among them."""
        size = np.abs(self.landscape["loss"].values)
        usable = np.flatnonzero(evaluated(self.landscape))
        ordered = usable[np.argsort(size.ravel()[usable], kind="stable")]
        count = min(POINTS if size.size >= LONG else FEW, len(ordered))
        for at in np.unique(np.linspace(0, len(ordered) - 1, count).round().astype(int)):
            yield tuple(int(i) for i in np.unravel_index(ordered[at], size.shape))

    def _formats(self, cell: tuple[int, ...]) -> list[str]:
        with contextlib.suppress(*_FAULTS):
            self._loss(self.native, self._point(cell))
        return sorted(self.native.formats)

    def _point(self, cell: tuple[int, ...]) -> dict[str, float]:
        return {axis: float(self.landscape[axis].values[i]) for axis, i in zip(self.axes, cell, strict=True)}

    def _loss(self, reference: Reference, point: Mapping[str, float], shake: int | None = None) -> float:
        self.bar.update()
        return reference.loss(point, shake)

    def _error(self, cell: tuple[int, ...], *, shaken: bool) -> float:
        """How far the value of a cell is from the reference, or how far that is moved by its own rounding."""
        point = self._point(cell)
        value = self._loss(self.reference, point)
        moved = abs(float(self.landscape["loss"].values[cell]) - value)
        return max([moved, *self._moves(point, value, range(SHAKES))] if shaken else [moved])

    def _moves(self, point: Mapping[str, float], value: float, seeds: range) -> list[float]:
        return [abs(self._loss(self.reference, point, seed) - value) for seed in seeds]

    def _prove(self, found: dict[str, Any]) -> None:
        """Look at what stands out in double precision, until something is confirmed or nothing is left."""
        while (seen := strongest(with_evaluation(self.landscape, {"rounding": {"loss": found}}))) is not None:
            if found["refuted"] == ROUNDS:
                found["factor"] = None
                return
            again = self._again(seen)
            if -again.difference > again.noise:
                found["proof"] = {
                    "axes": list(self.axes),
                    "points": [list(point.values()) for point in again.points],
                    "values": list(again.values),
                    "noise": again.noise,
                    "known": again.known,
                    "double": again.double,
                }
                return
            found["refuted"] += 1
            found["factor"] *= 2.0 * max(1.0, -seen.difference / max(seen.noise, np.finfo(float).tiny))

    def _again(self, seen: Inequality) -> Inequality:
        """The same three points, and how far the rounding of this evaluation may move them."""
        before, middle, after = (self._loss(self.reference, point) for point in seen.points)
        moves = [0.0]
        for number, (point, value) in enumerate(zip(seen.points, (before, middle, after), strict=True)):
            moves += self._moves(point, value, range(10 + number, 10 + number + (SHAKES if number == 1 else 1)))
        formats = [name for name in self.reference.formats if name in SPACING]
        spacing = max(map(SPACING.__getitem__, formats), default=SPACING["float64"])
        largest = max(abs(before), abs(middle), abs(after))
        return Inequality(
            points=seen.points,
            values=(before, middle, after),
            noise=4 * MARGIN * (max(moves) / 2 + spacing * largest),
            known="by moving every operation by one spacing of its format",
            double=self.wide,
        )
