"""Is a mean over tokens a mean over tokens, whatever the padding, the batches and the plan?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import lossatlas as la
from lossatlas import SpecError
from lossatlas.objective import language
from lossatlas.objective.language import Forward, cross_entropy, packed, padded

METRICS = {"accuracy": la.metrics.token_accuracy, "perplexity": la.metrics.perplexity}


class Bigram(nn.Module):
    """Logits of the next token from the current one; takes what a Hugging Face model takes."""

    def __init__(self, vocabulary: int = 11) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embed = nn.Embedding(vocabulary, 6)
        self.out = nn.Linear(6, vocabulary, bias=False)
        for tensor in self.parameters():
            tensor.data = torch.randn(tensor.shape, generator=generator)

    def forward(self, input_ids, attention_mask=None):
        return self.out(torch.tanh(self.embed(input_ids)))


def texts(lengths=(9, 3, 12, 2, 7, 5), vocabulary=11):
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1, vocabulary, (length,), generator=generator) for length in lengths]


def truth(model, parts):
    """Loss and accuracy over all tokens, text by text without any padding, in NumPy and double precision."""
    losses, right = [], []
    for text in parts:
        logits = model.double()(text[None])[0].detach().numpy()
        log_p = (
            logits
            - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
            - logits.max(1, keepdims=True)
        )
        following = text[1:].numpy()
        losses.append(-log_p[np.arange(len(following)), following])
        right.append(logits[:-1].argmax(1) == following)
    model.float()
    return float(np.concatenate(losses).mean()), float(np.concatenate(right).mean())


def batches(parts, size, **options):
    return [padded(parts[start : start + size], **options) for start in range(0, len(parts), size)]


def objective(model, data, **options):
    return la.Objective(model, data, loss=cross_entropy, forward=Forward("causal"), metrics=METRICS, **options)


@pytest.mark.parametrize("size", [1, 2, 4, 6])
@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
def test_padding_and_the_cut_into_batches_change_nothing(size, left):
    model = Bigram()
    loss, accuracy = truth(model, texts())
    found = objective(model, batches(texts(), size, left=left))()
    assert found["loss"] == pytest.approx(loss, rel=1e-6)
    assert found["accuracy"] == pytest.approx(accuracy, rel=1e-12)
    assert found["perplexity"] == pytest.approx(np.exp(loss), rel=1e-5)


def test_perplexity_is_the_exponential_of_the_mean_and_not_a_mean_of_exponentials():
    found = objective(Bigram(), batches(texts(), 2))
    one, two = (objective(Bigram(), [batch])()["perplexity"] for batch in batches(texts(), 3))
    values = found()
    assert values["perplexity"] == np.exp(values["loss"])
    assert abs(values["perplexity"] - (one + two) / 2) > 1e-3


def test_a_perplexity_that_overflows_takes_nothing_away_from_the_loss(tmp_path):
    model = Bigram()
    found = la.Objective(model, batches(texts(), 2), loss=cross_entropy, forward=Forward("causal"), metrics=METRICS)
    direction = {"out.weight": 3000 * torch.randn(11, 6, generator=torch.Generator().manual_seed(4))}
    landscape = la.sample(found, la.Plane(found, {"x": direction}), la.Grid(x=(0, 1, 2)))
    assert float(landscape["loss"].sel(x=1)) > 710
    assert float(landscape["perplexity"].sel(x=1)) == np.inf
    assert landscape["status"].values.tolist() == [1, 1]
    assert la.draw(landscape, tmp_path / "a.png", value="perplexity").stat().st_size > 5000


def test_a_value_that_is_derived_from_nothing_measured_is_refused():
    with pytest.raises(SpecError, match="derived from 'los', which is not measured"):
        la.Objective(
            Bigram(), batches(texts(), 2), cross_entropy, metrics={"p": la.metrics.Derived(of="los", by=np.exp)}
        )


def test_an_ignored_position_counts_for_nothing_even_where_its_loss_is_not_finite():
    logits, targets = torch.zeros(1, 3, 4), torch.tensor([[1, 2, 0]])
    logits[0, 2, 0] = -torch.inf
    weighted = la.metrics.Weighted(cross_entropy(logits, targets).values, torch.tensor([[1.0, 1.0, 0.0]]))
    assert float(weighted.mean()) == pytest.approx(np.log(4))


@pytest.mark.parametrize("plan", ["graph", "stacked"])
def test_fast_plans_weigh_by_token_too(plan):
    found = objective(Bigram(), batches(texts(), 2, length=12))
    plane = la.Plane.random(found, seed=0)
    grid = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    slow, fast = (la.sample(found, plane, grid, plan=name) for name in ("plain", plan))
    for name in ("loss", "accuracy", "perplexity"):
        np.testing.assert_allclose(fast[name], slow[name], rtol=2e-6)


def test_batches_of_several_lengths_are_left_to_the_plain_plan():
    found = objective(Bigram(), batches(texts(), 2))
    with pytest.raises(SpecError, match="the batches differ in more than their number of samples"):
        la.sample(found, la.Plane.random(found, axes=("x",)), la.Grid(x=(-1, 1, 3)), plan="graph")


def test_a_landscape_says_what_its_means_are_over():
    found = objective(Bigram(), batches(texts(), 2))
    landscape = la.sample(found, la.Plane.random(found, axes=("x",)), la.Grid(x=(-1, 1, 3)))
    tokens = sum(len(text) - 1 for text in texts())
    from lossatlas.draw.captions import about
    from lossatlas.results.landscape import structured

    counts = structured(landscape, "counts")
    assert counts["loss"] == {"unit": "token", "number": tokens, "zero_one": False}
    assert landscape.attrs["samples"] == 6
    assert f"means over {tokens} tokens" in about([landscape])


def test_the_gradient_is_that_of_the_mean_over_tokens():
    from lossatlas.curvature.products import Matrix

    model = Bigram()
    gradient = Matrix(objective(model, batches(texts(), 2))).gradient()
    total = sum(
        nn.functional.cross_entropy(model(text[None])[0, :-1], text[1:], reduction="sum") for text in texts()
    ) / sum(len(text) - 1 for text in texts())
    total.backward()
    for name, tensor in model.named_parameters():
        torch.testing.assert_close(gradient[name].float(), tensor.grad, rtol=1e-4, atol=1e-6)


def test_a_part_of_unequal_texts_is_refused_and_of_equal_blocks_is_not():
    with pytest.raises(SpecError, match="samples have different numbers of them"):
        objective(Bigram(), batches(texts(), 6)).each()
    x, y = packed(torch.cat(texts()), 4)
    blocks = la.Objective(Bigram(), (x, y), loss=cross_entropy, metrics=METRICS)
    each = blocks.each()
    assert each.shape == (len(x), 2)
    assert float(each[:, 0].mean()) == pytest.approx(blocks()["loss"], rel=1e-6)


def test_a_corrected_part_of_equal_blocks_keeps_perplexity_the_exponential_of_the_loss():
    generator = torch.Generator().manual_seed(2)
    x, y = packed(torch.randint(11, (1201,), generator=generator), 8)
    found = la.Objective(Bigram(), (x, y), loss=cross_entropy, metrics=METRICS)
    grid = la.Grid(x=(-1, 1, 15), y=(-1, 1, 15))
    landscape = la.sample(found, la.Plane.random(found, seed=0), grid, samples=la.Subset(size=75), plan="plain")
    np.testing.assert_allclose(landscape["perplexity"], np.exp(landscape["loss"]), rtol=1e-12)
    whole = la.sample(found, la.Plane.random(found, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
    corner = landscape["loss"].sel(x=[-1, 0, 1], y=[-1, 0, 1])
    np.testing.assert_allclose(corner, whole["loss"], rtol=0.05)


def test_packed_blocks_use_every_token_once_and_need_one_block():
    x, y = packed(torch.arange(10), 3)
    assert x.flatten().tolist() == list(range(9))
    assert y.flatten().tolist() == list(range(1, 10))
    with pytest.raises(SpecError, match="the text has 3 tokens"):
        packed(torch.arange(3), 3)


def hugging_face(kind):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(
            n_embd=16, n_layer=2, n_head=2, vocab_size=11, n_positions=16, bos_token_id=0, eos_token_id=0
        )
        return transformers.GPT2LMHeadModel(config)
    if kind == "bert":
        config = transformers.BertConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=11,
            max_position_embeddings=16,
        )  # fmt: skip
        return transformers.BertForMaskedLM(config)
    config = transformers.T5Config(
        d_model=16, num_layers=2, num_heads=2, d_ff=32, d_kv=8, vocab_size=11, decoder_start_token_id=0, pad_token_id=0
    )
    return transformers.T5ForConditionalGeneration(config)


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
def test_a_causal_model_of_hugging_face_gives_its_own_loss_text_by_text(left):
    model = hugging_face("gpt2").eval()
    parts = texts()
    with torch.no_grad():
        own = [float(model(input_ids=text[None], labels=text[None]).loss) for text in parts]
    truth = np.average(own, weights=[len(text) - 1 for text in parts])
    for size in (1, 4):
        found = la.Objective(model, batches(parts, size, left=left), loss=cross_entropy, forward=Forward())
        assert found()["loss"] == pytest.approx(truth, abs=1e-6)


def test_a_masked_model_counts_only_what_was_masked():
    model = hugging_face("bert").eval()
    parts = texts()
    samples = []
    for text in parts:
        labels = torch.full_like(text, -100)
        labels[::2] = text[::2]
        samples.append((text.masked_fill(labels != -100, 3), labels))
    with torch.no_grad():
        own = [float(model(input_ids=a[None], labels=b[None]).loss) for a, b in samples]
    truth = np.average(own, weights=[int((b != -100).sum()) for _, b in samples])
    for size in (1, 4):
        data = []
        for start in range(0, len(samples), size):
            batch = padded([a for a, _ in samples[start : start + size]])
            labels = padded([b for _, b in samples[start : start + size]], pad=-100)["input_ids"]
            data.append(batch | {"labels": labels})
        found = la.Objective(model, data, loss=cross_entropy, forward=Forward())
        assert found()["loss"] == pytest.approx(truth, abs=1e-6)
    with pytest.raises(SpecError, match="masked model needs 'labels'"):
        la.Objective(model, [{"input_ids": texts()[0][None]}], loss=cross_entropy, forward=Forward())()


def test_a_sequence_to_sequence_model_counts_the_tokens_of_its_answers():
    model = hugging_face("t5").eval()
    questions, answers = texts(), texts((3, 5, 2, 4, 6, 1))
    with torch.no_grad():
        own = [float(model(input_ids=q[None], labels=a[None]).loss) for q, a in zip(questions, answers, strict=True)]
    truth = np.average(own, weights=[len(answer) for answer in answers])
    for size in (1, 4):
        data = []
        for start in range(0, len(questions), size):
            batch = padded(questions[start : start + size])
            batch["labels"] = padded(answers[start : start + size])["labels"]
            data.append(batch)
        found = la.Objective(model, data, loss=cross_entropy, forward=Forward())
        assert found()["loss"] == pytest.approx(truth, abs=1e-6)


def test_a_models_own_loss_over_uneven_batches_is_noted():
    found = la.Objective(hugging_face("gpt2"), batches(texts(), 2))
    with pytest.warns(UserWarning, match="a batch with more padding weighs more"):
        la.sample(found, la.Plane.random(found, axes=("x",)), la.Grid(x=(-1, 1, 3)))


def test_an_unknown_kind_lists_the_good_ones():
    with pytest.raises(SpecError, match="choose one of: causal, masked, seq2seq"):
        language.Forward("prefix")
