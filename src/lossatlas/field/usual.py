"""On which range is a value drawn unless a picture is asked for another?"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import xarray as xr

from lossatlas.field.ways import is_way
from lossatlas.figure.ranges import FAR, FAR_ON_A_LINE, Range, choose
from lossatlas.results.landscape import axis_names, structured, value_names
from lossatlas.results.quantities import quantity

__all__ = ["beside", "bounded", "linear", "usual"]

# Names of scores between 0 and 1 (or 100) as they are usually written, alone or as part of a name.
_SCORE = re.compile(
    r"(^|[_ .-])(error|err|accuracy|acc|auc|auroc|f1|iou|dice|precision|recall|top_?\d+)($|[_ .-])", re.IGNORECASE
)


def bounded(landscapes: Sequence[xr.Dataset], value: str) -> bool:
    """Whether a value is a score between fixed ends, such as an accuracy: by its count, or by name and values."""
    if any(landscape[value].attrs.get("kind") == "loss" for landscape in landscapes):
        return False
    if all(structured(one, "counts").get(value, {}).get("zero_one") for one in landscapes):
        return True
    values = np.concatenate([landscape[value].values.ravel() for landscape in landscapes])
    finite = values[np.isfinite(values)]
    return bool(_SCORE.search(value)) and bool(np.all((finite >= 0) & (finite <= 100)))


def linear(landscapes: Sequence[xr.Dataset], value: str, labels: Sequence[str]) -> bool:
    """Whether a value is drawn on a linear scale unless a picture is asked for another.

    Scores and quantities with known ends have a scale of their own, and on a line between two networks it is the
    barrier that counts.

    Args:
        landscapes: what is drawn together.
        value: which of their values.
        labels: of their axes.

    Returns:
        Whether it is.
    """
    known, line = quantity(landscapes[0], value), len(axis_names(landscapes[0])) == 1
    return bool(known and known.ends) or bounded(landscapes, value) or (line and all(map(is_way, labels)))


def beside(
    landscapes: Sequence[xr.Dataset], value: str, others: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Further values of lines: those on the same axis, as a test loss beside a training loss, and those on a second.

    Args:
        landscapes: what is drawn.
        value: which of their values.
        others: the other values that all of them have.

    Returns:
        Both. The exponential of the value, as a perplexity is, says the same once more and is in neither; nor is what
        the value is the exponential of.
    """
    further = tuple(
        name
        for name in others
        if not (_is_exponential(landscapes, name, value) or _is_exponential(landscapes, value, name))
    )
    losses = [name for name in (value, *further) if name.lower().endswith("loss")]
    same = tuple(name for name in further if value in losses and name in losses)
    return same, tuple(name for name in further if name not in same)


def _is_exponential(landscapes: Sequence[xr.Dataset], name: str, of: str) -> bool:
    pairs = [(one[name].values, np.exp(np.minimum(one[of].values, 700.0))) for one in landscapes]
    return all(np.allclose(values, expected, rtol=1e-3, equal_nan=True) for values, expected in pairs)


def usual(landscape: xr.Dataset, value: str = "loss") -> Range:
    """The range of a picture of a single Landscape that is asked for nothing.

    Args:
        landscape: a Landscape with a finite value.
        value: which of its values.

    Returns:
        The range.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> t, loss = np.linspace(0, 1, 21), lambda t: 1e-3 + 4 * t * (1 - t)
        >>> ways = [Axis(coordinates=t, length=1.0, label=words) for words in ("towards b.pt", "random direction")]
        >>> [usual(build({"x": way}, {"loss": loss(t)})).scale for way in ways]
        ['linear', 'log']
    """
    labels = [str(landscape[axis].attrs.get("long_name", "")) for axis in axis_names(landscape)]
    line, known = len(labels) == 1, quantity(landscape, value)
    others = [name for name in value_names(landscape) if name != value]
    same = beside([landscape], value, others)[0] if line and known is None else ()
    every = [landscape[name].values.ravel() for name in (value, *same)]
    finite = [values[np.isfinite(values)] for values in every]
    ends = known.ends if known else ()
    whole = bounded([landscape], value) or bool(ends and finite[0].max() <= ends[-1])
    return choose(
        finite,
        scale="linear" if linear([landscape], value, labels) else "auto",
        clip=None if whole else "auto",
        far=FAR_ON_A_LINE if line else FAR,
    )
