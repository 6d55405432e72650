r"""How much does a network lose when its weights are rounded to a few bits, and did its curvature predict it?

With δ = q(W) - W for the rounded weights q(W), loss and metrics are measured along W + t δ. Beside them stands the
second-order forecast,

.. math:: L(W + t δ) ≈ L(W) + t \, g^T δ + \tfrac{t^2}{2} \, δ^T H δ,

with gradient g and Hessian H of the mean loss at W, as in Optimal Brain Damage (LeCun, Denker, Solla 1989) and HAWQ
(Dong et al. 2019, arXiv 1905.03696; there with the largest eigenvalue or the trace in place of :math:`δ^T H δ`). It is
exact for a quadratic loss. Only weights are rounded: activations stay in floating point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lossatlas.curvature.products import Matrix
from lossatlas.errors import SpecError
from lossatlas.figure.plot import Plot, onto
from lossatlas.figure.words import NAMELESS, number, percent
from lossatlas.flatness import quantise_plot
from lossatlas.objective import Objective
from lossatlas.objective.described import samples_words
from lossatlas.objective.given import check_objective
from lossatlas.oneline import number_of, one_line
from lossatlas.sampling.loop import PATIENCE_SECONDS
from lossatlas.sampling.run import sample
from lossatlas.sampling.samplers import Grid
from lossatlas.space.charts import Plane, Recipe
from lossatlas.space.parameters import Parameters, difference, dot, norm
from lossatlas.space.quantised import Blocks, Rounding, rounded

__all__ = ["CAVEAT", "Layer", "Quantised", "Rounded", "quantise"]

CAVEAT = (
    "Methods that calibrate (GPTQ, AWQ) or train with rounding may lose less; integer activations may lose more. The "
    "forecast holds if the curvature hardly changes along the step."
)

FAR = 0.5
"""A forecast that misses by more than this share does not describe the step."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One tensor rounded by itself, all others left as they are.

    Attributes:
        name: of the tensor.
        weights: how many it has.
        rise: of the loss, measured.
        forecast: of the loss, to second order; NaN where there is none.
    """

    name: str
    weights: int
    rise: float
    forecast: float


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """All weights rounded in one way.

    Attributes:
        rounding: how.
        t: float64 [n], fractions of the way from W, 0, to q(W), 1.
        values: loss and metrics along the way, float64 [n] each.
        slope: :math:`g^T δ`; NaN where there is no forecast.
        bend: :math:`δ^T H δ`; NaN where there is no forecast.
        distance: norm of δ.
        share: of the norm of the rounded weights.
        layers: each tensor by itself, where that was asked for.
    """

    __repr__ = one_line

    rounding: Rounding
    t: np.ndarray
    values: Mapping[str, np.ndarray]
    slope: float
    bend: float
    distance: float
    share: float
    layers: tuple[Layer, ...] = ()

    @property
    def rise(self) -> float:
        """How much higher the loss of the rounded network is."""
        return float(self.values["loss"][-1] - self.values["loss"][0])

    @property
    def forecast(self) -> float:
        """The same to second order."""
        return self.slope + self.bend / 2

    @property
    def curve(self) -> np.ndarray:
        """The forecast loss along the way, float64 [n]."""
        return np.asarray(self.values["loss"][0] + self.t * self.slope + self.t**2 * self.bend / 2)

    @property
    def foretold(self) -> bool:
        """Whether the forecast is off by less than half of the rise, or of the larger of its own two terms."""
        size = max(abs(self.rise), abs(self.slope), abs(self.bend) / 2)
        return bool(abs(self.forecast - self.rise) <= FAR * size)


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """What rounding does to a network.

    Attributes:
        title: of the network.
        about: data, loss, samples.
        centre: loss and metrics in floating point.
        steps: the roundings, most bits first.
        tensors: how many tensors are rounded.
        weights: how many weights these have.
        parameters: how many the network has in all.
        note: why there is no forecast; empty where there is one.
        caveats: what the curvature does not see here, in sentences.
    """

    __repr__ = one_line

    title: str
    about: str
    centre: Mapping[str, float]
    steps: Sequence[Rounded]
    tensors: int
    weights: int
    parameters: int
    note: str = ""
    caveats: tuple[str, ...] = field(default_factory=tuple)

    @property
    def words(self) -> tuple[str, ...]:
        """A sentence for each rounding."""
        return tuple(map(self._said, self.steps))

    @property
    def moves(self) -> str:
        """What moves along the way, and what stays."""
        many = number_of(self.tensors, "tensor")
        return (
            f"{many} with {percent(self.weights / self.parameters)} of the parameters {self._are} rounded; "
            "biases, normalising layers and activations stay in floating point."
        )

    @property
    def _are(self) -> str:
        return "are" if self.tensors > 1 else "is"

    @property
    def caveat(self) -> str:
        """What the numbers do not prove."""
        return " ".join(filter(None, [CAVEAT, *self.caveats, self.note]))

    def rows(self) -> list[dict[str, float]]:
        """A table: a row for each rounding, with loss, metrics, rise and forecast."""
        return [
            {"bits": step.rounding.bits}
            | {name: float(values[-1]) for name, values in step.values.items()}
            | {"rise": step.rise, "forecast": step.forecast, "slope": step.slope, "bend": step.bend}
            | {"distance": step.distance, "share": step.share}
            for step in self.steps
        ]

    def plot(self, ax: Any = None) -> Plot:
        """Loss and metrics along q(W) - W with the forecast, and the rise of each layer by itself.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        return onto(ax, quantise_plot.plot(self))

    def _said(self, step: Rounded) -> str:
        parts = [f"loss {number(self.centre['loss'])} → {number(float(step.values['loss'][-1]))}"]
        parts += [f"{n} {number(self.centre[n])} → {number(float(v[-1]))}" for n, v in list(step.values.items())[1:]]
        said = f"{step.rounding.bits} bits: {', '.join(parts)}"
        if not math.isfinite(step.forecast):
            return f"{said}."
        holds = "" if step.foretold else ": second order does not describe this step"
        return f"{said}; rise {number(step.rise)}, forecast {number(step.forecast)}{holds}."


