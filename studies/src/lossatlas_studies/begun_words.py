r"""On which small task is a language model tuned? Completing words that have been begun in a text.

The prompt is the text before a word and its first letters, such as ``returns the exp``; the answer is the rest of the
word and the end of a line, ``ression\n``. A model that knows the language knows many answers without having seen the
problem, and one that does not can learn them by heart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective.metrics import IGNORED

END = b"\n"


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a problem looks like.

    Attributes:
        context: bytes before the word.
        begun: letters of the word that are shown.
        longest: letters of the longest word.
    """

    context: int = 8
    begun: int = 3
    longest: int = 10


@dataclass(frozen=True, kw_only=True)
class Problems:
    """Prompts of one length, and what should follow.

    Attributes:
        prompts: bytes of each prompt, all of one length.
        answers: bytes of each answer, its end included.
        x: all but the last token of prompt and answer, int64 [N, T].
        y: the token after each, -100 in the prompt and after the answer, int64 [N, T].
    """

    prompts: list[list[int]]
    answers: list[list[int]]
    x: Tensor
    y: Tensor

    def to(self, device: str) -> Problems:
        """The same with its tensors on a device."""
        return Problems(prompts=self.prompts, answers=self.answers, x=self.x.to(device), y=self.y.to(device))


def begun_words(content: bytes, form: Form) -> list[tuple[bytes, bytes]]:
    r"""Prompts and answers from a text: each word once, in lower case, where it first occurs.

    Args:
        content: the text.
        form: what a problem looks like.

    Returns:
        Prompts and answers, each prompt once, in the order of the text.

    Example:
        >>> begun_words(b"to print a statement", Form(context=4, begun=3))
        [(b't a sta', b'tement\n')]
    """
    found: dict[bytes, bytes] = {}
    seen: set[bytes] = set()
    for match in re.finditer(rb"(?<![A-Za-z0-9_])[a-z]+(?![A-Za-z0-9_])", content):
        word, start = match.group(), match.start()
        if start < form.context or word in seen or not form.begun + 2 <= len(word) <= form.longest:
            continue
        seen.add(word)
        before = content[start - form.context : start].replace(END, b" ")
        found.setdefault(before + word[: form.begun], word[form.begun :] + END)
    return list(found.items())


def problems(content: bytes, counts: tuple[int, ...], form: Form) -> list[Problems]:
    """Problems from a text, in parts that have no word in common; which word goes where is fixed.

    Args:
        content: the text.
        counts: number of problems in each part.
        form: what a problem looks like.

    Raises:
        SpecError: the text has too few words.

    Example:
        >>> part, = problems(b"to print a statement", (1,), Form(context=4, longest=9))
        >>> part.x.shape, [token for token in part.y[0].tolist() if token != -100] == part.answers[0]
        (torch.Size([1, 13]), True)
    """
    found = begun_words(content, form)
    if len(found) < sum(counts) or not all(counts):
        raise SpecError(
            f"the held-out tenth of the text has {len(found)} words that make a problem; {counts} were asked for; ask "
            "for fewer problems, at least one of each kind, or give a longer text"
        )
    order = np.random.default_rng(0).permutation(len(found))
    ends = np.cumsum(counts)
    parts = [[found[place] for place in order[end - count : end]] for count, end in zip(counts, ends, strict=True)]
    return [_problems(part, form) for part in parts]


def _problems(part: list[tuple[bytes, bytes]], form: Form) -> Problems:
    rows, targets = [], []
    for prompt, answer in part:
        behind = form.longest - form.begun + 1 - len(answer)
        rows.append(list(prompt + answer + END * behind))
        targets.append([IGNORED] * (len(prompt) - 1) + list(answer) + [IGNORED] * behind)
    return Problems(
        prompts=[list(prompt) for prompt, _ in part],
        answers=[list(answer) for _, answer in part],
        x=torch.tensor(rows)[:, :-1],
        y=torch.tensor(targets),
    )


def exact(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether greedy generation gives the whole answer: whether every token of it is the likeliest after those before.

    The first token that generation gets wrong is one that is not the likeliest after the right ones, so one pass over
    prompt and answer gives the same result as generating token by token.

    Args:
        outputs: scores of the next token, [N, T, V].
        targets: tokens, int64 [N, T], -100 where nothing counts.

    Returns:
        bool [N].

    Example:
        >>> outputs = torch.eye(3)[None].repeat(2, 1, 1)
        >>> exact(outputs, torch.tensor([[-100, 1, 2], [-100, 1, 0]])).tolist()
        [True, False]
    """
    return ((outputs.argmax(dim=-1) == targets) | (targets == IGNORED)).all(dim=1)
