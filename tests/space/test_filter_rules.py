"""Is what a rule calls free really free: does rescaling it leave the function, and then the picture, as it was?"""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.utils.prune
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

import lossatlas as la
from lossatlas import SpecError
from lossatlas.space import canonical as forms
from lossatlas.space import filters
from lossatlas.zoo.models.attention import Attention

POINTS = [(0.0, 0.0), (0.4, -0.3), (-1.0, 0.7)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def digits(count=12):
    x, y = la.zoo.data("digits")
    return x[:count].double(), y[:count]


def picture(model, data, *, loss=F.cross_entropy, **options):
    """Loss at a few points of a plane whose Gaussian numbers depend on names and shapes alone."""
    objective = la.Objective(model, data, loss=loss)
    plane = la.Plane.random(objective, seed=3, **options)
    return torch.tensor([objective(plane.at({"x": x, "y": y}))["loss"] for x, y in POINTS], dtype=torch.float64)


def same(a, b):
    return torch.allclose(a, b, rtol=1e-8, atol=1e-10)


def assert_picture(model, changed, data, *, equal, **options):
    """The two compute the same; their pictures are equal or not, as stated."""
    before, after = picture(model, data, **options), picture(changed, data, **options)
    assert before[0] == pytest.approx(float(after[0]), rel=1e-9), "the rescaling changed the function"
    assert same(before, after) is equal, (before, after)


def trained(name, **options):
    """A network away from its symmetric start, in double precision."""
    model = la.zoo.model(name, seed=0, **options).double().eval()
    with torch.no_grad():
        for index, p in enumerate(model.parameters()):
            p.add_(0.1 * torch.randn(p.shape, generator=generator(index), dtype=p.dtype))
    return model


# Attention


def test_rows_of_queries_and_keys_may_be_rescaled_against_each_other():
    model = trained("vit", fused=False)
    changed = copy.deepcopy(model)
    scale = torch.linspace(0.3, 4.0, 32).double()
    with torch.no_grad():
        attention = changed.layers[0].attention
        for part, factor in ((attention.wq, scale), (attention.wk, 1 / scale)):
            part.weight.mul_(factor[:, None])
            part.bias.mul_(factor)
    assert_picture(model, changed, digits(), equal=True)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("by", "equal"), [("head", True), ("filter", False)])
def test_values_and_output_of_a_head_may_be_rescaled_where_a_head_is_a_filter(by, equal, fused):
    model = trained("vit", fused=fused)
    changed = copy.deepcopy(model)
    scale = torch.tensor([0.2, 1.0, 3.0, 5.0]).double().repeat_interleave(8)
    attention = changed.layers[1].attention
    with torch.no_grad():
        value, bias = (p[64:] if fused else p for p in ((attention.qkv if fused else attention.wv).parameters()))
        value.mul_(scale[:, None])
        bias.mul_(scale)
        attention.wo.weight.div_(scale)
    assert_picture(model, changed, digits(), equal=equal, by=by)


def test_all_values_may_be_rescaled_against_all_of_the_output():
    model = trained("vit", fused=False)
    changed = copy.deepcopy(model)
    attention = changed.layers[0].attention
    with torch.no_grad():
        attention.wv.weight.mul_(6)
        attention.wv.bias.mul_(6)
        attention.wo.weight.div_(6)
    assert_picture(model, changed, digits(), equal=True)


def test_a_general_matrix_between_queries_and_keys_changes_the_picture_until_the_canonical_form():
    model = trained("vit", fused=False)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for block in changed.layers:
            q, k, v, o = (getattr(block.attention, f"w{part}") for part in "qkvo")
            for head in range(4):
                rows = slice(8 * head, 8 * head + 8)
                turn, other = (torch.randn(8, 8, generator=generator(head + i)).double() for i in (0, 9))
                back = torch.linalg.inv(turn).T
                for part, matrix in ((q, turn), (k, back), (v, other)):
                    part.weight[rows] = matrix @ part.weight[rows]
                    part.bias[rows] = matrix @ part.bias[rows]
                o.weight[:, rows] = o.weight[:, rows] @ torch.linalg.inv(other)
    data = digits()
    assert_picture(model, changed, data, equal=False)
    a, b = (forms.canonical(m, data[:1]) for m in (model, changed))
    assert "2 attention layers put into form head by head" in a.steps
    before, after = picture(a.model, data), picture(b.model, data)
    torch.testing.assert_close(before, after, rtol=1e-6, atol=1e-8)


