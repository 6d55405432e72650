"""Is the mean right, whatever the shape of the batches, the loss and the model?"""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lossatlas as la
from lossatlas import SpecError


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()


def samples(n: int = 23) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 4, generator=generator).double(), torch.randint(3, (n,), generator=generator)


def truth(model: nn.Module) -> float:
    """Cross-entropy written out in NumPy."""
    x, y = samples()
    logits = model(x).detach().numpy()
    log_sum = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    return float(np.mean(log_sum - logits[np.arange(len(y)), y.numpy()]))


@pytest.mark.parametrize("batch_size", [1, 5, 22, 23, 100])
@pytest.mark.parametrize(
    "loss",
    [
        F.cross_entropy,
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(reduction="none"),
        nn.CrossEntropyLoss(reduction="sum"),
        functools.partial(F.cross_entropy, reduction="none"),
        functools.partial(F.cross_entropy, reduction="sum"),
    ],
    ids=["function", "module", "module-none", "module-sum", "partial-none", "partial-sum"],
)
def test_mean_over_samples_does_not_depend_on_batches_or_reduction(batch_size, loss):
    model = classifier()
    objective = la.Objective(model, samples(), loss=loss, batch_size=batch_size)
    assert objective()["loss"] == pytest.approx(truth(model), rel=1e-12)


def as_loader(x, y):
    return DataLoader(TensorDataset(x, y), batch_size=7)


def as_list(x, y):
    return [(x[:9], y[:9]), [x[9:], y[9:]]]


def as_mappings(x, y):
    return [{"x": x[:9], "labels": y[:9]}, {"x": x[9:], "labels": y[9:]}]


def as_arrays(x, y):
    return x.numpy(), y.numpy()


class TakesX(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("shape", [as_loader, as_list, as_mappings, as_arrays])
def test_every_shape_of_data_gives_the_same_mean(shape):
    model = TakesX(classifier())
    objective = la.Objective(model, shape(*samples()), loss=F.cross_entropy, metrics={"error": la.metrics.error})
    x, y = samples()
    assert objective.samples == 23
    assert objective()["loss"] == pytest.approx(truth(model), rel=1e-12)
    assert objective()["error"] == pytest.approx(float((model(x).argmax(1) != y).double().mean()), rel=1e-12)


def test_model_with_its_own_loss_and_several_inputs():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([2.0]))

        def forward(self, a, b, labels):
            return {"loss": F.mse_loss(self.scale * (a + b), labels)}

    a, b = torch.arange(6.0).reshape(6, 1), torch.ones(6, 1)
    data = [{"a": a[:4], "b": b[:4], "labels": a[:4]}, {"a": a[4:], "b": b[4:], "labels": a[4:]}]
    assert la.Objective(Own(), data)()["loss"] == pytest.approx(float(((2 * (a + b) - a) ** 2).mean()))


def test_several_inputs_in_a_tuple_and_an_autoencoder():
    bilinear = nn.Bilinear(2, 3, 1).double()
    a, b, y = torch.randn(5, 2).double(), torch.randn(5, 3).double(), torch.randn(5, 1).double()
    expected = float(((bilinear(a, b) - y) ** 2).mean().detach())
    assert la.Objective(bilinear, (a, b, y), loss=F.mse_loss)()["loss"] == pytest.approx(expected, rel=1e-12)
    coder = nn.Linear(4, 4).double()
    x, _ = samples()
    assert la.Objective(coder, [x[:7], x[7:]], loss=F.mse_loss)()["loss"] == pytest.approx(
        ((coder(x) - x) ** 2).mean().item(), rel=1e-12
    )


def test_a_forward_of_ones_own():
    model = classifier()
    data = [{"first": x, "second": (y,)} for x, y in as_loader(*samples())]
    objective = la.Objective(
        model, data, loss=F.cross_entropy, forward=lambda model, batch: (model(batch["first"]), batch["second"][0])
    )
    assert objective()["loss"] == pytest.approx(truth(model), rel=1e-12)


def test_data_over_the_budget_is_streamed_with_the_same_result():
    model = classifier()
    kept = la.Objective(model, as_loader(*samples()), loss=F.cross_entropy)
    streamed = la.Objective(model, as_loader(*samples()), loss=F.cross_entropy, memory=100)
    assert kept.batches.kept
    assert not streamed.batches.kept
    assert kept() == streamed()
    assert kept.batches.fingerprint == streamed.batches.fingerprint


def test_kept_data_is_read_once():
    reads = []

    class Counting(TensorDataset):
        def __getitem__(self, index):
            reads.append(index)
            return super().__getitem__(index)

    objective = la.Objective(classifier(), DataLoader(Counting(*samples()), batch_size=5), loss=F.cross_entropy)
    objective()
    objective()
    assert len(reads) == 23


def test_a_loss_with_derivatives_of_the_network_works_with_autograd():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))

        def forward(self, x):
            x = x.detach().requires_grad_(True)
            return torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0]

    x = torch.linspace(0, 1, 10)[:, None]
    objective = la.Objective(Residual(), (x, torch.zeros(10, 1)), loss=F.mse_loss, autograd=True)
    assert objective()["loss"] > 0
    with pytest.raises(SpecError, match="pass autograd=True"):
        la.sample(
            la.Objective(Residual(), (x, torch.zeros(10, 1)), loss=F.mse_loss),
            la.Plane.random(objective, axes=("x",)),
            la.Grid(x=(-1, 1, 3)),
        )


