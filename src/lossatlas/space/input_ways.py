"""Which way do the inputs go? Up the gradient, at random, towards another input or another token."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.objective.reentrant import differentiated
from lossatlas.objective.refusal import asked
from lossatlas.space.parameters import precise
from lossatlas.space.recipes import generator_of
from lossatlas.space.shifting import Place, layer_of

__all__ = [
    "BY",
    "RANDOM",
    "Norm",
    "beside",
    "differentiable",
    "gradients",
    "moved",
    "norms",
    "random",
    "steepest",
    "to_token",
    "towards",
    "unit",
]

Norm = Literal["inf", "2"]
"""In which norm a direction has length 1 for each example: the maximum of its entries, or Euclidean."""

BY: dict[str, str] = {"inf": "unit-linf", "2": "unit-l2"}
"""What a Landscape calls the normalisation."""

RANDOM: dict[str, str] = {"inf": "random signs", "2": "random Gaussian directions"}
"""What a random direction is, by norm."""


def moved(part: Objective, place: Place) -> list[Tensor]:
    """What is moved, before it moves: a tensor for each batch."""
    found: list[Tensor] = []

    def seen(tensor: Tensor) -> Tensor:
        found.append(tensor.detach().clone())
        return tensor

    part.move()
    with part.batches.seeded(0), torch.no_grad():
        for number, batch in enumerate(part.batches):
            place.call(part.forward, part.private, batch, seen)
            if len(found) != number + 1:
                raise SpecError(
                    f"layer={place.layer!r} is called {len(found) - number} times in a forward pass; name one that is "
                    "called once"
                )
    return found


def gradients(part: Objective, place: Place, at: list[Tensor] | None = None) -> list[Tensor]:
    """The gradient of the mean loss of each batch with respect to what is moved.

    Args:
        part: the examples.
        place: what is moved.
        at: where, a tensor for each batch; by default at the examples themselves.

    Returns:
        A tensor for each batch; the row of an example is its own gradient over the number of them.

    Raises:
        SpecError: the loss has no derivative with respect to the input, or not a finite one.
    """
    found = []
    part.move()
    with asked(part), part.batches.seeded(0), differentiable():
        for number, batch in enumerate(part.batches):
            leaves: list[Tensor] = []

            def leaf(old: Tensor, number: int = number, leaves: list[Tensor] = leaves) -> Tensor:
                leaves.append((old if at is None else at[number]).detach().clone().requires_grad_())
                return leaves[0]

            outputs, targets = place.call(part.forward, part.private, batch, leaf)
            loss = part.loss_part(outputs, targets, batch, weighing=part.weighing).mean
            if not loss.requires_grad:
                raise SpecError(
                    "the loss has no derivative with respect to the input: something in between is rounded or detached"
                )
            slope = torch.autograd.grad(loss, leaves[0], allow_unused=True)[0]
            found.append(torch.zeros_like(leaves[0]) if slope is None else slope)
    if not all(bool(torch.isfinite(slope).all()) for slope in found):
        raise SpecError(
            "the gradient of the loss with respect to the input is not finite at an example; choose other examples"
        )
    return found


@contextlib.contextmanager
def differentiable() -> Iterator[None]:
    """Lets derivatives in an input be taken, even of recurrent networks on a GPU in evaluation mode.

    Yields:
        Nothing.
    """
    with differentiated(), torch.backends.cudnn.flags(enabled=False):
        yield


def steepest(part: Objective, place: Place, norm: Norm) -> tuple[list[Tensor], int]:
    """The direction of norm 1 along which each example's loss rises the most, and for how many it is zero.

    Returns:
        A tensor for each batch, and the number.

    Raises:
        SpecError: it is zero for all.
    """
    slopes = gradients(part, place)
    zeros = sum(int((norms(slope, "inf") == 0).sum()) for slope in slopes)
    if zeros == sum(len(slope) for slope in slopes):
        raise SpecError(
            "the gradient of the loss with respect to the input is exactly zero at every example, so there is no "
            "steepest direction: the softmax is saturated (use the model in float64), or gradients are masked; "
            "InputPlane.random needs none"
        )
    if norm == "inf":
        return [slope.sign() for slope in slopes], zeros
    return [unit(slope) for slope in slopes], zeros


TRIES = 20
"""How often random signs are drawn: with two inputs, they lie along another direction's half of the time."""


