r"""How high is the barrier on a path between two models?

With :math:`L(x)` along the path, x from 0 to 1, its height is the most by which the loss exceeds the straight line
between its values at the two ends, :math:`\max_x [L(x) - (1 - x) L(0) - x L(1)]` (Entezari et al. 2022, arXiv
2110.06296). Frankle et al. 2020 (arXiv 1912.05671) subtract the mean of the ends instead, which is the same if both
ends are equally good; that is given too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import nn

from lossatlas.connect.alignment import Alignment
from lossatlas.errors import SpecError
from lossatlas.figure.words import number
from lossatlas.objective import Objective
from lossatlas.objective.spread import standard_errors
from lossatlas.oneline import verb_of
from lossatlas.results.landscape import Axis, build
from lossatlas.sampling.interpolation import interpolate
from lossatlas.space.charts import Chart
from lossatlas.space.curves import Curve
from lossatlas.space.directions import tensors_of
from lossatlas.space.parameters import Parameters

__all__ = ["CAVEAT", "Barrier", "barrier", "height", "heights", "with_error"]

CAVEAT = "A barrier belongs to its path: another one, or another permutation of the units, may have none."


@dataclass(frozen=True, kw_only=True)
class Barrier:
    """The height of a barrier, with its error.

    Attributes:
        height: above the line between the losses of the ends; 0 where the loss rises nowhere above it.
        above_mean: the highest loss less the mean of the ends.
        at: share of the path at which it is highest.
        ends: losses of the two ends.
        grid_error: how much higher a parabola through the highest point and its neighbours rises, to allow for what
            lies between the points.
        standard_error: of the height over samples like these, from each sample's own height at the highest point; NaN
            where the samples are not known.
        samples: how many samples.
    """

    height: float
    above_mean: float
    at: float
    ends: tuple[float, float]
    grid_error: float
    standard_error: float = math.nan
    samples: int = 0

    @property
    def words(self) -> str:
        """The height, its errors and where it is, in a sentence."""
        spread = f" ± {number(self.standard_error, 2)}" if math.isfinite(self.standard_error) else ""
        ends = " and ".join(number(end) for end in self.ends)
        between = f", perhaps {number(self.grid_error, 2)} higher between the points" if self.grid_error else ""
        if not self.height:
            return (
                f"no barrier, at no point above the straight line between the losses of the ends{between}; ends {ends}"
            )
        return f"barrier {number(self.height)}{spread} at {number(self.at)} of the path{between}; ends {ends}"


def heights(found: Sequence[Barrier]) -> str:
    """The heights of the barriers on several paths, in a sentence for one line of a picture.

    Args:
        found: barriers, in the order of the paths in the picture's legend.

    Returns:
        The sentence.

    Example:
        >>> low = Barrier(height=0.25, above_mean=0.0, at=0.5, ends=(1.0, 2.0), grid_error=0.0)
        >>> heights([low]), heights([low, low])
        ('Barrier of the loss: 0.25.', 'Barriers of the loss, in the order of the key: 0.25, 0.25.')
    """
    head = "Barrier of the loss" if len(found) == 1 else "Barriers of the loss, in the order of the key"
    return f"{head}: {', '.join(number(one.height, 3) for one in found)}."


def height(way: xr.Dataset, value: str = "loss") -> Barrier:
    """The height of the barrier along a sampled path.

    Args:
        way: a Landscape with one axis that holds 0 and 1, such as :func:`lossatlas.interpolate` gives.
        value: which variable.

    Returns:
        The height, without an error over samples, which a Landscape does not record.

    Raises:
        SpecError: there are more axes, an end is missing, or a value is not finite, so that the height would be
            unknown.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.linspace(0, 1, 5), length=1.0)
        >>> height(build({"x": axis}, {"loss": np.array([1.0, 2, 5, 3, 2])})).height
        3.5
    """
    axes = way["status"].dims
    if len(axes) != 1:
        raise SpecError(f"way has the axes {list(axes)}; a barrier is measured along one")
    x = way[axes[0]].values
    inside = (x >= 0) & (x <= 1)
    x, loss = x[inside], way[value].values[inside]
    if len(x) < 3 or x[0] != 0 or x[-1] != 1:
        raise SpecError("way does not run from 0 to 1 with a point in between; sample x=(0, 1, 25)")
    if lost := int((~np.isfinite(loss)).sum()):
        raise SpecError(f"{lost} of {len(loss)} points {verb_of(lost, 'is')} not finite, so the height is unknown")
    above = loss - loss[0] - x * (loss[-1] - loss[0])
    top = int(np.argmax(above))
    return Barrier(
        height=float(above[top]),
        above_mean=float(loss.max() - (loss[0] + loss[-1]) / 2),
        at=float(x[top]),
        ends=(float(loss[0]), float(loss[-1])),
        grid_error=_missed(x, above, top),
    )


def _missed(x: np.ndarray, above: np.ndarray, top: int) -> float:
    """How far the parabola through a highest point and its neighbours rises above that point."""
    if not 0 < top < len(x) - 1:
        return 0.0
    bend, slope, level = np.polyfit(x[top - 1 : top + 2] - x[top], above[top - 1 : top + 2], 2)
    return float(max(level - slope**2 / (4 * bend) - above[top], 0.0)) if bend < 0 else 0.0


def barrier(
    objective: Objective,
    a: nn.Module | Parameters,
    b: nn.Module | Parameters,
    *,
    steps: int = 25,
    run: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> tuple[Barrier, xr.Dataset]:
    """The barrier on the straight line between two models, with its error over samples.

    Args:
        objective: what is measured; its ``batchnorm`` says what happens to running statistics in between.
        a: model or state dict at 0.
        b: model or state dict at 1.
        steps: number of points.
        run: a folder that keeps every point; the same call resumes there.
        progress: show a progress bar; by default where it takes more than two seconds.

    Returns:
        The barrier, and the Landscape along the line. An aligned copy of the first network itself has barrier 0.

    Raises:
        SpecError: the models are identical or differ in architecture, or the loss is not finite in between.

    Example:
        >>> a, b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(a.weight, -1.0), nn.init.constant_(b.weight, 1.0)
        >>> loss = lambda outputs, targets: (1 - outputs**2) ** 2
        >>> objective = Objective(a, (torch.ones(4, 1), torch.zeros(4, 1)), loss)
        >>> barrier(objective, a, b, steps=5)[0].height
        1.0
    """
    ends = [{n: t for n, t in tensors_of(model).items() if n in objective.origin} for model in (a, b)]
    if isinstance(b, Alignment) and all(torch.equal(ends[0][n].cpu(), t.cpu()) for n, t in ends[1].items()):
        values = objective(ends[0])
        x = Axis(
            coordinates=np.linspace(0, 1, steps), length=0.0, label="no line: the aligned network is the first one"
        )
        flat = build({"x": x}, {name: np.full(steps, value) for name, value in values.items()})
        return height(flat), flat
    way = interpolate(objective, a, b, steps=steps, run=run, progress=progress)
    line = Curve([{**objective.origin, **end} for end in ends], "polygon")
    return with_error(height(way), objective, line), way


def with_error(found: Barrier, objective: Objective, way: Chart) -> Barrier:
    """The same barrier with its standard error over samples, where the loss has a value for each."""
    try:
        rows = [_each(objective, way.at({"x": x})) for x in (0.0, found.at, 1.0)]
    except SpecError:
        return found
    own = rows[1] - (1 - found.at) * rows[0] - found.at * rows[2]
    error = float(standard_errors(own[:, None], np.ones((len(own), 1)))[0]) if len(own) > 1 else math.nan
    return Barrier(**{**vars(found), "standard_error": error, "samples": len(own)})


def _each(objective: Objective, params: Parameters) -> np.ndarray:
    """The loss of every sample at a point, float64 [N]."""
    objective(params)  # moves the private copy there, and measures its statistics afresh if they are recalibrated
    found: np.ndarray = objective.each()[:, 0].numpy()
    return found
