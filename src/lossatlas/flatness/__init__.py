r"""How flat is the loss around a point? Fourteen measures, each with what leaves it unchanged, and a table over models.

Every measure is a function ``(objective, params=None, ...) -> Sharpness``. Most of them depend on the scale of the
weights, which says nothing about the function (Dinh et al. 2017, arXiv 1703.04933): see :data:`DEFINITIONS` for what
each is invariant to. None of them proves anything about generalisation; :func:`table` says how they rank several
models.
"""

from lossatlas.flatness.average import adaptive_average, lpf, radius
from lossatlas.flatness.curved import lambda_max, relative_flatness, trace
from lossatlas.flatness.definitions import DEFINITIONS, INVARIANCES, Definition
from lossatlas.flatness.degeneracy.measure import llc
from lossatlas.flatness.functional import fisher_rao, input_margin, spectral_margin
from lossatlas.flatness.profile import Profile, profile
from lossatlas.flatness.ranking import Correlation, correlation
from lossatlas.flatness.result import Sharpness
from lossatlas.flatness.rise import critical
from lossatlas.flatness.rise_map import critical_map
from lossatlas.flatness.table import MEASURES, Table, measure, table
from lossatlas.flatness.worst import adaptive_worst, epsilon_sharpness, sam

__all__ = [
    "DEFINITIONS",
    "INVARIANCES",
    "MEASURES",
    "Correlation",
    "Definition",
    "Profile",
    "Sharpness",
    "Table",
    "adaptive_average",
    "adaptive_worst",
    "correlation",
    "critical",
    "critical_map",
    "epsilon_sharpness",
    "fisher_rao",
    "input_margin",
    "lambda_max",
    "llc",
    "lpf",
    "measure",
    "profile",
    "radius",
    "relative_flatness",
    "sam",
    "spectral_margin",
    "table",
    "trace",
]


def __dir__() -> list[str]:
    return list(__all__)
