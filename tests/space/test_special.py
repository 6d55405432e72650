"""Does ascent find the worst direction, and is an adapter's direction what merging it does?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import lossatlas as la
from lossatlas import SpecError
from lossatlas.objective.language import Forward, cross_entropy
from lossatlas.space.parameters import dot, norm


def test_ascent_from_a_minimum_finds_the_top_eigenvector():
    torch.manual_seed(0)
    x = (torch.randn(50, 6) * torch.tensor([1.0, 1, 2, 1, 1, 4])).double()
    model = nn.Linear(6, 1, bias=False).double()
    objective = la.Objective(model, (x, model(x).detach()), nn.functional.mse_loss, batch_size=20)
    found = la.directions.worst(objective, by="layer", radius=0.5, steps=60)["weight"].flatten().numpy()
    _, vectors = np.linalg.eigh((x.T @ x / 50).numpy())
    cosine = abs(found @ vectors[:, -1]) / np.linalg.norm(found)
    assert cosine > 0.999
    assert np.linalg.norm(found) == pytest.approx(float(model.weight.norm()))


def test_the_worst_direction_is_worse_than_many_random_ones_and_leaves_the_model_alone():
    model = la.zoo.model("decoder", seed=0, vocabulary=32, dim=16)
    tokens = torch.randint(32, (8, 9), generator=torch.Generator().manual_seed(0))
    objective = la.Objective(model, (tokens[:, :-1], tokens[:, 1:]), loss=cross_entropy, batch_size=3)
    before = [tensor.clone() for tensor in model.parameters()]
    worst = la.directions.worst(objective, radius=0.3, steps=8)

    def loss(direction):
        return objective({name: objective.origin[name] + 0.3 * tensor for name, tensor in direction.items()})["loss"]

    random = [la.directions.random(objective, seed=seed) for seed in range(8)]
    assert loss(worst) > max(map(loss, random)) + 0.05
    assert norm(worst) == pytest.approx(norm(random[0]), rel=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    with pytest.raises(SpecError, match="expected a positive radius"):
        la.directions.worst(objective, radius=0)


def test_an_adapters_direction_is_what_merging_it_does():
    transformers = pytest.importorskip("transformers")
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=23,
        max_position_embeddings=32,
    )  # fmt: skip
    base = transformers.LlamaForCausalLM(config)
    other = transformers.LlamaForCausalLM(config)
    other.load_state_dict(base.state_dict())
    adapted = peft.get_peft_model(other, peft.LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    with pytest.raises(SpecError, match="changes nothing yet"):
        la.directions.lora(base, adapted)
    for name, tensor in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(tensor)
    direction = la.directions.lora(base, adapted)
    assert len(direction) == 4
    with pytest.raises(SpecError, match=r"adapter='style': no layer has it; the model has \['default'\]"):
        la.directions.lora(base, adapted, adapter="style")
    tokens = torch.randint(23, (4, 9))
    objective = la.Objective(base, [{"input_ids": tokens}], loss=cross_entropy, forward=Forward())
    line = la.sample(objective, la.Plane(objective, {"x": direction}), la.Grid(x=(0, 1, 2)))
    merged = la.Objective(adapted.merge_and_unload(), [{"input_ids": tokens}], loss=cross_entropy, forward=Forward())
    assert float(line["loss"].sel(x=1)) == pytest.approx(merged()["loss"], rel=1e-6)
    assert float(line["loss"].sel(x=0)) != pytest.approx(merged()["loss"], rel=1e-4)
    assert dot(direction, direction) > 0
