"""How alike do two columns order the same things? Kendall's τ-b, for one pair of columns or many at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["kendall", "signs", "taus"]


def kendall(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Kendall's τ-b, with ties.

    Returns:
        The coefficient, from -1 to 1.

    Example:
        >>> round(kendall([1, 2, 3, 4], [1, 3, 2, 4]), 3)
        0.667
    """
    return float(taus(signs(np.asarray(a, float))[None], signs(np.asarray(b, float)))[0])


def signs(values: np.ndarray) -> np.ndarray:
    """Sign of the difference of every two things, int8 [..., n (n - 1) / 2]."""
    first, second = np.triu_indices(values.shape[-1], 1)
    found: np.ndarray = np.sign(values[..., first] - values[..., second]).astype(np.int8)
    return found


def taus(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """τ-b from signs; 0 where one side has ties only."""
    agree = np.sum(a * b, axis=-1, dtype=np.int64)
    weight = np.sqrt(np.sum(a != 0, axis=-1, dtype=np.float64) * np.sum(b != 0, axis=-1, dtype=np.float64))
    return np.asarray(np.divide(agree, weight, out=np.zeros(np.shape(agree)), where=weight > 0))
