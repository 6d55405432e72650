"""Where is a curvature taken? At the model's own weights at the origin, without a copy, and at copies elsewhere."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.objective import Objective, batchnorm, private
from lossatlas.objective.refusal import asked
from lossatlas.space.parameters import Parameters

__all__ = ["Stand"]

_PLAIN = (Tensor, nn.Parameter)


class Stand:
    """A model at a point, with weights that can be differentiated with respect to.

    Args:
        objective: whose model.
        names: the tensors with respect to which derivatives are taken.

    Attributes:
        model: of the same structure as the objective's; where its weights are at the origin they share memory with
            those of the user's model, which nothing here writes to.
        moved: the tensors with respect to which derivatives are taken.
    """

    def __init__(self, objective: Objective, names: Sequence[str]) -> None:
        self._origin: Mapping[str, Tensor] = objective.origin
        self._shareable = _shareable(objective)
        shared = {
            id(tensor): nn.Parameter(self._origin[name], requires_grad=tensor.requires_grad)
            for name, tensor in objective.private.named_parameters()
            if name in self._shareable
        }
        self.model = copy.deepcopy(objective.private, shared).train(objective.training)
        parts = {**dict(self.model.named_parameters()), **batchnorm.statistics(self.model)}
        self._places = {name: parts[name] for name in objective.origin}
        self._shared = set(self._shareable)
        for name in names:
            self._places[name].requires_grad_(True)
        self.moved = [self._places[name] for name in names]

    def move(self, params: Parameters) -> None:
        """Go to another point; names left out are at the origin.

        Raises:
            SpecError: a tensor has another shape.
        """
        with torch.no_grad():
            for name, place in self._places.items():
                home = self._origin[name]
                given = params.get(name, home)
                if given.shape != place.shape:
                    raise SpecError(f"params[{name!r}] has shape {tuple(given.shape)}; expected {tuple(place.shape)}")
                if name in self._shareable and private.same_memory(given, home):
                    place.data = home
                    self._shared.add(name)
                elif name in self._shared:
                    place.data = given.detach().to(place, copy=True)
                    self._shared.discard(name)
                else:
                    place.copy_(given)

    @contextlib.contextmanager
    def shifted(self, parts: Sequence[Tensor], where: Sequence[int], length: float) -> Iterator[None]:
        """Some tensors moved along a vector inside the block, and moved back after it."""
        places = [self.moved[place] for place in where]
        before = [place.data for place in places]
        try:
            for place, part in zip(places, parts, strict=True):
                place.data = torch.add(place.data, part, alpha=length)
            yield
        finally:
            for place, home in zip(places, before, strict=True):
                place.data = home


def _shareable(objective: Objective) -> set[str]:
    """Which weights may share memory with the user's model: ordinary ones on the device, which no forward writes to."""
    places = objective.places
    if any(type(tensor) not in _PLAIN for tensor in places.values()):
        return set()
    before = {name: tensor._version for name, tensor in places.items()}
    mode = torch.enable_grad() if objective.autograd else torch.no_grad()
    with asked(objective), objective.posed(), objective.batches.seeded(0), torch.inference_mode(False), mode:
        objective.forward(objective.private, next(iter(objective.batches)))
    named = dict(objective.private.named_parameters())
    return {
        name
        for name, home in objective.origin.items()
        if name in named and home.device == places[name].device and places[name]._version == before[name]
    }
