"""How a text becomes batches for a Hugging Face language model: its own tokenizer, its block length, its head."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.extras import MissingExtraError, importing, require
from lossatlas.objective import hub, language
from lossatlas.objective.metrics import IGNORED
from lossatlas.oneline import first_line
from lossatlas.untrusted import MOST_CORPUS, text_of

__all__ = ["Corpus", "block_of", "corpus", "wanted"]

VOCABULARY = (
    "tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model",
    "source.spm", "tokenizer_config.json",
)  # fmt: skip
"""Files of which a folder with a tokenizer has at least one."""

LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length")
LOGITS = 2**26
"""Logits in a batch: 256 MiB in single precision."""
SHARE = 0.15
"""Share of tokens that are masked (Devlin et al. 2019, arXiv 1810.04805, section 3.1)."""
UNKNOWN = 10**6
"""Tokenizers that have no maximum length report a very large one."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A text in the form in which a language model is measured on it.

    Attributes:
        batches: what the model is called with.
        forward: how.
        words: tokenizer, length and task, for a reader.
    """

    batches: list[Any]
    forward: language.Forward
    words: str


def wanted(model: str, data: str) -> bool:
    """Whether a model's own tokenizer should read the data: a text file, for a Hugging Face model."""
    return model.startswith("hf:") and Path(data).suffix == ".txt"


