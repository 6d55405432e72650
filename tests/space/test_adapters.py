"""The direction to a merged adapter, against peft's own merge, for every kind that peft merges."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.errors import SpecError

peft = pytest.importorskip("peft")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.hidden = nn.Linear(8, 16)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = F.relu(self.conv(x)).mean((2, 3))
        return self.head(self.norm(F.relu(self.hidden(x))))


def lora(**options):
    return peft.LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ["hidden"], **options})


KINDS = {
    "LoRA": lora(),
    "rsLoRA": lora(use_rslora=True),
    "PiSSA": lora(init_lora_weights="pissa"),
    "OLoRA": lora(init_lora_weights="olora"),
    "DoRA": lora(use_dora=True),
    "DoRA of a convolution": lora(use_dora=True, target_modules=["conv", "hidden"]),
    "convolutions": lora(target_modules=["conv", "hidden"]),
    "biases": lora(bias="all"),
    "biases of its layers": lora(bias="lora_only"),
    "head trained along": lora(modules_to_save=["head"]),
    "norm trained along": lora(modules_to_save=["norm"], target_modules=["hidden", "head"]),
    "ranks by layer": lora(target_modules=["hidden", "head"], rank_pattern={"head": 2}, alpha_pattern={"head": 32}),
    "AdaLoRA": peft.AdaLoraConfig(init_r=4, target_r=2, total_step=100, target_modules=["hidden", "head"]),
    "LoHa": peft.LoHaConfig(r=2, alpha=4, target_modules=["conv", "hidden"]),
    "LoKr": peft.LoKrConfig(r=2, alpha=4, target_modules=["conv", "hidden"]),
    "IA3": peft.IA3Config(target_modules=["hidden", "head"], feedforward_modules=["head"]),
    "OFT": peft.OFTConfig(r=0, oft_block_size=4, target_modules=["hidden"]),
    "VeRA": peft.VeraConfig(r=4, target_modules=["hidden"]),
    "FourierFT": peft.FourierFTConfig(n_frequency=20, target_modules=["hidden"]),
    "layer norms": peft.LNTuningConfig(target_modules=["norm"]),
}


def trained(base, config, data, *, adapter="default"):
    x, y = data
    model = peft.get_peft_model(copy.deepcopy(base), config, adapter_name=adapter)
    taught = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(taught, 0.05)
    for _ in range(15):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        with torch.no_grad():
            for tensor in taught:
                tensor.add_(0.02 * torch.randn_like(tensor))
    return model.eval()


@pytest.fixture
def base():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(40, 3, 6, 6, generator=generator), torch.randint(4, (40,), generator=generator)


@pytest.mark.parametrize("kind", KINDS)
def test_coordinate_one_is_what_peft_merges(kind, base, data):
    model = trained(base, KINDS[kind], data)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    objective = la.Objective(base, data, F.cross_entropy)
    direction = la.directions.lora(objective, model)
    line = la.sample(objective, la.Plane(objective, {"x": direction}), la.Grid(x=(0, 1, 2)), progress=False)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    merged = copy.deepcopy(model).merge_and_unload()
    for name, tensor in merged.named_parameters():
        there = la.Plane(objective, {"x": direction}).at({"x": 1.0})[name]
        torch.testing.assert_close(there, tensor.detach(), rtol=0, atol=2e-6 * float(tensor.detach().abs().max()))
    at = [float(line["loss"].sel(x=c)) for c in (0, 1)]
    assert at[1] == pytest.approx(float(F.cross_entropy(merged(data[0]), data[1])), rel=2e-6)
    assert at[0] == pytest.approx(float(F.cross_entropy(base(data[0]), data[1])), rel=1e-6)
    assert abs(at[1] - at[0]) > 1e-4


def test_of_several_adapters_the_named_one_is_merged(base, data):
    model = trained(base, lora(), data, adapter="a")
    model.add_adapter("b", lora(target_modules=["head"]))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_B.b" in name:
                tensor.fill_(0.3)
    assert set(la.directions.lora(base, model, adapter="a")) == {"hidden.weight"}
    second = la.directions.lora(base, model, adapter="b")
    assert set(second) == {"head.weight"}
    model.merge_adapter(["a"])
    assert set(la.directions.lora(base, model, adapter="b")) >= {"head.weight"}
    torch.testing.assert_close(la.directions.lora(base, model, adapter="b")["head.weight"], second["head.weight"])


def ends_at(base, data, direction):
    objective = la.Objective(base, data, F.cross_entropy)
    return float(objective(la.Plane(objective, {"x": direction}).at({"x": 1.0}))["loss"])


def spread(model, *adapters):
    """Adapters that change something: a fresh one is the base."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if any(f".{adapter}." in name or name.endswith(f".{adapter}") for adapter in adapters):
                tensor.add_(0.2 * torch.randn_like(tensor))


