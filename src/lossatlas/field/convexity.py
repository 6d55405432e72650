"""What does a slice prove? Its own curvature, cell by cell, and how much of its area bends downwards.

A point where a two-dimensional slice has negative curvature proves that the loss is not convex there. The converse
proves nothing: the Hessian of the full function can have many negative eigenvalues that no random slice shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.results.landscape import Status, axis_names, structured

__all__ = [
    "THRESHOLDS",
    "Proof",
    "centre_words",
    "negative_share",
    "proof",
    "share_below",
    "slice_eigenvalues",
    "violations",
]


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

    def shifted(*offset: int) -> np.ndarray:
        return _window(field, offset)

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


def violations(landscape: xr.Dataset, value: str = "loss") -> np.ndarray:
    r"""Where the slice breaks the inequality that every convex function obeys, by more than rounding explains.

    A convex function has :math:`L(c - h) - 2 L(c) + L(c + h) ≥ 0` for every step h, short or long, so one cell that
    breaks it proves the loss non-convex. Steps go to the neighbours along each axis and each diagonal. The slice's
    Hessian alone proves nothing: between the points of a grid, :math:`(x + y)^4`, which is convex, seems to bend down.

    Args:
        landscape: a Landscape, evenly spaced.
        value: which variable.

    Returns:
        bool ``[n_x - 2, n_y - 2, …]``; cells beside one that is not finite are ``False``.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = np.linspace(-1, 1, 5)
        >>> axis = Axis(coordinates=x, length=1.0)
        >>> field = build({"x": axis, "y": axis}, {"loss": (x[:, None] + x[None, :]) ** 4})
        >>> bool((slice_eigenvalues(field) < 0).any()), bool(violations(field).any())
        (True, False)
    """
    for axis in axis_names(landscape):
        _step(landscape, axis)
    field = np.asarray(landscape[value].values, np.float64)
    finite = np.abs(field[np.isfinite(field)])
    usual = float(np.median(finite)) if len(finite) else 0.0
    epsilon = _ROUNDING.get(str(landscape.attrs.get("dtype")), 1.2e-7)
    middle = _window(field, (0,) * field.ndim)
    found = np.zeros(middle.shape, bool)
    with np.errstate(invalid="ignore", over="ignore"):
        for step in itertools.product((-1, 0, 1), repeat=field.ndim):
            if step <= (0,) * field.ndim:  # each line through the cell once
                continue
            before, after = (_window(field, tuple(sign * s for s in step)) for sign in (-1, 1))
            # Where the loss is near zero its rounding is not: that of the outputs stays.
            size = np.maximum(np.maximum(np.abs(before), np.abs(after)), np.maximum(np.abs(middle), usual))
            found |= before - 2 * middle + after < -8 * epsilon * size
    return found


def _window(field: np.ndarray, offset: tuple[int, ...]) -> np.ndarray:
    """The field at a fixed step from every inner cell."""
    return field[tuple(slice(1 + o, n - 1 + o) for o, n in zip(offset, field.shape, strict=True))]


THRESHOLDS = (0.01, 0.05, 0.2)
"""Ratios at which the share of area is given, to show what the threshold does; the middle one is that of captions."""

_ROUNDING = {
    "float64": 2.2e-16,
    "float32": 1.2e-7,
    "float16": 9.8e-4,
    "bfloat16": 7.8e-3,
    "bf16": 7.8e-3,
    "fp16": 9.8e-4,
    "tf32": 9.8e-4,
}


@dataclass(frozen=True, kw_only=True)
class Proof:
    r"""What a slice proves.

    Attributes:
        proves: whether some cell bends down by more than rounding can explain: the loss is not convex.
        shares: by threshold t, the share of the area that bends down, with :math:`|λ_{min}| > t\,|λ_{max}|` of the
            slice's own Hessian.
        cells: number of cells that were looked at: those whose neighbours were all evaluated.
        lambda_min: smallest eigenvalue of the full Hessian at the centre, where it is known.
        words: the statement.
    """

    proves: bool
    shares: Mapping[float, float]
    cells: int
    lambda_min: float | None
    words: str


def proof(landscape: xr.Dataset, value: str = "loss", *, lambda_min: float | None = None) -> Proof:
    r"""Whether a slice proves the loss non-convex, in numbers and in words.

    The proof is a cell that breaks the inequality of convex functions, see :func:`violations`. Shares of the area count
    the cells that do, and whose own Hessian has :math:`|λ_{min}| > t\,|λ_{max}|`. Cells beside one that was
    interpolated, or is not finite, are left out: an estimate proves nothing.

    Args:
        landscape: a Landscape, evenly spaced.
        value: which variable.
        lambda_min: smallest eigenvalue of the full Hessian at the centre, from :func:`lossatlas.eigenvalues`; left
            out, what the Landscape says of it (``lossatlas eigen --run``).

    Returns:
        The statement and what it rests on.

    Raises:
        SpecError: as for :func:`slice_eigenvalues`, or a median over seeds.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.linspace(-1, 1, 9), length=1.0)
        >>> bowl = build({"x": axis}, {"loss": axis.coordinates**2})
        >>> print(proof(bowl, lambda_min=-3.0).words)
        This slice proves nothing: it bends down nowhere. λmin = -3 at its centre: the loss is not convex all the same.
    """
    if structured(landscape, "sampling").get("kind") == "seeds":
        raise SpecError("a median over direction seeds is no slice of the loss; ask a single seed's run")
    if lambda_min is None:
        lambda_min = structured(landscape, "curvature").get("lambda_min")
    eigenvalues = slice_eigenvalues(landscape, value)
    sure = _evaluated_around(landscape) & np.isfinite(eigenvalues).all(axis=-1)
    lowest, highest = eigenvalues[sure][:, 0], eigenvalues[sure][:, -1]
    down = violations(landscape, value)[sure]
    shares = {t: float(np.mean(down & (-lowest > t * np.abs(highest)))) if len(down) else 0.0 for t in THRESHOLDS}
    proves = bool(down.any())
    words = _words(proves, shares, lambda_min) if len(down) else ""
    return Proof(proves=proves, shares=shares, cells=len(down), lambda_min=lambda_min, words=words)


def _words(proves: bool, shares: Mapping[float, float], lambda_min: float | None) -> str:
    known = centre_words(lambda_min, proves)
    known = f" {known}" if known else ""
    if not proves:
        return f"This slice proves nothing: it bends down nowhere.{known}"
    low, middle, high = (f"{100 * share:.3g} %" for share in shares.values())
    return (
        f"This slice proves the loss non-convex: {middle} of its area bends down by more than 5 % of how it bends up "
        f"({low} by more than 1 %, {high} by more than 20 %).{known}"
    )


def centre_words(lambda_min: float | None, proves: bool) -> str:
    """What the smallest eigenvalue of the full Hessian at the centre says; empty where it is not known.

    Returns:
        A sentence.

    Example:
        >>> centre_words(0.5, proves=False)
        'λmin = 0.5 at its centre: there the loss bends up in every direction, which says nothing of other points.'
    """
    if lambda_min is None:
        return ""
    if lambda_min >= 0:
        up = "there the loss bends up in every direction, which says nothing of other points"
        return f"λmin = {lambda_min:.3g} at its centre: {up}."
    return f"λmin = {lambda_min:.3g} at its centre" + ("." if proves else ": the loss is not convex all the same.")


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

    Returns:
        A share between 0 and 1.

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
