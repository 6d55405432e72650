"""Which points come next? Ask for indices, tell what was found there."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.oneline import number_of
from lossatlas.results.landscape import structured
from lossatlas.results.shards import Shard
from lossatlas.results.spec import Block
from lossatlas.sampling import radius

if TYPE_CHECKING:
    from lossatlas.objective import Objective
    from lossatlas.space.charts import Plane

__all__ = [
    "Grid",
    "GridQueue",
    "Part",
    "Queue",
    "Sampler",
    "axes_in_words",
    "check_axes",
    "checked_shard",
    "coarse_to_fine",
]


def check_axes(axes: Iterable[str], chart: Iterable[str]) -> None:
    """Check that a sampler and a chart have the same axes, in whatever order.

    Raises:
        SpecError: they differ.
    """
    if set(axes) != set(chart):
        raise SpecError(f"grid has the axes {list(axes)}, the plane {list(chart)}; they must be the same")


class Queue(Protocol):
    """The points of one run that are still to come."""

    def ask(self, count: int) -> np.ndarray:
        """The next points, at most ``count``, as flat indices int64 in C order of the axes; none when finished.

        Points that were asked for and not told yet may be asked for again: the loop sends them off once. A queue may
        have a property ``ready``, how many points it has before it must be told; the loop shares these out.
        """
        ...

    def tell(self, block: Block) -> None:
        """Take in what was found."""
        ...


class Sampler(Protocol):
    """A specification of points. It is never changed by a run."""

    @property
    def axes(self) -> Mapping[str, np.ndarray]:
        """The coordinates of every axis, float64, increasing."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """What makes two samplers the same, besides their axes."""
        ...

    def start(self, told: Block) -> Queue:
        """Begin, or go on where ``told`` is known already."""
        ...

    def finish(self, landscape: xr.Dataset) -> xr.Dataset:
        """Complete the Landscape when no point is left to ask for."""
        ...


@dataclass(frozen=True, init=False)
class Grid:
    """Every point of a rectangular grid, from coarse to fine, so that there is a first picture after a few seconds.

    Args:
        axes: for each axis ``(low, high, points)``, or an increasing array of coordinates. The order of the keywords
            is the order of the dimensions.

    Attributes:
        range_words: how the range was chosen, if :meth:`auto` chose it; it appears in captions.

    Raises:
        SpecError: there is no axis, an axis has fewer than two points, or bounds are reversed or not finite.

    Example:
        >>> grid = Grid(x=(-1, 1, 5), y=(0, 2, 3))
        >>> grid.axes["x"].tolist()
        [-1.0, -0.5, 0.0, 0.5, 1.0]
        >>> grid.shape
        (5, 3)
    """

    axes: Mapping[str, np.ndarray]
    range_words: str = ""

    def __init__(self, **axes: Any) -> None:
        if not 1 <= len(axes) <= 3:
            raise SpecError(
                f"Grid has {number_of(len(axes), 'axis', 'axes')}; expected one, two or three, such as x=(-1, 1, 51)"
            )
        object.__setattr__(self, "axes", {name: _coordinates(name, spec) for name, spec in axes.items()})
        object.__setattr__(self, "range_words", "")

    @classmethod
    def auto(
        cls,
        objective: Objective | Sequence[Objective],
        plane: Plane | Sequence[Plane],
        *,
        points: int | Mapping[str, int] = 51,
        fill: float = radius.FILL,
        rise: float | None = None,
    ) -> Grid:
        """A grid as wide as the basin around the centre requires, found with a few points.

        The range is the same along every axis, symmetric, and rounded to two digits. Several objectives and planes that
        are to be compared share one grid: the widest of their basins decides (:mod:`lossatlas.sampling.radius`).

        Args:
            objective: what is measured; several if several models are compared, or one for all planes.
            plane: where.
            points: along each axis, or by axis.
            fill: width of the widest basin, as a share of the width of the picture.
            rise: how far above the centre the basin ends; by default half-way to the loss of the same network with its
                moving tensors set to zero.

        Returns:
            The grid, the same for the same question.

        Raises:
            SpecError: the loss has no basin at any distance, or an argument makes no sense.

        Example:
            >>> import torch, lossatlas as la
            >>> model = torch.nn.Linear(1, 1, bias=False)
            >>> _ = torch.nn.init.zeros_(model.weight)
            >>> objective = la.Objective(model, (torch.ones(4, 1), torch.zeros(4, 1)), torch.nn.functional.mse_loss)
            >>> plane = la.Plane(objective, {"x": {"weight": torch.ones(1, 1)}})
            >>> Grid.auto(objective, plane, rise=4.0, fill=0.5)
            Grid(x=(-4, 4, 51))
        """
        found = radius.find(objective, plane, fill=fill, rise=rise)
        first = plane[0] if isinstance(plane, Sequence) else plane
        made = cls(**radius.ranges(found.radius, points, first.axes))
        object.__setattr__(made, "range_words", found.words)
        return made

    def __repr__(self) -> str:
        """As it was called, if its points are evenly spaced."""
        return f"Grid({axes_in_words(self.axes)})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of points along each axis."""
        return tuple(len(coordinates) for coordinates in self.axes.values())

    @property
    def identity(self) -> dict[str, Any]:
        """A grid is its axes."""
        return {"kind": "grid"}

    def finish(self, landscape: xr.Dataset) -> xr.Dataset:
        """Every cell was asked for: all that is left is to say how the range was chosen, if it was."""
        if not self.range_words:
            return landscape
        told = structured(landscape, "sampling") | {"range": self.range_words}
        return landscape.assign_attrs(sampling=json.dumps(told, sort_keys=True))

    def start(self, told: Block) -> GridQueue:
        """Begin, leaving out what is known already."""
        order = coarse_to_fine(self.shape)
        return GridQueue(order[~np.isin(order, told.indices)])


