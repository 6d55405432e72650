"""What was the loss of the networks on a path, and what does the surface below them show instead?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective import Objective, batchnorm
from lossatlas.paths.findings import PathLosses
from lossatlas.space.charts import Plane

__all__ = ["Path", "measure", "own_losses"]


class Path(Protocol):
    """A path of checkpoints: a :class:`~lossatlas.Trajectory`."""

    @property
    def shapes(self) -> Mapping[str, Any]:
        """Of every parameter."""
        ...

    @property
    def runs(self) -> tuple[int, ...]:
        """Numbers of checkpoints of its runs."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """What its runs are called, if there are several."""
        ...

    @property
    def checkpoints(self) -> Any:
        """What is recorded of each."""
        ...

    def project(self, plane: Plane, /) -> Any:
        """Where each lies over a plane."""
        ...

    def at(self, index: int, /) -> dict[str, Tensor]:
        """The parameters at a checkpoint."""
        ...

    def statistics(self, index: int, /) -> dict[str, Tensor]:
        """The running statistics at a checkpoint."""
        ...


def measure(trajectory: Path, objective: Objective, plane: Plane) -> PathLosses:
    """See :meth:`lossatlas.Trajectory.losses`."""
    strangers = [name for name in trajectory.shapes if name not in objective.origin]
    if strangers:
        raise SpecError(f"the path has {strangers[0]!r}, which the objective's model lacks")
    projected = trajectory.project(plane)
    own: list[dict[str, float]] = []
    surface: list[dict[str, float]] = []
    for index, row in enumerate(projected.coordinates):
        own.append(own_losses(trajectory, objective, index))
        point = plane.at(dict(zip(plane.axes, row.tolist(), strict=True)))
        surface.append(objective({name: tensor for name, tensor in point.items() if name in objective.origin}))
    return PathLosses(
        checkpoints=trajectory.checkpoints,
        projected=projected,
        own={name: np.array([values[name] for values in own]) for name in objective.names},
        surface={name: np.array([values[name] for values in surface]) for name in objective.names},
        runs=trajectory.runs,
        names=trajectory.names,
    )


def own_losses(trajectory: Path, objective: Objective, index: int) -> dict[str, float]:
    """Loss and metrics of the network at a checkpoint, with the running statistics that were kept with it.

    Args:
        trajectory: the path.
        objective: what is measured.
        index: of the checkpoint.

    Returns:
        Values by name.
    """
    with _own_statistics(objective, trajectory.statistics(index)) as moved:
        return objective({**trajectory.at(index), **moved})


@contextmanager
def _own_statistics(objective: Objective, kept: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Give the objective's private copy the running statistics of a checkpoint, and afterwards its own again.

    Yields:
        The statistics that are coordinates of a point, if the objective interpolates them.
    """
    if objective.batchnorm == "interpolated":
        yield {name: tensor for name, tensor in kept.items() if name in objective.origin}
        return
    places = batchnorm.statistics(objective.private)
    before = {name: place.clone() for name, place in places.items()}
    try:
        with torch.no_grad():
            for name, place in places.items():
                place.copy_(kept.get(name, place))
        yield {}
    finally:
        with torch.no_grad():
            for name, place in places.items():
                place.copy_(before[name])
