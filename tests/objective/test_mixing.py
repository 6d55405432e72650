"""Are layers named whose result depends on how the data is cut?"""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la


def data():
    torch.manual_seed(0)
    return torch.randn(10, 4), torch.randint(0, 3, (10,))


def net(**options):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, **options), nn.ReLU(), nn.Linear(8, 3))


def test_batchnorm_without_running_statistics_is_named_where_the_data_is_cut():
    model = net(track_running_stats=False)
    message = r"BatchNorm without running statistics \(1\).*depend on how the data are cut \(here into 3\)"
    with pytest.warns(UserWarning, match=message):
        cut = la.Objective(model, data(), loss=F.cross_entropy, batch_size=4)()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = la.Objective(model, data(), loss=F.cross_entropy)()
    assert abs(cut["loss"] - whole["loss"]) > 1e-3


def test_batchnorm_in_training_mode_is_named_and_with_statistics_of_its_own_it_is_not():
    with pytest.warns(UserWarning, match=r"BatchNorm in training mode \(1\)"):
        la.Objective(net(), data(), loss=F.cross_entropy, batch_size=4, training=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        la.Objective(net(), data(), loss=F.cross_entropy, batch_size=4)
        la.Objective(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), data(), loss=F.cross_entropy, batch_size=4)


class Centred(nn.Module):
    """Normalises by the batch without any layer that says so."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 3)

    def forward(self, x):
        h = self.first(x)
        return (h - h.mean(0)) / h.std(0)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 3)

    def forward(self, x):
        return F.batch_norm(self.first(x), None, None, training=True)


class Forced(nn.Module):
    """Puts its BatchNorm back into training mode at every call."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)

    def forward(self, x):
        self.norm.train()
        return self.norm(self.first(x))


def among(model):
    """The model within another."""
    return nn.Sequential(nn.Linear(4, 4), model, nn.Tanh())


def warned_of(model, how, **options):
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        how(la.Objective(model, data(), loss=F.cross_entropy, **options))
    return [str(warning.message) for warning in heard if "how the data are cut" in str(warning.message)]


def drawn(objective):
    la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))


@pytest.mark.parametrize("how", [drawn, la.trace])
@pytest.mark.parametrize(
    ("made", "where"), [(Centred, "Centred"), (Functional, "Functional"), (Forced, "'norm' (BatchNorm1d)")]
)
def test_a_model_that_uses_its_batch_without_a_layer_for_it_is_named(made, where, how):
    torch.manual_seed(0)
    (said,) = warned_of(made(), how, batch_size=4)
    assert said.startswith(f"model: {where} lets the samples of a batch change each other's outputs")
    inner = "'1.norm' (BatchNorm1d)" if made is Forced else f"'1' ({made.__name__})"
    (said,) = warned_of(among(made()), how, batch_size=4)
    assert inner in said
    assert not warned_of(made(), how)  # one batch


@pytest.mark.parametrize(
    "model",
    [net(), nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))],
)
def test_models_that_take_their_samples_one_by_one_are_not_accused(model):
    assert not warned_of(model, drawn, batch_size=4)
    assert not warned_of(model.double().float().bfloat16().float(), drawn, batch_size=4)


class Recurrent(nn.Module):
    """Sequences with the time first, as torch's own recurrent layers take them, or with the samples first."""

    def __init__(self, *, batch_first):
        super().__init__()
        torch.manual_seed(0)
        self.cells, self.out = nn.GRU(3, 5, batch_first=batch_first), nn.Linear(5, 2)

    def forward(self, x):
        return self.out(self.cells(x)[0])


@pytest.mark.parametrize("batch", [20, 7, 3])
def test_samples_along_the_second_dimension_are_named_and_counted_with_a_size(batch):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 20, 3, generator=generator), torch.randn(12, 20, 2, generator=generator)
    model = Recurrent(batch_first=False)
    cut = [(x[:, i : i + batch], y[:, i : i + batch]) for i in range(0, 20, batch)]
    with pytest.warns(UserWarning, match=r"keeps apart what lies along the second dimension.*pass size=") as told:
        la.trace(la.Objective(model, cut, F.mse_loss), probes=2)
    assert not any("change each other's outputs" in str(one.message) for one in told)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sized = la.Objective(model, cut, F.mse_loss, size=lambda given: given[0].shape[1])
        la.trace(sized, probes=2)
        first = Recurrent(batch_first=True)
        la.trace(la.Objective(first, (x.transpose(0, 1), y.transpose(0, 1)), F.mse_loss, batch_size=batch), probes=2)
    assert sized.samples == 20
    assert sized()["loss"] == pytest.approx(float(F.mse_loss(model(x), y).detach()), rel=1e-6)


def token_squares(outputs, targets):
    squares = (outputs - targets).square().mean(2)
    return la.metrics.Weighted(squares, torch.ones_like(squares))


@pytest.mark.parametrize("loss", [F.mse_loss, token_squares, lambda o, t: (o - t).square().mean(2)])
def test_errors_over_samples_are_refused_where_values_are_not_those_of_samples(loss):
    """Twelve steps of twenty sequences have a spread, but not that of the sequences."""
    x, y = torch.randn(12, 20, 3), torch.randn(12, 20, 2)
    objective = la.Objective(Recurrent(batch_first=False), [(x, y)], loss, size=20)
    plane, grid = la.Plane.random(objective, axes=("x",)), la.Grid(x=(-1, 1, 3))
    with pytest.raises(la.SpecError, match="not known which belongs to which"):
        la.sample(objective, plane, grid, standard_error=True, progress=False)


class Whole(nn.Module):
    """Takes batches of five alone."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 3)

    def forward(self, x):
        return self.first(x.view(5, 4))


def test_a_model_that_takes_whole_batches_alone_is_left_in_peace():
    assert not warned_of(Whole(), drawn, batch_size=5)


class Nearest(nn.Module):
    """Adds the mean of the nine nearest samples, for which it needs as many."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 3)

    def forward(self, x):
        near = torch.cdist(x, x).topk(9, largest=False).indices
        return self.first(x + x[near].mean(1))


def test_a_model_that_refuses_a_few_samples_is_shown_more():
    torch.manual_seed(0)
    many = torch.randn(60, 4), torch.randint(0, 3, (60,))
    with pytest.warns(UserWarning, match="Nearest lets the samples of a batch change each other's outputs"):
        drawn(la.Objective(Nearest(), many, F.cross_entropy, batch_size=20))
