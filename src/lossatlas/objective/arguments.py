"""Do the arguments of an Objective make sense, and what stands for those that are left out?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from lossatlas.errors import SpecError
from lossatlas.objective import reduction

__all__ = ["checked_metrics", "data_name", "device_of"]


def checked_metrics(metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    """Metrics by name.

    Args:
        metrics: as given.

    Returns:
        The same, as a dictionary.

    Raises:
        SpecError: a name that is taken or cannot be one, no callable, or a number derived from nothing.
    """
    checked = dict(metrics or {})
    for name, metric in checked.items():
        if name in ("loss", "status") or not name.isidentifier():
            raise SpecError(f"metrics: {name!r} cannot name a metric; choose an identifier other than loss and status")
        if not callable(metric):
            raise SpecError(f"metrics[{name!r}] is a {type(metric).__name__}; expected a callable (outputs, targets)")
        if isinstance(metric, reduction.Derived) and (
            isinstance(checked.get(metric.of), reduction.Derived) or metric.of not in ("loss", *checked)
        ):
            raise SpecError(f"metrics[{name!r}] is derived from {metric.of!r}, which is not measured")
    return checked


def device_of(model: nn.Module, device: str | torch.device | None) -> torch.device:
    """The device asked for, or where the model is."""
    if device is not None:
        return torch.device(device)
    tensors = (*model.parameters(), *model.buffers())
    return tensors[0].device if tensors else torch.device("cpu")


def data_name(data: Any) -> str:
    """What to call some data in pictures."""
    dataset = getattr(data, "dataset", None)
    if dataset is None and isinstance(data, torch.utils.data.Dataset):
        dataset = data
    return type(dataset).__name__ if dataset is not None else "tensors" if isinstance(data, tuple) else "batches"
