"""Where a field is lowest, and whether its centre is a minimum of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lossatlas.field.inequality import bent
from lossatlas.field.rounding import rounding
from lossatlas.field.stated import stated_error
from lossatlas.figure.words import apart, number
from lossatlas.oneline import one_line
from lossatlas.results.landscape import Status, axis_names, cut_at, structured
from lossatlas.results.moves import of_table

__all__ = ["Lowest", "lowest"]


@dataclass(frozen=True, kw_only=True)
class Lowest:
    """The lowest of the evaluated points of a field.

    Attributes:
        value: what is lowest there.
        at: its coordinates by axis.
        centre: the value at the centre; ``None`` where it is unknown, or the centre is not in the field.
        below_centre: whether a point is lower than the centre, beyond their errors.
        centre_is_minimum: whether no point beside the centre is lower than it, beyond their errors; ``None`` where that
            is unknown.
        errors: what these are: "rounding", or "the stated error" of values on a part of the samples.
        along: what the points lie along if that is not a slice, such as "Bézier curve"; empty for a slice.
    """

    value: float
    at: Mapping[str, float]
    centre: float | None
    below_centre: bool
    centre_is_minimum: bool | None
    errors: str = "rounding"
    along: str = ""

    __repr__ = one_line

    @property
    def words(self) -> str:
        """One sentence.

        Example:
            >>> Lowest(value=0.1, at={"x": 0.2}, centre=0.3, below_centre=True, centre_is_minimum=False).words
            'Lowest point: 0.1 at x = 0.2; the centre, 0.3, is not a minimum of this slice.'
        """
        least, centre = apart(self.value, self.value if self.centre is None else self.centre)
        where = ", ".join(f"{name} = {number(coordinate)}" for name, coordinate in self.at.items())
        if self.centre is None:
            return f"Lowest point: {least} at {where}."
        if not self.below_centre:
            beyond = "" if self.value >= self.centre else f" by more than {self.errors}"
            return f"No evaluated point is lower than the centre{beyond}."
        told = {
            False: f"is not a minimum {f'along this {self.along}' if self.along else 'of this slice'}",
            True: "is no higher than the points beside it",
            None: "is not the lowest",
        }[self.centre_is_minimum]
        return f"Lowest point: {least} at {where}; the centre, {centre}, {told}."


def lowest(landscape: xr.Dataset, value: str = "loss") -> Lowest | None:
    """Find the lowest of the evaluated points, and compare it with the centre if the field contains that.

    The centre is compared with the points of the grid around it, so a minimum between the points is not seen.

    Args:
        landscape: with any number of axes; a slice of a larger one knows where it lies.
        value: the value.

    Returns:
        The lowest point; ``None`` where no point has a finite value.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.linspace(-1, 1, 5), length=1.0)
        >>> found = lowest(build({"x": axis}, {"loss": (axis.coordinates - 0.5) ** 2}))
        >>> found.at, found.centre_is_minimum
        ({'x': 0.5}, False)
    """
    names = axis_names(landscape)
    values = landscape[value].transpose(*names).to_numpy()
    status = landscape["status"].transpose(*names).to_numpy()
    known = np.isfinite(values) & np.isin(status, (int(Status.OK), int(Status.NON_FINITE)))
    if not known.any():
        return None
    coordinates = [landscape[name].to_numpy() for name in names]
    index = np.unravel_index(int(np.argmin(np.where(known, values, np.inf))), values.shape)
    at = {name: float(axis[i]) for name, axis, i in zip(names, coordinates, index, strict=True)}
    least = float(values[index])
    along = bent(landscape)
    centre, beside = _around_centre(landscape, value, values, known, coordinates)
    if centre is None:
        return Lowest(value=least, at=at, centre=None, below_centre=False, centre_is_minimum=None, along=along)
    off, words = _errors(landscape, value, names)
    surely = values + off  # no higher than this
    own = float(off[tuple(int(np.argmin(np.abs(axis))) for axis in coordinates)])
    return Lowest(
        value=least,
        at=at,
        centre=centre,
        below_centre=bool((surely[known] < centre - own).any()),
        centre_is_minimum=all(surely[cell] >= centre - own for cell in beside) if beside else None,
        errors=words,
        along=along,
    )


def _errors(landscape: xr.Dataset, value: str, names: tuple[str, ...]) -> tuple[np.ndarray, str]:
    """How far each value may be off, float64 in the order of the axes, and what that is."""
    if structured(landscape, "sampling").get("kind") == "subset":
        error, words = stated_error(landscape, value)[0], "the stated error"
    else:
        error, words = np.broadcast_to(rounding(landscape, value)[0], landscape[value].shape), "rounding"
    return landscape[value].copy(data=error).transpose(*names).to_numpy(), words


def _around_centre(
    landscape: xr.Dataset, value: str, values: np.ndarray, known: np.ndarray, coordinates: list[np.ndarray]
) -> tuple[float | None, list[tuple[int, ...]]]:
    """The value at the centre, and the evaluated points next to it."""
    within = all(axis.min() <= 0 <= axis.max() for axis in coordinates)
    if any(cut_at(landscape).values()) or not within or of_table(landscape):
        return None, []
    near = []
    for axis in coordinates:
        if (axis == 0).any():
            (zero,) = np.flatnonzero(axis == 0)[:1]
            near.append([i for i in (zero - 1, zero, zero + 1) if 0 <= i < len(axis)])
        else:
            sides = np.where(axis < 0, axis, -np.inf).argmax(), np.where(axis > 0, axis, np.inf).argmin()
            near.append([int(side) for side in sides])
    cells = list(itertools.product(*near))
    here = [cell for cell in cells if all(axis[i] == 0 for axis, i in zip(coordinates, cell, strict=True))]
    centre = structured(landscape, "centre").get(value)
    if centre is None and here and known[here[0]]:
        centre = float(values[here[0]])
    return (None if centre is None else float(centre)), [cell for cell in cells if cell not in here and known[cell]]
