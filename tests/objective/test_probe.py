"""Does the probe find what keeps two evaluations from agreeing, and name it?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

import lossatlas as la
from lossatlas import SpecError
from lossatlas.objective.probe import probe


def data(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, generator=generator), torch.randint(3, (n,), generator=generator)


class Noisy(Dataset):
    """Augmentation: every read adds noise."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        x, y = data()
        return x[index] + torch.randn(4), y[index]


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def test_dropout_in_training_mode_is_named():
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    objective = la.Objective(model, data(), loss=F.cross_entropy, training=True)
    with pytest.raises(SpecError, match=r"because of dropout in training mode \(1\)"):
        probe(objective)
    probe(la.Objective(model, data(), loss=F.cross_entropy))


def test_random_numbers_in_a_module_are_named():
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    model = nn.Sequential(nn.Linear(4, 8), Noise(), nn.Linear(8, 3))
    with pytest.raises(SpecError, match=r"random numbers in module '1' \(Noise\)"):
        probe(la.Objective(model, data(), loss=F.cross_entropy))


def test_streamed_augmentation_is_named_and_kept_augmentation_noted():
    streamed = la.Objective(plain(), DataLoader(Noisy(), batch_size=8), loss=F.cross_entropy, memory=0)
    with pytest.raises(SpecError, match="augmentation that differs at each pass"):
        probe(streamed)
    kept = la.Objective(plain(), DataLoader(Noisy(), batch_size=8), loss=F.cross_entropy)
    assert probe(kept).notes == (
        "the data source has augmentation that differs at each pass; its first pass was kept and is used at every point",
    )


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": True, "drop_last": True},
        {"sampler": WeightedRandomSampler([1.0] * 40, 40, generator=torch.Generator().manual_seed(0))},
    ],
    ids=["drop_last", "sampler"],
)
def test_other_samples_at_each_pass_are_not_called_augmentation(options):
    loader = DataLoader(TensorDataset(*data()), batch_size=7, **options)
    (note,) = probe(la.Objective(plain(), loader, loss=F.cross_entropy)).notes
    assert note.startswith("the data source has another choice of samples at each pass (drop_last? sampling?)")


def test_data_order_and_batchnorm_in_training_mode_are_named():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    loader = DataLoader(TensorDataset(*data()), batch_size=8, shuffle=True)
    objective = la.Objective(model, loader, loss=F.cross_entropy, training=True, memory=0)
    with pytest.raises(SpecError, match=r"a different data order at each pass; BatchNorm in training mode \(1\)"):
        probe(objective)


def test_shuffled_data_that_is_streamed_is_fine_in_evaluation_mode():
    loader = DataLoader(TensorDataset(*data()), batch_size=8, shuffle=True)
    centre = probe(la.Objective(plain(), loader, loss=F.cross_entropy, memory=0))
    assert any("memory budget" in note for note in centre.notes)


def test_ordered_data_gives_no_note():
    assert probe(la.Objective(plain(), data(), loss=F.cross_entropy)).notes == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_centre_that_is_not_finite_is_refused(value):
    objective = la.Objective(plain(), data(), loss=lambda o, t: (o.sum().abs() + 1) * value)
    with pytest.raises(SpecError, match="the loss at the centre is (nan|inf).*check the checkpoint"):
        probe(objective)


def test_a_loss_that_is_a_sum_is_refused_and_a_weighted_mean_warned_of():
    with pytest.raises(SpecError, match="is a sum over samples"):
        probe(la.Objective(plain(), data(), loss=lambda o, t: F.cross_entropy(o, t, reduction="sum")))
    weights = torch.tensor([1.0, 20.0, 400.0])

    def by_hand(outputs, targets):
        each = weights[targets]
        return (each * F.cross_entropy(outputs, targets, reduction="none")).sum() / each.sum().sqrt()

    with pytest.warns(UserWarning, match="depends on how the data are cut into batches"):
        probe(la.Objective(plain(), data(), loss=by_hand))


def test_values_at_the_centre_are_those_of_the_model():
    model = plain()
    x, y = data()
    centre = probe(la.Objective(model, (x, y), loss=F.cross_entropy, metrics={"error": la.metrics.error}))
    assert centre.values["loss"] == pytest.approx(float(F.cross_entropy(model(x), y)), rel=1e-6)
    assert centre.values["error"] == pytest.approx(float((model(x).argmax(1) != y).float().mean()))
    assert centre.seconds > 0


