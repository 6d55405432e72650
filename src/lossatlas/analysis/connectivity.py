r"""Is there a low way between two networks: a curve trained so that the loss is small all along it.

The bends of a :class:`~lossatlas.space.curves.Curve` are trained to make :math:`E_{t ∼ U(0, 1)} L(θ(t))` small, with
the two ends fixed: at each batch a t is drawn, and each bend moves against its weight at t times the gradient there
(Garipov et al. 2018, arXiv 1802.10026; Draxler et al. 2018, arXiv 1803.00885).
"""

from __future__ import annotations

import copy
import datetime
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from tqdm import tqdm

from lossatlas.analysis import barriers
from lossatlas.analysis.barriers import Barrier
from lossatlas.draw.overlays import Path, Points
from lossatlas.draw.plot import Plot
from lossatlas.draw.words import percent
from lossatlas.errors import SpecError
from lossatlas.objective import Objective, batchnorm, calling, reduction
from lossatlas.objective.batches import size_of
from lossatlas.results.landscape import About, Axis, build
from lossatlas.sampling.run import interpolate
from lossatlas.space.charts import Plane, Recipe
from lossatlas.space.curves import Curve, Kind, midway
from lossatlas.space.directions import tensors_of
from lossatlas.space.parameters import Parameters, difference, dot, norm, precise


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the bends of a curve are trained: SGD with momentum, at the full rate for the first half, then falling.

    Attributes:
        epochs: passes over the objective's batches.
        lr: learning rate.
        momentum: of SGD.
        seed: of t and of the order of the batches.
    """

    epochs: int = 60
    lr: float = 0.05
    momentum: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.epochs < 0 or not self.lr > 0:
            raise SpecError(f"epochs={self.epochs}, lr={self.lr}; expected at least 0 epochs and a rate above 0")

    def lr_at(self, progress: float) -> float:
        """The rate at a share of the training: full to a half, then falling to a hundredth at nine tenths.

        Example:
            >>> [round(Training(lr=1.0).lr_at(share), 3) for share in (0.2, 0.7, 0.95)]
            [1.0, 0.505, 0.01]
        """
        return self.lr * float(np.interp(progress, (0.5, 0.9), (1.0, 0.01)))


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A trained way between two networks, beside the straight line.

    Attributes:
        curve: the way.
        landscape: loss and metrics along it, over the share of its length.
        line: the same along the straight line.
        barrier: of the way.
        line_barrier: of the straight line.
        batchnorm: what became of running statistics on both.
        losses: float64 [epochs], mean loss over t in training.
    """

    curve: Curve
    landscape: xr.Dataset
    line: xr.Dataset
    barrier: Barrier
    line_barrier: Barrier
    batchnorm: str
    losses: np.ndarray

    @property
    def words(self) -> str:
        """Both barriers, and how they were measured."""
        mode = f" BatchNorm {self.batchnorm}." if self.batchnorm else ""
        longer = self.curve.length / float(self.line["x"].attrs["length"])
        return (
            f"Straight line: {self.line_barrier.words}. Trained curve, {longer:.2f} times as long: "
            f"{self.barrier.words}.{mode}"
        )

    def plot(self) -> Plot:
        """The loss along the curve beside that along the line."""
        name = {"bezier": "trained Bézier curve", "polygon": "trained chain of lines"}[self.curve.kind]
        return barriers.plot(
            {"straight line": self.line, name: self.landscape},
            title="Between two networks",
            caption=(self.words, barriers.CAVEAT),
        )

    def plane(self, axes: tuple[str, str] = ("x", "y")) -> Plane:
        """The plane through both networks and the first bend: the first network at (0, 0), the second at (1, 0).

        The second direction is at right angles to the first and as long, so that the picture has the same scale along
        both and shows angles as they are.

        Raises:
            SpecError: a curve without a bend, or one that lies on the line.
        """
        points = self.curve.points
        if len(points) < 3:
            raise SpecError("the curve has no bend: it is the straight line, and spans no plane")
        way, aside = difference(points[-1], points[0]), difference(points[1], points[0])
        lean = dot(aside, way) / dot(way, way)
        upright = {name: precise(aside[name]) - lean * precise(way[name]) for name in way}
        if norm(upright) < 1e-6 * norm(way):
            raise SpecError("the bend lies on the straight line: the curve spans no plane")
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
        """The curve and its two ends upon a plane with two axes.

        Args:
            plane: left out, :meth:`plane`. Of a curve that leaves it, the nearest points are shown, and the caption
                says how far off it runs.
        """
        shown = plane or self.plane()
        times = np.linspace(0, 1, 41)
        way = self._over(shown, times)
        gaps = [shown.project(self.curve.point(float(t))).residual for t in times]
        off = f"The curve runs off this plane by up to {percent(max(gaps))} of the distance from its origin."
        note = off if max(gaps) > 1e-3 else ""
        return [
            Path(x=way[:, 0], y=way[:, 1], label="trained curve", dots=False, note=note),
            Points(x=way[[0, -1], 0], y=way[[0, -1], 1], label="the two networks", words=("first", "second")),
        ]

    def _over(self, plane: Plane, times: np.ndarray) -> np.ndarray:
        rows = [plane.project(self.curve.point(float(t))).coordinates for t in times]
        return np.array([[row[axis] for axis in plane.axes] for row in rows])