def test_rotary_attention_is_left_as_it_is():
    model = trained("decoder", vocabulary=20, dim=16, heads=2)
    tokens = torch.randint(0, 20, (2, 6), generator=generator())
    form = forms.canonical(model, (tokens,))
    assert any("2 attention layers, first layers.0: rotary positions" in rest for rest in form.left)
    torch.testing.assert_close(form.model(tokens), model(tokens))


@pytest.mark.parametrize("by", ["filter", "head", "layer"])
def test_fused_and_separate_attention_give_the_same_surface(by):
    """With the same Gaussian numbers in both; by layer too, since a fused tensor holds three layers."""
    fused, separate = trained("vit", fused=True), trained("vit", fused=False)
    state = fused.state_dict()
    parts = {}
    for name, tensor in state.items():
        if ".qkv." in name:
            parts |= {name.replace("qkv", f"w{p}"): rows for p, rows in zip("qkv", tensor.chunk(3))}
        else:
            parts[name] = tensor
    separate.load_state_dict(parts)
    drawn = {
        n: torch.randn(p.shape, generator=generator(i)).double() for i, (n, p) in enumerate(separate.named_parameters())
    }
    joined = dict(drawn)
    for name in [n for n in drawn if ".wq." in n]:
        joined[name.replace("wq", "qkv")] = torch.cat([joined.pop(name.replace("wq", f"w{p}")) for p in "qkv"])
    losses = []
    for model, direction in ((fused, joined), (separate, drawn)):
        objective = la.Objective(model, digits(), loss=F.cross_entropy)
        plane = la.Plane(objective, {"x": la.normalize(direction, objective, by=by)})
        losses.append([objective(plane.at({"x": x}))["loss"] for x in (-0.5, 0.3, 1.0)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-10)


def test_torchs_own_attention_has_rows_by_head_and_its_bare_biases_stay():
    table = filters.table(nn.MultiheadAttention(12, 3, add_bias_kv=True))
    layout = table["in_proj_weight"].layout
    assert (layout.shape, layout.count, layout.size) == ((3, 3, 4, 12), 36, 12)
    assert (layout.by_head.count, layout.by_layer.count) == (9, 3)
    assert table["out_proj.weight"].layout.by_head.count == 3
    assert {table[name].role for name in ("bias_k", "bias_v", "in_proj_bias", "out_proj.bias")} == {"bias"}
    other = filters.table(nn.MultiheadAttention(12, 3, kdim=5, vdim=7))
    assert {name: row.layout.rule for name, row in other.items() if "proj_weight" in name} == {
        "q_proj_weight": "query rows by head", "k_proj_weight": "key rows by head", "v_proj_weight": "value rows by head",
    }  # fmt: skip


def test_the_norms_of_heads_by_hand():
    attention = Attention(dim=6, heads=2)
    table = filters.table(attention)
    query = table["wq.weight"].layout.by_head.norms(attention.wq.weight).flatten()
    torch.testing.assert_close(
        query, torch.stack([attention.wq.weight[3 * h : 3 * h + 3].norm() for h in range(2)]).double()
    )
    output = table["wo.weight"].layout.by_head.norms(attention.wo.weight).flatten()
    torch.testing.assert_close(
        output, torch.stack([attention.wo.weight[:, 3 * h : 3 * h + 3].norm() for h in range(2)]).double()
    )


def test_by_head_needs_heads():
    with pytest.raises(SpecError, match="by='head': no tensor of the direction belongs to attention"):
        la.directions.random(nn.Linear(3, 4), seed=0, by="head")


def test_shared_key_heads_are_stacks_of_heads():
    table = filters.table(la.zoo.model("decoder", dim=16, heads=4, kv_heads=2))
    assert table["layers.0.wq.weight"].layout.by_head.count == 4
    assert table["layers.0.wk.weight"].layout.by_head.count == 2


# Hugging Face


def test_gpt2_stores_its_layers_the_other_way_round_and_fuses_them():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_embd=12, n_head=3, n_layer=1, n_positions=8, vocab_size=11)
    model = transformers.GPT2LMHeadModel(config).eval()
    table = filters.table(model)
    block = model.transformer.h[0]
    fused = table["transformer.h.0.attn.c_attn.weight"].layout
    assert (fused.shape, fused.count, fused.by_head.count, fused.by_layer.count) == ((12, 3, 3, 4), 36, 9, 3)
    torch.testing.assert_close(
        fused.norms(block.attn.c_attn.weight).flatten(), block.attn.c_attn.weight.norm(dim=0).double()
    )
    heads = block.attn.c_attn.weight.detach().reshape(12, 3, 3, 4).double()
    torch.testing.assert_close(
        fused.by_head.norms(block.attn.c_attn.weight).flatten(), heads.norm(dim=(0, 3)).flatten()
    )
    out = table["transformer.h.0.attn.c_proj.weight"].layout
    assert (out.count, out.by_head.count) == (12, 3)
    mlp = table["transformer.h.0.mlp.c_fc.weight"].layout
    assert (mlp.dims, mlp.count, mlp.rule) == ((1,), 48, "output units (transposed)")
    assert table["transformer.wte.weight"].also == ("lm_head.weight",)
    assert "lm_head.weight" not in table


