r"""How degenerate is a minimum? The local learning coefficient, by chains that walk around it and by volumes.

:func:`llc` is also ``la.llc``.
"""

from lossatlas.flatness.degeneracy.estimate import llc
from lossatlas.flatness.degeneracy.result import LearningCoefficient, Problem
from lossatlas.flatness.degeneracy.scan import Scan, scan
from lossatlas.flatness.degeneracy.volume import Volume, local_volume

__all__ = ["LearningCoefficient", "Problem", "Scan", "Volume", "llc", "local_volume", "scan"]
