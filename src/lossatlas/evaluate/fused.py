"""How do the convolutions of a model absorb what follows them (the norm, the sum and the ReLU) into one kernel each?"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from lossatlas.evaluate.graph.rewrite import affine
from lossatlas.evaluate.graph.trace import UntraceableError

__all__ = ["Fused", "fused"]

RELUS = (F.relu, torch.relu)
SUMS = (operator.add, operator.iadd, torch.add)


@dataclass(frozen=True)
class Fused:
    r"""A model in fewer kernels.

    A BatchNorm in evaluation mode that a convolution absorbs turns it into :math:`s (W * x + b - μ) + β`, with
    :math:`s = γ / \sqrt{σ^2 + ε}`: the owner of W and b multiplies them by s, wherever they move; the rest stays.

    Attributes:
        model: called as the one that it was made of, whose layers it shares.
        factors: tensors of the model with their factor s, float64, shaped to broadcast.
    """

    model: fx.GraphModule
    factors: tuple[tuple[Tensor, Tensor], ...]


def fused(model: nn.Module, call: Callable[[nn.Module], Any], still: Callable[[Tensor], bool]) -> Fused:
    """Read a model by ``torch.fx`` and put what follows each convolution into its kernel, if nothing else reads it.

    Args:
        model: in evaluation mode; a private copy, which is discarded if it cannot be read.
        call: calls a model on a few samples, by position.
        still: whether a tensor of the model stays as it is at every point.

    Returns:
        The same function of the inputs and of the convolutions' weights, up to the order of sums.

    Raises:
        UntraceableError: what the model does depends on more than its inputs, or nothing can be fused.
    """
    if any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
        raise UntraceableError("a hook of the model would not be called")
    read = _read(model)
    call(_Told(read))
    return Fused(read, _Fusing(model, read, still).done())


def _read(model: nn.Module) -> fx.GraphModule:
    try:
        return fx.GraphModule(model, _Reader(model).trace(model))
    except Exception as fault:  # torch.fx raises whatever the model does with the stand-in for a tensor
        words = next(iter(str(fault).splitlines()), "")
        raise UntraceableError(f"torch.fx: {type(fault).__name__}: {words[:120]}") from fault


class _Reader(fx.Tracer):
    """Reads one model. Meanwhile torch sends it every call of a module in any thread: those of others pass through."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._own = set(map(id, model.modules()))

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return super().call_module(m, forward, args, kwargs) if id(m) in self._own else forward(*args, **kwargs)


class _Told(nn.Module):
    """Runs a graph once, and writes the shape and the format of every tensor beside its node."""

    def __init__(self, read: fx.GraphModule) -> None:
        super().__init__()
        self._read = (read,)

    def forward(self, *inputs: Any) -> Any:
        return _Shapes(self._read[0]).run(*inputs)


