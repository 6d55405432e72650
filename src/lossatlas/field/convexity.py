"""What does a slice prove? Its own curvature, cell by cell, and how much of its area bends down.

A point where a two-dimensional slice has negative curvature proves that the loss is not convex there. The converse does
not hold: the Hessian of the full function can have many negative eigenvalues that no random slice shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.field.inequality import (
    Inequality,
    check_straight,
    evaluated,
    spacing,
    strongest,
    violations,
    window,
)
from lossatlas.field.rounding import measured
from lossatlas.figure.words import number, percent, smallest
from lossatlas.oneline import one_line
from lossatlas.results.landscape import axis_names, structured
from lossatlas.results.moves import of_inputs

__all__ = [
    "THRESHOLDS",
    "Proof",
    "at_centres",
    "bending_words",
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
        SpecError: fewer than 3 points, uneven spacing, or points along a curve, which have no slice.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = np.linspace(-1, 1, 5)
        >>> axis = Axis(coordinates=x, length=1.0)
        >>> saddle = build({"x": axis, "y": axis}, {"loss": 3 * x[:, None] ** 2 - x[None, :] ** 2})
        >>> slice_eigenvalues(saddle)[0, 0].round(9).tolist()
        [-2.0, 6.0]
    """
    check_straight(landscape)
    steps = [spacing(landscape, axis) for axis in axis_names(landscape)]
    field = np.asarray(landscape[value].values, np.float64)
    rank = field.ndim
    hessian = np.empty((*(n - 2 for n in field.shape), rank, rank))

    def shifted(*offset: int) -> np.ndarray:
        return window(field, offset)

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
    r"""Share of the slice's area where it provably bends down, and by more than a given fraction of how it bends up.

    Counts the cells that violate the inequality of convex functions by more than rounding explains, see
    :func:`lossatlas.field.inequality.violations`, and where :math:`|λ_{min}| > t\,|λ_{max}|` of the slice's own
    Hessian, the ratio that the paper maps (Li et al. 2018, section 6). It is 0 for every convex function; the Hessian
    alone is not, as differences across a coarse grid mix up directions. Cells beside one that was interpolated, or is
    not finite, are left out.

    Args:
        landscape: a Landscape.
        value: which variable.
        threshold: the ratio t.

    Returns:
        A share of the cells whose neighbours were all evaluated, 0 to 1.

    Raises:
        SpecError: as for :func:`slice_eigenvalues`, or no cell has neighbours that were evaluated.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = np.linspace(-1, 1, 8)
        >>> axis = Axis(coordinates=x, length=1.0)
        >>> negative_share(build({"x": axis, "y": axis}, {"loss": (x[:, None] + x[None, :]) ** 4}))
        0.0
    """
    sure, down, eigenvalues = _bending(landscape, value)
    if not sure.any():
        raise SpecError(f"{value!r}: no cell has finite neighbours on all sides, so the slice has no Hessian")
    return _share(down[sure], eigenvalues[sure], threshold)


def _share(down: np.ndarray, eigenvalues: np.ndarray, threshold: float) -> float:
    lowest, highest = eigenvalues[:, 0], eigenvalues[:, -1]
    return float(np.mean(down & (-lowest > threshold * np.abs(highest))))