class Part:
    """Some cells of a grid, in the grid's order: the share of one job among several.

    Args:
        grid: all of them.
        share: takes the share out of an array of cells.
    """

    def __init__(self, grid: Grid, share: Callable[[np.ndarray], np.ndarray]) -> None:
        self.axes, self.identity = grid.axes, grid.identity
        self.cells = share(coarse_to_fine(grid.shape))

    def start(self, told: Block) -> GridQueue:
        """Begin, leaving out what is known already."""
        return GridQueue(self.cells[~np.isin(self.cells, told.indices)])

    def finish(self, landscape: xr.Dataset) -> xr.Dataset:
        """The other cells belong to other jobs."""
        return landscape


class GridQueue:
    """What is left of a grid."""

    def __init__(self, pending: np.ndarray) -> None:
        self.pending = pending

    def ask(self, count: int) -> np.ndarray:
        """The next points."""
        now: np.ndarray = self.pending[:count]
        self.pending = self.pending[count:]
        return now

    def tell(self, block: Block) -> None:
        """A grid has nothing to learn."""


def coarse_to_fine(shape: tuple[int, ...]) -> np.ndarray:
    """The flat indices of a grid, coarse to fine: corners and centre, then the points that halve the gaps, and so on.

    Within a level the points are spread out, not row by row: wherever a run stops, it has covered the whole plane
    evenly. The order changes no value, and what is left of a grid can be evaluated in any order.

    Args:
        shape: the number of points along each axis.

    Returns:
        A permutation of ``range(prod(shape))``, int64.

    Example:
        >>> coarse_to_fine((9,)).tolist()
        [0, 8, 4, 2, 6, 5, 7, 1, 3]
    """
    sides = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, len(shape))
    levels = np.maximum.reduce(np.meshgrid(*map(_levels, shape), indexing="ij")).ravel()
    # A linear form of the indices, modulo 1: those below any threshold lie evenly over the grid.
    spread = sides @ np.array(_ROOTS[len(shape)]) % 1.0
    order: np.ndarray[Any, Any] = np.lexsort((spread, levels))
    return order


_ROOTS = {1: (0.6180339887,), 2: (0.7548776662, 0.5698402910), 3: (0.8191725134, 0.6710436067, 0.5497004779)}
"""1/g, 1/g², …, with g the root of g^(axes + 1) = g + 1: the additive sequences that repeat least."""


