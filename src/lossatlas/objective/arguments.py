"""Do the arguments of an Objective make sense, and what are the defaults?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, described_type
from lossatlas.objective import reduction
from lossatlas.results.naming import check_names

__all__ = ["check_callables", "checked_metrics", "checked_params", "data_name", "device_of"]


def checked_metrics(metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    """Metrics by name.

    Args:
        metrics: as given.

    Returns:
        The same, as a dictionary.

    Raises:
        SpecError: a name is taken or invalid, a metric is not callable, or a derived number follows from nothing that
            is measured.
    """
    given = {} if metrics is None else metrics
    check_kind("metrics", given, Mapping, 'callables by name, such as {"error": la.metrics.error}')
    checked = dict(given)
    for name, metric in checked.items():
        check_kind("metrics: a name", name, str, "an identifier, such as 'error'")
        if name == "loss" or not name.isidentifier():
            raise SpecError(f"metrics: {name!r} cannot name a metric; choose an identifier other than loss")
        check_names("metrics", [name])
        if not callable(metric):
            raise SpecError(f"metrics[{name!r}] is {described_type(metric)}; expected a callable (outputs, targets)")
        if isinstance(metric, reduction.Derived) and (
            isinstance(checked.get(metric.of), reduction.Derived) or metric.of not in ("loss", *checked)
        ):
            raise SpecError(f"metrics[{name!r}] is derived from {metric.of!r}, which is not measured")
    return checked


def check_callables(model: Any, loss: Any, forward: Any) -> None:
    """Check that a model is one, and that a loss and a forward are callables or left out.

    Raises:
        SpecError: one of them is something else, such as a name or a class of losses.
    """
    check_kind("model", model, nn.Module, "a torch.nn.Module")
    if isinstance(loss, type) and issubclass(loss, nn.Module):
        raise SpecError(f"loss is {described_type(loss)}; expected a callable (outputs, targets): {loss.__name__}()")
    if loss is not None and not callable(loss):
        raise SpecError(
            f"loss is {described_type(loss)}; expected a callable (outputs, targets), such as "
            "torch.nn.functional.cross_entropy, or None if the model returns its own loss"
        )
    if forward is not None and not callable(forward):
        raise SpecError(f"forward is {described_type(forward)}; expected a callable (model, batch) -> outputs, targets")


def checked_params(params: Any) -> Mapping[str, Tensor]:
    """A point: tensors by name, none where it is left out.

    Args:
        params: as given.

    Returns:
        The same.

    Raises:
        SpecError: it is something else, or holds something else.
    """
    given = {} if params is None else params
    check_kind("params", given, Mapping, "tensors by name, as in objective.origin")
    for name, tensor in given.items():
        check_kind(f"params[{name!r}]", tensor, Tensor, "a tensor")
    checked: Mapping[str, Tensor] = given
    return checked


def device_of(model: nn.Module, device: str | torch.device | None) -> torch.device:
    """The device asked for, or where the model is."""
    if device is not None:
        try:
            return torch.device(device)
        except (RuntimeError, TypeError) as fault:
            raise SpecError(f"device={device!r}: expected one that torch knows, such as 'cpu' or 'cuda:0'") from fault
    tensors = (*model.parameters(), *model.buffers())
    return tensors[0].device if tensors else torch.device("cpu")


def data_name(data: Any) -> str:
    """What to call some data in pictures."""
    dataset = getattr(data, "dataset", None)
    if dataset is None and isinstance(data, torch.utils.data.Dataset):
        dataset = data
    return type(dataset).__name__ if dataset is not None else "tensors" if isinstance(data, tuple) else "batches"
