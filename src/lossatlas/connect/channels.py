r"""Which axes of which tensors can be permuted together without changing what a network computes?

A *group* is the set of all tensor axes that carry the same hidden units: the rows of the layer that makes them, the
vectors of the normalisation after it, the columns of the layer that reads them, and along a residual stream all layers
that write into it or read from it. The groups are read off the network's graph (``torch.fx``): every known operation
has a rule for its units, and an unknown one holds its units still. So a group may be missing, but one that is found can
be permuted.

A model whose forward pass cannot be traced, such as those of Hugging Face, is read module by module; within
transformers this finds the hidden units of their MLPs, which touch nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

from lossatlas.connect.norms import only_norms, stands_for
from lossatlas.connect.parts import is_changed, is_matrix, part_at, tensor_at
from lossatlas.connect.units import BINARY, ELEMENTWISE, IDLE, PAIRS, POOL_MODULES, POOLS, STEADY, Group, UnitAxis
from lossatlas.oneline import first_line

__all__ = ["FIXED", "Channels"]

FIXED = 0


@dataclass(frozen=True)
class _Flow:
    """The units that a tensor of the forward pass carries, along dimension 1 or the last one.

    ``block`` is None after a flattening, until a linear layer reveals its size.
    """

    group: int
    dim: int = -1
    block: int | None = 1


class Channels:
    """The groups of a model, found on construction.

    Args:
        model: any module.

    Attributes:
        groups: by the name of the first tensor.
        reasons: why units were held still: unknown operations.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1))
        >>> [(axis.tensor, axis.dim) for axis in Channels(net).groups["0.weight"].axes]
        [('0.weight', 0), ('0.bias', 0), ('2.weight', 1)]
    """

    def __init__(self, model: nn.Module) -> None:
        self.reasons: list[str] = []
        self._parents: list[int] = [FIXED]
        self._sizes: list[int] = [0]
        self._claims: dict[tuple[str, int], tuple[int, int]] = {}
        self._shapes = {n: tuple(t.shape) for n, t in (*model.named_parameters(), *model.named_buffers())}
        tensors = (*model.named_parameters(), *model.named_buffers())
        self._names = {id(tensor): name for name, tensor in tensors}  # a tied tensor has one name
        self._ruled: set[int] = set()
        self._normed: set[int] = set()  # tensors whose axes a normalising function has claimed or held
        self._read(model)
        self.groups = self._collected()

    # Bookkeeping of units: which are the same, and which stay.

    def _new(self, size: int) -> int:
        self._parents.append(len(self._parents))
        self._sizes.append(size)
        return len(self._parents) - 1

    def _root(self, group: int) -> int:
        while self._parents[group] != group:
            group = self._parents[group]
        return group

    def _join(self, a: int, b: int) -> int:
        a, b = sorted((self._root(a), self._root(b)))
        if a != FIXED and self._sizes[a] != self._sizes[b]:
            self._join(FIXED, a)
            a = FIXED
        self._parents[b] = a
        return a

    def _fix(self, *flows: _Flow | None) -> None:
        for flow in flows:
            if flow is not None:
                self._join(FIXED, flow.group)

    def _claim(self, tensor: Tensor | None, dim: int, group: int, block: int = 1) -> None:
        """An axis of a tensor carries the units of a group."""
        if tensor is None:
            return
        name = self._names.get(id(tensor))
        if name is None or self._shapes[name][dim] != self._sizes[self._root(group)] * block:
            self._join(FIXED, group)
            return
        before = self._claims.setdefault((name, dim), (group, block))
        root = self._join(before[0], group)
        if before[1] != block:
            self._join(FIXED, root)

    def _hold(self, *tensors: Tensor | None) -> None:
        """Hold all axes of some tensors still: it is not known how they are used."""
        for tensor in tensors:
            name = self._names.get(id(tensor))
            for dim in range(tensor.dim() if tensor is not None and name is not None else 0):
                self._join(FIXED, self._claims.setdefault((str(name), dim), (FIXED, 1))[0])

    def _collected(self) -> dict[str, Group]:
        axes: dict[int, list[UnitAxis]] = {}
        for (name, dim), (group, block) in self._claims.items():
            root = self._root(group)
            if root != FIXED and self._sizes[root] > 1:
                axes.setdefault(root, []).append(UnitAxis(tensor=name, dim=dim, block=block))
        return {found[0].tensor: Group(size=self._sizes[root], axes=tuple(found)) for root, found in axes.items()}

    # Reading a model: its graph where there is one, otherwise its parts.

    def _read(self, module: nn.Module) -> None:
        if not any(True for _ in module.children()):  # a single layer: both its sides belong to others
            self._opaque(module)
            return
        try:
            graph = _Tracer().trace(module, _defaults(module))
        except Exception as fault:
            if not isinstance(module, (nn.ModuleList, nn.ModuleDict)):
                self._note(f"{type(module).__name__} cannot be traced ({first_line(fault)[:80]})")
            self._opaque(module)
            return
        flows: dict[fx.Node, _Flow | None] = {}
        for node in graph.nodes:
            flows[node] = self._node(node, flows, module)
        called = {id(part_at(module, str(node.target))) for node in graph.nodes if node.op == "call_module"}
        for part in module.modules():  # what this call did not use may be used by another
            if id(part) not in called and id(part) not in self._ruled:
                self._hold(*(one for one in part._parameters.values() if id(one) not in self._normed))

    def _opaque(self, module: nn.Module) -> None:
        """A module whose own forward pass is unknown: the MLPs in it by their names, then its parts."""
        for makers, reader in PAIRS:
            layers = [part_at(module, name) for name in (*makers, reader)]
            if all(is_matrix(layer) for layer in layers) and not any(id(layer) in self._ruled for layer in layers):
                self._mlp([layer for layer in layers if layer is not None])
        self._hold(*module._parameters.values(), *module._buffers.values())
        for child in module.children():
            if id(child) not in self._ruled:
                self._read(child)

    def _mlp(self, layers: list[Any]) -> None:
        *makers, reader = layers
        inputs, outputs = (1, 0) if isinstance(reader, nn.Linear) else (0, 1)
        size = reader.weight.shape[inputs]
        if any(maker.weight.shape[outputs] != size for maker in makers):
            return
        group = self._new(size)
        for maker in makers:
            self._claim(maker.weight, outputs, group)
            self._claim(maker.bias, 0, group)
        self._claim(reader.weight, inputs, group)
        self._ruled.update(map(id, layers))

    def _node(self, node: fx.Node, flows: Mapping[fx.Node, _Flow | None], root: nn.Module) -> _Flow | None:
        inputs = [flows[entry] for entry in node.all_input_nodes if flows.get(entry) is not None]
        if node.op == "placeholder":
            return _Flow(FIXED)
        if node.op == "output":
            self._fix(*inputs)
            return None
        if node.op == "call_module":
            return self._module(part_at(root, str(node.target)), [flow for flow in inputs if flow is not None])
        if node.op == "get_attr":
            if not only_norms(node):
                self._hold(tensor_at(root, str(node.target)))
            return _Flow(FIXED)
        if inputs and (norm := self._functional_norm(node, flows, root)) is not None:
            return norm
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        return self._function(str(name).strip("_") if str(name).startswith("__") else str(name), node, flows)

    def _module(self, module: nn.Module | None, flows: list[_Flow]) -> _Flow:
        if module is not None and len(flows) == 1 and id(module) not in self._ruled and not is_changed(module):
            (flow,) = flows
            for kinds, rule in _RULES:
                if type(module).__name__ == kinds if isinstance(kinds, str) else isinstance(module, kinds):
                    found: _Flow | None = rule(self, module, flow)
                    if found is not None:
                        return found
        self._fix(*flows)
        if module is not None and id(module) not in self._ruled:
            self._note(f"{type(module).__name__} has no rule")
            self._opaque(module)
        return _Flow(FIXED)

    def _function(self, name: str, node: fx.Node, flows: Mapping[fx.Node, _Flow | None]) -> _Flow | None:
        inputs = [flow for entry in node.all_input_nodes if (flow := flows.get(entry)) is not None]
        if not inputs or name in IDLE:
            return None
        first = inputs[0]
        if name in ELEMENTWISE and len(inputs) == 1:
            return first
        if name in POOLS and first.dim == 1:
            return first
        if name in BINARY:
            return self._together(inputs)
        if _flattens(name, node):
            return first if first.dim == -1 else _Flow(first.group, -1, None)
        if name == "mean" and (kept := _mean(first, node)) is not None:
            return kept
        self._fix(*inputs)
        if any(self._root(flow.group) != FIXED for flow in inputs) or name not in ("getitem",):
            self._note(f"operation {name} has no rule")
        return _Flow(FIXED)

    def _together(self, flows: list[_Flow]) -> _Flow:
        first, *others = flows
        for other in others:
            if (other.dim, other.block) != (first.dim, first.block):
                self._fix(first, other)
            self._join(first.group, other.group)
        return first

    def _note(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)

    # What each kind of layer does with its units. None: unknown here.

    def _linear(self, module: nn.Linear, flow: _Flow) -> _Flow | None:
        return self._matrix(module.weight, module.bias, flow, inputs=1)

    def _conv1d_of_transformers(self, module: Any, flow: _Flow) -> _Flow | None:
        return self._matrix(module.weight, module.bias, flow, inputs=0)

    def _matrix(self, weight: Tensor, bias: Tensor | None, flow: _Flow, *, inputs: int) -> _Flow | None:
        size, width = self._sizes[self._root(flow.group)], weight.shape[inputs]
        if self._root(flow.group) != FIXED:
            block = flow.block if flow.block is not None else (width // size if width % size == 0 else 0)
            if flow.dim != -1 or not block or size * block != width:
                return None
            self._claim(weight, inputs, flow.group, block)
        group = self._new(weight.shape[1 - inputs])
        self._claim(weight, 1 - inputs, group)
        self._claim(bias, 0, group)
        return _Flow(group)

    def _convolution(self, module: _ConvNd, flow: _Flow) -> _Flow | None:
        inputs = 0 if isinstance(module, _ConvTransposeNd) else 1
        fixed = self._root(flow.group) == FIXED
        if not fixed and (flow.dim != 1 or flow.block != 1):
            return None
        if module.groups == module.in_channels == module.out_channels and module.groups > 1:
            if fixed:
                return _Flow(FIXED, 1)
            self._claim(module.weight, 0, flow.group)
            self._claim(module.bias, 0, flow.group)
            return flow
        if module.groups != 1:
            return None
        if not fixed:
            self._claim(module.weight, inputs, flow.group)
        group = self._new(module.out_channels)
        self._claim(module.weight, 1 - inputs, group)
        self._claim(module.bias, 0, group)
        return _Flow(group, 1)

    def _norm(self, module: Any, flow: _Flow) -> _Flow | None:
        # BatchNorm and InstanceNorm go along dimension 1, LayerNorm and RMSNorm treat all units of the last one alike.
        # GroupNorm ties the units of a group: with one group all are alike, with one for each unit none is tied to
        # another, and otherwise only whole groups could move, and they stay.
        if self._root(flow.group) == FIXED:
            return flow
        if flow.block != 1:
            return None
        if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
            if flow.dim == 1 and self._over_all(module):
                return self._whole(module, flow)
            if flow.dim != -1 or len(module.normalized_shape) != 1:
                return None
        elif isinstance(module, nn.GroupNorm):
            if module.num_groups not in (1, module.num_channels):
                self._fix(flow)
                self._note(f"GroupNorm ties the units of each of its {module.num_groups} groups to each other")
                return _Flow(FIXED, flow.dim)
        elif flow.dim != 1 and not (isinstance(module, nn.BatchNorm1d) and flow.dim == -1):
            return None
        for name in ("weight", "bias", "running_mean", "running_var"):
            self._claim(getattr(module, name, None), 0, flow.group)
        return flow

    def _functional_norm(self, node: fx.Node, flows: Mapping[fx.Node, _Flow | None], root: nn.Module) -> _Flow | None:
        """A call such as ``F.layer_norm(x, (8,), self.weight, self.bias)``, by the rule of the layer."""
        flow = flows.get(node.args[0] if node.args else node.kwargs.get("input"))  # type: ignore[arg-type]
        if flow is None:
            return None
        given = [tensor_at(root, str(entry.target)) for entry in node.all_input_nodes if entry.op == "get_attr"]
        layer = stands_for(node, lambda path: tensor_at(root, path), self._sizes[self._root(flow.group)] or 1)
        found = None if layer is None else self._norm(layer, flow)
        if found is None or self._root(flow.group) == FIXED:
            self._hold(*given)
        self._normed.update(map(id, given))
        return found

    def _over_all(self, module: Any) -> bool:
        """Whether a norm is over channels and all places: ``LayerNorm([C, H, W])``."""
        return len(module.normalized_shape) > 1

    def _whole(self, module: Any, flow: _Flow) -> _Flow | None:
        """A norm over channels and places, whose weights have the channels first."""
        if module.normalized_shape[0] != self._sizes[self._root(flow.group)]:
            return None
        for name in ("weight", "bias"):
            self._claim(getattr(module, name, None), 0, flow.group)
        return flow

    def _embedding(self, module: nn.Embedding, flow: _Flow) -> _Flow | None:
        group = self._new(module.embedding_dim)
        self._claim(module.weight, 1, group)
        return _Flow(group)

    def _steady(self, module: nn.Module, flow: _Flow) -> _Flow | None:
        return flow

    def _pool(self, module: nn.Module, flow: _Flow) -> _Flow | None:
        return flow if flow.dim == 1 or self._root(flow.group) == FIXED else None

    def _flatten(self, module: nn.Flatten, flow: _Flow) -> _Flow | None:
        if module.start_dim != 1 or module.end_dim != -1:
            return None
        return flow if flow.dim == -1 else _Flow(flow.group, -1, None)


_RULES: tuple[tuple[Any, Any], ...] = (
    (nn.Linear, Channels._linear),
    ("Conv1D", Channels._conv1d_of_transformers),
    (_ConvNd, Channels._convolution),
    ((_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm), Channels._norm),
    (nn.Embedding, Channels._embedding),
    (STEADY, Channels._steady),
    (POOL_MODULES, Channels._pool),
    (nn.Flatten, Channels._flatten),
)


class _Tracer(fx.Tracer):
    """Stops at every layer that has a rule."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m).__name__ == "Conv1D" or super().is_leaf_module(m, module_qualified_name)


def _defaults(module: nn.Module) -> dict[str, Any]:
    """The arguments of a forward pass that have a default, at their defaults: the usual call."""
    found = inspect.signature(module.forward).parameters.values()
    return {p.name: p.default for p in found if p.default is not p.empty}


def _flattens(name: str, node: fx.Node) -> bool:
    """Whether an operation keeps the samples and flattens all else into one row."""
    if name == "flatten":
        rest = [*node.args[1:], *node.kwargs.values()]
        return rest == [1] or rest == [1, -1]
    return name in ("view", "reshape") and len(node.args) == 3 and bool(node.args[2] == -1)


def _mean(flow: _Flow, node: fx.Node) -> _Flow | None:
    """A mean over places, which keeps the units; None where it is over something else."""
    given = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    dims = set(given) if isinstance(given, (list, tuple)) else {given}
    keep = bool(node.kwargs.get("keepdim", node.args[2] if len(node.args) > 2 else False))
    if flow.dim == 1 and flow.block == 1 and dims in ({2, 3}, {-1, -2}, {2}, {-1}):
        return _Flow(flow.group, 1 if keep else -1)
    return flow if flow.dim == -1 and dims == {1} else None
