"""Are derivatives through torch.utils.checkpoint whole, or refused where they would not be?"""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import CheckpointFunction, checkpoint

import lossatlas as la
from lossatlas.errors import SpecError
from lossatlas.objective.reentrant import differentiated

DATA = torch.randn(20, 4, generator=torch.Generator().manual_seed(1)), torch.arange(20) % 3


class Net(nn.Module):
    """The first layer below a checkpoint: its input is the data, by which nothing is differentiated."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.reentrant = nn.Linear(4, 8), nn.Linear(8, 3), reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.reentrant is None:
            return self.b(self.a(x).tanh())
        return self.b(checkpoint(lambda t: self.a(t).tanh(), x, use_reentrant=self.reentrant))


def objective(reentrant: bool | None, **how) -> la.Objective:
    return la.Objective(Net(reentrant), DATA, F.cross_entropy, **how)


ASKED = {
    "gradient": lambda o: la.directions.gradient(o),
    "eigenvalues": lambda o: la.eigenvalues(o, k=1),
    "trace": lambda o: la.trace(o),
    "worst": lambda o: la.directions.worst(o, steps=1),
    "inputs": lambda o: la.InputPlane.adversarial(o, examples=range(3)),
    "llc": lambda o: la.llc(o, chains=2, draws=20),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", ASKED)
def test_a_reentrant_checkpoint_is_refused_wherever_derivatives_are_taken(what):
    with pytest.raises(SpecError, match="use_reentrant=False"):
        ASKED[what](objective(True))
    assert "apply" not in vars(CheckpointFunction)


@pytest.mark.filterwarnings("ignore")
def test_values_need_no_derivatives_and_are_those_without_a_checkpoint():
    grid = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    found = [la.sample(o := objective(how), la.Plane.random(o), grid)["loss"].values for how in (None, False, True)]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-6)


def test_derivatives_through_the_other_kind_are_those_without_a_checkpoint():
    plain, other = (la.eigenvalues(objective(how), k=1).values for how in (None, False))
    np.testing.assert_allclose(other, plain, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_another_thread_that_trains_meanwhile_is_left_alone():
    found: list[object] = []

    def trains() -> None:
        net = Net(True)
        F.cross_entropy(net(DATA[0].requires_grad_(True)), DATA[1]).backward()
        found.append(net.a.weight.grad.norm())

    with differentiated():
        thread = threading.Thread(target=trains)
        thread.start()
        thread.join()
    assert float(found[0]) > 0


class Words(nn.Module):
    def __init__(self, function, scaled: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.function, self.scaled = function, scaled
        self.table, self.out = nn.Parameter(torch.randn(3, 8)), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.function(x, self.table, scale_grad_by_freq=self.scaled)
        return self.out(found.mean(dim=1) if found.dim() == 3 else found)


@pytest.mark.parametrize("function", [F.embedding, F.embedding_bag])
def test_an_embedding_whose_gradients_are_scaled_has_those_of_the_loss(function):
    words = torch.tensor([[0, 0, 1], [2, 0, 0], [1, 1, 1], [0, 2, 0]]), torch.tensor([0, 1, 2, 0])
    whole, scaled = (la.Objective(Words(function, how), words, F.cross_entropy) for how in (False, True))
    one, other = la.directions.gradient(whole), la.directions.gradient(scaled)
    assert all(torch.equal(one[name], other[name]) for name in one)
    if function is F.embedding:  # the other one has no second derivative
        np.testing.assert_allclose(la.eigenvalues(scaled, k=1).values, la.eigenvalues(whole, k=1).values, rtol=1e-6)
    assert torch.embedding.__class__.__name__ == "builtin_function_or_method"