def test_a_unit_of_a_transposed_layer_is_a_column():
    """By what it does: scaling the filter changes one output alone."""
    pytest.importorskip("transformers")
    from transformers.pytorch_utils import Conv1D

    module = Conv1D(5, 3)
    layout = filters.table(module)["weight"].layout
    x = torch.randn(2, 3)
    before = module(x)
    with torch.no_grad():
        module.weight.reshape(layout.shape)[:, 4] *= 3
    assert ((module(x) - before).abs().amax(0) > 1e-6).tolist() == [False] * 4 + [True]


def test_an_expert_is_a_layer_and_each_of_its_units_a_filter():
    transformers = pytest.importorskip("transformers")
    config = transformers.MixtralConfig(
        vocab_size=11, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, num_local_experts=3, num_experts_per_tok=2, max_position_embeddings=16,
    )  # fmt: skip
    config._experts_implementation = "eager"  # the grouped product has no doubles
    model = transformers.MixtralForCausalLM(config).double().eval()
    table = filters.table(model)
    assert not [row.name for row in table.values() if row.default]
    stack = next(row.layout for row in table.values() if row.name.endswith("gate_up_proj"))
    assert (stack.count, stack.size, stack.by_layer.count) == (3 * 24, 8, 3)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        experts = next(m for n, m in changed.named_modules() if n.endswith("experts"))
        experts.gate_up_proj[1, 12:] *= 5  # the half that is not gated is linear
        experts.down_proj[1] /= 5
    tokens = torch.randint(0, 11, (3, 6), generator=generator())
    loss = lambda scores, y: F.cross_entropy(scores.flatten(0, 1), y.flatten())
    assert_picture(model, changed, [(tokens, tokens)], equal=True, loss=loss)


def test_stacks_stored_the_other_way_round_have_their_units_in_the_last_dimension():
    transformers = pytest.importorskip("transformers")
    from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts

    experts = GptOssExperts(transformers.GptOssConfig(num_local_experts=3, hidden_size=4, intermediate_size=5))
    table = filters.table(experts)
    assert {n: (r.layout.count, r.role) for n, r in table.items()} == {
        "gate_up_proj": (30, "weight"), "gate_up_proj_bias": (3, "bias"), "down_proj": (12, "weight"),
        "down_proj_bias": (3, "bias"),
    }  # fmt: skip


def test_mamba_has_a_rule_for_its_decay_rates_and_no_free_scale_there():
    transformers = pytest.importorskip("transformers")
    config = transformers.MambaConfig(vocab_size=11, hidden_size=8, state_size=3, num_hidden_layers=1)
    torch.manual_seed(0)
    model = transformers.MambaForCausalLM(config).double().eval()
    table = filters.table(model)
    rates = table["backbone.layers.0.mixer.A_log"]
    assert (rates.layout.rule, rates.layout.count, rates.layout.size) == ("decay rates of a channel", 16, 3)
    assert table["backbone.layers.0.mixer.D"].role == "bias"
    assert table["backbone.layers.0.mixer.conv1d.weight"].layout.count == 16
    assert not [row.name for row in table.values() if row.default]
    tokens = torch.arange(6)[None]
    before = model(tokens).logits
    with torch.no_grad():
        model.backbone.layers[0].mixer.A_log[5] *= 2
    assert float((before - model(tokens).logits).detach().abs().max()) > 1e-8