@pytest.mark.parametrize("active", [["default"], ["second"], ["default", "second"]])
def test_by_default_the_active_adapters_are_merged_as_peft_does(active, base, data):
    model = peft.get_peft_model(copy.deepcopy(base), lora())
    model.add_adapter("second", lora(target_modules=["head"]))
    spread(model, "default", "second")
    model.base_model.set_adapter(active)
    merged = copy.deepcopy(model).merge_and_unload().eval()
    expected = float(F.cross_entropy(merged(data[0]), data[1]))
    assert ends_at(base, data, la.directions.lora(base, model)) == pytest.approx(expected, rel=2e-6)
    named = active if len(active) > 1 else active[0]
    model.base_model.set_adapter("default")
    assert ends_at(base, data, la.directions.lora(base, model, adapter=named)) == pytest.approx(expected, rel=2e-6)


def test_adapters_of_two_kinds_in_one_model_are_merged_together(base, data):
    model = peft.get_peft_model(copy.deepcopy(base), lora(), mixed=True)
    model.add_adapter("other", peft.LoHaConfig(r=2, target_modules=["head"]))
    model.set_adapter(["default", "other"])
    spread(model, "default", "other")
    merged = copy.deepcopy(model).merge_and_unload().eval()
    expected = float(F.cross_entropy(merged(data[0]), data[1]))
    assert ends_at(base, data, la.directions.lora(base, model)) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("layer", ["wte", "lm_head"])
def test_an_adapter_at_either_name_of_tied_weights_moves_them(layer):
    transformers = pytest.importorskip("transformers")
    base = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0)
    )
    model = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(r=2, target_modules=[layer]))
    spread(model, "default")
    direction = la.directions.lora(base, model)
    assert set(direction) == {"transformer.wte.weight"}
    merged = dict(copy.deepcopy(model).merge_and_unload().named_parameters())
    moved = base.transformer.wte.weight + direction["transformer.wte.weight"]
    torch.testing.assert_close(moved, merged["transformer.wte.weight"])


def test_a_model_whose_adapters_are_all_off_is_refused_with_their_names(base):
    model = peft.get_peft_model(copy.deepcopy(base), lora())
    model.base_model.set_adapter([])
    with pytest.raises(la.SpecError, match=r"no active adapter of peft; it has \['default'\]"):
        la.directions.lora(base, model)


def test_adapters_put_into_a_model_without_a_wrapper_are_merged_too(base, data):
    model = peft.inject_adapter_in_model(lora(use_dora=True, modules_to_save=["head"]), copy.deepcopy(base))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
    direction = la.directions.lora(base, model)
    assert {"hidden.weight", "head.weight", "head.bias"} == set(direction)
    twin = copy.deepcopy(base)
    twin.load_state_dict({name: t + direction.get(name, torch.zeros(1)) for name, t in base.state_dict().items()})
    torch.testing.assert_close(twin(data[0]), model.eval()(data[0]), rtol=1e-5, atol=1e-5)


def test_what_peft_cannot_merge_is_refused():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=23, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2
    )
    base = transformers.LlamaForCausalLM(config)
    prefix = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model = peft.get_peft_model(copy.deepcopy(base), prefix)
    with pytest.raises(SpecError, match="peft cannot merge this PREFIX_TUNING into weights"):
        la.directions.lora(base, model)


def test_another_origin_than_the_base_is_refused(base, data):
    model = trained(base, lora(), data)
    with pytest.raises(SpecError, match="origin is not the base of this adapter: 'conv.weight'"):
        la.directions.lora(Net(), model)
    with pytest.raises(SpecError, match="origin is the adapted model itself"):
        la.directions.lora(model, model)
