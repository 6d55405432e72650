r"""Which of the equivalent copies of a network is nearest to another? Alignment by permuting hidden units.

Two networks trained apart number their hidden units differently, so the straight line between them mixes units that
have nothing to do with each other. Permuting the units of one changes nothing that it computes. *Weight matching*
chooses permutations that bring the weights as near to the other network's as possible: for one group of units at a
time, with all others fixed, that is a linear assignment problem, and the groups are solved in turn until nothing
improves (Ainsworth, Hayase and Srinivasa 2023, arXiv 2209.04836, algorithm 1). The result is a local optimum: two
starts are tried, the networks as they are, and a sweep from the inputs onwards.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from lossatlas.connect import units
from lossatlas.connect.channels import Channels
from lossatlas.connect.units import Group, UnitAxis
from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, described_type
from lossatlas.objective import Objective, calling
from lossatlas.objective.batches import map_tensors, tensors_of
from lossatlas.oneline import number_of, one_line
from lossatlas.space import directions as ways
from lossatlas.space.parameters import Parameters, check_same_shapes

__all__ = ["ROUNDS", "TOLERANCE", "Alignment", "align"]

ROUNDS = 100
TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Alignment(Mapping[str, Tensor]):
    """A network with its units permuted: a mapping of its tensors by name, as everything here accepts.

    Attributes:
        tensors: all tensors of the permuted network.
        permutations: by group, int64 [size]: unit i of the new network is unit p[i] of the old one.
        groups: what was permuted.
        before: distance from the other network before, in parameter norm.
        after: the same after.
        rounds: how often all groups were matched.
        reasons: why some units were held still, if the graph was not fully known.
        checked: largest difference between the outputs before and after, as a share of their size, on a batch in double
            precision; None where there was no batch.
    """

    tensors: Mapping[str, Tensor]
    permutations: Mapping[str, np.ndarray]
    groups: Mapping[str, Group]
    before: float
    after: float
    rounds: int
    reasons: tuple[str, ...] = field(default=())
    checked: float | None = None

    __repr__ = one_line

    def __getitem__(self, name: str) -> Tensor:
        """A tensor of the permuted network."""
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        """The names of its tensors."""
        return iter(self.tensors)

    def __len__(self) -> int:
        """The number of tensors."""
        return len(self.tensors)

    @property
    def moved(self) -> int:
        """How many units have changed places; 0 if the network is unchanged."""
        return sum(int((p != np.arange(len(p))).sum()) for p in self.permutations.values())

    @property
    def words(self) -> str:
        """What was permuted and how much closer the networks are, in a sentence."""
        count = sum(group.size for group in self.groups.values())
        sure = "" if self.checked is None else f"; outputs differ by {self.checked:.1g} of their size"
        groups = number_of(len(self.groups), "group")
        return (
            f"{self.moved} of {count} units in {groups} permuted: distance {self.before:.4g} before, "
            f"{self.after:.4g} after{sure}"
        )


def align(
    a: Objective | nn.Module,
    b: nn.Module | Parameters,
    *,
    groups: Mapping[str, Iterable[tuple[str, int]]] | None = None,
    check: Any = None,
    seed: int = 0,
) -> Alignment:
    """Permute the hidden units of one network so that its weights come close to another's; it still computes the same.

    Args:
        a: the network that stays; an Objective stands for its model, and its first batch for ``check``.
        b: the network that is permuted, a model or a state dict of the same architecture. It is not changed.
        groups: which axes of which tensors carry the same units, ``{"hidden": [("fc1.weight", 0), ("fc2.weight",
            1)]}``; by default they are read off the network, see :mod:`lossatlas.connect.channels`.
        check: a batch, as an Objective takes it, on which outputs before and after are compared.
        seed: of the order in which groups are matched.

    Returns:
        The permuted network: ``la.interpolate(objective, a, la.align(objective, b))``.

    Raises:
        SpecError: the architectures differ, no unit can be permuted (the message says why), or, with ``check``, the
            permutation changes the outputs.

    Example:
        >>> a = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> b = copy.deepcopy(a)
        >>> with torch.no_grad():
        ...     for tensor, dim in ((b[0].weight, 0), (b[0].bias, 0), (b[2].weight, 1)):
        ...         _ = tensor.copy_(tensor.flip(dim))
        >>> align(a, b).permutations["0.weight"].tolist(), align(a, b).after
        ([2, 1, 0], 0.0)
    """
    model = a.model if isinstance(a, Objective) else a
    if not isinstance(model, nn.Module):
        raise SpecError(f"a is {described_type(a)}; expected a model or an Objective, whose graph says what may move")
    if check is None and isinstance(a, Objective):
        check = next(iter(a.batches))
    there = ways.tensors_of(b.state_dict() if isinstance(b, nn.Module) else b)
    here = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    own = [name for name, _ in model.named_parameters()]
    check_same_shapes({n: there[n] for n in own if n in there}, {n: here[n] for n in own})
    check_kind("groups", {} if groups is None else groups, Mapping, AXES)
    found, reasons = _groups(model, groups)
    tensors = {name: tensor for name, tensor in {**here, **there}.items() if name in here}
    matcher = _Matcher(found, {n: _array(here[n]) for n in own}, {n: _array(tensors[n]) for n in own})
    permutations, rounds = matcher.best(seed)
    moved = {name: _permuted(tensor, name, found, permutations) for name, tensor in tensors.items()}
    return Alignment(
        tensors={name: moved[name] for name in there if name in moved},
        permutations=permutations,
        groups=found,
        before=_distance({n: tensors[n] for n in own}, here),
        after=_distance({n: moved[n] for n in own}, here),
        rounds=rounds,
        reasons=tuple(reasons),
        checked=None if check is None else _checked(a, model, check, tensors, moved),
    )


AXES = 'axes by group, such as {"hidden": [("fc1.weight", 0), ("fc2.weight", 1)]}'


def _groups(
    model: nn.Module, groups: Mapping[str, Iterable[tuple[str, int]]] | None
) -> tuple[dict[str, Group], list[str]]:
    if groups is None:
        read = Channels(model)
        if not read.groups:
            why = "; ".join(read.reasons[:4]) or "it has no hidden units between two layers"
            raise SpecError(
                f"{type(model).__name__} has no units that can be permuted: {why}. Name them yourself with groups=…"
            )
        return read.groups, read.reasons
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, axes in groups.items():
        check_kind(f"groups[{name!r}]", axes, (list, tuple, set), AXES)
        sizes = set()
        for tensor, dim in axes:
            if tensor not in shapes or not 0 <= dim < len(shapes[tensor]):
                raise SpecError(f"groups[{name!r}]: the model has no dimension {dim} of a tensor {tensor!r}")
            sizes.add(shapes[tensor][dim])
        if len(sizes) != 1:
            raise SpecError(f"groups[{name!r}]: its axes have the sizes {sorted(sizes)}; expected one size")
    return dict(units.given(groups, shapes)), []


class _Matcher:
    """Weight matching between two networks.

    Args:
        groups: what can be permuted.
        a: arrays by name, of the network that stays.
        b: of the one that is permuted.
    """

    def __init__(self, groups: Mapping[str, Group], a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> None:
        self.groups = groups
        self.by_tensor = {n: axes for n, axes in units.axes_of(groups).items() if n in a}
        self.a = a
        self.b = b

    def best(self, seed: int) -> tuple[dict[str, np.ndarray], int]:
        """The best permutations of both starts, and the rounds they took."""
        rng = np.random.default_rng(seed)
        found = []
        for start in (self._as_they_are(), self._sweep()):
            permutations, rounds = self._improved(start, rng)
            found.append((self.similarity(permutations), permutations, rounds))
        best = max(found, key=lambda one: one[0])
        return best[1], best[2]

    def _as_they_are(self) -> dict[str, np.ndarray]:
        return {name: np.arange(group.size) for name, group in self.groups.items()}

    def similarity(self, permutations: Mapping[str, np.ndarray]) -> float:
        """Inner product of the two networks over the tensors that move."""
        return math.fsum(float(np.vdot(self.a[name], self._moved(name, permutations))) for name in self.by_tensor)

    def _moved(self, name: str, permutations: Mapping[str, np.ndarray], but: UnitAxis | None = None) -> np.ndarray:
        array = self.b[name]
        for group, axis in self.by_tensor[name]:
            if axis is not but:
                array = np.take(array, _spread(permutations[group], axis.block), axis=axis.dim)
        return array

    def _gain(self, name: str, permutations: Mapping[str, np.ndarray], known: set[str] | None = None) -> np.ndarray:
        """How alike are unit i of one network and unit j of the other, float64 [size, size].

        With ``known``, only tensors count whose other axes belong to known groups.

        Returns:
            Inner products of the units' weights, summed over the group's tensors.
        """
        size = self.groups[name].size
        total = np.zeros((size, size))
        for axis in self.groups[name].axes:
            others = [group for group, other in self.by_tensor.get(axis.tensor, []) if other is not axis]
            if axis.tensor not in self.by_tensor or (known is not None and not known.issuperset(others)):
                continue
            moved = self._moved(axis.tensor, permutations, axis)
            total += _rows(self.a[axis.tensor], axis, size) @ _rows(moved, axis, size).T
        return total

    def _sweep(self) -> dict[str, np.ndarray]:
        """Match each group by what is known already, starting from the inputs: exact for a permuted copy."""
        permutations, known = self._as_they_are(), set[str]()
        pending = list(self.groups)
        while pending:
            gains = {name: self._gain(name, permutations, known) for name in pending}
            name = next((name for name in pending if gains[name].any()), pending[0])
            gain = gains[name] if gains[name].any() else self._gain(name, permutations)
            permutations[name] = _assigned(gain)
            known.add(name)
            pending.remove(name)
        return permutations

    def _improved(
        self, permutations: dict[str, np.ndarray], rng: np.random.Generator
    ) -> tuple[dict[str, np.ndarray], int]:
        names = list(self.groups)
        best = self.similarity(permutations)
        for rounds in range(1, ROUNDS + 1):
            improved = False
            for index in rng.permutation(len(names)):
                name = names[index]
                tried = {**permutations, name: _assigned(self._gain(name, permutations))}
                value = self.similarity(tried) if (tried[name] != permutations[name]).any() else best
                if value > best + 1e-12 * abs(best):
                    permutations, best, improved = tried, value, True
            if not improved:
                return permutations, rounds
        return permutations, ROUNDS


def _assigned(gain: np.ndarray) -> np.ndarray:
    return np.asarray(linear_sum_assignment(gain, maximize=True)[1])


def _rows(array: np.ndarray, axis: UnitAxis, size: int) -> np.ndarray:
    """A tensor with one row for each unit."""
    return np.moveaxis(array, axis.dim, 0).reshape(size, -1)


def _spread(permutation: np.ndarray, block: int) -> np.ndarray:
    """A permutation of units as one of entries, with a block of entries for each unit."""
    return np.asarray((permutation[:, None] * block + np.arange(block)).ravel())


def _array(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().double().numpy())


def _permuted(tensor: Tensor, name: str, groups: Mapping[str, Group], permutations: Mapping[str, np.ndarray]) -> Tensor:
    moved = tensor.detach()
    for group, entry in groups.items():
        for axis in entry.axes:
            if axis.tensor == name:
                index = torch.from_numpy(_spread(permutations[group], axis.block)).to(moved.device)
                moved = moved.index_select(axis.dim, index)
    return moved.clone()


def _distance(a: Parameters, b: Parameters) -> float:
    return math.sqrt(math.fsum(float((a[n].cpu().double() - b[n].cpu().double()).square().sum()) for n in a))


def _checked(a: Objective | nn.Module, model: nn.Module, batch: Any, before: Parameters, after: Parameters) -> float:
    """The largest difference of the outputs of two sets of weights, as a share of their size.

    Returns:
        The share, at most what rounding explains.

    Raises:
        SpecError: it is more than rounding.
    """
    twin = copy.deepcopy(model).double().eval()
    forward = a.forward if isinstance(a, Objective) else calling.forward
    data = map_tensors(lambda t: t.double() if t.is_floating_point() else t, batch)
    outputs = []
    for state in (before, after):
        twin.load_state_dict(dict(state))
        with torch.no_grad():
            outputs.append(tensors_of(_plain(calling.predictions(forward(twin, data)[0]))))
    size = max(float(t.abs().max()) for t in outputs[0] if t.is_floating_point()) or 1.0
    pairs = zip(*outputs, strict=True)
    gap = max(float((p - q).abs().max()) for p, q in pairs if p.is_floating_point()) / size
    if not gap <= TOLERANCE:
        raise SpecError(
            f"the permutations change the outputs of {type(model).__name__} by {gap:.1g} of their size: its graph was "
            "read wrongly. Name its units yourself with groups=…"
        )
    return gap


def _plain(outputs: Any) -> Any:
    return dict(outputs) if isinstance(outputs, Mapping) else outputs