# Recurrent layers


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_a_filter_of_a_recurrent_layer_is_a_unit_of_a_gate_in_each_layer_and_direction(kind, gates):
    module = kind(5, 7, num_layers=2, bidirectional=True)
    table = filters.table(module)
    weights = {name: row for name, row in table.items() if name.startswith("weight")}
    assert len(weights) == 8
    assert all(row.layout.shape[:2] == (gates, 7) and row.layout.count == gates * 7 for row in weights.values())
    assert not any(row.default for row in table.values())
    assert "from states" in weights["weight_hh_l1_reverse"].layout.rule
    w = module.weight_ih_l0.detach()
    norms = weights["weight_ih_l0"].layout.norms(w).flatten()
    torch.testing.assert_close(norms, torch.stack([row.norm() for row in w]).double())


def test_cells_and_projections_have_rules_too():
    assert filters.table(nn.LSTMCell(3, 4))["weight_hh"].layout.count == 16
    table = filters.table(nn.LSTM(5, 7, proj_size=3))
    assert table["weight_hr_l0"].layout.count == 3
    assert table["weight_hh_l0"].layout.shape == (4, 7, 3)


def test_a_recurrent_layer_with_relu_may_be_rescaled_as_a_whole():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent = nn.RNN(8, 16, nonlinearity="relu", batch_first=True)
            self.linear = nn.Linear(16, 10)

        def forward(self, x):
            return self.linear(self.recurrent(x[:, 0])[0][:, -1])

    torch.manual_seed(0)
    model = Net().double()
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
            getattr(changed.recurrent, name).mul_(6)
        changed.linear.weight.div_(6)
    assert_picture(model, changed, digits(), equal=True)


def test_a_unit_of_a_gate_has_no_free_scale():
    """The statement of the rule: whatever is done behind it, a scaled gate computes something else."""
    model = trained("lstm")
    x, _ = digits()
    before = model(x)
    with torch.no_grad():
        model.recurrent.weight_ih_l0[3] *= 2
        after = model(x)
    ratio = (after - model.linear.bias) / (before - model.linear.bias)
    assert float(ratio.detach().std()) > 1e-4


# Embeddings and norms


def test_the_vector_of_a_token_before_a_norm_may_be_rescaled():
    model = nn.Sequential(nn.Embedding(9, 6), nn.RMSNorm(6, eps=1e-30), nn.Linear(6, 4)).double()
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed[0].weight.mul_(torch.linspace(0.2, 5, 9).double()[:, None])
    assert_picture(model, changed, (torch.arange(9), torch.arange(9) % 4), equal=True)


@pytest.mark.parametrize("still", [("bias", "norm"), ("bias",)])
def test_gains_stay_or_move_as_one_vector_and_a_common_factor_is_free(still):
    model = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 4)).double()
    with torch.no_grad():
        model[1].weight.uniform_(0.5, 2.0, generator=generator())
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed[1].weight.mul_(7)
        changed[1].bias.mul_(7)
        changed[2].weight.div_(7)
    x = torch.randn(9, 6, generator=generator()).double()
    moved = la.directions.random(model, seed=0, still=still)
    assert ("1.weight" in moved) is ("norm" not in still)
    assert_picture(model, changed, (x, torch.arange(9) % 4), equal=True, still=still)


# Weights behind others


