"""Do folders of transformers and peft load as those libraries load them, and are refused where they would not fit?"""

from __future__ import annotations

import copy
import json
import warnings

import pytest
import torch

import lossatlas as la
from lossatlas.cli import names

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")


def gpt2(**more):
    options = {"n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 20, "n_positions": 16}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**options, bos_token_id=0, eos_token_id=0, **more))


def bert():
    return transformers.BertForMaskedLM(
        transformers.BertConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=20
        )
    )


def t5():
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, vocab_size=20)
    )


def vit():
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4
        )
    )


MODELS = {
    "gpt2, tied": gpt2,
    "gpt2, untied": lambda: gpt2(tie_word_embeddings=False),
    "bert": bert,
    "t5": t5,
    "vit": vit,
}


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("shards", [False, True])
def test_folders_load_as_from_pretrained_does_in_one_file_and_in_several(tmp_path, case, shards):
    source, target = MODELS[case](), MODELS[case]()
    source.save_pretrained(tmp_path, **({"max_shard_size": "2KB"} if shards else {}))
    assert (tmp_path / "model.safetensors.index.json").is_file() is shards
    state = torch.random.get_rng_state()
    loaded = la.load_checkpoint(target, tmp_path)
    assert torch.equal(state, torch.random.get_rng_state()), "loading drew random numbers"
    assert same(source, target)
    assert same(target, type(source).from_pretrained(tmp_path))
    assert not loaded.ignored
    if not shards:
        again = MODELS[case]()
        la.load_checkpoint(again, tmp_path / "model.safetensors")
        assert same(source, again)


@pytest.mark.parametrize("case", MODELS)
def test_the_state_dict_of_torch_loads_too(tmp_path, case):
    source, target = MODELS[case](), MODELS[case]()
    torch.save(source.state_dict(), tmp_path / "a.pt")
    la.load_checkpoint(target, tmp_path / "a.pt")
    assert same(source, target)


def test_a_folder_of_another_size_is_refused_and_the_model_left_alone(tmp_path):
    gpt2().save_pretrained(tmp_path)
    other = gpt2(n_inner=24)
    before = copy.deepcopy(other)
    with pytest.raises(la.SpecError, match="another architecture than GPT2LMHeadModel"):
        la.load_checkpoint(other, tmp_path)
    assert same(before, other)


def adapted(base, seed=0, **options):
    torch.manual_seed(seed)
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, **options)
    model = peft.get_peft_model(base, config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_()
    return model


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"modules_to_save": ["ln_f"]}])
def test_an_adapter_loads_into_the_adapted_model_from_its_file_and_its_folder(tmp_path, options):
    base = gpt2()
    source = adapted(copy.deepcopy(base), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source.save_pretrained(tmp_path)
    for path in (tmp_path, tmp_path / "adapter_model.safetensors"):
        target = adapted(copy.deepcopy(base), seed=5, **options)
        assert not same(source, target)
        assert la.load_checkpoint(target, path).by == "peft"
        assert same(source, target)


@pytest.mark.parametrize("options", [{}, {"use_dora": True}])
def test_the_folder_of_an_adapter_is_merged_into_the_base(tmp_path, options):
    base, target = gpt2(), None
    target = copy.deepcopy(base)
    source = adapted(copy.deepcopy(base), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source.save_pretrained(tmp_path)
    assert "adapter merged" in la.load_checkpoint(target, tmp_path).words()
    assert same(source.merge_and_unload(), target)
    assert not same(base, target)
    assert type(target) is type(base)


def test_an_adapter_of_another_model_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted(gpt2()).save_pretrained(tmp_path)
    model = bert()
    before = copy.deepcopy(model)
    with pytest.raises(la.SpecError, match="does not fit BertForMaskedLM"):
        la.load_checkpoint(model, tmp_path)
    deeper = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=20, n_positions=16)
    )
    with pytest.raises(la.SpecError, match="does not fit GPT2LMHeadModel"):
        la.load_checkpoint(deeper, tmp_path)
    assert same(before, model)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(la.SpecError, match="has no adapter_model.safetensors"):
        la.load_checkpoint(gpt2(), tmp_path)


def test_the_name_of_an_adapter_folder_is_the_adapted_model_on_its_base(tmp_path):
    base = gpt2()
    base.save_pretrained(tmp_path / "base")
    source = adapted(transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "base"))
    source.save_pretrained(tmp_path / "adapter")
    found = names.model(f"hf:{tmp_path / 'adapter'}")
    assert same(source, found)
    row = la.directions.random(found, seed=0, only="*lora_*")
    assert row
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "gone")
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(la.SpecError, match="its base .*gone"):
        names.model(f"hf:{tmp_path / 'adapter'}")