def corpus(
    model: nn.Module, folder: str, path: str, *, block: int = 0, tokenizer: str = "", rows: int = 100, own: bool = False
) -> Corpus:
    """Read a text with a model's tokenizer, in blocks of the model's length.

    The task follows from the model's head. *Causal*: predict every token but the first from those before it in its
    block. *Masked*: predict 15 % of the tokens, chosen with a fixed seed and replaced by the mask token. *Sequence to
    sequence*: predict the second half of each block from the first half (prefix language modelling, Raffel et al. 2020,
    arXiv 1910.10683, section 3.2). The last block may be shorter; nothing is left out.

    Args:
        model: a language model of transformers.
        folder: where its tokenizer is: a folder, or a name on the hub.
        path: the text, in UTF-8.
        block: tokens in a block, special ones included; 0 for the model's own.
        tokenizer: another folder or ``tokenizer.json`` to take the tokenizer from.
        rows: blocks in a batch at most; fewer where their logits would take more than 256 MiB.
        own: batches for the loss that the model itself returns.

    Returns:
        Batches, and how the model is called with them.

    Raises:
        SpecError: no tokenizer, a tokenizer of another model, a model without a language head, or no text.
    """
    kind = language.head_of(model)
    coder = _tokenizer(tokenizer or folder, given=bool(tokenizer))
    length, whence = (block, "--block") if block else block_of(model, coder)
    _check_places(model, length, kind)
    tokens = _tokens(coder, Path(path), special=kind == "causal")
    _check_vocabulary(model, tokens, tokenizer or folder)
    width = int(getattr(model.config, "vocab_size", 0) or int(tokens.max()) + 1)
    size = max(1, min(rows, LOGITS // (max(length, 1) * width)))
    batches = list(_BATCHES[kind](coder, tokens, length, size, own))
    words = f"{len(tokens)} tokens in blocks of {length} ({whence}), tokenizer of {tokenizer or folder}, {_TASKS[kind]}"
    return Corpus(batches=batches, forward=language.Forward(kind=kind), words=words)


_TASKS = {
    "causal": "each token from those before it",
    "masked": f"{100 * SHARE:.0f} % of the tokens masked, seed 0",
    "seq2seq": "the second half of each block from the first",
}


def block_of(model: nn.Module, coder: Any) -> tuple[int, str]:
    """The length of a model's blocks.

    Args:
        model: of transformers.
        coder: its tokenizer.

    Returns:
        The number of tokens, and where it comes from.

    Raises:
        SpecError: neither the model nor the tokenizer knows one.
    """
    lengths = [
        entry.num_embeddings - entry.padding_idx - 1  # RoBERTa starts counting positions after the padding index
        for name, entry in model.named_modules()
        if isinstance(entry, nn.Embedding) and name.endswith("position_embeddings") and entry.padding_idx is not None
    ]
    stated = [getattr(model.config, name, None) for name in LENGTHS]
    lengths += [
        n for n in (*stated, getattr(coder, "model_max_length", None)) if isinstance(n, int) and 0 < n < UNKNOWN
    ]
    if not lengths:
        raise SpecError(
            f"{type(model).__name__} does not state a maximum sequence length; give the number of tokens in a block, "
            "--block 512"
        )
    return min(lengths), "the model's own"


def _check_places(model: nn.Module, length: int, kind: str) -> None:
    """Refuse a block for which the model has no positions: on a GPU the lookup would end the process.

    A model that computes its positions (rotary, relative) takes any length.

    Raises:
        SpecError: the block is longer than the table of learned positions.
    """
    places = [
        entry.num_embeddings - (entry.padding_idx + 1 if entry.padding_idx is not None else getattr(entry, "offset", 0))
        for name, entry in model.named_modules()
        if isinstance(entry, nn.Embedding) and _PLACES.search(name)
    ]
    most = min(places, default=length) * (2 if kind == "seq2seq" else 1)  # a half to either side
    if length > most:
        raise SpecError(
            f"--block {length}: {type(model).__name__} has {min(places)} positions; give at most --block {most}"
        )


_PLACES = re.compile(r"(^|\.)(wpe|position_embeddings|embed_positions|pos_emb\w*|position_embedding)$")


def _tokenizer(source: str, *, given: bool) -> Any:
    purpose = "read a text with a model's tokenizer"
    library = require("transformers", extra="hf", purpose=purpose)
    flag = "--tokenizer" if given else "the model's folder"
    path = Path(source)
    if path.is_file():
        with importing("transformers", purpose):
            return library.PreTrainedTokenizerFast(tokenizer_file=str(path))
    if given and not path.exists() and path.suffix == ".json":
        raise SpecError(f"--tokenizer {source}: no such file")
    if path.is_dir() and not any((path / name).is_file() for name in VOCABULARY):
        raise SpecError(
            f"{flag} {source} has no tokenizer (no {', '.join(VOCABULARY[:3])} …), so the text cannot be tokenised; "
            "name the folder or tokenizer.json that belongs to the model: --tokenizer FOLDER"
        )
    hub.check_place(source, f"{flag} {source}")
    try:
        with importing("transformers", purpose), hub.cached_if_unreached(source):
            return library.AutoTokenizer.from_pretrained(source)
    except MissingExtraError:
        raise
    except Exception as fault:  # each kind of tokenizer fails in its own way
        raise SpecError(
            f"{flag} {source}: its tokenizer cannot be read ({first_line(fault)[:160]}); name "
            "another: --tokenizer FOLDER"
        ) from fault


def _tokens(coder: Any, path: Path, *, special: bool) -> Tensor:
    content = text_of(path, "text in UTF-8 (--data)", most=MOST_CORPUS)
    logger = logging.getLogger("transformers")  # it warns about texts longer than a block, which are cut here
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        ids = coder(content, add_special_tokens=False)["input_ids"]
    finally:
        logger.setLevel(level)
    begin = [coder.bos_token_id] if special and _begins(coder) else []
    tokens = torch.tensor(begin + list(ids), dtype=torch.long)
    if len(tokens) < 2:
        raise SpecError(f"--data {path}: the text has {len(ids)} tokens; expected at least two")
    return tokens


def _begins(coder: Any) -> bool:
    """Whether a tokenizer itself puts a token for the beginning before a text, as Llama's does."""
    return coder.bos_token_id is not None and coder("a")["input_ids"][:1] == [coder.bos_token_id]


def _check_vocabulary(model: Any, tokens: Tensor, source: str) -> None:
    known = model.get_input_embeddings().num_embeddings
    if int(tokens.max()) >= known:
        raise SpecError(
            f"the tokenizer of {source} gives the token {int(tokens.max())}, and {type(model).__name__} knows "
            f"{known} tokens: it belongs to another model; name the model's own: --tokenizer FOLDER"
        )


def _stacked(rows: list[dict[str, Tensor]], size: int) -> Iterator[dict[str, Tensor]]:
    """Rows of one shape as batches; a shorter last row is a batch of its own."""
    batch: list[dict[str, Tensor]] = []
    for row in rows:
        alike = batch and all(row[name].shape == batch[0][name].shape for name in row)
        if batch and (len(batch) == size or not alike):
            yield {name: torch.stack([r[name] for r in batch]) for name in batch[0]}
            batch = []
        batch.append(row)
    yield {name: torch.stack([r[name] for r in batch]) for name in batch[0]}


def _causal(coder: Any, tokens: Tensor, block: int, size: int, own: bool) -> Iterator[Any]:
    starts = range(0, len(tokens) - 1, block)
    if own:  # the model shifts the labels by itself
        rows = [{"input_ids": tokens[i : i + block], "labels": tokens[i : i + block]} for i in starts]
        yield from _stacked([row for row in rows if len(row["labels"]) > 1], size)
        return
    inputs, following = tokens[:-1], tokens[1:]
    rows = [{"x": inputs[i : i + block], "y": following[i : i + block]} for i in starts]
    for batch in _stacked(rows, size):
        yield batch["x"], batch["y"]


def _masked(coder: Any, tokens: Tensor, block: int, size: int, own: bool) -> Iterator[Any]:
    if coder.mask_token_id is None:
        raise SpecError("the tokenizer has no mask token, which a masked language model needs")
    first = [i for i in (coder.cls_token_id,) if i is not None]
    last = [i for i in (coder.sep_token_id,) if i is not None]
    inner = block - len(first) - len(last)
    if inner < 1:
        raise SpecError(f"--block {block} leaves no room for tokens beside the special ones; expected at least 3")
    chosen = torch.rand(len(tokens), generator=torch.Generator().manual_seed(0)) < SHARE
    if not bool(chosen.any()):
        chosen[len(tokens) // 2] = True  # a text of a few words
    rows = []
    for start in range(0, len(tokens), inner):
        part, hidden = tokens[start : start + inner], chosen[start : start + inner]
        labels = part.masked_fill(~hidden, IGNORED)
        ids = part.masked_fill(hidden, coder.mask_token_id)
        before, after = torch.tensor(first, dtype=torch.long), torch.tensor(last, dtype=torch.long)
        ids, labels = (
            torch.cat([before, ids, after]),
            torch.cat([torch.full_like(before, IGNORED), labels, torch.full_like(after, IGNORED)]),
        )
        rows.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels})
    yield from _stacked(rows, size)


def _seq2seq(coder: Any, tokens: Tensor, block: int, size: int, own: bool) -> Iterator[Any]:
    rows = []
    for start in range(0, len(tokens) - 1, block):
        part = tokens[start : start + block]
        if len(part) < 2:
            continue
        middle = (len(part) + 1) // 2
        ids = part[:middle]
        rows.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": part[middle:]})
    yield from _stacked(rows, size)


_BATCHES = {"causal": _causal, "masked": _masked, "seq2seq": _seq2seq}
