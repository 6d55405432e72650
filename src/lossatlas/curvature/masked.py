r"""Does an attack by gradients find what the surface shows? If not, its gradients may be masked.

Projected gradient ascent (PGD; Madry et al. 2018, arXiv 1706.06083) climbs from each example within a ball of radius ε,

.. math:: x ← Π_{B_ε(x_i)}\big(x + s \operatorname{sign} ∇_x ℓ(f_θ(x), y_i)\big),

or with the normalised gradient in the Euclidean norm. The ball contains every cell of a sampled surface that moves no
example by more than ε, so an attack that works ends at least as high as the highest of these cells. One that ends lower
was misled by its gradients: they vanish, are shattered, or point elsewhere (Athalye et al. 2018, arXiv 1802.00420,
section 3.1; Carlini et al. 2019, arXiv 1902.06705).
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind
from lossatlas.field.inequality import evaluated
from lossatlas.figure.plot import Mark, Panel, Plot, Series, onto
from lossatlas.figure.words import number, percent
from lossatlas.objective import Objective, calling, reduction
from lossatlas.objective.given import check_objective
from lossatlas.objective.refusal import asked
from lossatlas.oneline import one_line
from lossatlas.results.landscape import axis_names
from lossatlas.results.moves import of_inputs
from lossatlas.space.input_ways import Norm, gradients, moved, norms, random, unit
from lossatlas.space.inputs import InputPlane
from lossatlas.space.parameters import precise

__all__ = ["CAVEAT", "MaskedGradients", "masked_gradients"]

_BELOW = (
    "A ratio below 1 says that this attack, with these steps, missed what lies on one plane: gradients are masked, or "
    "the steps are too few or too long."
)
_MANY = "The plane is one of many, and a stronger attack may reach higher."
_NEITHER = "A ratio of 1 proves neither robustness nor faithful gradients."
CAVEAT = f"{_BELOW} {_MANY} {_NEITHER}"

SURE = 0.98
"""A ratio below this is beyond what steps that end a little short of the top explain."""


@dataclass(frozen=True, kw_only=True)
class MaskedGradients:
    """What an attack found, compared with what the surface shows.

    Attributes:
        ratio: rise of the mean loss by the attack over the rise to the highest cell within its ball; infinite where no
            cell within it is higher than the centre.
        centre: mean loss at the examples themselves.
        attack: mean over the examples of the highest loss that the attack met.
        surface: the highest cell that moves no example by more than the radius.
        place: its coordinates.
        path: float64 [steps + 1], the mean loss along the attack that starts at the examples.
        radius: ε of the ball.
        norm: "inf" or "2".
        zero: number of examples whose gradient is exactly zero at the start.
        examples: how many there are.
        settings: steps, step and restarts.
    """

    __repr__ = one_line

    ratio: float
    centre: float
    attack: float
    surface: float
    place: dict[str, float]
    path: np.ndarray
    radius: float
    norm: str
    zero: int
    examples: int
    settings: dict[str, float]

    @property
    def suspect(self) -> bool:
        """Whether the attack ended lower than the surface."""
        return self.ratio < SURE

    @property
    def words(self) -> str:
        """The verdict, in sentences."""
        where = ", ".join(f"{axis} = {number(value)}" for axis, value in self.place.items())
        zero = f" The gradient is exactly zero for {self.zero} of {self.examples} examples." if self.zero else ""
        told = f"PGD reaches a mean loss of {number(self.attack)}, the surface {number(self.surface)} at {where}"
        if not np.isfinite(self.ratio):
            return f"{told}: no cell within the ball is higher than the centre, so there is nothing to compare.{zero}"
        verdict = (
            "less than the surface shows, a sign of masked gradients or of too weak an attack"
            if self.suspect
            else "no sign of masked gradients"
        )
        return f"{told}: {percent(self.ratio)} of the surface's rise, {verdict}.{zero}"

    @property
    def caveat(self) -> str:
        """What it does not prove."""
        return CAVEAT

    def plot(self, ax: Any = None) -> Plot:
        """The mean loss along the attack, and the heights of the surface and of the best attack.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        steps = np.arange(len(self.path))
        marks = [Mark(y=self.surface, label="highest cell"), Mark(y=self.attack, label="best of attack")]
        line = Series(x=steps, y=self.path, label="PGD from the examples", style="both")
        panel = Panel(series=[line], x_label="step of the attack", y_label="mean loss", marks=marks)
        ball = f"ε = {number(self.radius)} in the {'maximum' if self.norm == 'inf' else 'Euclidean'} norm"
        caption = [self._short, f"{ball}. {self.words}", _BELOW, _MANY, _NEITHER]
        return onto(ax, Plot(panels=[panel], title="Masked gradients?", caption=caption))

    @property
    def _short(self) -> str:
        """The verdict in one line below a picture."""
        if not np.isfinite(self.ratio):
            return "No cell within the ball is higher than the centre."
        verdict = "masked gradients or a weak attack" if self.suspect else "no sign of masked gradients"
        return f"{percent(self.ratio)} of the surface's rise: {verdict}."


