"""What does a language model say? Greedy continuations of fixed prompts, and how they are scored.

A continuation is a list of tokens. Scores compare it with the wanted one; scores of texts need a decoder from tokens to
text. Greedy means the likeliest token at every step (the lowest number among equally likely ones), so that a score is a
function of the parameters, piecewise constant, with steps where the first choice changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError, unknown
from lossatlas.extras import require
from lossatlas.objective import calling

__all__ = [
    "SCORES",
    "TEXT_SCORES",
    "Continuation",
    "Score",
    "Tokens",
    "bleu",
    "chrf",
    "cloze",
    "corpus_bleu",
    "exact_match",
    "greedy",
    "token_f1",
    "token_match",
]

Tokens = Sequence[int]
Score = Callable[[Sequence[Any], Sequence[Any]], Any]
"""``(continuations, answers) -> [n]``, or a single number for a corpus score."""


def greedy(model: nn.Module, prompts: Sequence[Tokens], length: int, *, stop: int | None = None) -> list[list[int]]:
    """Continue prompts by the likeliest token, ``length`` times.

    A model of Hugging Face continues with its own ``generate`` (without sampling or beams, prompts padded on the left);
    any other module is called with tokens [n, T] and gives logits [n, T, V]. Prompts of one length go together.

    Args:
        model: gives logits of the next token at every position.
        prompts: tokens of each prompt.
        length: tokens to add.
        stop: token that ends a continuation, and is left out.

    Returns:
        The continuations, without their prompts.

    Example:
        >>> class Counts(nn.Module):
        ...     def forward(self, tokens):
        ...         return nn.functional.one_hot((tokens + 1) % 5, 5).float()
        >>> greedy(Counts(), [[0], [2, 3]], 3)
        [[1, 2, 3], [4, 0, 1]]
    """
    found: dict[int, list[int]] = {}
    for size in sorted({len(prompt) for prompt in prompts}):
        rows = [number for number, prompt in enumerate(prompts) if len(prompt) == size]
        tokens = torch.tensor([list(prompts[row]) for row in rows], device=_device(model))
        step = _generated if hasattr(model, "generate") else _stepped
        found |= dict(zip(rows, step(model, tokens, length), strict=True))
    return [_stopped(found[number], stop) for number in range(len(prompts))]


def _stepped(model: nn.Module, tokens: Tensor, length: int) -> list[list[int]]:
    start = tokens.shape[1]
    for _ in range(length):
        logits = calling.predictions(model(tokens))[:, -1]
        tokens = torch.cat([tokens, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return tokens[:, start:].tolist()


def _generated(model: Any, tokens: Tensor, length: int) -> list[list[int]]:
    pad = next((p for p in (model.config.pad_token_id, model.config.eos_token_id) if isinstance(p, int)), 0)
    made = model.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        do_sample=False,
        num_beams=1,
        max_new_tokens=length,
        pad_token_id=pad,
    )
    start = 1 if getattr(model.config, "is_encoder_decoder", False) else tokens.shape[1]
    continuations: list[list[int]] = made[:, start:].tolist()
    return continuations


def _stopped(tokens: list[int], stop: int | None) -> list[int]:
    return tokens[: tokens.index(stop)] if stop in tokens else tokens


def _device(model: nn.Module) -> torch.device:
    return next(iter(model.parameters()), torch.empty(0)).device


def exact_match(continuations: Sequence[Any], answers: Sequence[Any]) -> Tensor:
    """Whether a continuation is the answer, to the last token; bool [n].

    Returns:
        One for each continuation.

    Example:
        >>> exact_match([[1, 2], [1, 3]], [[1, 2], [1, 2]]).tolist()
        [True, False]
    """
    return torch.tensor([list(a) == list(b) for a, b in zip(continuations, answers, strict=True)])


def token_match(continuations: Sequence[Any], answers: Sequence[Any]) -> Tensor:
    """Share of the answer's positions that hold the right token; [n].

    Returns:
        Shares between 0 and 1.

    Example:
        >>> token_match([[1, 3]], [[1, 2]]).tolist()
        [0.5]
    """
    return torch.tensor(
        [sum(x == y for x, y in zip(a, b, strict=False)) / max(len(b), 1) for a, b in _pairs(continuations, answers)],
        dtype=torch.float64,
    )


def token_f1(continuations: Sequence[Any], answers: Sequence[Any]) -> Tensor:
    """Harmonic mean of precision and recall of tokens, whatever their order; [n].

    Source: the answer score of SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1).

    Returns:
        Scores between 0 and 1.

    Example:
        >>> token_f1([["a", "b", "b"]], [["b", "a"]]).tolist()
        [0.8]
    """
    scores = []
    for got, wanted in _pairs(continuations, answers):
        shared = sum((Counter(got) & Counter(wanted)).values())
        scores.append(2 * shared / (len(got) + len(wanted)) if got or wanted else 1.0)
    return torch.tensor(scores, dtype=torch.float64)


def _pairs(a: Sequence[Any], b: Sequence[Any]) -> list[tuple[list[Any], list[Any]]]:
    return [(list(x), list(y)) for x, y in zip(a, b, strict=True)]


def chrf(continuations: Sequence[str], answers: Sequence[str]) -> Tensor:
    """ChrF of each text, 0 to 1, by sacrebleu (Popović 2015, W15-3049); [n]."""
    return _sentences("sentence_chrf", continuations, answers)


def bleu(continuations: Sequence[str], answers: Sequence[str]) -> Tensor:
    """BLEU of each text, 0 to 1, by sacrebleu, smoothed as it does for sentences; [n]."""
    return _sentences("sentence_bleu", continuations, answers)


def corpus_bleu(continuations: Sequence[str], answers: Sequence[str]) -> float:
    """BLEU of all texts together, 0 to 1, by sacrebleu (Papineni et al. 2002): one number, not a mean over texts."""
    library = require("sacrebleu", extra="text", purpose="score with BLEU")
    return float(library.corpus_bleu(list(continuations), [list(answers)]).score) / 100


def _sentences(name: str, continuations: Sequence[str], answers: Sequence[str]) -> Tensor:
    library = require("sacrebleu", extra="text", purpose="score with chrF and BLEU")
    score = getattr(library, name)
    return torch.tensor(
        [score(a, [b]).score / 100 for a, b in zip(continuations, answers, strict=True)], dtype=torch.float64
    )


SCORES: dict[str, Score] = {"exact": exact_match, "match": token_match, "f1": token_f1}
"""Scores of tokens, by name."""

TEXT_SCORES: dict[str, Score] = {"chrf": chrf, "bleu": bleu, "corpus_bleu": corpus_bleu}
"""Scores of texts, by name; they need ``decode``."""


class Continuation:
    """A task: continue fixed prompts greedily, once, and score the result in several ways.

    Args:
        prompts: tokens of each prompt.
        answers: tokens that should follow.
        scores: names of ``SCORES`` and ``TEXT_SCORES``, or callables by name.
        decode: from tokens to text, for scores of texts.
        stop: token that ends a continuation.
        batch: prompts continued at once.

    Attributes:
        names: of the scores.

    Raises:
        SpecError: an unknown score, no decoder for a score of texts, or no prompts.

    Example:
        >>> class Counts(nn.Module):
        ...     def forward(self, tokens):
        ...         return nn.functional.one_hot((tokens + 1) % 5, 5).float()
        >>> task = Continuation([[0], [2]], [[1, 2], [3, 0]], scores=("exact", "match"))
        >>> {name: score.tolist() for name, score in task(Counts()).items()}
        {'exact': [True, False], 'match': [1.0, 0.5]}
    """

    def __init__(
        self,
        prompts: Sequence[Tokens],
        answers: Sequence[Tokens],
        *,
        scores: Sequence[str] | Mapping[str, Score] = ("exact",),
        decode: Callable[[list[int]], str] | None = None,
        stop: int | None = None,
        batch: int = 64,
    ) -> None:
        if not prompts or len(prompts) != len(answers):
            raise SpecError(f"prompts: {len(prompts)} with {len(answers)} answers; expected one answer for each")
        self.prompts, self.answers = [list(p) for p in prompts], [list(a) for a in answers]
        self.scores = dict(scores) if isinstance(scores, Mapping) else {name: _known(name) for name in scores}
        self.names = tuple(self.scores)
        self.decode, self.stop, self.batch = decode, stop, batch
        if decode is None and (texts := [n for n, s in self.scores.items() if s in TEXT_SCORES.values()]):
            raise SpecError(f"scores: {texts[0]!r} compares texts; pass decode=, a function from tokens to text")
        self._length = max(len(answer) for answer in self.answers)

    def __call__(self, model: nn.Module) -> dict[str, Any]:
        """The scores of each prompt, by name."""
        said: list[list[int]] = []
        for start in range(0, len(self.prompts), self.batch):
            said += greedy(model, self.prompts[start : start + self.batch], self._length, stop=self.stop)
        # Each prompt gets only as many tokens as its own answer has.
        said = [tokens[: len(answer)] for tokens, answer in zip(said, self.answers, strict=True)]
        texts = (
            [(self.decode(a), self.decode(b)) for a, b in zip(said, self.answers, strict=True)] if self.decode else []
        )
        found = {}
        for name, score in self.scores.items():
            if score in TEXT_SCORES.values():
                found[name] = score([a for a, _ in texts], [b for _, b in texts])
            else:
                found[name] = score(said, self.answers)
        return found


def _known(name: str) -> Score:
    known = {**SCORES, **TEXT_SCORES}
    if name not in known:
        raise SpecError(unknown("scores", name, known))
    return known[name]


def cloze(blocks: Tensor, *, prompt: int, answer: int) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts and answers from a text: the first tokens of each block, and those that follow.

    Args:
        blocks: int64 [n, T].
        prompt: tokens shown.
        answer: tokens wanted.

    Returns:
        Prompts and answers, a list of tokens for each block.

    Raises:
        SpecError: the blocks are shorter.

    Example:
        >>> cloze(torch.arange(5)[None], prompt=3, answer=2)
        ([[0, 1, 2]], [[3, 4]])
    """
    if prompt < 1 or answer < 1 or prompt + answer > blocks.shape[1]:
        raise SpecError(f"prompt={prompt}, answer={answer}: the blocks have {blocks.shape[1]} tokens")
    return blocks[:, :prompt].tolist(), blocks[:, prompt : prompt + answer].tolist()
