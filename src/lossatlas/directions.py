"""Which way to go from the origin? Every direction under one name, ``la.directions``.

Those that need derivatives live in :mod:`lossatlas.curvature.directions`, all others in
:mod:`lossatlas.space.directions`, :mod:`lossatlas.space.low_rank` and :mod:`lossatlas.space.adapters`.
"""

from lossatlas.curvature.directions import eigen, gradient, worst
from lossatlas.space.adapters import lora
from lossatlas.space.directions import Direction, orthogonal, principal, random, towards
from lossatlas.space.low_rank import LowRank, low_rank
from lossatlas.space.recipes import Seeded

__all__ = [
    "Direction",
    "LowRank",
    "Seeded",
    "eigen",
    "gradient",
    "lora",
    "low_rank",
    "orthogonal",
    "principal",
    "random",
    "towards",
    "worst",
]


def __dir__() -> list[str]:
    return list(__all__)
