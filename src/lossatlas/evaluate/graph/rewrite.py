"""How a traced evaluation is made cheaper without changing its value: folded norms, fused kernels, constant parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from lossatlas.evaluate.graph.trace import Trace
from lossatlas.evaluate.graph.weights import Rows

__all__ = [
    "CONVOLUTIONS",
    "FOLDABLE",
    "NORMS",
    "Program",
    "affine",
    "aten",
    "attention",
    "fold_norms",
    "fuse_kernels",
    "mkldnn",
    "moving",
    "open_attention",
    "pack",
    "placeholders",
    "program",
]

aten = torch.ops.aten
NORMS = (aten._native_batch_norm_legit_no_training.default, aten.batch_norm.default)
mkldnn = torch.ops.mkldnn
CONVOLUTIONS: tuple[Any, ...] = (aten.conv2d.default,)
"""Convolutions of images: the plain one, and the kernels that end in an addition or a relu."""
if hasattr(mkldnn, "_convolution_pointwise"):
    CONVOLUTIONS += (mkldnn._convolution_pointwise.default, mkldnn._convolution_pointwise.binary)
    CONVOLUTIONS += (mkldnn._convolution_pointwise_.binary,)
FOLDABLE = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default, aten.linear.default)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A graph with its inputs sorted: what moves, what is fixed, and what comes from the batch.

    Every step of this file takes one and returns another; the graph and the tensors of the first stay as they were.

    Attributes:
        graph: the graph; its placeholders are the names of ``slots``, of ``fixed`` and of ``batch``.
        slots: tensors that move, by placeholder.
        fixed: tensors that stay, by placeholder.
        batch: placeholders of the tensors of a batch, in order.
        packed: weights that a kernel needs in its own layout, by placeholder (see ``pack``).
    """

    graph: fx.GraphModule
    slots: Mapping[str, Rows]
    fixed: Mapping[str, Tensor]
    batch: tuple[str, ...]
    packed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


class _Draft:
    """A program while a step builds it: a graph and tables of its own."""

    def __init__(self, work: Program) -> None:
        self.graph = _copied(work.graph)
        self.slots, self.fixed, self.packed = dict(work.slots), dict(work.fixed), dict(work.packed)
        self.batch = work.batch

    def finished(self) -> Program:
        """The program, without what is no longer read."""
        for node in list(self.graph.graph.nodes):
            if node.op == "placeholder" and not node.users and node.name not in self.batch:
                self.slots.pop(node.name, None)
                self.fixed.pop(node.name, None)
                self.graph.graph.erase_node(node)
        self.graph.graph.eliminate_dead_code()
        self.graph.graph.lint()
        self.graph.recompile()
        return Program(graph=self.graph, slots=self.slots, fixed=self.fixed, batch=self.batch, packed=self.packed)


def _copied(graph: fx.GraphModule) -> fx.GraphModule:
    copied = fx.GraphModule(graph, fx.Graph())
    copied.graph = fx.Graph()
    output = copied.graph.graph_copy(graph.graph, {})
    copied.graph.output(output)
    return copied


def program(traced: Trace, slots: Mapping[str, Rows], origin: Mapping[str, Tensor]) -> Program:
    """Sort the inputs of a trace.

    Args:
        traced: the trace.
        slots: what moves, by the name of the parameter.
        origin: values of parameters that differ from the traced ones, by name.

    Returns:
        The program, of its own graph.
    """
    graph = _copied(traced.graph)
    moved, fixed, batch = {}, {}, []
    for node in placeholders(graph):
        name = traced.places[str(node.target)]
        if not name:
            batch.append(node.name)
        elif name in slots:
            moved[node.name] = slots[name]
        else:
            fixed[node.name] = origin.get(name, traced.fixed[name])
    return Program(graph=graph, slots=moved, fixed=fixed, batch=tuple(batch))


def placeholders(graph: fx.GraphModule) -> list[fx.Node]:
    """The inputs of a graph, in order."""
    return [node for node in graph.graph.nodes if node.op == "placeholder"]


def fold_norms(work: Program) -> Program:
    r"""Fold BatchNorm in evaluation mode into the convolution or linear layer before it.

    With scale :math:`s = γ / \sqrt{σ^2 + ε}` the pair computes :math:`s (W x + b - μ) + β`, which is linear in W and b:
    the base and every direction are scaled by s, in double precision, once for the whole plane. This applies only if γ,
    β, μ and σ stay; if they move, the product is not linear.

    Args:
        work: the program.

    Returns:
        The program without the norms that could be folded.
    """
    draft = _Draft(work)
    for node in list(draft.graph.graph.nodes):
        if node.target in NORMS and _foldable(draft, node):
            _fold(draft, node)
    return draft.finished()


