"""See and measure the loss landscape of a neural network.

In short: :func:`sample` measures an :class:`Objective` over a :class:`Plane`, at the points of a :class:`Grid`, and
returns a Landscape (an ``xarray.Dataset``), which :func:`draw` turns into a picture.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from lossatlas.errors import RunMismatchError, SpecError

__version__ = "0.2.0"

if TYPE_CHECKING:
    from lossatlas import directions, zoo
    from lossatlas import flatness as sharpness
    from lossatlas.connect.alignment import align
    from lossatlas.connect.curve import connect
    from lossatlas.curvature.density import spectral_density
    from lossatlas.curvature.map import curvature_map
    from lossatlas.curvature.masked import masked_gradients
    from lossatlas.curvature.spectrum import eigenvalues
    from lossatlas.curvature.trace import trace
    from lossatlas.draw import View, draw
    from lossatlas.draw.figures import plot, show
    from lossatlas.draw.film import animate
    from lossatlas.evaluate.plans import Plan
    from lossatlas.field.topology import topology
    from lossatlas.field.uncertainty import compare
    from lossatlas.flatness.degeneracy import llc
    from lossatlas.flatness.quantise import quantise
    from lossatlas.objective import Objective, metrics
    from lossatlas.objective.checkpoints import load_checkpoint
    from lossatlas.objective.function import Function
    from lossatlas.paths.marks import marks
    from lossatlas.paths.record import Recorder
    from lossatlas.paths.trajectories import Trajectory
    from lossatlas.results.arrays import landscape
    from lossatlas.results.opening import open
    from lossatlas.sampling.adaptive import Adaptive
    from lossatlas.sampling.former import sample_subset
    from lossatlas.sampling.interpolation import interpolate
    from lossatlas.sampling.run import sample
    from lossatlas.sampling.samplers import Grid
    from lossatlas.sampling.seeds import seeds
    from lossatlas.sampling.subset import Subset
    from lossatlas.space import filters
    from lossatlas.space.charts import Plane
    from lossatlas.space.inputs import InputPlane
    from lossatlas.space.normalize import normalize

# Where each name lives, in which room; a room's own name stands for the whole module. They are imported on first use:
# `lossatlas draw` and `lossatlas --help` never wait for torch.
_HOMES = {
    "Objective": "objective",
    "Function": "objective.function",
    "load_checkpoint": "objective.checkpoints",
    "Plane": "space.charts",
    "InputPlane": "space.inputs",
    "normalize": "space.normalize",
    "Grid": "sampling.samplers",
    "Adaptive": "sampling.adaptive",
    "sample": "sampling.run",
    "sample_subset": "sampling.former",
    "Subset": "sampling.subset",
    "Plan": "evaluate.plans",
    "seeds": "sampling.seeds",
    "interpolate": "sampling.interpolation",
    "landscape": "results.arrays",
    "open": "results.opening",
    "View": "draw",
    "animate": "draw.film",
    "plot": "draw.figures",
    "show": "draw.figures",
    "topology": "field.topology",
    "compare": "field.uncertainty",
    "eigenvalues": "curvature.spectrum",
    "trace": "curvature.trace",
    "quantise": "flatness.quantise",
    "spectral_density": "curvature.density",
    "curvature_map": "curvature.map",
    "masked_gradients": "curvature.masked",
    "llc": "flatness.degeneracy",
    "Recorder": "paths.record",
    "Trajectory": "paths.trajectories",
    "marks": "paths.marks",
    "align": "connect.alignment",
}

_MODULES = {
    "metrics": "objective.metrics",
    "filters": "space.filters",
    "directions": "directions",
    "sharpness": "flatness",
    "connect": "connect",  # a package that may be called, like the next
    "draw": "draw",
    "zoo": "zoo",
}

__all__ = [
    "Adaptive",
    "Function",
    "Grid",
    "InputPlane",
    "Objective",
    "Plan",
    "Plane",
    "Recorder",
    "RunMismatchError",
    "SpecError",
    "Subset",
    "Trajectory",
    "View",
    "align",
    "animate",
    "compare",
    "connect",
    "curvature_map",
    "directions",
    "draw",
    "eigenvalues",
    "filters",
    "interpolate",
    "landscape",
    "llc",
    "load_checkpoint",
    "marks",
    "masked_gradients",
    "metrics",
    "normalize",
    "open",
    "plot",
    "quantise",
    "sample",
    "sample_subset",
    "seeds",
    "sharpness",
    "show",
    "spectral_density",
    "topology",
    "trace",
    "zoo",
]


if "xarray" in sys.modules:  # any dataset then has `.atlas`, even if nothing else of ours is used
    importlib.import_module("lossatlas.results.dataset")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        found: Any = importlib.import_module(f"lossatlas.{_MODULES[name]}")
    elif name in _HOMES:
        found = getattr(importlib.import_module(f"lossatlas.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'lossatlas' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
