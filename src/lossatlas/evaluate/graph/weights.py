r"""Where do the moved weights of a point lie? In one flat buffer, filled from the original weights by one product.

A tensor that moves is a slot with the rows (base, direction of the first axis, …). All slots lie side by side in one
matrix of shape [1 + k, P], and the weights of n points are :math:`C R` with C the coordinates, a leading 1 in each row:
[n, 1 + k] times [1 + k, P]. Nothing accumulates from point to point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Rows", "Weights", "rows_of"]


@dataclass(frozen=True)
class Rows:
    """A tensor that moves along k axes.

    Attributes:
        tensors: [1 + k, *shape], the base first.
    """

    tensors: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor itself."""
        return tuple(self.tensors.shape[1:])


class Weights:
    """The flat buffer, and the tensors as views into it.

    Args:
        slots: the tensors that move, by name.
        dtype: the format of the moved weights: rounded once, from a product in the format of the slots.
        channels_last: lay tensors of four dimensions out with their channels last.
        points: how many points lie side by side.

    Example:
        >>> slots = {"w": Rows(torch.tensor([[1.0, 1.0], [0.0, 2.0]]))}
        >>> weights = Weights(slots, dtype=torch.float32)
        >>> weights.move(np.array([[0.5]]))["w"].tolist()
        [1.0, 2.0]
    """

    def __init__(
        self, slots: Mapping[str, Rows], *, dtype: torch.dtype, channels_last: bool = False, points: int = 1
    ) -> None:
        self.points = points
        self._dtype = dtype
        self._last = channels_last
        self._shapes = {name: rows.shape for name, rows in slots.items()}
        self._rows = torch.cat([self._flat(rows.tensors) for rows in slots.values()], dim=1)
        self._buffer = self._rows.new_empty(points, self._rows.shape[1])

    def _flat(self, rows: Tensor) -> Tensor:
        if self._last and rows.dim() == 5:
            rows = rows.permute(0, 1, 3, 4, 2)
        return rows.reshape(len(rows), -1)

    def move(self, coordinates: np.ndarray) -> dict[str, Tensor]:
        """The moved tensors at some points.

        Args:
            coordinates: float64 [n, k], n at most ``points``.

        Returns:
            Views by name: the tensor's own shape where ``points`` is 1, otherwise [n, *shape].
        """
        return self.fill(torch.from_numpy(np.hstack([np.ones((len(coordinates), 1)), coordinates])))

    def fill(self, table: Tensor) -> dict[str, Tensor]:
        """The same from a table of coordinates, float64 [n, 1 + k], whose first column is 1."""
        table = table.to(self._rows)
        moved = torch.matmul(table, self._rows, out=self._buffer[: len(table)]).to(self._dtype)
        if self.points == 1:
            moved = moved[0]
        return self._views(moved)

    def rows(self) -> dict[str, Rows]:
        """The original slots, as views into the one matrix that holds them: no separate copies need be kept."""
        return {name: Rows(view) for name, view in self._views(self._rows).items()}

    def _views(self, flat: Tensor) -> dict[str, Tensor]:
        """The tensors that lie side by side in [..., P], by name."""
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        parts = zip(self._shapes.items(), torch.split(flat, sizes, dim=-1), strict=True)
        return {name: self._view(part, shape) for (name, shape), part in parts}

    def _view(self, flat: Tensor, shape: tuple[int, ...]) -> Tensor:
        lead = tuple(flat.shape[:-1])
        if not (self._last and len(shape) == 4):
            return flat.view(lead + shape)
        out, channels, height, width = shape
        view = flat.view(*lead, out, height, width, channels)
        return view.movedim(-1, len(lead) + 1)


def rows_of(base: Tensor, steps: list[Tensor | None]) -> Rows:
    """The rows of a tensor: its base, and a direction (or nothing) along each axis."""
    return Rows(torch.stack([base, *(torch.zeros_like(base) if step is None else step.to(base) for step in steps)]))