def connect(
    objective: Objective,
    a: nn.Module | Parameters,
    b: nn.Module | Parameters,
    *,
    kind: Kind = "bezier",
    bends: int = 1,
    steps: int = 25,
    training: Training | None = None,
    progress: bool = False,
) -> Connection:
    """Train a low way between two networks, and measure it beside the straight line.

    The objective's data is the training data. With ``batchnorm="recalibrated"`` the curve is trained with the
    statistics of each batch and measured with those of all data at every point. With ``"frozen"`` all points have the
    statistics of the objective's model, which at the other network are not its own; a warning says so.

    Args:
        objective: what is made small and measured.
        a: model or state dict at one end.
        b: at the other.
        kind: ``"bezier"``, or ``"polygon"``, a chain of lines.
        bends: number of points between the ends that are trained.
        steps: points along each way at which it is measured.
        training: how; left out, 60 epochs of SGD.
        progress: show a progress bar on stderr.

    Returns:
        The curve, the Landscapes along it and along the line, and both barriers.

    Raises:
        SpecError: identical or different architectures, no bend, or a training that diverged.

    Example:
        >>> import lossatlas as la
        >>> ends = [la.zoo.model("mlp", seed=seed, widths=(64, 8, 10)) for seed in (0, 1)]
        >>> objective = la.Objective(ends[0], la.zoo.data("digits"), torch.nn.functional.cross_entropy)
        >>> found = connect(objective, *ends, steps=3, training=Training(epochs=1))
        >>> found.landscape["loss"].dims, found.curve.kind
        (('x',), 'bezier')
    """
    if bends < 1:
        raise SpecError(f"bends={bends}; expected at least one point to train between the ends")
    if steps < 3:
        raise SpecError(f"steps={steps}; expected at least 3 points along the way")
    recipe = training or Training()
    _check_statistics(objective)
    ends = [_whole(objective, model) for model in (a, b)]
    shares = np.linspace(0, 1, bends + 2)[1:-1].tolist()
    curve = Curve([ends[0], *(midway(ends[0], ends[1], share) for share in shares), ends[1]], kind)
    losses = _train(objective, curve, recipe, progress=progress)
    curve = Curve(curve.points, kind)  # its lengths are those of the trained points
    landscape = along(objective, curve, steps=steps)
    line = interpolate(objective, *ends, steps=steps, progress=False)
    straight = Curve(ends, "polygon")
    return Connection(
        curve=curve,
        landscape=landscape,
        line=line,
        barrier=barriers.with_error(barriers.height(landscape), objective, curve),
        line_barrier=barriers.with_error(barriers.height(line), objective, straight),
        batchnorm=objective.batchnorm if batchnorm.layers(objective.model) else "",
        losses=losses,
    )


def along(objective: Objective, curve: Curve, *, steps: int = 25) -> xr.Dataset:
    """Loss and metrics along a curve, at even shares of its length.

    Args:
        objective: what is measured.
        curve: where.
        steps: number of points.

    Returns:
        A Landscape with the one dim ``x``, from 0 to 1.
    """
    shares = np.linspace(0, 1, steps)
    rows = [objective(curve.point(float(t))) for t in curve.times(shares)]
    label = {"bezier": "share of the Bézier curve", "polygon": "share of the chain of lines"}[curve.kind]
    about = About(
        title=objective.name,
        model=type(objective.model).__name__,
        data=objective.data_name,
        loss="the model's own" if objective.loss is None else reduction.name_of(objective.loss),
        samples=objective.samples,
        normalisation="none",
        batchnorm=objective.batchnorm if batchnorm.layers(objective.model) else "",
        dtype=",".join(sorted({str(t.dtype).removeprefix("torch.") for t in curve.points[0].values()})),
        device=objective.device.type,
        centre=rows[0],
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        software=f"lossatlas {version('lossatlas')}",
        provenance={"bends": len(curve.points) - 2, "kind": curve.kind},
    )
    axis = Axis(coordinates=shares, length=curve.length, label=label)
    values = {name: np.array([row[name] for row in rows]) for name in objective.names}
    return build({"x": axis}, values, about=about)


