"""How large are the errors around a place? As large as those of the held-out points nearest to it."""

from __future__ import annotations

import numpy as np

from lossatlas.sampling.factor import quantile, typical

__all__ = ["EVERYWHERE", "FLOOR", "NEIGHBOURS", "Scale"]

NEIGHBOURS = 20
"""Held-out errors that are averaged around a place."""

FLOOR = 0.1
"""Share of the median scale below which no place goes."""

EVERYWHERE = 0.2
"""Share of the typical scale that is added to that of every place: a few neighbours may agree by chance."""


class Scale:
    """Held-out error for a hole of size 1, averaged around any place.

    Args:
        scales: float64 [n], that of each held-out point.
        area: float64 [n], how much each counts.
    """

    def __init__(self, scales: np.ndarray, area: np.ndarray) -> None:
        self._roots = np.sqrt(scales)
        self._shares = np.minimum(area / area.mean(), 1.0) + 1e-3
        self._floor = FLOOR * quantile(scales, area, 0.5)
        self._everywhere = EVERYWHERE * typical(scales, area)

    def around(self, distances: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The error around some places.

        Args:
            distances: float64 [m, k], to the nearest held-out points.
            others: int64 [m, k], which these are.

        Returns:
            float64 [m].
        """
        distances, others = distances[:, :NEIGHBOURS], others[:, :NEIGHBOURS]
        weights = self._shares[others] / (distances / distances.mean(axis=1, keepdims=True) + 0.3)
        # The mean of roots, squared: one wild neighbour counts, but not for everything around it.
        local = ((weights * self._roots[others]).sum(axis=1) / weights.sum(axis=1)) ** 2
        return np.asarray(np.hypot(local, self._floor) + self._everywhere)
