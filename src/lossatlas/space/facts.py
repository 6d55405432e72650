"""What does a run keep of a chart? Its identity, the lengths and labels of its axes, and the file that restores it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from lossatlas.objective.batches import fingerprint
from lossatlas.oneline import one_line
from lossatlas.space import recipes
from lossatlas.space.charts import Chart, Plane
from lossatlas.space.curvefile import save_curve
from lossatlas.space.curves import Curve
from lossatlas.space.inputs import InputPlane
from lossatlas.space.parameters import Parameters, difference, norm
from lossatlas.space.planefile import save_directions

__all__ = ["Facts", "facts", "origin_of", "plane_identity", "save"]

_CURVES = {"bezier": "fraction of the Bézier curve", "polygon": "fraction of the chain of lines"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about a chart.

    Attributes:
        origin: the parameters at coordinates of zero.
        identity: what must be the same for two charts to be the same, by kind.
        lengths: by axis, what one unit of its coordinate is in ``unit``; for a bent axis, the chord.
        labels: what each axis is, for pictures.
        by: the normalisation.
        still: roles of tensors that do not move.
        seed: of random directions.
        cosines: between each pair of directions.
        dtype: formats of the tensors that move.
        more: what else the record should contain.
        unit: of the lengths.
    """

    origin: Parameters
    identity: Mapping[str, str]
    lengths: Mapping[str, float]
    labels: Mapping[str, str]
    by: str = "none"
    still: tuple[str, ...] = ()
    seed: int | None = None
    cosines: Mapping[str, float] = field(default_factory=dict)
    dtype: str = ""
    more: Mapping[str, object] = field(default_factory=dict)
    unit: str = "parameter norm"

    __repr__ = one_line


def facts(chart: Chart, axes: Mapping[str, np.ndarray]) -> Facts:
    """What is known about a chart; for one that is neither plane nor curve, what its points reveal.

    Args:
        chart: the chart.
        axes: coordinates of every axis that will be visited.

    Returns:
        The facts.

    Example:
        >>> import torch
        >>> class Circle:
        ...     axes = ("t",)
        ...     def at(self, c):
        ...         return {"w": torch.tensor([c.get("t", 0.0)]).cos()}
        >>> facts(Circle(), {"t": np.array([0.0, 1.0])}).labels
        {'t': 't of a Circle'}
    """
    if isinstance(chart, Plane):
        return _of_plane(chart)
    if isinstance(chart, Curve):
        return _of_curve(chart)
    if isinstance(chart, InputPlane):
        return _of_inputs(chart)
    return _of_points(chart, axes)


def origin_of(chart: Chart) -> Parameters:
    """The parameters at coordinates of zero: for a plane and a curve their own tensors, not copies."""
    if isinstance(chart, Plane):
        return chart.origin
    return chart.points[0] if isinstance(chart, Curve) else chart.at(dict.fromkeys(chart.axes, 0.0))


def save(chart: Chart, folder: Path) -> None:
    """Keep a plane, of weights or of inputs, or a curve in a run folder; any other chart is for its owner to keep."""
    if isinstance(chart, Plane):
        save_directions(chart, folder / "directions.safetensors")
    elif isinstance(chart, InputPlane):
        save_directions(chart.inputs, folder / "inputs.safetensors")
    elif isinstance(chart, Curve) and not (folder / "curve.safetensors").exists():
        save_curve(chart, folder / "curve.safetensors")


def plane_identity(plane: Plane) -> str:
    """A hash of the origin and of every direction."""
    directions = {axis: recipes.described(direction) for axis, direction in plane.directions.items()}
    return fingerprint([dict(plane.origin), directions]).hex()


def _of_plane(plane: Plane) -> Facts:
    labels, recipe = plane.recipe.labels, plane.recipe
    return Facts(
        origin=plane.origin,
        identity={"plane": plane_identity(plane)},
        lengths=plane.lengths,
        labels={axis: labels.get(axis, f"given direction {axis}") for axis in plane.axes},
        by=recipe.by,
        still=recipe.still,
        seed=recipe.seed,
        cosines=plane.cosines,
        dtype=_dtype({name: plane.origin[name] for name in plane.moving}),
    )


def _of_curve(curve: Curve) -> Facts:
    return Facts(
        origin=curve.points[0],
        identity={"curve": curve.kind + " " + fingerprint([dict(point) for point in curve.points]).hex()},
        lengths={"x": curve.length},
        labels={"x": _CURVES[curve.kind]},
        dtype=_dtype(curve.points[0]),
        more={"bends": len(curve.points) - 2, "kind": curve.kind},
    )


def _of_inputs(plane: InputPlane) -> Facts:
    labels, layer = plane.recipe.labels, plane.place.layer
    ends = f"[{plane.clamp[0]:.4g}, {plane.clamp[1]:.4g}]" if plane.clamp else ""
    bent = {"clamp": ends, "chart": "clamped plane"} if ends else {}
    return Facts(
        origin=plane.inputs.origin,
        identity={"inputs": f"{plane_identity(plane.inputs)} {layer} {plane.clamp}"},
        lengths=plane.lengths,
        labels={axis: labels.get(axis, f"given direction {axis}") for axis in plane.axes},
        by=plane.recipe.by,
        seed=plane.recipe.seed,
        cosines=plane.cosines,
        dtype=_dtype(plane.inputs.origin),
        more={"moves": "inputs", "examples": plane.rows, "layer": layer, **bent},
        unit="embedding norm" if layer else "input norm",
    )


def _of_points(chart: Chart, axes: Mapping[str, np.ndarray]) -> Facts:
    """The ends and the middle of every axis represent the chart; a unit of an axis is as long as its chord."""
    origin = origin_of(chart)
    seen: list[dict[str, Tensor]] = [dict(origin)]
    for axis in chart.axes:
        line = axes[axis]
        seen += [chart.at(dict.fromkeys(chart.axes, 0.0) | {axis: float(line[at])}) for at in (0, len(line) // 2, -1)]
    kind = type(chart).__name__
    units = {axis: chart.at(dict.fromkeys(chart.axes, 0.0) | {axis: 1.0}) for axis in chart.axes}
    return Facts(
        origin=origin,
        identity={"chart": f"{kind} {fingerprint(seen).hex()}"},
        lengths={axis: norm(difference(unit, origin)) for axis, unit in units.items()},
        labels={axis: f"{axis} of a {kind}" for axis in chart.axes},
        dtype=_dtype(origin),
        more={"chart": f"{kind} chart"},
    )


def _dtype(tensors: Parameters) -> str:
    return ",".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}))