def test_weight_norm_is_free_in_the_scale_of_each_filter_and_its_gain_stays():
    for make in (parametrizations.weight_norm, torch.nn.utils.weight_norm):
        torch.manual_seed(0)
        model = nn.Sequential(make(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, 4)).double()
        table = filters.table(model)
        gain, kept = (
            next(n for n in table if n.endswith(ends))
            for ends in (("original0", "weight_g"), ("original1", "weight_v"))
        )
        assert (table[gain].role, table[gain].layout.count) == ("norm", 5)
        assert table[kept].layout.rule == "output units, before weight norm"
        assert not table[kept].default
        changed = copy.deepcopy(model) if make is parametrizations.weight_norm else again(model, make)
        with torch.no_grad():
            changed.get_parameter(kept).mul_(torch.linspace(0.1, 9, 5).double()[:, None])
        changed(torch.zeros(1, 6).double())  # the old kind writes its weight in a hook
        x = torch.randn(9, 6, generator=generator()).double()
        assert_picture(model, changed, (x, torch.arange(9) % 4), equal=True)


def again(model, make):
    """The old weight norm cannot be deep-copied: build it anew."""
    twin = nn.Sequential(make(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, 4)).double()
    twin.load_state_dict(model.state_dict())
    return twin


def test_spectral_norm_is_free_in_the_scale_of_the_matrix():
    torch.manual_seed(0)
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, 4)).double().eval()
    table = filters.table(model)
    name = "0.parametrizations.weight.original"
    assert (table[name].layout.rule, table[name].default) == ("output units, before spectral norm", False)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.get_parameter(name).mul_(11)
    x = torch.randn(9, 6, generator=generator()).double()
    assert_picture(model, changed, (x, torch.arange(9) % 4), equal=True)


def test_the_old_spectral_norm_and_pruning_are_seen_through():
    old = torch.nn.utils.spectral_norm(nn.ConvTranspose2d(3, 4, 2))
    pruned = torch.nn.utils.prune.random_unstructured(nn.Linear(4, 2), "weight", 0.5)
    rows = [filters.table(layer)["weight_orig"] for layer in (old, pruned)]
    assert [row.layout.count for row in rows] == [4, 2]
    assert not any(row.default for row in rows)


def test_listing_the_filters_leaves_the_power_iteration_alone():
    model = parametrizations.spectral_norm(nn.Linear(6, 5)).train()
    before = copy.deepcopy(model.state_dict())
    filters.table(model)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize(("share", "mixes"), [(1e-2, True), (1e-4, True), (1e-9, False)])
def test_whether_a_parametrization_mixes_the_filters_depends_on_no_scale(scale, share, mixes):
    class Mixed(nn.Module):
        def forward(self, weight):
            return scale * (weight + share * weight.mean(dim=0, keepdim=True))

    layer = nn.Linear(3, 4).double()
    parametrize.register_parametrization(layer, "weight", Mixed(), unsafe=True)
    row = filters.table(layer)["parametrizations.weight.original"]
    assert row.refused == ("behind Mixed, which mixes the filters" if mixes else "")


