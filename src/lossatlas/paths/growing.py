r"""Where do paths lie while they are still being recorded, in axes that stay put as they grow?

Every new checkpoint turns the principal plane a little, and an eigenvector has no sign: if drawn afresh each time, the
path would jump. Of all axes in the new plane, the ones chosen bring the earlier checkpoints closest to where they were
drawn: the orthogonal Procrustes problem (Schönemann 1966), whose solution is one singular value decomposition.

Several paths of one network have a plane in common: that of the principal components of all their checkpoints together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import orthogonal_procrustes

from lossatlas.errors import SpecError
from lossatlas.expected import path_of
from lossatlas.oneline import one_line
from lossatlas.paths import streams
from lossatlas.paths.findings import Checkpoint, Projected
from lossatlas.paths.index import read_index
from lossatlas.paths.projection import project
from lossatlas.paths.surfaces import written
from lossatlas.space.parameters import Parameters

__all__ = ["MOST", "Growing", "Position"]

_File = tuple[str, int]
# Where it is, and when it was written: a training that went back writes another file of the same name.

MOST = 300
"""How many checkpoints are placed; of longer paths every second one, every fourth, …, and the last of each."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where paths lie now.

    Attributes:
        checkpoints: those that are placed, path after path, each in order.
        coordinates: float64 [n, 2], in parameter norm from the first checkpoint, along two axes of the principal plane.
        residual: float64 [n], distance from that plane, in parameter norm.
        shares: float64 [2], of the variance about the mean that the first two principal components explain.
        lengths: how many of the n belong to each path.
    """

    __repr__ = one_line

    checkpoints: tuple[Checkpoint, ...]
    coordinates: np.ndarray
    residual: np.ndarray
    shares: np.ndarray
    lengths: tuple[int, ...]

    def parts(self) -> list[Position]:
        """Each path by itself, in the plane that all share."""
        ends = np.cumsum(self.lengths).tolist()
        cuts = [slice(end - length, end) for end, length in zip(ends, self.lengths, strict=True)]
        return [
            Position(
                checkpoints=self.checkpoints[cut],
                coordinates=self.coordinates[cut],
                residual=self.residual[cut],
                shares=self.shares,
                lengths=(cut.stop - cut.start,),
            )
            for cut in cuts
        ]


class Growing:
    """Recorded paths, read on as they grow: a look costs one pass over the checkpoints if there are new ones.

    Args:
        folders: of a :class:`~lossatlas.Recorder`; several of one network lie in the principal plane of all their
            checkpoints.
        most: how many checkpoints of a path are placed at most.

    Example:
        >>> import tempfile, torch, lossatlas as la
        >>> model, folder = torch.nn.Linear(2, 1), tempfile.mkdtemp() + "/path"
        >>> recorder, growing = la.Recorder(folder), Growing(folder)
        >>> growing.look() is None
        True
        >>> kept = [recorder.step(model) for _ in range(2)]
        >>> growing.look().coordinates.tolist()
        [[0.0, 0.0], [0.0, 0.0]]
    """

    def __init__(self, *folders: str | os.PathLike[str], most: int = MOST) -> None:
        self.folders = tuple(path_of("folder", folder) for folder in folders)
        self.most = most
        self._files: list[_File] = []
        self._gram = np.zeros((0, 0))
        self._drawn: dict[_File, np.ndarray] = {}
        self._over: dict[str, dict[_File, np.ndarray]] = {}

    def look(self) -> Position | None:
        """Where the paths lie now.

        Returns:
            The position, or ``None`` where a path has fewer than two checkpoints.

        Raises:
            SpecError: a folder is damaged, or another network was trained in one of several.
        """
        paths = [self._entries(folder) for folder in self.folders]
        if any(len(entries) < 2 for entries, _ in paths):
            return None
        files = [
            (str(folder / entry["file"]), written(folder, entry["step"]))
            for folder, (entries, _) in zip(self.folders, paths, strict=True)
            for entry in entries
        ]
        lengths = tuple(len(entries) for entries, _ in paths)
        self._read(files, paths[0][1], lengths)
        coordinates, residual, shares = _plane(self._gram)
        coordinates = self._aligned(files, coordinates)
        self._drawn = dict(zip(files, coordinates, strict=True))
        known = tuple(one for entries, _ in paths for one in _known(entries))
        return Position(checkpoints=known, coordinates=coordinates, residual=residual, shares=shares, lengths=lengths)

    def over(self, name: str, origin: Parameters, directions: Mapping[str, Parameters]) -> Projected:
        r"""Where the checkpoints of the last look lie over a plane; those that were placed before are not read again.

        Args:
            name: of the plane: the same name stands for the same plane.
            origin: the plane's origin.
            directions: by axis.

        Returns:
            Coordinates, from the Gram matrix of the directions, which may have any length and angle; and distances.
        """
        placed = self._over.setdefault(name, {})
        new = [file for file in self._files if file not in placed]
        if new:
            sources = self._sources(new)
            shapes = {name: sources[0].shapes[name] for name in origin if name in sources[0].shapes}
            found = project(sources, shapes, origin, directions)
            rows = np.column_stack([found.coordinates, found.residual, found.distance])
            placed.update(zip(new, rows, strict=True))
        rows = np.array([placed[file] for file in self._files])
        return Projected(axes=tuple(directions), coordinates=rows[:, :-2], residual=rows[:, -2], distance=rows[:, -1])

    def _entries(self, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
        """The checkpoints of a path that are placed, and the names of the parameters."""
        if not (folder / "path.json").is_file():
            return [], []
        layout, entries = read_index(folder)
        step = 1
        while len(entries) / step > self.most:
            step *= 2
        kept = entries[::step]
        return (kept if not entries or kept[-1] is entries[-1] else [*kept, entries[-1]]), layout["parameters"]

    def _sources(self, files: Sequence[_File]) -> list[streams.Source]:
        return [streams.Stored(Path(file)) for file, _ in files]

    def _read(self, files: list[_File], names: Sequence[str], lengths: Sequence[int]) -> None:
        """Update the Gram matrix of the differences from the first checkpoint."""
        if files[:1] != self._files[:1]:  # another training
            self._files, self._gram, self._drawn, self._over = [], np.zeros((0, 0)), {}, {}
        now = set(files)
        stays = [place for place, file in enumerate(self._files) if file in now]
        known = [self._files[place] for place in stays]
        there = set(known)
        new = [file for file in files if file not in there]
        gram = np.zeros((len(known) + len(new), len(known) + len(new)))
        gram[: len(known), : len(known)] = self._gram[np.ix_(stays, stays)]
        if new:
            shapes = self._shapes(files, names, lengths)
            sources = self._sources([files[0], *known, *new])
            for *_, block in streams.blocks(sources, shapes):
                block = block[1:] - block[:1]
                gram[len(known) :] += (block[len(known) :] @ block.T).numpy()
            gram[: len(known), len(known) :] = gram[len(known) :, : len(known)].T
        places = {file: place for place, file in enumerate([*known, *new])}
        order = [places[file] for file in files]
        self._files, self._gram = files, gram[np.ix_(order, order)]

    def _shapes(self, files: list[_File], names: Sequence[str], lengths: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters, which every path must have."""
        lasts = self._sources([files[end - 1] for end in np.cumsum(lengths)])
        first, *others = [{name: one.shapes[name] for name in names if name in one.shapes} for one in lasts]
        for folder, other in zip(self.folders[1:], others, strict=True):
            if other != first:
                raise SpecError(
                    f"{folder}: the network trained here is not that of {self.folders[0]}, so their paths share no "
                    "plane; look at each on its own"
                )
        return first

    def _aligned(self, files: Sequence[_File], coordinates: np.ndarray) -> np.ndarray:
        """The coordinates in the axes that bring what was drawn before closest to where it was."""
        before = [place for place, file in enumerate(files) if file in self._drawn]
        if len(before) < 2:
            return coordinates * np.where(coordinates[-1] < 0, -1.0, 1.0)
        there = np.array([self._drawn[files[place]] for place in before])
        if not there.any():
            return coordinates
        turn, _ = orthogonal_procrustes(coordinates[before], there)
        return np.asarray(coordinates @ turn)


def _known(entries: Sequence[Mapping[str, Any]]) -> tuple[Checkpoint, ...]:
    names = ("step", "epoch", "loss", "lr", "notes")
    return tuple(Checkpoint(**{name: entry[name] for name in names}) for entry in entries)


def _plane(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates from the first point, distances from the principal plane, and the shares of its two components."""
    centred = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    total = float(np.trace(centred))
    values, vectors = np.linalg.eigh(centred)
    kept = [place for place in (-1, -2) if len(values) >= -place and values[place] > 1e-12 * total > 0]
    coordinates, shares = np.zeros((len(gram), 2)), np.zeros(2)
    for column, place in enumerate(kept):
        weights = vectors[:, place] - vectors[:, place].mean()
        coordinates[:, column] = gram @ weights / np.sqrt(values[place])
        shares[column] = values[place] / total
    about = coordinates - coordinates.mean(axis=0)
    left = np.diag(centred) - (about**2).sum(axis=1)
    left[left < 1e-12 * total] = 0.0  # only rounding, for a point that lies in the plane
    return coordinates, np.sqrt(left), shares
