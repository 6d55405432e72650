"""How does text become tokens in blocks, and how do sentences with classes become samples?

A corpus is one long row of tokens, cut into blocks of fixed length without padding
(:func:`lossatlas.objective.language.packed`). Its last tenth is the test split. Tokens are bytes, or those of a BPE
tokenizer that is trained on the training split or read from a ``tokenizer.json``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.extras import require
from lossatlas.objective.language import packed, padded
from lossatlas.untrusted import MOST_CORPUS, reading, text_of

__all__ = ["HELD_OUT", "TOKENIZERS", "Pair", "corpus", "reference", "text", "trained_bpe", "tsv"]

Pair = tuple[Tensor, Tensor]

HELD_OUT = 0.1
"""Share of a text, at its end, that is held out for testing."""

TOKENIZERS = ("bytes", "bpe", "FILE.json")


def reference(*, split: str = "train", block: int = 128, tokenizer: str = "bytes", vocabulary: int = 512) -> Pair:
    """The Python language reference, 0.5 MB of text that comes with CPython itself, so it needs no network.

    It is the module ``pydoc_data.topics``: what ``help("while")`` prints. Copyright Python Software Foundation, under
    the PSF licence, which allows any use. It differs from one version of Python to the next; the fingerprint of the
    data says which one a run saw.

    Returns:
        Inputs and next tokens, int64 [N, T].

    Raises:
        SpecError: this Python comes without that module, or an unknown option.
    """
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except ImportError as missing:
        raise SpecError(
            "data 'reference': this Python comes without pydoc_data.topics; use data 'text' with path="
        ) from missing
    return corpus("\n\n".join(topics[name] for name in sorted(topics)), split, block, tokenizer, vocabulary)


def text(
    *,
    path: str | os.PathLike[str],
    split: str = "train",
    block: int = 128,
    tokenizer: str = "bytes",
    vocabulary: int = 512,
) -> Pair:
    """A text file, as blocks of tokens.

    Args:
        path: a file in UTF-8.
        split: ``"train"``, the first nine tenths, or ``"test"``.
        block: tokens in a block T.
        tokenizer: ``"bytes"``; ``"bpe"``, trained on the training split; or a ``tokenizer.json``.
        vocabulary: number of tokens of a BPE tokenizer that is trained.

    Returns:
        Inputs and next tokens, int64 [N, T].
    """
    return corpus(_read(Path(path)), split, block, tokenizer, vocabulary)


def corpus(content: str, split: str, block: int, tokenizer: str, vocabulary: int) -> Pair:
    """One long text as blocks of tokens; see :func:`text`.

    Returns:
        Inputs and next tokens, int64 [N, T].

    Raises:
        SpecError: a text shorter than a block, or an unknown tokenizer.

    Example:
        >>> x, y = corpus("abcabcabcabcabcabcabc", "train", 4, "bytes", 0)
        >>> bytes(x[0].tolist()), bytes(y[0].tolist())
        (b'abca', b'bcab')
    """
    middle = round(len(content) * (1 - HELD_OUT))
    train, test = content[:middle], content[middle:]
    wanted = train if split == "train" else test
    if tokenizer == "bytes":
        return packed(_bytes(wanted), block)
    coder = trained_bpe(train, vocabulary) if tokenizer == "bpe" else _tokenizer_file(tokenizer)
    return packed(torch.tensor(coder.encode(wanted).ids, dtype=torch.long), block)


def _bytes(content: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(content.encode(), np.uint8).astype(np.int64))


def trained_bpe(content: str, vocabulary: int) -> Any:
    """A byte-level BPE tokenizer (Sennrich et al. 2016, arXiv 1508.07909) trained on a text, by the tokenizers library.

    Returns:
        The tokenizer.

    Raises:
        SpecError: fewer tokens than bytes.
    """
    library = require("tokenizers", extra="text", purpose="train a BPE tokenizer")
    if vocabulary < 257:
        raise SpecError(f"vocabulary={vocabulary}; expected at least 257: every byte, and one pair")
    coder = library.Tokenizer(library.models.BPE())
    coder.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    coder.decoder = library.decoders.ByteLevel()
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    coder.train_from_iterator(content.splitlines(keepends=True), trainer)
    return coder


def _tokenizer_file(path: str) -> Any:
    if not path.endswith(".json"):
        raise SpecError(f"tokenizer={path!r} is unknown; choose one of: {', '.join(TOKENIZERS)}")
    if not Path(path).is_file():
        raise SpecError(f"tokenizer {path}: no such file")
    library = require("tokenizers", extra="text", purpose=f"read {path}")
    with reading(path, "a tokenizer"):
        return library.Tokenizer.from_file(path)


def _read(path: Path) -> str:
    return text_of(path, "text in UTF-8", most=MOST_CORPUS)


def tsv(
    *,
    path: str | os.PathLike[str],
    split: str = "train",
    tokenizer: str = "bytes",
    length: int = 128,
    sentence: str = "sentence",
    label: str = "label",
    batches: int = 0,
) -> Any:
    """Sentences with classes, from a tab-separated file with a header, as in GLUE's tasks.

    Args:
        path: the file; or a folder with ``train.tsv`` and ``dev.tsv``, which is the test split.
        split: ``"train"`` or ``"test"``; a single file has one split, whichever is asked for.
        tokenizer: ``"bytes"`` or a ``tokenizer.json``.
        length: longest text in tokens; longer texts are cut off, shorter ones are padded with token 0.
        sentence: header of the column with the text.
        label: header of the column with the class, a whole number from 0.
        batches: if given, batches of this size, as mappings with ``input_ids``, ``attention_mask`` and ``labels``, as
            Hugging Face models take them.

    Returns:
        Tokens int64 [N, length], and classes int64 [N].

    Raises:
        SpecError: no such file or column, or a class that is not a number.
    """
    source = Path(path)
    if source.is_dir():
        source = source / ("train.tsv" if split == "train" else "dev.tsv")
    rows = list(_rows(source, sentence, label))
    coder = None if tokenizer == "bytes" else _tokenizer_file(tokenizer)
    tokens = [_bytes(s) if coder is None else torch.tensor(coder.encode(s).ids, dtype=torch.long) for s, _ in rows]
    tokens = [part[:length] for part in tokens]
    classes = torch.tensor([c for _, c in rows], dtype=torch.long)
    if batches < 1:
        return padded(tokens, length=length)["input_ids"], classes
    found = []
    for start in range(0, len(rows), batches):
        batch = padded(tokens[start : start + batches])
        found.append(batch | {"labels": classes[start : start + batches]})
    return found


def _rows(source: Path, sentence: str, label: str) -> Iterator[tuple[str, int]]:
    lines = _read(source).splitlines()
    heading = lines[0].split("\t") if lines else []
    if sentence not in heading or label not in heading:
        raise SpecError(f"{source} has the columns {heading}; expected {sentence!r} and {label!r}")
    at, to = heading.index(sentence), heading.index(label)
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != len(heading) or not cells[to].isdigit() or not cells[at]:
            raise SpecError(f"{source}, line {number}: expected {len(heading)} columns, a text and a class from 0")
        yield cells[at], int(cells[to])
    if len(lines) < 2:
        raise SpecError(f"{source} has no line below its heading")
