"""How is a point evaluated plainly? The private copy is moved there and called batch by batch, as a reference."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.objective.spread import measure_with_errors
from lossatlas.space.charts import Chart, Plane
from lossatlas.space.parameters import combine

__all__ = ["Plain", "PlainEach", "PlainWithErrors"]

SHORT = (torch.bfloat16, torch.float16)


class Plain:
    """Evaluates points of a chart by moving the private copy of the model and calling it, batch by batch.

    On a plane the copy is moved in place, by two or three operations over all tensors at once, each time from the
    original weights; nothing accumulates from point to point, so no error grows with the length of a run. On any other
    chart it is put where the chart says.

    Args:
        objective: what is measured.
        chart: where.

    Raises:
        SpecError: the chart belongs to another architecture.
    """

    def __init__(self, objective: Objective, chart: Chart) -> None:
        if objective.in_place:
            raise SpecError("in_place=True: only sample() visits points, since it puts the weights back")
        self.objective = objective
        self.chart = chart
        self._mover = _OnPlane(objective, chart) if isinstance(chart, Plane) else _Anywhere(objective, chart)

    def beside(self, objective: Objective) -> Plain:
        """The same on an objective whose private copy is stored alike; what is only read exists once."""
        twin = copy.copy(self)
        twin.objective = objective
        twin._mover = self._mover.beside(objective)
        return twin

    def scale(self, factors: Mapping[str, Tensor]) -> None:
        """Multiply tensors at every point by factors that broadcast with them; call it before any :meth:`beside`."""
        self._mover.scale(factors)

    def close(self) -> None:
        """Nothing is held."""

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """Loss and metrics at some points.

        Args:
            coordinates: float64 [n, k], in the order of the chart's axes.

        Returns:
            float64 [n, number of values].
        """
        rows = []
        for row in coordinates:
            self._mover.move(dict(zip(self.chart.axes, row.tolist(), strict=True)))
            rows.append(self._measured())
        return np.array(rows, np.float64).reshape(len(coordinates), -1)

    def _measured(self) -> list[float]:
        """The values at the copy's present point."""
        return list(self.objective.measure().values())


class PlainWithErrors(Plain):
    """The same with a standard error beside every value, from the values of all samples.

    Args:
        objective: what is measured.
        chart: where.

    Raises:
        SpecError: single samples have no loss: the copy's present point is tried at once.
    """

    def __init__(self, objective: Objective, chart: Chart) -> None:
        super().__init__(objective, chart)
        self._measured()

    def _measured(self) -> list[float]:
        values, errors = measure_with_errors(self.objective)
        return [*values.values(), *errors.values()]


class PlainEach(Plain):
    """The loss and the metrics of every sample by itself: rows of the table [N, measured], one after the other."""

    def _measured(self) -> list[float]:
        found: list[float] = self.objective.each().flatten().tolist()
        return found


class _OnPlane:
    """Moves the private copy over a plane."""

    def __init__(self, objective: Objective, plane: Plane) -> None:
        strangers = [name for name in plane.origin if name not in objective.origin]
        if strangers:
            raise SpecError(f"plane: its tensor {strangers[0]!r} is not in the objective's model")
        self._plane = plane
        self._factors: dict[str, Tensor] = {}
        self._enter(objective)
        device = objective.device
        self._base = {name: _laid_out(plane.origin[name].to(device), self._places[name]) for name in plane.moving}
        self._short = any(tensor.dtype in SHORT for tensor in self._base.values())
        self._directions = {
            axis: {name: self._step(name, tensor) for name, tensor in direction.items()}
            for axis, direction in plane.directions.items()
        }

    def _enter(self, objective: Objective) -> None:
        self._objective, self._places = objective, objective.places
        for name, place in self._places.items():
            place.copy_(_times(self._plane.origin.get(name, objective.origin[name]), self._factors.get(name)))

    def beside(self, objective: Objective) -> _OnPlane:
        twin = copy.copy(self)
        twin._enter(objective)
        return twin

    def scale(self, factors: Mapping[str, Tensor]) -> None:
        self._factors = dict(factors)
        for tensors in (self._base, *self._directions.values()):
            tensors.update({name: _times(tensors[name], factors[name]) for name in tensors.keys() & factors.keys()})
        self._enter(self._objective)

    def _step(self, name: str, direction: Tensor) -> Tensor:
        return _laid_out(_beside(direction, self._base[name]), self._places[name])

    def move(self, point: Mapping[str, float]) -> None:
        places = self._places
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


class _Anywhere:
    """Puts the private copy where a chart says."""

    def __init__(self, objective: Objective, chart: Chart) -> None:
        self._objective = objective
        self._chart = chart

    def beside(self, objective: Objective) -> _Anywhere:
        return _Anywhere(objective, self._chart)

    def scale(self, factors: Mapping[str, Tensor]) -> None:
        raise SpecError("weights can be scaled only on a plane")

    def move(self, point: Mapping[str, float]) -> None:
        self._objective.move(self._chart.at(point))


def _laid_out(tensor: Tensor, place: Tensor) -> Tensor:
    """A tensor stored in the order of the one that it is added to; for images, each order is a copy of the other."""
    last = tensor.dim() == 4 and place.is_contiguous(memory_format=torch.channels_last)
    return tensor.contiguous(memory_format=torch.channels_last) if last else tensor


def _times(tensor: Tensor, factor: Tensor | None) -> Tensor:
    """A product, rounded once; stored in the order of the tensor."""
    return tensor if factor is None else (tensor.double() * factor.to(tensor.device)).to(tensor.dtype)


def _beside(step: Tensor, base: Tensor) -> Tensor:
    """A direction on the weights' device, in their format, unless that is short and the sum is rounded only once."""
    return step.to(base.device) if base.dtype in SHORT else step.to(base)
