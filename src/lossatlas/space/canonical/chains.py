"""How do layers follow each other? The graph of torch.fx shows which pass their scale on to the next.

Between two layers that only a positively homogeneous function separates (ReLU, LeakyReLU, pooling, flattening), a unit
may be multiplied by any positive number on its way in and divided by it on its way out.
"""

from __future__ import annotations

import collections
import operator
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from lossatlas.errors import SpecError
from lossatlas.oneline import first_line, one_line

__all__ = ["GAINS", "LAYERS", "Network", "Pair", "balance", "read"]

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
GAINS = (nn.LayerNorm, nn.RMSNorm)

_POOLS = tuple(
    getattr(nn, f"{kind}Pool{dims}d") for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg") for dims in (1, 2, 3)
)
_SAME_SCALE = (nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Flatten, *(nn.Dropout, nn.Dropout1d, nn.Dropout2d), *_POOLS)
_FUNCTIONS = {
    *(F.relu, torch.relu, F.leaky_relu, torch.flatten, F.dropout, F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
    *(F.max_pool1d, F.max_pool2d, F.max_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
    *(F.adaptive_max_pool1d, F.adaptive_max_pool2d, torch.max_pool2d),
}
_METHODS = ("relu", "relu_", "flatten", "contiguous")
_SHAPES = ("size", "dim", "shape", "ndim")


@dataclass(frozen=True)
class Pair:
    """Two layers, with nothing but a homogeneous function between them.

    Attributes:
        first: path of the first.
        second: path of the second.
        repeats: inputs of the second for each output of the first: pixels of a channel, where an image is flattened.
    """

    first: str
    second: str
    repeats: int


@dataclass(frozen=True)
class Network:
    """What can be rescaled in a network without changing its function.

    Attributes:
        pairs: layers that pass their scale on.
        folds: a layer and the BatchNorm right after it.
        gains: a LayerNorm or RMSNorm, and the linear layers that read it, if nothing else does.
        left: what was found but has no canonical form here, in words.
    """

    pairs: tuple[Pair, ...]
    folds: tuple[tuple[str, str], ...]
    gains: tuple[tuple[str, tuple[str, ...]], ...]
    left: tuple[str, ...]

    __repr__ = one_line


def read(model: nn.Module) -> Network:
    """Read the chains of a network.

    Args:
        model: any module that torch.fx can trace; it is not changed.

    Returns:
        Its chains.

    Raises:
        SpecError: it cannot be traced.

    Example:
        >>> read(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))).pairs
        (Pair(first='0', second='2', repeats=1),)
    """
    try:
        graph = fx.Tracer().trace(model)
    except Exception as fault:  # whatever a model's forward raises when it is given symbols
        raise SpecError(
            f"torch.fx cannot read the forward of {type(model).__name__} ({first_line(fault)[:120]})"
        ) from fault
    reader = _Reader(model, graph)
    folds = tuple(reader.folds())
    pairs = tuple(reader.pairs(frozenset(norm for _, norm in folds)))
    gains = tuple(reader.gains())
    return Network(pairs, folds, gains, tuple(reader.left(folds, gains)))


class _Reader:
    """The graph of a model, and which of its modules may be changed: those that are called once and share no tensor."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        self.graph = graph
        self.modules = dict(model.named_modules())
        called = collections.Counter(node.target for node in graph.nodes if node.op == "call_module")
        read = {node.target for node in graph.nodes if node.op == "get_attr"}
        uses = collections.Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
        self.free = {
            path
            for path, module in self.modules.items()
            if called[path] == 1
            and all(uses[id(p)] == 1 and f"{path}.{name}" not in read for name, p in module.named_parameters())
        }

    def module(self, node: fx.Node, kinds: tuple[type[nn.Module], ...]) -> str:
        """The path of the module that a node calls, if of a given kind and free to change; otherwise an empty text."""
        path = str(node.target)
        calls = node.op == "call_module" and path in self.free and isinstance(self.modules[path], kinds)
        return path if calls else ""

    def folds(self) -> Iterator[tuple[str, str]]:
        """Layers with a BatchNorm of running statistics right after them."""
        for node in self.graph.nodes:
            first, follower = self.module(node, LAYERS), _only_reader(node)
            second = self.module(follower, (_BatchNorm,)) if first and follower else ""
            if second and self.modules[second].running_mean is not None:
                yield first, second

    def pairs(self, folded: frozenset[str]) -> Iterator[Pair]:
        """Layers that pass their scale on, once the folded norms are gone."""
        for node in self.graph.nodes:
            first = self.module(node, LAYERS)
            if not first:
                continue
            flat, here = False, node
            while (follower := _only_reader(here)) is not None and self._same_scale(follower, folded):
                flat |= _flattens(follower, self.modules)
                here = follower
            second = self.module(follower, LAYERS) if follower is not None else ""
            repeats = self._repeats(first, second, flat) if second else 0
            if repeats:
                yield Pair(first, second, repeats)

    def _same_scale(self, node: fx.Node, folded: frozenset[str]) -> bool:
        if node.op == "call_module":
            return str(node.target) in folded or isinstance(self.modules[str(node.target)], _SAME_SCALE)
        return node.target in (_FUNCTIONS if node.op == "call_function" else _METHODS)

    def _repeats(self, first: str, second: str, flat: bool) -> int:
        """Inputs of the second layer for each output of the first; 0 where they do not fit unit by unit."""
        a, b = self.modules[first], self.modules[second]
        outputs, inputs = a.weight.shape[0], b.weight.shape[1]
        if getattr(b, "groups", 1) != 1:
            return 0
        if isinstance(a, nn.Linear) or not isinstance(b, nn.Linear):
            return 1 if inputs == outputs and isinstance(a, nn.Linear) == isinstance(b, nn.Linear) and not (flat) else 0
        return int(inputs // outputs) if flat and inputs % outputs == 0 else 0

    def gains(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Norms whose gain the linear layers after them can absorb."""
        for node in self.graph.nodes:
            norm = self.module(node, GAINS)
            readers = [self.module(user, (nn.Linear,)) for user in _readers(node)] if norm else []
            if readers and all(readers) and self.modules[norm].weight is not None:
                yield norm, tuple(readers)

    def left(self, folds: tuple[tuple[str, str], ...], gains: tuple[tuple[str, tuple[str, ...]], ...]) -> Iterator[str]:
        """What is not brought into a form, in words."""
        folded, taken = {norm for _, norm in folds}, {norm for norm, _ in gains}
        kinds: tuple[tuple[tuple[type[nn.Module], ...], set[str], str], ...] = (
            ((_BatchNorm,), folded, "BatchNorm layers do not follow a layer of their own"),
            (GAINS, taken, "norms are read by more than linear layers"),
        )
        for classes, done, reason in kinds:
            rest = [path for path, module in self.modules.items() if isinstance(module, classes) and path not in done]
            if rest:
                yield f"{len(rest)} {reason}, first {rest[0]}"
        if any(node.target in (torch.add, operator.add, operator.iadd) for node in self.graph.nodes):
            yield "sums (shortcuts): one scale for each channel of what is added up stays free"


def _readers(node: fx.Node) -> list[fx.Node]:
    """The nodes that read the values of a node, not just its shape."""
    return [user for user in node.users if not (user.target in _SHAPES or _reads_shape(user))]


def _reads_shape(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target is getattr and node.args[1] in _SHAPES


def _only_reader(node: fx.Node) -> fx.Node | None:
    readers = _readers(node)
    return readers[0] if len(readers) == 1 and readers[0].args[:1] == (node,) else None


def _flattens(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], nn.Flatten)
    return node.target in (torch.flatten, "flatten")


def balance(model: nn.Module, pairs: tuple[Pair, ...], *, sweeps: int = 1000) -> float:
    r"""Make the weights into each unit and out of it equally long, in place.

    Each unit is multiplied by :math:`\sqrt{‖out‖ / ‖in‖}` on its way in and divided by it on its way out, layer after
    layer, until nothing changes. This is the rescaling of least norm, and it is unique, since the squared norm is a
    convex function of the logarithms of the scales (Stock et al. 2019, arXiv 1902.10416). A unit without weights on one
    side is left as it is.

    Args:
        model: changed in place.
        pairs: from :func:`read`.
        sweeps: the largest number of rounds.

    Returns:
        The largest change of a logarithm in the last round.
    """
    modules = dict(model.named_modules())
    weights = {p: modules[p].weight.detach().double() for pair in pairs for p in (pair.first, pair.second)}
    biases = {p.first: b.detach().double() for p in pairs if isinstance(b := modules[p.first].bias, Tensor)}
    change = 0.0
    for _ in range(sweeps):
        change = max((_balance_pair(pair, weights, biases) for pair in pairs), default=0.0)
        if change < 1e-13:
            break
    with torch.no_grad():
        for path, weight in weights.items():
            modules[path].weight.copy_(weight)
        for path, bias in biases.items():
            modules[path].bias.copy_(bias)
    return change


def _balance_pair(pair: Pair, weights: dict[str, Tensor], biases: dict[str, Tensor]) -> float:
    into, out = weights[pair.first], weights[pair.second]
    units = len(into)
    grouped = out.reshape(len(out), units, -1)
    inside, outside = into.flatten(1).norm(dim=1), grouped.transpose(0, 1).flatten(1).norm(dim=1)
    alive = (inside > 0) & (outside > 0)
    scale = torch.where(alive, outside / inside, 1.0).sqrt()
    weights[pair.first] = into * scale.reshape(-1, *[1] * (into.dim() - 1))
    weights[pair.second] = (grouped / scale[:, None]).reshape(out.shape)
    if pair.first in biases:
        biases[pair.first] = biases[pair.first] * scale
    return float(scale.log().abs().max())
