"""Is an argument an objective, or a point of it, and how are these made?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, described_type
from lossatlas.objective.function import Function
from lossatlas.objective.objective import Objective

__all__ = ["check_measurable", "check_objective", "check_params", "check_tensors"]

MADE = "a lossatlas.Objective, made as la.Objective(model, data, loss=torch.nn.functional.cross_entropy)"


def check_objective(objective: Any, argument: str = "objective") -> None:
    """Check that an argument is an Objective.

    Raises:
        SpecError: it is something else, such as a model; the message says how an Objective is made.
    """
    check_kind(argument, objective, Objective, MADE)


def check_measurable(objective: Any, argument: str = "objective") -> None:
    """Check that an argument is an Objective or a Function.

    Raises:
        SpecError: it is something else; the message says how each is made.
    """
    function = "or a lossatlas.Function of arrays, la.Function(loss, parameters)"
    check_kind(argument, objective, (Objective, Function), f"{MADE}, {function}")


def check_params(params: Any, argument: str = "params") -> None:
    """Check that an argument is a point: tensors by name, or nothing.

    Raises:
        SpecError: it is something else; the message says how the tensors of a model are given.
    """
    if params is not None:
        check_tensors(argument, params)


def check_tensors(argument: str, got: Any) -> None:
    """Check that an argument is tensors by name.

    Raises:
        SpecError: it is something else, or holds something else.
    """
    how = "; for a model: dict(model.named_parameters())" if isinstance(got, nn.Module) else ""
    if not isinstance(got, Mapping):
        raise SpecError(f"{argument} is {described_type(got)}; expected tensors by name{how}")
    if isinstance(got, dict):  # any other mapping makes its tensors on demand
        for name, tensor in got.items():
            check_kind(f"{argument}[{name!r}]", tensor, Tensor, "a tensor")