def masked_gradients(
    objective: Objective,
    plane: InputPlane,
    landscape: xr.Dataset,
    *,
    radius: float | None = None,
    norm: Norm | None = None,
    steps: int = 40,
    step: float | None = None,
    restarts: int = 1,
    seed: int = 0,
) -> MaskedGradients:
    """Attack the examples of a plane by gradients, and compare with the highest point of their surface.

    Args:
        objective: what was sampled.
        plane: where.
        landscape: what :func:`lossatlas.sample` found there.
        radius: ε of the ball, in ``norm``; by default so large that it holds every cell.
        norm: "inf" or "2"; by default that of the plane's directions.
        steps: of the ascent.
        step: length of one, in ``norm``; by default 2.5 ε / steps as in Madry et al.
        restarts: ascents from random points of the ball, besides the one from the examples. If each example has a loss
            of its own, the best counts for each example, otherwise the best mean.
        seed: of the random points.

    Returns:
        Ratio, verdict and path.

    Raises:
        SpecError: the landscape is not of this plane, or an option is not valid.

    Example:
        >>> import lossatlas as la
        >>> model, data = torch.nn.Linear(2, 1), (torch.randn(3, 2), torch.randn(3, 1))
        >>> objective = la.Objective(model, data, torch.nn.functional.mse_loss)
        >>> plane = la.InputPlane.adversarial(objective)
        >>> found = masked_gradients(objective, plane, la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 5))))
        >>> found.suspect
        False
    """
    _check(objective, plane, landscape, steps, restarts)
    norm = norm or ("2" if plane.recipe.by == "unit-l2" else "inf")
    reach, cells = _reached(plane, landscape, norm)
    radius = float(reach.max()) if radius is None else float(radius)
    if not radius > 0:
        raise SpecError(f"radius={radius}; expected a positive distance")
    inside = reach <= radius * (1 + 1e-6)
    values = landscape["loss"].values.ravel()[cells]
    if not inside.any():
        raise SpecError(f"radius={radius}: no evaluated cell moves the inputs by so little; choose a larger ball")
    best = int(np.flatnonzero(inside)[np.argmax(values[inside])])
    walk = _Attack(plane, plane.chosen(objective), radius, norm, 2.5 * radius / steps if step is None else step)
    path, centre, zero = walk.climb(None, steps)
    for number_ in range(restarts):
        walk.climb(f"{seed}/attack {number_}", steps)
    attack, rise = walk.best(), float(values[best]) - centre
    return MaskedGradients(
        ratio=(attack - centre) / rise if rise > 0 else np.inf,
        centre=centre,
        attack=attack,
        surface=float(values[best]),
        place=_places(landscape)[cells[best]],
        path=path,
        radius=radius,
        norm=norm,
        zero=zero,
        examples=plane.rows,
        settings={"steps": steps, "step": walk.step, "restarts": restarts},
    )


def _check(objective: Objective, plane: InputPlane, landscape: xr.Dataset, steps: int, restarts: int) -> None:
    check_objective(objective)
    check_kind("plane", plane, InputPlane, "the la.InputPlane that was sampled")
    if not of_inputs([landscape]) or axis_names(landscape) != plane.axes:
        raise SpecError("landscape: it is not of inputs along the axes of this plane; sample(objective, plane, …) is")
    if not evaluated(landscape).any():
        raise SpecError("landscape: no cell was evaluated on all samples")
    if steps < 1 or restarts < 0:
        raise SpecError(f"steps={steps}, restarts={restarts}; expected at least one step and no fewer than 0 restarts")


def _places(landscape: xr.Dataset) -> list[dict[str, float]]:
    """The coordinates of every cell, in C order."""
    axes = axis_names(landscape)
    grids = np.meshgrid(*(landscape[axis].values for axis in axes), indexing="ij")
    rows = np.stack([grid.ravel() for grid in grids], axis=1)
    return [dict(zip(axes, row.tolist(), strict=True)) for row in rows]


