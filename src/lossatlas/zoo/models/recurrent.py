"""Recurrent networks: vanilla RNN, GRU and LSTM, as a classifier of sequences and as a language model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from lossatlas.errors import SpecError, unknown

__all__ = ["BY_NAME", "CELLS", "Cell", "RecurrentClassifier", "RecurrentLM"]

Cell = Literal["rnn", "gru", "lstm"]
CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class RecurrentClassifier(nn.Module):
    """A recurrent network that reads a sequence and classifies what it saw from its last state.

    An image [N, C, H, W] is read row by row: H steps of C·W numbers.

    Args:
        cell: ``"rnn"`` (tanh), ``"gru"`` or ``"lstm"``.
        inputs: numbers in a step.
        hidden: units of the state.
        layers: recurrent layers on top of each other.
        bidirectional: read backwards too.
        classes: number of classes.

    Raises:
        SpecError: an unknown cell.

    Example:
        >>> import torch
        >>> RecurrentClassifier(cell="gru")(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        *,
        cell: Cell = "lstm",
        inputs: int = 8,
        hidden: int = 32,
        layers: int = 1,
        bidirectional: bool = False,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.recurrent = _cells(cell)(inputs, hidden, layers, batch_first=True, bidirectional=bidirectional)
        self.directions = 2 if bidirectional else 1
        self.linear = nn.Linear(self.directions * hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, shape [N, classes], of sequences [N, T, inputs] or images [N, C, T, inputs / C]."""
        steps = x.transpose(1, 2).flatten(2) if x.dim() == 4 else x
        _, state = self.recurrent(steps)
        last = state[0] if isinstance(state, tuple) else state
        scores: Tensor = self.linear(last[-self.directions :].transpose(0, 1).flatten(1))
        return scores


class RecurrentLM(nn.Module):
    """A recurrent language model: embedding, recurrent layers, and scores of the next token at every position.

    Args:
        cell: ``"rnn"`` (tanh), ``"gru"`` or ``"lstm"``.
        vocabulary: number of tokens.
        dim: numbers in the vector of a token.
        hidden: units of the state.
        layers: recurrent layers on top of each other.
        tied: the output layer is the embedding; then ``dim`` must equal ``hidden``.

    Raises:
        SpecError: an unknown cell, or a tied output of another width.

    Example:
        >>> import torch
        >>> RecurrentLM(cell="lstm", vocabulary=50)(torch.zeros(2, 7, dtype=torch.int64)).shape
        torch.Size([2, 7, 50])
    """

    def __init__(
        self,
        *,
        cell: Cell = "lstm",
        vocabulary: int = 256,
        dim: int = 64,
        hidden: int = 64,
        layers: int = 1,
        tied: bool = False,
    ) -> None:
        super().__init__()
        if tied and dim != hidden:
            raise SpecError(f"tied=True with dim={dim} and hidden={hidden}; a tied output needs both to be the same")
        self.embedding = nn.Embedding(vocabulary, dim)
        self.recurrent = _cells(cell)(dim, hidden, layers, batch_first=True)
        self.linear = None if tied else nn.Linear(hidden, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores of the next token, shape [N, T, vocabulary], of tokens, int64 [N, T]."""
        states, _ = self.recurrent(self.embedding(tokens))
        scores: Tensor = F.linear(states, self.embedding.weight) if self.linear is None else self.linear(states)
        return scores


def _cells(cell: str) -> Callable[..., nn.RNNBase]:
    if cell not in get_args(Cell):
        raise SpecError(unknown("cell", cell, CELLS))
    return CELLS[cell]


_CLASSIFIER: Callable[..., nn.Module] = RecurrentClassifier
_LANGUAGE_MODEL: Callable[..., nn.Module] = RecurrentLM

BY_NAME: Mapping[str, Callable[..., nn.Module]] = {
    f"{cell}{suffix}": functools.partial(kind, cell=cell)
    for suffix, kind in (("", _CLASSIFIER), ("_lm", _LANGUAGE_MODEL))
    for cell in CELLS
}
"""``rnn``, ``gru`` and ``lstm`` classify sequences; ``rnn_lm``, ``gru_lm`` and ``lstm_lm`` are language models."""