class Watched(nn.Module):
    """Keeps a running maximum, as observers of fake quantisation do."""

    def __init__(self):
        super().__init__()
        self.register_buffer("top", torch.zeros(()))

    def forward(self, x):
        self.top = 0.9 * self.top + 0.1 * x.abs().max().detach()
        return x * self.top


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x / self.calls


class Outside(nn.Module):
    """Draws noise between two layers of its own."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.b(self.a(x) + torch.randn_like(x))


def before(model, batch):
    return model(batch[0] + torch.randn_like(batch[0])), batch[1]


def after(model, batch):
    outputs = model(batch[0])
    return outputs + torch.rand(()), batch[1]


def noisy_targets(model, batch):
    return model(batch[0]), torch.randint(3, batch[1].shape)


def in_place(model, batch):
    return model(batch[0].add_(0.1)), batch[1]


BLAMED = {
    "noise before the model": (plain, before, F.cross_entropy, r"random numbers in forward=, before the model"),
    "noise after the model": (plain, after, F.mse_loss, r"random numbers in forward=, after the model"),
    "noise in the targets": (plain, noisy_targets, F.cross_entropy, r"random numbers in forward=, which makes targets"),
    "noise between layers": (Outside, None, F.cross_entropy, r"random numbers in the model's own forward"),
    "a buffer": (
        lambda: nn.Sequential(nn.Linear(4, 4), Watched(), nn.Linear(4, 3)),
        None,
        F.cross_entropy,
        r"module '1' \(Watched\), which changes its buffer 'top' at every call",
    ),
    "a counter": (
        lambda: nn.Sequential(nn.Linear(4, 4), Counter(), nn.Linear(4, 3)),
        None,
        F.cross_entropy,
        r"module '1' \(Counter\), which changes its attribute 'calls' at every call",
    ),
    "noise in the loss": (
        plain,
        None,
        lambda o, t: F.cross_entropy(o, t) + torch.rand(()),
        r"random numbers in the loss",
    ),
    "a batch written to": (
        plain,
        in_place,
        F.cross_entropy,
        r"the batch, which the model or forward= changes in place",
    ),
}


@pytest.mark.parametrize("case", BLAMED)
def test_what_changed_is_named_and_not_what_came_after_it(case):
    model, forward, loss, words = BLAMED[case]
    x, y = data()
    y = torch.randn(40, 3) if loss is F.mse_loss else y
    with pytest.raises(SpecError, match=words):
        probe(la.Objective(model(), (x, y), loss=loss, forward=forward, batch_size=15))


def test_noise_in_the_last_batch_alone_is_found():
    def forward(model, batch):
        x = batch[0]
        return model(x + torch.randn_like(x) if len(x) < 15 else x), batch[1]

    with pytest.raises(SpecError, match="random numbers in forward=, before the model"):
        probe(la.Objective(plain(), data(), loss=F.cross_entropy, forward=forward, batch_size=15))


def test_a_metric_that_differs_is_named_with_its_values():
    metrics = {"odd": lambda o, t: torch.rand(len(t))}
    with pytest.raises(SpecError, match=r"\(odd 0\.\d+ and 0\.\d+\) because of random numbers in metric 'odd'"):
        probe(la.Objective(plain(), data(), loss=F.cross_entropy, metrics=metrics))


class LateNoise(nn.Module):
    """Draws random numbers for some samples alone."""

    def forward(self, x):
        return x + torch.randn_like(x) * (x > 5).any() if bool((x > 5).any()) else x


def test_noise_in_a_later_batch_is_called_noise():
    x = torch.randn(18, 4)
    x[12, 0] = 7.0
    model = nn.Sequential(LateNoise(), nn.Linear(4, 3))
    objective = la.Objective(model, (x, torch.randint(0, 3, (18,))), F.cross_entropy, batch_size=6)
    with pytest.raises(la.SpecError, match="random numbers in module '0' \\(LateNoise\\)"):
        la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))


class Stateful(nn.Module):
    """Goes on from the hidden state it ended with, as a recurrent agent does."""

    def __init__(self):
        super().__init__()
        self.cell, self.head, self.hidden = nn.GRUCell(4, 4), nn.Linear(4, 3), None

    def forward(self, x):
        self.hidden = self.cell(x, self.hidden)
        return self.head(self.hidden)


def test_a_hidden_state_that_is_kept_is_named_and_not_that_of_fewer_samples():
    objective = la.Objective(Stateful(), (torch.randn(18, 4), torch.randint(0, 3, (18,))), F.cross_entropy)
    with pytest.raises(la.SpecError, match="the model's own forward, which changes its attribute 'hidden'"):
        la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
