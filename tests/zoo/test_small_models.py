"""Do the small networks of the zoo compute what they say?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import lossatlas as la
from lossatlas import SpecError
from lossatlas.zoo.models.attention import Attention, rotated

IMAGES = (
    "lstm",
    "gru",
    "rnn",
    "vit",
    "mixer",
    "residual_mlp",
    "residual_mlp_tied",
    "plain_mlp",
    "plain_mlp_tied",
    "mlp",
)
TOKENS = ("lstm_lm", "gru_lm", "rnn_lm", "decoder")


@pytest.mark.parametrize("name", IMAGES)
def test_a_small_network_learns_the_digits_in_a_few_steps(name):
    x, y = (part[:200] for part in la.zoo.data("digits"))
    model = la.zoo.model(name, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    before = float(F.cross_entropy(model(x), y).detach())
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert model(x).shape == (200, 10)
    assert float(F.cross_entropy(model(x), y).detach()) < before - 0.3


@pytest.mark.parametrize("name", TOKENS)
def test_no_position_of_a_language_model_sees_what_comes_after_it(name):
    model = la.zoo.model(name, seed=0, vocabulary=30).eval()
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 30, (3, 9), generator=generator)
    changed = tokens.clone()
    changed[:, 5:] = torch.randint(0, 30, (3, 4), generator=generator)
    a, b = model(tokens), model(changed)
    assert a.shape == (3, 9, 30)
    torch.testing.assert_close(a[:, :5], b[:, :5])
    assert not torch.allclose(a[:, 5:], b[:, 5:])


@pytest.mark.parametrize("fused", [False, True])
def test_padding_changes_nothing_in_the_encoder(fused):
    model = la.zoo.model("encoder", seed=0, fused=fused).double().eval()
    tokens = torch.randint(1, 256, (4, 7), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(tokens), model(F.pad(tokens, (0, 5))), rtol=1e-12, atol=1e-12)


@pytest.mark.shared
def test_the_trained_language_model_loads_strictly_into_the_decoder_and_has_its_loss(shared_data):
    model = la.zoo.model("decoder", vocabulary=512, dim=64, layers=5, heads=8, kv_heads=4, hidden=172)
    assert sum(p.numel() for p in model.parameters()) == 260_032
    loaded = la.load_checkpoint(model, shared_data / "stories260K.pt")
    assert loaded.absent == loaded.ignored == ()
    blocks = torch.from_numpy(np.load(shared_data / "tinystories_tokens.npz")["blocks"].astype(np.int64))
    with torch.no_grad():
        scores = model.eval()(blocks)
    loss = F.cross_entropy(scores[:, :-1].flatten(0, 1), blocks[:, 1:].flatten())
    assert float(loss) == pytest.approx(1.319, abs=5e-4)


def test_rotary_angles_depend_on_the_distance_alone():
    """The point of the method: a product of a turned query and a turned key knows only how far apart they are."""
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(8, generator=generator, dtype=torch.float64) for _ in range(2))
    steps = 12
    turned_q, turned_k = (rotated(v.expand(1, 1, steps, 8).clone(), 10000.0)[0, 0] for v in (q, k))
    products = turned_q @ turned_k.T
    for distance in range(4):
        diagonal = torch.diagonal(products, distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-5, atol=1e-6)
    complex_q = torch.view_as_complex(q.view(4, 2)) * torch.polar(
        torch.ones(4).double(), 3 * 10000.0 ** (-torch.arange(4).double() / 4)
    )
    torch.testing.assert_close(turned_q[3], torch.view_as_real(complex_q).flatten(), rtol=1e-6, atol=1e-6)


def test_attention_is_torchs_own_with_the_same_weights():
    ours = Attention(dim=16, heads=4, fused=True).double()
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True).double()
    theirs.in_proj_weight.data.copy_(ours.qkv.weight.data)
    theirs.in_proj_bias.data.copy_(ours.qkv.bias.data)
    theirs.out_proj.load_state_dict(ours.wo.state_dict())
    x = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0], rtol=1e-10, atol=1e-10)


def test_fused_and_separate_attention_compute_the_same():
    fused, separate = Attention(dim=16, heads=4, fused=True), Attention(dim=16, heads=4)
    for part, rows in zip("qkv", fused.qkv.weight.data.chunk(3)):
        getattr(separate, f"w{part}").weight.data.copy_(rows)
    for part, rows in zip("qkv", fused.qkv.bias.data.chunk(3)):
        getattr(separate, f"w{part}").bias.data.copy_(rows)
    separate.wo.load_state_dict(fused.wo.state_dict())
    x = torch.randn(3, 5, 16)
    torch.testing.assert_close(fused(x), separate(x))


def test_a_tied_deep_network_is_the_untied_one_with_equal_layers():
    tied, untied = (la.zoo.model(f"residual_mlp{suffix}", seed=0) for suffix in ("_tied", ""))
    state = tied.state_dict()
    for index in range(8):
        for part in ("weight", "bias"):
            state[f"layers.{index}.{part}"] = tied.layers[0].state_dict()[part]
    untied.load_state_dict(state)
    x = torch.randn(5, 64)
    torch.testing.assert_close(tied(x), untied(x))


def test_both_directions_are_read():
    model = la.zoo.model("lstm", seed=0, bidirectional=True, layers=2)
    assert model.linear.weight.shape == (10, 64)
    assert model(torch.zeros(3, 6, 8)).shape == (3, 10)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lstm", {"cell": "lstn"}, "cell='lstn' is unknown; choose one of: rnn, gru, lstm"),
        ("lstm_lm", {"tied": True, "hidden": 3}, "tied=True with dim=64 and hidden=3"),
        ("decoder", {"heads": 7}, "heads=7 must divide dim=64"),
        ("decoder", {"norm": "l2"}, "norm='l2' is unknown; choose one of: rms, layer"),
        ("encoder", {"heads": 5}, "heads=5 does not divide dim=32"),
        ("vit", {"patch": 3}, "patch=3 does not divide size=8"),
        ("residual_mlp", {"activation": "sin"}, "activation='sin' is unknown"),
    ],
)
def test_a_bad_option_of_a_network_is_named(name, options, message):
    with pytest.raises(SpecError, match=message):
        la.zoo.model(name, **options)
