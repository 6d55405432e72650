"""What else can be measured at a point besides the loss: functions with one value for each sample."""

from __future__ import annotations

from torch import Tensor


def error(outputs: Tensor, targets: Tensor) -> Tensor:
    r"""Classification error of each sample: 1 where the largest output is not the target's class.

    Args:
        outputs: scores, shape [N, C] or [N, C, ...].
        targets: class numbers, integer, shape [N] or [N, ...].

    Returns:
        0 or 1, shape [N]; where there are further dimensions, their mean. A fraction, not a percentage.

    Example:
        >>> import torch
        >>> error(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0])).tolist()
        [0.0, 1.0]
    """
    wrong = (outputs.argmax(dim=1) != targets).float()
    return wrong.flatten(1).mean(1) if wrong.dim() > 1 else wrong


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Classification accuracy of each sample, ``1 - error``; shapes as for :func:`error`.

    Example:
        >>> import torch
        >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0])).tolist()
        [1.0, 0.0]
    """
    return 1 - error(outputs, targets)
