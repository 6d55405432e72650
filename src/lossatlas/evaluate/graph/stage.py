"""What is computed once for a plane: everything before the first moved layer, and that layer if it is affine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from lossatlas.evaluate.graph.rewrite import FOLDABLE, Program, moving

__all__ = ["COORDINATES", "FAN_IN", "Mixing", "Staged", "mixed", "split", "summed"]

FAN_IN = 48
"""Number of inputs of a unit above which mixing 1 + k stored outputs is cheaper than computing a new one."""

COORDINATES = "coordinates"

Mixing = Callable[[Tensor, Tensor], Tensor]


def mixed(coordinates: Tensor, parts: Tensor) -> Tensor:
    r"""The output of an affine layer at a point: :math:`y_0 + \sum_a c_a y_a`, from its outputs for every row.

    Args:
        coordinates: [1 + k], with its leading 1.
        parts: [1 + k, *shape].

    Returns:
        [*shape].

    Example:
        >>> mixed(torch.tensor([1.0, 0.5]), torch.tensor([[1.0, 2.0], [4.0, 0.0]])).tolist()
        [3.0, 2.0]
    """
    total: Tensor = torch.tensordot(coordinates, parts, dims=1)
    return total


def summed(coordinates: Tensor, parts: Tensor) -> Tensor:
    """The same as ``mixed``, written as sums: a compiled graph does them in one pass with what follows the layer."""
    total = coordinates[0] * parts[0]
    for row in range(1, len(parts)):
        total = total + coordinates[row] * parts[row]
    return total


@dataclass(frozen=True)
class Staged:
    """A program cut in two.

    Attributes:
        after: what depends on the point; its placeholders are slots, fixed tensors, what ``before`` hands over, and
            the coordinates.
        work: the whole program.
        handed: the nodes whose values ``before`` computes once for each batch, by placeholder of ``after``.
        affine: those of them that are kept for the base and each direction.
    """

    after: fx.GraphModule
    work: Program
    handed: Mapping[str, fx.Node]
    affine: frozenset[fx.Node]

    @property
    def inputs(self) -> list[str]:
        """The placeholders of ``after``, in order."""
        return [node.name for node in self.after.graph.nodes if node.op == "placeholder"]

    def of(self, work: Program) -> Staged:
        """The same parts of a program with the same graph, whose tensors are in another format or place."""
        return replace(self, work=work)

    def before(self, batch: list[Tensor]) -> dict[str, Any]:
        """The constant part for one batch: what ``after`` is handed, by placeholder."""
        wanted = set(self.handed.values())
        values: dict[fx.Node, Any] = {}
        needed = _needed(wanted)
        for node in self.work.graph.graph.nodes:
            if node not in needed or node.name in self.work.slots:
                continue
            if node.op == "placeholder":
                own = self.work.fixed.get(node.name)
                values[node] = batch[self.work.batch.index(node.name)] if own is None else own
            elif node in self.affine:
                values[node] = _for_every_row(node, values, self.work)
            else:
                values[node] = node.target(*_known(node.args, values), **_known(node.kwargs, values))
        return {name: values[node] for name, node in self.handed.items()}


def split(work: Program, *, room: int, samples: int, mixing: Mixing = mixed) -> Staged:
    """Cut a program between what depends on the point and what does not.

    Args:
        work: the program; left as it is.
        room: bytes that the stored values may take, for all samples together.
        samples: number of samples.
        mixing: how the stored outputs of an affine layer become its output at a point.

    Returns:
        The two parts.
    """
    moves = moving(work)
    affine = frozenset(node for node in moves if _pays(node, moves, work))
    handed = _frontier(work, moves, affine)
    if _stored(handed, affine, work, samples) > room:
        affine = frozenset()
        moves = {node for node in work.graph.graph.nodes if node.name not in (*work.fixed, *work.batch)}
        handed = _frontier(work, moves, affine)
    after, late = fx.Graph(), {}
    for node in work.graph.graph.nodes:
        if node.op == "placeholder" and (node.name in work.slots or node.name in work.fixed):
            late[node] = after.placeholder(node.name)
    names = {}
    for node in handed:
        late[node] = after.placeholder(f"handed_{node.name}")
        names[late[node].name] = node
    coordinates = after.placeholder(COORDINATES)
    for node in work.graph.graph.nodes:
        if node in affine:
            late[node] = after.call_function(mixing, (coordinates, late[node]))
        elif node in moves and node not in late:
            late[node] = after.node_copy(node, lambda parent: late[parent])
    after.eliminate_dead_code()
    for node in reversed(list(after.nodes)):
        if node.op == "placeholder" and not node.users and node is not coordinates:
            after.erase_node(node)
    return Staged(fx.GraphModule(torch.nn.Module(), after), work, names, affine)


def _pays(node: fx.Node, moves: set[fx.Node], work: Program) -> bool:
    """Whether a layer is affine in the coordinates (its input stays), and wide enough to be worth storing."""
    if node.target not in FOLDABLE or node.args[0] in moves:
        return False
    weights = [part for part in node.args[1:3] if isinstance(part, fx.Node)]
    if not all(part.name in work.slots or part.name in work.fixed for part in weights):
        return False
    return bool(math.prod(weights[0].meta["val"].shape[1:]) >= FAN_IN)


def _frontier(work: Program, moves: set[fx.Node], affine: frozenset[fx.Node]) -> list[fx.Node]:
    """The nodes that are computed before and read after."""
    late = moves - affine
    return [
        node
        for node in work.graph.graph.nodes
        if node in affine or (node not in moves and node.name not in work.fixed and late & set(node.users))
    ]


def _stored(handed: list[fx.Node], affine: frozenset[fx.Node], work: Program, samples: int) -> int:
    """Bytes of what is stored beyond the batch itself."""
    rows = 1 + max((len(slot.tensors) - 1 for slot in work.slots.values()), default=0)
    total = 0
    for node in handed:
        value = node.meta.get("val")
        if isinstance(value, Tensor) and node.op != "placeholder":
            each = math.prod(int(size) for size in value.shape[1:]) * value.element_size()
            total += each * samples * (rows if node in affine else 1)
    return total


def _needed(wanted: set[fx.Node]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    pending = list(wanted)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += node.all_input_nodes
    return found


def _known(part: Any, values: Mapping[fx.Node, Any]) -> Any:
    return fx.node.map_arg(part, lambda node: values[node])


def _for_every_row(node: fx.Node, values: Mapping[fx.Node, Any], work: Program) -> Tensor:
    """The outputs of an affine layer for the base and for each direction; only the base has a fixed bias."""
    weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
    outputs: list[Tensor] = []
    for row in range(1 + max(len(slot.tensors) - 1 for slot in work.slots.values())):
        parts = [_row(part, row, work) for part in (weight, bias)]
        if parts[0] is None:
            value = torch.zeros_like(outputs[0])
            outputs.append(value if parts[1] is None else value + _along(node, parts[1]))
            continue
        rest = _known(node.args[3:], values)
        outputs.append(node.target(values[node.args[0]], *parts, *rest))  # type: ignore[index, operator]
    return torch.stack(outputs)


def _row(part: Any, row: int, work: Program) -> Tensor | None:
    if part is None:
        return None
    if part.name in work.slots:
        return work.slots[part.name].tensors[row]
    return work.fixed[part.name] if row == 0 else None


def _along(node: fx.Node, bias: Tensor) -> Tensor:
    """A bias in the shape in which it is added to the output of its layer."""
    spatial = 0 if node.target is torch.ops.aten.linear.default else node.meta["val"].dim() - 2
    return bias.reshape(-1, *(1 for _ in range(spatial)))
