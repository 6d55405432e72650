"""How do coordinates become parameters? Through the k-plane, with k at most 3, which also gives the way back."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, check_whole, texts
from lossatlas.objective import Objective
from lossatlas.objective.function import Function, Measurable
from lossatlas.objective.given import check_tensors
from lossatlas.oneline import number_of
from lossatlas.space import directions as ways
from lossatlas.space import recipes
from lossatlas.space.filters.selection import patterns_of
from lossatlas.space.filters.table import checked_still
from lossatlas.space.low_rank import low_rank
from lossatlas.space.normalize import STILL, By, check_direction, described
from lossatlas.space.parameters import Parameters, check_same_shapes, combine, dot, norm, precise

__all__ = ["STORED", "Chart", "Plane", "Projection", "Recipe"]

DIRECTION = 'such as {"x": la.directions.random(objective, seed=0)}'

AXES = "names of axes, such as ('x', 'y')"

STORED = 1024**3
"""Size in bytes from which random directions are recipes rather than tensors."""


class Chart(Protocol):
    """Turns coordinates into parameters. Coordinates of zero are the origin."""

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the coordinates."""
        ...

    def at(self, coordinates: Mapping[str, float]) -> dict[str, Tensor]:
        """The parameters at a point."""
        ...


class Projection(NamedTuple):
    """Where a point lies in a plane.

    Attributes:
        coordinates: the nearest point of the plane, by axis.
        residual: distance from the plane, as a share of the distance from the origin: 0 in the plane, 1 at right
            angles to it.
    """

    coordinates: dict[str, float]
    residual: float


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the directions of a plane were made, for the record.

    Attributes:
        labels: what each direction is, by axis, for pictures.
        seed: seed of the random ones.
        by: the normalisation.
        still: the roles held still.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    by: str = ""
    still: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plane:
    r"""A k-plane with 1, 2 or 3 directions: :math:`θ(c) = θ_0 + \sum_a c_a d_a`.

    Args:
        origin: the point at coordinates of zero; an Objective or a Function stands for its own origin.
        directions: by name of the axis, tensors by name. Names that a direction lacks do not move.
        recipe: how the directions were made; a direction keeps its own label if the recipe has none.

    Raises:
        SpecError: there is no direction or more than three, an axis name is invalid, or a direction does not fit the
            origin, is zero, or lies in the span of the others.

    Example:
        >>> import torch
        >>> plane = Plane({"w": torch.zeros(2)}, {"x": {"w": torch.tensor([1.0, 0.0])}, "y": {"w": torch.ones(2)}})
        >>> plane.at({"x": 2.0, "y": 1.0})["w"].tolist()
        [3.0, 1.0]
        >>> plane.project({"w": torch.tensor([3.0, 1.0])})
        Projection(coordinates={'x': 2.0, 'y': 1.0}, residual=0.0)
    """

    origin: Parameters
    directions: Mapping[str, Parameters]
    recipe: Recipe = Recipe()

    def __post_init__(self) -> None:
        """Check the directions against the origin and each other."""
        if isinstance(self.origin, Function) and isinstance(self.directions, Mapping):
            named = {axis: self.origin.named(direction) for axis, direction in self.directions.items()}
            object.__setattr__(self, "directions", named)
        if isinstance(self.origin, (Objective, Function)):
            object.__setattr__(self, "origin", self.origin.origin)
        check_tensors("origin", self.origin)
        check_kind("directions", self.directions, Mapping, f"directions by axis, {DIRECTION}")
        check_kind("recipe", self.recipe, Recipe, "a lossatlas.space.charts.Recipe")
        if not 1 <= len(self.directions) <= 3:
            raise SpecError(
                f"directions has {number_of(len(self.directions), 'axis', 'axes')}; expected one, two or three"
            )
        for axis, direction in self.directions.items():
            check_kind("directions: the name of an axis", axis, str, "an identifier, such as 'x'")
            check_kind(f"directions[{axis!r}]", direction, Mapping, f"tensors by name, {DIRECTION}")
            if not axis.isidentifier() or axis in ("loss", "status"):
                raise SpecError(f"directions: {axis!r} cannot name an axis; choose an identifier such as 'x'")
            if isinstance(direction, recipes.Seeded):
                _check_recipe(direction, self.origin)
            else:
                check_direction(direction, self.origin)
            if self.lengths[axis] == 0:
                raise SpecError(f"directions[{axis!r}] has norm zero, so it leads nowhere")
        own = {axis: d.label for axis, d in self.directions.items() if isinstance(d, ways.Direction)}
        object.__setattr__(self, "recipe", replace(self.recipe, labels={**own, **self.recipe.labels}))
        scale = np.array(list(self.lengths.values()))
        if np.linalg.eigvalsh(self.gram / np.outer(scale, scale))[0] < 1e-10:
            raise SpecError(f"directions {list(self.directions)} are parallel or span no {len(scale)}-plane")

    def __repr__(self) -> str:
        """The axes, a line each, instead of every number."""
        size = sum(tensor.numel() for tensor in self.origin.values())
        lines = [f"Plane({', '.join(self.axes)}) through {size:,} parameters"]
        labels = {axis: self.recipe.labels.get(axis) or "direction" for axis in self.axes}
        lines += [f"  {axis}: {label}, length {self.lengths[axis]:.4g}" for axis, label in labels.items()]
        made = [f"normalised by {self.recipe.by}"] if self.recipe.by else []
        made += [f"still: {', '.join(self.recipe.still)}"] if self.recipe.still else []
        made += [f"cosine {pair} {value:+.3f}" for pair, value in self.cosines.items()]
        return "\n".join([*lines, *([f"  {'; '.join(made)}"] if made else [])])

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes, in order."""
        return tuple(self.directions)

    @property
    def moving(self) -> tuple[str, ...]:
        """The names of the tensors that some direction moves, in the order of the origin."""
        return tuple(name for name in self.origin if any(name in d for d in self.directions.values()))

    @functools.cached_property
    def lengths(self) -> dict[str, float]:
        """The norm of each direction: what one unit of its coordinate is in parameter space."""
        return dict(zip(self.directions, np.sqrt(np.diag(self.gram)).tolist(), strict=True))

    @functools.cached_property
    def gram(self) -> np.ndarray:
        """The inner products of the directions, float64 [k, k]."""
        return recipes.gram(list(self.directions.values()))

    @property
    def cosines(self) -> dict[str, float]:
        """The cosine between each pair of directions, by ``"x,y"``."""
        return {
            f"{a},{b}": float(self.gram[i, j]) / (self.lengths[a] * self.lengths[b])
            for (i, a), (j, b) in itertools.combinations(enumerate(self.axes), 2)
        }

    def at(self, coordinates: Mapping[str, float]) -> dict[str, Tensor]:
        """The parameters at a point.

        Args:
            coordinates: by axis, in multiples of the direction; a missing axis is zero.

        Returns:
            All tensors of the origin; those that do not move are the origin's own, not copies.

        Raises:
            SpecError: the plane lacks an axis.
        """
        check_kind("coordinates", coordinates, Mapping, 'numbers by axis, such as {"x": 0.5, "y": -0.2}')
        for axis, number in coordinates.items():
            check_kind(f"coordinates[{axis!r}]", number, (int, float, np.number), "a number")
        unknown = sorted(set(coordinates) - set(self.axes))
        if unknown:
            raise SpecError(f"coordinates: the plane has no axis {unknown[0]!r}; it has {list(self.axes)}")
        point = dict(self.origin)
        for name in self.moving:
            steps = [(coordinates.get(a, 0.0), d[name]) for a, d in self.directions.items() if name in d]
            point[name] = combine(self.origin[name], steps)
        return point

    def project(self, params: nn.Module | Parameters) -> Projection:
        r"""The nearest point of the plane, for directions at any angle.

        Solves :math:`G c = b` with the Gram matrix :math:`G_{ab} = ⟨d_a, d_b⟩` and :math:`b_a = ⟨d_a, θ - θ_0⟩`.

        Args:
            params: a model, or tensors by name; names left out are at the origin.

        Returns:
            Coordinates and residual.

        Raises:
            SpecError: a tensor has a different shape.
        """
        tensors = {name: t for name, t in ways.tensors_of(params).items() if name in self.origin}
        home = {name: self.origin[name] for name in tensors}
        check_same_shapes(tensors, home)
        gap = {name: precise(tensors[name]).to(home[name].device) - precise(home[name]) for name in home}
        solution = np.linalg.solve(self.gram, [dot(direction, gap) for direction in self.directions.values()])
        rest = dict(gap)
        for weight, direction in zip(solution, self.directions.values(), strict=True):
            for name, tensor in direction.items():
                rest[name] = rest.get(name, 0.0) - weight * precise(tensor)
        distance = norm(gap)
        coordinates = {axis: float(c) for axis, c in zip(self.axes, solution, strict=True)}
        return Projection(coordinates, min(norm(rest) / distance, 1.0) if distance else 0.0)

    @classmethod
    def random(
        cls,
        origin: Measurable | nn.Module | Parameters,
        *,
        seed: int = 0,
        axes: Sequence[str] = ("x", "y"),
        by: By = "filter",
        still: Iterable[str] = STILL,
        only: str | Iterable[str] = (),
        orthogonal: bool = False,
        stored: bool | None = None,
        rank: int | None = None,
    ) -> Plane:
        """A plane of independent random directions, normalised.

        Args:
            origin: an Objective, a model, or tensors by name.
            seed: the seed; each axis draws from a stream of its own.
            axes: one, two or three names.
            by: the normalisation, see :func:`lossatlas.normalize`.
            still: roles of tensors that do not move; by default biases and normalising layers, as in the paper.
            only: patterns of names, such as ``"layer3.*"``, of the tensors that may move; by default all may. Plans on
                a graph compute whatever precedes the first moving layer once per batch.
            orthogonal: turn each direction until it is orthogonal to those before it, keeping the norm of every filter.
                Otherwise their cosine is small in a large network, and recorded.
            stored: keep the directions as tensors; otherwise they are recipes that draw each tensor again at every
                point (:class:`lossatlas.directions.Seeded`). By default they are tensors if they take less than 1 GiB
                and the weights are not spread over processes (DTensor).
            rank: rank of every matrix of the directions, see :func:`lossatlas.directions.low_rank`; by default full.
                With a low rank, the points of a language model with few tokens share most of their work.

        Returns:
            The plane.

        Raises:
            SpecError: an unknown option.
        """
        still, only, axes = checked_still(still), patterns_of(only), texts("axes", axes, AXES)
        check_whole("seed", seed)
        drawn: dict[str, Any] = {}
        if stored is None:
            point, table = described(origin)
            between = any(row.through is not None for row in table.values())
            small = _bytes(point) * len(axes) < STORED and not any(hasattr(t, "device_mesh") for t in point.values())
            stored = orthogonal or by == "weight" or between or small
        if orthogonal and not stored:
            raise SpecError("orthogonal=True needs the directions as tensors; leave stored out")
        if rank is not None and (orthogonal or stored is False):
            raise SpecError(
                "rank cannot be combined with orthogonal=True or stored=False: low-rank directions are drawn as tensors"
            )
        for axis in axes:
            if rank is not None:
                drawn[axis] = low_rank(origin, rank=rank, seed=seed, stream=axis, by=by, still=still, only=only)
                continue
            if not stored:
                drawn[axis] = recipes.Seeded(origin, seed=seed, stream=axis, by=by, still=still, only=only)
                continue
            direction = ways.random(origin, seed=seed, stream=axis, by=by, still=still, only=only)
            if orthogonal:
                direction = _orthogonal_to_all(direction, list(drawn.values()), origin, by, still)
            drawn[axis] = direction
        part = f" of rank {rank}" if rank is not None else ""
        part += f" of {', '.join(only)}" if only else ""
        labels = {axis: f"random direction {number}{part}" for number, axis in enumerate(axes, 1)}
        recipe = Recipe(labels=labels, seed=seed, by=by, still=still)
        return cls(described(origin)[0], drawn, recipe)

    @classmethod
    def towards(
        cls,
        origin: Measurable | nn.Module | Parameters,
        *others: Any,
        axes: Sequence[str] = ("x", "y", "z"),
        names: Sequence[str] = (),
    ) -> Plane:
        """The line, plane or volume through the origin and one, two or three other models.

        Args:
            origin: an Objective, a model, or tensors by name: all coordinates zero.
            others: models or state dicts (for a Function, parameters nested like its own); the first is at ``x=1``, the
                second at ``y=1``.
            axes: names of the axes.
            names: what to call the others in pictures.

        Returns:
            The plane; nothing is normalised.

        Raises:
            SpecError: a model has another architecture or equals the origin, or the models lie on one line.
        """
        axes, names = texts("axes", axes, AXES), texts("names", names, "what to call the others, a tuple of texts")
        found = {axis: ways.towards(origin, other) for axis, other in zip(axes, others, strict=False)}
        called = itertools.chain(names, itertools.repeat("another model"))
        labels = {axis: f"towards {name}" for axis, name in zip(found, called, strict=False)}
        return cls(described(origin)[0], found, Recipe(labels=labels, by="none"))


def _bytes(origin: Parameters) -> int:
    """What a direction of these tensors takes, in float32 at least."""
    return sum(tensor.numel() * max(4, tensor.element_size()) for tensor in origin.values())


def _check_recipe(direction: recipes.Seeded, origin: Parameters) -> None:
    for name in direction:
        if name not in origin or tuple(origin[name].shape) != direction.shape(name):
            raise SpecError(f"direction has {name!r} of shape {direction.shape(name)}, which the origin lacks")


def _orthogonal_to_all(
    direction: dict[str, Tensor],
    others: list[dict[str, Tensor]],
    origin: Measurable | nn.Module | Parameters,
    by: By,
    still: tuple[str, ...],
) -> dict[str, Tensor]:
    """Turning away from one direction may turn back towards another, so repeat until all are at right angles."""
    for _ in range(20):
        for other in others:
            direction = ways.orthogonal(direction, other, origin, by=by, still=still)
        if all(abs(dot(direction, other)) <= 1e-6 * norm(direction) * norm(other) for other in others):
            return direction
    raise SpecError(f"orthogonal: no direction at right angles to {len(others)} others keeps the norms by={by!r}")
