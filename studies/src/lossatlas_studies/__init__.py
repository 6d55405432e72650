"""Studies: claims about loss landscapes as experiments that anybody can run again.

Each study is one file with a question, a claim and its source, networks, training, landscapes and a measured verdict.
It comes at two scales: ``small`` takes minutes on two processor cores, ``paper`` is the source's setting for a GPU.
"""

from __future__ import annotations

import importlib

from lossatlas.errors import SpecError, unknown
from lossatlas_studies.study import Study

ORDER = (
    "skip-connections",
    "dense-connections",
    "width",
    "batch-size",
    "repeatability",
    "convex-slices",
    "trajectories",
    "flat-minima",
    "recurrent",
    "language",
    "architecture-search",
    "edge-of-stability",
    "batch-statistics",
)
"""The studies by name, in the order of the index."""


def study(name: str) -> Study:
    """A study by name.

    Raises:
        SpecError: an unknown name; all good ones are listed.
    """
    if name not in ORDER:
        raise SpecError(unknown("study", name, ORDER))
    found: Study = importlib.import_module(f"lossatlas_studies.{name.replace('-', '_')}").STUDY
    return found