class _Shapes(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        if isinstance(found, Tensor):
            n.meta["shape"], n.meta["dtype"] = tuple(found.shape), found.dtype
        return found


class _Kernel(nn.Module):
    """A convolution with the shift, the sum and the ReLU that follow it; its output is written once.

    Args:
        conv: the convolution.
        shift: [out], added after it; left out if no norm was absorbed.
        relu: whether a ReLU follows.
        over: write a sum over its other summand, which is no longer read.
    """

    def __init__(self, conv: nn.Conv2d, shift: Tensor | None, *, relu: bool, over: bool) -> None:
        super().__init__()
        self.conv = conv
        self.shift: Tensor | None
        self.register_buffer("shift", shift)
        self._relu = "relu" if relu else None
        self._layout = (conv.padding, conv.stride, conv.dilation, conv.groups)
        mkldnn = torch.ops.mkldnn
        self._sum = (mkldnn._convolution_pointwise_ if over else mkldnn._convolution_pointwise).binary
        self._over = over

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        weight, bias = self.conv.weight, self.conv.bias
        if self.shift is not None:
            bias = self.shift if bias is None else bias + self.shift
        if other is None:
            alone = torch.ops.mkldnn._convolution_pointwise.default
            return cast("Tensor", alone(x, weight, bias, *self._layout, self._relu or "none", [], None))
        pair = (other, x) if self._over else (x, other)
        return cast("Tensor", self._sum(*pair, weight, bias, *self._layout, "add", 1.0, self._relu, [], None))


@dataclass(frozen=True)
class _Chain:
    """A convolution and what follows it, each read only by the next."""

    conv: fx.Node
    norm: fx.Node | None = None
    sum: fx.Node | None = None
    relu: fx.Node | None = None

    @property
    def nodes(self) -> list[fx.Node]:
        return [node for node in (self.conv, self.norm, self.sum, self.relu) if node is not None]

    @property
    def other(self) -> fx.Node | None:
        """The other summand."""
        if self.sum is None:
            return None
        before = self.norm or self.conv
        first, second = self.sum.args
        return second if first is before else first  # type: ignore[return-value]


class _Fusing:
    """Puts kernels into a graph."""

    def __init__(self, model: nn.Module, read: fx.GraphModule, still: Callable[[Tensor], bool]) -> None:
        self._read, self._still = read, still
        self._modules = dict(read.named_modules())
        self._nodes = list(read.graph.nodes)
        self._order = {node: number for number, node in enumerate(self._nodes)}
        self._kernels: set[fx.Node] = set()
        owned = [id(tensor) for module in model.modules() for tensor in module._parameters.values()]
        self._shared = {one for one in owned if owned.count(one) > 1}
        called = [node.target for node in read.graph.nodes if node.op == "call_module"]
        self._twice = {one for one in called if called.count(one) > 1}

    def done(self) -> tuple[tuple[Tensor, Tensor], ...]:
        chains = [chain for node in self._nodes if (chain := self._chain(node))]
        if not chains:
            raise UntraceableError("no convolution is followed by anything that its kernel could absorb")
        factors = [one for number, chain in enumerate(chains) for one in self._put(f"kernel_{number}", chain)]
        self._read.graph.lint()
        self._read.recompile()
        return tuple(factors)

    def _module(self, node: fx.Node | None, kind: type[nn.Module]) -> Any:
        """The layer that a node calls, if it is of exactly this kind and called once."""
        if node is None or node.op != "call_module" or node.target in self._twice:
            return None
        module = self._modules[str(node.target)]
        return module if type(module) is kind else None

    def _chain(self, node: fx.Node) -> _Chain | None:
        conv = self._module(node, nn.Conv2d)
        if conv is None or conv.padding_mode != "zeros" or isinstance(conv.padding, str) or not _plain(node):
            return None
        norm = _only_reader(node)
        norm = norm if self._foldable(conv, norm) else None
        last = norm or node
        total = _only_reader(last)
        total = total if self._is_sum(total, last, node) else None
        last = total or last
        relu = _only_reader(last)
        relu = relu if self._is_relu(relu) else None
        chain = _Chain(node, norm, total, relu)
        return chain if len(chain.nodes) > 1 else None

    def _foldable(self, conv: nn.Conv2d, node: fx.Node | None) -> bool:
        norm = self._module(node, nn.BatchNorm2d)
        if norm is None or norm.training or norm.running_mean is None or id(conv.weight) in self._shared:
            return False
        if conv.bias is not None and id(conv.bias) in self._shared:
            return False
        return all(t is None or self._still(t) for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var))

    def _is_sum(self, node: fx.Node | None, before: fx.Node, conv: fx.Node) -> bool:
        if node is None or node.target not in SUMS or node.kwargs or len(node.args) != 2:
            return False
        first, second = node.args
        other = second if first is before else first
        if not isinstance(other, fx.Node) or other is before or (node.target is operator.iadd and first is other):
            return False
        if self._order[other] > self._order[conv]:  # of two convolutions that are added, the later takes the other's
            return False
        alike = all(other.meta.get(key) == before.meta.get(key) is not None for key in ("shape", "dtype"))
        several = before.meta.get("shape", (0,))[0] > 1  # one sample would hide what is the same for all
        between = self._nodes[self._order[conv] + 1 : self._order[node]]
        return alike and several and not any(self._writes(one) for one in between)

    def _is_relu(self, node: fx.Node | None) -> bool:
        if node is None:
            return False
        if node.op == "call_module":
            return type(self._modules[str(node.target)]) is nn.ReLU
        return node.target in RELUS or (node.op == "call_method" and node.target in ("relu", "relu_"))

    def _writes(self, node: fx.Node) -> bool:
        """Whether a node changes a tensor that it was given: a convolution must not be postponed until after it."""
        if node.op == "call_module":
            return bool(getattr(self._modules[str(node.target)], "inplace", False))
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        inside = name.endswith("_") or (getattr(operator, name, None) is node.target and name.startswith("i"))
        return bool(node.kwargs.get("inplace") or inside)

    def _put(self, name: str, chain: _Chain) -> Iterator[tuple[Tensor, Tensor]]:
        graph, conv, last = self._read.graph, self._modules[str(chain.conv.target)], chain.nodes[-1]
        assert isinstance(conv, nn.Conv2d)
        shift, other = None, chain.other
        if chain.norm is not None:
            norm: Any = self._modules[str(chain.norm.target)]
            scale, shift = affine(norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps)
            shift = shift.to(norm.running_mean)
            own = [tensor for tensor in (conv.weight, conv.bias) if tensor is not None]
            yield from ((tensor, scale.reshape(-1, *(1,) * (tensor.dim() - 1))) for tensor in own)
        over = other is not None and self._free(other, chain)
        self._read.add_submodule(name, _Kernel(conv, shift, relu=chain.relu is not None, over=over))
        at = chain.sum or chain.conv  # not later: what it reads may be overwritten by then
        with graph.inserting_before(at):
            inputs = (chain.conv.args[0],) if other is None else (chain.conv.args[0], other)
            kernel = graph.call_module(name, inputs)
        kernel.meta = dict(last.meta)
        self._order[kernel] = self._order[at]
        self._kernels.add(kernel)
        last.replace_all_uses_with(kernel)
        for node in reversed(chain.nodes):
            graph.erase_node(node)

    def _free(self, other: fx.Node, chain: _Chain) -> bool:
        """Whether a tensor is a kernel's own output that only other kernels have read, all before this one."""
        assert chain.sum is not None
        readers = [node for node in other.users if node is not chain.sum]
        early = all(node in self._kernels and self._order[node] < self._order[chain.sum] for node in readers)
        return other in self._kernels and early and chain.conv.args[0] is not other


def _plain(conv: fx.Node) -> bool:
    """Whether a convolution is called with images in float32, by position."""
    shape, inputs = conv.meta.get("shape", ()), conv.args
    return len(inputs) == 1 and not conv.kwargs and len(shape) == 4 and conv.meta.get("dtype") == torch.float32


def _only_reader(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None