def _foldable(work: _Draft, norm: fx.Node) -> bool:
    layer = norm.args[0]
    if not isinstance(layer, fx.Node) or layer.target not in FOLDABLE or len(layer.users) != 1:
        return False
    if norm.target is aten.batch_norm.default and norm.args[5]:
        return False
    if any(part is not None and getattr(part, "name", "") not in work.fixed for part in norm.args[1:5]):
        return False
    if layer.target is aten.linear.default and layer.meta["val"].dim() != 2:
        return False
    weights = [part for part in layer.args[1:3] if part is not None]
    known = all(part.name in work.slots or part.name in work.fixed for part in weights if isinstance(part, fx.Node))
    return known and all(len(part.users) == 1 for part in weights if isinstance(part, fx.Node))


def _fold(work: _Draft, norm: fx.Node) -> None:
    layer: Any = norm.args[0]
    parts: Any = norm.args
    gamma, beta, mean, variance = (None if part is None else work.fixed[part.name] for part in parts[1:5])
    assert mean is not None
    assert variance is not None
    eps: float = parts[6] if norm.target is NORMS[0] else parts[7]
    scale, shift = affine(gamma, beta, mean, variance, eps)
    weight = layer.args[1]
    shape = (-1, *(1 for _ in weight.meta["val"].shape[1:]))
    _scale(work, weight.name, scale.reshape(shape))
    bias = layer.args[2] if len(layer.args) > 2 else None
    if bias is not None:
        _scale(work, bias.name, scale)
        _shift(work, bias.name, shift)
    else:
        with work.graph.graph.inserting_before(layer):
            bias = work.graph.graph.placeholder(f"folded_bias_{len(work.fixed)}")
        first = next(iter(work.graph.graph.nodes))
        first.prepend(bias)
        bias.meta = {"val": layer.args[1].meta["val"][:, *(0 for _ in shape[1:])]}
        work.fixed[bias.name] = shift.to(variance)
        layer.args = (*layer.args[:2], bias, *layer.args[3:])
    values = list(norm.users) if norm.target is NORMS[0] else [norm]
    for value in values:  # the functional form returns (output, …), and only the first is ever read
        value.replace_all_uses_with(layer)