def _reached(plane: InputPlane, landscape: xr.Dataset, norm: Norm) -> tuple[np.ndarray, np.ndarray]:
    """How far each evaluated cell moves the farthest example, float64 [n], and its flat index, int64 [n]."""
    cells, places = np.flatnonzero(evaluated(landscape).ravel()), _places(landscape)
    return np.array([plane.reach(places[cell], norm) for cell in cells]), cells


class _Attack:
    """Ascents of the same examples, and the highest losses that they met."""

    def __init__(self, plane: InputPlane, part: Objective, radius: float, norm: Norm, step: float) -> None:
        self.plane, self.part, self.radius, self.norm, self.step = plane, part, radius, norm, step
        self.home = moved(part, plane.place)
        self._highest: Tensor | None = None
        self._single = True

    def climb(self, key: str | None, steps: int) -> tuple[np.ndarray, float, int]:
        """One ascent, from the examples or from a random point of their balls.

        Returns:
            The mean loss at each point of the way, at its start, and for how many examples the slope was zero there.
        """
        at, told, zero = self._start(key), [], 0
        for number_ in range(steps + 1):
            told.append(self._measured(at))
            if number_ < steps:
                slopes = gradients(self.part, self.plane.place, at)
                zero = sum(int((norms(s, "inf") == 0).sum()) for s in slopes) if number_ == 0 else zero
                at = [self._stepped(x, x0, s) for x, x0, s in zip(at, self.home, slopes, strict=True)]
        return np.array(told), told[0], zero

    def best(self) -> float:
        """The mean over the examples of the highest loss that any ascent met."""
        assert self._highest is not None
        return float(self._highest.mean())

    def _start(self, key: str | None) -> list[Tensor]:
        if key is None:
            return [x.clone() for x in self.home]
        ways = random(self.part, self.plane.place, key, "2")
        size = 1.0 if self.norm == "2" else float(max(x[0].numel() for x in self.home)) ** 0.5
        return [self._within(x + self.radius * size * way, x) for x, way in zip(self.home, ways, strict=True)]

    def _stepped(self, x: Tensor, home: Tensor, slope: Tensor) -> Tensor:
        if self.norm == "inf":
            return self._within(x + self.step * slope.sign(), home)
        return self._within(x + self.step * unit(slope), home)

    def _within(self, x: Tensor, home: Tensor) -> Tensor:
        """The nearest point of the ball around each example, and of the valid range."""
        gap = x - home
        if self.norm == "inf":
            gap = gap.clamp(-self.radius, self.radius)
        else:
            size = norms(gap, "2").reshape(-1, *[1] * (x.dim() - 1))
            gap = (precise(gap) * (self.radius / size.clamp_min(self.radius))).to(x)
        return home + gap if self.plane.clamp is None else (home + gap).clamp(*self.plane.clamp)

    def _measured(self, at: list[Tensor]) -> float:
        """The mean loss where the inputs are; the highest of each example, or of all, is kept."""
        found = self._losses(at)
        finite = torch.nan_to_num(found, nan=-torch.inf, posinf=torch.inf)
        self._highest = finite if self._highest is None else torch.maximum(self._highest, finite)
        return float(found.mean())

    def _losses(self, at: list[Tensor]) -> Tensor:
        """The loss of every example, or where none has one of its own, of all together; float64."""
        part, rows, weights = self.part, [], []
        with asked(part), part.batches.seeded(0), part.grad_mode():
            for x, batch in zip(at, part.batches, strict=True):
                outputs, targets = self.plane.place.call(part.forward, part.private, batch, functools.partial(_put, x))
                mean = part.loss_part(outputs, targets, batch, weighing=part.weighing)
                rows.append(self._each(outputs, targets, mean).detach().cpu().double())
                weights.append(float(mean.weight))
        if self._single:
            return torch.cat(rows)
        return torch.tensor([np.average([float(row) for row in rows], weights=weights)], dtype=torch.float64)

    def _each(self, outputs: Any, targets: Any, mean: reduction.Part) -> Tensor:
        """The losses of a batch, [n] where each example has its own, else [1]."""
        loss = self.part.loss
        if self._single and loss is not None and self.part.weighing is None:
            with contextlib.suppress(SpecError):
                each = reduction.loss_each(loss, calling.predictions(outputs), targets, mean.samples)
                if len(each) == len(self.home[0]) or len(self.home) > 1:
                    return each
        self._single = False
        return mean.mean.reshape(1)


def _put(new: Tensor, _: Tensor) -> Tensor:
    return new
