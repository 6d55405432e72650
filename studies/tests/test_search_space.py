"""Are the networks of the search what they say, is each training noted whole, and do proxies say what they should?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from lossatlas import SpecError
from lossatlas.zoo.models.mlp import ACTIVATIONS
from lossatlas.zoo.train import TrainRecipe
from lossatlas_studies import search_training
from lossatlas_studies.proxies import Scan, before_training, gradient_norm, scanned, synflow
from lossatlas_studies.search_space import NORMS, Design, Network, space
from lossatlas_studies.search_training import split, tried
from lossatlas_studies.stages import Bench

DESIGN = Design(number=3, depth=3, width=4, skip=True, activation="relu", norm="batch")


@pytest.mark.parametrize(("norm", "activation"), list(itertools.product(NORMS, ACTIVATIONS)))
def test_shortcuts_have_no_weights_and_add_what_came_in(norm, activation):
    made = {
        skip: Network(depth=6, width=8, skip=skip, activation=activation, norm=norm).eval() for skip in (True, False)
    }
    assert len({sum(p.numel() for p in net.parameters()) for net in made.values()}) == 1
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for skip, net in made.items():
        state = net.first(x)
        for stage in range(3):
            if stage:
                state = nn.functional.avg_pool2d(state, 2)
            for layer in net.layers[2 * stage : 2 * stage + 2]:
                state = layer(state) + skip * state
        assert torch.allclose(net(x), net.last(state.mean(dim=(2, 3))), atol=1e-5)


def test_the_space_is_whole_or_a_random_part_and_every_design_is_another():
    words = ((3, 9), (8, 16), ("relu", "tanh", "gelu"), ("none", "batch", "group"))
    whole, part = (space(*words, count=count) for count in (100, 20))
    assert len({design.label for design in whole}) == 72 and len(part) == 20
    assert set(part) < set(whole)
    assert len({design.depth for design in part}) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"activation": "swish"}, "activation='swish' is unknown; choose one of: relu, tanh, gelu"),
        ({"norm": "layer"}, "norm='layer' is unknown; choose one of: none, batch, group"),
        ({"depth": 2}, "depth=2; expected at least 3"),
        ({"norm": "group", "width": 6}, "width=6 with norm='group'; expected a multiple of 4"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(SpecError, match=words):
        Network(**({"depth": 3, "width": 4} | options))


def test_the_three_parts_of_the_data_share_no_image():
    found = split("digits", train=300, validation=300, test=1197, device="cpu")
    parts = [part[0].flatten(1) for part in (found.train, found.validation, found.test)]
    assert [len(part) for part in parts] == [300, 300, 1197]
    everything = torch.cat(parts)
    # The digits themselves hold no image twice.
    assert len(torch.unique(everything, dim=0)) == 1797
    with pytest.raises(SpecError, match="train_samples=1400, validation=300"):
        split("digits", train=1400, validation=300, test=100, device="cpu")


def data():
    return split("digits", train=60, validation=40, test=50, device="cpu")


RECIPE = TrainRecipe(epochs=4, lr=1e-2, batch_size=30, optimizer="adam", drops=())


def test_an_interrupted_training_ends_with_the_curve_of_one_that_was_not(tmp_path, monkeypatch):
    whole = tried(Bench(folder=tmp_path / "a", device="cpu"), DESIGN, data(), RECIPE, 2)
    calls = []
    score = search_training.score

    def stopped(model, part):
        calls.append(None)
        if len(calls) == 5:  # before the third epoch is kept
            raise KeyboardInterrupt
        return score(model, part)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(search_training, "score", stopped)
        tried(Bench(folder=tmp_path / "b", device="cpu"), DESIGN, data(), RECIPE, 2)
    resumed = tried(Bench(folder=tmp_path / "b", device="cpu"), DESIGN, data(), RECIPE, 2)
    for name in ("val_losses", "val_errors", "early_train_loss", "train_loss", "test_error", "halves"):
        assert resumed.scores[name] == whole.scores[name]
    assert len(resumed.scores["val_losses"]) == 5
    for name, tensor in whole.early(1, "cpu").state_dict().items():
        assert torch.equal(tensor, resumed.early(1, "cpu").state_dict()[name])


def test_what_is_noted_early_is_of_the_network_that_is_kept(tmp_path):
    bench = Bench(folder=tmp_path, device="cpu")
    trial = tried(bench, DESIGN, data(), RECIPE, 2)
    early = trial.early(1, "cpu")
    loss = nn.functional.cross_entropy(early(data().train[0]), data().train[1]).detach()
    assert trial.scores["early_train_loss"] == pytest.approx(float(loss), rel=1e-5)
    x, y = data().validation
    assert trial.scores["val_errors"][2] == pytest.approx(float((early(x).argmax(1) != y).float().mean()))
    x, y = data().test
    assert np.mean(trial.scores["halves"]) == pytest.approx(trial.scores["test_error"])
    seconds = trial.scores["early_seconds"], trial.scores["epoch_seconds"], trial.scores["val_look_seconds"]
    assert all(one > 0 for one in seconds)


def test_a_scan_has_every_measure_and_one_of_a_network_that_diverged_has_none(tmp_path):
    bench = Bench(folder=tmp_path, device="cpu")
    trial = tried(bench, DESIGN, data(), RECIPE, 2)
    scan = Scan(samples=40, rise=0.2, directions=2, points=5, span=0.5)
    found = scanned(bench, trial, data(), scan)
    assert 0 < found["radius"] <= 3 and 0 <= found["bend"] <= 1 and found["lambda_max"] > 0
    assert np.isfinite(found["rise"])
    # The mean over the plane, by hand.
    import lossatlas as la

    here = la.Objective(trial.early(1, "cpu"), tuple(part[:40] for part in data().train), nn.functional.cross_entropy)
    plane = la.Plane.random(here, seed=0)
    at = np.linspace(-0.5, 0.5, 5)
    mean = np.mean([here(plane.at({"x": x, "y": y}))["loss"] for x in at for y in at])
    assert found["rise"] == pytest.approx(mean - here()["loss"], rel=1e-4)
    weights = torch.load(trial.folder / search_training.EARLY, weights_only=True)
    weights["last.bias"][0] = float("nan")
    torch.save(weights, trial.folder / search_training.EARLY)
    lost = scanned(bench, trial, data(), Scan(samples=41, rise=0.2, directions=2, points=5, span=0.5))
    assert all(np.isnan(lost[name]) for name in ("radius", "rise", "bend", "lambda_max"))


def test_synaptic_flow_is_the_product_of_the_sizes_of_all_layers():
    widths = (5, 4, 3, 2)
    layers = [nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(widths)]
    model = nn.Sequential(layers[0], nn.BatchNorm1d(4), nn.ReLU(), layers[1], nn.Tanh(), layers[2])
    product = np.ones(5)
    for layer in layers:
        product = np.abs(layer.weight.detach().double().numpy()) @ product
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert 10 ** synflow(model, torch.randn(7, 5)) == pytest.approx(3 * product.sum())  # each layer has all of it
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_gradient_norm_is_that_of_differences_and_leaves_statistics_alone():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1, 0])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = gradient_norm(model.eval(), x, y)
    assert not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    total = 0.0
    model.train()
    for parameter in model.parameters():
        flat, squares = parameter.data.view(-1), 0.0
        for place in range(len(flat)):
            losses = []
            for step in (1e-5, -2e-5):
                flat[place] += step
                losses.append(nn.functional.cross_entropy(model(x), y).item())
            flat[place] += 1e-5
            squares += ((losses[0] - losses[1]) / 2e-5) ** 2
        total += squares**0.5
    assert found == pytest.approx(total, rel=1e-6)


def test_proxies_before_training_do_not_depend_on_training(tmp_path):
    bench = Bench(folder=tmp_path, device="cpu")
    trials = [tried(bench, DESIGN, data(), TrainRecipe(epochs=n, batch_size=30), 1) for n in (1, 2)]
    one, other = (before_training(bench, trial, data(), 30) for trial in trials)
    assert one == other
    assert sum(name.startswith("proxies") for name in bench.used) == 1
