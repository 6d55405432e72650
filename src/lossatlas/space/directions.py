"""Which way to go from the origin? At random, towards another model, or as given."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, SupportsIndex

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, check_whole, described_type
from lossatlas.objective import batchnorm
from lossatlas.objective.function import Function, Measurable
from lossatlas.objective.wrappers import unwrapped
from lossatlas.oneline import number_of
from lossatlas.space import filters
from lossatlas.space.filters.selection import without_quantised
from lossatlas.space.normalize import STILL, By, check_direction, described, normalize, plain
from lossatlas.space.parameters import Parameters, difference, dot, norm, precise
from lossatlas.space.recipes import Seeded as Seeded
from lossatlas.space.recipes import drawn_in, generator_of

__all__ = ["Direction", "Drawn", "Path", "orthogonal", "principal", "random", "tensors_of", "towards"]


def random(
    origin: Measurable | nn.Module | Parameters,
    *,
    seed: int = 0,
    stream: str = "x",
    by: By = "filter",
    still: Iterable[str] = STILL,
    only: str | Iterable[str] = (),
) -> dict[str, Tensor]:
    """A Gaussian direction, normalised (Li et al. 2018, section 4).

    Every tensor is drawn from a generator of its own, seeded by ``seed``, ``stream`` and the tensor's name, on the
    CPU: the same numbers on every device, in any order of tensors, without touching the global random state.

    Args:
        origin: an Objective, a model, or tensors by name.
        seed: the seed.
        stream: which of several independent directions of the same seed; a plane uses the name of the axis.
        by: the normalisation, see :func:`lossatlas.normalize`.
        still: roles of tensors that do not move.
        only: patterns of names, such as ``"layer3.*"``, of the tensors that may move; by default all may. The numbers
            of a tensor do not depend on it.

    Returns:
        Tensors by name, shaped like those that move.

    Raises:
        SpecError: an option is unknown, a pattern fits no name, weights are quantised, or nothing is left to move.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> direction = random(layer, seed=0)
        >>> list(direction)
        ['weight']
        >>> torch.allclose(direction["weight"].norm(dim=1), layer.weight.norm(dim=1))
        True
    """
    check_whole("seed", seed)
    check_kind("stream", stream, str, "a name, such as 'x'")
    still, only = (tuple(part) if isinstance(part, Iterator) else part for part in (still, only))
    point, table = described(origin)
    chosen = filters.matching(table, only) if only else without_quantised(origin, table)
    called = plain(origin)
    gaussian = {name: _gaussian(point[name], f"{seed}/{stream}/{called.get(name, name)}") for name in chosen}
    how = {"seed": seed, "stream": stream, "by": by, "still": still, "only": only}
    return Drawn(normalize(gaussian, origin, by=by, still=still), origin, how)


class Drawn(dict[str, Tensor]):
    """A random direction that records how it was drawn: tensors by name, which can be drawn again instead of sent.

    Args:
        tensors: by name.
        origin: what it was drawn for; not kept alive.
        how: the other arguments of :func:`random`.
    """

    def __init__(self, tensors: Parameters, origin: Any, how: Mapping[str, Any]) -> None:
        super().__init__(tensors)
        self._origin = None if isinstance(origin, Mapping) else weakref.ref(origin)
        self.how = how

    @property
    def origin(self) -> Any:
        """What it was drawn for; None if that no longer exists, or was only tensors."""
        return None if self._origin is None else self._origin()

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Pickled, and copied, it is tensors by name."""
        return dict, (dict(self),)


def _gaussian(like: Tensor, key: str) -> Tensor:
    return torch.randn(like.shape, generator=generator_of(key), dtype=drawn_in(like.dtype)).to(like.device)


def towards(origin: Measurable | nn.Module | Parameters, other: Any) -> dict[str, Tensor]:
    """The plain difference to another model: coordinate 0 is the origin, coordinate 1 the other model.

    Every parameter moves, biases and frozen ones too, and nothing is normalised: otherwise coordinate 1 would not be
    the other model. With ``batchnorm="interpolated"`` the running statistics move along.

    Args:
        origin: an Objective, a model, or tensors by name.
        other: a model or its state dict; for a Function, parameters nested like its own.

    Returns:
        Tensors by name.

    Raises:
        SpecError: the other model has another architecture, or the same weights.

    Example:
        >>> towards({"w": torch.tensor([1.0])}, {"w": torch.tensor([4.0])})
        {'w': tensor([3.])}
    """
    point, _ = described(origin)
    tensors = dict(origin.named(other)) if isinstance(origin, Function) else tensors_of(other)
    direction = difference({name: tensors[name] for name in tensors if name in point}, point)
    if norm(direction) == 0:
        raise SpecError("towards: the other model has the same weights as the origin, so no direction leads there")
    return direction


