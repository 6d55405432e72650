"""What are BatchNorm's running statistics at a point that no training run ever visited?

``frozen``
    the statistics of the trained model at every point: what the paper does for random directions.
``recalibrated``
    measured afresh at every point, over the objective's own data.
``interpolated``
    coordinates like any other: they move linearly from one model to another, as on the paper's lines between two
    minimisers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lossatlas.errors import SpecError

__all__ = ["MODES", "STATISTICS", "Mode", "layers", "recalibrate", "statistics", "words"]

Mode = Literal["frozen", "recalibrated", "interpolated"]
MODES: tuple[str, ...] = get_args(Mode)
STATISTICS = ("running_mean", "running_var")

SETTLED = 1e-7
"""Relative change of a statistic above which another pass over the data is made."""

Layers = dict[str, _BatchNorm]
Call = Callable[[nn.Module, Any], Any]


def layers(model: nn.Module) -> dict[str, _BatchNorm]:
    """The layers that keep running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


BY_BATCH = "by the statistics of each batch"


def words(
    model: nn.Module, mode: str, evaluated: nn.Module | None, *, training: bool, mixed: Sequence[str] = ()
) -> str:
    """What BatchNorm normalises by, for a caption.

    Args:
        model: the user's.
        mode: one of ``MODES``.
        evaluated: the copy that was evaluated, if there is one: its forward pass may have set training mode.
        training: whether it is evaluated in training mode.
        mixed: names of modules that were seen to let the samples of a batch change each other's outputs.

    Returns:
        The words; empty if there is no BatchNorm.

    Example:
        >>> words(nn.BatchNorm1d(2), "frozen", None, training=False)
        'frozen'
        >>> words(nn.BatchNorm1d(2, track_running_stats=False), "frozen", None, training=False)
        'by the statistics of each batch (it keeps none)'
    """
    kept = layers(model)
    if not kept:
        any_left = any(isinstance(module, _BatchNorm) for module in model.modules())
        return f"{BY_BATCH} (it keeps none)" if any_left else ""
    if training:
        return f"{BY_BATCH} (training mode)"
    now = {} if evaluated is None else layers(evaluated)
    norms = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    live = [n for n in norms if n not in kept or n in mixed or (n in now and now[n].training)]
    others = [name for name in mixed if name not in norms]
    if len(live) == len(norms) and not others:
        return f"{BY_BATCH} (the forward pass sets training mode)"
    said = [f"{BY_BATCH} in {', '.join(live[:3])}{' …' * (len(live) > 3)}"] if live else []
    said += [
        "the samples of a batch change each other's outputs (statistics of the batch?) in "
        + (name or type(model).__name__)
        for name in others
    ]
    return ", but ".join([mode, " and ".join(said)] if said else [mode])


def statistics(model: nn.Module) -> dict[str, Tensor]:
    """The running means and variances of a model, by the names its state dict gives them."""
    return {
        f"{name}.{kind}" if name else kind: getattr(module, kind).detach()
        for name, module in layers(model).items()
        for kind in STATISTICS
    }


def recalibrate(model: nn.Module, batches: Iterable[Any], call: Callable[[nn.Module, Any], Any]) -> None:
    r"""Measure the running statistics of a model again, over all the data, as if it were one batch.

    What a layer receives from several batches is pooled (Chan, Golub and LeVeque 1979): with :math:`n_b` values of mean
    :math:`m_b` and variance :math:`v_b` in batch b,

    .. math:: m = \frac{1}{n} \sum_b n_b m_b, \qquad v = \frac{1}{n} \sum_b n_b \big(v_b + (m_b - m)^2\big),

    so the spread between batches counts. A layer receives the right values only once the layers before it are right:
    the data pass through again until nothing changes by more than ``SETTLED``, at most as often as there are layers,
    and how they are cut into batches makes no difference. A single batch needs one pass. As in training, activations
    are divided by the root of v, and :math:`v \, n / (n - 1)` is kept.

    Args:
        model: a private copy; its running statistics are replaced, and its mode is put back.
        batches: the data, read several times if there is more than one batch.
        call: called with the model and a batch.

    Raises:
        SpecError: a single value for each channel, which has no variance.
    """
    own = layers(model)
    before = {name: module.training for name, module in own.items()}
    try:
        heard = _by_batch(own, model, batches, call)
        for _ in range(len(own) if heard.batches > 1 else 0):
            last, heard = heard, _pass(own, model, batches, call)
            _keep(own, heard, corrected=False)
            if heard.alike(last):
                break
        _keep(own, heard, corrected=True)
    finally:
        for name, module in own.items():
            module.train(before[name])


