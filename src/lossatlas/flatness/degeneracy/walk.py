r"""How does a chain walk in the posterior around a point? Stochastic-gradient Langevin dynamics on any objective.

The distribution is :math:`p(w) ∝ \exp(-nβ L(w) - \tfrac{γ}{2} ‖w - w^*‖^2)`, and a step of size ε

.. math:: w ← w - \tfrac{ε}{2} \big(nβ ∇L_b(w) + γ (w - w^*)\big) + \sqrt{ε}\, ξ

with :math:`L_b` the mean loss of a batch (Welling and Teh 2011; with the pull γ, Lau et al. 2023, arXiv 2308.12108).
With ξ the mean of two neighbouring normal draws, :math:`(ζ_t + ζ_{t+1}) / 2` (Leimkuhler and Matthews 2013, arXiv
1203.5428), the variance on a quadratic is exact at every stable step instead of too large.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Generator, Iterable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError, unknown
from lossatlas.objective import Objective, batchnorm, means
from lossatlas.objective.given import check_objective, check_params
from lossatlas.objective.reentrant import differentiated
from lossatlas.objective.refusal import asked
from lossatlas.space import filters
from lossatlas.space.filters.selection import matching
from lossatlas.space.parameters import Parameters

__all__ = ["GRADIENTS", "Chain", "Gradient", "Posterior", "walk"]

Gradient = Literal["batch", "full"]
GRADIENTS = ("batch", "full")

FAR = 1e6
"""nβ times the rise, over the number of parameters, at which a chain counts as lost."""


class Posterior:
    """The neighbourhood of a point as a chain sees it: loss and gradient of a batch, of all tensors that move.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        only: patterns of names of the tensors that move; by default all that can be trained.
        gradient: ``"batch"``: each step sees one of the objective's batches, drawn by its weight; ``"full"``: all.

    Attributes:
        names: the tensors that move.
        size: number of parameters d.
        samples: n.
        home: the point, one vector.
        floors: float64 [batches], the loss of each batch at the point.
        shares: float64 [batches], the weight of each.

    Raises:
        SpecError: nothing can move, a recalibrated BatchNorm, a loss that is not a mean, or one that is not finite.
    """

    def __init__(
        self,
        objective: Objective,
        params: Parameters | None = None,
        *,
        only: str | Iterable[str] = (),
        gradient: Gradient = "batch",
    ) -> None:
        check_objective(objective)
        check_params(params)
        if gradient not in GRADIENTS:
            raise SpecError(unknown("gradient", gradient, GRADIENTS))
        if objective.batchnorm == "recalibrated":
            raise SpecError("batchnorm='recalibrated': a chain needs frozen statistics; use 'frozen'")
        means.check(objective)
        self.objective = objective
        self.full = gradient == "full"
        table = filters.table(objective.model)
        wanted = set(matching(table, only)) if only else set(table)
        self.names = [n for n, row in table.items() if n in wanted and n in objective.origin and row.moves(())]
        if not self.names:
            raise SpecError(f"only={only!r}: no trainable tensor is left; unfreeze the model, or name others")
        self._model = copy.deepcopy(objective.private).train(objective.training)
        places = dict(self._model.named_parameters())
        self.base = {**objective.origin, **(params or {})}
        with torch.no_grad():
            for name, place in {**places, **batchnorm.statistics(self._model)}.items():
                if name in self.base:
                    place.copy_(self.base[name])
        for name, place in places.items():
            place.requires_grad_(name in self.names or (objective.autograd and place.requires_grad))
        self._places = [places[name] for name in self.names]
        self._check_format()
        self.size = sum(place.numel() for place in self._places)
        self.samples = objective.samples
        self.shares = np.asarray(objective.shares(), np.float64)
        self._held = list(objective.batches) if objective.batches.kept else None
        self.home = torch.cat([place.detach().reshape(-1).clone() for place in self._places])
        self.floors = np.array([self._loss(batch)[0] for batch in objective.batches])
        if not np.isfinite(self.floors).all():
            raise SpecError("the loss is not finite at this point; a chain has nowhere to begin")

    def _check_format(self) -> None:
        kinds = {place.dtype for place in self._places}
        if bad := [kind for kind in kinds if kind not in (torch.float32, torch.float64)]:
            raise SpecError(
                f"parameters are {str(bad[0]).removeprefix('torch.')}: a step of a chain would be lost to rounding "
                "there; give the model in float32 (model.float(), or --dtype float32)"
            )

    def batches(self, rng: np.random.Generator) -> Generator[tuple[int, Any]]:
        """Batches with their numbers, endlessly: drawn by weight, or in order if the data are not kept.

        Yields:
            The number, and the batch.
        """
        while self._held is not None:
            for number in rng.choice(len(self.shares), 256, p=self.shares).tolist():
                yield number, self._held[number]
        while True:
            for number, batch in enumerate(self.objective.batches):
                if self.shares[number]:
                    yield number, batch

    def slope(self, at: Tensor, batch: tuple[int, Any] | None) -> tuple[float, Tensor]:
        """How much the loss has risen since the point, and the gradient: of a batch, or of all.

        Args:
            at: where, [d].
            batch: number and batch; ``None`` for all.

        Returns:
            The rise, and [d].
        """
        self._move(at)
        if batch is not None:
            loss, parts = self._loss(batch[1], slope=True)
            return loss - float(self.floors[batch[0]]), torch.cat([part.reshape(-1) for part in parts])
        total, rise = torch.zeros_like(at), 0.0
        for number, one in enumerate(self._held if self._held is not None else self.objective.batches):
            if share := float(self.shares[number]):
                loss, parts = self._loss(one, slope=True)
                rise += share * (loss - float(self.floors[number]))
                total += share * torch.cat([part.reshape(-1) for part in parts])
        return rise, total

    def point(self, at: Tensor) -> dict[str, Tensor]:
        """A vector as tensors by name, all others at the point."""
        return {**self.base, **self.parts(at)}

    def parts(self, at: Tensor) -> dict[str, Tensor]:
        """A vector [d] as the tensors that move, by name."""
        parts = torch.split(at, [place.numel() for place in self._places])
        return {n: p.reshape(place.shape) for n, p, place in zip(self.names, parts, self._places, strict=True)}

    def _move(self, at: Tensor) -> None:
        parts = torch.split(at, [place.numel() for place in self._places])
        with torch.no_grad():
            for place, part in zip(self._places, parts, strict=True):
                place.copy_(part.reshape(place.shape))

    def _loss(self, batch: Any, *, slope: bool = False) -> tuple[float, tuple[Tensor, ...]]:
        with asked(self.objective), differentiated():
            outputs, targets = self.objective.forward(self._model, batch)
            part = self.objective.loss_part(outputs, targets, batch, weighing=self.objective.weighing)
            if not slope:
                return float(part.mean.detach()), ()
            if not part.mean.requires_grad:
                raise SpecError(
                    "the loss has no derivative with respect to any tensor that moves; a chain follows its gradient"
                )
            found = torch.autograd.grad(part.mean, self._places, allow_unused=True)
        zeros = (torch.zeros_like(place) if g is None else g for g, place in zip(found, self._places, strict=True))
        return float(part.mean.detach()), tuple(zeros)


class Chain:
    """What one walk saw.

    Attributes:
        rises: float64 [steps], by how much the loss of the batch of each step lies above that of the same batch at the
            point.
        distances: float64 [steps], the squared distance from the point.
        end: where it ended, [d].
        far: where it was farthest from the point, [d].
        lost: the step at which it left every neighbourhood, or ``None``.
    """

    def __init__(self, steps: int, home: Tensor) -> None:
        self.rises = np.full(steps, np.nan)
        self.distances = np.full(steps, np.nan)
        self.end = self.far = home
        self.lost: int | None = None


def walk(
    posterior: Posterior,
    *,
    steps: int,
    step: float,
    nbeta: float,
    gamma: float,
    averaged: bool = True,
    seed: tuple[int, ...] = (0,),
    told: Callable[[], object] | None = None,
) -> Chain:
    """Walk from the point.

    Args:
        posterior: where.
        steps: how many.
        step: size ε.
        nbeta: nβ.
        gamma: the pull γ towards the point.
        averaged: take the mean of two neighbouring normal draws for the noise.
        seed: of the noise and of the order of the batches.
        told: called after each step, for a progress bar.

    Returns:
        What it saw; after it was lost, NaN.
    """
    chain, at = Chain(steps, posterior.home), posterior.home.clone()
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))

    def normal() -> Tensor:
        return torch.randn(posterior.size, generator=generator, dtype=at.dtype).to(at.device)

    last, farthest = normal(), 0.0
    with (
        posterior.objective.batches.seeded(int(rng.integers(2**31))),
        contextlib.closing(posterior.batches(rng)) as stream,
    ):
        for number in range(steps):
            rise, slope = posterior.slope(at, None if posterior.full else next(stream))
            away = at - posterior.home
            chain.rises[number], chain.distances[number] = rise, float(away.double().square().sum())
            if chain.distances[number] > farthest:
                farthest, chain.far = float(chain.distances[number]), at
            if not math.isfinite(rise) or abs(nbeta * rise) > FAR * posterior.size:
                chain.lost = number
                chain.rises[number:] = chain.distances[number:] = np.nan
                break
            noise = normal()
            shake = (last + noise) / 2 if averaged else noise
            at = at - step / 2 * (nbeta * slope + gamma * away) + math.sqrt(step) * shake
            last = noise
            if told is not None:
                told()
    chain.end = at
    return chain
