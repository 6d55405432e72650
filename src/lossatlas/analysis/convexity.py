"""What does a slice prove? Its own curvature, cell by cell, and how much of its area bends downwards.

A point where a two-dimensional slice has negative curvature proves that the loss is not convex there. The converse
proves nothing: the Hessian of the full function can have many negative eigenvalues that no random slice shows.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.results.landscape import axis_names


def slice_eigenvalues(landscape: xr.Dataset, value: str = "loss") -> np.ndarray:
    r"""Eigenvalues of the slice's Hessian, by central differences, at every cell that has all its neighbours.

    The derivatives are taken along the axes of the plane, in multiples of the directions:
    :math:`H_{ab} = ∂^2 L / ∂c_a ∂c_b`. A piecewise smooth function (ReLU) has kinks that these differences see and
    exact second derivatives do not.

    Args:
        landscape: a Landscape on a grid with even spacing along each axis, at least 3 points each.
        value: which variable.

    Returns:
        float64 ``[n_x - 2, n_y - 2, …, k]``, ascending along the last axis; NaN where a neighbour is not finite.

    Raises:
        SpecError: fewer than 3 points, or uneven spacing.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = np.linspace(-1, 1, 5)
        >>> axis = Axis(coordinates=x, length=1.0)
        >>> saddle = build({"x": axis, "y": axis}, {"loss": 3 * x[:, None] ** 2 - x[None, :] ** 2})
        >>> slice_eigenvalues(saddle)[0, 0].round(9).tolist()
        [-2.0, 6.0]
    """
    steps = [_step(landscape, axis) for axis in axis_names(landscape)]
    field = np.asarray(landscape[value].values, np.float64)
    rank = field.ndim
    hessian = np.empty((*(n - 2 for n in field.shape), rank, rank))

    def shifted(*offsets: int) -> np.ndarray:
        window = tuple(slice(1 + o, n - 1 + o) for o, n in zip(offsets, field.shape, strict=True))
        return np.asarray(field[window])

    unit = np.eye(rank, dtype=int)
    with np.errstate(invalid="ignore", over="ignore"):
        for a in range(rank):
            hessian[..., a, a] = (shifted(*unit[a]) - 2 * shifted(*(0 * unit[a])) + shifted(*-unit[a])) / steps[a] ** 2
            for b in range(a):
                plus, minus = unit[a] + unit[b], unit[a] - unit[b]
                mixed = shifted(*plus) - shifted(*minus) - shifted(*-minus) + shifted(*-plus)
                hessian[..., a, b] = hessian[..., b, a] = mixed / (4 * steps[a] * steps[b])
    finite = np.isfinite(hessian).all(axis=(-1, -2))
    eigenvalues = np.full((*finite.shape, rank), np.nan)
    eigenvalues[finite] = np.linalg.eigvalsh(hessian[finite])
    return eigenvalues


def negative_share(landscape: xr.Dataset, value: str = "loss", *, threshold: float = 0.05) -> float:
    r"""Share of the slice's area where it bends downwards by more than a share of how it bends upwards.

    Counts the cells with :math:`λ_{min} < 0` and :math:`|λ_{min}| > t\,|λ_{max}|`, the ratio that the paper maps
    (Li et al. 2018, section 6), here of the slice's own Hessian.

    Args:
        landscape: a Landscape.
        value: which variable.
        threshold: the ratio t; with 0 rounding alone makes flat places count.

    Returns:
        A share of the cells whose Hessian is known, 0 to 1.

    Raises:
        SpecError: as for :func:`slice_eigenvalues`, or no cell is known.
    """
    eigenvalues = slice_eigenvalues(landscape, value)
    known = np.isfinite(eigenvalues).all(axis=-1)
    if not known.any():
        raise SpecError(f"{value!r}: no cell has finite neighbours on all sides, so the slice has no Hessian")
    lowest, highest = eigenvalues[known][:, 0], eigenvalues[known][:, -1]
    return float(np.mean((lowest < 0) & (np.abs(lowest) > threshold * np.abs(highest))))


def share_below(landscape: xr.Dataset, level: float, value: str = "loss") -> float:
    """Share of the sampled cells whose value lies below a level: how wide the valley is.

    Cells that are not finite count as above.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.linspace(-1, 1, 5), length=1.0)
        >>> share_below(build({"x": axis}, {"loss": np.array([4.0, 1, 0, 1, np.nan])}), 2.0)
        0.6
    """
    field = landscape[value].values
    return float(np.mean(field < level))


def _step(landscape: xr.Dataset, axis: str) -> float:
    steps = np.diff(landscape[axis].values)
    if len(steps) < 2:
        raise SpecError(f"axis {axis!r} has {len(steps) + 1} points; a second difference needs at least 3")
    if not np.allclose(steps, steps[0], rtol=1e-6):
        raise SpecError(f"axis {axis!r} has uneven steps; sample an evenly spaced grid to take differences")
    return float(steps.mean())
