"""Does a field violate the inequality that every convex function obeys, by more than rounding explains?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.field.rounding import rounding
from lossatlas.figure.words import number
from lossatlas.oneline import number_of, one_line
from lossatlas.results.landscape import Status, axis_names, structured

__all__ = ["Inequality", "bent", "check_straight", "evaluated", "spacing", "strongest", "violations", "window"]


@dataclass(frozen=True, kw_only=True)
class Inequality:
    """A violated inequality of convex functions: at the middle of three points on a line the loss is too high.

    Attributes:
        points: coordinates of the three points by axis, the middle one second.
        values: the loss there.
        noise: how far rounding may have shifted the second difference of the three.
        known: how that is known, in words.
        double: whether the three values were evaluated again in double precision.
    """

    points: tuple[Mapping[str, float], ...]
    values: tuple[float, float, float]
    noise: float
    known: str
    double: bool = False

    __repr__ = one_line

    @property
    def difference(self) -> float:
        """The second difference: negative here, while a convex function has none below 0."""
        before, middle, after = self.values
        return before - 2 * middle + after

    @property
    def words(self) -> str:
        """The inequality, its size, and what it exceeds."""
        first, middle, last = (
            f"({', '.join(number(coordinate) for coordinate in point.values())})" for point in self.points
        )
        how = ", evaluated again in double precision" if self.double else ""
        return (
            f"L{first} − 2 L{middle} + L{last} = {number(self.difference)}{how}, where a convex function has at least "
            f"0 and rounding explains {number(self.noise, 2)} ({self.known})"
        )


def violations(landscape: xr.Dataset, value: str = "loss") -> np.ndarray:
    r"""Where the slice violates, by more than rounding explains, the inequality that every convex function obeys.

    A convex function has :math:`L(c - h) - 2 L(c) + L(c + h) ≥ 0` for every step h, short or long, so one cell that
    violates it proves the loss non-convex. Steps go to the neighbours along each axis and each diagonal. The slice's
    Hessian alone proves nothing: between the points of a grid, :math:`(x + y)^4`, which is convex, seems to bend down.
    How much rounding explains comes from :func:`lossatlas.field.rounding.rounding`.

    Args:
        landscape: a Landscape, evenly spaced.
        value: which variable.

    Returns:
        bool ``[n_x - 2, n_y - 2, …]``; cells beside one that is not finite, or was not evaluated, are ``False``.

    Raises:
        SpecError: fewer than 3 points along an axis, uneven spacing, or points that do not lie on a straight slice.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = np.linspace(-1, 1, 5)
        >>> axis = Axis(coordinates=x, length=1.0)
        >>> field = build({"x": axis, "y": axis}, {"loss": (x[:, None] + x[None, :]) ** 4})
        >>> bool(violations(field).any())
        False
        >>> field["loss"] = -field["loss"]
        >>> int(violations(field).sum())
        9
    """
    found = np.zeros(tuple(n - 2 for n in landscape[value].shape), bool)
    for _, excess in _excesses(landscape, value):
        found |= excess > 1
    return found


def strongest(landscape: xr.Dataset, value: str = "loss") -> Inequality | None:
    """The violated inequality that exceeds rounding the most.

    Args:
        landscape: a Landscape, evenly spaced.
        value: which variable.

    Returns:
        The inequality, or None where none is violated by more than rounding explains.

    Raises:
        SpecError: fewer than 3 points along an axis, uneven spacing, or points that do not lie on a straight slice.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.array([-1.0, 0.0, 1.0]), length=1.0)
        >>> found = strongest(build({"x": axis}, {"loss": np.array([0.0, 2.0, 1.0])}))
        >>> found.points, found.difference
        (({'x': -1.0}, {'x': 0.0}, {'x': 1.0}), -3.0)
    """
    best: tuple[float, tuple[int, ...], tuple[int, ...]] | None = None
    for step, excess in _excesses(landscape, value):
        at = int(np.argmax(excess))
        if excess.flat[at] > max(1.0, best[0] if best else 0.0):
            best = float(excess.flat[at]), step, tuple(int(i) + 1 for i in np.unravel_index(at, excess.shape))
    if best is None:
        return None
    _, step, middle = best
    cells = [tuple(m + sign * s for m, s in zip(middle, step, strict=True)) for sign in (-1, 0, 1)]
    axes = axis_names(landscape)
    error, words = rounding(landscape, value)
    values = [float(landscape[value].values[cell]) for cell in cells]
    return Inequality(
        points=tuple(
            {axis: float(landscape[axis].values[i]) for axis, i in zip(axes, cell, strict=True)} for cell in cells
        ),
        values=(values[0], values[1], values[2]),
        noise=float(error[cells[0]] + 2 * error[cells[1]] + error[cells[2]]),
        known=words,
    )


def _excesses(landscape: xr.Dataset, value: str) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """By step: how much each inner cell violates the inequality, in multiples of what rounding explains; else 0."""
    check_straight(landscape)
    for axis in axis_names(landscape):
        spacing(landscape, axis)
    field = np.asarray(landscape[value].values, np.float64)
    noise, _ = rounding(landscape, value)
    exact = evaluated(landscape, value)
    for step in itertools.product((-1, 0, 1), repeat=field.ndim):
        if step <= (0,) * field.ndim:  # each line through the cell once
            continue
        ends = (tuple(-s for s in step), (0,) * field.ndim, step)
        before, middle, after = (window(field, offset) for offset in ends)
        allowed = sum(weight * window(noise, offset) for weight, offset in zip((1, 2, 1), ends, strict=True))
        sure = np.logical_and.reduce([window(exact, offset) for offset in ends])
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            excess = -(before - 2 * middle + after) / allowed
        yield step, np.where(sure & (allowed >= 0) & ~np.isnan(excess), excess, 0.0)


def evaluated(landscape: xr.Dataset, value: str = "loss") -> np.ndarray:
    """Which cells were evaluated on all samples, not estimated, and are finite; bool, shaped like the field."""
    exact = (landscape["status"].values == Status.OK) & np.isfinite(landscape[value].values)
    if (name := f"{value}_uncertainty") in landscape:
        exact = exact & (landscape[name].values == 0)
    return np.asarray(exact)


def bent(landscape: xr.Dataset) -> str:
    """What the points lie along if it is not a straight slice: there even a convex loss may rise and fall.

    Args:
        landscape: a Landscape.

    Returns:
        What it is, such as "Bézier curve"; empty for a line, a plane, a volume.

    Example:
        >>> import lossatlas as la, torch
        >>> points = [{"weight": torch.tensor([[x, y]])} for x, y in ((-1.0, 1.0), (0.0, -1.0), (1.0, 1.0))]
        >>> model, data = torch.nn.Linear(2, 1, bias=False), (torch.eye(2), torch.zeros(2, 1))
        >>> objective = la.Objective(model, data, torch.nn.functional.mse_loss)
        >>> bent(la.sample(objective, la.space.curves.Curve(points), la.Grid(x=(0, 1, 5))))
        'Bézier curve'
    """
    told = structured(landscape, "provenance")
    if "bends" in told:
        return {"polygon": "chain of lines"}.get(str(told.get("kind")), "Bézier curve") if told["bends"] else ""
    return str(told.get("chart", ""))


def check_straight(landscape: xr.Dataset) -> None:
    """Check that the points lie on a straight slice, on which a convex loss is convex.

    Args:
        landscape: a Landscape.

    Raises:
        SpecError: they lie along something else, see :func:`bent`.
    """
    if along := bent(landscape):
        raise SpecError(
            f"the points lie along a {along}, not on a straight slice: there even a convex loss may rise and fall, so "
            "it proves nothing; measure a line or a plane"
        )


def window(field: np.ndarray, offset: tuple[int, ...]) -> np.ndarray:
    """The field at a fixed step from every inner cell."""
    return field[tuple(slice(1 + o, n - 1 + o) for o, n in zip(offset, field.shape, strict=True))]


def spacing(landscape: xr.Dataset, axis: str) -> float:
    """The distance between neighbours along an axis, in multiples of the direction.

    Args:
        landscape: a Landscape.
        axis: which axis.

    Returns:
        The distance.

    Raises:
        SpecError: fewer than 3 points, or uneven spacing.
    """
    steps = np.diff(landscape[axis].values)
    if len(steps) < 2:
        raise SpecError(f"axis {axis!r} has {number_of(len(steps) + 1, 'point')}; a second difference needs at least 3")
    if not np.allclose(steps, steps[0], rtol=1e-6):
        raise SpecError(f"axis {axis!r} has uneven steps; sample an evenly spaced grid to take differences")
    return float(steps.mean())