def _check_statistics(objective: Objective) -> None:
    if objective.in_place:
        raise SpecError("objective has in_place=True: a curve visits other weights; make it without in_place")
    if objective.batchnorm == "frozen" and batchnorm.layers(objective.model):
        warnings.warn(
            "batchnorm='frozen': all points of the way get the running statistics of the objective's model, which fit "
            "none but itself; make the Objective with batchnorm='recalibrated'",
            stacklevel=3,
        )


def _whole(objective: Objective, model: nn.Module | Parameters) -> dict[str, Tensor]:
    """All tensors of a point, in the order of the objective's origin."""
    found = {name: tensor.detach() for name, tensor in tensors_of(model).items() if name in objective.origin}
    missing = [name for name in objective.origin if name not in found]
    if missing:
        raise SpecError(f"another architecture: {len(missing)} tensors missing, first {missing[0]!r}")
    return {name: found[name].to(objective.device).clone() for name in objective.origin}


def _train(objective: Objective, curve: Curve, recipe: Training, *, progress: bool) -> np.ndarray:
    """Move the inner points of a curve, in place; the mean loss of each epoch."""
    model = copy.deepcopy(objective.private)
    places = dict(model.named_parameters())
    for name, parameter in objective.model.named_parameters():
        places[name].requires_grad_(parameter.requires_grad)
    if objective.batchnorm == "recalibrated":
        for layer in batchnorm.layers(model).values():
            layer.train()
    moved = [name for name, place in places.items() if place.requires_grad]
    inner = [[point[name] for name in moved] for point in curve.points[1:-1]]
    optimizer = torch.optim.SGD([t for bend in inner for t in bend], lr=recipe.lr, momentum=recipe.momentum)
    rng = np.random.default_rng(recipe.seed)
    targets = dict(places) | (batchnorm.statistics(model) if objective.batchnorm == "interpolated" else {})
    losses = []
    with objective.batches.seeded(recipe.seed):
        batches = list(objective.batches) if objective.batches.kept else None
        for epoch in tqdm(range(recipe.epochs), unit="epoch", disable=not progress):
            order = rng.permutation(len(batches)) if batches is not None else None
            source = objective.batches if batches is None or order is None else (batches[i] for i in order)
            total = 0.0
            for batch in source:
                for group in optimizer.param_groups:
                    group["lr"] = recipe.lr_at(epoch / max(recipe.epochs, 1))
                total += size_of(batch) * _step(
                    objective, model, targets, moved, curve, inner, float(rng.random()), batch
                )
                optimizer.step()
            losses.append(total / objective.samples)
            if not math.isfinite(losses[-1]):
                raise SpecError(f"the training of the curve diverged in epoch {epoch}; lower lr={recipe.lr}")
    return np.array(losses)


def _step(
    objective: Objective,
    model: nn.Module,
    places: Mapping[str, Tensor],
    moved: list[str],
    curve: Curve,
    inner: list[list[Tensor]],
    t: float,
    batch: Any,
) -> float:
    """The loss of one batch at t; each bend is left with its gradient."""
    weights = curve.weights(t)
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(sum(w * point[name] for w, point in zip(weights.tolist(), curve.points, strict=True)))
    with torch.enable_grad():
        loss = _loss(objective, model, batch)
        parameters = dict(model.named_parameters())
        found = torch.autograd.grad(loss, [parameters[name] for name in moved], allow_unused=True)
    for weight, bend in zip(weights[1:-1].tolist(), inner, strict=True):
        for tensor, gradient in zip(bend, found, strict=True):
            tensor.grad = None if gradient is None else weight * gradient
    return float(loss.detach())


def _loss(objective: Objective, model: nn.Module, batch: Any) -> Tensor:
    """The mean loss of a batch."""
    outputs, targets = objective.forward(model, batch)
    if objective.loss is None:
        return calling.own_loss(outputs).mean()  # type: ignore[no-any-return]
    value = objective.loss(calling.predictions(outputs), targets)
    return reduction.loss_mean(objective.loss, value, size_of(batch))