def with_everything() -> nn.Module:
    """BatchNorm, dropout, a tied and a frozen tensor, a buffer, old-style weight norm: all that can be disturbed."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.utils.weight_norm(nn.Linear(4, 8))
            self.bn = nn.BatchNorm1d(8)
            self.drop = nn.Dropout(0.5)
            self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8)
            self.c.weight = self.b.weight
            self.out = nn.Linear(8, 3)
            self.out.bias.requires_grad_(False)
            self.register_buffer("count", torch.tensor(3))
            self.a(torch.zeros(1, 4))  # makes the attribute `weight` a tensor that is no leaf

        def forward(self, x):
            return self.out(self.c(self.b(self.drop(self.bn(self.a(x))))))

    torch.manual_seed(0)
    return Model().train()


def state_of(model: nn.Module) -> list[object]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [
        *((name, t.detach().numpy().tobytes(), t.data_ptr(), t.requires_grad, t.grad is None) for name, t in tensors),
        *((name, module.training) for name, module in model.named_modules()),
        *(getattr(m, "momentum", None) for m in model.modules()),
    ]


def randomness() -> list[object]:
    return [torch.get_rng_state().numpy().tobytes(), random.getstate(), str(np.random.get_state())]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("batchnorm", ["frozen", "recalibrated", "interpolated"])
@pytest.mark.parametrize("raises", [False, True])
def test_model_and_randomness_are_untouched_by_a_scan_even_one_that_raises(batchnorm, raises):
    model = with_everything()
    x, y = samples()
    loader = DataLoader(
        TensorDataset(x.float(), y), batch_size=7, shuffle=True, generator=torch.Generator().manual_seed(3)
    )
    before = state_of(model), randomness(), loader.generator.get_state().tolist()
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        if raises and len(calls) > 60:
            raise KeyboardInterrupt
        torch.rand(1)
        return F.cross_entropy(outputs, targets)

    objective = la.Objective(model, loader, loss=loss, batchnorm=batchnorm)
    plane = la.Plane.random(objective, seed=0)
    with pytest.warns(UserWarning, match="a different data order"):
        if raises:
            with pytest.raises(KeyboardInterrupt):
                la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 4)))
        else:
            la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 4)))
    assert (state_of(model), randomness(), loader.generator.get_state().tolist()) == before


def test_a_model_changed_after_the_objective_was_made_is_refused():
    model = classifier()
    objective = la.Objective(model, samples(), loss=F.cross_entropy)
    plane = la.Plane.random(objective)
    model[0].weight.data.add_(1)
    with pytest.raises(SpecError, match="weights changed after the Objective was made"):
        la.sample(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))


BAD = {
    "model": (dict(model=3), r"model is an int \(3\); expected a torch.nn.Module"),
    "batchnorm": (
        dict(batchnorm="thawed"),
        "batchnorm='thawed' is unknown; choose one of: frozen, recalibrated, inter",
    ),
    "empty loader": (dict(data=[]), "data is empty: it gave no samples"),
    "empty tensors": (dict(data=(torch.zeros(0, 4), torch.zeros(0))), "data is empty"),
    "iterator": (dict(data=iter([samples()])), "can be read only once; pass list"),
    "number": (dict(data=3), r"data is an int \(3\); expected a DataLoader"),
    "unequal": (dict(data=(torch.zeros(3, 4), torch.zeros(2))), r"the tensors have \[3, 2\] rows"),
    "no tensor": (dict(data=["text"]), "holds no tensor with a sample dimension"),
    "batch size": (dict(batch_size=0), "batch_size=0; expected at least 1"),
    "metric name": (dict(metrics={"loss": la.metrics.error}), "'loss' cannot name a metric"),
    "metric type": (dict(metrics={"error": 3}), r"metrics\['error'\] is an int"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_named(case):
    change, message = BAD[case]
    good = dict(model=classifier(), data=samples(), loss=F.cross_entropy)
    with pytest.raises(SpecError, match=message):
        la.Objective(**(good | change))


def test_parameters_of_another_shape_or_name_are_named():
    objective = la.Objective(classifier(), samples(), loss=F.cross_entropy)
    with pytest.raises(SpecError, match=r"params\['0.weight'\] has shape \(3,\); expected shape \(8, 4\)"):
        objective({"0.weight": torch.zeros(3)})
    with pytest.raises(SpecError, match=r"params\['w'\].*expected one of"):
        objective({"w": torch.zeros(3)})


def test_metric_and_loss_of_the_wrong_shape_are_named():
    objective = la.Objective(classifier(), samples(), loss=F.cross_entropy, metrics={"m": lambda o, t: o.mean()})
    with pytest.raises(SpecError, match=r"metric 'm' returned shape \(\) for 23 samples; expected shape \(23,\)"):
        objective()
    objective = la.Objective(classifier(), samples(), loss=lambda o, t: o.mean(0))
    with pytest.raises(SpecError, match=r"returned shape \(3,\) for 23 samples; expected a scalar or \[23, ...\]"):
        objective()
    objective = la.Objective(classifier(), samples(), loss=lambda o, t: 3.0)
    with pytest.raises(SpecError, match=r"returned a float \(3\.0\); expected a tensor"):
        objective()
    with pytest.raises(SpecError, match="loss=None, but the model's output"):
        la.Objective(classifier(), samples())()


def test_an_objective_that_travelled_moves_its_own_copy():
    import pickle

    torch.manual_seed(0)
    objective = la.Objective(nn.Linear(2, 1), (torch.randn(5, 2), torch.randn(5, 1)), F.mse_loss)
    moved = {name: tensor + 1 for name, tensor in objective.origin.items()}
    here = objective(moved)  # after this the private copy exists, and would travel with its links cut
    assert pickle.loads(pickle.dumps(objective))(moved) == here
    assert here != objective()
