"""Is the objective a function? Two evaluations of the centre must agree; if not, what differed is named."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.objective import batchnorm, calling, reduction
from lossatlas.objective.batches import fingerprint
from lossatlas.objective.metrics import IGNORED
from lossatlas.objective.objective import Objective

__all__ = ["TOLERANCE", "Centre", "probe"]

TOLERANCE = 1e-6
"""Relative difference between two evaluations that arithmetic in another order explains."""


@dataclass(frozen=True, kw_only=True)
class Centre:
    """What was found at the origin.

    Attributes:
        values: loss and metrics by name.
        seconds: time of one evaluation.
        notes: what a reader should know, for instance that the data is augmented and one draw of it was kept.
    """

    values: dict[str, float]
    seconds: float
    notes: tuple[str, ...] = ()


def probe(objective: Objective, origin: Mapping[str, Tensor] | None = None) -> Centre:
    """Evaluate the centre twice, under different random numbers, before a scan is trusted to it.

    Args:
        objective: what is to be measured.
        origin: the centre; left out, the model's own parameters.

    Returns:
        The values at the centre.

    Raises:
        SpecError: the two evaluations differ (the message names the data order, augmentation, dropout layers,
            BatchNorm layers or the first module that differed), the loss at the centre is not finite, or the loss is
            a sum over samples.
        RuntimeError: whatever else goes wrong in the model.
    """
    objective.assert_unchanged()
    start = time.perf_counter()
    try:
        first = objective(origin)
    except RuntimeError as fault:
        if not objective.autograd and ("does not require grad" in str(fault) or "nference" in str(fault)):
            raise SpecError(f"the forward pass takes derivatives ({fault}); pass autograd=True") from fault
        raise
    middle = time.perf_counter()
    second = objective.measure(seed=1)
    seconds = min(middle - start, time.perf_counter() - middle)  # the first one also warms up
    if not all(_close(first[name], second[name]) for name in first):
        causes = _causes(objective) or ["something that the probe could not find"]
        raise SpecError(
            f"two evaluations at the centre differ (loss {first['loss']:.9g} and {second['loss']:.9g}) because of "
            f"{'; '.join(causes)}. A landscape needs a function: fix this first"
        )
    if not math.isfinite(first["loss"]):
        raise SpecError(
            f"the loss at the centre is {first['loss']}; a landscape needs a finite centre: "
            "check the checkpoint, the preprocessing of the data and the loss"
        )
    with objective.posed():
        _check_reduction(objective)
    return Centre(values=first, seconds=seconds, notes=tuple(_notes(objective)))


def _close(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= TOLERANCE * max(abs(a), abs(b))


def _check_reduction(objective: Objective) -> None:
    """A loss that is no mean over samples gives values that depend on how the data is cut into batches."""
    if objective.loss is None:
        _check_own_loss(objective)
        return
    if reduction.stated_reduction(objective.loss) in ("sum", "none"):
        return
    with objective.batches.seeded(0), objective.grad_mode():
        outputs, targets = objective.forward(objective.private, next(iter(objective.batches)))
        outputs = calling.predictions(outputs)
        value = objective.loss(outputs, targets)
        each = isinstance(value, reduction.Weighted) or value.dim() > 0
        kind = "mean" if each else reduction.looks_like(objective.loss, outputs, targets)
    if kind == "sum":
        raise SpecError(
            f"loss {reduction.name_of(objective.loss)} is a sum over samples, so its value depends on the batch size; "
            "use reduction='mean' or reduction='none'"
        )
    if kind == "neither":
        warnings.warn(
            f"loss {reduction.name_of(objective.loss)} is not a mean over samples (class weights? a contrastive "
            "loss?): its value depends on how the data is cut into batches",
            stacklevel=4,
        )


def _check_own_loss(objective: Objective) -> None:
    """A model's own loss is a mean over the labels that count, and their number may differ from batch to batch."""
    if len(objective.batches.sizes) < 2 or not objective.batches.kept:
        return
    found = [batch.get("labels") for batch in objective.batches if isinstance(batch, Mapping)]
    labels: list[Tensor] = [label for label in found if isinstance(label, Tensor) and len(label)]
    shares = {int((label != IGNORED).sum()) / len(label) for label in labels}
    if len(shares) > 1:
        warnings.warn(
            "loss=None: the model's own loss is a mean over the labels of a batch that are not -100, and the batches "
            "have different numbers of them, so a batch with more padding weighs more by token; pass "
            "forward=language.Forward(), loss=language.cross_entropy (lossatlas.objective.language)",
            stacklevel=5,
        )


def _notes(objective: Objective) -> Iterator[str]:
    difference = _data_difference(objective) if objective.batches.kept else None
    if difference:
        yield f"the data source has {difference}; its first pass was kept and serves every point"
    if not objective.batches.kept:
        yield "the data exceeds the memory budget and is read again at every point; memory=... raises the budget"


def _causes(objective: Objective) -> list[str]:
    causes = []
    if not objective.batches.kept and (difference := _data_difference(objective)):
        causes.append(difference)
    with objective.batches.seeded(0):
        batch = next(iter(objective.batches))
    traces = []
    for seed in (0, 1):
        with objective.batches.seeded(seed), objective.grad_mode(), _traced(objective.private) as trace:
            objective.forward(objective.private, batch)
        traces.append(trace)
    differing = [name for name in traces[0] if traces[0][name] != traces[1].get(name)]
    modules = dict(objective.private.named_modules())
    droppers = [name for name in differing if "Dropout" in type(modules[name]).__name__ and modules[name].training]
    if droppers:
        causes.append(f"dropout in training mode ({', '.join(droppers[:3])})")
    elif differing:
        causes.append(f"random numbers in module {differing[0]!r} ({type(modules[differing[0]]).__name__})")
    training = [name for name, layer in batchnorm.layers(objective.private).items() if layer.training]
    if training:
        causes.append(f"BatchNorm in training mode ({', '.join(training[:3])})")
    return causes


def _data_difference(objective: Objective) -> str | None:
    """What differs between two passes over the source, if anything. Stops at the first batch where nothing does."""
    with objective.batches.seeded(1):
        again = fingerprint(next(iter(objective.batches.source)))
    with objective.batches.seeded(0):
        if fingerprint(next(iter(objective.batches.source))) == again:
            return None
    passes = [sorted(row for rows in objective.batches.sample_fingerprints(seed) for row in rows) for seed in (0, 1)]
    return "another data order at each pass" if passes[0] == passes[1] else "augmentation that differs at each pass"


@contextmanager
def _traced(model: nn.Module) -> Iterator[dict[str, bytes]]:
    """Record a hash of what each leaf module returns, in the order of the calls."""
    trace: dict[str, bytes] = {}

    def recorder(name: str) -> Any:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            trace[name] = fingerprint(output if isinstance(output, (Tensor, tuple, list, dict)) else None)

        return record

    leaves = [(name, module) for name, module in model.named_modules() if not any(module.children())]
    handles = [module.register_forward_hook(recorder(name)) for name, module in leaves]
    try:
        yield trace
    finally:
        for handle in handles:
            handle.remove()
