"""What is measured for a training path: its variance beside random walks, the way down at each step, a random plane."""

from __future__ import annotations

import numpy as np
import torch

import lossatlas as la
from lossatlas.curvature.products import Matrix
from lossatlas.paths import walks
from lossatlas.space.charts import Recipe
from lossatlas.space.directions import Direction

WALKS = 200
"""Random walks for each training."""


def variance(path: la.Trajectory, *, draws: int = WALKS, seed: int = 0) -> dict[str, float]:
    """Explained variance of the first two components, beside random walks with the path's own step lengths.

    Args:
        path: the path.
        draws: walks, in the path's own number of dimensions.
        seed: of the walks.

    Returns:
        ``share`` of the path, ``walk`` the mean of the walks and ``low`` to ``high`` 95 % of them; ``last`` and
        ``last_walk`` the same about the last checkpoint; ``dimension``.
    """
    rng, lengths = np.random.default_rng(seed), path.step_lengths
    drawn = np.array(
        [
            [walks.shares(gram, centre, 2).sum() for centre in ("mean", "last")]
            for gram in (_walk(lengths, path.dimension, rng) for _ in range(draws))
        ]
    )
    low, high = np.quantile(drawn[:, 0], [0.025, 0.975])
    return {
        "share": float(walks.shares(path.gram, "mean", 2).sum()), "walk": float(drawn[:, 0].mean()),
        "low": float(low), "high": float(high),
        "last": float(walks.shares(path.gram, "last", 2).sum()), "last_walk": float(drawn[:, 1].mean()),
        "dimension": float(path.dimension),
    }  # fmt: skip


def _walk(lengths: np.ndarray, dimension: int, rng: np.random.Generator) -> np.ndarray:
    return walks.walk(lengths, walks.random_cosines(len(lengths), dimension, rng))


def chance(path: la.Trajectory, planes: int) -> dict[str, float]:
    """How much of the path's variance random planes hold: ``random``, a share, and ``ratio``, in units of 2 / P."""
    found = [path.contrast(seed=seed) for seed in range(planes)]
    shares = np.array([one.share for one in found])
    return {"random": float(shares.mean()), "ratio": float(shares.mean() / found[0].expected_share)}


def downhill(here: la.Objective, plane: la.Plane, coordinates: np.ndarray) -> list[float]:
    """Cosine of each step of a path in a plane with the way down the surface where the step begins.

    Args:
        here: whose loss the surface is.
        plane: of directions at right angles, of length one.
        coordinates: float64 [n, 2] of the path.

    Returns:
        n - 1 cosines: 1 straight down, 0 along a contour; not a number where the surface is flat or nothing moves.
    """
    matrix = Matrix(here)
    axes = torch.stack([matrix.joined(direction) for direction in plane.directions.values()])
    found = []
    for at, step in zip(coordinates[:-1], np.diff(coordinates, axis=0), strict=True):
        matrix.move(plane.at(dict(zip(plane.axes, at.tolist(), strict=True))))
        down = -(axes @ matrix.joined(matrix.gradient())).numpy()
        size = float(np.linalg.norm(down) * np.linalg.norm(step))
        found.append(float(down @ step) / size if size > 0 else float("nan"))
    return found


def random_plane(path: la.Trajectory, seed: int = 0) -> la.Plane:
    """Two Gaussian directions in all parameters, of length one like those of the principal plane."""
    plane = la.Plane.random(path.at(-1), seed=seed, by="none", still=())
    directions = {
        axis: Direction({name: tensor / plane.lengths[axis] for name, tensor in found.items()}, f"random direction {i}")
        for i, (axis, found) in enumerate(plane.directions.items(), 1)
    }
    return la.Plane(plane.origin, directions, Recipe(seed=seed, by="none"))
