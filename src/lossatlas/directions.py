"""Which way to go from the origin: every direction under one name, ``la.directions``.

Those that need derivatives live in :mod:`lossatlas.curvature.directions`, all others in
:mod:`lossatlas.space.directions` and :mod:`lossatlas.space.adapters`.
"""

from lossatlas.curvature.directions import eigen, gradient, worst
from lossatlas.space.adapters import lora
from lossatlas.space.directions import Direction, orthogonal, principal, random, towards
from lossatlas.space.recipes import Seeded

__all__ = ["Direction", "Seeded", "eigen", "gradient", "lora", "orthogonal", "principal", "random", "towards", "worst"]


def __dir__() -> list[str]:
    return list(__all__)
