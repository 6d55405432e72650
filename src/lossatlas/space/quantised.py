r"""What are a network's weights once rounded to a few bits, and what do those of a quantised network stand for?

Rounding to nearest on an even grid of b bits, for each block of weights w by itself:

.. math:: q(w) = s \, \big(\operatorname{clamp}(\operatorname{round}(w / s) + z, 0, 2^b - 1) - z\big)

A symmetric grid has :math:`2^b - 1` values around 0 and :math:`s = \max |w| / (2^{b-1} - 1)`; an affine one spans from
the smallest weight to the largest, including 0, with :math:`s = (\max w - \min w) / (2^b - 1)` and :math:`z =
\operatorname{round}(-\min w / s)` (Jacob et al. 2018, arXiv 1712.05877, section 2; the range 0 to 2^b - 1 is just
another name for a signed one). Ties go to the even neighbour, as in ``torch.round``.

Only weights are rounded: activations, biases and normalising layers stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_kind, described_type
from lossatlas.objective import Objective
from lossatlas.objective.given import check_objective
from lossatlas.objective.packed import unpacked
from lossatlas.objective.wrappers import unwrapped
from lossatlas.space import filters
from lossatlas.space.filters.selection import matching, without_quantised

__all__ = ["BLOCKS", "Blocks", "Rounding", "dequantised", "rounded"]

Blocks = Literal["channel", "tensor", "group"]
BLOCKS: tuple[str, ...] = get_args(Blocks)
"""What gets a scale of its own: an output channel (a filter), a tensor, or a group of weights within a channel."""

FEWEST, MOST = 2, 16


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """A way to round weights.

    Attributes:
        bits: of each weight, 2 to 16.
        by: what gets a scale of its own: "channel", "tensor" or "group".
        group: number of consecutive weights in a group; the last group of a channel may be shorter.
        symmetric: whether the grid is centred at 0; else it spans from the smallest weight to the largest.

    Raises:
        SpecError: a number or a word that makes no sense.

    Example:
        >>> Rounding(bits=3, by="tensor").round(torch.tensor([[-3.0, 0.4], [1.6, 2.2]])).tolist()
        [[-3.0, 0.0], [2.0, 2.0]]
    """

    bits: int = 4
    by: Blocks = "channel"
    group: int = 128
    symmetric: bool = True

    def __post_init__(self) -> None:
        """Check the settings."""
        whole = isinstance(self.bits, int) and not isinstance(self.bits, bool)
        if not whole or not FEWEST <= self.bits <= MOST:
            raise SpecError(f"bits={self.bits!r}; expected a whole number from {FEWEST} to {MOST}")
        if self.by not in BLOCKS:
            raise SpecError(unknown("by", self.by, BLOCKS))
        if not isinstance(self.group, int) or self.group < 1:
            raise SpecError(f"group={self.group!r}; expected a number of weights, such as 128")

    @property
    def words(self) -> str:
        """What is done, for a picture."""
        of = {"channel": "for each channel", "tensor": "for each tensor", "group": f"for groups of {self.group}"}
        return f"{self.bits} bits, {'symmetric' if self.symmetric else 'affine'}, a scale {of[self.by]}"

    def round(self, weights: Tensor, layout: filters.Layout | None = None) -> Tensor:
        """Round one tensor.

        Args:
            weights: any floating format.
            layout: which of its entries make a channel; by default its rows.

        Returns:
            The dequantised values, in the same format and shape; the grid is computed in float64 for a float64 tensor,
            otherwise in float32.
        """
        rows = _rows(weights, layout) if self.by != "tensor" else weights.reshape(1, -1)
        exact = rows.to(torch.float64 if weights.dtype == torch.float64 else torch.float32)
        if self.by == "group":
            starts = range(0, exact.shape[1], self.group)
            parts = [self._on_grid(exact[:, start : start + self.group]) for start in starts]
            found = torch.cat(parts, dim=1)
        else:
            found = self._on_grid(exact)
        return _as_before(found, weights, layout if self.by != "tensor" else None).to(weights.dtype)

    def _on_grid(self, rows: Tensor) -> Tensor:
        """Each row rounded on a grid of its own; one that is zero stays zero."""
        levels = 2**self.bits - 1
        if self.symmetric:
            most = 2 ** (self.bits - 1) - 1
            step = rows.abs().amax(dim=1, keepdim=True) / most
            return torch.where(step > 0, (rows / step).round().clamp(-most, most) * step, rows)
        low = rows.amin(dim=1, keepdim=True).clamp(max=0)
        step = (rows.amax(dim=1, keepdim=True).clamp(min=0) - low) / levels
        zero = (-low / step).round()
        found = ((rows / step).round() + zero).clamp(0, levels)
        return torch.where(step > 0, (found - zero) * step, rows)


def _order(weights: Tensor, layout: filters.Layout | None) -> tuple[tuple[int, ...], list[int]]:
    """A shape of the tensor, and its dimensions with those that number channels first."""
    if layout is None:
        return tuple(weights.shape), list(range(weights.dim()))
    inside = [dim for dim in range(len(layout.shape)) if dim not in layout.dims]
    return layout.shape, [*layout.dims, *inside]


def _rows(weights: Tensor, layout: filters.Layout | None) -> Tensor:
    """A row for each channel."""
    shape, order = _order(weights, layout)
    count = len(weights) if layout is None else layout.count
    return weights.reshape(shape).permute(order).reshape(count, -1)


def _as_before(rows: Tensor, weights: Tensor, layout: filters.Layout | None) -> Tensor:
    """The inverse of :func:`_rows`."""
    shape, order = _order(weights, layout)
    back = [order.index(dim) for dim in range(len(order))]
    return rows.reshape([shape[dim] for dim in order]).permute(back).reshape(weights.shape)


def rounded(
    objective: Objective, rounding: Rounding, *, only: str | Iterable[str] = (), skip: str | Iterable[str] = ()
) -> dict[str, Tensor]:
    """The weights of a network, rounded: its matrices and kernels, without biases and normalising layers.

    Args:
        objective: whose origin is rounded.
        rounding: how.
        only: patterns of names, such as ``"layer3.*"``, of the tensors that are rounded; by default all weights.
        skip: patterns of those that are not, such as ``"*embed*"``.

    Returns:
        The rounded tensors by name; the difference to the origin is a direction. Frozen tensors are left out.

    Raises:
        SpecError: a pattern matches nothing, nothing is left to round, or the weights are already quantised.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.3]]))
        >>> objective = Objective(model, (torch.ones(1, 2), torch.ones(1, 1)), torch.nn.functional.mse_loss)
        >>> rounded(objective, Rounding(bits=2))["weight"].tolist()
        [[1.0, 0.0]]
    """
    check_objective(objective)
    check_kind("rounding", rounding, Rounding, "a lossatlas.space.quantised.Rounding, such as Rounding(bits=4)")
    table = filters.table(objective.model)
    wanted = set(matching(table, only)) if only else set(without_quantised(objective, table))
    wanted -= set(matching(table, skip)) if skip else set()
    names = [
        name
        for name, row in table.items()
        if name in wanted and name in objective.origin and row.moves(("bias", "norm")) and row.through is None
    ]
    names = [name for name in names if objective.origin[name].dim() > 1]
    if not names:
        raise SpecError(
            "no weight is left to be rounded: candidates are trainable matrices and kernels that only= and skip= let "
            "through; unfreeze the model with model.requires_grad_(True), or name others"
        )
    return {name: rounding.round(objective.origin[name], table[name].layout) for name in names}


def dequantised(model: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the packed weights of a quantised network stand for, as floating-point tensors by name.

    Of a state dict, the layouts of bitsandbytes are read, without that library. Of a network, formats of torchao
    (tensors with ``dequantize``), bitsandbytes (``Linear8bitLt``, ``Linear4bit``) and of torch's own quantised layers
    are read; what is in floating point stays. A plane through the result moves *these weights*, in a network that
    computes in floating point: kernels for integers, and activations that are quantised while the network runs, are not
    measured.

    Args:
        model: a quantised network, or a state dict of one.

    Returns:
        Float tensors by name, such as ``load_state_dict`` or :meth:`lossatlas.Plane.towards` of the floating-point
        network take.

    Raises:
        SpecError: the format of a packed weight is not known; the message names the weight.

    Example:
        >>> float_net = nn.Sequential(nn.Linear(4, 2))
        >>> list(dequantised(float_net))
        ['0.weight', '0.bias']
    """
    check_kind("model", model, (nn.Module, Mapping), "a torch.nn.Module, or a state dict")
    if isinstance(model, Mapping):
        return _of_state(model)
    model = unwrapped(model)
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for path, module in model.named_modules():
            for name, value in _tensors(module).items():
                full = f"{path}.{name}" if path else name
                found[full] = _floating(full, value, module)
    return found