def _bending(landscape: xr.Dataset, value: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By inner cell: whether all around it was evaluated, whether it violates the inequality, its own Hessian."""
    eigenvalues = slice_eigenvalues(landscape, value)
    sure = _evaluated_around(landscape, value) & np.isfinite(eigenvalues).all(axis=-1)
    return sure, violations(landscape, value), eigenvalues


THRESHOLDS = (0.01, 0.05, 0.2)
"""Ratios at which the share of area is given, to show the effect of the threshold; captions use the middle one."""


UNSTATED = 1e-3
"""A smallest eigenvalue closer to 0 than this proves nothing if its error is not stated."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    r"""What a slice proves.

    Attributes:
        proves: whether some cell bends down by more than rounding can explain, so that the loss is not convex.
        inequality: the violated inequality that proves it; None where nothing is proved.
        shares: by threshold t, the share of the area that bends down, see :func:`negative_share`.
        cells: number of cells that were examined: those whose neighbours were all evaluated.
        lambda_min: smallest eigenvalue of the full Hessian at the centre, where it is known.
        words: the statement.
        lambda_min_error: its residual: an eigenvalue lies within this distance of it.
    """

    proves: bool
    inequality: Inequality | None
    shares: Mapping[float, float]
    cells: int
    lambda_min: float | None
    words: str
    lambda_min_error: float = 0.0

    __repr__ = one_line


def proof(landscape: xr.Dataset, value: str = "loss", *, lambda_min: float | None = None) -> Proof:
    r"""Whether a slice proves the loss non-convex, in numbers and in words.

    The proof is a cell that violates the inequality of convex functions, see
    :func:`lossatlas.field.inequality.violations`. Where :func:`lossatlas.sample` made the Landscape, the three points
    of the strongest were evaluated again in double precision, and nothing refuted by this is claimed. Cells beside one
    that was interpolated, or is not finite, are left out: an estimate proves nothing.

    Args:
        landscape: a Landscape, evenly spaced.
        value: which variable.
        lambda_min: smallest eigenvalue of the full Hessian at the centre, from :func:`lossatlas.eigenvalues`; by
            default what the Landscape records of it (``lossatlas eigen --run``).

    Returns:
        The statement and what it rests on.

    Raises:
        SpecError: as for :func:`slice_eigenvalues`, or a median over seeds.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.linspace(-1, 1, 9), length=1.0)
        >>> bowl = build({"x": axis}, {"loss": axis.coordinates**2})
        >>> print(proof(bowl, lambda_min=-3.0).words.partition("the loss")[0] + "…")
        This slice proves nothing: it bends down nowhere by more than rounding. λmin = −3 at its centre: …
    """
    if structured(landscape, "sampling").get("kind") == "seeds":
        raise SpecError("a median over direction seeds is not a slice of the loss; ask a single seed's run")
    error = 0.0
    if lambda_min is None:
        noted = structured(landscape, "curvature")
        lambda_min, error = noted.get("lambda_min"), float(noted.get("lambda_min_error", 0.0))
    sure, down, eigenvalues = _bending(landscape, value)
    inequality = _proved(landscape, value)
    shares = {t: _share(down[sure], eigenvalues[sure], t) if sure.any() else 0.0 for t in THRESHOLDS}
    words = _words(inequality, shares, lambda_min, error) if sure.any() or inequality else ""
    if of_inputs([landscape]):
        words = words.replace("the loss non-convex:", "the loss non-convex in the input:")
    return Proof(
        proves=inequality is not None,
        inequality=inequality,
        shares=shares,
        cells=int(sure.sum()),
        lambda_min=lambda_min,
        words=words,
        lambda_min_error=error,
    )


def _proved(landscape: xr.Dataset, value: str) -> Inequality | None:
    """The violation confirmed in double precision, if recorded; otherwise the one that the values show."""
    seen = strongest(landscape, value)
    told = measured(landscape, value).get("proof")
    if seen is None or not told:
        return seen
    return Inequality(
        points=tuple(dict(zip(told["axes"], point, strict=True)) for point in told["points"]),
        values=(told["values"][0], told["values"][1], told["values"][2]),
        noise=told["noise"],
        known=told["known"],
        double=told["double"],
    )


def _words(inequality: Inequality | None, shares: Mapping[float, float], lambda_min: float | None, error: float) -> str:
    known = centre_words(lambda_min, inequality is not None, error)
    known = f" {known}" if known else ""
    if inequality is None:
        return f"This slice proves nothing: it bends down nowhere by more than rounding.{known}"
    return f"This slice proves the loss non-convex: {inequality.words}. {bending_words(shares)}{known}"


def bending_words(shares: Mapping[float, float]) -> str:
    """How much of the area bends down, by threshold, in a sentence that does not contradict a proof.

    Args:
        shares: by threshold, as of a :class:`Proof`.

    Returns:
        A sentence.

    Example:
        >>> bending_words({0.01: 0.5, 0.05: 0.25, 0.2: 0.0}).partition(" (")[2]
        '50 % by more than 1 %, none by more than 20 %).'
        >>> bending_words({0.01: 0.0, 0.05: 0.0, 0.2: 0.0})
        'Nowhere does it bend down by as much as 1 % of how it bends up.'
    """
    some = {t: share for t, share in shares.items() if share}
    if not some:
        return f"Nowhere does it bend down by as much as {100 * min(shares):g} % of how it bends up."
    middle = THRESHOLDS[1] if some.get(THRESHOLDS[1]) else min(some)
    others = [
        f"{percent(share) if share else 'none'} by more than {100 * t:g} %"
        for t, share in shares.items()
        if t != middle
    ]
    return (
        f"{percent(some[middle])} of its area bends down by more than {100 * middle:g} % of how it bends up "
        f"({', '.join(others)})."
    )


def at_centres(proofs: Sequence[Proof]) -> str:
    """The smallest eigenvalue of each centre in a few words; nothing where none is known."""
    known = [(one.lambda_min, one.lambda_min_error) for one in proofs]
    if all(low is None for low, _ in known):
        return ""
    return " / ".join("unknown" if low is None else smallest(low, error) for low, error in known)


def centre_words(lambda_min: float | None, proves: bool, error: float = 0.0) -> str:
    """What the smallest eigenvalue of the full Hessian at the centre says; empty where it is not known.

    Returns:
        A sentence.

    Example:
        >>> centre_words(0.5, proves=False)
        'λmin = 0.5 at its centre: no direction that bends down was found there, which does not prove there is none.'
        >>> centre_words(-1e-9, proves=False, error=1e-6)
        'No eigenvalue below −10⁻⁶ was found at its centre, which does not prove there is none.'
        >>> centre_words(-1e-9, proves=False)
        'λmin = −10⁻⁹ at its centre, with an unknown error: this proves nothing.'
    """
    if lambda_min is None:
        return ""
    if -UNSTATED <= lambda_min < 0 and not proves and not error > 0:
        return f"λmin = {number(lambda_min)} at its centre, with an unknown error: this proves nothing."
    if lambda_min > error:
        none = "no direction that bends down was found there, which does not prove there is none"
        return f"λmin = {number(lambda_min)} at its centre: {none}."
    if lambda_min >= -error:
        near = max(error, abs(lambda_min))
        return f"No eigenvalue below {number(-near)} was found at its centre, which does not prove there is none."
    return f"λmin = {number(lambda_min)} at its centre" + ("." if proves else ": the loss is not convex all the same.")


def _evaluated_around(landscape: xr.Dataset, value: str) -> np.ndarray:
    """bool, shape of the inner cells: whether all of the 3 × 3 (× 3) cells around were evaluated exactly."""
    exact = evaluated(landscape, value)
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
