"""How is a model scanned that fits into memory only once? Moved in place, tensor by tensor, from weights on disk.

A private copy, and two directions as tensors, take three times the memory of the weights. Here the model itself moves.
Its original weights are kept, bit for bit, in a temporary file; at every point each tensor is read from there in pieces
of a million numbers, moved in float32 along directions that are made again piece by piece
(:class:`lossatlas.directions.Seeded`), rounded once and written into its place. So a scan needs memory for the weights,
a piece, and the activations. At the end, even after an exception, the file is read back: the model is as it was, bit
for bit.

The file goes where ``tempfile`` puts it (``TMPDIR``), which should be a disk: on some systems ``/tmp`` is memory.

A tensor is moved where it lies: on any device, and for a DTensor (FSDP2) each process moves its own shard.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.evaluate.calibration import Calibration
from lossatlas.evaluate.plans import Plan
from lossatlas.objective import Objective
from lossatlas.objective.private import local, reshard, same_memory
from lossatlas.space import recipes
from lossatlas.space.charts import Plane
from lossatlas.space.parameters import combine

__all__ = ["Pristine", "Streamed", "evaluation"]


class Pristine:
    """The bits of some tensors, in a temporary file.

    Args:
        tensors: by name; each process keeps its own shard of a DTensor.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lossatlas-")
        self._path = Path(self._folder.name) / "weights"
        self._places: dict[str, tuple[int, Tensor]] = {}
        start = 0
        with self._path.open("wb") as file:
            for name, tensor in tensors.items():
                self._places[name] = (start, torch.empty(0, dtype=tensor.dtype))
                _bits(tensor).tofile(file)
                start += tensor.numel() * tensor.element_size()

    def read(self, name: str, start: int, end: int) -> Tensor:
        """Some flat numbers of a tensor, on the CPU."""
        first, like = self._places[name]
        size = like.element_size()
        raw = np.fromfile(self._path, np.uint8, (end - start) * size, offset=first + start * size)
        return torch.from_numpy(raw).view(like.dtype)

    def close(self) -> None:
        """Remove the file."""
        self._folder.cleanup()


def _bits(tensor: Tensor) -> np.ndarray:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return np.asarray(flat.view(torch.uint8).numpy())


class Streamed:
    """Evaluates points of a plane by moving the model itself, and puts it back when closed.

    Args:
        objective: what is measured, with ``in_place=True``.
        plane: where; its origin is the model.

    Raises:
        SpecError: the plane has another origin.
    """

    def __init__(self, objective: Objective, plane: Plane) -> None:
        for name, tensor in plane.origin.items():
            if name not in objective.places or not same_memory(tensor, objective.places[name]):
                raise SpecError(
                    f"plane: in_place=True needs the model's own weights as its origin; {name!r} is another"
                )
        self.objective = objective
        self.plane = plane
        self._closed = False
        self._directions = list(plane.directions.values())
        self._places = {name: objective.places[name] for name in plane.moving}
        self._pristine = Pristine({name: local(place) for name, place in self._places.items()})

    def close(self) -> None:
        """Put the model back, bit for bit; once."""
        if self._closed:
            return
        self._closed = True
        reshard(self.objective.model)
        with torch.no_grad():
            for name, place in self._places.items():
                own = local(place)
                for start, end in _ranges(own.numel()):
                    _write(own, start, end, self._pristine.read(name, start, end))
        self._pristine.close()

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """Loss and metrics at some points.

        Args:
            coordinates: float64 [n, k], in the order of the plane's axes.

        Returns:
            float64 [n, number of values].
        """
        rows = []
        for row in coordinates:
            self.move(row.tolist())
            rows.append(list(self.objective.measure().values()))
        return np.array(rows, np.float64).reshape(len(coordinates), -1)

    def move(self, point: list[float]) -> None:
        """Put the model at a point."""
        reshard(self.objective.model)
        with torch.no_grad():
            for name, place in self._places.items():
                spread = hasattr(place, "device_mesh")
                moved = self._moved_shard(name, place, point) if spread else self._moved(name, place, point)
                for start, end, part in moved:
                    _write(local(place), start, end, part)

    def _moved(self, name: str, place: Tensor, point: list[float]) -> Iterator[tuple[int, int, Tensor]]:
        """The moved numbers of a tensor, piece by piece."""
        own = [(c, d) for c, d in zip(point, self._directions, strict=True) if name in d]
        ranges = recipes.cut([direction for _, direction in own], name, place.numel())
        streams = [recipes.pieces(direction, name, ranges) for _, direction in own]
        for start, end in ranges:
            steps = [(c, next(stream).to(place.device)) for (c, _), stream in zip(own, streams, strict=True)]
            yield start, end, combine(self._pristine.read(name, start, end).to(place.device), steps)

    def _moved_shard(self, name: str, place: Any, point: list[float]) -> Iterator[tuple[int, int, Tensor]]:
        """The moved shard of a tensor that is spread over processes: each makes the direction and keeps its part."""
        from torch.distributed.tensor import distribute_tensor

        own = local(place)
        steps = []
        for coordinate, direction in zip(point, self._directions, strict=True):
            if name in direction:
                full = recipes.gathered(direction[name]).to(own.device)
                part = local(distribute_tensor(full, place.device_mesh, place.placements))
                steps.append((coordinate, part.reshape(-1)))
        base = self._pristine.read(name, 0, own.numel()).to(own.device)
        yield 0, own.numel(), combine(base, steps)


def _ranges(size: int) -> list[tuple[int, int]]:
    return [(start, min(start + recipes.PIECE, size)) for start in range(0, size, recipes.PIECE)]


def _write(place: Tensor, start: int, end: int, part: Tensor) -> None:
    """Write flat numbers into a tensor, whatever its layout in memory."""
    if place.is_contiguous():
        place.view(-1)[start:end].copy_(part)
    elif (start, end) == (0, place.numel()):
        place.copy_(part.reshape(place.shape))
    else:
        rows = torch.arange(start, end, device=place.device)
        place[torch.unravel_index(rows, place.shape)] = part.to(place.device)


def evaluation(seconds: float) -> dict[str, Any]:
    """What a run records about how its points are evaluated."""
    found = Calibration(plan=Plan(), seconds={"plain": seconds}).to_json()
    return found | {"weights": "the model itself, moved in place from a file and put back"}
