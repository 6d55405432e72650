"""What is a filter in the layers of torch.nn, by class? This is also the table to which users add their own."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from lossatlas.errors import SpecError
from lossatlas.expected import described_type
from lossatlas.space.filters.layout import Layout, LayoutRule, WithinRule, along

__all__ = ["BUILT_IN", "RULES", "WITHIN", "gates", "register", "rows", "transposed_convolution", "unregister"]


def rows(module: nn.Module, name: str, tensor: Tensor) -> Layout:
    """One filter for each index of the first dimension."""
    return along(tensor, 0, rule=_row_name(module))


def _row_name(module: nn.Module) -> str:
    named = (_ROW_NAMES[base] for base in type(module).__mro__ if base in _ROW_NAMES)
    return next(named, "rows of the first dimension")


def transposed_convolution(module: nn.Module, name: str, tensor: Tensor) -> Layout:
    """Output channels of a transposed convolution, whose weight is stored [in, out / groups, ...].

    With g groups, output channel (j, o) sums over the input channels of group j only.

    Returns:
        The layout, whose filters are the output channels.
    """
    groups = int(module.groups)  # type: ignore[arg-type]
    shape = (groups, tensor.shape[0] // groups, *tensor.shape[1:])
    return Layout(shape=shape, dims=(0, 2), rule="output channels (transposed)")


def gates(module: nn.Module, name: str, tensor: Tensor) -> Layout:
    """One filter for each unit of each gate of a recurrent layer, the weights from inputs and from states apart.

    The weights of all gates are stacked in the first dimension: four gates for an LSTM, three for a GRU, one for a
    vanilla RNN. Layers and directions have tensors of their own. A projection (``weight_hr``) has no gates.

    The gates' sigmoid and tanh leave no scale free, so scaling such a filter changes the function. For what is free in
    a vanilla RNN with ReLU, see ``docs/explanation/filters.md``.

    Returns:
        The layout.
    """
    if "weight_hr" in name:
        return along(tensor, 0, rule="units of the projection")
    hidden = int(module.hidden_size)  # type: ignore[arg-type]
    count = tensor.shape[0] // hidden
    what = "states" if "weight_hh" in name else "inputs"
    how = "units" if count == 1 else f"units of {count} gates"
    return Layout(shape=(count, hidden, *tensor.shape[1:]), dims=(0, 1), rule=f"{how}, from {what}")


_ROW_NAMES: dict[type[nn.Module], str] = {
    nn.Conv1d: "output channels",
    nn.Conv2d: "output channels",
    nn.Conv3d: "output channels",
    nn.Linear: "output units",
    nn.Bilinear: "output units",
    nn.Embedding: "tokens",
    nn.EmbeddingBag: "tokens",
}

RULES: dict[type[nn.Module], LayoutRule] = {
    **dict.fromkeys(_ROW_NAMES, rows),
    _ConvTransposeNd: transposed_convolution,
    nn.RNNBase: gates,
    nn.RNNCellBase: gates,
}
"""The rule for a module's tensors of two and more dimensions; the nearest class among its bases decides."""

BUILT_IN = frozenset(RULES)
"""The classes that come with a rule: a module around the layer takes precedence, unless the user gave the rule."""

WITHIN: dict[type[nn.Module], WithinRule] = {}
"""The user's rules for all tensors within a module, including its submodules'."""


def register(module_type: type[nn.Module], rule: LayoutRule | WithinRule, *, within: bool = False) -> None:
    """State how the tensors of a module class split into filters.

    Args:
        module_type: the class; subclasses follow it unless they have a rule of their own.
        rule: ``(module, name, tensor) -> Layout``, called for tensors of two and more dimensions.
        within: call the rule for the tensors of all submodules too, under names such as ``"query.weight"``; it returns
            none for those it leaves to other rules. The nearest module around a tensor decides.

    Raises:
        SpecError: the class is not a module class, or the rule is not callable.

    Example:
        >>> from lossatlas.space import filters
        >>> class Columns(nn.Linear):
        ...     pass
        >>> filters.register(Columns, lambda module, name, tensor: filters.along(tensor, 1, rule="columns"))
        >>> filters.table(Columns(3, 5, bias=False))["weight"].layout.count
        3
        >>> filters.unregister(Columns)
    """
    if not isinstance(module_type, type) or not issubclass(module_type, nn.Module):
        raise SpecError(f"module_type is {described_type(module_type)}; expected a class of torch.nn.Module")
    if not callable(rule):
        raise SpecError(f"rule is {described_type(rule)}; expected a callable (module, name, tensor) -> Layout")
    (WITHIN if within else RULES)[module_type] = rule  # type: ignore[assignment]


def unregister(module_type: type[nn.Module]) -> None:
    """Forget the user's rules for a module class; those that come with lossatlas stay."""
    WITHIN.pop(module_type, None)
    if module_type not in BUILT_IN:
        RULES.pop(module_type, None)
