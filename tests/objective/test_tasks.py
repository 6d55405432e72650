"""Are tasks scored rightly, beside the loss, with intervals that are right?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import lossatlas as la
from lossatlas import SpecError
from lossatlas.objective.generation import Continuation, cloze, greedy, token_f1
from lossatlas.objective.language import cross_entropy, packed
from lossatlas.results.intervals import clopper_pearson


class Decoder(nn.Module):
    def __init__(self, vocabulary=7):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(vocabulary, 8)
        self.out = nn.Linear(8, vocabulary)

    def forward(self, tokens):
        return self.out(self.embed(tokens).cumsum(1))


def corpus():
    return packed(torch.randint(7, (121,), generator=torch.Generator().manual_seed(3)), 12)


def test_tasks_are_measured_with_the_loss_and_leave_the_model_alone(tmp_path):
    model = Decoder()
    prompts, answers = cloze(corpus()[0], prompt=4, answer=1)
    task = Continuation(prompts, answers, scores=("exact", "match", "f1"))
    objective = la.Objective(
        model, corpus(), loss=cross_entropy, metrics={"perplexity": la.metrics.perplexity},
        tasks={"next": task, "norm": lambda m: float(m.out.weight.norm())},
    )  # fmt: skip
    before = [tensor.clone() for tensor in model.parameters()]
    plane = la.Plane.random(objective, seed=0)
    landscape = la.sample(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), run=tmp_path / "run")
    assert objective.names == ("loss", "perplexity", "next_exact", "next_match", "next_f1", "norm")
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    moved = Decoder()
    moved.load_state_dict({**moved.state_dict(), **plane.at({"x": 1, "y": -1})})
    right = np.mean(moved(torch.tensor(prompts))[:, -1].argmax(-1).numpy() == np.array(answers)[:, 0])
    cell = landscape.sel(x=1, y=-1)
    assert float(cell["next_exact"]) == right
    assert float(cell["norm"]) == pytest.approx(float(moved.out.weight.norm()))
    again = la.open(tmp_path / "run")
    for shares in ("next_exact_low", "next_exact_high"):
        np.testing.assert_array_equal(again[shares], landscape[shares])
    assert bool((again["next_exact_low"] <= again["next_exact"]).all())
    assert "next_f1_low" not in again  # a share of tokens is not a score of 0 or 1


def test_a_metric_of_type_bool_gets_an_interval():
    x, y = torch.randn(20, 3), torch.randint(2, (20,))
    objective = la.Objective(
        nn.Linear(3, 2), (x, y), nn.functional.cross_entropy, metrics={"right": lambda o, t: o.argmax(1) == t}
    )
    landscape = la.sample(objective, la.Plane.random(objective, axes=("x",)), la.Grid(x=(-1, 1, 3)))
    share = float(landscape["right"].sel(x=0))
    exact = stats.binomtest(round(share * 20), 20).proportion_ci(method="exact")
    assert float(landscape["right_low"].sel(x=0)) == pytest.approx(exact.low)
    assert float(landscape["right_high"].sel(x=0)) == pytest.approx(exact.high)


@pytest.mark.parametrize("number", [1, 10, 97])
def test_intervals_agree_with_scipys_own(number):
    low, high = clopper_pearson(np.arange(number + 1) / number, number)
    for k in range(number + 1):
        exact = stats.binomtest(k, number).proportion_ci(method="exact")
        assert (low[k], high[k]) == pytest.approx((exact.low, exact.high))


def test_a_cell_without_a_value_has_no_interval():
    low, high = clopper_pearson(np.array([np.nan]), 5)
    assert np.isnan(low).all() and np.isnan(high).all()


def test_greedy_continuations_are_those_of_hugging_face():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=23,
        max_position_embeddings=32, eos_token_id=None, bos_token_id=None,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, tokens):
            return self.inner(tokens, use_cache=False)

    prompts = [[1, 2, 3], [4, 5], [6, 7, 8], [9]]
    with torch.no_grad():
        assert greedy(model, prompts, 6) == greedy(Plain(), prompts, 6)


def test_continuations_end_at_the_stop_token():
    class Counts(nn.Module):
        def forward(self, tokens):
            return nn.functional.one_hot((tokens + 1) % 5, 5).float()

    assert greedy(Counts(), [[0], [2]], 4, stop=4) == [[1, 2, 3], [3]]


def test_text_scores_are_those_of_sacrebleu():
    sacrebleu = pytest.importorskip("sacrebleu")

    class Counts(nn.Module):
        def forward(self, tokens):
            return nn.functional.one_hot((tokens + 1) % 5, 5).float()

    words = ["the", "cat", "sat", "on", "mats"]
    task = Continuation(
        [[0], [2]], [[1, 2, 3], [3, 4, 1]], scores=("chrf", "bleu", "corpus_bleu"),
        decode=lambda tokens: " ".join(words[t] for t in tokens),
    )  # fmt: skip
    said, wanted = ["cat sat on", "on mats the"], ["cat sat on", "on mats cat"]
    found = task(Counts())
    assert found["chrf"].tolist() == [sacrebleu.sentence_chrf(a, [b]).score / 100 for a, b in zip(said, wanted)]
    assert found["corpus_bleu"] == sacrebleu.corpus_bleu(said, [wanted]).score / 100
    with pytest.raises(SpecError, match="'chrf' compares texts; pass decode="):
        Continuation([[0]], [[1]], scores=("chrf",))


def test_token_f1_by_hand():
    assert token_f1([["a", "a", "b"], []], [["a", "c"], []]).tolist() == [
        pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2)),
        1.0,
    ]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"loss": len}, "'loss' cannot name a score"),
        ({"a b": len}, "'a b' cannot name a score"),
        ({"t": 3}, "expected a callable"),
    ],
)
def test_bad_tasks_are_refused(tasks, message):
    with pytest.raises(SpecError, match=message):
        la.Objective(Decoder(), corpus(), loss=cross_entropy, tasks=tasks)


def test_scores_of_a_wrong_shape_are_refused():
    objective = la.Objective(Decoder(), corpus(), loss=cross_entropy, tasks={"t": lambda m: torch.zeros(2, 2)})
    with pytest.raises(SpecError, match="one number for each problem"):
        objective()


def test_an_unknown_score_lists_the_good_ones():
    with pytest.raises(SpecError, match="choose one of: exact, match, f1, chrf, bleu, corpus_bleu"):
        Continuation([[0]], [[1]], scores=("rouge",))
