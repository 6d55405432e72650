"""What is said where model, forward or loss cannot take a batch?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import SpecError
from lossatlas.objective.refusal import named

X, Y = torch.zeros(5, 4), torch.tensor([0, 1, 2, 0, 1])


def refused(data: object, *, loss: object = F.cross_entropy, model: nn.Module | None = None, **options: object) -> str:
    objective = la.Objective(model or nn.Linear(4, 3), data, loss=loss, **options)
    with pytest.raises(SpecError) as fault:
        la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
    return str(fault.value)


def test_a_dictionary_with_other_keys_is_told_the_forward_to_write():
    batches = [{"image": X, "label": Y}]
    said = refused(batches)
    assert "{'image': float32 [5, 4], 'label': int64 [5] from 0 to 2}" in said
    assert "forward(input)" in said
    written = said.partition("pass forward=")[2]
    objective = la.Objective(nn.Linear(4, 3), batches, loss=F.cross_entropy, forward=eval(written))
    assert objective.samples == 5
    assert objective()["loss"] > 0


def test_inputs_of_the_wrong_shape_are_shown_beside_what_the_model_said():
    said = refused((torch.zeros(5, 7), Y))
    assert said.startswith("model Linear cannot take a batch of data: RuntimeError: mat1 and mat2")
    assert "(float32 [5, 7], int64 [5] from 0 to 2)" in said


def test_a_label_beyond_the_classes_is_told_by_the_range_of_the_targets():
    said = refused((X, Y + 1))
    assert said.startswith("loss cross_entropy cannot take")
    assert "Outputs are float32 [5, 3], targets int64 [5] from 1 to 3" in said


def test_a_fault_in_the_users_own_forward_is_told_with_its_line():
    def forward(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        raise KeyError("pixels")

    said = refused((X, Y), forward=forward)
    line = forward.__code__.co_firstlineno + 1
    assert said.startswith("forward= cannot take a batch of data: KeyError: 'pixels'")
    assert f"test_refusal.py, line {line})" in said


def test_running_out_of_memory_stays_what_it_is():
    class Full(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("no room")

    objective = la.Objective(Full(4, 3), (X, Y), loss=F.cross_entropy)
    with pytest.raises(torch.OutOfMemoryError):
        _ = objective.samples


def test_a_loss_that_takes_derivatives_is_still_told_of_autograd():
    def slope(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(outputs.sum(), outputs)[0].square().mean(1)

    assert "pass autograd=True" in refused((X, Y), loss=slope)


@pytest.mark.parametrize(
    "strange",
    [
        torch.zeros(2, 3, dtype=torch.uint16),
        torch.eye(3, dtype=torch.int64).to_sparse(),
        torch.eye(3, dtype=torch.int64).to_sparse_csr(),
        torch.zeros(2, dtype=torch.int64, device="meta"),
        torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    ],
    ids=["uint16", "sparse", "csr", "meta", "nested"],
)
def test_what_has_no_range_or_no_shape_is_named_without_it(strange):
    assert named(strange).split()[0] == str(strange.dtype).removeprefix("torch.")
    assert "from" not in named(strange)


def test_a_batch_of_a_format_without_a_smallest_number_is_still_told():
    assert "A batch is (uint16 [5, 4], int64 [5] from 0 to 2)" in refused((X.to(torch.uint16), Y))


def test_a_line_of_the_user_is_named_also_in_a_folder_called_lossatlas():
    file, own = "/home/me/lossatlas/train.py", {"__name__": "train"}
    exec(compile("def loss(outputs, targets):\n    raise ValueError('no')", file, "exec"), own)
    objective = la.Objective(nn.Linear(2, 1), (torch.ones(4, 2), torch.zeros(4, 1)), own["loss"])
    with pytest.raises(la.SpecError, match=f"{file}, line 2"):
        objective()
