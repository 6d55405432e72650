"""From where is a surface viewed? From the side that shows its valley best."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

__all__ = ["USUAL", "chosen", "visible"]

USUAL = (34.0, -52.0)
"""Elevation and azimuth of the eye, in degrees, unless another place shows more."""

_ELEVATIONS = (26.0, 34.0, 43.0, 52.0)
_TURNS = tuple(90.0 * quarter + lean for quarter in range(4) for lean in (0.0, -14.0, 14.0))
# How much more of the valley a place must show, for every ten degrees away from the usual one, to be chosen.
_COST = 0.05
_VALLEY = 0.35
_LOOKS = 300


def chosen(surfaces: Sequence[np.ndarray], *, height: float) -> tuple[float, float]:
    """Choose one place of the eye for all surfaces that are compared.

    Args:
        surfaces: float64 [nx, ny] each, heights from 0 to 1; above 1 where the surface is cut off, NaN where there is
            none.
        height: height of the box in parts of its width.

    Returns:
        Elevation and azimuth of the eye, in degrees.
    """

    def worth(place: tuple[float, float]) -> float:
        seen = np.mean([_valley_seen(surface, place, height) for surface in surfaces])
        turned = abs((place[1] - USUAL[1] + 180) % 360 - 180)
        return float(seen) - _COST * (abs(place[0] - USUAL[0]) + min(turned, 40.0)) / 10

    turned = itertools.product(_ELEVATIONS, _TURNS)
    places = [(elevation, (USUAL[1] + turn + 180) % 360 - 180) for elevation, turn in turned]
    return max([USUAL, *places], key=worth)


def _valley_seen(surface: np.ndarray, place: tuple[float, float], height: float) -> float:
    """The share of the lower part of a surface that is seen."""
    known = np.isfinite(surface) & (surface <= 1)
    if not known.any():
        return 0.0
    tenth, half = np.quantile(surface[known], [0.1, 0.5])
    low = max(min(_VALLEY, half), tenth)
    cells = np.argwhere(known & (surface <= low))
    cells = cells[:: max(1, len(cells) // _LOOKS)]
    points = np.column_stack([cells / (np.array(surface.shape) - 1), surface[tuple(cells.T)] * height])
    return float(visible(points, surface, place, height=height).mean())


def visible(points: np.ndarray, surface: np.ndarray, place: tuple[float, float], *, height: float) -> np.ndarray:
    """Whether points near a surface are seen, or hidden behind another part of it.

    Args:
        points: float64 [n, 3], in a box of width and depth 1.
        surface: float64 [nx, ny], heights from 0 to 1; above 1 where it is cut off, NaN where there is none.
        place: elevation and azimuth of the eye, in degrees; it is far away.
        height: height of the box.

    Returns:
        bool [n].

    Example:
        >>> wall = np.zeros((11, 11))
        >>> wall[8] = 1.0  # a wall across x = 0.8
        >>> points = np.array([[0.5, 0.5, 0.0], [0.9, 0.5, 0.0]])
        >>> visible(points, wall, (20.0, 0.0), height=1.0).tolist()  # seen from large x
        [False, True]
    """
    from scipy.ndimage import map_coordinates

    elevation, azimuth = np.radians(place)
    steps = np.linspace(0.02, 1.45, 96)
    towards = np.array([math.cos(azimuth), math.sin(azimuth)])
    way = points[:, None, :2] + steps[:, None] * towards
    raised = points[:, 2, None] + steps * math.tan(elevation)
    scale = np.array(surface.shape) - 1
    solid = np.where(np.isfinite(surface) & (surface <= 1), surface * height, -1.0)
    met = map_coordinates(solid, np.moveaxis(way * scale, -1, 0), order=1, mode="constant", cval=-1.0)
    return np.asarray(~(met > raised + 0.012 * height).any(axis=1))
