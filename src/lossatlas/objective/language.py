r"""How are language models measured? Which logits belong to which token, and a loss weighted by token.

Three kinds of model, as Hugging Face lays them out, and what belongs together:

===========  ====================================  ===========================================================
kind         logits at position t are for           labels
===========  ====================================  ===========================================================
``causal``   the token at t + 1                     the inputs themselves; -100 where the attention mask is 0
``masked``   the token at t                         -100 except where a token was masked
``seq2seq``  the token at t of the answer           the answer, padded with -100
===========  ====================================  ===========================================================

The mean is over tokens (law 5, where the sample is the token): :math:`\sum_t w_t ℓ_t / \sum_t w_t` over all batches,
with weight 0 for a label of -100. Padding, and how the data are cut into batches, change nothing.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lossatlas.errors import SpecError, unknown
from lossatlas.objective import calling
from lossatlas.objective.metrics import IGNORED, Weighted

__all__ = [
    "KINDS",
    "Forward",
    "Kind",
    "causal_labels",
    "cross_entropy",
    "head_of",
    "kind_of",
    "packed",
    "padded",
]

Kind = Literal["causal", "masked", "seq2seq"]
KINDS: tuple[str, ...] = get_args(Kind)


def cross_entropy(logits: Tensor, targets: Tensor) -> Weighted:
    r"""The loss of each token, :math:`-\log p(\text{token})` in nats, with weight 0 where the target is -100.

    Args:
        logits: [N, T, V] at the positions of the targets, or [N, V].
        targets: tokens, int64 [N, T] or [N].

    Returns:
        Values and weights, shaped like the targets.

    Example:
        >>> float(cross_entropy(torch.zeros(1, 3, 4), torch.tensor([[0, 1, -100]])).mean().exp().round())
        4.0
    """
    flat = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), reduction="none")
    return Weighted(flat.reshape(targets.shape), (targets != IGNORED).float())


def kind_of(model: nn.Module) -> Kind:
    """The kind of a Hugging Face model, from its configuration and class; an adapted one has its base's."""
    base = _base(model)
    if getattr(getattr(base, "config", None), "is_encoder_decoder", False):
        return "seq2seq"
    return "masked" if "MaskedLM" in type(base).__name__ else "causal"


def head_of(model: nn.Module) -> Kind:
    """The kind of a model that must have a language head.

    Args:
        model: of Hugging Face.

    Returns:
        Its kind.

    Raises:
        SpecError: the model has another head, or none.
    """
    base = _base(model)
    name = type(base).__name__
    if hasattr(base, "config") and _HEADS.search(name) and not _OTHER.search(name):
        return kind_of(model)
    raise SpecError(
        f"{name} has no language head, so a text has no loss; expected a causal, masked or sequence-to-sequence model "
        "(…ForCausalLM, …ForMaskedLM, …ForConditionalGeneration), or batches of your own, --data file.py:callable"
    )


_HEADS = re.compile(r"CausalLM|MaskedLM|LMHead|ConditionalGeneration|ForGeneration")
_OTHER = re.compile(r"DoubleHeads|Speech|Vision|Image|Audio|Whisper")


def _base(model: nn.Module) -> nn.Module:
    """The model within an adapter of peft; otherwise the model itself."""
    base = getattr(model, "get_base_model", None)
    found: nn.Module = base() if callable(base) else model
    return found


class Forward:
    """How a batch of tokens goes through a language model: the ``forward`` of an Objective.

    A batch is a mapping with ``input_ids`` int64 [N, T], perhaps ``attention_mask`` [N, T] and ``labels``; or a pair
    ``(inputs, next tokens)`` as :func:`lossatlas.zoo.data` makes them, which needs no shift.

    Args:
        kind: ``"causal"``, ``"masked"`` or ``"seq2seq"``; by default found from the model.

    Raises:
        SpecError: an unknown kind.
    """

    def __init__(self, kind: Kind | None = None) -> None:
        if kind is not None and kind not in KINDS:
            raise SpecError(unknown("kind", kind, KINDS))
        self.kind = kind

    def __call__(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """Logits [N, T', V], and targets [N, T'] with -100 where nothing counts."""
        if not isinstance(batch, Mapping):
            outputs, targets = calling.forward(model, batch)
            return calling.predictions(outputs), targets
        kind = self.kind or kind_of(model)
        if "labels" not in batch and kind != "causal":
            raise SpecError(f"data: a batch for a {kind} model needs 'labels'; it has {sorted(batch)}")
        labels = batch["labels"] if "labels" in batch else causal_labels(batch)
        named = {name: value for name, value in batch.items() if name != "labels"}
        if kind == "seq2seq":
            if "decoder_input_ids" not in named:
                named["labels"] = labels  # the model shifts them to the right, to make its decoder's input
        elif kind == "causal":
            named |= _positions(model, batch)
        logits = calling.predictions(model(**named))
        return _shifted(logits, labels, batch.get("attention_mask")) if kind == "causal" else (logits, labels)


def _shifted(logits: Tensor, labels: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Each logit with the token after it, except from padding to the first token of a text padded on the left."""
    targets = labels[:, 1:]
    return logits[:, :-1], targets if mask is None else targets.masked_fill(mask[:, :-1] == 0, IGNORED)


def causal_labels(batch: Mapping[str, Tensor]) -> Tensor:
    """The inputs as labels, -100 where the attention mask is 0."""
    labels = batch["input_ids"]
    mask = batch.get("attention_mask")
    return labels if mask is None else labels.masked_fill(mask == 0, IGNORED)


def _positions(model: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Positions counted from the first token that is not padding, if the model takes them."""
    mask = batch.get("attention_mask")
    takes = "position_ids" in inspect.signature(model.forward).parameters
    if mask is None or "position_ids" in batch or not takes:
        return {}
    return {"position_ids": (mask.long().cumsum(dim=1) - 1).clamp_min(0)}


def packed(tokens: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """One long text as blocks of fixed length, without padding: inputs, and the token that follows each.

    Every token but the first is a target once; a remainder shorter than a block is left out.

    Args:
        tokens: int64 [M].
        length: tokens in a block T.

    Returns:
        Inputs and next tokens, int64 [N, T].

    Raises:
        SpecError: less than one block.

    Example:
        >>> x, y = packed(torch.arange(8), 3)
        >>> x.tolist(), y.tolist()
        ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    count = (len(tokens) - 1) // length if length > 0 else 0
    if count < 1:
        raise SpecError(f"length={length}: the text has {len(tokens)} tokens; expected at least one block and a token")
    used = tokens[: count * length + 1].long()
    return used[:-1].reshape(count, length), used[1:].reshape(count, length)


def padded(texts: list[Tensor], *, pad: int = 0, left: bool = False, length: int = 0) -> dict[str, Tensor]:
    """Texts of different lengths as one batch: ``input_ids``, ``attention_mask`` and causal ``labels``.

    Args:
        texts: int64 [T_i] each.
        pad: token that fills the rest.
        left: put the padding before the text instead of after it.
        length: of the batch; by default that of its longest text. Batches of equal length can use the fast plans.

    Returns:
        The batch, int64 [n, T] each.

    Example:
        >>> padded([torch.tensor([5, 6]), torch.tensor([7])])["labels"].tolist()
        [[5, 6], [7, -100]]
    """
    length = max(length, *(len(text) for text in texts))
    ids = torch.full((len(texts), length), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        place = slice(length - len(text), length) if left else slice(0, len(text))
        ids[row, place], mask[row, place] = text, 1
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, IGNORED)}
