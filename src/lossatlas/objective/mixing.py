"""Which layers let the result of a sample depend on the others in its batch, so that cutting the data matters?"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lossatlas.warned import warn

__all__ = ["mixing", "warn_of_mixing"]


def mixing(model: nn.Module, *, training: bool) -> list[str]:
    """Find the layers that normalise by the statistics of the batch.

    Args:
        model: any module.
        training: whether it is evaluated in training mode.

    Returns:
        The names of the layers; empty for a network in which every sample is on its own.

    Example:
        >>> mixing(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False), nn.BatchNorm1d(2)), training=False)
        ['0']
    """
    return [
        name or type(model).__name__
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and (training or module.running_mean is None)
    ]


def warn_of_mixing(model: nn.Module, batches: int, *, training: bool) -> None:
    """Warn about such layers if the data are cut into several batches.

    Args:
        model: any module.
        batches: into how many the data are cut.
        training: whether the model is evaluated in training mode.
    """
    found = mixing(model, training=training) if batches > 1 else []
    if found:
        which = "in training mode" if training else "without running statistics"
        warn(
            f"model: BatchNorm {which} ({', '.join(found[:3])}{' …' if len(found) > 3 else ''}) uses the mean and "
            f"variance of each batch, so the values depend on how the data are cut (here into {batches}); put all "
            "samples into one batch, or keep running statistics",
        )