def _of_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state dict in floating point; counters and the like stay as they are."""
    found = {}
    for name, value in unpacked({name: part for name, part in state.items() if isinstance(part, Tensor)}).items():
        if not _plain(value):
            found[name] = _opened(name, value)
        elif value.dtype in (torch.int8, torch.uint8) and value.dim() > 1:
            raise SpecError(f"{name!r} is packed as {value.dtype} without scales beside it; its format is not known")
        else:
            found[name] = value.detach()
    return found


def _tensors(module: Any) -> dict[str, Tensor]:
    """The parameters of a module itself, those that a quantised layer of torch packs among them."""
    own = {name: tensor for name, tensor in module._parameters.items() if tensor is not None}
    if "quantized" in type(module).__module__:
        for name in ("weight", "bias"):
            packed = getattr(module, name, None)
            found = packed() if callable(packed) else packed
            own |= {name: found} if isinstance(found, Tensor) else {}
    return own


def _floating(name: str, value: Tensor, module: nn.Module) -> Tensor:
    """One tensor in floating point."""
    if type(module).__module__.startswith("bitsandbytes") and name.endswith("weight"):
        return _of_bitsandbytes(name, value, module)
    if not _plain(value):
        return _opened(name, value)
    if not value.is_floating_point():
        raise SpecError(f"{name!r} is packed as {value.dtype} in {described_type(module)}; its format is not known")
    return value.detach()


def _plain(value: Tensor) -> bool:
    return type(value) in (Tensor, nn.Parameter) and not value.is_quantized


def _opened(name: str, value: Tensor) -> Tensor:
    """A tensor that can convert itself to floating point."""
    opened = getattr(value, "dequantize", None)
    if opened is None:
        raise SpecError(f"{name!r} is {described_type(value)}, whose format is not known; dequantise it yourself")
    found: Tensor = opened()
    return found.detach()


def _of_bitsandbytes(name: str, value: Tensor, module: nn.Module) -> Tensor:
    """A weight of bitsandbytes: four bits with a state, or int8 with a scale for each row."""
    # By the layout: the library's own kernel for processors (0.50.2) takes the scale of the wrong block if rows are not
    # a multiple of a block.
    state = getattr(value, "quant_state", None)
    if state is not None:
        beside = {f"{name}.{part}": tensor for part, tensor in state.as_dict(packed=True).items()}
        return unpacked({name: value.detach(), **beside})[name]
    scale = getattr(value, "SCB", None)
    if scale is None:
        scale = getattr(getattr(module, "state", None), "SCB", None)
    if value.dtype == torch.int8 and scale is not None:
        table: Tensor = value.data.float() * (scale.float() / 127).reshape(-1, 1)
        return table
    if value.is_floating_point():  # not yet moved to its device, so not yet packed
        return value.detach()
    raise SpecError(f"{name!r}: a weight of bitsandbytes without its scale; move the model to its device first")
