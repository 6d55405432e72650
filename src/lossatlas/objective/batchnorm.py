"""What BatchNorm's running statistics are at a point that no training run ever visited.

``frozen``
    the statistics of the trained model at every point: what the paper does for random directions.
``recalibrated``
    measured again at every point, over the objective's own data.
``interpolated``
    coordinates like any other: they move linearly from one model to another, as on the paper's lines between two
    minimisers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lossatlas.errors import SpecError

__all__ = ["MODES", "STATISTICS", "Mode", "layers", "recalibrate", "statistics"]

Mode = Literal["frozen", "recalibrated", "interpolated"]
MODES: tuple[str, ...] = get_args(Mode)
STATISTICS = ("running_mean", "running_var")


def layers(model: nn.Module) -> dict[str, _BatchNorm]:
    """The layers that keep running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def statistics(model: nn.Module) -> dict[str, Tensor]:
    """The running means and variances of a model, by the names its state dict gives them."""
    return {
        f"{name}.{kind}" if name else kind: getattr(module, kind).detach()
        for name, module in layers(model).items()
        for kind in STATISTICS
    }


def _measured(call: Callable[[nn.Module, Any], Any], model: nn.Module, batch: Any, size: int) -> None:
    try:
        call(model, batch)
    except ValueError as fault:
        if "more than 1 value per channel" not in str(fault):
            raise
        raise SpecError(
            f"batchnorm='recalibrated': a batch of {size} sample has no variance; choose another batch size, "
            "so that the last batch has at least two samples"
        ) from fault


def recalibrate(
    model: nn.Module, batches: Iterable[Any], sizes: Iterable[int], call: Callable[[nn.Module, Any], Any]
) -> None:
    r"""Measure the running statistics of a model again, over all the data.

    After batch b of n_b samples the running value is moved by the momentum n_b / (n_1 + … + n_b), which makes it the
    mean of the batches' statistics weighted by sample: a short last batch counts for what it is.

    Args:
        model: a private copy; its running statistics are replaced, and its mode is put back.
        batches: the data.
        sizes: samples of each batch.
        call: called with the model and a batch.

    Raises:
        SpecError: a batch of a single value for each channel, which has no variance.
    """
    own = layers(model)
    before = {name: (module.training, module.momentum) for name, module in own.items()}
    seen = 0
    try:
        for module in own.values():
            module.reset_running_stats()
            module.train()
        for size, batch in zip(sizes, batches, strict=True):
            seen += size
            for module in own.values():
                module.momentum = size / max(seen, 1)
            with torch.no_grad():
                _measured(call, model, batch, size)
    finally:
        for name, module in own.items():
            module.train(before[name][0])
            module.momentum = before[name][1]