def affine(
    gamma: Tensor | None, beta: Tensor | None, mean: Tensor, variance: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    r"""A BatchNorm in evaluation mode as :math:`s x + t`, with :math:`s = γ / \sqrt{σ^2 + ε}` and :math:`t = β - μ s`.

    Returns:
        s and t, float64, an entry for each channel.

    Example:
        >>> one = torch.ones(1)
        >>> [float(part) for part in affine(2 * one, one, one, 3 * one, 1.0)]
        [1.0, 0.0]
    """
    scale = (variance.double() + eps).rsqrt()
    scale = scale if gamma is None else scale * gamma.double()
    return scale, (0.0 if beta is None else beta.double()) - mean.double() * scale


def _scale(work: _Draft, name: str, scale: Tensor) -> None:
    if name in work.fixed:
        work.fixed[name] = (work.fixed[name].double() * scale).to(work.fixed[name])
    else:
        rows = work.slots[name].tensors
        work.slots[name] = Rows((rows.double() * scale).to(rows))


def _shift(work: _Draft, name: str, shift: Tensor) -> None:
    if name in work.fixed:
        work.fixed[name] = (work.fixed[name].double() + shift).to(work.fixed[name])
    else:
        rows = work.slots[name].tensors.clone()
        rows[0] = (rows[0].double() + shift).to(rows)
        work.slots[name] = Rows(rows)


def moving(work: Program | _Draft) -> set[fx.Node]:
    """The nodes whose value depends on the point, the output among them."""
    found: set[fx.Node] = set()
    for node in work.graph.graph.nodes:
        if node.name in work.slots or node.op == "output" or any(parent in found for parent in node.all_input_nodes):
            found.add(node)
    return found


def fuse_kernels(work: Program) -> Program:
    """Put conv + relu and conv + add + relu into single oneDNN kernels, which write their output once.

    A sum is written over the older summand if that one is not read afterwards. Convolutions that nothing follows become
    kernels too if their input moves, since the kernels take weights that are laid out for them in advance.

    Args:
        work: the program, on the CPU, in float32 or bfloat16.

    Returns:
        The program of such kernels.
    """
    draft = _Draft(work)
    order = {node: index for index, node in enumerate(draft.graph.graph.nodes)}
    moves = moving(draft)
    for conv in [node for node in draft.graph.graph.nodes if node.target is aten.conv2d.default]:
        chain = _chain(conv, order)
        if chain is not None or conv.args[0] in moves:
            _replace(draft, conv, chain, order, moves)
    return draft.finished()


def _chain(conv: fx.Node, order: dict[fx.Node, int]) -> tuple[fx.Node | None, fx.Node] | None:
    """The addition (if any) and the relu that follow a convolution and are its only readers."""
    if len(conv.users) != 1:
        return None
    after = next(iter(conv.users))
    if after.target is aten.relu.default:
        return None, after
    if after.target is not aten.add.Tensor or after.kwargs or len(after.users) != 1:
        return None
    other = after.args[1] if after.args[0] is conv else after.args[0]
    same = isinstance(other, fx.Node) and other is not conv and _alike(other, conv)
    relu = next(iter(after.users))
    # Of two convolutions that are added, the later one takes the other's output.
    later = isinstance(other, fx.Node) and (other.target not in CONVOLUTIONS or order[other] < order[conv])
    return (after, relu) if same and later and relu.target is aten.relu.default else None


def _alike(a: fx.Node, b: fx.Node) -> bool:
    first, second = a.meta.get("val"), b.meta.get("val")
    return isinstance(first, Tensor) and isinstance(second, Tensor) and str(first.shape) == str(second.shape)


def _replace(
    work: _Draft,
    conv: fx.Node,
    chain: tuple[fx.Node | None, fx.Node] | None,
    order: dict[fx.Node, int],
    moves: set[fx.Node],
) -> None:
    given: dict[int, Any] = dict(enumerate(conv.args))
    x, weight = given[0], given[1]
    bias, stride = given.get(2), given.get(3, [1, 1])
    padding, dilation, groups = given.get(4, [0, 0]), given.get(5, [1, 1]), given.get(6, 1)
    layout = (padding, stride, dilation, groups)
    add, last = (None, conv) if chain is None else chain
    arguments: tuple[Any, ...]
    fused: tuple[Any, ...] = ("add", 1.0, "relu", [], None)
    with work.graph.graph.inserting_before(last):
        if add is None:
            call: Any = mkldnn._convolution_pointwise.default
            arguments = (x, weight, bias, *layout, "none" if last is conv else "relu", [], None)
        else:
            other: Any = add.args[1] if add.args[0] is conv else add.args[0]
            if _free(other, conv, add, order, moves):
                call, arguments = mkldnn._convolution_pointwise_.binary, (other, x, weight, bias, *layout, *fused)
            else:
                call, arguments = mkldnn._convolution_pointwise.binary, (x, other, weight, bias, *layout, *fused)
        kernel = work.graph.graph.call_function(call, arguments)
    kernel.meta = dict(last.meta)
    order[kernel] = order[last]
    moves |= {kernel} if last in moves else set()
    last.replace_all_uses_with(kernel)
    if isinstance(weight, fx.Node) and weight.op == "placeholder" and len(weight.users) == 2:  # the old one and the new
        size = [int(s) for s in x.meta["val"].shape[1:]]
        work.packed[weight.name] = (*layout, size)


def _free(other: fx.Node, conv: fx.Node, add: fx.Node, order: dict[fx.Node, int], moves: set[fx.Node]) -> bool:
    """Whether a tensor is a kernel's own output, made afresh for each point, that is not read after this addition."""
    last = max(order[user] for user in other.users if user is not add) if len(other.users) > 1 else -1
    return other.target in CONVOLUTIONS[1:] and other in moves and conv.args[0] is not other and last < order[conv]


def pack(weight: Tensor, layout: tuple[Any, ...], samples: int) -> Tensor:
    """The weight of a convolution in the layout that its kernel needs, so that no call has to rearrange it.

    Args:
        weight: [out, in, height, width].
        layout: padding, stride, dilation, groups, and the shape of one input.
        samples: how many inputs at once.

    Returns:
        An opaque tensor that only the kernel reads.
    """
    *how, size = layout
    packed: Tensor = torch.ops.aten.mkldnn_reorder_conv2d_weight.default(weight.to_mkldnn(), *how, [samples, *size])
    return packed


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    r"""Attention :math:`softmax(Q K^T s + M) V` in plain products, which can be done for several points at once.

    The arguments are those of ``torch.nn.functional.scaled_dot_product_attention``.

    Returns:
        The values mixed, with the shape of ``query`` except for its last dimension.

    Example:
        >>> q, k, v = torch.randn(3, 2, 4, 5, 8)
        >>> exact = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        >>> torch.allclose(attention(q, k, v, is_causal=True), exact, atol=1e-6)
        True
    """
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(scores, -1) @ value


def open_attention(work: Program) -> Program:
    """Rewrite attention as plain products: its own kernel handles only one point at a time.

    Args:
        work: the program.

    Returns:
        The program with plain products.
    """
    draft = _Draft(work)
    for node in draft.graph.graph.nodes:
        if node.target is aten.scaled_dot_product_attention.default:
            node.target = attention
    return draft.finished()
