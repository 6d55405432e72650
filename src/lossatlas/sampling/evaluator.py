"""What are the values at a block of points, on one device."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block
from lossatlas.space.charts import Plane
from lossatlas.space.parameters import combine

SHORT = (torch.bfloat16, torch.float16)


class Evaluator:
    """Evaluates an objective at points of a plane, each from the pristine weights.

    The private copy of the model is moved in place, by two or three operations over all tensors at once; nothing is
    added up from point to point, so no error grows with the length of a run.

    Args:
        objective: what is measured.
        plane: where.

    Raises:
        SpecError: the plane belongs to another architecture.
    """

    def __init__(self, objective: Objective, plane: Plane) -> None:
        strangers = [name for name in plane.origin if name not in objective.origin]
        if strangers:
            raise SpecError(f"plane: its tensor {strangers[0]!r} is not in the objective's model")
        self.objective = objective
        self.plane = plane
        for name, place in objective.places.items():
            place.copy_(plane.origin.get(name, objective.origin[name]))
        device = objective.device
        self._base = {name: plane.origin[name].to(device) for name in plane.moving}
        self._directions = {
            axis: {name: tensor.to(self._base[name]) for name, tensor in direction.items()}
            for axis, direction in plane.directions.items()
        }
        self._short = any(tensor.dtype in SHORT for tensor in self._base.values())

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
        points = [
            {axis: float(axes[axis][at]) for axis, at in zip(axes, position, strict=True)}
            for position in zip(*places, strict=True)
        ]
        rows, status, notes = [], [], []
        for point in points:
            values, note = self._attempt(point)
            rows.append(list(values.values()))
            notes.append(note)
            finite = all(math.isfinite(value) for value in values.values())
            status.append(Status.FAILED if note else Status.OK if finite else Status.NON_FINITE)
        return Block(
            indices=np.asarray(indices, np.int64),
            values=np.array(rows, np.float64),
            status=np.array(status, np.int8),
            notes=tuple(notes),
        )

    def _attempt(self, point: Mapping[str, float]) -> tuple[dict[str, float], str]:
        try:
            return self.at(point), ""
        except torch.OutOfMemoryError:
            raise  # no point fits: to go on would mark the whole plane as failed
        except (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError) as fault:
            return dict.fromkeys(self.objective.names, math.nan), f"{type(fault).__name__}: {fault}"

    def at(self, point: Mapping[str, float]) -> dict[str, float]:
        """Loss and metrics at one point, by axis."""
        self.move(point)
        return self.objective.measure()

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
