"""What can be measured at a point besides the loss? Values of samples or tokens, and numbers derived from means."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lossatlas.expected import check_kind
from lossatlas.objective.reduction import Derived, Weighted

__all__ = ["Derived", "Weighted", "accuracy", "error", "perplexity", "token_accuracy", "token_error"]


def __dir__() -> list[str]:
    return list(__all__)


IGNORED = -100
"""A target that is not a token: padding, a prompt, a position that was not masked. It does not count."""


def error(outputs: Tensor, targets: Tensor) -> Tensor:
    r"""Classification error of each sample: 1 where the largest output is not the target's class.

    Args:
        outputs: scores, shape [N, C] or [N, C, ...].
        targets: class numbers, integer, shape [N] or [N, ...].

    Returns:
        0 or 1, shape [N]; with further dimensions, the mean over them. A fraction, not a percentage.

    Raises:
        SpecError: one of them is not a tensor.

    Example:
        >>> import torch
        >>> error(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0])).tolist()
        [0.0, 1.0]
    """
    for argument, got in (("outputs", outputs), ("targets", targets)):
        check_kind(argument, got, Tensor, "a tensor; give the metric itself, metrics={'error': la.metrics.error}")
    wrong = (outputs.argmax(dim=1) != targets).float()
    return wrong.flatten(1).mean(1) if wrong.dim() > 1 else wrong


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Classification accuracy of each sample, ``1 - error``; shapes as for :func:`error`.

    Returns:
        1 for a right sample and 0 for a wrong one, [N].

    Example:
        >>> import torch
        >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0])).tolist()
        [1.0, 0.0]
    """
    return 1 - error(outputs, targets)


def token_error(outputs: Tensor, targets: Tensor) -> Weighted:
    """Share of tokens whose largest output is not the target; a mean over tokens, not over texts.

    Args:
        outputs: scores, shape [N, T, C], at the positions of the targets.
        targets: tokens, integer, shape [N, T]; -100 does not count.

    Returns:
        0 or 1 for each token, shape [N, T], with its weight.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[[2.0, 1.0], [0.0, 3.0], [0.0, 3.0]]])
        >>> float(token_error(scores, torch.tensor([[0, 0, -100]])).mean())
        0.5
    """
    return Weighted((outputs.argmax(dim=-1) != targets).float(), (targets != IGNORED).float())


def token_accuracy(outputs: Tensor, targets: Tensor) -> Weighted:
    """Share of tokens that are the model's first choice, ``1 - token_error``; shapes as there.

    Returns:
        The share of each sample, weighted by its number of tokens.

    Example:
        >>> import torch
        >>> float(token_accuracy(torch.tensor([[[2.0, 1.0], [0.0, 3.0]]]), torch.tensor([[0, 1]])).mean())
        1.0
    """
    return Weighted((outputs.argmax(dim=-1) == targets).float(), (targets != IGNORED).float())


perplexity = Derived(of="loss", by=np.exp)
r"""Perplexity, :math:`\exp L` of the mean loss L over all tokens: derived from the mean, never itself averaged."""