def quantise(
    objective: Objective,
    bits: Iterable[int] = (8, 6, 4, 3),
    *,
    by: Blocks = "channel",
    group: int = 128,
    symmetric: bool = True,
    only: str | Iterable[str] = (),
    skip: str | Iterable[str] = (),
    points: int = 6,
    layers: int | Literal["auto"] | None = "auto",
    forecast: bool = True,
    progress: bool | None = None,
) -> Quantised:
    """Measure loss and metrics of a network as its weights are rounded, beside the second-order forecast.

    Args:
        objective: the Objective whose origin is rounded; its metrics say what the network must still be able to do.
        bits: of each weight, 2 to 16.
        by: what gets a scale of its own: "channel", "tensor" or "group".
        group: weights in a group.
        symmetric: whether the grid is centred at 0.
        only: patterns of names of the tensors that are rounded; by default all weights with two dimensions or more.
        skip: patterns of those that are not, such as ``"*embed*"``.
        points: along the way from W to q(W), both included.
        layers: bits at which each tensor is also rounded on its own; "auto" means 4, or the fewest bits if 4 is not
            among them; None for no layers. It costs an evaluation and a Hessian-vector product for each tensor.
        forecast: compare with the second-order forecast, at a Hessian-vector product for each rounding (about nine
            evaluations).
        progress: show a progress bar on stderr; by default where the layers take more than two seconds.

    Returns:
        What was measured, with words, caveat, rows and plot.

    Raises:
        SpecError: an option is not valid, or no weight is left to be rounded.

    Example:
        >>> model = torch.nn.Linear(3, 1)
        >>> objective = Objective(model, (torch.randn(8, 3), torch.randn(8, 1)), torch.nn.functional.mse_loss)
        >>> found = quantise(objective, (8, 3), layers=3)
        >>> [abs(step.rise - step.forecast) < 1e-5 for step in found.steps]
        [True, True]
    """
    check_objective(objective)
    wanted = [Rounding(bits=b, by=by, group=group, symmetric=symmetric) for b in _checked(bits, points)]
    single = _single(layers, wanted)
    slope, steps = _Slope(objective, forecast), []
    for rounding in wanted:
        new = rounded(objective, rounding, only=only, skip=skip)
        alone = _layers(objective, new, slope, progress) if rounding.bits == single else ()
        steps.append(_measured(objective, rounding, new, slope, points, alone))
    count = {name: tensor.numel() for name, tensor in objective.origin.items()}
    nameless = objective.data_name in NAMELESS
    return Quantised(
        title=objective.name,
        about=samples_words(objective) if nameless else f"{objective.data_name}, {samples_words(objective)}",
        centre=objective(),
        steps=steps,
        tensors=len(new),
        weights=sum(count[name] for name in new),
        parameters=sum(count.values()),
        note=slope.note,
        caveats=slope.caveats,
    )


