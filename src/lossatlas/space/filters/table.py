"""Which filters and which role does every tensor of a model have, and why?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_kind, texts
from lossatlas.objective.wrappers import unwrapped
from lossatlas.space.filters import attention, libraries, wrapped
from lossatlas.space.filters.layout import ROLES, Layout, LayoutRule, Role, whole
from lossatlas.space.filters.modules import BUILT_IN, RULES, WITHIN, rows
from lossatlas.space.filters.through import Through, through

__all__ = ["NORMS", "Row", "by_shape", "checked_still", "table"]

NORMS: tuple[type[nn.Module], ...] = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""Normalising layers. A class whose name ends in "Norm", as many models define, counts as one too."""

_NORM_NAMES = re.compile(r"Norm(\dd|Gated)?$")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a tensor, the module it belongs to, its filters and its role.

    Attributes:
        name: name in the model.
        shape: shape of the tensor.
        module: class of the module.
        layout: how it splits into filters.
        role: ``"weight"``, ``"bias"`` or ``"norm"``. Every vector outside a normalising layer counts as a bias, as in
            the original code, which holds all tensors of one dimension still.
        default: there is no rule for this module, so the default is used: rows, or one vector.
        reason: why the default rule is used, or why the tensor never moves.
        frozen: the tensor has ``requires_grad=False`` and never moves.
        also: further names of the same tensor, where it is tied.
        through: the mask or function between the tensor and its layer, whose filters count.
        refused: why the tensor does not move at random, though it could be trained.
    """

    name: str
    shape: tuple[int, ...]
    module: str
    layout: Layout
    role: Role
    default: bool = False
    reason: str = ""
    frozen: bool = False
    also: tuple[str, ...] = field(default=())
    through: Through | None = field(default=None, compare=False, repr=False)
    refused: str = ""

    def moves(self, still: Iterable[str]) -> bool:
        """Whether the tensor moves when the given roles are held still."""
        return not self.frozen and self.role not in still


def table(model: nn.Module) -> dict[str, Row]:
    """The filters of every parameter of a model, tied tensors once, in the order of ``named_parameters``.

    Args:
        model: any module; for a wrapper such as DataParallel, the network inside counts.

    Returns:
        A row for each parameter, by name.

    Example:
        >>> [(row.name, row.role, row.layout.count) for row in table(nn.Linear(3, 5)).values()]
        [('weight', 'weight', 5), ('bias', 'bias', 1)]
    """
    check_kind("model", model, nn.Module, "a torch.nn.Module")
    model = unwrapped(model)
    owners: dict[int, Row] = {}
    aliases: dict[int, list[str]] = {}
    modules = dict(model.named_modules())
    refused = wrapped.quantised(model)
    for path, module in modules.items():
        for name, tensor in module._parameters.items():
            if tensor is None:
                continue
            full = f"{path}.{name}" if path else name
            if id(tensor) in owners:
                aliases.setdefault(id(tensor), []).append(full)
            else:
                row = _row(modules, path, name, tensor)
                reason = refused.get(full) or refused.get(path)
                owners[id(tensor)] = replace(row, reason=reason, frozen=True) if reason else row
    named = {row.name: replace(row, also=tuple(aliases.get(key, ()))) for key, row in owners.items()}
    return {name: named[name] for name, _ in model.named_parameters()}


def _row(modules: Mapping[str, nn.Module], path: str, name: str, tensor: Tensor) -> Row:
    seen = wrapped.seen_through(modules, path, name, tensor)
    module = modules.get(seen.path, modules[path])
    layout, reason = _layout(modules, seen, tensor)
    role = layout.role or _role(module, tensor)
    between, refused = through(modules, path, name, tensor, layout)
    return Row(
        name=f"{path}.{name}" if path else name,
        shape=tuple(tensor.shape),
        module=_kind(module),
        layout=layout,
        role=role,
        default=bool(reason) and role == "weight",
        reason=reason if role == "weight" else "",
        frozen=not tensor.requires_grad,
        through=between,
        refused=refused,
    )


def _layout(modules: Mapping[str, nn.Module], seen: wrapped.Seen, tensor: Tensor) -> tuple[Layout, str]:
    """The layout of a tensor, and why it is the default one, if it is."""
    module = modules.get(seen.path, nn.Module())
    if seen.gain:
        return wrapped.gains(tensor), ""
    if tensor.dim() < 2:
        return whole(module, seen.name, tensor), ""
    if not seen.fits:
        return rows(module, seen.name, tensor), f"{seen.note}, and of another shape than the weight"
    found = _ruled(modules, seen, tensor)
    if found is None:
        return rows(module, seen.name, tensor), f"no rule for {_kind(module)}; give one by lossatlas.filters.register"
    return (replace(found, rule=f"{found.rule}, {seen.note}") if seen.note else found), ""


def _ruled(modules: Mapping[str, nn.Module], seen: wrapped.Seen, tensor: Tensor) -> Layout | None:
    """What the rules say, the nearest and the user's first: the layer, what is around it, then our own rules."""
    module = modules[seen.path]
    kind, rule = _registered(module)
    if rule is not None and kind not in BUILT_IN:
        return rule(module, seen.name, tensor)
    around = list(_around(seen))
    for path, inner in around:
        for base in type(modules[path]).__mro__:
            if base in WITHIN and (found := WITHIN[base](modules[path], inner, tensor)) is not None:
                return found
    for path, inner in around:
        for context in (wrapped.adapter, attention.within):
            if (found := context(modules[path], inner, tensor)) is not None:
                return found
    own = libraries.own(module, seen.name, tensor)
    return own if own is not None or rule is None else rule(module, seen.name, tensor)


