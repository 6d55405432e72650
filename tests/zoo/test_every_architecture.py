"""Does every architecture go the whole way: rules for all its tensors, a scan, the centre, the model left alone?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import lossatlas as la
from lossatlas.objective.private import weights_fingerprint
from lossatlas.space import filters

GRID = la.Grid(x=(-1, 1, 5), y=(-1, 1, 5))

REASONS: dict[str, str] = {}
"""Tensors that the default rule takes, and why that is right. There are none; a new one is written down here."""

NARROW = {
    "vgg9": {"groups": ((2, 2), (3, 3), (4, 4, 4)), "size": 8},
    "densenet121": {"growth": 2},
    "encoder": {"vocabulary": 20, "dim": 8, "heads": 2},
    "decoder": {"vocabulary": 20, "dim": 8, "heads": 2},
    "resnet": {"depth": 8, "width": 2},
} | {name: {"vocabulary": 20, "dim": 8, "hidden": 8} for name in ("rnn_lm", "gru_lm", "lstm_lm")}
"""Options that make a network small; residual ones get a width of 2."""

LARGE = ("resnet101", "resnet152", "resnet110", "wrn110", "resnet56", "wrn56", "densenet121")
"""Deep networks: narrow ones are scanned here all the same, those of full size in the long test."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def narrow(name):
    options = dict(NARROW.get(name, {"width": 2} if name.startswith(("resnet", "wrn")) else {}))
    return alive(la.zoo.model(name, seed=0, **options), data_for(name)[0])


def alive(model, x):
    """Running statistics of these samples: through a hundred layers without shortcuts nothing would come out else."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        for _ in norms[:1]:
            model.train()(x)
    return model.eval()


def data_for(name, *, count=3, size=8):
    """A few random samples of the kind that a network of the zoo takes."""
    if name.endswith("_lm") or name == "decoder":
        tokens = torch.randint(1, 20, (count, 6), generator=generator())
        return tokens, tokens
    if name == "encoder":
        return torch.randint(1, 20, (count, 6), generator=generator()), torch.arange(count) % 2
    channels = 3 if name.startswith(("resnet", "wrn", "vgg", "dense")) else 1
    return torch.randn(count, channels, size, size, generator=generator()), torch.arange(count) % 10


def loss(scores, y):
    """Cross-entropy of each sample, for scores [N, C] and [N, T, C] alike."""
    return F.cross_entropy(scores.flatten(0, -2), y.flatten(), reduction="none").reshape(len(y), -1).mean(1)


def state(model):
    return (
        weights_fingerprint(model),
        [module.training for module in model.modules()],
        [p.requires_grad for p in model.parameters()],
    )


def defaults(model):
    return [row.name for row in filters.table(model).values() if row.default and row.name not in REASONS]


def assert_goes_the_whole_way(model, data, measure=loss, *, grid=GRID):
    assert defaults(model) == []
    before = state(model)
    objective = la.Objective(model, data, loss=measure)
    plane = la.Plane.random(objective, seed=1, axes=tuple(grid.axes))
    landscape = la.sample(objective, plane, grid, plan="plain")
    assert state(model) == before
    values = landscape["loss"].values
    assert set(np.unique(landscape["status"])) <= {1, 2}, "a point failed"  # 152 layers without shortcuts may overflow
    assert float(np.nanmax(values) - np.nanmin(values)) > 0, "nothing moved"
    assert float(landscape["loss"].sel(dict.fromkeys(grid.axes, 0))) == pytest.approx(
        centre(model, data, measure), rel=1e-5
    )
    for name, row in filters.table(model).items():
        if name in plane.moving:
            weights, direction = model.get_parameter(name), plane.directions["x"][name]
            torch.testing.assert_close(row.layout.norms(direction), row.layout.norms(weights), rtol=1e-5, atol=1e-8)


def centre(model, data, measure):
    """The loss of the model itself, called by hand in evaluation mode."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    with torch.no_grad():
        if isinstance(data, tuple):
            value = measure(model(data[0]), data[1]).mean()
        else:
            outputs = model(**data[0])
            value = outputs.loss if measure is None else measure(outputs.logits, data[0]["labels"]).mean()
    for module, mode in modes.items():
        module.training = mode
    return float(value)


@pytest.mark.parametrize("name", la.zoo.models())
def test_a_network_of_the_zoo_goes_the_whole_way(name):
    assert_goes_the_whole_way(narrow(name), data_for(name))


@pytest.mark.parametrize("name", [name for name in la.zoo.models() if name != "resnet"])
def test_every_tensor_of_the_zoo_has_a_rule_at_full_size(name):
    with torch.device("meta"):
        assert defaults(la.zoo.model(name)) == []


