"""Are BatchNorm's statistics frozen, measured again, or moved along, as was asked for?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).double()
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.5, 2)
    return net


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(30, 4, generator=generator).double(), torch.randint(3, (30,), generator=generator)


def by_hand(net: nn.Module, mean: torch.Tensor, var: torch.Tensor, weights: dict[str, torch.Tensor]) -> float:
    x, y = data()
    z = x @ weights["0.weight"].T + weights["0.bias"]
    z = (z - mean) / (var + 1e-5).sqrt() * weights["1.weight"] + weights["1.bias"]
    return float(F.cross_entropy(z.relu() @ weights["3.weight"].T + weights["3.bias"], y))


def test_frozen_statistics_stay_those_of_the_model():
    net = model(0)
    objective = la.Objective(net, data(), loss=F.cross_entropy)
    point = la.Plane.random(objective).at({"x": 0.5, "y": -0.3})
    assert objective(point)["loss"] == pytest.approx(
        by_hand(net, net[1].running_mean, net[1].running_var, point), rel=1e-12
    )


def test_recalibrated_statistics_are_those_of_the_data_at_the_point():
    net = model(0)
    objective = la.Objective(net, data(), loss=F.cross_entropy, batchnorm="recalibrated")
    point = la.Plane.random(objective).at({"x": 0.5, "y": -0.3})
    z = data()[0] @ point["0.weight"].T + point["0.bias"]
    assert objective(point)["loss"] == pytest.approx(by_hand(net, z.mean(0), z.var(0), point), rel=1e-12)


def deep() -> nn.Module:
    torch.manual_seed(2)
    layers = [nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()


def test_recalibrated_statistics_do_not_depend_on_how_the_data_is_cut():
    x, y = data()
    x = x + 3.0 * y[:, None] - 2.0 * torch.arange(30)[:, None] / 30  # batches differ, so their spread counts
    whole = la.Objective(deep(), (x, y), loss=F.cross_entropy, batchnorm="recalibrated", batch_size=30)
    point = la.Plane.random(whole).at({"x": 0.5, "y": -0.3})
    value, private = whole(point)["loss"], whole.private
    for size in (29, 20, 7, 3, 1):  # 29 and 7 leave batches of one or two, 1 has no batch with a variance
        cut = la.Objective(deep(), (x, y), loss=F.cross_entropy, batchnorm="recalibrated", batch_size=size)
        assert cut(point)["loss"] == pytest.approx(value, rel=1e-7)
        for at in (1, 4, 7):
            torch.testing.assert_close(cut.private[at].running_mean, private[at].running_mean, rtol=1e-6, atol=1e-7)
            torch.testing.assert_close(cut.private[at].running_var, private[at].running_var, rtol=1e-6, atol=1e-7)


def test_one_batch_is_recalibrated_as_torch_does_in_training():
    x, y = data()
    objective = la.Objective(deep(), (x, y), loss=F.cross_entropy, batchnorm="recalibrated", batch_size=30)
    objective()
    reference = deep().train()
    for at in (1, 4, 7):
        reference[at].momentum = 1.0
    reference(x)
    for at in (1, 4, 7):
        torch.testing.assert_close(objective.private[at].running_var, reference[at].running_var, rtol=1e-12, atol=0)


def test_a_single_sample_cannot_be_recalibrated():
    x, y = data()
    with pytest.raises(la.SpecError, match="a single sample has no variance"):
        la.Objective(model(0), (x[:1], y[:1]), loss=F.cross_entropy, batchnorm="recalibrated")()


def test_interpolated_statistics_move_along_the_line_between_two_models():
    a, b = model(0), model(1)
    objective = la.Objective(a, data(), loss=F.cross_entropy, batchnorm="interpolated")
    line = la.interpolate(objective, a, b, steps=5)
    for t in (0.0, 0.25, 0.5, 1.0):
        weights = {k: (1 - t) * p + t * q for (k, p), q in zip(a.state_dict().items(), b.state_dict().values())}
        expected = by_hand(a, weights["1.running_mean"], weights["1.running_var"], weights)
        assert float(line["loss"].sel(x=t)) == pytest.approx(expected, rel=1e-12)
    frozen = la.interpolate(la.Objective(a, data(), loss=F.cross_entropy), a, b, steps=5)
    assert abs(float(frozen["loss"].sel(x=1)) - float(line["loss"].sel(x=1))) > 1e-3


def test_random_directions_never_move_running_statistics():
    objective = la.Objective(model(0), data(), loss=F.cross_entropy, batchnorm="interpolated")
    plane = la.Plane.random(objective, still=())
    assert not any("running" in name for name in plane.directions["x"])


class InTraining(nn.Module):
    """Sets the training mode of some layers in its forward pass, whatever mode it is in itself."""

    def __init__(self, *chosen: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6), nn.BatchNorm1d(6))
        self.chosen = chosen

    def forward(self, x):
        for number in self.chosen:
            self.body[number].train()
        return self.body(x)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (InTraining(1, 4), "by the statistics of each batch (the forward pass sets training mode)"),
        (InTraining(4), "frozen, but by the statistics of each batch in body.4"),
        (InTraining(), "frozen"),
        (nn.BatchNorm1d(4, track_running_stats=False), "by the statistics of each batch (it keeps none)"),
        (nn.LayerNorm(4), ""),
    ],
)
def test_a_caption_says_of_batchnorm_what_was_done(model, words):
    model = nn.Sequential(nn.Linear(4, 4), model, nn.LazyLinear(3))
    x = torch.randn(12, 4)
    model(x)
    words = words.replace("body.4", "1.body.4")
    objective = la.Objective(model, (x, torch.randint(0, 3, (12,))), F.cross_entropy, batch_size=12)
    field = la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
    assert field.attrs["batchnorm"] == words


class Beside(nn.Module):
    """An ordinary BatchNorm layer, beside others that use their batch."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.norm, self.how = nn.Linear(4, 6), nn.BatchNorm1d(6), how
        self.bare, self.last = nn.BatchNorm1d(6, track_running_stats=how != "bare"), nn.Linear(6, 6)

    def forward(self, x):
        x = self.first(x)
        if self.how == "functional":
            x = F.batch_norm(x, None, None, training=True)
        if self.how == "there and back":
            self.bare.train()
        x = self.bare(x)
        self.bare.eval()
        return self.last(self.norm(x))


