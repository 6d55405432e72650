"""Does text become the right tokens, every one of them once?"""

from __future__ import annotations

import pytest
import torch

import lossatlas as la
from lossatlas import SpecError
from lossatlas.cli import names
from lossatlas.zoo.text import trained_bpe

TEXT = "The quick brown fox jumps over the lazy dog. " * 40


def test_bytes_in_blocks_spell_the_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    x, y = la.zoo.data("text", path=path, block=16)
    train = TEXT[: round(len(TEXT) * 0.9)]
    assert bytes(x.flatten().tolist()).decode() == train[: x.numel()]
    assert bytes(y.flatten().tolist()).decode() == train[1 : x.numel() + 1]
    held_out, _ = la.zoo.data("text", path=path, block=16, split="test")
    assert bytes(held_out.flatten().tolist()).decode() == TEXT[len(train) :][: held_out.numel()]


def test_bpe_tokens_decode_to_the_text_and_are_the_same_every_time(tmp_path):
    pytest.importorskip("tokenizers")
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    coder = trained_bpe(TEXT[: round(len(TEXT) * 0.9)], 280)
    x, _ = la.zoo.data("text", path=path, block=8, tokenizer="bpe", vocabulary=280)
    assert coder.decode(x.flatten().tolist()) == TEXT[: len(coder.decode(x.flatten().tolist()))]
    assert int(x.max()) < 280
    assert int(x.max()) > 255
    coder.save(str(tmp_path / "tokenizer.json"))
    again, _ = la.zoo.data("text", path=path, block=8, tokenizer=str(tmp_path / "tokenizer.json"))
    assert torch.equal(x, again)
    with pytest.raises(SpecError, match="expected at least 257"):
        la.zoo.data("text", path=path, tokenizer="bpe", vocabulary=100)


def test_the_embedded_text_needs_no_file():
    x, y = la.zoo.data("reference", block=64)
    assert x.shape == y.shape
    assert x.shape[1] == 64
    assert 300_000 < x.numel() < 1_000_000
    assert "statement" in bytes(x[:50].flatten().tolist()).decode()
    assert torch.equal(x[0, 1:], y[0, :-1])


def test_sentences_with_classes(tmp_path):
    (tmp_path / "train.tsv").write_text("sentence\tlabel\ngood film\t1\nbad\t0\n")
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\nso so\t1\n")
    x, y = la.zoo.data("tsv", path=tmp_path, length=6)
    assert x.tolist() == [list(b"good f"), [*b"bad", 0, 0, 0]]
    assert y.tolist() == [1, 0]
    assert la.zoo.data("tsv", path=tmp_path, split="test")[1].tolist() == [1]
    (batch,) = la.zoo.data("tsv", path=tmp_path, batches=8)
    assert batch["attention_mask"].sum(1).tolist() == [9, 3]
    assert batch["labels"].tolist() == [1, 0]
    scores = la.zoo.model("encoder", seed=0)(x)
    assert scores.shape == (2, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text\tlabel\na\t1\n", r"expected 'sentence' and 'label'"),
        ("sentence\tlabel\na\tgood\n", "line 2: expected 2 columns"),
        ("sentence\tlabel\n", "no line below its heading"),
    ],
)
def test_bad_tables_are_refused(tmp_path, content, message):
    (tmp_path / "a.tsv").write_text(content)
    with pytest.raises(SpecError, match=message):
        la.zoo.data("tsv", path=tmp_path / "a.tsv")


def test_bad_texts_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("short")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    for path, message in (
        ("a.txt", "the text has 4 tokens"),
        ("b.txt", "cannot be read as text in UTF-8"),
        ("c.txt", "no such file"),
    ):
        with pytest.raises(SpecError, match=message):
            la.zoo.data("text", path=tmp_path / path)
    with pytest.raises(SpecError, match="choose one of: bytes, bpe, FILE.json"):
        la.zoo.data("reference", tokenizer="words")


def test_a_text_file_is_a_name_on_the_command_line(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "a.tsv").write_text("sentence\tlabel\na\t1\n")
    assert names.data(str(tmp_path / "a.txt"))[0].shape[1] == 128
    assert names.data(str(tmp_path / "a.tsv"))[1].tolist() == [1]
    assert names.data("zoo:reference(block=32)")[0].shape[1] == 32
