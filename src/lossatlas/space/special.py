"""Which ways matter for a trained language model: the worst one nearby, and the one that an adapter took.

A random direction shows the most usual case and hides the worst: nearly all directions of a large space are alike, and
the few that hurt are not among those one draws. Both belong side by side (Chen et al. 2025, arXiv 2505.17646, call them
the most-case and the worst-case landscape).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.space.normalize import STILL, By, normalize
from lossatlas.space.parameters import Parameters, combine


def worst(
    objective: Objective,
    *,
    radius: float = 0.1,
    steps: int = 20,
    seed: int = 0,
    by: By = "filter",
    still: Iterable[str] = STILL,
) -> dict[str, Tensor]:
    r"""The normalised direction that raises the loss most at a radius, as far as projected ascent finds it.

    With N the normalisation and ρ the radius, :math:`d ← N(d + η_t N(∇L(θ_0 + ρ d)))`, from a random start, η falling
    from 1 to 0.1. Since N fixes the norm of every filter, N(g) is the step that raises a linear function most. The best
    direction that was visited is kept; it is a lower bound of the worst case, no more.

    Args:
        objective: whose loss; its gradients take as much memory as the weights.
        radius: multiple of the direction at which the loss is raised, so a share of each filter's norm.
        steps: gradients taken.
        seed: of the start.
        by: the normalisation.
        still: roles of tensors that do not move.

    Returns:
        Tensors by name, normalised: coordinate 1 is a step as long as a random direction's.

    Raises:
        SpecError: a radius or a number of steps that is not positive, or a model that is moved in place.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> layer.weight.data = torch.tensor([[3.0, 4.0]])
        >>> x = torch.tensor([[1.0, 0.0]] * 4)
        >>> objective = Objective(layer, (x, layer(x).detach()), nn.functional.mse_loss)
        >>> worst(objective)["weight"].abs().round().tolist()
        [[5.0, 0.0]]
    """
    from lossatlas.space.directions import random

    if not radius > 0 or steps < 1:
        raise SpecError(f"radius={radius}, steps={steps}; expected a positive radius and at least one step")
    if objective.in_place:
        raise SpecError("in_place=True: gradients need a private copy; leave it out, or use random directions")
    slope = _Slope(objective)
    still = tuple(still)
    direction = random(objective, seed=seed, stream="worst", by=by, still=still)
    best, highest = direction, -float("inf")
    for step in range(steps + 1):
        value, gradient = slope.at(direction, radius)
        if value > highest:
            best, highest = direction, value
        if step == steps:
            break
        rate = 1 - 0.9 * step / steps
        uphill = normalize({name: gradient[name] for name in direction}, objective, by=by, still=still)
        direction = normalize({n: direction[n] + rate * uphill[n] for n in direction}, objective, by=by, still=still)
    return best


class _Slope:
    """Loss and gradient of an objective at points near its origin, on a copy of its own."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._model = copy.deepcopy(objective.private).train(objective.training)
        self._places = dict(self._model.named_parameters())
        self._shares = objective.shares()

    def at(self, direction: Parameters, radius: float) -> tuple[float, dict[str, Tensor]]:
        objective = self._objective
        moved = [self._places[name] for name in direction]
        with torch.no_grad():
            for name, place in self._places.items():
                place.requires_grad_(name in direction)
                step = [(radius, direction[name])] if name in direction else []
                place.copy_(combine(objective.origin[name], step))
        total = 0.0
        sums: list[Tensor] = [torch.zeros_like(place) for place in moved]
        with objective.batches.seeded(0):
            for share, batch in zip(self._shares, objective.batches, strict=True):
                loss = objective.parts(batch, self._model)[0].mean
                found = torch.autograd.grad(loss, moved, allow_unused=True)
                total += share * float(loss.detach())
                for gathered, part in zip(sums, found, strict=True):
                    if part is not None:
                        gathered.add_(part, alpha=share)
        return total, dict(zip(direction, sums, strict=True))


def lora(
    origin: Objective | nn.Module | Parameters, adapted: nn.Module, *, adapter: str = "default"
) -> dict[str, Tensor]:
    r"""The way that a LoRA adapter of peft took: its merged change :math:`\frac{α}{r} B A` of every weight it adapts.

    Nothing is normalised: coordinate 0 is the base, coordinate 1 the base with the adapter merged (Hu et al. 2021,
    arXiv 2106.09685). Only the layers it adapts move.

    Args:
        origin: the base model, an Objective of it, or its tensors by name.
        adapted: the model that peft wrapped.
        adapter: its name there.

    Returns:
        Tensors by the base's names.

    Raises:
        SpecError: no such adapter, a change that is all zero, or a layer that the base lacks.
    """
    from lossatlas.space.normalize import described
    from lossatlas.space.parameters import norm

    point, _ = described(origin)
    found: dict[str, Tensor] = {}
    for path, module in adapted.named_modules():
        if adapter in getattr(module, "lora_A", {}) and callable(getattr(module, "get_delta_weight", None)):
            delta = module.get_delta_weight(adapter).detach()
            name = _base_name(path, point)
            found[name] = delta.to(point[name].device).reshape(point[name].shape)
    if not found:
        known = sorted({name for m in adapted.modules() for name in getattr(m, "lora_A", {})})
        raise SpecError(f"adapter={adapter!r}: no layer has it; the model has {known or 'no LoRA adapter'}")
    if norm(found) == 0:
        raise SpecError(f"adapter={adapter!r} changes nothing yet: its B is zero; train it first")
    return found


def _base_name(path: str, point: Mapping[str, Any]) -> str:
    plain = path.removeprefix("base_model.model.")
    for name in (f"{plain}.weight", f"{plain}.base_layer.weight", f"{path}.base_layer.weight"):
        if name in point:
            return name
    raise SpecError(f"origin: the adapter's layer {plain!r} is not there; it has {sorted(point)[:4]} …")
