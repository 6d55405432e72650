"""Which way is steepest, most curved, or worst? Directions that need derivatives.

A random direction shows the typical case and hides the worst: nearly all directions of a large space are alike, and the
few harmful ones are not among those that are drawn. The two should be shown side by side (Chen et al. 2025, arXiv
2505.17646, call them the most-case and the worst-case landscape).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lossatlas.curvature.products import Matrix
from lossatlas.curvature.spectrum import Eigen, eigenvalues
from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_number, check_whole, described_type
from lossatlas.objective import Objective, means
from lossatlas.objective.given import check_objective
from lossatlas.objective.reentrant import differentiated
from lossatlas.space.directions import Direction, random
from lossatlas.space.normalize import STILL, By, normalize
from lossatlas.space.parameters import Parameters, combine, norm

__all__ = ["Which", "eigen", "gradient", "worst"]

Which = Literal["largest", "smallest"]


def gradient(objective: Objective, params: Parameters | None = None) -> Direction:
    """The gradient of the mean loss, as it is: coordinate -η is a step of gradient descent with learning rate η.

    Args:
        objective: whose loss.
        params: the point; by default the origin.

    Returns:
        Tensors by name: all that can be trained.

    Raises:
        SpecError: the gradient is zero, or the loss cannot be differentiated.

    Example:
        >>> from torch import nn
        >>> objective = Objective(
        ...     nn.Linear(1, 1, bias=False), (torch.ones(2, 1), torch.zeros(2, 1)), nn.functional.mse_loss
        ... )
        >>> point = {"weight": torch.tensor([[3.0]])}
        >>> gradient(objective, point)["weight"].item()
        6.0
    """
    found = Matrix(objective, params).gradient()
    if norm(found) == 0:
        raise SpecError("gradient: it is zero here, so it leads nowhere; choose another point or another direction")
    return Direction(found, f"gradient, of norm {norm(found):.3g}")


def eigen(
    source: Objective | Eigen,
    params: Parameters | None = None,
    *,
    which: Which = "largest",
    index: int = 0,
    length: float = 1.0,
    **options: Any,
) -> Direction:
    r"""An eigenvector of the Hessian: along it the surface has the curvature :math:`λ`.

    It is not normalised by filter, since it would no longer be an eigenvector: coordinates are distances in parameter
    space divided by ``length``.

    Args:
        source: an Objective, or what :func:`lossatlas.eigenvalues` found.
        params: the point, for an Objective; by default its origin.
        which: ``"largest"`` or ``"smallest"`` eigenvalue.
        index: 0 for the outermost one, 1 for the next.
        length: norm of the direction.
        **options: of :func:`lossatlas.eigenvalues`, for an Objective.

    Returns:
        Tensors by name.

    Raises:
        SpecError: a word is unknown, an eigenvector was not computed, or the source is of another kind.

    Example:
        >>> from torch import nn
        >>> x, y = torch.diag(torch.tensor([3.0, 1.0])), torch.zeros(2, 1)
        >>> objective = Objective(nn.Linear(2, 1, bias=False), (x, y), nn.functional.mse_loss)
        >>> direction = eigen(objective)
        >>> direction.label, direction["weight"].abs().round().tolist()
        ('eigenvector of λmax = 9', [[1.0, 0.0]])
    """
    if which not in get_args(Which):
        raise SpecError(unknown("which", which, get_args(Which)))
    check_whole("index", index, 0)
    check_number("length", length)
    if isinstance(source, Objective):
        source = eigenvalues(source, params, **{"k": index + 1, **options})
    if not isinstance(source, Eigen):
        raise SpecError(f"source is {described_type(source)}; expected an Objective or a result of eigenvalues")
    if not 0 <= index < len(source.values):
        raise SpecError(
            f"index={index}; {len(source.values)} eigenvectors were computed: ask eigenvalues for a larger k"
        )
    place = index if which == "smallest" else len(source.values) - 1 - index
    name = "λmin" if which == "smallest" else "λmax"
    label = f"eigenvector of {name if index == 0 else f'λ ({index + 1} from {name})'} = {source.values[place]:.3g}"
    if not source.converged[place]:
        label += f", residual {source.residuals[place]:.2g}"
    return Direction({key: length * tensor for key, tensor in source.vectors[place].items()}, label)


def worst(
    objective: Objective,
    *,
    radius: float = 0.1,
    steps: int = 20,
    seed: int = 0,
    by: By = "filter",
    still: Iterable[str] = STILL,
) -> dict[str, Tensor]:
    r"""The normalised direction that raises the loss most at a given radius, as far as projected ascent can find it.

    With N the normalisation and ρ the radius, :math:`d ← N(d + η_t N(∇L(θ_0 + ρ d)))`, from a random start, η falling
    from 1 to 0.1. Since N fixes the norm of every filter, N(g) is the step that raises a linear function most. The best
    direction visited is kept; it is only a lower bound on the worst case.

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
        SpecError: the radius or the number of steps is not positive, the model is moved in place, the loss is a sum
            over samples, or it is not finite at the radius.

    Example:
        >>> from torch import nn
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> layer.weight.data = torch.tensor([[3.0, 4.0]])
        >>> x = torch.tensor([[1.0, 0.0]] * 4)
        >>> objective = Objective(layer, (x, layer(x).detach()), nn.functional.mse_loss)
        >>> worst(objective)["weight"].abs().round().tolist()
        [[5.0, 0.0]]
    """
    if not radius > 0 or steps < 1:
        raise SpecError(f"radius={radius}, steps={steps}; expected a positive radius and at least one step")
    check_objective(objective)
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
        means.check(objective)
        self._shares = objective.shares()

    def at(self, direction: Parameters, radius: float) -> tuple[float, dict[str, Tensor]]:
        objective = self._objective
        moved = [self._places[name] for name in direction]
        with torch.no_grad():
            for name, place in self._places.items():
                place.requires_grad_(name in direction or (objective.autograd and place.requires_grad))
                step = [(radius, direction[name])] if name in direction else []
                place.copy_(combine(objective.origin[name], step))
        total = 0.0
        sums: list[Tensor] = [torch.zeros_like(place) for place in moved]
        with objective.batches.seeded(0), differentiated():
            for share, batch in zip(self._shares, objective.batches, strict=True):
                if not share:  # a batch whose targets are all ignored has no loss
                    continue
                loss = objective.parts(batch, self._model)[0].mean
                if not bool(torch.isfinite(loss)):
                    raise SpecError(
                        f"the loss of a batch is {float(loss.detach())} near the origin; take a smaller radius"
                    )
                found = torch.autograd.grad(loss, moved, allow_unused=True)
                total += share * float(loss.detach())
                for gathered, part in zip(sums, found, strict=True):
                    if part is not None:
                        gathered.add_(part, alpha=share)
        return total, dict(zip(direction, sums, strict=True))
