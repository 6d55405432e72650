"""Are the networks those of the paper?"""

from __future__ import annotations

import pytest
import torch

import lossatlas as la
from lossatlas import SpecError

COUNTS = {
    "resnet56": (855_770, 173),
    "resnet56_noshort": (853_018, 167),
    "resnet20": (272_474, 65),
    "resnet110": (1_730_714, 335),
}


@pytest.mark.parametrize("name", COUNTS)
def test_number_of_parameters_and_tensors(name):
    parameters = list(la.zoo.model(name).parameters())
    assert (sum(p.numel() for p in parameters), len(parameters)) == COUNTS[name]


def test_without_shortcuts_nothing_is_added():
    """Zero every second convolution's BatchNorm: with skips the signal passes, without it dies."""
    for name, dead in (("resnet20", False), ("resnet20_noshort", True)):
        model = la.zoo.model(name, seed=0).eval()
        for module_name, module in model.named_modules():
            if module_name.endswith("bn2"):
                torch.nn.init.zeros_(module.weight)
        x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        assert torch.allclose(model(x)[0], model(x)[1]) is dead


def test_global_pooling_is_the_papers_pooling_at_32_pixels():
    model = la.zoo.model("resnet20", seed=0).eval()
    x = torch.randn(2, 3, 32, 32)
    features = {}
    model.layer3.register_forward_hook(lambda m, i, o: features.update(out=o))
    scores = model(x)
    pooled = torch.nn.functional.avg_pool2d(features["out"], 8).flatten(1)
    torch.testing.assert_close(scores, model.linear(pooled))


@pytest.mark.shared
def test_the_authors_checkpoint_loads_strictly(shared_data):
    model = la.zoo.model("resnet56")
    loaded = la.load_checkpoint(model, shared_data / "li2018_resnet56.pt")
    assert loaded.ignored == ()
    assert {name.rpartition(".")[2] for name in loaded.absent} == {"num_batches_tracked"}
    x, y = la.zoo.data("npz", path=shared_data / "cifar10_train500.npz")
    with torch.no_grad():
        scores = model.eval()(x)
    assert float(torch.nn.functional.cross_entropy(scores, y)) == pytest.approx(0.0007, abs=5e-5)
    assert bool((scores.argmax(1) == y).all())


def test_a_seed_makes_the_same_network_and_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    a, b, c = (la.zoo.model("resnet20", width=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.conv1.weight, b.conv1.weight)
    assert not torch.equal(a.conv1.weight, c.conv1.weight)


def test_mlp_shapes_and_options():
    model = la.zoo.model("mlp", widths=(64, 8, 8, 10), activation="tanh", norm=True)
    assert [tuple(p.shape) for p in model.parameters() if p.dim() > 1] == [(8, 64), (8, 8), (10, 8)]
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


def test_bad_names_and_options_are_named():
    with pytest.raises(SpecError, match="model='resnet57' is unknown; choose one of: resnet20, resnet20_noshort"):
        la.zoo.model("resnet57")
    with pytest.raises(SpecError, match="depth=21; expected 6 n"):
        la.zoo.model("resnet", depth=21)
    with pytest.raises(SpecError, match="model 'resnet20'.*widht"):
        la.zoo.model("resnet20", widht=3)
    with pytest.raises(SpecError, match="activation='sin' is unknown; choose one of: relu, tanh, gelu"):
        la.zoo.model("mlp", activation="sin")