def _checked(bits: Iterable[int], points: int) -> list[int]:
    """The bits, most of them first."""
    if isinstance(bits, int):
        bits = (bits,)
    found = list(bits)
    if not found or len(set(found)) < len(found):
        raise SpecError(f"bits={found}; expected one or several numbers, each once, such as (8, 6, 4, 3)")
    if points < 2:
        raise SpecError(f"points={points}; expected at least 2: the network and the rounded one")
    return sorted(found, reverse=True)


def _single(layers: int | str | None, wanted: Sequence[Rounding]) -> int | None:
    """The bits at which each tensor is rounded by itself."""
    bits = [rounding.bits for rounding in wanted]
    if layers == "auto":
        return 4 if 4 in bits else min(bits)
    if layers is not None and layers not in bits:
        raise SpecError(f"layers={layers!r}; expected one of bits={bits}, 'auto', or None for no single layers")
    return None if layers is None else int(layers)


def _measured(
    objective: Objective, rounding: Rounding, new: Parameters, slope: _Slope, points: int, layers: tuple[Layer, ...]
) -> Rounded:
    old = {name: objective.origin[name] for name in new}
    step = difference(new, old)
    distance = norm(step)
    t = np.linspace(0.0, 1.0, points)
    if distance:
        label = f"to {rounding.bits} bits, dequantised weights; activations stay"
        plane = Plane(objective.origin, {"x": step}, Recipe(labels={"x": label}, by="none"))
        line = sample(objective, plane, Grid(x=(0.0, 1.0, points)), progress=False)
        values = {name: line[name].values.copy() for name in objective.names}
    else:
        values = {name: np.full(points, value) for name, value in objective().items()}
    for name, value in objective(new).items():  # the rounded weights themselves, not a sum that rounds to them
        values[name][-1] = value
    first, second = slope.along(step)
    return Rounded(
        rounding=rounding,
        t=t,
        values=values,
        slope=first,
        bend=second,
        distance=distance,
        share=distance / max(norm(old), 1e-300),
        layers=layers,
    )


def _layers(objective: Objective, new: Parameters, slope: _Slope, progress: bool | None) -> tuple[Layer, ...]:
    """Each tensor by itself."""
    start, found = objective()["loss"], []
    bar: dict[str, Any] = {"disable": progress is False, "delay": 0 if progress else PATIENCE_SECONDS}
    for name, tensor in tqdm(new.items(), desc="layers", unit="layer", dynamic_ncols=True, **bar):
        step = difference({name: tensor}, {name: objective.origin[name]})
        first, second = slope.along(step)
        rise = objective({name: tensor})["loss"] - start
        found.append(Layer(name=name, weights=tensor.numel(), rise=rise, forecast=first + second / 2))
    return tuple(found)


class _Slope:
    """Slope and curvature of the loss along directions from the origin; NaN, and a reason, where there is none."""

    def __init__(self, objective: Objective, wanted: bool) -> None:
        self.note = ""
        self._matrix: Matrix | None = None
        self._gradient: dict[str, Tensor] = {}
        if not wanted:
            return
        try:
            self._matrix = Matrix(objective)
            self._gradient = self._matrix.gradient()
        except SpecError as fault:
            self._matrix, self.note = None, f"No forecast: {fault}."

    def along(self, step: Parameters) -> tuple[float, float]:
        """First and second derivative along a step."""
        if self._matrix is None:
            return math.nan, math.nan
        try:
            vector = self._matrix.joined(step)
            return dot(self._gradient, step), float(torch.dot(vector, self._matrix @ vector))
        except SpecError as fault:
            self.note = f"No forecast: {fault}."
            return math.nan, math.nan

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the curvature does not see."""
        return () if self._matrix is None else self._matrix.subject.caveats
