"""Which of all networks that compute the same function should be looked at? A canonical form, to compare pictures.

Filter normalisation makes a picture independent of some rescalings but not of others. This form removes the others
where it can: two networks that compute the same function get the same weights, and so the same picture.

=======================================  ==============================================================================
what changes the picture                 what is done
=======================================  ==============================================================================
one unit between ReLUs, times c and      the weights into each unit and out of it are made equally long
divided by c
a layer and the norm behind it           BatchNorm with frozen statistics is folded into the layer before it
the gain of LayerNorm or RMSNorm and     the gain is folded into the linear layers that read it
the layer behind it
queries and keys of a head, or values    the pair of least norm with the same product is taken, checked on inputs
and output, by a matrix and its inverse
adapters, weight norm, spectral norm     replaced by the weight they amount to
=======================================  ==============================================================================

What remains: a sign and the order of units and heads (see ``lossatlas.align``), one scale for each channel of a
residual stream, and whatever comes after a function that is not homogeneous.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.objective.private import private_copy
from lossatlas.oneline import one_line
from lossatlas.space import filters
from lossatlas.space.canonical import chains, folding, heads

__all__ = ["Canonical", "canonical", "caveats", "merged"]

TOLERANCE = 1e-3
"""Largest change of an output that rounding may cause, as a share of the largest output."""


@dataclass(frozen=True, kw_only=True)
class Canonical:
    """A model in canonical form.

    Attributes:
        model: the model, a copy in evaluation mode.
        steps: what was done, in words.
        left: what was left as it is, in words.
        folded: whether BatchNorm layers were folded, which leaves no statistics to recalibrate.
    """

    model: nn.Module
    steps: tuple[str, ...]
    left: tuple[str, ...] = field(default=())
    folded: bool = False

    __repr__ = one_line

    @property
    def lines(self) -> tuple[str, ...]:
        """What was done and what was left, a line for each."""
        return (*(f"canonical form: {step}" for step in self.steps), *(f"left as it is: {rest}" for rest in self.left))


def canonical(model: nn.Module, inputs: tuple[Any, ...] | Mapping[str, Any] = ()) -> Canonical:
    """Bring a model into the form that networks computing the same function share.

    Args:
        model: any module that ``torch.fx`` can trace, with BatchNorm in evaluation mode; it is not changed.
        inputs: arguments of a call of the model, by position or by name. With them, outputs before and after are
            compared, and attention is brought into canonical form too if the outputs allow it.

    Returns:
        A copy in canonical form, and what was done.

    Raises:
        SpecError: the model has no such form, cannot be read, or would no longer compute the same.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> form = canonical(net)
        >>> form.steps
        ('1 pairs of layers balanced unit by unit',)
        >>> first, last = form.model[0].weight, form.model[2].weight
        >>> torch.allclose(first.norm(dim=1), last.norm(dim=0))
        True
    """
    form, steps = folding.unwrap(_copy(model))
    reference = _outputs(form, inputs)
    network = _read(form)
    for layer, norm in network.folds:
        folding.fold_batchnorm(form, layer, norm)
    for norm, readers in network.gains:
        folding.fold_gain(form, norm, readers)
    settled, unsettled = _settle_heads(form, inputs, reference)
    chains.balance(form, network.pairs)
    counts = {
        "BatchNorm layers folded into the layers before them": len(network.folds),
        "gains folded into the layers behind them": len(network.gains),
        "attention layers put into form head by head": settled,
        "pairs of layers balanced unit by unit": len(network.pairs),
    }
    steps += [f"{count} {text}" for text, count in counts.items() if count]
    left = (*network.left, *unsettled)
    if not steps:
        raise SpecError(f"model {type(model).__name__} has no canonical form here: {'; '.join(left) or _NONE}")
    _check(_outputs(form, inputs), reference)
    return Canonical(model=form, steps=tuple(steps), left=left, folded=bool(network.folds))


_NONE = "no two layers are joined only by ReLU, pooling or a norm"


def merged(model: nn.Module) -> nn.Module:
    """A copy of a model with its adapters and parametrizations replaced by the weights they amount to.

    Args:
        model: a model of peft, or with weight norm, spectral norm or other parametrizations; it is not changed.

    Returns:
        The copy, whose weights all move.

    Raises:
        SpecError: there is nothing to merge.
    """
    found, steps = folding.unwrap(_copy(model))
    if not steps:
        raise SpecError(f"model {type(model).__name__} has neither adapters nor parametrizations to merge")
    return found.requires_grad_(True)


def caveats(model: nn.Module) -> tuple[str, ...]:
    """What filter normalisation does not fix in a model, one line each.

    Args:
        model: any module; it is not changed.

    Returns:
        Lines for `lossatlas explain`, even if the model could not be read; none if nothing of the kind was found.
    """
    lines = []
    try:
        # On the meta device: only the order of the layers is read, not their weights.
        network = chains.read(private_copy(model, device=torch.device("meta"), training=False))
    except SpecError as fault:
        lines.append(
            f"not known: whether layers are joined by ReLU or read the gain of a norm, since {fault}; scaling one "
            "against the other would change the picture, not the function"
        )
    else:
        if network.pairs:
            lines.append(
                f"not fixed: {len(network.pairs)} pairs of layers are joined only by ReLU, pooling or BatchNorm; "
                "scaling one unit on its way in and back on its way out changes the picture, not the function "
                "(--canonical removes it)"
            )
        if network.gains:
            lines.append(
                f"not fixed: {len(network.gains)} norms pass their gain to linear layers; how much of the scale is "
                "gain changes the picture, not the function (--canonical removes it)"
            )
    if any(row.layout.heads for row in filters.table(model).values()):
        lines.append(
            "not fixed: a matrix on the queries of a head and its inverse on the keys (likewise values and output) "
            "changes the picture, not the function; scaling a row of the queries and of the keys does not"
        )
    return tuple(lines)


def _copy(model: nn.Module) -> nn.Module:
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    twin = private_copy(model, device=device, training=False)
    for (_, own), (_, other) in zip(model.named_parameters(), twin.named_parameters(), strict=True):
        other.requires_grad_(own.requires_grad)
    return twin


def _read(model: nn.Module) -> chains.Network:
    """The chains of a model; one that cannot be read has none, with the reason."""
    try:
        return chains.read(model)
    except SpecError as fault:
        return chains.Network((), (), (), (str(fault),))


def _settle_heads(form: nn.Module, inputs: Any, reference: list[Tensor]) -> tuple[int, list[str]]:
    """Fix the form of each attention layer that allows it: their number, and what was left."""
    found = list(heads.attentions(form))
    if not found:
        return 0, []
    if not inputs:
        return 0, [f"{len(found)} attention layers: inputs are needed to check that the outputs stay the same"]
    done, left = 0, []
    for path, module, width in found:
        before = copy.deepcopy(module.state_dict())
        if heads.settle(module, width) and _close(_outputs(form, inputs), reference):
            done += 1
        else:
            module.load_state_dict(before)
            left.append(path)
    reason = "rotary positions, shared heads or normed queries leave less freedom, or a projection was not found"
    return done, [f"{len(left)} attention layers, first {left[0]}: {reason}"] if left else []


def _outputs(model: nn.Module, inputs: Any) -> list[Tensor]:
    if not inputs:
        return []
    with torch.no_grad():
        outputs = model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)
    logits = getattr(outputs, "logits", outputs)
    return [part for part in (logits if isinstance(logits, (tuple, list)) else [logits]) if isinstance(part, Tensor)]


def _close(after: list[Tensor], before: list[Tensor]) -> bool:
    return all(
        float((a - b).abs().max()) <= TOLERANCE * float(b.abs().max()) for a, b in zip(after, before, strict=True)
    )


def _check(after: list[Tensor], before: list[Tensor]) -> None:
    if not _close(after, before):
        raise SpecError(
            "canonical: the rescaled model does not compute the same; it uses its weights in a way that its graph does "
            "not show. Please report this; the comparison has to do without the canonical form"
        )
