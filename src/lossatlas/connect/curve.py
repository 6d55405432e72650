r"""Is there a low path between two networks? A curve is trained so that the loss is small all along it.

The bends of a :class:`~lossatlas.space.curves.Curve` are trained to make :math:`E_{t ∼ U(0, 1)} L(θ(t))` small, with
the two ends fixed: at each batch a t is drawn, and each bend moves against its weight at t times the gradient there
(Garipov et al. 2018, arXiv 1802.10026; Draxler et al. 2018, arXiv 1803.00885).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from lossatlas.connect import barriers, connections
from lossatlas.connect.barriers import Barrier
from lossatlas.connect.curve_training import TRAINING, Training, check_kept, train
from lossatlas.draw.view import ScaleOption
from lossatlas.errors import SpecError
from lossatlas.figure.overlays import Path, Points
from lossatlas.figure.plot import Plot, onto
from lossatlas.figure.words import percent
from lossatlas.objective import Objective, batchnorm
from lossatlas.objective.given import check_objective
from lossatlas.oneline import number_of, one_line
from lossatlas.results.asked import check_points
from lossatlas.sampling.interpolation import interpolate
from lossatlas.sampling.run import sample
from lossatlas.sampling.samplers import Grid
from lossatlas.space.charts import Plane, Recipe
from lossatlas.space.curves import Curve, Kind, midway
from lossatlas.space.directions import tensors_of
from lossatlas.space.parameters import Parameters, difference, dot, norm, precise
from lossatlas.warned import warn

__all__ = ["TITLE", "TRAINED", "Connection", "along", "connect"]

TITLE = "Between two networks"
TRAINED = {"bezier": "trained Bézier curve", "polygon": "trained chain of lines"}
"""What trained paths are called."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A trained path between two networks, with the straight line for comparison.

    Attributes:
        curve: the path.
        landscape: loss and metrics along it, over the share of its length.
        line: the same along the straight line.
        barrier: of the path.
        line_barrier: of the straight line.
        batchnorm: how running statistics were treated on both.
        losses: float64 [epochs], mean loss over t in training.
    """

    curve: Curve
    landscape: xr.Dataset
    line: xr.Dataset
    barrier: Barrier
    line_barrier: Barrier
    batchnorm: str
    losses: np.ndarray

    __repr__ = one_line

    @property
    def words(self) -> str:
        """Both barriers, and how they were measured."""
        mode = f" BatchNorm {self.batchnorm}." if self.batchnorm else ""
        return f"{self._barriers}{mode}"

    @property
    def _barriers(self) -> str:
        longer = self.curve.length / float(self.line["x"].attrs["length"])
        return (
            f"Straight line: {self.line_barrier.words}. Trained curve, {longer:.2f} times as long: "
            f"{self.barrier.words}."
        )

    def plot(self, ax: Any = None, *, scale: ScaleOption = "auto") -> Plot:
        """The loss along the curve beside that along the line.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.
            scale: "linear", also for "auto", or "log".

        Returns:
            The plot.
        """
        ways = {"straight line": self.line, TRAINED[self.curve.kind]: self.landscape}
        return onto(ax, connections.plot(ways, title=TITLE, caption=self._caption, scale=scale))

    @property
    def _caption(self) -> tuple[str, ...]:
        heights = barriers.heights([self.line_barrier, self.barrier])
        return connections.caption(heights, [self._barriers], [self.line, self.landscape])

    def plane(self, axes: tuple[str, str] = ("x", "y")) -> Plane:
        """The plane through both networks and the first bend: the first network at (0, 0), the second at (1, 0).

        The second direction is at right angles to the first and just as long, so that the picture has the same scale
        along both and shows true angles.

        Returns:
            The plane, whose axes are named as asked.

        Raises:
            SpecError: the curve has no bend, or lies on the line.
        """
        points = self.curve.points
        if len(points) < 3:
            raise SpecError("the curve has no bend: it is the straight line and spans no plane")
        way, aside = difference(points[-1], points[0]), difference(points[1], points[0])
        lean = dot(aside, way) / dot(way, way)
        upright = {name: precise(aside[name]) - lean * precise(way[name]) for name in way}
        if norm(upright) < 1e-6 * norm(way):
            raise SpecError("the bend lies on the straight line, so the curve spans no plane")
        scale = norm(way) / norm(upright)
        directions = {axes[0]: way, axes[1]: {n: (scale * t).to(way[n]) for n, t in upright.items()}}
        labels = {axes[0]: "from the first network (0) to the second (1)", axes[1]: "towards the bend"}
        return Plane(points[0], directions, Recipe(labels=labels, by="none"))

    def bounds(self, points: int = 31, margin: float = 0.25) -> dict[str, tuple[float, float, int]]:
        """Axes of :meth:`plane` that hold both networks and the curve, with room around."""
        low, high = np.array([0.0, 0.0]), np.array([1.0, 0.0])
        for row in self._over(self.plane(), np.linspace(0, 1, 41)):
            low, high = np.minimum(low, row), np.maximum(high, row)
        room = margin * float((high - low).max())
        return {axis: (float(a - room), float(b + room), points) for axis, a, b in zip("xy", low, high, strict=True)}

    def overlay(self, plane: Plane | None = None) -> list[Path | Points]:
        """The curve and its two ends on a plane with two axes.

        Args:
            plane: by default :meth:`plane`. If the curve leaves it, the nearest points are shown, and the caption says
                how far off it runs.

        Returns:
            What ``la.draw(..., overlays=...)`` takes.
        """
        shown = plane or self.plane()
        times = np.linspace(0, 1, 41)
        way = self._over(shown, times)
        gaps = [shown.project(self.curve.point(float(t))).residual for t in times]
        off = f"The curve leaves this plane by up to {percent(max(gaps))} of the distance from its origin."
        note = off if max(gaps) > 1e-3 else ""
        return [
            Path(x=way[:, 0], y=way[:, 1], label="trained curve", dots=False, note=note),
            Points(x=way[[0, -1], 0], y=way[[0, -1], 1], label="the two networks", words=("first", "second")),
        ]

    def _over(self, plane: Plane, times: np.ndarray) -> np.ndarray:
        rows = [plane.project(self.curve.point(float(t))).coordinates for t in times]
        return np.array([[row[axis] for axis in plane.axes] for row in rows])


@torch.inference_mode(False)
def connect(
    objective: Objective,
    a: nn.Module | Parameters,
    b: nn.Module | Parameters,
    *,
    kind: Kind = "bezier",
    bends: int = 1,
    steps: int = 25,
    training: Training | None = None,
    run: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Connection:
    """Train a low path between two networks, and measure it beside the straight line.

    The objective's data are the training data. With ``batchnorm="recalibrated"`` the curve is trained with the
    statistics of each batch and measured with those of all data at every point. With ``"frozen"`` all points use the
    statistics of the objective's model, which are wrong at the other network; a warning says so.

    Args:
        objective: what is minimised and measured.
        a: model or state dict at one end.
        b: at the other.
        kind: ``"bezier"``, or ``"polygon"``, a chain of lines.
        bends: number of points between the ends that are trained.
        steps: number of points along each path at which it is measured.
        training: how; by default 60 epochs of SGD.
        run: a folder that saves the state of training every few seconds, and both paths as run folders, ``line`` and
            ``curve``, the latter with ``curve.safetensors``. The same call resumes there after any interruption.
        progress: show progress bars on stderr; by default where a part takes more than two seconds.

    Returns:
        The curve, the Landscapes along it and along the line, and both barriers.

    Raises:
        SpecError: the models are identical or differ in architecture, there is no bend, or the training diverged.
        RunMismatchError: the folder belongs to another connection; the message names the part that differs.

    Example:
        >>> import torch, lossatlas as la
        >>> ends = [la.zoo.model("mlp", seed=seed, widths=(64, 8, 10)) for seed in (0, 1)]
        >>> objective = la.Objective(ends[0], la.zoo.data("digits"), torch.nn.functional.cross_entropy)
        >>> found = connect(objective, *ends, steps=3, training=Training(epochs=1))
        >>> found.landscape["loss"].dims, found.curve.kind
        (('x',), 'bezier')
    """
    if bends < 1:
        raise SpecError(f"bends={bends}; expected at least one point to train between the ends")
    if steps < 3:
        raise SpecError(f"steps={steps}; expected at least 3 points along the path")
    recipe = training or Training()
    _check_statistics(objective)
    ends = [_whole(objective, model) for model in (a, b)]
    shares = np.linspace(0, 1, bends + 2)[1:-1].tolist()
    curve = Curve([ends[0], *(midway(ends[0], ends[1], share) for share in shares), ends[1]], kind)
    folder = None if run is None else connections.folder_for(run)
    kept = None if folder is None else folder / TRAINING
    if folder is not None:
        check_kept(folder, kind, bends, recipe)
        for name in ("curve", "line"):
            check_points(folder / name, {"x": steps}, f"steps={steps}")
    losses = train(objective, curve, recipe, progress=progress, kept=kept)
    curve = Curve(curve.points, kind)  # its lengths are those of the trained points
    ways = {name: None if folder is None else folder / name for name in ("curve", "line")}
    landscape = along(objective, curve, steps=steps, run=ways["curve"])
    line = interpolate(objective, *ends, steps=steps, run=ways["line"], progress=progress)
    straight = Curve(ends, "polygon")
    found = Connection(
        curve=curve,
        landscape=landscape,
        line=line,
        barrier=barriers.with_error(barriers.height(landscape), objective, curve),
        line_barrier=barriers.with_error(barriers.height(line), objective, straight),
        batchnorm=objective.batchnorm if batchnorm.layers(objective.model) else "",
        losses=losses,
    )
    if folder is not None:
        named = {"line": "straight line", "curve": TRAINED[kind]}
        heights = {"straight line": found.line_barrier.words, TRAINED[kind]: found.barrier.words}
        connections.note(folder, named, title=TITLE, caption=found._caption, barriers=heights)
    return found


def along(
    objective: Objective, curve: Curve, *, steps: int = 25, run: str | os.PathLike[str] | None = None
) -> xr.Dataset:
    """Loss and metrics along a curve, at even shares of its length.

    Args:
        objective: what is measured.
        curve: where.
        steps: number of points.
        run: a folder that keeps every point, and the curve as ``curve.safetensors``; the same call resumes there.

    Returns:
        A Landscape with the one dim ``x``, from 0 to 1.

    Raises:
        RunMismatchError: the folder holds another run.
        SpecError: the input is not valid, or the loss at the first end is not finite.
    """
    return sample(objective, curve, Grid(x=(0, 1, steps)), run=run, progress=False)


def _check_statistics(objective: Objective) -> None:
    check_objective(objective)
    if objective.in_place:
        raise SpecError("objective has in_place=True: a curve visits other weights; make it without in_place")
    if objective.batchnorm == "frozen" and batchnorm.layers(objective.model):
        warn(
            "batchnorm='frozen': all points of the path get the running statistics of the objective's model, which fit "
            "only that model; make the Objective with batchnorm='recalibrated'",
        )


def _whole(objective: Objective, model: nn.Module | Parameters) -> dict[str, Tensor]:
    """All tensors of a point, in the order of the objective's origin."""
    found = {name: tensor.detach() for name, tensor in tensors_of(model).items() if name in objective.origin}
    missing = [name for name in objective.origin if name not in found]
    if missing:
        raise SpecError(f"another architecture: {number_of(len(missing), 'tensor')} missing, first {missing[0]!r}")
    return {name: found[name].to(objective.device).clone() for name in objective.origin}
