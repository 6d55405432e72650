r"""Which point of a plane lies nearest to each checkpoint, and how far away is it?

With the Gram matrix G of the directions and :math:`b_a = ⟨d_a, θ_i - θ_0⟩` the nearest point has the coordinates
:math:`c = G^{-1} b`, and the squared distance from it is :math:`‖θ_i - θ_0‖^2 - b^T c`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from lossatlas.paths import streams
from lossatlas.paths.findings import Projected
from lossatlas.space.parameters import Parameters, precise

__all__ = ["project"]


def project(
    sources: Sequence[streams.Source],
    shapes: Mapping[str, tuple[int, ...]],
    origin: Parameters,
    directions: Mapping[str, Parameters],
) -> Projected:
    """Where checkpoints lie over a plane, for directions of any length and angle; one pass over all checkpoints.

    Args:
        sources: the checkpoints.
        shapes: the tensors that make up a point.
        origin: the plane's origin.
        directions: by axis; what a direction lacks does not move.

    Returns:
        Coordinates and distances of all checkpoints.
    """
    ways = list(directions.values())
    gram = np.zeros((len(ways), len(ways)))
    products, squares = np.zeros((len(sources), len(ways))), np.zeros(len(sources))
    for name, start, stop, block in streams.blocks(sources, shapes):
        block -= precise(origin[name].reshape(-1)[start:stop]).cpu()
        squares += block.square().sum(dim=1).numpy()
        still = torch.zeros(stop - start, dtype=torch.float64)
        rows = torch.stack([precise(d[name].reshape(-1)[start:stop]).cpu() if name in d else still for d in ways])
        gram += (rows @ rows.T).numpy()
        products += (block @ rows.T).numpy()
    coordinates = np.linalg.solve(gram, products.T).T
    left = np.maximum(squares - (products * coordinates).sum(axis=1), 0.0)
    left[left < 1e-14 * squares] = 0.0  # only rounding, for a point that lies in the plane
    return Projected(axes=tuple(directions), coordinates=coordinates, residual=np.sqrt(left), distance=np.sqrt(squares))
