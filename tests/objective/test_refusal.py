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


def _moved(objective):
    return {name: tensor + 1 for name, tensor in objective.origin.items()}


FIRST_CALLS = {
    "sample": lambda o: la.sample(o, la.Plane.random(o, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))),
    "eigenvalues": la.eigenvalues,
    "trace": la.trace,
    "density": la.spectral_density,
    "map": lambda o: la.curvature_map(o, la.Plane.random(o, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))),
    "connect": lambda o: la.connect(o, o.origin, _moved(o)),
    "interpolate": lambda o: la.interpolate(o, o.origin, _moved(o)),
    "llc": la.llc,
    "quantise": la.quantise,
    **{
        name: getattr(la.sharpness, name)
        for name in ("critical", "fisher_rao", "input_margin", "lpf", "profile", "sam")
    },
}


@pytest.mark.parametrize("call", FIRST_CALLS)
@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (nn.Linear(3, 2), {"forward": lambda model: (1, 2)}, "forward= cannot take a batch of data"),
        (nn.Linear(3, 2), {"forward": lambda model, batch: (model(batch), 1)}, "forward= cannot take a batch of data"),
        (nn.Linear(4, 2), {}, "model Linear cannot take a batch of data"),
        (nn.Linear(3, 2), {"loss": lambda outputs, targets: outputs.nothing}, "cannot take what the model returns"),
    ],
    ids=["arguments", "tuple", "shape", "loss"],
)
def test_whatever_is_called_first_says_what_cannot_take_the_data(call, model, options, words):
    data = torch.randn(8, 3), torch.randint(0, 2, (8,))
    objective = la.Objective(model, data, **{"loss": F.cross_entropy} | options)
    with pytest.raises(la.SpecError, match=words):
        FIRST_CALLS[call](objective)


def test_a_table_of_nothing_says_why():
    data = torch.randn(8, 3), torch.randint(0, 2, (8,))
    found = la.sharpness.table({"a": la.Objective(nn.Linear(4, 2), data, F.cross_entropy)}, ["trace"])
    assert "not measured: a: model Linear cannot take a batch of data" in repr(found)