def _registered(module: nn.Module) -> tuple[type[nn.Module] | None, LayoutRule | None]:
    kind = next((base for base in type(module).__mro__ if base in RULES), None)
    return kind, RULES[kind] if kind is not None else None


def _around(seen: wrapped.Seen) -> Iterator[tuple[str, str]]:
    """The modules around a tensor, the nearest first, each with the tensor's name within it."""
    steps = seen.path.split(".") if seen.path else []
    for depth in range(len(steps), -1, -1):
        yield ".".join(steps[:depth]), ".".join([*steps[depth:], seen.name])


def _role(module: nn.Module, tensor: Tensor) -> Role:
    if isinstance(module, NORMS) or _NORM_NAMES.search(_kind(module)):
        return "norm"
    return "weight" if tensor.dim() >= 2 else "bias"


def _kind(module: nn.Module) -> str:
    return type(module).__name__


def by_shape(parameters: Mapping[str, Tensor]) -> dict[str, Row]:
    """A table for tensors whose modules are unknown: rows for two and more dimensions, one vector otherwise.

    This is wrong for transposed convolutions, and vectors of normalising layers count as biases: pass the model if
    there is one.

    Returns:
        A row for each tensor, by name.
    """
    plain = nn.Module()
    return {
        name: Row(
            name=name,
            shape=tuple(tensor.shape),
            module="?",
            layout=(rows if tensor.dim() >= 2 else whole)(plain, name, tensor),
            role=_role(plain, tensor),
            default=tensor.dim() >= 2,
            reason="no module is known, only tensors" if tensor.dim() >= 2 else "",
        )
        for name, tensor in parameters.items()
    }


def checked_still(still: Iterable[str]) -> tuple[Role, ...]:
    """The roles held still, checked.

    Returns:
        The same roles, as a tuple.

    Raises:
        SpecError: a role does not exist; the message lists those that do.
    """
    if isinstance(still, str):
        raise SpecError(f"still={still!r} is a text; expected a tuple of roles, for instance ({still!r},)")
    roles = texts("still", still, "a tuple of roles, for instance ('bias', 'norm')")
    for role in roles:
        if role not in ROLES:
            raise SpecError(unknown("still", role, ROLES))
    return roles  # type: ignore[return-value]
