"""What is one evaluation as a graph? Batch and parameters in, loss and metrics out, with nothing hidden in between."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from lossatlas.objective import Objective
from lossatlas.objective.batches import map_tensors, size_of, tensors_of
from lossatlas.oneline import first_line

__all__ = ["HALF", "Trace", "UntraceableError", "cast", "trace", "unlike", "why_not"]

HALF = (torch.bfloat16, torch.float16)


class UntraceableError(Exception):
    """Why an objective has no graph. It never reaches the user: the plain evaluation does not need one."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One evaluation as a graph.

    Attributes:
        graph: takes all tensors named in ``places``, then those of a batch; returns float64 [values, then weights].
        places: placeholder by placeholder, the name of the parameter or buffer, or "" for a tensor of the batch.
        fixed: constants of the model by name (buffers, and parameters, all at the origin).
        weighted: which values have a weight of their own, besides the number of samples; the weights follow the
            values in the result.
    """

    graph: fx.GraphModule
    places: Mapping[str, str]
    fixed: Mapping[str, Tensor]
    weighted: tuple[int, ...] = ()


class _Seen:
    """What was seen while a graph was read; torch.export puts the module's own attributes back afterwards."""

    weighted: tuple[int, ...] = ()


class _Values(nn.Module):
    """Loss and metrics of one batch, as a module that torch.export can read."""

    def __init__(self, objective: Objective, model: nn.Module, layout: Any) -> None:
        super().__init__()
        self.model = model
        self.seen = _Seen()
        self._measure = (objective, layout)  # in a tuple: an attribute of its own would be taken for a submodule

    def forward(self, *leaves: Tensor) -> Tensor:
        objective, layout = self._measure
        batch = pytree.tree_unflatten(list(leaves), layout)
        parts = objective.parts(batch, self.model, size=size_of(batch))
        own = {number: part.weight for number, part in enumerate(parts) if isinstance(part.weight, Tensor)}
        self.seen.weighted = tuple(own)
        return torch.stack([part.mean.double() for part in parts] + [weight.double() for weight in own.values()])


def _rows_of(batch: Any) -> int:
    """The rows of a batch, 0 where nothing in it has any."""
    return size_of(batch) if any(tensor.dim() for tensor in tensors_of(batch)) else 0


def why_not(objective: Objective) -> str:
    """Why an objective has no graph that would mean the same at every point; empty if it may have one."""
    return "BatchNorm is measured afresh at every point" if objective.batchnorm == "recalibrated" else unlike(objective)


def unlike(objective: Objective) -> str:
    """Why an objective on a few of its samples would not be a small one of the same kind; empty if it would."""
    if objective.training:
        return "training mode draws random numbers"
    if objective.tasks.given:
        return "a task calls the model in its own way"
    if objective.autograd:
        return "the forward pass takes derivatives"
    if torch.is_autocast_enabled(objective.device.type):
        return "autocast is on around the run, and rounds differently in a graph and in threads"
    if not objective.batches.kept:
        return "the data do not stay on the device"
    if any(tensor.is_nested for batch in objective.batches for tensor in tensors_of(batch)):
        return "the samples differ in shape within a nested tensor"
    if any(_rows_of(batch) != size for batch, size in zip(objective.batches, objective.sizes, strict=True)):
        return "the samples are not the rows of a batch"
    if len({tuple(leaf.shape[1:] for leaf in tensors_of(batch)) for batch in objective.batches}) > 1:
        return "the batches differ in more than their number of samples"
    if any(layer.running_mean is None for layer in objective.private.modules() if isinstance(layer, _BatchNorm)):
        return "a BatchNorm layer uses the statistics of each batch"
    return ""


def trace(objective: Objective, dtype: torch.dtype | None = None) -> Trace:
    """Read one evaluation of an objective as a graph of functional operations.

    Args:
        objective: what is measured.
        dtype: format of weights and inputs; outputs are converted back to float32 before the loss. By default as it is.

    Returns:
        The trace, for batches of any number of samples.

    Raises:
        UntraceableError: the model or a measure does what a graph cannot express.
    """
    if reason := why_not(objective):
        raise UntraceableError(reason)
    batch = next(iter(objective.batches))
    model, wrapped = objective.private, "model."
    if dtype in HALF:
        wrapped = "model.model."
        model = _Upcast(copy.deepcopy(model).to(dtype))
        batch = cast(batch, dtype)
    leaves, layout = pytree.tree_flatten(batch)
    if not all(isinstance(leaf, Tensor) for leaf in leaves):
        raise UntraceableError("a batch holds more than tensors")
    sizes = tuple({0: torch.export.Dim.AUTO} if leaf.shape[:1] == (size_of(batch),) else None for leaf in leaves)
    values = _Values(objective, model, layout)
    program = _exported(values, tuple(leaves), sizes)
    return replace(_read(program, objective, wrapped), weighted=values.seen.weighted)


class _Upcast(nn.Module):
    """A model in a short format whose outputs are float32, so that the loss is computed in full."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Any, **named: Any) -> Any:
        outputs = self.model(*inputs, **named)
        return pytree.tree_map(lambda t: t.float() if isinstance(t, Tensor) and t.dtype in HALF else t, outputs)


def cast(batch: Any, dtype: torch.dtype) -> Any:
    """The floating-point tensors of a batch in another format."""
    return map_tensors(lambda t: t.to(dtype) if t.is_floating_point() else t, batch)


def _exported(module: nn.Module, leaves: tuple[Tensor, ...], sizes: tuple[Any, ...]) -> Any:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, leaves, strict=False, dynamic_shapes=(sizes,))
            if _writes_in_place(program.graph_module):
                program = program.run_decompositions({})
    except Exception as fault:  # torch.export raises dozens of kinds; each means the same here
        raise UntraceableError(f"torch.export: {type(fault).__name__}: {first_line(fault)[:120]}") from fault
    return program


def _writes_in_place(graph: fx.GraphModule) -> bool:
    return any(
        isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable for node in graph.graph.nodes
    )


def _read(program: Any, objective: Objective, wrapped: str) -> Trace:
    kinds = torch.export.graph_signature.InputKind
    graph = program.graph_module
    canonical = _canonical_names(objective)
    tensors = {**dict(program.state_dict), **dict(program.constants)}
    places, fixed = {}, {}
    for spec in program.graph_signature.input_specs:
        if spec.kind == kinds.USER_INPUT:
            places[spec.arg.name] = ""
            continue
        name = spec.target.removeprefix(wrapped)
        places[spec.arg.name] = canonical.get(name, f"constant {spec.target}")
        own = objective.origin.get(canonical.get(name, ""))
        fixed[places[spec.arg.name]] = (tensors[spec.target] if own is None else own).detach().to(objective.device)
    if program.graph_signature.buffers_to_mutate:
        raise UntraceableError("a buffer changes during the forward pass")
    _clean(graph)
    return Trace(graph=graph, places=places, fixed=fixed)


def _canonical_names(objective: Objective) -> dict[str, str]:
    """Every name of a tensor in the private copy, and the one name that the objective's origin gives it."""
    model = objective.private
    first: dict[int, str] = {}
    names = {}
    pairs = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    for name, tensor in pairs:
        names[name] = first.setdefault(id(tensor), name)
    return names


def _clean(graph: fx.GraphModule) -> None:
    """Leave out checks of metadata, which say nothing at run time, and views, which would fix the layout in memory."""
    for node in list(graph.graph.nodes):
        if node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default
        if node.op == "call_function" and "_assert_" in str(node.target) and not node.users:
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