def test_a_parametrization_of_another_shape_gets_the_default_rule_with_a_reason():
    class Twice(nn.Module):
        def forward(self, half):
            return torch.cat([half, half])

        def right_inverse(self, full):
            return full[: len(full) // 2]

    class Same(nn.Module):
        def forward(self, weight):
            return weight.tanh()

    layer = nn.Linear(3, 4)
    parametrize.register_parametrization(layer, "weight", Twice(), unsafe=True)
    row = filters.table(layer)["parametrizations.weight.original"]
    assert (row.default, row.reason) == (True, "before Twice, and of another shape than the weight")
    other = nn.ConvTranspose2d(3, 4, 2)
    parametrize.register_parametrization(other, "weight", Same())
    row = filters.table(other)["parametrizations.weight.original"]
    assert (row.default, row.layout.rule) == (False, "output channels (transposed), before Same")


def adapted(seed=0):
    peft = pytest.importorskip("peft")
    torch.manual_seed(seed)
    base = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    model = peft.get_peft_model(base, peft.LoraConfig(r=3, target_modules=["0", "2"])).double().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(torch.randn(p.shape, generator=generator(len(name))))
    return model


def lora(model, layer):
    module = model.base_model.model[layer]
    return module.lora_A["default"].weight, module.lora_B["default"].weight


def test_only_the_adapters_move_and_each_rank_one_part_may_be_rescaled():
    model = adapted()
    direction = la.directions.random(model, seed=0)
    assert {name.split(".")[-3] for name in direction} == {"lora_A", "lora_B"}
    rows = filters.table(model)
    assert {(row.layout.rule, row.layout.count) for name, row in rows.items() if "lora_" in name} == {
        ("rows of the adapter's A", 3), ("columns of the adapter's B", 3),
    }  # fmt: skip
    changed = adapted()
    scale = torch.tensor([0.1, 2.0, 7.0]).double()
    with torch.no_grad():
        for layer in (0, 2):
            a, b = lora(changed, layer)
            a.mul_(scale[:, None])
            b.div_(scale)
    x = torch.randn(9, 6, generator=generator()).double()
    assert_picture(model, changed, (x, torch.arange(9) % 4), equal=True)


def test_a_matrix_within_an_adapter_changes_the_picture_until_it_is_merged():
    model, changed = adapted(), adapted()
    mixing = torch.randn(3, 3, generator=generator(5)).double()
    with torch.no_grad():
        for layer in (0, 2):
            a, b = lora(changed, layer)
            a.copy_(mixing @ a)
            b.copy_(b @ torch.linalg.inv(mixing))
    x = torch.randn(9, 6, generator=generator()).double()
    data = (x, torch.arange(9) % 4)
    assert_picture(model, changed, data, equal=False)
    merged = [forms.merged(m) for m in (model, changed)]
    torch.testing.assert_close(merged[0](x), model(x))
    assert [name for name, _ in merged[0].named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    torch.testing.assert_close(picture(merged[0], data), picture(merged[1], data), rtol=1e-7, atol=1e-9)
    with pytest.raises(SpecError, match="neither adapters nor parametrizations to merge"):
        forms.merged(nn.Linear(2, 2))


# Quantised weights


def test_quantised_weights_are_refused_with_a_reason():
    packed = torch.ao.quantization.quantize_dynamic(
        nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), {nn.Linear}
    )
    assert set(filters.quantised(packed)) == {"0", "2"}
    with pytest.raises(SpecError, match=r"2 weights cannot be moved, first 0: quantised \(torch.ao.*rounded away"):
        la.directions.random(packed, seed=0)

    class Eight(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 4, dtype=torch.int8), requires_grad=False)
            self.free = nn.Linear(4, 3)

    model = Eight()
    row = filters.table(model)["weight"]
    assert (row.reason, row.moves(())) == ("quantised (int8)", False)
    with pytest.raises(SpecError, match=r"1 weight cannot be moved, first weight: quantised \(int8\)"):
        la.Plane.random(model)
    assert set(la.directions.random(model, seed=0, only="free.*")) == {"free.weight"}
    with pytest.raises(SpecError, match="the origin holds it as torch.int8, which cannot be moved"):
        la.Plane({"w": torch.ones(2, dtype=torch.int8)}, {"x": {"w": torch.ones(2)}})


# Rules of the user


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 4)
        self.other = nn.Linear(6, 4)


def test_a_users_rule_speaks_for_the_tensors_within_a_module_and_may_leave_some():
    def rule(module, name, tensor):
        return filters.along(tensor, 1, rule="columns") if name == "inner.weight" else None

    filters.register(Own, rule, within=True)
    try:
        table = filters.table(nn.Sequential(Own()))
        assert (table["0.inner.weight"].layout.rule, table["0.inner.weight"].layout.count) == ("columns", 6)
        assert table["0.other.weight"].layout.rule == "output units"
    finally:
        filters.unregister(Own)
    assert filters.table(Own())["inner.weight"].layout.count == 4


def test_a_users_rule_for_a_layer_wins_over_what_is_around_it():
    class Special(nn.Linear):
        pass

    attention = Attention(dim=8, heads=2)
    attention.wq = Special(8, 8)
    filters.register(Special, lambda module, name, tensor: filters.along(tensor, rule="all of it"))
    try:
        table = filters.table(attention)
        assert table["wq.weight"].layout.rule == "all of it"
        assert table["wk.weight"].layout.rule == "key rows by head"
    finally:
        filters.unregister(Special)
    filters.unregister(nn.Linear)
    assert filters.table(nn.Linear(2, 3))["weight"].layout.rule == "output units"


def test_the_default_rule_says_why():
    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.ones(4, 2))

    row = filters.table(Strange())["table"]
    assert (row.default, row.reason) == (True, "no rule for Strange; give one by lossatlas.filters.register")
