"""Is a ``forward=`` that returns no pair told so, wherever it is called first?"""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.errors import SpecError
from lossatlas.objective import calling, language
from lossatlas.objective.paired import Paired, checked_forward
from lossatlas.sampling.provenance import code_identity

DATA = [(torch.randn(8, 3), torch.randint(2, (8,)))]

RETURNED = {
    "float32 [8, 2]": lambda model, batch: model(batch[0]),
    "float32 []": lambda model, batch: cross_entropy(model(batch[0]), batch[1]),
    "float32 [2, 2]": lambda model, batch: model(batch[0][:2]),  # two rows pass for a pair
    "nothing": lambda model, batch: None,
    "3 values, (float32 [8, 2], int64": lambda model, batch: (model(batch[0]), batch[1], 1),
    "{'outputs': float32 [8, 2]": lambda model, batch: {"outputs": model(batch[0]), "targets": batch[1]},
    "a str": lambda model, batch: "ab",
    "an int": lambda model, batch: 1,
}


@pytest.mark.parametrize("got", RETURNED)
@pytest.mark.parametrize("loss", [cross_entropy, None])
def test_what_is_no_pair_is_named_and_a_pair_is_shown(got, loss):
    objective = la.Objective(torch.nn.Linear(3, 2), DATA, loss, forward=RETURNED[got])
    with pytest.raises(SpecError) as said:
        objective()
    assert str(said.value).startswith(f"forward= returned {got}")
    assert "expected a pair (outputs, targets), such as forward=lambda model, batch" in str(said.value)


@pytest.mark.parametrize(
    "measure",
    [
        lambda objective: la.eigenvalues(objective, k=1),
        lambda objective: la.trace(objective, probes=2),
        lambda objective: la.sharpness.sam(objective),
        lambda objective: la.sample(objective, la.Plane.random(objective, axes=("x",)), la.Grid(x=(-1, 1, 3))),
    ],
)
def test_so_it_is_wherever_it_is_called_first(measure):
    objective = la.Objective(torch.nn.Linear(3, 2), DATA, cross_entropy, forward=RETURNED["float32 [2, 2]"])
    with pytest.raises(SpecError, match="forward= returned float32"):
        measure(objective)


def test_a_pair_may_be_a_list_and_is_what_it_was():
    found = Paired(lambda model, batch: [batch, 1])(torch.nn.Identity(), 0)
    assert found == (0, 1)


def test_ways_of_our_own_are_called_as_they_are_and_a_function_keeps_its_identity():
    assert checked_forward(None) is checked_forward(calling.forward) is calling.forward
    own = language.Forward()
    assert checked_forward(own) is own
    function = RETURNED["nothing"]
    once = checked_forward(function)
    assert checked_forward(once) is once
    net = torch.nn.Linear(3, 2)

    def forward(model, batch):
        return model(batch[0]), batch[1]

    objective = la.Objective(net, DATA, cross_entropy, forward=forward)
    watched = code_identity(objective)
    objective.forward = forward
    assert code_identity(objective) == watched
