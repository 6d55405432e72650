"""Does a folder of Hugging Face and a text file make a landscape of the model in its own tokens?"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

import lossatlas as la
from lossatlas.cli import atlas, corpus, names
from lossatlas.draw import brief
from lossatlas.figure.ranges import choose

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

TEXT = "What is measured must be named, and what is named must be measured. " * 12
SPECIAL = {
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "mask_token": "<mask>",
    "cls_token": "<cls>",
    "sep_token": "<sep>",
}


def tokenizer(**more):
    words = sorted(set(TEXT.split()))
    vocabulary = {word: number for number, word in enumerate([*SPECIAL.values(), "<unk>", *more.values(), *words])}
    coder = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    coder.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=coder, unk_token="<unk>", **SPECIAL, **more)


def gpt2(**more):
    options = {"n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 24, "n_positions": 10, **more}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**options, bos_token_id=0, eos_token_id=0))


def small(kind, config, **more):
    options = {
        "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 24,
        "max_position_embeddings": 12, **more,
    }  # fmt: skip
    return getattr(transformers, kind)(getattr(transformers, config)(**options))


def t5():
    config = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 24, "n_positions": 8}
    more = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
    return transformers.T5ForConditionalGeneration(transformers.T5Config(**config, **more))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.txt").write_text(TEXT)

    def make(model, coder=True):
        torch.manual_seed(0)
        model = model()
        model.save_pretrained("net")
        if coder:
            (tokenizer() if coder is True else coder).save_pretrained("net")
        return model.eval()

    return make


def run(*more):
    command = ["sample", "--model", "hf:net", "--data", "corpus.txt", "--x", "-1", "1", "3", *more]
    return CliRunner().invoke(atlas, command)


def tokens():
    return torch.tensor(tokenizer()(TEXT, add_special_tokens=False)["input_ids"])


def expected_causal(model, block):
    """The mean over all tokens but the first, each from those before it in its block."""
    ids, total = tokens(), 0.0
    for start in range(0, len(ids) - 1, block):
        x, y = ids[:-1][start : start + block], ids[1:][start : start + block]
        with torch.no_grad():
            total += float(F.cross_entropy(model(x[None]).logits[0], y, reduction="sum"))
    return total / (len(ids) - 1)


def test_a_causal_model_is_measured_on_every_token_in_blocks_of_its_own_length(folder):
    model = folder(gpt2)
    found = run("--run", "run", "--metric", "perplexity")
    assert found.exit_code == 0, found.output
    assert "blocks of 10 (the model's own), tokenizer of net" in found.output
    assert "model:   pretrained weights of net" in found.output
    over = f"means over {len(tokens()) - 1} tokens"
    assert f"\n{over}\n" in found.stdout
    assert over in brief.what([la.open("run")], choose(la.open("run")["loss"].values))
    for command, words in (("eigen", "over 30 tokens in 3 samples of corpus"), ("quantise", "means over 30 tokens")):
        told = CliRunner().invoke(atlas, [command, "--model", "hf:net", "--data", "corpus.txt", "--samples", "3"])
        assert told.exit_code == 0, told.output + repr(told.exception)
        assert words in told.stdout
    landscape = la.open("run")
    assert float(landscape["loss"].sel(x=0)) == pytest.approx(expected_causal(model, 10), rel=1e-6)
    assert landscape.attrs["model"].endswith("GPT2LMHeadModel") or "pretrained weights of net" in str(landscape.attrs)
    assert "pretrained weights of net" in str(landscape.attrs)


@pytest.mark.parametrize("rows", ["1", "3", "100"])
def test_how_many_blocks_are_in_a_batch_changes_nothing(folder, rows):
    model = folder(gpt2)
    found = run("--run", "run", "--block", "7", "--batch-size", rows)
    assert found.exit_code == 0, found.output
    assert float(la.open("run")["loss"].sel(x=0)) == pytest.approx(expected_causal(model, 7), rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "config", "more", "block"),
    [
        ("BertForMaskedLM", "BertConfig", {}, 12),
        ("RobertaForMaskedLM", "RobertaConfig", {"pad_token_id": 1, "max_position_embeddings": 14}, 12),
    ],
)
def test_a_masked_model_is_asked_for_the_tokens_behind_the_mask(folder, kind, config, more, block):
    model = folder(lambda: small(kind, config, **more))
    found = run("--run", "run")
    assert found.exit_code == 0, found.output
    assert f"blocks of {block} (the model's own)" in found.output
    ids, coder = tokens(), tokenizer()
    hidden = torch.rand(len(ids), generator=torch.Generator().manual_seed(0)) < 0.15
    total = 0.0
    for start in range(0, len(ids), block - 2):
        part, mask = ids[start : start + block - 2], hidden[start : start + block - 2]
        row = [coder.cls_token_id, *part.masked_fill(mask, coder.mask_token_id).tolist(), coder.sep_token_id]
        with torch.no_grad():
            logits = model(torch.tensor([row]), attention_mask=torch.ones(1, len(row))).logits[0, 1:-1]
        total += float(F.cross_entropy(logits[mask], part[mask], reduction="sum"))
    assert float(la.open("run")["loss"].sel(x=0)) == pytest.approx(total / int(hidden.sum()), rel=1e-5)


def test_a_sequence_to_sequence_model_goes_on_from_the_first_half(folder):
    model = folder(t5)
    found = run("--run", "run")
    assert found.exit_code == 0, found.output
    assert "blocks of 8 (the model's own)" in found.output and "the second half of each block" in found.output
    ids, total, count = tokens(), 0.0, 0
    for start in range(0, len(ids) - 1, 8):
        part = ids[start : start + 8]
        middle = (len(part) + 1) // 2
        with torch.no_grad():
            out = model(input_ids=part[None, :middle], labels=part[None, middle:])
        total, count = total + float(out.loss) * (len(part) - middle), count + len(part) - middle
    assert float(la.open("run")["loss"].sel(x=0)) == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("model", [gpt2, t5])
def test_the_models_own_loss_is_measured_on_the_same_text(folder, model):
    folder(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = run("--run", "run", "--loss", "own")
    assert found.exit_code == 0, found.output
    assert np.isfinite(la.open("run")["loss"]).all()


def test_a_folder_without_a_tokenizer_is_refused_with_the_flag_that_names_one(folder, tmp_path):
    model = folder(gpt2, coder=False)
    found = run()
    assert found.exit_code != 0
    assert "the model's folder net has no tokenizer" in found.output
    assert "--tokenizer FOLDER" in found.output
    tokenizer().save_pretrained("coder")
    for source in ("coder", "coder/tokenizer.json"):
        found = run("--tokenizer", source, "--run", f"run-{source.replace('/', '-')}")
        assert found.exit_code == 0, found.output
        values = la.open(f"run-{source.replace('/', '-')}")["loss"]
        assert float(values.sel(x=0)) == pytest.approx(expected_causal(model, 10), rel=1e-6)
    assert "--tokenizer none.json: no such file" in run("--tokenizer", "none.json").output


def test_a_tokenizer_of_another_model_is_refused(folder):
    folder(lambda: gpt2(vocab_size=9))
    assert "and GPT2LMHeadModel knows 9 tokens: it belongs to another model" in run().output


def test_a_model_without_a_language_head_is_refused(folder):
    folder(lambda: small("BertForSequenceClassification", "BertConfig"))
    assert "BertForSequenceClassification has no language head" in run().output


def test_flags_that_do_nothing_are_refused(folder):
    folder(gpt2)
    assert "--block 1; expected at least 2 tokens" in run("--block", "1").output
    assert "--loss mse with a text" in run("--loss", "mse").output
    other = CliRunner().invoke(atlas, ["sample", "--model", "zoo:mlp", "--data", "zoo:digits", "--block", "5"])
    assert "--block needs --model hf:FOLDER" in other.output
    assert "none is named" in run("--prefix", "a.").output


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (gpt2, 10),
        (lambda: small("BertForMaskedLM", "BertConfig"), 12),
        (lambda: small("RobertaForMaskedLM", "RobertaConfig", pad_token_id=1), 10),
    ],
)
def test_a_block_longer_than_the_positions_is_refused_by_its_flag(folder, make, most):
    folder(make)
    assert run("--block", str(most)).exit_code == 0
    found = run("--block", str(most + 1))
    assert found.exit_code == 2
    assert f"has {most} positions; give at most --block {most}" in found.output


def test_a_model_longer_than_the_text_takes_it_as_one_block(folder):
    model = folder(lambda: gpt2(n_positions=512))
    found = run("--run", "run")
    assert found.exit_code == 0, found.output
    assert float(la.open("run")["loss"].sel(x=0)) == pytest.approx(expected_causal(model, 512), rel=1e-6)


def test_random_weights_are_called_random_and_a_checkpoint_is_not_called_pretrained(folder):
    model = folder(gpt2)
    torch.save({"ema": {f"module.{n}": t for n, t in model.state_dict().items()}}, "a.pt")
    found = run("--checkpoint", "a.pt", "--run", "a")
    assert "under key 'ema'; with names after 'module.'" in found.output
    assert "pretrained" not in str(la.open("a").attrs)
    model.config.save_pretrained("plain")
    tokenizer().save_pretrained("plain")
    values = []
    for name in "bc":
        command = ["sample", "--model", "hf:plain", "--data", "corpus.txt", "--x", "-1", "1", "3", "--run", name]
        assert CliRunner().invoke(atlas, command).exit_code == 0
        values.append(la.open(name)["loss"].values)
    assert "random weights of plain" in str(la.open("b").attrs)
    assert (values[0] == values[1]).all(), "random weights have a fixed seed"


def test_weights_that_the_folder_lacks_are_never_made_up(folder):
    folder(lambda: small("BertForMaskedLM", "BertConfig"))
    config = transformers.AutoConfig.from_pretrained("net")
    config.architectures = ["BertForSequenceClassification"]
    config.save_pretrained("net")
    with pytest.raises(la.SpecError, match=r"4 weights of BertForSequenceClassification are not in it \(bert.pooler"):
        names.model("hf:net")


def test_a_large_vocabulary_makes_small_batches(folder):
    class Wide:
        vocab_size = 2**22

    model = folder(gpt2)
    model.config.vocab_size = Wide.vocab_size
    text = corpus.corpus(model, "net", "corpus.txt")
    assert max(len(x) for x, _ in text.batches) == 1
    assert sum(x.numel() for x, _ in text.batches) == len(tokens()) - 1


def test_the_python_that_says_the_same_does_the_same(folder):
    model = folder(gpt2)
    printed = run("--block", "6", "--print-python").output
    space: dict = {}
    exec(printed, space)
    assert float(space["landscape"]["loss"].sel(x=0)) == pytest.approx(expected_causal(model, 6), rel=1e-6)
    assert math.isfinite(space["objective"]()["loss"])


LIT = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, width, depth=1):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), *[nn.Linear(width, width) for _ in range(depth)], nn.Linear(width, 3))
    def forward(self, x): return self.layers(x)
class Whole(Net):
    def __init__(self, hparams): super().__init__(hparams.width, hparams["depth"])
class Any(Net):
    def __init__(self, **kwargs): super().__init__(kwargs["width"], kwargs["depth"])
def data():
    torch.manual_seed(0)
    return torch.randn(9, 4), torch.randint(0, 3, (9,))
"""


