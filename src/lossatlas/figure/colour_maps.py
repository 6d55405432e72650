"""Which colour maps does matplotlib know, and do equal steps of a value look equal on them?"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence

import numpy as np

from lossatlas import extras
from lossatlas.errors import SpecError
from lossatlas.warned import warn

__all__ = ["check", "points", "unevenness"]

_POINTS = 65
# What viridis, plasma, inferno, magma, cividis, gray, the maps of ColorBrewer and coolwarm keep, and jet, hsv, rainbow,
# turbo, hot and gnuplot2 do not; measured on 64 steps of CIELAB.
_LARGEST_STEP, _LARGEST_STEP_DIVERGING, _FLATTEST = 1.85, 1.65, 0.3
_NOISE = 0.15
_MIDDLE = (0.4, 0.6)


@functools.cache
def points(name: str) -> tuple[str, ...]:
    """Points of one of matplotlib's colour maps as ``#rrggbb``, evenly spaced from low to high.

    Returns:
        65 colours.

    Raises:
        SpecError: there is no such map; the message lists similar names.
    """
    mpl = extras.require("matplotlib", extra="draw", purpose="use one of its colour maps")
    from matplotlib.colors import to_hex

    if name not in mpl.colormaps:
        near = difflib.get_close_matches(name, [*mpl.colormaps, "diverging"], n=3, cutoff=0.5) or ["viridis", "cividis"]
        raise SpecError(
            f"colours={name!r} is not a colour map; did you mean {' or '.join(near)}? Any name in matplotlib.colormaps "
            "will do, as will diverging and auto"
        )
    return tuple(to_hex(colour) for colour in mpl.colormaps[name](np.linspace(0.0, 1.0, _POINTS)))


def unevenness(colours: Sequence[str]) -> str:
    """Why equal steps of a value do not look equal on a colour map.

    The map is read in CIELAB (CIE 1976): lightness has to rise or fall throughout, or turn once, in the middle, and no
    step may be much larger than the mean.

    Args:
        colours: points of the map as ``#rrggbb``, evenly spaced.

    Returns:
        A clause; empty where the map is near enough to uniform.

    Example:
        >>> unevenness(points("viridis")), unevenness(points("jet"))
        ('', 'its lightness turns 3 times')
    """
    found = _lab(np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours]))
    rises = np.diff(found[:, 0])
    steps = np.linalg.norm(np.diff(found, axis=0), axis=1)
    kept = np.flatnonzero(np.abs(rises) > _NOISE * 64 / len(rises))
    turns = kept[1:][np.diff(np.sign(rises[kept])) != 0]
    if len(turns) > 1:
        return f"its lightness turns {len(turns)} times"
    if len(turns) == 1 and not _MIDDLE[0] < turns[0] / len(rises) < _MIDDLE[1]:
        return "its lightness turns, and not in the middle"
    largest = float(steps.max() / steps.mean())
    if largest > (_LARGEST_STEP_DIVERGING if len(turns) else _LARGEST_STEP):
        return f"its largest step is {largest:.1f} times the mean"
    flattest = float(np.quantile(np.abs(rises), 0.05) / np.abs(rises).mean())
    if not len(turns) and flattest < _FLATTEST:
        return "its lightness hardly changes over a part of it"
    return ""


def check(name: str) -> None:
    """Check that there is such a colour map, and warn where steps on it mislead.

    Raises:
        SpecError: there is no such map.
    """
    if why := unevenness(points(name)):
        words = f"colours={name!r} is not perceptually uniform ({why}): it shows edges where the values have none"
        warn(f"{words}; viridis, cividis, magma, inferno, plasma and gray are")


def _lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB under D65 of sRGB, float64 [n, 3]."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    red, green, blue = (
        (0.4124564, 0.2126729, 0.0193339),
        (0.3575761, 0.7151522, 0.119192),
        (0.1804375, 0.072175, 0.9503041),
    )
    x, y, z = (linear @ np.array([red, green, blue]) / [0.95047, 1.0, 1.08883]).T
    fx, fy, fz = (np.where(part > 0.008856, np.cbrt(part), 7.787 * part + 16 / 116) for part in (x, y, z))
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1)
