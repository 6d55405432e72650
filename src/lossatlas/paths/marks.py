"""Where do other networks and whole runs lie in a plane, and how far from it are they?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind
from lossatlas.figure.overlays import Overlay, Path, Points
from lossatlas.figure.words import number
from lossatlas.oneline import number_of
from lossatlas.paths.trajectories import Trajectory
from lossatlas.space.charts import Plane
from lossatlas.space.directions import tensors_of
from lossatlas.space.parameters import difference, norm

__all__ = ["marks"]


def marks(plane: Plane, places: Mapping[str, Any]) -> list[Overlay]:
    """Several networks and runs on one surface: ``la.draw(landscape, "a.png", overlays=la.marks(plane, places))``.

    A network is marked at the nearest point of the plane, with its name and its distance from the plane, in parameter
    norm; the surface does not show the loss of a network that lies off it. Anything outside the picture is named in the
    caption.

    Args:
        plane: that of the surface, with two axes.
        places: by name, models, state dicts, or a :class:`~lossatlas.Trajectory`: clients of a federation and their
            mean, optimisers from one start, checkpoints.

    Returns:
        Points and paths.

    Raises:
        SpecError: the plane does not have two axes, or a network has another architecture.

    Example:
        >>> import torch
        >>> plane = Plane({"w": torch.zeros(3)}, {"x": {"w": torch.eye(3)[0]}, "y": {"w": torch.eye(3)[1]}})
        >>> places = {"A": {"w": torch.tensor([0.5, 0.25, 2.0])}, "B": {"w": torch.tensor([0.0, 1.0, 0.0])}}
        >>> found = marks(plane, places)
        >>> found[0].words, found[0].y.tolist()
        (('A (2 off)', 'B'), [0.25, 1.0])
    """
    check_kind("plane", plane, Plane, "the lossatlas.Plane that was sampled")
    check_kind("places", places, Mapping, 'networks by name, such as {"SGD": model}')
    if len(plane.axes) != 2:
        raise SpecError(
            f"the plane has {number_of(len(plane.axes), 'axis', 'axes')}; places are marked on a plane with two"
        )
    networks = {name: place for name, place in places.items() if not isinstance(place, Trajectory)}
    found: list[Overlay] = [_networks(plane, networks)] if networks else []
    return found + [_run(plane, name, place) for name, place in places.items() if isinstance(place, Trajectory)]


def _networks(plane: Plane, networks: Mapping[str, Any]) -> Points:
    rows, words = [], []
    for name, network in networks.items():
        nearest, share = plane.project(network)
        tensors = {key: tensor for key, tensor in tensors_of(network).items() if key in plane.origin}
        way = difference(tensors, {key: plane.origin[key] for key in tensors})
        off = share * float(norm(way)) if share > 1e-6 else 0.0  # anything below this is rounding
        rows.append([nearest[axis] for axis in plane.axes])
        words.append(f"{name} ({number(off, 2)} off)" if off else name)
    x, y = np.array(rows).T
    return Points(x=x, y=y, words=tuple(words), note="Off: distance of a network from the plane, in parameter norm.")


def _run(plane: Plane, name: str, run: Trajectory) -> Path:
    over = run.project(plane)
    x, y = over.coordinates.T
    off = number(float(over.residual.max()), 2)
    return Path(x=x, y=y, label=name, note=f"{name} lies off the plane by up to {off} in parameter norm.")
