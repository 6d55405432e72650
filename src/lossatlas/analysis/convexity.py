"""What does a slice prove? Its own curvature, cell by cell, and how much of its area bends downwards.

A point where a two-dimensional slice has negative curvature proves that the loss is not convex there. The converse
proves nothing: the Hessian of the full function can have many negative eigenvalues that no random slice shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.results.landscape import Status, axis_names


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


THRESHOLDS = (0.01, 0.05, 0.2)
"""Ratios at which the share of area is given, to show what the threshold does; the middle one decides."""

_ROUNDING = {
    "float64": 2.2e-16,
    "float32": 1.2e-7,
    "float16": 9.8e-4,
    "bfloat16": 7.8e-3,
    "bf16": 7.8e-3,
    "fp16": 9.8e-4,
}


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a slice proves.

    Attributes:
        shares: share of the area that bends down, by threshold.
        cells: number of cells that were looked at: those whose neighbours were all evaluated.
        proves: whether some of them bends down by more than rounding can explain.
        lambda_min: smallest eigenvalue of the full Hessian at the centre, where it is known.
        words: the statement.
    """

    shares: Mapping[float, float]
    cells: int
    proves: bool
    lambda_min: float | None
    words: str


def proof(landscape: xr.Dataset, value: str = "loss", *, lambda_min: float | None = None) -> Proof:
    r"""Whether a slice proves the loss non-convex, in numbers and in words.

    A cell counts where :math:`λ_{min} < 0`, :math:`|λ_{min}| > t\,|λ_{max}|`, and :math:`|λ_{min}|` is larger than
    rounding makes of a second difference. Cells beside one that was interpolated, or is not finite, are left out: an
    estimate proves nothing.

    Args:
        landscape: a Landscape, evenly spaced.
        value: which variable.
        lambda_min: smallest eigenvalue of the full Hessian at the centre, from :func:`lossatlas.eigenvalues`.

    Returns:
        The statement and what it rests on.

    Raises:
        SpecError: as for :func:`slice_eigenvalues`.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.linspace(-1, 1, 9), length=1.0)
        >>> bowl = build({"x": axis}, {"loss": axis.coordinates**2})
        >>> proof(bowl, lambda_min=-3.0).words
        'This slice proves nothing about convexity: it bends down nowhere. The Hessian at its centre has λmin = -3.'
    """
    eigenvalues = slice_eigenvalues(landscape, value)
    sure = _evaluated_around(landscape) & np.isfinite(eigenvalues).all(axis=-1)
    found = eigenvalues[sure]
    if not len(found):
        return Proof(shares={}, cells=0, proves=False, lambda_min=lambda_min, words="")
    lowest, highest = found[:, 0], found[:, -1]
    field = np.abs(landscape[value].values[tuple(slice(1, -1) for _ in range(landscape[value].ndim))][sure])
    finest = min(_step(landscape, axis) for axis in axis_names(landscape))
    noise = 8 * _ROUNDING.get(str(landscape.attrs.get("dtype")), 1.2e-7) * field / finest**2
    down = (lowest < 0) & (-lowest > noise)
    shares = {t: float(np.mean(down & (-lowest > t * np.abs(highest)))) for t in THRESHOLDS}
    proves = shares[THRESHOLDS[1]] > 0
    return Proof(
        shares=shares, cells=len(found), proves=proves, lambda_min=lambda_min, words=_words(shares, proves, lambda_min)
    )


def _words(shares: Mapping[float, float], proves: bool, lambda_min: float | None) -> str:
    known = "" if lambda_min is None else f" The Hessian at its centre has λmin = {lambda_min:.3g}."
    low, middle, high = (f"{100 * share:.2g} %" for share in shares.values())
    if proves:
        return (
            f"This slice proves the loss non-convex: {middle} of its area bends down by more than 5 % of how it bends "
            f"up ({low} by more than 1 %, {high} by more than 20 %).{known}"
        )
    return f"This slice proves nothing about convexity: it bends down nowhere.{known}"


def _evaluated_around(landscape: xr.Dataset) -> np.ndarray:
    """bool, shape of the inner cells: all of the 3 × 3 (× 3) cells around were evaluated exactly."""
    exact = landscape["status"].values == Status.OK
    if "loss_uncertainty" in landscape:
        exact = exact & (landscape["loss_uncertainty"].values == 0)
    windows = np.lib.stride_tricks.sliding_window_view(exact, (3,) * exact.ndim)
    return np.asarray(windows.all(axis=tuple(range(exact.ndim, 2 * exact.ndim))))


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
