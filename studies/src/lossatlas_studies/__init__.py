"""Studies: claims about loss landscapes as experiments that anyone can repeat.

Each study is one file with a question, a claim and its source, networks, training, landscapes and a measured verdict.
It comes at two scales: ``small`` takes minutes on two processor cores, ``paper`` is the source's setting for a GPU.
"""

from __future__ import annotations

import importlib

from lossatlas.doors import brought, names_of
from lossatlas.errors import SpecError, unknown
from lossatlas.expected import described_type
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
    "critical-sharpness",
    "quantisation",
    "learning-coefficient",
    "batch-statistics",
)
"""The studies of this distribution by name, in the order of the index."""

GROUP = "lossatlas.studies"
"""The door: an entry point of this group is named as its study, and stands for a :class:`Study`."""


def names() -> tuple[str, ...]:
    """All studies: our own, then those that other distributions bring."""
    return (*ORDER, *(name for name in names_of(GROUP) if name not in ORDER))


def study(name: str) -> Study:
    """A study by name.

    Raises:
        SpecError: the name is unknown (the message lists all valid ones), or what another distribution brings is not a
            study of this name, or cannot be imported.
    """
    if name not in names():
        raise SpecError(unknown("study", name, names()))
    if name not in ORDER:
        other = brought(GROUP, name)
        if not isinstance(other, Study) or other.name != name:
            raise SpecError(f"{GROUP}: {name!r} is {described_type(other)}; expected a Study with name={name!r}")
        return other
    found: Study = importlib.import_module(f"lossatlas_studies.{name.replace('-', '_')}").STUDY
    return found