@pytest.mark.parametrize(
    ("name", "more"),
    [("Net", {}), ("Whole", {"hparams_name": "hparams"}), ("Any", {"hparams_name": "kwargs"}), ("Net(depth=2)", {})],
)
def test_the_hyper_parameters_in_a_lightning_file_build_the_model(tmp_path, monkeypatch, name, more):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lit.py").write_text(LIT)
    parameters = {"width": 7, "depth": 2, "lr": 0.1, "_instantiator": "x"}
    state = names.model("lit.py:Net(width=7, depth=2)").state_dict()
    content = {"state_dict": state, "hyper_parameters": parameters, "pytorch-lightning_version": "2.6", **more}
    torch.save(content, "a.ckpt")
    command = ["sample", "--data", "lit.py:data", "--checkpoint", "a.ckpt", "--x", "-1", "1", "3", "--run", "run"]
    found = CliRunner().invoke(atlas, [*command, "--model", f"lit.py:{name}"])
    assert found.exit_code == 0, found.output
    if name == "Net":
        wrong = CliRunner().invoke(atlas, [*command, "--model", "lit.py:Net(width=5)"])
        assert "another architecture than Net" in wrong.output


def test_a_checkpoint_of_lightning_itself_builds_its_module(tmp_path, monkeypatch):
    lightning = pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lit.py").write_text(
        "import lightning, torch\n"
        "from torch import nn\n"
        "class Lit(lightning.LightningModule):\n"
        "    def __init__(self, width):\n"
        "        super().__init__()\n"
        "        self.save_hyperparameters()\n"
        "        self.net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))\n"
        "    def forward(self, x): return self.net(x)\n"
        "    def training_step(self, batch, i): return nn.functional.cross_entropy(self(batch[0]), batch[1])\n"
        "    def configure_optimizers(self): return torch.optim.SGD(self.parameters(), 0.1)\n"
    )
    source = names.model("lit.py:Lit(width=6)")
    torch.manual_seed(0)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.randn(8, 4), torch.randint(0, 3, (8,))), batch_size=4
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_steps=2, logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
            enable_checkpointing=False,
        )  # fmt: skip
        trainer.fit(source, loader)
        trainer.save_checkpoint("a.ckpt")
    found = names.model("lit.py:Lit", checkpoint="a.ckpt")
    la.load_checkpoint(found, "a.ckpt")
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), found.state_dict().values(), strict=True)
    )
