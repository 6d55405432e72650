"""How are the ends of a spectrum drawn: of one matrix, and of the blocks of a matrix beside each other?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lossatlas.curvature.blocks import Beside
from lossatlas.curvature.subject import ratio_said
from lossatlas.figure.plot import Mark, Panel, Plot, Series, symmetric_below
from lossatlas.figure.words import capital
from lossatlas.oneline import verb_of

__all__ = ["end_names", "ends_beside", "ends_plot"]

_EIGENVALUE = "eigenvalue (loss per squared parameter norm)"


def ends_plot(found: Any) -> Plot:
    """Both ends as bars, with their residuals.

    Args:
        found: an :class:`~lossatlas.curvature.spectrum.Eigen`.

    Returns:
        The plot.
    """
    places = np.arange(len(found.values), dtype=float)
    half = len(found.values) // 2
    bars = [
        _bars(places[:half], found.values[:half], found.errors[:half], "smallest", 1),
        _bars(places[half:], found.values[half:], found.errors[half:], "largest", 0),
    ]
    names = end_names(half, len(found.values) - half)
    panel = Panel(
        series=bars,
        x_label="",
        y_label=_EIGENVALUE,
        y_scale="symlog" if np.ptp(np.log10(np.maximum(np.abs(found.values), 1e-300))) > 1.5 else "linear",
        x_ticks=list(zip(places.tolist(), names, strict=True)),
        marks=[Mark(y=0.0)],
    )
    caption = [found.subject.words, f"{capital(ratio_said(found))}.", "Lines: residuals.", *found.caveats]
    return Plot(panels=[panel], title=found.subject.title("Curvature"), caption=caption)


def _bars(places: np.ndarray, values: np.ndarray, errors: np.ndarray, label: str, color: int) -> Series:
    ends = {"low": values - errors, "high": values + errors}
    return Series(x=places, y=values, label=label, style="bars", color=color, **ends)


def ends_beside(found: Mapping[str, Any]) -> Beside:
    """Both ends of some blocks in one panel, and what is to be said about them.

    Args:
        found: for each block an :class:`~lossatlas.curvature.spectrum.Eigen`.

    Returns:
        The panel, and sentences.
    """
    places = np.arange(len(found), dtype=float)
    each = list(found.values())
    ends = [np.array([one.values[end] for one in each]) for end in (-1, 0)]
    errors = [np.array([one.errors[end] for one in each]) for end in (-1, 0)]
    series = [
        Series(x=places, y=y, low=y - error, high=y + error, style="points", label=label, color=color)
        for y, error, label, color in zip(ends, errors, ("λmax", "λmin"), (0, 1), strict=True)
    ]
    sizes = np.concatenate(ends)
    panel = Panel(
        series=series,
        x_label="",
        y_label=_EIGENVALUE,
        y_scale="symlog" if np.abs(sizes).max() > 100 * symmetric_below(sizes) else "linear",
        x_ticks=list(zip(places.tolist(), found, strict=True)),
        marks=[Mark(y=0.0)],
    )
    loose = sum(not one.converged.all() for one in each)
    said = ["Ends of the spectrum of each block; lines: residuals."]
    return panel, [
        *said,
        *([f"{loose} of {len(each)} blocks {verb_of(loose, 'has')} not converged."] if loose else []),
    ]


def end_names(low: int, high: int) -> list[str]:
    """What the eigenvalues at both ends are called, ascending.

    Returns:
        ``low + high`` names.

    Example:
        >>> end_names(2, 2)
        ['λmin', 'λ2 from below', 'λ2 from above', 'λmax']
    """
    below = ["λmin", *(f"λ{i} from below" for i in range(2, low + 1))]
    above = [*(f"λ{i} from above" for i in range(high, 1, -1)), "λmax"]
    return below[:low] + above[-high:]