@pytest.mark.filterwarnings("ignore:.*how the data are cut")
@pytest.mark.parametrize("batch_size", [12, 6])
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("functional", ", but the samples of a batch change each other's outputs (statistics of the batch?) in 0"),
        ("there and back", ", but by the statistics of each batch in 0.bare"),
        ("bare", ", but by the statistics of each batch in 0.bare"),
        ("", ""),
    ],
)
def test_a_batchnorm_layer_does_not_hide_what_uses_its_batch_beside_it(how, words, batch_size):
    torch.manual_seed(0)
    model = nn.Sequential(Beside(how), nn.Linear(6, 3))
    objective = la.Objective(model, (torch.randn(12, 4), torch.randint(0, 3, (12,))), F.cross_entropy,
                             batch_size=batch_size)  # fmt: skip
    assert la.eigenvalues(objective, k=1).subject.words.endswith(f"; BatchNorm frozen{words}.")
    field = la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
    assert field.attrs["batchnorm"] == f"frozen{words}"


def test_curvature_says_that_the_forward_pass_sets_training_mode():
    model = InTraining(1, 4)
    objective = la.Objective(model, (torch.randn(12, 4), torch.randint(0, 3, (12,))), F.cross_entropy)
    words = la.trace(objective, probes=2).subject.words
    assert words.endswith("; BatchNorm by the statistics of each batch (the forward pass sets training mode).")