def _levels(length: int) -> np.ndarray:
    """When each point of an axis comes: its ends at 0, its middle at 1, those of both halves at 2."""
    levels = np.zeros(length, np.int64)
    gaps, level = [(0, length - 1)], 0
    while gaps := [(low, high) for low, high in gaps if high - low > 1]:
        level += 1
        middles = [(low + high) // 2 for low, high in gaps]
        levels[middles] = level
        gaps = [half for (low, high), mid in zip(gaps, middles, strict=True) for half in ((low, mid), (mid, high))]
    return levels


def checked_shard(given: Any, sampler: Sampler, run: Any, *, plan: object, whole: bool) -> Shard:
    """The share of a grid that a job was asked for.

    Args:
        given: "3/8", or a Shard.
        sampler: which points.
        run: the folder that all jobs share.
        plan: how they are evaluated.
        whole: whether on all samples.

    Returns:
        The shard.

    Raises:
        SpecError: this cannot be shared out beforehand.
    """
    shard = Shard.named(given)
    if run is None:
        raise SpecError(f"shard='{shard}' needs run=..., the folder that all shards share (--run)")
    if not isinstance(sampler, Grid) or not whole:
        raise SpecError(
            f"shard='{shard}': only a Grid with all samples can be shared out beforehand; for Adaptive or a Subset use "
            "an executor"
        )
    if plan == "fastest":
        raise SpecError(
            f"shard='{shard}': plan='fastest' may choose another plan for each shard; name a plan, or 'auto'"
        )
    return shard


def axes_in_words(axes: Mapping[str, np.ndarray]) -> str:
    """Axes as they are called: both ends and the number of points, or what the array is.

    Args:
        axes: coordinates by name.

    Returns:
        One line.

    Example:
        >>> axes_in_words({"x": np.linspace(-1, 1, 51), "y": np.array([0.0, 1.0, 4.0])})
        'x=(-1, 1, 51), y=float64 [3]'
    """
    said = {}
    for name, values in axes.items():
        even = np.allclose(values, np.linspace(values[0], values[-1], len(values)), rtol=0, atol=1e-9 * np.ptp(values))
        ends = f"({values[0]:.6g}, {values[-1]:.6g}, {len(values)})"
        said[name] = ends if even else f"float64 [{len(values)}]"
    return ", ".join(f"{name}={words}" for name, words in said.items())


def _coordinates(name: str, spec: Any) -> np.ndarray:
    if not isinstance(spec, np.ndarray):
        spec = _evenly(name, spec)
    if spec.ndim != 1 or len(spec) < 2:
        raise SpecError(f"{name}: {spec.size} point; an axis needs at least two, such as {name}=(-1, 1, 51)")
    if not np.isfinite(spec).all() or not (np.diff(spec) > 0).all():
        raise SpecError(f"{name}: the coordinates must be finite and increasing; got {spec[:4].tolist()} …")
    return np.asarray(spec, np.float64)


def _evenly(name: str, spec: Any) -> np.ndarray:
    expected = f"expected {name}=(low, high, points), such as {name}=(-1, 1, 51), or an array of coordinates"
    try:
        low, high, points = spec
        low, high, count = float(low), float(high), int(points)
    except (TypeError, ValueError) as fault:
        raise SpecError(f"{name}={spec!r}; {expected}") from fault
    if count != points or count < 2:
        raise SpecError(
            f"{name}={spec!r} has {number_of(points, 'point')}; an axis needs a whole number of at least two"
        )
    if not (math.isfinite(low) and math.isfinite(high)):
        raise SpecError(f"{name}={spec!r} has bounds that are not finite; {expected}")
    if low >= high:
        raise SpecError(
            f"{name}={spec!r} has reversed bounds; the lower one comes first, {name}=({high}, {low}, {count})"
        )
    coordinates = np.linspace(low, high, count)
    # A centre that rounding missed by 1e-17 is the centre: sel(x=0) must find it.
    coordinates[np.abs(coordinates) < 1e-12 * (high - low)] = 0.0
    return coordinates
