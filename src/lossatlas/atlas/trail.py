"""What does the page show of recorded paths? Each on the newest surface below it, or in the plane they span."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from lossatlas.draw import View
from lossatlas.errors import SpecError
from lossatlas.figure import overlays
from lossatlas.oneline import number_of
from lossatlas.paths.along import along, falls
from lossatlas.paths.findings import Checkpoint, Projected
from lossatlas.paths.growing import Growing, Position
from lossatlas.paths.index import INDEX, file_of, read_index
from lossatlas.paths.streams import source_of, tensor_of
from lossatlas.paths.surfaces import FOLDER, LOSSES, SURFACES, Surface, losses_of, run_of, surfaces
from lossatlas.results import reading
from lossatlas.results.landscape import About, Axis, Status, build
from lossatlas.results.store import JOURNAL, RESULT
from lossatlas.sampling.filling import preview
from lossatlas.space.parameters import Parameters
from lossatlas.space.planefile import load_directions

__all__ = ["Trail", "files"]

_EMPTY = 9
"""Points along an axis of a plane that has not been sampled."""


def files(folder: Path) -> list[Path]:
    """Something that changes whenever a path or a surface below it grows."""
    found = [folder / INDEX, folder / FOLDER / SURFACES, folder / FOLDER / LOSSES]
    try:
        newest = surfaces(folder)[-1:]
    except SpecError:
        newest = []
    return [*found, *(run_of(folder, one) / name for one in newest for name in (JOURNAL, RESULT))]


@dataclass(frozen=True)
class _Below:
    """A surface that was opened."""

    landscape: xr.Dataset
    over: Projected
    note: str
    plane: str
    origin: Parameters
    directions: Mapping[str, Parameters]


class Trail:
    """A recorded path, read on at each look.

    Args:
        folder: of a :class:`~lossatlas.Recorder`.
        name: what the page calls it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.title = name.rpartition("/")[2]
        self._growing = Growing(folder)
        self._joint = self._growing
        self._lock = threading.Lock()

    def card(self) -> dict[str, object]:
        """What the overview says about it."""
        _, entries = read_index(self.folder)
        last = entries[-1] if entries else {}
        loss = last.get("loss")
        return {
            "title": self.title,
            "kind": "path",
            "values": ["loss"],
            "counts": {"total": len(entries), "done": len(entries), "failed": 0, "non_finite": 0},
            "finished": True,
            "changed": (self.folder / INDEX).stat().st_mtime if entries else 0.0,
            "words": number_of(len(entries), "checkpoint")
            + (f", step {last['step']}" if entries else "")
            + ("" if loss is None else f", loss in training {loss:.3g}"),
        }

    def seen(self) -> tuple[xr.Dataset, View]:
        """The Landscape, and the view of it with the path on it.

        Returns:
            Both. If there is no surface, no cell of the Landscape is sampled.

        Raises:
            SpecError: the folder is damaged, or has fewer than two checkpoints.
        """
        with self._lock:
            position = self._growing.look()
            if position is None:
                raise SpecError(f"{self.name}: the training has kept fewer than two checkpoints; wait for more")
            below = self._below()
        own = self._losses(position)
        note = _words(position) if below is None else f"{_words(position)} {below.note}"
        over = below.over if below else None
        path = overlays.Path(
            x=(over.coordinates if over else position.coordinates)[:, 0],
            y=(over.coordinates if over else position.coordinates)[:, 1],
            label="training path",
            words=_marks(position.checkpoints, position.coordinates),
            arrows=[place for place, _ in falls(position.checkpoints)],
            note=note,
            along=along(position.checkpoints, over.residual if over else position.residual, own),
        )
        if below is not None:
            return below.landscape, View(overlays=[path], camera=_eye(path))
        return _bare(self.title, [path])

    def _losses(self, position: Position) -> np.ndarray:
        """The losses of the networks themselves, if they were evaluated."""
        known = losses_of(self.folder)
        return np.array([known.get(one.step, np.nan) for one in position.checkpoints])

    def beside(self, others: Sequence[Trail]) -> tuple[xr.Dataset, View]:
        """This path and others of the same network in the principal plane of all their checkpoints, with no surface.

        Args:
            others: the other paths.

        Returns:
            A Landscape of which no cell is sampled, and the view with all paths on it, each under its own name.

        Raises:
            SpecError: a path has fewer than two checkpoints, or another network was trained.
        """
        trails = [self, *others]
        folders = tuple(one.folder for one in trails)
        with self._lock:
            if self._joint.folders != folders:
                self._joint = Growing(*folders)
            position = self._joint.look()
        if position is None:
            raise SpecError(f"{self.name}: a training has kept fewer than two checkpoints; wait for more")
        paths = [
            overlays.Path(
                x=part.coordinates[:, 0],
                y=part.coordinates[:, 1],
                label=trail.title,
                words=_marks(part.checkpoints, part.coordinates),
                arrows=[place for place, _ in falls(part.checkpoints)],
                note="" if number else _words(position),
                along=along(part.checkpoints, part.residual, trail._losses(part)),
            )
            for number, (trail, part) in enumerate(zip(trails, position.parts(), strict=True))
        ]
        return _bare(" · ".join(one.title for one in trails), paths)

    def with_others(self, others: Sequence[Trail]) -> tuple[xr.Dataset, View]:
        """The surface below this path, with other paths of the same network on it.

        Args:
            others: the other paths.

        Returns:
            The Landscape, and the view with all paths on it, each under its own name.

        Raises:
            SpecError: no surface below this path was sampled yet, a path has fewer than two checkpoints, or another
                network was trained.
        """
        landscape, view = self.seen()
        with self._lock:
            below = self._below()
        if below is None:
            raise SpecError(f"{self.name}: no surface has been sampled below this path yet (--sample-while-training)")
        (own,) = view.overlays
        paths = [replace(own, label=self.title), *(one._upon(below, f"{self.folder}, {below.plane}") for one in others)]
        return landscape, replace(view, overlays=paths)

    def _upon(self, below: _Below, name: str) -> overlays.Path:
        """This path on a surface that was sampled for another."""
        with self._lock:
            position = self._growing.look()
            if position is None:
                raise SpecError(f"{self.name}: the training has kept fewer than two checkpoints; wait for more")
            shapes = source_of(self.folder / file_of(position.checkpoints[0].step)).shapes
            theirs = {key: tuple(tensor.shape) for key, tensor in below.origin.items()}
            if theirs != {key: tuple(shapes[key]) for key in theirs if key in shapes}:
                raise SpecError(f"{self.name}: the network trained is not that of the surface")
            over = self._growing.over(name, below.origin, below.directions)
        return overlays.Path(
            x=over.coordinates[:, 0],
            y=over.coordinates[:, 1],
            label=self.title,
            words=_marks(position.checkpoints, over.coordinates),
            arrows=[place for place, _ in falls(position.checkpoints)],
            along=along(position.checkpoints, over.residual, self._losses(position)),
        )

    def _below(self) -> _Below | None:
        """The newest surface: the finest that is finished on the newest plane, or what there is."""
        there = [one for one in surfaces(self.folder) if (run_of(self.folder, one) / "spec.json").is_file()]
        done = [one for one in there if (run_of(self.folder, one) / RESULT).is_file()]
        for one in [*reversed(done), *reversed(there)]:
            found = self._opened(one)
            if found is not None:
                return found
        return None

    def _opened(self, one: Surface) -> _Below | None:
        place = run_of(self.folder, one)
        landscape = reading.open(place)
        if not np.isfinite(landscape["loss"].values).any():
            return None
        source = source_of(self.folder / file_of(one.origin))
        directions = load_directions(place / "directions.safetensors")
        names = {name for way in directions.values() for name in way}
        origin = {name: tensor_of(source, name) for name in source.shapes if name in names}
        over = self._growing.over(str(one.plane), origin, directions)
        words = f"The surface was sampled on plane {one.plane}, through step {one.origin}, {one.points} × {one.points}."
        return _Below(preview(landscape), over, words, str(one.plane), origin, directions)


