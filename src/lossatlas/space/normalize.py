r"""How is a direction scaled to the weights, so that a step means the same in two networks?

With d a direction, θ the origin, and j running over filters (Li et al. 2018, section 4):

===============  ==========================================================  ==============================
``by``           what is done                                                undoes a rescaling of
===============  ==========================================================  ==============================
``filter``       :math:`d_j ← d_j ‖θ_j‖ / ‖d_j‖` for each filter             each filter
``head``         the same for each attention head; elsewhere each filter     each head
``layer``        the same for each layer                                     each layer
``weight``       :math:`d_i ← d_i θ_i` for each single weight                each weight
``none``         nothing                                                     nothing
``unit-filter``  :math:`d_j ← d_j / ‖d_j‖`                                   nothing
``unit-layer``   the same for each layer                                     nothing
===============  ==========================================================  ==============================
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import described_type
from lossatlas.objective import Objective
from lossatlas.objective.function import Function, Measurable
from lossatlas.objective.given import check_tensors
from lossatlas.objective.wrappers import plain_name, plain_names, unwrapped
from lossatlas.space import filters
from lossatlas.space.filters.named import UNKNOWN, by_name
from lossatlas.space.filters.table import by_shape, checked_still
from lossatlas.space.parameters import Parameters, norm, parts, precise

__all__ = ["STILL", "WAYS", "By", "check_direction", "check_moving", "described", "normalize", "plain", "scaled_to"]

By = Literal["filter", "layer", "weight", "none", "head", "unit-filter", "unit-layer"]
WAYS: tuple[str, ...] = get_args(By)
STILL: tuple[str, ...] = ("bias", "norm")


def normalize(
    direction: Parameters,
    origin: Measurable | nn.Module | Parameters,
    by: By = "filter",
    still: Iterable[str] = STILL,
) -> dict[str, Tensor]:
    """Scale a direction to the weights and hold some tensors still.

    Args:
        direction: tensors by name, shaped like those of the origin; names it lacks do not move.
        origin: an Objective or a model, whose modules say what a filter is; a Function, whose ``layout`` says it; or
            tensors by name, where every index of the first dimension is a filter and every vector is a bias.
        by: ``"filter"``, ``"layer"``, ``"weight"``, ``"none"``, ``"head"``, ``"unit-filter"`` or ``"unit-layer"``. With
            ``"head"`` a filter of attention is a head: its rows of the queries, keys or values, or the columns of the
            output projection that read it. A layer is a tensor, or each of the layers that one tensor holds.
        still: roles that do not move: any of ``"bias"``, ``"norm"`` and ``"weight"``. Frozen tensors never move.

    Returns:
        A new direction, with the tensors that move.

    Raises:
        SpecError: an option is unknown, the origin lacks a name or shape, a value is not finite, or the direction is
            zero.

    Example:
        >>> direction = normalize({"w": torch.ones(2, 2)}, {"w": torch.tensor([[3.0, 4.0], [0.0, 0.0]])})
        >>> direction["w"].norm(dim=1).tolist()
        [5.0, 0.0]
    """
    if by not in WAYS:
        raise SpecError(unknown("by", by, WAYS))
    roles = checked_still(still)
    point, table = described(origin)
    direction = origin.named(direction) if isinstance(origin, Function) else direction
    check_direction(direction, point)
    moving = {name: tensor for name, tensor in direction.items() if name in table and table[name].moves(roles)}
    check_moving(moving, table, by, roles)
    scaled = {
        name: scaled_to(tensor, point[name], table[name].layout, by, table[name].through)
        for name, tensor in moving.items()
    }
    if norm(scaled) == 0:
        raise SpecError("direction has norm zero: only the origin lies on it")
    return scaled


def check_moving(moving: Collection[str], table: Mapping[str, filters.Row], by: str, still: tuple[str, ...]) -> None:
    """Check that something is left to move, and that what ``by`` scales exists.

    Raises:
        SpecError: nothing moves, nothing says what a filter is, or ``by="head"`` without attention whose heads are
            known.
    """
    if not moving:
        raise SpecError(
            f"still={still}: no tensor of the direction is left to move; "
            "hold none still (still=(), --still none), or unfreeze a frozen model with model.requires_grad_(True)"
        )
    for name in moving:
        if table[name].refused:
            raise SpecError(
                f"{name!r} cannot move at random: it is {table[name].refused}, so a step in it is not a step in the "
                "weight that the layer sees. On a copy, replace it by the weight "
                "(torch.nn.utils.parametrize.remove_parametrizations), or name what may move (only=, --only)"
            )
    if by in ("filter", "head", "unit-filter") and (silent := [n for n in moving if table[n].layout.rule == UNKNOWN]):
        raise SpecError(
            f"by={by!r}: {UNKNOWN} of {silent[0]!r}, shape {table[silent[0]].shape}. State it with la.Function(…, "
            "layout='last') if outputs come last (x @ w), layout='first' if they come first (w @ x), or use by='layer'"
        )
    if by == "head" and not any(table[name].layout.heads for name in moving):
        raise SpecError(
            "by='head': no tensor of the direction belongs to attention whose heads are known; "
            "lossatlas explain lists the rules, by='filter' needs no heads"
        )


def described(origin: Measurable | nn.Module | Parameters) -> tuple[Parameters, dict[str, filters.Row]]:
    """The tensors of an origin, and the table of their filters."""
    if isinstance(origin, Objective):
        return origin.origin, filters.table(origin.model)
    if isinstance(origin, Function):
        return origin.origin, by_name(origin.origin, origin.layout)
    if isinstance(origin, nn.Module):
        model = unwrapped(origin)
        return {name: p.detach() for name, p in model.named_parameters()}, filters.table(model)
    if isinstance(origin, Mapping):
        check_tensors("origin", origin)
        return origin, by_shape(origin)
    raise SpecError(f"origin is {described_type(origin)}; expected an Objective, a model or tensors by name")


def plain(origin: Measurable | nn.Module | Parameters) -> dict[str, str]:
    """What each tensor of an origin is called without wrappers, by its name: the name that seeds its random numbers."""
    if isinstance(origin, Function):
        return {name: name for name in origin.origin}
    if isinstance(origin, Mapping):
        return {name: plain_name(name) for name in origin}
    return plain_names(origin.model if isinstance(origin, Objective) else unwrapped(origin))


def check_direction(direction: Parameters, origin: Parameters) -> None:
    """Check that a direction fits an origin: its names, shapes and values.

    Raises:
        SpecError: it does not; the message names the first tensor at fault.
    """
    check_tensors("direction", direction)
    for name, tensor in direction.items():
        if name not in origin:
            raise SpecError(f"direction has {name!r}, which the origin lacks; it has {sorted(origin)[:4]} …")
        if tensor.shape != origin[name].shape:
            raise SpecError(
                f"direction[{name!r}] has shape {tuple(tensor.shape)}; the origin has {tuple(origin[name].shape)}"
            )
        if not origin[name].dtype.is_floating_point and not origin[name].dtype.is_complex:
            raise SpecError(f"direction[{name!r}]: the origin holds it as {origin[name].dtype}, which cannot be moved")
        if tensor.is_complex() and not origin[name].is_complex():
            raise SpecError(
                f"direction[{name!r}] is {tensor.dtype}, but the origin is {origin[name].dtype}, which cannot hold it"
            )
        if not all(bool(torch.isfinite(part).all()) for part in parts(tensor)):
            raise SpecError(f"direction[{name!r}] has values that are not finite; every point along it would be NaN")


def scaled_to(
    direction: Tensor, weights: Tensor, layout: filters.Layout, by: By, through: filters.Through | None = None
) -> Tensor:
    """One tensor of a direction scaled to the weights it will be added to, see :func:`normalize`."""
    if by == "none":
        return (through.kept(direction) if through else direction).detach().clone()
    if by == "weight":
        if through is not None and through.mask is None:
            raise SpecError("by='weight': a weight behind a parametrization has no scale of its own; use by='filter'")
        seen = through.weight(weights) if through else weights
        return direction.detach() * seen.to(direction)
    layout = layout.by_layer if by.endswith("layer") else layout.by_head if by == "head" else layout
    moved = through.kept(direction) if through else direction
    own = layout.norms(through.step(weights, direction) if through else direction.detach())
    goal = through.weight(weights) if through else weights
    wanted = torch.ones_like(own) if by.startswith("unit") else layout.norms(goal).to(own)
    # A filter that is zero has no direction, and stays zero: giving it a length would invent one.
    factor = torch.where(own > 0, wanted / own, 0.0)
    return (precise(moved).reshape(layout.shape) * factor).to(moved).reshape(moved.shape)
