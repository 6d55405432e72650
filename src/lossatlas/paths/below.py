"""How does the surface under a path grow while the path is recorded? In steps that fit a budget, coarse ones first.

Where the path leaves the plane of the last surface, or its grid, another plane is begun, turned to be as close to the
last one as possible. What is kept, and where, is in :mod:`lossatlas.paths.surfaces`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import svd
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.expected import path_of
from lossatlas.objective import Objective
from lossatlas.paths.index import INDEX
from lossatlas.paths.path_losses import own_losses
from lossatlas.paths.surfaces import Surface, add_losses, add_surface, losses_of, next_plane, run_of
from lossatlas.paths.trajectories import Trajectory
from lossatlas.sampling.run import sample
from lossatlas.sampling.samplers import Grid
from lossatlas.space.charts import Plane, Recipe
from lossatlas.space.parameters import dot

__all__ = ["Below"]

_MARGIN = 1.0
_LOST = 0.15
"""A plane is abandoned once it misses this much more of the path's variance than the current principal plane."""


@dataclass
class Below:
    """Samples the surface under a path, a step at a time, for as long as a budget lasts.

    Args:
        folder: of a :class:`~lossatlas.Recorder`, which may still be writing.
        model: a network of the trained architecture; for each plane it is moved to the end of the path.
        objective: makes the objective from it.
        budget: seconds of evaluation. A grid is begun only if it fits into the rest of the budget, judged by the time
            per point of the grid before; the first one is always taken.
        points: along each axis of the finest grid, 2^k + 1.

    Attributes:
        spent: seconds so far.

    Raises:
        SpecError: a number is out of range.
    """

    folder: Path
    model: nn.Module
    objective: Callable[[nn.Module], Objective]
    budget: float = 600.0
    points: int = 33
    spent: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.folder = path_of("folder", self.folder)
        if not self.budget > 0:
            raise SpecError(f"budget={self.budget}; expected seconds above 0")
        if self.points not in (levels := [2**k + 1 for k in range(2, 9)]):
            raise SpecError(f"points={self.points}; expected one of {', '.join(map(str, levels))}, so that grids nest")
        self._made: tuple[Plane, Mapping[str, tuple[float, float, int]], Objective] | None = None
        self._seconds = 0.0
        self._seen = 0

    def step(self) -> bool:
        """Do one thing that is due: evaluate new checkpoints, or sample one grid.

        Returns:
            Whether there was something to do. ``False`` for a while means that training has paused or ended, or that
            the budget is spent.

        Raises:
            SpecError: the path and the objective do not belong together.
            OSError: the folder cannot be written.
        """
        path = self._path()
        if path is None or (self.spent and self.spent >= self.budget):
            return False
        began = time.monotonic()
        if self._made is None or self._left_behind(path):
            self._begin(path)
        assert self._made is not None
        try:
            return self._evaluate(path) or self._refine()
        finally:
            self.spent += time.monotonic() - began

    def _path(self) -> Trajectory | None:
        index = self.folder / INDEX
        if not index.is_file() or index.read_text(encoding="utf-8").count("\n") < 4:
            return None
        path = Trajectory.open(self.folder)
        return path if float(np.ptp(np.diag(path.gram))) > 0 else None

    def _left_behind(self, path: Trajectory) -> bool:
        """Whether the path has left the plane, or the grid on it."""
        if len(path) == self._seen or self._made is None:
            return False
        plane, bounds, _ = self._made
        over = path.project(plane)
        ends = np.array([bounds[axis][:2] for axis in plane.axes])
        if (over.coordinates < ends[:, 0]).any() or (over.coordinates > ends[:, 1]).any():
            return True
        if self._next < self.points:  # the surface is still being sampled, and is finished first
            return False
        total = float(np.trace(path.gram - path.gram.mean(axis=0)))
        missed = float((over.residual**2).sum()) / total
        return missed > 1.0 - float(path.principal(2).shares.sum()) + _LOST

    def _begin(self, path: Trajectory) -> None:
        """Another plane, turned so that its axes are as close as possible to those of the last one."""
        plane = path.plane()
        if self._made is not None:
            plane = _turned(plane, self._made[0])
        bounds = path.project(plane).bounds(self.points, margin=_MARGIN)
        path.load(self.model)
        self._made = (plane, bounds, self.objective(self.model))
        self._plane = next_plane(self.folder)
        self._origin = path.checkpoints[-1].step
        self._next = 5

    def _evaluate(self, path: Trajectory) -> bool:
        """The losses of the networks at checkpoints that are new."""
        assert self._made is not None
        known = losses_of(self.folder)
        new = [place for place, one in enumerate(path.checkpoints) if one.step not in known]
        self._seen = len(path)
        if not new:
            return False
        for place in new:
            found = own_losses(path, self._made[2], place)
            add_losses(self.folder, path.checkpoints[place].step, found)
        return True

    def _refine(self) -> bool:
        """The next finer grid, where there is one and it fits into the budget."""
        assert self._made is not None
        plane, bounds, objective = self._made
        points = self._next
        if points > self.points or (self._seconds and self.spent + self._seconds * points**2 > self.budget):
            return False
        began = time.monotonic()
        made = Surface(plane=self._plane, points=points, origin=self._origin)
        add_surface(self.folder, made)
        grid = Grid(**{axis: (low, high, points) for axis, (low, high, _) in bounds.items()})
        sample(objective, plane, grid, run=run_of(self.folder, made), progress=False)
        self._seconds = (time.monotonic() - began) / points**2
        self._next = 2 * points - 1
        return True


def _turned(plane: Plane, before: Plane) -> Plane:
    """The same plane with its two axes turned to be as close as possible to those of another: orthogonal Procrustes."""
    names = plane.axes
    products = np.array([[dot(plane.directions[a], before.directions[b]) for b in names] for a in names])
    left, _, right = svd(products)
    turn = left @ right
    made = {axis: _mixed(plane, column) for axis, column in zip(names, turn.T, strict=True)}
    labels = {axis: f"axis {number} of the principal plane" for number, axis in enumerate(names, 1)}
    return Plane(plane.origin, made, Recipe(by="none", labels=labels))


def _mixed(plane: Plane, weights: np.ndarray) -> dict[str, Tensor]:
    """A direction of the plane: a given multiple of each of its own."""
    ways = list(plane.directions.values())
    scaled = [{name: float(weight) * way[name] for name in way} for weight, way in zip(weights, ways, strict=True)]
    return {name: torch.stack([one[name] for one in scaled]).sum(dim=0) for name in scaled[0]}