@pytest.mark.soak
@pytest.mark.parametrize("name", [name for name in la.zoo.models() if name.startswith(LARGE)])
def test_a_large_network_goes_the_whole_way_at_full_size(name):
    grid = la.Grid(x=(-1, 1, 3))
    data = data_for(name, count=2, size=32)
    assert_goes_the_whole_way(alive(la.zoo.model(name, seed=0), data[0]), data, grid=grid)


# Other people's networks


def vision(library, name):
    """Torchvision's classes at toy size, since its names fix the width."""
    models = pytest.importorskip("torchvision.models")
    if name == "resnet18":
        return models.resnet18(num_classes=10)
    if name == "densenet121":
        return models.DenseNet(growth_rate=4, block_config=(2, 2, 2, 2), num_init_features=8, num_classes=10)
    model = models.VisionTransformer(
        image_size=32, patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=10
    )
    torch.nn.init.normal_(model.heads.head.weight)  # it begins as zero, where nothing can be seen
    return model


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "vit_b_16"])
def test_a_network_of_torchvision_goes_the_whole_way(name):
    torch.manual_seed(0)
    assert_goes_the_whole_way(vision("torchvision", name), data_for("resnet", size=32, count=2))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}),
        ("vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 3}),
    ],
)
def test_a_network_of_timm_goes_the_whole_way(name, options):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=10, **options)
    assert_goes_the_whole_way(model, data_for("resnet", size=32, count=2))


def tokens(*shape, top=30):
    return torch.randint(5, top, shape, generator=generator())


def hugging_face(name):
    """A model of transformers at toy size, and a batch with labels."""
    transformers = pytest.importorskip("transformers")
    text = {"input_ids": tokens(2, 7), "labels": tokens(2, 7)}
    if name == "gpt2":
        config = transformers.GPT2Config(vocab_size=30, n_positions=16, n_embd=12, n_layer=2, n_head=3)
        return transformers.GPT2LMHeadModel(config), text
    if name == "bert":
        config = transformers.BertConfig(
            vocab_size=30, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
            max_position_embeddings=16,
        )  # fmt: skip
        return transformers.BertForMaskedLM(config), text
    if name == "t5":
        config = transformers.T5Config(
            vocab_size=30, d_model=12, d_kv=4, d_ff=20, num_layers=2, num_heads=3, decoder_start_token_id=0
        )
        return transformers.T5ForConditionalGeneration(config), text
    if name == "llama":
        config = transformers.LlamaConfig(
            vocab_size=30, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3,
            num_key_value_heads=1, max_position_embeddings=16,
        )  # fmt: skip
        return transformers.LlamaForCausalLM(config), text
    if name == "mamba":
        config = transformers.MambaConfig(vocab_size=30, hidden_size=8, state_size=3, num_hidden_layers=2)
        return transformers.MambaForCausalLM(config), text
    config = transformers.WhisperConfig(
        vocab_size=30, d_model=12, encoder_layers=1, decoder_layers=1, encoder_attention_heads=3, num_mel_bins=8,
        decoder_attention_heads=3, encoder_ffn_dim=16, decoder_ffn_dim=16, max_source_positions=10,
        max_target_positions=16, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    sound = {"input_features": torch.randn(2, 8, 20, generator=generator()), "labels": tokens(2, 7)}
    return transformers.WhisperForConditionalGeneration(config), sound


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5", "llama", "mamba", "whisper"])
def test_a_model_of_hugging_face_goes_the_whole_way(name):
    torch.manual_seed(0)
    model, batch = hugging_face(name)
    assert_goes_the_whole_way(model, [batch], None)


HEADS = {"gpt2": 4, "bert": 8, "t5": 24, "llama": 8, "whisper": 12}
"""Attention tensors by hand: GPT-2 fuses q, k, v, so 2 a layer; T5's decoder layers hold two attentions of 4."""


@pytest.mark.parametrize("name", HEADS)
def test_all_attention_of_a_model_of_hugging_face_is_known_by_head(name):
    model, _ = hugging_face(name)
    with_heads = [row.name for row in filters.table(model).values() if row.layout.heads]
    assert len(with_heads) == HEADS[name], with_heads


@pytest.mark.parametrize("text", ["torchvision:vit_b_16", "torchvision:densenet121", "timm:convnext_atto"])
def test_the_names_of_libraries_reach_explain(text):
    pytest.importorskip(text.partition(":")[0])
    from lossatlas.cli import names

    with torch.device("meta"):
        assert defaults(names.model(text)) == []


def test_the_table_in_the_docs_is_what_the_command_prints():
    from pathlib import Path

    from click.testing import CliRunner

    from lossatlas.cli import atlas

    page = Path(__file__).parents[2].joinpath("docs", "explanation", "filters.md").read_text(encoding="utf-8")
    names = [f"zoo:{name}" for name in la.zoo.models() if name != "resnet"]
    printed = CliRunner().invoke(atlas, ["explain", "--sizes", *names]).stdout
    assert printed in page
