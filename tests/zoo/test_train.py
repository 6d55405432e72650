"""Does training follow the recipe, and does a resumed one end where an uninterrupted one does?"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import RunMismatchError, SpecError
from lossatlas.zoo.train import TrainRecipe, score, train

RECIPE = TrainRecipe(epochs=4, batch_size=32, lr=0.05)


def data(n: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 6, generator=generator)
    return x, (x[:, 0] > 0).long()


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))


def test_the_papers_schedule():
    assert [TrainRecipe().lr_at(e) for e in (0, 149, 150, 224, 225, 274, 275)] == [
        0.1,
        0.1,
        0.01,
        0.01,
        0.001,
        0.001,
        1e-4,
    ]
    assert [TrainRecipe(epochs=12).lr_at(e) for e in (5, 6, 9, 11)] == [0.1, 0.01, 0.001, 1e-4]


def test_two_steps_by_hand():
    """Nesterov momentum and weight decay as in the paper's framework, written out."""
    net = nn.Linear(6, 2, bias=False)
    weight = net.weight.detach().clone()
    x, y = data(32)
    train(net, (x, y), dataclasses.replace(RECIPE, epochs=2, drops=()), progress=False)
    velocity = torch.zeros_like(weight)
    for _ in range(2):
        w = weight.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(x @ w.T, y), w)
        gradient = gradient + 5e-4 * weight
        velocity = 0.9 * velocity + gradient
        weight = weight - 0.05 * (gradient + 0.9 * velocity)
    torch.testing.assert_close(net.weight.detach(), weight)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resumed_training_equals_an_uninterrupted_one_bit_for_bit(tmp_path, stop, monkeypatch):
    whole = model()
    expected = train(whole, data(), RECIPE, progress=False)
    import lossatlas.zoo.train as module

    done = []
    original = module._epoch

    def interrupted(*arguments):
        if len(done) == stop:
            raise KeyboardInterrupt
        done.append(1)
        return original(*arguments)

    monkeypatch.setattr(module, "_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(model(), data(), RECIPE, folder=tmp_path, progress=False)
    monkeypatch.setattr(module, "_epoch", original)
    torch.manual_seed(99)
    resumed = model()
    assert train(resumed, data(), RECIPE, folder=tmp_path, progress=False) == expected
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_training_leaves_the_random_state_alone():
    net = model()
    before = torch.get_rng_state()
    train(net, data(), RECIPE, progress=False)
    assert torch.equal(before, torch.get_rng_state())


def test_training_stops_when_the_loss_is_low_enough():
    found = train(model(), data(), dataclasses.replace(RECIPE, epochs=60, until=0.3), test=data(50), progress=False)
    assert found.epochs < 60
    assert found.train.loss < 0.3
    assert found.test is not None


def test_scores_are_means_over_samples():
    net, (x, y) = model().eval(), data()
    found = score(net, (x, y), batch_size=33)
    assert found.loss == pytest.approx(F.cross_entropy(net(x), y).item(), rel=1e-5)
    assert found.error == pytest.approx(float((net(x).argmax(1) != y).float().mean()))


def test_a_folder_of_another_training_is_refused(tmp_path):
    train(model(), data(), RECIPE, folder=tmp_path, progress=False)
    with pytest.raises(RunMismatchError, match="belongs to another training: lr is 0.05 there and 0.1 here"):
        train(model(), data(), dataclasses.replace(RECIPE, lr=0.1), folder=tmp_path, progress=False)
    with pytest.raises(RunMismatchError, match="data is"):
        train(model(), data(90), RECIPE, folder=tmp_path, progress=False)
    (tmp_path / "training.pt").write_bytes(b"damaged")
    with pytest.raises(SpecError, match="is not the state of a training run"):
        train(model(), data(), RECIPE, folder=tmp_path, progress=False)


def test_a_progress_bar_with_loss_and_rate(capsys):
    train(la.zoo.model("mlp", widths=(6, 4, 2), seed=0), data(), RECIPE, name="mlp")
    printed = capsys.readouterr().err
    assert "mlp: 100%" in printed
    assert "loss=" in printed
    assert "epoch/s" in printed
