"""How is the loss around a point evaluated, as a function of one vector, and how often was it?"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

from lossatlas.curvature.products import Matrix
from lossatlas.errors import SpecError
from lossatlas.expected import check_whole
from lossatlas.objective import Objective, means
from lossatlas.objective.given import check_objective, check_params
from lossatlas.objective.part import taken
from lossatlas.space import directions, filters
from lossatlas.space.normalize import By, scaled_to
from lossatlas.space.parameters import Parameters

__all__ = ["Ground", "groups", "mean_and_error", "moved_copy"]


class Ground:
    """The surroundings of a point: loss and gradient at a step away, all trainable tensors as one vector.

    Args:
        objective: whose loss.
        params: the point; names left out are at the origin.

    Attributes:
        home: the point, float64 [n].
        base: the point as tensors by name.
        evaluations: of the loss so far, in passes over all samples.
        gradients: likewise.

    Raises:
        SpecError: nothing can be trained, or the loss is not finite at the point.
    """

    def __init__(self, objective: Objective, params: Parameters | None) -> None:
        check_objective(objective)
        check_params(params)
        self.objective = objective
        self.base = {**objective.origin, **(params or {})}
        self.matrix = Matrix(objective, self.base)
        self.home = self.matrix.joined(self.base)
        self.evaluations = 0.0
        self.gradients = 0.0
        self.height = self.loss()
        if not math.isfinite(self.height):
            raise SpecError(f"the loss is {self.height} at this point; its sharpness means nothing")

    def loss(self, step: Tensor | None = None) -> float:
        """The loss a step away, float64 [n]."""
        self.evaluations += 1
        return self.objective(self.point(step))["loss"]

    def gradient(self, step: Tensor | None = None) -> Tensor:
        """The gradient a step away, float64 [n]."""
        self.gradients += 1
        self.matrix.move(self.point(step))
        found = self.matrix.joined(self.matrix.gradient())
        if not bool(torch.isfinite(found).all()):
            raise SpecError("the gradient is not finite near this point; take a smaller neighbourhood")
        return found

    def point(self, step: Tensor | None) -> dict[str, Tensor]:
        """The parameters a step away."""
        return self.base if step is None else {**self.base, **self.matrix.named(self.home + step)}

    def draw(self, seed: int, number: int, by: By = "none", still: tuple[str, ...] = ()) -> Tensor:
        """A Gaussian vector, scaled to the weights of the point, float64 [n]; the same for the same tensors' names."""
        raw = directions.random(self.objective, seed=seed, stream=f"draw {number}", by="none", still=still)
        rows = filters.table(self.objective.model)
        scaled = {n: scaled_to(p, self.base[n], rows[n].layout, by, rows[n].through) for n, p in raw.items()}
        return self.matrix.joined(scaled)

    def sizes(self, by: By) -> Tensor:
        """The size that belongs to each weight, float64 [n]: its own ("weight"), its filter's, or 1 ("none")."""
        if by == "weight":
            return self.home.abs()
        if by == "none":
            return torch.ones_like(self.home)
        rows = filters.table(self.objective.model)
        found = {}
        for name in self.matrix.names:
            layout = rows[name].layout
            norms = layout.norms(self.base[name]).expand(layout.shape)
            found[name] = norms.reshape(self.base[name].shape)
        return self.matrix.joined(found)


def groups(objective: Objective, size: int | None, seed: int) -> list[Objective]:
    """The objective on groups of a given size, drawn without replacement; without a size, the whole objective.

    Returns:
        An objective for each group.

    Raises:
        SpecError: a size that is not a number of samples, or a loss that is a sum over them.
    """
    check_objective(objective)
    if size is None:
        return [objective]
    check_whole("m", size)
    if not 1 <= size <= objective.samples:
        raise SpecError(f"m={size}; expected a number of samples from 1 to {objective.samples}, or None for all")
    means.check(objective)
    order = np.random.default_rng(seed).permutation(objective.samples)
    return [taken(objective, np.sort(part)) for part in np.split(order, range(size, objective.samples, size))]


def moved_copy(ground: Ground) -> nn.Module:
    """A copy of the model at the point, with gradients for the tensors that can be trained."""
    model = copy.deepcopy(ground.objective.private)
    with torch.no_grad():
        for name, place in model.named_parameters():
            place.copy_(ground.base[name])
    autograd = ground.objective.autograd
    for name, place in model.named_parameters():
        place.requires_grad_(name in ground.matrix.names or (autograd and place.requires_grad))
    return model


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """The mean of some draws and its standard error.

    Returns:
        The mean and its standard error; the error of a single draw is NaN.

    Example:
        >>> mean_and_error([1.0, 3.0])
        (2.0, 1.0)
    """
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(np.mean(values)), spread
