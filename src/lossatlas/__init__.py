"""See and measure the loss landscape of a neural network.

The way of the data: an :class:`Objective` is measured over a :class:`Plane` at the points of a :class:`Grid` by
:func:`sample`, which gives a Landscape (an ``xarray.Dataset``) that :func:`draw` draws.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lossatlas.errors import RunMismatchError, SpecError

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lossatlas import metrics, zoo
    from lossatlas.analysis import sharpness
    from lossatlas.analysis.alignment import align
    from lossatlas.analysis.connectivity import connect
    from lossatlas.analysis.density import spectral_density
    from lossatlas.analysis.spectrum import eigenvalues, trace
    from lossatlas.analysis.topology import topology
    from lossatlas.analysis.trajectories import Trajectory
    from lossatlas.checkpoints import load_checkpoint
    from lossatlas.draw import View, draw
    from lossatlas.objective import Objective
    from lossatlas.record import Recorder
    from lossatlas.results.reading import open
    from lossatlas.sampling.adaptive import Adaptive
    from lossatlas.sampling.curvature_map import curvature_map
    from lossatlas.sampling.run import interpolate, sample
    from lossatlas.sampling.samplers import Grid
    from lossatlas.sampling.seeds import seeds
    from lossatlas.sampling.subset import sample_subset
    from lossatlas.space import directions, filters
    from lossatlas.space.charts import Plane
    from lossatlas.space.normalize import normalize

# Where each name lives. They are imported on first use: `lossatlas draw` and `lossatlas --help` never wait for torch.
_HOMES = {
    "Objective": "objective",
    "metrics": "",
    "load_checkpoint": "checkpoints",
    "Recorder": "record",
    "Trajectory": "analysis.trajectories",
    "align": "analysis.alignment",
    "connect": "analysis.connectivity",
    "directions": "space",
    "filters": "space",
    "normalize": "space.normalize",
    "Plane": "space.charts",
    "Grid": "sampling.samplers",
    "Adaptive": "sampling.adaptive",
    "sample": "sampling.run",
    "sample_subset": "sampling.subset",
    "seeds": "sampling.seeds",
    "interpolate": "sampling.run",
    "eigenvalues": "analysis.spectrum",
    "trace": "analysis.spectrum",
    "spectral_density": "analysis.density",
    "curvature_map": "sampling.curvature_map",
    "sharpness": "analysis",
    "topology": "analysis.topology",
    "open": "results.reading",
    "View": "draw",
    "draw": "draw",
    "zoo": "",
}

__all__ = [
    "Adaptive",
    "Grid",
    "Objective",
    "Plane",
    "Recorder",
    "RunMismatchError",
    "SpecError",
    "Trajectory",
    "View",
    "align",
    "connect",
    "curvature_map",
    "directions",
    "draw",
    "eigenvalues",
    "filters",
    "interpolate",
    "load_checkpoint",
    "metrics",
    "normalize",
    "open",
    "sample",
    "sample_subset",
    "seeds",
    "sharpness",
    "spectral_density",
    "topology",
    "trace",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lossatlas' has no attribute {name!r}")
    home = _HOMES[name]
    if name in ("metrics", "zoo", "directions", "filters", "sharpness"):
        found: Any = importlib.import_module(".".join(part for part in ("lossatlas", home, name) if part))
    else:
        found = getattr(importlib.import_module(f"lossatlas.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