class Path(Protocol):
    """Anything that can give its principal directions: a :class:`~lossatlas.Trajectory`."""

    def directions(self, axes: Sequence[str], *, centre: Any) -> dict[str, Direction]:
        """The first principal directions, by axis."""
        ...


def principal(trajectory: Path, *, axes: Sequence[str] = ("x", "y"), centre: str = "mean") -> dict[str, Direction]:
    """The first principal directions of a training run, each of length one (Li et al. 2018, section 7).

    Args:
        trajectory: a :class:`~lossatlas.Trajectory`.
        axes: one, two or three names.
        centre: ``"mean"`` or ``"last"``, see :meth:`lossatlas.Trajectory.principal`.

    Returns:
        A direction for each axis, as a Plane takes them: ``Plane(objective, principal(trajectory))``.

    Raises:
        SpecError: the path has fewer components than that.

    Example:
        >>> import lossatlas as la
        >>> path = la.Trajectory.open([{"w": torch.tensor([float(i), i % 2])} for i in range(5)])
        >>> principal(path, axes=("x",))["x"]["w"].abs().round(decimals=6).tolist()
        [1.0, 0.0]
    """
    if not callable(getattr(trajectory, "directions", None)):
        raise SpecError(f"trajectory is {described_type(trajectory)}; expected la.Trajectory.open(folder)")
    return trajectory.directions(axes, centre=centre)


class Direction(dict[str, Tensor]):
    """A direction that records what it is: tensors by name, with a label for pictures.

    Attributes:
        label: what a :class:`~lossatlas.Plane` calls its axis.
    """

    def __init__(self, tensors: Parameters, label: str) -> None:
        super().__init__(tensors)
        self.label = label

    def __repr__(self) -> str:
        """What it is, and how many numbers."""
        numbers = sum(tensor.numel() for tensor in self.values())
        return f"Direction({self.label!r}: {number_of(len(self), 'tensor')}, {numbers:,} numbers)"


def tensors_of(model: nn.Module | Parameters) -> dict[str, Tensor]:
    """The parameters and running statistics of a model, or a mapping as it is."""
    if isinstance(model, nn.Module):
        model = unwrapped(model)
        parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}
        return parameters | batchnorm.statistics(model)
    if isinstance(model, Mapping):
        return dict(model)
    read = f"; load_checkpoint(model, {str(model)!r}) reads a file" if isinstance(model, (str, os.PathLike)) else ""
    raise SpecError(f"got {described_type(model)}; expected a model or tensors by name{read}")


def orthogonal(
    direction: Parameters,
    to: Parameters,
    origin: Measurable | nn.Module | Parameters,
    *,
    by: By = "filter",
    still: Iterable[str] = STILL,
) -> dict[str, Tensor]:
    r"""Turn a normalised direction until it is orthogonal to another, keeping the norm of every filter.

    Projecting and normalising in turn, :math:`d ← N(d - \frac{⟨d, e⟩}{⟨e, e⟩} e)`, converges within a few rounds since
    two random directions are nearly orthogonal to begin with.

    Args:
        direction: the direction d to turn.
        to: the direction e that stays.
        origin: what the filters belong to.
        by: the normalisation N.
        still: roles of tensors that do not move.

    Returns:
        The turned direction; its cosine with ``to`` is below 1e-7.

    Raises:
        SpecError: no such direction is found, for instance where filters have a single weight.

    Example:
        >>> layer = nn.Linear(8, 4)
        >>> x, y = (random(layer, seed=0, stream=axis) for axis in "xy")
        >>> abs(dot(x, orthogonal(y, x, layer))) < 1e-6
        True
    """
    point, _ = described(origin)
    for given in (direction, to):
        check_direction(given, point)
    turned = {name: precise(tensor) for name, tensor in direction.items()}
    for _ in range(100):
        overlap = dot(turned, to) / dot(to, to)
        if abs(overlap) * norm(to) <= 1e-8 * norm(turned):
            return {name: tensor.to(direction[name]) for name, tensor in turned.items()}
        leaned = {name: turned[name] - overlap * precise(to[name]) if name in to else turned[name] for name in turned}
        turned = normalize(leaned, origin, by=by, still=still)
    raise SpecError(
        f"orthogonal: no direction orthogonal to the other keeps the norms by={by!r}; "
        "the filters are too small, leave orthogonal=False"
    )
