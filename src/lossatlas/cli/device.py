"""On which device does a command evaluate: the one asked for, or the accelerator found, which it reports?"""

from __future__ import annotations

import click
import torch
from torch import nn

from lossatlas.errors import SpecError
from lossatlas.oneline import first_line

__all__ = ["AUTO", "device_for"]

AUTO = "auto"


def device_for(asked: str, model: nn.Module, *, in_place: bool = False) -> str | None:
    """The device for a model.

    A model that its own code has put on a device stays there, and so does one that is moved in place.

    Args:
        asked: a device that torch knows; "auto" or nothing for the accelerator, if there is one.
        model: as it was loaded.
        in_place: whether the model itself is moved.

    Returns:
        The name of a device; ``None`` for where the model is.

    Raises:
        SpecError: torch does not know the device that was asked for, or cannot use it here.
    """
    if asked not in ("", AUTO):
        _check(asked)
        return asked
    tensors = [*model.parameters(), *model.buffers()]
    if in_place or any(tensor.device.type != "cpu" for tensor in tensors):
        return None
    if torch.cuda.is_available():
        _say("cuda", torch.cuda.get_device_name())
        return "cuda"
    wide = any(tensor.dtype in (torch.float64, torch.complex128) for tensor in tensors)
    if torch.backends.mps.is_available() and not wide:  # Apple's GPU has no doubles
        _say("mps", "Apple GPU")
        return "mps"
    return None


def _check(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ImportError) as fault:  # a build without CUDA says so by an assertion
        reason = first_line(fault)
        raise SpecError(f"device {device!r} cannot be used here: {reason}") from fault


def _say(device: str, name: str) -> None:
    click.echo(f"device: {device} ({name}); --device cpu for the processor", err=True)
