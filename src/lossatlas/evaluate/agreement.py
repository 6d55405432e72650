"""Is a faster way correct: does it agree with the plain evaluation at points spread over the grid?"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.objective.batches import map_tensors
from lossatlas.space.charts import Plane

__all__ = ["FACTOR", "TOLERANCE", "Agreement", "check_points", "in_double"]

TOLERANCE = 1e-6
"""Relative difference from the plain evaluation that an exact plan may have."""

FACTOR = 2.0
"""A small loss is mostly rounding: how many times as far from double precision as the plain value it may be."""


def check_points(axes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Points spread over a grid: nearest the origin, both ends of the diagonal, and two inside; float64 [5, k].

    Returns:
        Coordinates, a row for each point.

    Example:
        >>> check_points({"x": np.array([-1.0, 0.0, 1.0])})[:, 0].tolist()
        [0.0, -1.0, 1.0, 0.0, 0.0]
    """
    parts = []
    for number, coordinates in enumerate(axes.values()):
        inside = [round(share * (len(coordinates) - 1)) for share in ((0.31, 0.62), (0.73, 0.36), (0.45, 0.84))[number]]
        parts.append(coordinates[[int(np.argmin(np.abs(coordinates))), 0, -1, *inside]])
    return np.stack(parts, axis=1)


class Agreement:
    """What the plain evaluation gives at some points, to compare other ways with.

    Args:
        objective: what is measured.
        plane: where.
        points: float64 [n, k], in the order of the plane's axes.
        truth: float64 [n, number of values], of the plain evaluation.
        tolerance: relative difference that is rounding.
    """

    def __init__(
        self, objective: Objective, plane: Plane, points: np.ndarray, truth: np.ndarray, *, tolerance: float = TOLERANCE
    ) -> None:
        self.points = points
        self.truth = truth
        self.tolerance = tolerance
        self._objective = objective
        self._plane = plane
        self._doubles: dict[int, np.ndarray | None] = {}

    def reason_against(self, values: np.ndarray) -> str:
        """Where values differ from the plain ones by more than rounding; empty if they do not."""
        same = (values == self.truth) | (np.isnan(values) & np.isnan(self.truth))
        with np.errstate(invalid="ignore", divide="ignore"):
            off = np.where(same, 0.0, np.abs(values - self.truth) / np.abs(self.truth))
        for row in np.flatnonzero((~(off <= self.tolerance)).any(axis=1)):
            if not self._as_exact(values[row], int(row)):
                return f"differs from the plain evaluation by {np.nanmax(off[row]):.1e} relative at a check point"
        return ""

    def errors(self, values: np.ndarray) -> dict[str, dict[str, float]]:
        """How far values in a short format are from the exact ones: relative for the loss, absolute for shares."""
        found = {}
        for column, name in enumerate(self._objective.names):
            gap = np.abs(values[:, column] - self.truth[:, column])
            size = np.abs(self.truth[:, column])
            relative = np.divide(gap, size, out=np.zeros_like(gap), where=size > 0)
            found[name] = {
                "largest relative": float(f"{np.max(relative):.3g}"),
                "median relative": float(f"{np.median(relative):.3g}"),
                "largest absolute": float(f"{np.max(gap):.3g}"),
            }
        return found

    def _as_exact(self, values: np.ndarray, row: int) -> bool:
        """Whether a value is as close to that in double precision as the plain one; a small loss is mostly rounding."""
        if row not in self._doubles:
            point = dict(zip(self._plane.axes, self.points[row], strict=True))
            self._doubles[row] = in_double(self._objective, self._plane.at(point))
        double = self._doubles[row]
        if double is None:
            return False
        allowed = np.maximum(FACTOR * np.abs(self.truth[row] - double), self.tolerance * np.abs(double))
        return bool((np.abs(values - double) <= allowed).all())


def in_double(objective: Objective, parameters: Mapping[str, Any]) -> np.ndarray | None:
    """Loss and metrics in double precision, float64 [number of values]; None if the model does not accept it."""
    if objective.device.type == "mps":
        return None
    model = copy.deepcopy(objective.private).double()
    places = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    rows, weights = [], []
    try:
        with torch.inference_mode():
            for name, tensor in parameters.items():
                places[name].copy_(tensor)
            for batch in objective.batches:
                batch = map_tensors(lambda t: t.double() if t.is_floating_point() else t, batch)
                parts = objective.parts(batch, model)
                rows.append([float(part.mean) for part in parts])
                weights.append([float(part.weight) for part in parts])
    except (RuntimeError, TypeError, SpecError):
        return None
    means = np.average(np.array(rows), axis=0, weights=np.array(weights))
    return np.asarray(objective.completed(means[None])[0])