def random(
    part: Objective, place: Place, key: str, norm: Norm, beside: Sequence[Sequence[Tensor]] = ()
) -> list[Tensor]:
    """Random directions of norm 1, independent for each example: signs, or Gaussian; a tensor for each batch.

    If all of it lies along one of the directions ``beside`` it, as happens with few signs, it is drawn again.

    Returns:
        A tensor for each batch.
    """
    for tried in range(TRIES):
        found = _random(part, place, f"{key}/{tried}" if tried else key, norm)
        if not any(_along(found, other) for other in beside):
            break
    return found


def beside(
    found: Mapping[str, list[Tensor]], part: Objective, place: Place, axes: Sequence[str], seed: int, norm: Norm
) -> dict[str, list[Tensor]]:
    """The directions already found, and a random one for each further axis, from a stream of its own."""
    drawn = dict(found)
    for axis in axes:
        drawn[axis] = random(part, place, f"{seed}/{axis}", norm, beside=list(drawn.values()))
    return drawn


def _along(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return any(all(torch.equal(a, sign * b) for a, b in pairs) for sign in (1, -1))


def _random(part: Objective, place: Place, key: str, norm: Norm) -> list[Tensor]:
    generator, found = generator_of(key), []
    for tensor in moved(part, place):
        if norm == "inf":
            drawn = 2.0 * torch.randint(0, 2, tensor.shape, generator=generator).double() - 1
        else:
            drawn = unit(torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
        found.append(drawn.to(tensor))
    return found


def towards(part: Objective, place: Place, other: Tensor) -> list[Tensor]:
    """From each example to another input, or all to the same one; a tensor for each batch."""
    own = moved(part, place)
    rows = sum(len(tensor) for tensor in own)
    if own[0].shape[1:] == other.shape:
        other = other.expand(rows, *other.shape)
    if other.shape != (rows, *own[0].shape[1:]):
        raise SpecError(
            f"others: a tensor of shape {tuple(other.shape)}; expected {(rows, *own[0].shape[1:])}, or one input of "
            f"shape {tuple(own[0].shape[1:])}"
        )
    parts = torch.split(other, [len(tensor) for tensor in own])
    found = [new.to(old) - old for new, old in zip(parts, own, strict=True)]
    if not any(bool(way.any()) for way in found):
        raise SpecError("others: the examples that move equal the input they are to reach; name another one")
    return found


def to_token(part: Objective, place: Place, token: int, position: int) -> list[Tensor]:
    """From the embedding of the token at a position to that of another token; a tensor for each batch."""
    table = getattr(layer_of(part.private, place.layer), "weight", None)
    if not isinstance(table, Tensor) or table.dim() != 2:
        raise SpecError(f"layer={place.layer!r} has no table of embeddings; name a torch.nn.Embedding")
    if not 0 <= token < len(table):
        raise SpecError(f"token {token}: the table of {place.layer!r} has the tokens 0 to {len(table) - 1}")
    found = []
    for own in moved(part, place):
        if own.dim() < 3 or not -own.shape[1] <= position < own.shape[1]:
            raise SpecError(f"position={position}: the output of {place.layer!r} has shape {tuple(own.shape)}")
        way = torch.zeros_like(own)
        way[:, position] = table[token].detach().to(own) - own[:, position]
        found.append(way)
    return found


def norms(tensor: Tensor, norm: Norm) -> Tensor:
    """The norm of each row, float64 [n]."""
    flat = precise(tensor).reshape(len(tensor), -1)
    found: Tensor = torch.linalg.vector_norm(flat, ord=torch.inf if norm == "inf" else 2, dim=1)
    return found


def unit(tensor: Tensor) -> Tensor:
    """Each row scaled to Euclidean norm 1; one that is zero stays."""
    exact, size = precise(tensor), norms(tensor, "2").reshape(-1, *[1] * (tensor.dim() - 1))
    return torch.where(size > 0, exact / size.clamp_min(1e-300), 0.0).to(tensor)
