"""Are language models measured by name on the command line?"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import atlas, names
from lossatlas.objective.language import Forward, cross_entropy, kind_of, padded

CONFIGS = {
    "causal": {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 16, "n_layer": 1, "n_head": 2,
        "vocab_size": 256, "n_positions": 64,
    },
    "masked": {
        "model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 64,
    },
    "seq2seq": {
        "model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 16, "num_layers": 1,
        "num_heads": 2, "d_ff": 16, "d_kv": 8, "vocab_size": 64, "decoder_start_token_id": 0, "pad_token_id": 0,
        "is_encoder_decoder": True,
    },
}  # fmt: skip


def folder(path, kind):
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIGS[kind]))
    return path


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_kind_of_model_comes_from_a_folder_and_has_a_landscape(tmp_path, kind):
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = names.model(f"hf:{folder(tmp_path / kind, kind)}")
    assert kind_of(model) == kind
    batch = padded([torch.tensor([5, 6, 7, 8]), torch.tensor([9, 10])])
    objective = la.Objective(model, [batch], loss=cross_entropy, forward=Forward())
    landscape = la.sample(objective, la.Plane.random(objective, axes=("x",)), la.Grid(x=(-1, 1, 3)))
    assert np.isfinite(landscape["loss"]).all()
    assert float(landscape["loss"].sel(x=0)) == pytest.approx(objective()["loss"])


def test_a_text_and_a_folder_are_enough(tmp_path):
    pytest.importorskip("transformers")
    model = folder(tmp_path / "model", "causal")
    names.model(f"hf:{model}").save_pretrained(model)
    (tmp_path / "a.txt").write_text("What is measured must be named, and what is named must be measured. " * 30)
    command = [
        "sample", "--model", f"hf:{model}", "--data", f"zoo:text(path={str(tmp_path / 'a.txt')!r}, block=32)",
        "--loss", "tokens", "--metric", "perplexity", "--metric", "token_accuracy", "--x", "-1", "1", "3",
        "--run", str(tmp_path / "run"), "--in-place",
    ]  # fmt: skip
    run = CliRunner().invoke(atlas, command)
    assert run.exit_code == 0, run.output
    landscape = la.open(tmp_path / "run")
    assert set(landscape.data_vars) == {"loss", "perplexity", "token_accuracy", "status"}
    np.testing.assert_allclose(landscape["perplexity"], np.exp(landscape["loss"]))
    shown = CliRunner().invoke(atlas, [*command, "--print-python"])
    assert 'in_place=True, forward=names.forward("tokens")' in shown.output.replace("'", '"')
