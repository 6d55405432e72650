"""What are the values at a block of points, on one device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.evaluate.calibration import Way
from lossatlas.objective import Objective
from lossatlas.objective.spread import measure_with_errors
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block
from lossatlas.space.charts import Plane
from lossatlas.space.parameters import combine

__all__ = ["SHORT", "Evaluator", "Plain", "PlainWithErrors"]

SHORT = (torch.bfloat16, torch.float16)


class Plain:
    """Evaluates points of a plane by moving the private copy of the model and calling it, batch by batch.

    The copy is moved in place, by two or three operations over all tensors at once, each time from the pristine
    weights; nothing is added up from point to point, so no error grows with the length of a run.

    Args:
        objective: what is measured.
        plane: where.

    Raises:
        SpecError: the plane belongs to another architecture.
    """

    def __init__(self, objective: Objective, plane: Plane) -> None:
        if objective.in_place:
            raise SpecError("in_place=True: points are visited by sample() alone, which puts the weights back")
        strangers = [name for name in plane.origin if name not in objective.origin]
        if strangers:
            raise SpecError(f"plane: its tensor {strangers[0]!r} is not in the objective's model")
        self.objective = objective
        self.plane = plane
        for name, place in objective.places.items():
            place.copy_(plane.origin.get(name, objective.origin[name]))
        device = objective.device
        self._base = {name: plane.origin[name].to(device) for name in plane.moving}
        self._short = any(tensor.dtype in SHORT for tensor in self._base.values())
        self._directions = {
            axis: {name: self._beside(tensor, self._base[name]) for name, tensor in direction.items()}
            for axis, direction in plane.directions.items()
        }

    def _beside(self, step: Tensor, base: Tensor) -> Tensor:
        """A direction where the weights are; in their format, unless that is short and the sum is rounded only once."""
        return step.to(base.device) if base.dtype in SHORT else step.to(base)

    def close(self) -> None:
        """Nothing is held."""

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """Loss and metrics at some points.

        Args:
            coordinates: float64 [n, k], in the order of the plane's axes.

        Returns:
            float64 [n, number of values].
        """
        rows = []
        for row in coordinates:
            self.move(dict(zip(self.plane.axes, row.tolist(), strict=True)))
            rows.append(self._measured())
        return np.array(rows, np.float64).reshape(len(coordinates), -1)

    def _measured(self) -> list[float]:
        """The values where the copy stands."""
        return list(self.objective.measure().values())

    def move(self, point: Mapping[str, float]) -> None:
        """Put the private copy at a point."""
        places = self.objective.places
        with torch.no_grad():
            if self._short:
                for name, base in self._base.items():
                    steps = [(point[axis], d[name]) for axis, d in self._directions.items() if name in d]
                    places[name].copy_(combine(base, steps))
                return
            torch._foreach_copy_([places[name] for name in self._base], list(self._base.values()))
            for axis, direction in self._directions.items():
                moved = [places[name] for name in direction]
                torch._foreach_add_(moved, list(direction.values()), alpha=point[axis])


class PlainWithErrors(Plain):
    """The same with a standard error beside every value, from the values of all samples.

    Args:
        objective: what is measured.
        plane: where.

    Raises:
        SpecError: single samples have no loss: the point where the copy stands is tried at once.
    """

    def __init__(self, objective: Objective, plane: Plane) -> None:
        super().__init__(objective, plane)
        self._measured()

    def _measured(self) -> list[float]:
        values, errors = measure_with_errors(self.objective)
        return [*values.values(), *errors.values()]


class Evaluator:
    """Turns blocks of cells into blocks of values, one way or another, and says which points failed.

    Args:
        way: how points are evaluated.
        plane: where.
        values: how many values there are at each point.
        decisive: which of them must be finite for a point to be ok; left out, all. A number that is derived, such as a
            perplexity that overflows, takes nothing away from the loss it follows from.
    """

    def __init__(self, way: Way, plane: Plane, values: int, decisive: Sequence[int] | None = None) -> None:
        self.way = way
        self.plane = plane
        self._width = values
        self._decisive = list(range(values)) if decisive is None else list(decisive)

    def block(self, indices: np.ndarray, axes: Mapping[str, np.ndarray]) -> Block:
        """Values at some cells of a grid.

        Args:
            indices: flat indices, int64 [n], in C order of the axes.
            axes: coordinates of every axis.

        Returns:
            Values [n, names], statuses and notes. A point whose evaluation raises has failed and says why; the rest
            of the block goes on.
        """
        places = np.unravel_index(indices, tuple(len(c) for c in axes.values()))
        columns = {axis: axes[axis][at] for axis, at in zip(axes, places, strict=True)}
        values, notes = self._attempt(np.stack([columns[axis] for axis in self.plane.axes], axis=1))
        finite = np.isfinite(values[:, self._decisive]).all(axis=1)
        failed = np.array([bool(note) for note in notes])
        status = np.where(failed, Status.FAILED, np.where(finite, Status.OK, Status.NON_FINITE))
        return Block(
            indices=np.asarray(indices, np.int64), values=values, status=status.astype(np.int8), notes=tuple(notes)
        )

    def _attempt(self, coordinates: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """All points at once; where that raises, one by one, to know which it was."""
        try:
            return self.way.values(coordinates), [""] * len(coordinates)
        except torch.OutOfMemoryError:
            raise  # no point fits: to go on would mark the whole plane as failed
        except (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError) as fault:
            if len(coordinates) == 1:
                return np.full((1, self._width), math.nan), [f"{type(fault).__name__}: {fault}"]
        parts = [self._attempt(coordinates[at : at + 1]) for at in range(len(coordinates))]
        return np.concatenate([values for values, _ in parts]), [note for _, (note,) in parts]
