"""How certain is the share of problems solved? The exact binomial interval."""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["clopper_pearson", "with_interval"]


def clopper_pearson(shares: np.ndarray, number: int, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    r"""The Clopper–Pearson interval of a share (Clopper and Pearson 1934, Biometrika 26).

    With k of n problems solved, it holds all shares p for which neither "k or more" nor "k or fewer" is rarer than
    :math:`(1 - level) / 2`. It says how far off the share may be for another draw of problems; neighbouring cells solve
    the same problems, so their differences are more certain than two such intervals suggest.

    Args:
        shares: k / n, any shape; NaN stays NaN.
        number: n.
        level: of confidence.

    Returns:
        The low and the high end, float64, shaped like ``shares``.

    Example:
        >>> low, high = clopper_pearson(np.array([0.0, 0.5]), 10)
        >>> low.round(3).tolist(), high.round(3).tolist()
        ([0.0, 0.187], [0.308, 0.813])
    """
    from scipy.special import betaincinv  # imported here: a scan without such shares saves its 12 MiB

    solved = np.round(np.asarray(shares, np.float64) * number)
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(solved > 0, betaincinv(solved, number - solved + 1, tail), 0.0)
        high = np.where(solved < number, betaincinv(solved + 1, number - solved, 1 - tail), 1.0)
    missing = np.isnan(solved)
    return np.where(missing, np.nan, low), np.where(missing, np.nan, high)


def with_interval(landscape: xr.Dataset, name: str, number: int) -> None:
    """Put both ends of the interval of a mean of scores of 0 or 1 beside it; in place.

    Args:
        landscape: a Landscape.
        name: of the mean.
        number: how many scores it is over.
    """
    bounds = clopper_pearson(landscape[name].values, number)
    for end, array in zip(("low", "high"), bounds, strict=True):
        words = f"{end} end of the 95 % Clopper-Pearson interval of {name}, {number} problems"
        landscape[f"{name}_{end}"] = (landscape["status"].dims, array, {"kind": "interval", "long_name": words})
