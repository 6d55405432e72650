"""Are the formats that a reference names those of the model, its data and its operations, and no others?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.evaluate.rounding import Arithmetic, Reference


class Short(nn.Module):
    """A linear layer in single precision, whose output is rounded to bfloat16 on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 1)

    def forward(self, x):
        return self.inner(x).bfloat16().float()


def test_every_format_that_goes_in_or_comes_out_is_noted_and_whole_numbers_are_not() -> None:
    x = torch.ones(2, dtype=torch.float16)
    with Arithmetic() as arithmetic:
        (x.bfloat16() + 1).long() + 1
    assert arithmetic.formats == {"float16", "bfloat16"}


@pytest.mark.parametrize("wide", [False, True])
def test_a_reference_names_the_formats_of_the_model_before_and_those_of_its_operations_after_a_loss(wide) -> None:
    objective = la.Objective(Short(), (torch.ones(4, 3), torch.zeros(4, 1)), F.mse_loss)
    reference = Reference(objective, la.Plane.random(objective, seed=0), wide=wide)
    assert reference.formats == {"float32"}
    reference.loss({"x": 0.0, "y": 0.0})
    assert reference.formats == {"float32", "bfloat16"}
