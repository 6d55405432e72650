"""Can a picture be trusted? What is odd about a measured field, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from scipy.stats import spearmanr

from lossatlas.errors import SpecError
from lossatlas.field.lowest import lowest
from lossatlas.field.usual import usual
from lossatlas.field.ways import misfit
from lossatlas.figure.words import SCALES, number, percent
from lossatlas.oneline import verb_of
from lossatlas.results.landscape import Status, axis_names, structured, value_names
from lossatlas.results.moves import of_inputs

__all__ = ["Finding", "check"]

Verdict = Literal["fine", "odd", "unknown"]

_VALLEY, _FLAT, _SAME, _ALIKE, _MANY_CLIPPED = 0.1, 0.02, 1e-6, 0.8, 0.25
"""The height of the valley's rim, as a share of the rise to the edge; the least change worth a picture, as a share of
the value at the centre, and the same where values are negative; the least rank correlation of two seeds; the share of
clipped cells that counts as many."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The answer to one question.

    Attributes:
        question: what was asked.
        verdict: "fine", "odd", or "unknown" where the run cannot tell.
        words: what was seen.
        advice: what to do, if anything.
    """

    question: str
    verdict: Verdict
    words: str
    advice: str = ""


def check(
    landscape: xr.Dataset, others: Sequence[xr.Dataset] = (), *, value: str = "loss", expected: float | None = None
) -> tuple[Finding, ...]:
    """Ask whether the picture of a Landscape can be trusted.

    Args:
        landscape: the Landscape to examine, with one, two or three axes.
        others: the same model along other random directions, on the same grid.
        value: which value.
        expected: the value of the trained network as you know it, from training or a validation script.

    Returns:
        The findings: whether all points are there, the value at the centre is the expected one, the centre is a minimum
        of the slice, the range suits the valley, two seeds agree, BatchNorm kept its statistics, and little is clipped.

    Raises:
        SpecError: the Landscape has no such value, or another one has another grid.

    Example:
        >>> import lossatlas as la
        >>> x = np.linspace(-1, 1, 9)
        >>> found = check(la.landscape(x=x, loss=(x - 0.5) ** 2))
        >>> [finding.question for finding in found if finding.verdict == "odd"]
        ['Is the centre a minimum of the slice?']
    """
    for one in (landscape, *others):
        if value not in value_names(one):
            raise SpecError(f"value={value!r}: the run has {', '.join(value_names(one))}; name one of them")
        if one[value].shape != landscape[value].shape or not all(
            np.array_equal(one[axis].values, landscape[axis].values) for axis in axis_names(landscape)
        ):
            raise SpecError("others: one run has another grid; sample all of them with the same axes")
    asked: tuple[Callable[[], Finding], ...] = (
        lambda: _complete(landscape, value),
        lambda: _centre_known(landscape, value, expected),
        lambda: _minimum(landscape, value),
        lambda: _range(landscape, value),
        lambda: _seeds(landscape, others, value),
        lambda: _batchnorm(landscape, others),
        lambda: _clipped(landscape, value),
    )
    return tuple(ask() for ask in asked)


def _complete(landscape: xr.Dataset, value: str) -> Finding:
    question = "Is every point there and finite?"
    status = landscape["status"].values
    counts = {flag: int((status == flag).sum()) for flag in Status}
    missing = counts[Status.NOT_SAMPLED]
    lost = int((~np.isfinite(landscape[value].values)).sum()) - missing
    if missing:
        words = f"{missing} of {status.size} points {verb_of(missing, 'has')} not been evaluated."
        imported = landscape.attrs.get("dtype") == "unknown"
        advice = "Import them with the others." if imported else "Run the same command again to resume."
        return Finding(question=question, verdict="odd", words=words, advice=advice)
    if lost > 0:
        words = f"{lost} of {status.size} points {verb_of(lost, 'has')} no finite value."
        return Finding(
            question=question,
            verdict="odd",
            words=words,
            advice="Narrow the range, or evaluate in float32 or float64; lossatlas info lists the failures.",
        )
    return Finding(question=question, verdict="fine", words=f"All {status.size} points have a value.")


def _centre(landscape: xr.Dataset, value: str) -> float | None:
    """As it was measured; otherwise from the grid, if that contains the centre."""
    if (known := structured(landscape, "centre").get(value)) is not None:
        return float(known)
    found = lowest(landscape, value)
    return None if found is None else found.centre


def _centre_known(landscape: xr.Dataset, value: str, expected: float | None) -> Finding:
    question = f"Is the {value} at the centre the one you expect?"
    centre = _centre(landscape, value)
    if centre is None:
        return Finding(question=question, verdict="unknown", words="The value at the centre is not recorded.")
    told = f"It is {number(centre)}"
    if expected is None:
        return Finding(
            question=question,
            verdict="unknown",
            words=f"{told}.",
            advice="Compare it with the value that training reported on the same data: --expect VALUE.",
        )
    if math.isclose(centre, expected, rel_tol=0.02, abs_tol=1e-6):
        return Finding(
            question=question, verdict="fine", words=f"{told}, within 2 % of the expected {number(expected)}."
        )
    return Finding(
        question=question,
        verdict="odd",
        words=f"{told}; expected was {number(expected)}.",
        advice="Look for a different checkpoint, different preprocessing, training mode, or weights that were not "
        "loaded.",
    )


_TRAIN = "Train further, check that checkpoint and data belong together, or say that this is not a minimum."


def _minimum(landscape: xr.Dataset, value: str) -> Finding:
    question = "Is the centre a minimum of the slice?"
    if landscape[value].attrs.get("kind") != "loss":
        return Finding(question=question, verdict="unknown", words="That is asked of losses only: --value loss.")
    found = lowest(landscape, value)
    if found is None or found.centre is None:
        return Finding(question=question, verdict="unknown", words="The centre is not known, or not within the range.")
    if found.centre_is_minimum is False or found.below_centre:
        return Finding(
            question=question,
            verdict="fine" if of_inputs([landscape]) else "odd",
            words=found.words,
            advice="Inputs are not trained, so no minimum is expected here." if of_inputs([landscape]) else _TRAIN,
        )
    if found.centre_is_minimum is None:
        words = f"{found.words} None of those beside it has been evaluated."
        return Finding(question=question, verdict="unknown", words=words)
    return Finding(question=question, verdict="fine", words=found.words)


def _edge(values: np.ndarray) -> np.ndarray:
    inner = np.zeros(values.shape, dtype=bool)
    inner[(slice(1, -1),) * values.ndim] = True
    edge = values[~inner]
    return np.asarray(edge[np.isfinite(edge)])


def _range(landscape: xr.Dataset, value: str) -> Finding:
    question = "Is the range sensible?"
    values = landscape[value].values
    centre, edge = _centre(landscape, value), _edge(values)
    if centre is None or not edge.size:
        return Finding(question=question, verdict="unknown", words="The centre or the edge of the range is unknown.")
    change, rise = float(np.median(np.abs(edge - centre))), float(np.median(edge)) - centre
    # Where values may be negative, their size depends on where the zero lies, which is arbitrary: energies, densities.
    share = _FLAT if values[np.isfinite(values)].min() >= 0 else _SAME
    if change <= share * abs(centre):
        words = f"Half of the points on the edge differ from the centre by {number(change)} or less."
        return Finding(question=question, verdict="odd", words=words, advice="Look further out: choose a wider range.")
    if rise <= 0:
        words = "Half of the points on the edge are no higher than the centre: there is no valley to be judged by."
        return Finding(question=question, verdict="unknown", words=words)
    inside = float(np.mean(values[np.isfinite(values)] <= centre + _VALLEY * rise))
    needed = 3.0 / values.shape[0] if values.ndim == 1 else 9.0 / values.size
    words = f"{percent(inside)} of the points lie in the lowest tenth of the rise to the edge."
    if inside < needed:
        return Finding(
            question=question,
            verdict="odd",
            words=f"{words} The valley is too small to be seen.",
            advice="Narrow the range or take more points, and try a logarithmic scale.",
        )
    return Finding(question=question, verdict="fine", words=words)


def _seeds(landscape: xr.Dataset, others: Sequence[xr.Dataset], value: str) -> Finding:
    question = "Are two seeds alike?"
    if not others:
        return Finding(
            question=question,
            verdict="unknown",
            words="There is only one run.",
            advice="Sample another seed on the same grid, and name both runs; --seeds 5 makes five at once.",
        )
    first = landscape[value].values
    rises = [
        float(np.median(_edge(one[value].values))) - float(np.nanmin(one[value].values)) for one in (landscape, *others)
    ]
    alike = []
    for other in others:
        both = np.isfinite(first) & np.isfinite(other[value].values)
        pair = first[both], other[value].values[both]
        alike.append(float(spearmanr(*pair).statistic) if both.sum() > 2 else math.nan)
    ratio = max(rises) / min(rises) if min(rises) > 0 else math.inf
    words = (
        f"The lowest rank correlation with the first run is {min(alike):.2f}; "
        f"the rise to the edge differs by a factor of {ratio:.2g}."
    )
    if min(alike) >= _ALIKE and ratio <= 2:
        return Finding(question=question, verdict="fine", words=words)
    return Finding(
        question=question,
        verdict="odd",
        words=words,
        advice="Claim nothing from one plane: show the median and spread of several seeds (lossatlas compare).",
    )


def _batchnorm(landscape: xr.Dataset, others: Sequence[xr.Dataset]) -> Finding:
    question = "Did BatchNorm lose its statistics?"
    modes = {str(one.attrs.get("batchnorm", "")) for one in (landscape, *others)}
    if len(modes) > 1:
        said = ", ".join(sorted(mode or "none" for mode in modes))
        advice = "Measure all of them in the same way before comparing."
        return Finding(question=question, verdict="odd", words=f"The runs treat it differently: {said}.", advice=advice)
    mode = modes.pop()
    if not mode:
        return Finding(question=question, verdict="fine", words="There is no BatchNorm, or nothing is recorded.")
    if misfit((landscape, *others)):
        return Finding(
            question=question,
            verdict="odd",
            words="The first network's statistics are frozen on the way to another network, where they are wrong.",
            advice="Measure them at every point: --batchnorm recalibrated. A barrier may be an artefact of the "
            "statistics.",
        )
    if mode == "frozen":
        return Finding(
            question=question,
            verdict="fine",
            words="The trained statistics are frozen, as in the paper; they fit less well away from the centre.",
            advice="To see how much depends on it, also sample a line with --batchnorm recalibrated.",
        )
    return Finding(question=question, verdict="fine", words=f"The statistics are {mode}.")


def _clipped(landscape: xr.Dataset, value: str) -> Finding:
    question = "How much is clipped?"
    values = landscape[value].values
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Finding(question=question, verdict="unknown", words="No value is finite.")
    shown = usual(landscape, value)
    parts = []
    if shown.clipped is not None:
        highest = number(float(finite.max()))
        parts.append(f"{percent(shown.above)} of the cells lie above {number(shown.clipped)}, up to {highest}.")
    if shown.floored is not None:
        least = number(float(finite.min()))
        parts.append(f"{percent(shown.below)} of the cells lie below {number(shown.floored)}, down to {least}.")
    words = " ".join(parts) or f"Nothing is, on a {SCALES[shown.scale]}."
    if shown.above > _MANY_CLIPPED:
        advice = "Narrow the range or use --scale log." if shown.scale == "linear" else "Narrow the range."
        return Finding(question=question, verdict="odd", words=words, advice=advice)
    return Finding(question=question, verdict="fine", words=words)