def _bare(title: str, paths: Sequence[overlays.Path]) -> tuple[xr.Dataset, View]:
    """Paths in their plane, if no surface has been sampled: each point is at the height of its own loss."""
    coordinates = np.concatenate([np.column_stack([path.x, path.y]) for path in paths])
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    extent = float((high - low).max()) or 1.0
    room = np.maximum(high - low, 0.25 * extent)
    middle = (low + high) / 2
    axes = {
        name: Axis(
            coordinates=np.linspace(m - 0.6 * r, m + 0.6 * r, _EMPTY),
            length=1.0,
            label=f"axis {number} of the principal plane",
        )
        for number, (name, m, r) in enumerate(zip("xy", middle, room, strict=True), 1)
    }
    empty = np.full((_EMPTY, _EMPTY), np.nan)
    status = np.full((_EMPTY, _EMPTY), Status.NOT_SAMPLED, np.int8)
    landscape = build(axes, {"loss": empty}, status, about=About(title=title))
    losses = np.concatenate([_heights(path) for path in paths])
    losses = losses[np.isfinite(losses)]
    if not len(losses) or losses.min() == losses.max():
        return landscape, View(overlays=paths)
    return landscape, View(overlays=paths, camera=_eye(paths[0]), vmin=float(losses.min()), vmax=float(losses.max()))


def _heights(path: overlays.Path) -> np.ndarray:
    """The loss of each network or, where it has not been evaluated, its loss in training."""
    nothing = np.full(len(path.x), np.nan)
    own = path.along.get("loss of the network", nothing)
    return np.where(np.isfinite(own), own, path.along.get("loss in training", nothing))


def _eye(path: overlays.Path) -> tuple[float, float]:
    """Elevation and azimuth from which the path is seen to come down towards the reader, a little from the side."""
    way = np.array([path.x[-1] - path.x[0], path.y[-1] - path.y[0]])
    return 34.0, float(np.degrees(np.arctan2(way[1], way[0])) + 35.0)


def _words(position: Position) -> str:
    shares = ", ".join(f"{100 * share:.0f} %" for share in position.shares)
    paths = len(position.lengths)
    of = number_of(len(position.checkpoints), "checkpoint") + (f" of {paths} paths together" if paths > 1 else "")
    return (
        f"The first two principal components explain {shares} of the variance of {of}; the axes lie in their plane and "
        "are turned so that what was drawn before stays where it was."
    )


def _marks(checkpoints: tuple[Checkpoint, ...], coordinates: np.ndarray) -> list[tuple[int, str]]:
    """The labels beside the path: its start, its newest point, and where the learning rate fell, if there is room."""
    last = len(checkpoints) - 1
    found = {0: "start", last: f"step {checkpoints[last].step}"}
    room = 0.1 * float(np.ptp(coordinates, axis=0).max())
    for place, words in falls(checkpoints):
        if all(np.abs(coordinates[place] - coordinates[other]).max() > room for other in found):
            found[place] = words
    return sorted(found.items())
