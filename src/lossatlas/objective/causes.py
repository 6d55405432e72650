"""Why do two evaluations of one point differ? What changed is named, in the order in which a batch passes through.

A batch is evaluated three times, twice under one seed and once under another. If the first two differ, something keeps
a state; if the last two do, random numbers are drawn. The cause is the innermost place that got the same input and gave
a different output: a module is not to blame for its input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from lossatlas.objective import batchnorm, calling
from lossatlas.objective.hashing import fingerprint
from lossatlas.objective.objective import Objective

__all__ = ["causes", "data_difference"]


@dataclass(kw_only=True)
class _Trace:
    """Hashes of what went in and out, in the order of the calls."""

    batch: bytes = b""
    after: bytes = b""
    inputs: dict[str, bytes] = field(default_factory=dict)
    outputs: dict[str, bytes] = field(default_factory=dict)
    targets: bytes = b""
    given: bytes = b""
    values: dict[str, bytes] = field(default_factory=dict)
    state: dict[str, bytes] = field(default_factory=dict)


def causes(objective: Objective) -> list[str]:
    """What keeps two evaluations of an objective from agreeing, as far as it can be found.

    Args:
        objective: one whose private copy is at the point where the evaluations differed.

    Returns:
        The causes, each a few words.
    """
    found = []
    objective.batches.quiet = False  # a later batch may draw what the first one does not
    if not objective.batches.kept and (difference := data_difference(objective)):
        found.append(difference)
    with objective.posed():
        few = range(min(objective.batches.number, 16 if objective.batches.kept else 2))
        named = next(filter(None, (_named(objective, number) for number in few)), [])
    training = [name for name, layer in batchnorm.layers(objective.private).items() if layer.training]
    found += named
    if training and (not named or not objective.batches.kept):
        found.append(f"BatchNorm in training mode ({', '.join(training[:3])})")
    return found


def _named(objective: Objective, number: int) -> list[str]:
    """What differs in one batch."""
    first, again, other = (_trace(objective, number, seed) for seed in (0, 0, 1))
    if first.batch != other.batch and first.batch == again.batch:
        return []  # another order of the data, named already
    for before, after, kept in ((first, again, True), (again, other, False)):
        if place := _place(objective, before, after, kept=kept):
            return [place]
    return []


def _place(objective: Objective, a: _Trace, b: _Trace, *, kept: bool) -> str:
    """Where two passes diverge, in words; empty if they do not."""
    why = "something that is kept from call to call" if kept else "random numbers"
    if a.batch != b.batch or a.batch != a.after:
        return "the batch, which the model or forward= changes in place" if kept else ""
    modules = dict(objective.private.named_modules())
    same = [name for name in a.inputs if a.inputs[name] == b.inputs.get(name)]
    blamed = [name for name in same if a.outputs.get(name) != b.outputs.get(name)]
    inner = [name for name in blamed if not any(other != name and _within(other, name) for other in blamed)]
    if inner:
        if not kept and (droppers := [n for n in inner if "Dropout" in type(modules[n]).__name__]):
            return f"dropout in training mode ({', '.join(droppers[:3])})"
        name = inner[0]
        where = f"module {name!r} ({type(modules[name]).__name__})" if name else "the model's own forward"
        changed = [key for key in a.state if a.state[key] != b.state.get(key) and _within(key, name)]
        if kept and changed:
            return f"{where}, which changes its {' and '.join(map(_last, changed[:2]))} at every call"
        return f"{why} in {where}"
    if a.inputs and next(iter(a.inputs.values())) != next(iter(b.inputs.values())):
        return f"{why} in forward=, before the model"
    if a.outputs != b.outputs or set(a.inputs) != set(b.inputs):
        return f"{why} in the model's own forward"
    if (a.given, a.targets) != (b.given, b.targets):
        return (
            f"{why} in forward=, after the model" if a.given != b.given else f"{why} in forward=, which makes targets"
        )
    differing = [name for name in a.values if a.values[name] != b.values[name]]
    words = "the loss" if "loss" in differing else "".join(f"metric {name!r}" for name in differing[:1])
    return f"{why} in {words}" if differing else ""


def _within(key: str, name: str) -> bool:
    return not name or key == name or key.startswith(f"{name}.")


def _last(key: str) -> str:
    name = key.rpartition(".")[2]
    return f"buffer {name[1:]!r}" if name.startswith("#") else f"attribute {name!r}"


def _trace(objective: Objective, number: int, seed: int) -> _Trace:
    trace = _Trace(state=_state(objective.private))
    with objective.batches.seeded(seed), objective.grad_mode():
        batch = next(batch for at, batch in enumerate(objective.batches) if at == number)
        trace.batch = fingerprint(batch)
        with objective.batches.seeded(seed), _recorded(objective.private, trace):
            outputs, targets = objective.forward(objective.private, batch)
            shown = calling.predictions(outputs)
            trace.given, trace.targets = fingerprint(shown), fingerprint(targets)
            part = objective.loss_part(outputs, targets, batch)
            trace.values["loss"] = fingerprint(part.mean)
            for name in objective.measured[1:]:
                trace.values[name] = fingerprint(objective.metrics[name](shown, targets))
        trace.after = fingerprint(batch)
    return trace


def _state(model: nn.Module) -> dict[str, bytes]:
    """What each module keeps: its buffers, and plain attributes such as counters."""
    kept: dict[str, bytes] = {}
    for path, module in model.named_modules():
        dot = f"{path}." if path else ""
        kept |= {f"{dot}#{name}": fingerprint(t) for name, t in module._buffers.items() if t is not None}
        plain = {name: value for name, value in vars(module).items() if isinstance(value, (int, float, Tensor, list))}
        kept |= {f"{dot}{name}": fingerprint(value) for name, value in plain.items() if not name.startswith("_")}
    return kept


@contextmanager
def _recorded(model: nn.Module, trace: _Trace) -> Iterator[None]:
    """Hash every module's inputs and outputs."""

    def before(name: str) -> Any:
        def hook(module: nn.Module, positional: Any, named: Any) -> None:
            trace.inputs.setdefault(name, b"")
            trace.inputs[name] += fingerprint((positional, named))

        return hook

    def after(name: str) -> Any:
        def hook(module: nn.Module, positional: Any, output: Any) -> None:
            trace.outputs[name] = trace.outputs.get(name, b"") + fingerprint(output)

        return hook

    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(before(name), with_kwargs=True))
        handles.append(module.register_forward_hook(after(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def data_difference(objective: Objective) -> str | None:
    """What differs between two passes over the source, if anything. Stops at the first batch where nothing does."""
    with objective.batches.reading(1):
        again = fingerprint(next(iter(objective.batches.source)))
    with objective.batches.reading(0):
        if fingerprint(next(iter(objective.batches.source))) == again:
            return None
    passes = [Counter(row for rows in objective.batches.sample_fingerprints(seed) for row in rows) for seed in (0, 1)]
    if passes[0] == passes[1]:
        return "a different data order at each pass"
    if passes[0].keys() & passes[1].keys():
        return "another choice of samples at each pass (drop_last? sampling?), or augmentation of some of them"
    return "augmentation that differs at each pass"