class _Heard:
    """Number, mean and summed squares of all that each layer received in one pass, by channel and in float64."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[int, Tensor, Tensor]] = {}
        self.batches = 0

    def add(self, name: str, values: Tensor) -> None:
        """Pool the values of a batch."""
        exact = torch.float32 if values.device.type == "mps" else torch.float64  # Apple's GPU has no doubles
        columns = values.detach().to(exact).transpose(0, 1).flatten(1)
        count, mean = columns.shape[1], columns.mean(dim=1)
        squares = (columns - mean[:, None]).square().sum(dim=1)
        if name in self.found:
            n, m, s = self.found[name]
            apart, total = mean - m, n + count
            mean, squares = m + apart * (count / total), s + squares + apart.square() * (n * count / total)
            count = total
        self.found[name] = (count, mean, squares)

    def alike(self, other: _Heard) -> bool:
        """Whether another pass received the same."""
        for name, (count, mean, squares) in self.found.items():
            _, m, s = other.found[name]
            moved = (mean - m).abs() > SETTLED * (squares / count).sqrt()
            if bool((moved | ((squares - s).abs() > SETTLED * squares)).any()):
                return False
        return True


def _by_batch(own: Layers, model: nn.Module, batches: Iterable[Any], call: Call) -> _Heard:
    """A first pass: every batch normalised by itself or, if it cannot be, by the present statistics."""
    for module in own.values():
        module.train()
    try:
        with _untouched(own):
            heard = _pass(own, model, batches, call)
    except ValueError as fault:
        if "more than 1 value per channel" not in str(fault):
            raise
        for module in own.values():
            module.eval()
        heard = _pass(own, model, batches, call)
        if heard.batches == 1:
            raise SpecError(
                "batchnorm='recalibrated': a single sample has no variance; give more samples, or keep the statistics "
                "of training with batchnorm='frozen'"
            ) from fault
    for module in own.values():
        module.eval()
    _keep(own, heard, corrected=False)
    return heard


@contextlib.contextmanager
def _untouched(own: Layers) -> Iterator[None]:
    """Layers in training mode that do not update their statistics."""
    before = {name: (module.momentum, module.num_batches_tracked) for name, module in own.items()}
    for module in own.values():
        module.momentum, module.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for name, module in own.items():
            module.momentum, module.num_batches_tracked = before[name]


def _pass(own: Layers, model: nn.Module, batches: Iterable[Any], call: Call) -> _Heard:
    """What every layer receives while the data pass through once."""
    heard = _Heard()
    hooks = [module.register_forward_pre_hook(_watch(heard, name)) for name, module in own.items()]
    try:
        with torch.no_grad():
            for batch in batches:
                call(model, batch)
                heard.batches += 1
    finally:
        for hook in hooks:
            hook.remove()
    return heard


def _watch(heard: _Heard, name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    return lambda _, inputs: heard.add(name, inputs[0])


def _keep(own: Layers, heard: _Heard, *, corrected: bool) -> None:
    for name, (count, mean, squares) in heard.found.items():
        module = own[name]
        assert module.running_mean is not None
        assert module.running_var is not None
        module.running_mean.copy_(mean)
        module.running_var.copy_(squares / (count - 1 if corrected else count))
