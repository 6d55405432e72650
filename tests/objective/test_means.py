"""Does every measure know whether the loss is a mean over samples, and does the question do no harm?"""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import SpecError
from lossatlas.objective import means
from lossatlas.objective.part import taken

WEIGHTS = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)


def rows(n: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (n,), generator=generator)


def linear(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, outputs).double()


def in_sum(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="sum")


def by_hand(outputs, targets):
    return (outputs.logsumexp(1) - outputs.gather(1, targets[:, None])[:, 0]).sum()


def by_class(outputs, targets):
    return F.cross_entropy(outputs, targets, weight=WEIGHTS)


def by_hand_and_class(outputs, targets):
    each = WEIGHTS[targets]
    return (each * F.cross_entropy(outputs, targets, reduction="none")).sum() / each.sum()


def by_what_is_there(outputs, targets):
    """Weights that follow the batch: no class has one of its own."""
    return F.cross_entropy(outputs, targets, weight=1.0 / (1.0 + torch.bincount(targets, minlength=3)).double())


MEASURES = {
    "eigenvalues": lambda o: la.eigenvalues(o, k=1),
    "trace": lambda o: la.trace(o, probes=2),
    "spectral_density": lambda o: la.spectral_density(o, probes=1, steps=3),
    "gradient": lambda o: la.directions.gradient(o),
    "worst": lambda o: la.directions.worst(o, steps=1),
    "eigen": lambda o: la.directions.eigen(o),
    "curvature_map": lambda o: la.curvature_map(o, la.Plane.random(o, axes=("x",)), la.Grid(x=(-1, 1, 2))),
    "sample": lambda o: la.sample(o, la.Plane.random(o, axes=("x",)), la.Grid(x=(-1, 1, 2)), progress=False),
    **{name: functools.partial(la.sharpness.measure, name) for name in la.sharpness.MEASURES},
    "llc": lambda o: la.llc(o, draws=20, progress=False),  # as a measure it refuses what is not trained
}
EACH = ("fisher_rao",)


@pytest.mark.parametrize("batch", [9, 4, 2])
@pytest.mark.parametrize("loss", [in_sum, by_hand])
def test_a_sum_is_refused_by_every_measure_whatever_the_batches(loss, batch):
    for measure in MEASURES.values():
        with pytest.raises(SpecError, match="is a sum over samples"):
            measure(la.Objective(linear(), rows(), loss, batch_size=batch))


@pytest.mark.parametrize("measure", MEASURES)
def test_weights_that_follow_the_batch_are_warned_of_by_every_measure(measure):
    objective = la.Objective(linear(), rows(), by_what_is_there, batch_size=2)
    if measure in EACH:  # asks for the loss of every sample
        with pytest.raises(SpecError, match="is not the mean over its samples"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            MEASURES[measure](la.Objective(linear(), rows(), by_what_is_there, batch_size=9))
        return
    with pytest.warns(UserWarning, match="depends on how the data are cut into batches"):
        MEASURES[measure](objective)


@pytest.mark.parametrize("loss", [by_hand_and_class, lambda o, t: (by_hand_and_class(o, t) * 2) / 2])
def test_weights_that_balance_in_one_cut_are_seen(loss):
    y = torch.tensor([2, 1, 2, 2, 2, 1, 2, 2, 1])  # weights of 7 in the first third, and of 14 in the rest
    assert means.kind_of(loss, linear()(rows()[0]), y) == "neither"


def positive(outputs, targets):
    """Divided by a number of targets that its graph does not show to weigh anything."""
    return (outputs - targets[:, None]).square().sum() / (targets > 0).sum()


def test_a_count_inside_the_loss_asks_for_a_size_and_with_it_all_is_well():
    x, y = rows()
    y = torch.arange(len(x)) % 3
    cut = la.Objective(linear(), (x, y), positive, batch_size=4)
    with pytest.warns(
        UserWarning, match=r"not a mean over samples.*or size=, a function of the batch that gives the num"
    ):
        means.check(cut)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sized = la.Objective(linear(), (x, y), positive, batch_size=4, size=lambda batch: int((batch[1] > 0).sum()))
        means.check(sized)
    whole = la.Objective(linear(), (x, y), positive)()["loss"]
    assert sized()["loss"] == pytest.approx(whole, rel=1e-5)
    assert cut()["loss"] != pytest.approx(whole, rel=1e-3)
    wrong = la.Objective(linear(), (x, y), positive, batch_size=4, size=lambda batch: len(batch[1]))
    with pytest.warns(UserWarning, match="not a mean over samples"):
        means.check(wrong)


@pytest.mark.parametrize("batch", [9, 2])
def test_single_values_of_ignored_targets_are_zeros_in_the_mean_which_is_said(batch):
    x, y = rows()
    ignoring = y.index_fill(0, torch.tensor([7, 8]), -1)
    loss = functools.partial(F.cross_entropy, ignore_index=-1, reduction="none")
    objective = la.Objective(linear(), (x, ignoring), loss, batch_size=batch)
    with pytest.warns(UserWarning, match=r"is 0 for every target that is ignored \(-1\).*reduction='mean' is a mean"):
        means.check(objective)
    mean = la.Objective(linear(), (x, ignoring), functools.partial(F.cross_entropy, ignore_index=-1), batch_size=batch)
    assert objective({})["loss"] == pytest.approx(mean({})["loss"] * 7 / 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        means.check(mean)
        means.check(la.Objective(linear(), (x, y), loss, batch_size=batch))


def test_it_is_said_once_for_an_objective():
    objective = la.Objective(linear(), rows(), by_what_is_there, batch_size=4)
    with pytest.warns(UserWarning, match="not a mean over samples"):
        la.eigenvalues(objective, k=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        la.trace(objective, probes=2)


IGNORING = rows()[1].index_fill(0, torch.tensor([0, 1, 2, 5]), 1)
OWN = {
    "class weights": (nn.CrossEntropyLoss(weight=WEIGHTS), rows()[1]),
    "class weights in a partial": (functools.partial(F.cross_entropy, weight=WEIGHTS), rows()[1]),
    "ignored targets": (nn.CrossEntropyLoss(ignore_index=1), IGNORING),
    "both": (nn.CrossEntropyLoss(weight=WEIGHTS, ignore_index=1, label_smoothing=0.1), IGNORING),
    "ignored by default": (F.cross_entropy, torch.where(IGNORING == 1, -100, IGNORING)),
    "class weights in a function": (by_class, rows()[1]),
    "ignored targets in a function": (lambda o, t: F.cross_entropy(o, t, ignore_index=1), IGNORING),
    "ignored by default in a function": (
        lambda o, t: F.nll_loss(o.log_softmax(1), t),
        torch.where(IGNORING == 1, -100, IGNORING),
    ),
}


@pytest.mark.parametrize("case", OWN)
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_torchs_own_weighted_means_do_not_depend_on_the_batches(case, batch):
    loss, y = OWN[case]
    x, model = rows()[0], linear()
    cut = la.Objective(model, (x, y), loss, batch_size=batch)
    whole = la.Objective(model, (x, y), loss)
    truth = loss(model(x), y)
    hessian = torch.autograd.functional.hessian(lambda w: loss(F.linear(x, w, model.bias), y), model.weight.detach())
    diagonal = float(hessian.reshape(12, 12).trace())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cut()["loss"] == pytest.approx(float(truth.detach()), rel=1e-12)
        by_weights = la.eigenvalues(cut, tensors="weights", k=6).values
        assert by_weights == pytest.approx(la.eigenvalues(whole, tensors="weights", k=6).values, rel=1e-6, abs=1e-9)
        dense = torch.linalg.eigvalsh(hessian.reshape(12, 12))
        assert by_weights[-1] == pytest.approx(float(dense[-1]), rel=1e-6)
        assert diagonal == pytest.approx(float(dense.sum()))
        plane = la.Plane.random(cut, axes=("x",))
        got = la.sample(cut, plane, la.Grid(x=(0, 1, 2)), progress=False)
    moved = plane.at({"x": 1.0})
    there = loss(F.linear(x, moved["weight"], moved["bias"]), y)
    assert float(got["loss"].sel(x=1)) == pytest.approx(float(there.detach()), rel=1e-12)


@pytest.mark.parametrize("plan", ["plain", "graph"])
def test_ignored_pixels_that_lie_unevenly_in_the_batches_are_weighed(plan):
    torch.manual_seed(3)
    model, x, y = nn.Conv2d(3, 4, 3, padding=1), torch.randn(9, 3, 6, 6), torch.randint(0, 4, (9, 6, 6))
    y[:4, :, 1:] = 255
    loss = nn.CrossEntropyLoss(ignore_index=255)
    objective = la.Objective(model, (x, y), loss, batch_size=4)
    plane = la.Plane.random(objective, axes=("x",))
    found = la.sample(objective, plane, la.Grid(x=(-1, 1, 3)), progress=False, plan=plan)
    assert float(found["loss"].sel(x=0)) == pytest.approx(float(loss(model(x), y).detach()), rel=1e-6)
    assert objective.counts["loss"].unit == "target"
    assert objective.counts["loss"].number == int((y != 255).sum())


def test_ignored_targets_within_a_function_are_seen_in_a_later_batch():
    x, y = rows(12)
    y[9:11] = -100
    model = linear()
    objective = la.Objective(model, (x, y), lambda o, t: F.cross_entropy(o, t), batch_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        means.check(objective)
    assert objective()["loss"] == pytest.approx(float(F.cross_entropy(model(x), y).detach()), rel=1e-12)


@pytest.mark.parametrize("batch", [20, 16, 8])
def test_a_contrastive_loss_is_called_with_its_own_batches_alone_and_told_of_once(batch):
    a = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    seen = []

    def forward(model, pair):
        return torch.cat([model(pair[0]), model(pair[1])]), None

    def ntxent(z, _):
        seen.append(len(z))
        z, n = F.normalize(z), len(z) // 2
        places = torch.arange(n)
        return F.cross_entropy(z @ z.T / 0.5 - 1e9 * torch.eye(2 * n), torch.cat([places + n, places]))

    objective = la.Objective(nn.Linear(6, 4), (a, a + 0.1), ntxent, forward=forward, batch_size=batch)
    with pytest.warns(UserWarning, match="what is measured is a mean over batches") as told:
        la.sample(objective, la.Plane.random(objective, axes=("x",)), la.Grid(x=(-1, 1, 3)), progress=False)
    assert len([one for one in told if "mean over batches" in str(one.message)]) == 1
    assert set(seen) == {2 * size for size in objective.sizes}


QUIET = {
    "squares": lambda o, t: (o.sum(1) - t).square().mean(),
    "absolute": lambda o, t: (o.sum(1) - t).abs().mean(),
    "linear": lambda o, t: o.mean(),
    "by hand": lambda o, t: by_hand(o, t) / len(t),
    "hinge": lambda o, t: F.multi_margin_loss(o, t),
    "written to": lambda o, t: o.sub_(1).square().mean(),
}


@pytest.mark.parametrize("loss", QUIET)
@pytest.mark.parametrize("batch", [1, 2, 9])
def test_means_over_samples_are_not_warned_of(loss, batch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        means.check(la.Objective(linear(), rows(), QUIET[loss], batch_size=batch))


def test_losses_that_cannot_be_looked_into_do_no_harm():
    x, y = rows()

    def wants_numbers(outputs, targets):
        return torch.tensor(float(outputs.numpy().mean()))

    def wants_all(outputs, targets):
        assert len(outputs) == 9
        return outputs.square().mean()

    for loss in (wants_numbers, wants_all):
        means.check(la.Objective(linear(), (x, y), loss))


@pytest.mark.parametrize("measure", ["eigenvalues", "trace", "gradient", "worst"])
def test_a_batch_whose_loss_is_not_a_number_is_seen_by_curvature(measure):
    x, y = rows()[0], torch.zeros(9, 1, dtype=torch.float64)
    y[7] = torch.nan  # the Hessian of squares does not feel it
    objective = la.Objective(linear(1), (x, y), F.mse_loss, batch_size=4)
    with pytest.raises(SpecError, match="loss of a batch is nan"):
        MEASURES[measure](objective)


def test_pictures_and_curvature_say_what_batchnorm_did():
    torch.manual_seed(0)
    x, y = rows()
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).double()
    told = {}
    for training in (False, True):
        objective = la.Objective(model, (x, y), F.cross_entropy, training=training)
        plane = la.Plane.random(objective, axes=("x",))
        landscape = la.sample(objective, plane, la.Grid(x=(-1, 1, 3)), progress=False)
        told[training] = (landscape.attrs["batchnorm"], la.eigenvalues(objective, k=1).subject.words)
    assert told[False][0] == "frozen"
    assert "BatchNorm frozen" in told[False][1]
    assert told[True][0] == "by the statistics of each batch (training mode)"
    assert "BatchNorm by the statistics of each batch" in told[True][1]
    assert "frozen" not in told[True][1]


def maml(model, batch):
    xs, ys, xq, yq = (part[0] for part in batch)
    weights = dict(model.named_parameters())
    slopes = torch.autograd.grad(F.mse_loss(model(xs), ys), list(weights.values()), create_graph=True)
    after = {name: w - 0.1 * g for (name, w), g in zip(weights.items(), slopes, strict=True)}
    return torch.func.functional_call(model, after, (xq,))[None], yq[None]


def test_a_gradient_step_within_the_loss_works_with_autograd_and_curvature_goes_through_it():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    tasks = [tuple(torch.randn(1, 5, 1).double() for _ in range(4)) for _ in range(3)]
    with pytest.raises(SpecError, match="pass autograd=True, or --autograd"):
        la.Objective(model, tasks, F.mse_loss, forward=maml)()
    objective = la.Objective(model, tasks, F.mse_loss, forward=maml, autograd=True)
    truth = [float(F.mse_loss(*maml(model, task)).detach()) for task in tasks]
    assert objective()["loss"] == pytest.approx(np.mean(truth), rel=1e-12)
    plane = la.Plane.random(objective, axes=("x",))
    landscape = la.sample(objective, plane, la.Grid(x=(-1, 1, 3)), progress=False)
    assert float(landscape["loss"].sel(x=0)) == pytest.approx(np.mean(truth), rel=1e-12)
    for tensors in ("all", "weights"):
        assert np.isfinite(la.eigenvalues(objective, k=1, tensors=tensors).values).all()
    assert la.sharpness.sam(objective).value > 0
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


SPLIT = {
    "scaled": lambda o, t: 3 * by_class(o, t),
    "smoothed": lambda o, t: F.cross_entropy(o, t, weight=WEIGHTS, ignore_index=1, label_smoothing=0.1),
    "of one output of two": lambda o, t: F.cross_entropy(o * 2.0, t, weight=WEIGHTS) + 0.0,
}


@pytest.mark.parametrize("name", SPLIT)
def test_a_function_that_goes_on_from_a_weighted_mean_is_believed_where_its_parts_add_up(name):
    loss, (x, _), model = SPLIT[name], rows(12), linear()
    y = torch.arange(12) % 3
    whole = float(loss(model(x), y).detach())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cut = la.Objective(model, (x, y), loss, batch_size=5)
        means.check(cut)
    assert cut()["loss"] == pytest.approx(whole, rel=1e-12)


def test_a_function_that_adds_to_a_weighted_mean_is_warned_of_and_other_targets_are_followed():
    x, y = rows(12)
    penalised = la.Objective(linear(), (x, y), lambda o, t: by_class(o, t) + o.square().mean(), batch_size=5)
    with pytest.warns(UserWarning, match="not a mean over samples"):
        means.check(penalised)
    assert penalised.weighing is None
    turned = la.Objective(linear(), (x, y), lambda o, t: by_class(o, 2 - t), batch_size=5)
    assert turned()["loss"] == pytest.approx(float(by_class(linear()(x), 2 - y).detach()), rel=1e-9)


def _each(outputs, targets):
    return F.cross_entropy(outputs, targets.clamp(min=0), reduction="none")


def _by_class(w, outputs, targets):
    return (w[targets] * _each(outputs, targets)).sum() / w[targets].sum()


UNSEEN = torch.where(torch.arange(40) < 6, -1, rows(40)[1])  # the first batches hold nothing else
BY_HAND = {
    "class weights": (functools.partial(_by_class, WEIGHTS), rows(40)[1]),
    "large weights": (functools.partial(_by_class, 1e6 * WEIGHTS), rows(40)[1]),
    "a class that weighs nothing": (functools.partial(_by_class, WEIGHTS * torch.tensor([1, 0, 1])), rows(40)[1]),
    "what is masked is cut out": (lambda o, t: _each(o[t >= 0], t[t >= 0]).mean(), UNSEEN),
    "what is masked is zero": (lambda o, t: (_each(o, t) * (t >= 0)).sum() / (t >= 0).sum().clamp(min=1), UNSEEN),
    "mask and weights": (
        lambda o, t: (lambda w: (w * _each(o, t)).sum() / w.sum())(WEIGHTS[t.clamp(min=0)] * (t >= 0)),
        UNSEEN,
    ),
}


@pytest.mark.parametrize("batch", [40, 17, 3, 1])
@pytest.mark.parametrize("case", BY_HAND)
def test_weighted_means_that_were_written_by_hand_reveal_their_weights(case, batch):
    loss, y = BY_HAND[case]
    x, model = rows(40)[0], linear()
    whole = la.Objective(model, (x, y), loss, batch_size=40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cut = la.Objective(model, (x, y), loss, batch_size=batch)
        means.check(cut)
    assert cut()["loss"] == pytest.approx(float(loss(model(x), y).detach()), rel=1e-9)
    at = {"weight": torch.ones(3, 4).double()}
    assert cut(at)["loss"] == pytest.approx(whole(at)["loss"], rel=1e-9)
    assert la.trace(cut, probes=2).value == pytest.approx(la.trace(whole, probes=2).value, rel=1e-8)


def test_what_only_looks_like_a_weighted_mean_reveals_nothing():
    def rooted(outputs, targets):
        return (WEIGHTS[targets] * _each(outputs, targets)).sum() / WEIGHTS[targets].sum().sqrt()

    def by_outputs(outputs, targets):
        each = _each(outputs, targets)
        return (each.detach() * each).sum() / each.detach().sum()

    for loss in (rooted, by_outputs, by_what_is_there):
        objective = la.Objective(linear(), rows(40), loss, batch_size=17)
        with pytest.warns(UserWarning, match="not a mean over samples"):
            means.check(objective)
        assert objective.weighing is None
    assert la.Objective(linear(), rows(40), lambda o, t: _each(o, t).mean(), batch_size=17).weighing is None


@pytest.mark.parametrize(
    ("last", "classes"),
    [
        pytest.param(nn.Sigmoid(), 1, id="of one"),
        pytest.param(nn.Sigmoid(), 3, id="each"),
        pytest.param(nn.Softmax(1), 3, id="whole"),
        pytest.param(nn.LogSoftmax(1), 3, id="logarithms"),
    ],
)
def test_a_loss_of_probabilities_is_asked_for_nothing_else(last, classes):
    """Of what is no probability a cross-entropy ends the work of a GPU."""
    torch.manual_seed(0)
    x, y = torch.randn(40, 4).double(), torch.randint(max(2, classes), (40,))
    model = nn.Sequential(nn.Linear(4, classes), last).double()
    logarithm, many = isinstance(last, nn.LogSoftmax), classes > 1 and not isinstance(last, nn.Sigmoid)
    asked = []

    def loss(outputs, targets):
        chances = outputs.exp() if logarithm else outputs
        asked.append(bool(((chances >= 0) & (chances <= 1)).all()))
        asked.append(not many or torch.allclose(chances.sum(1), torch.ones(len(chances)).to(chances)))
        chance = chances.gather(1, targets[:, None])[:, 0] if classes > 1 else (chances[:, 0] - 1 + targets).abs()
        return (WEIGHTS[targets] * -chance.clamp(1e-9, 1).log()).sum() / WEIGHTS[targets].sum()

    found = la.Objective(model, (x, y), loss, batch_size=17)()["loss"]
    assert all(asked)
    assert found == pytest.approx(float(loss(model(x), y).detach()), rel=1e-9)


def test_classes_of_several_targets_are_not_mixed():
    """Two class numbers for each sample, each with a range of its own."""
    x, y = rows(40)
    y = torch.stack([y, y % 2], 1)
    pairs = torch.tensor([1.0, 3.0]).double()

    def loss(outputs, targets):
        assert targets[:, 1].max() < 2
        weights = pairs[targets[:, 1]]
        return (weights * _each(outputs, targets[:, 0])).sum() / weights.sum()

    objective = la.Objective(linear(), (x, y), loss, batch_size=17)
    with pytest.warns(UserWarning, match="not a mean over samples"):
        means.check(objective)


def test_pixels_weighed_by_hand_are_one_mean():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(5, 2, 4, 4, generator=generator).double(), torch.randint(3, (5, 4, 4), generator=generator)
    model = nn.Conv2d(2, 3, 1).double()
    found = la.Objective(model, (x, y), functools.partial(_by_class, WEIGHTS), batch_size=2)()["loss"]
    assert found == pytest.approx(float(_by_class(WEIGHTS, model(x), y).detach()), rel=1e-9)


def test_weights_that_follow_the_batch_are_warned_of():
    with pytest.warns(UserWarning, match="not a mean over samples"):
        means.check(la.Objective(linear(), rows(12), by_what_is_there, batch_size=5))


def test_some_of_the_samples_weigh_as_they_do_among_all():
    x, y = rows(12)
    part = taken(la.Objective(linear(), (x, y), by_class, batch_size=5), np.array([0, 3, 4, 7, 11]))
    chosen = [0, 3, 4, 7, 11]
    expected = by_class(part.model(x[chosen]), y[chosen])
    assert part()["loss"] == pytest.approx(float(expected.detach()), rel=1e-12)


def test_masks_with_class_weights_in_a_function_are_one_mean_over_pixels():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(5, 2, 4, 4, generator=generator).double(), torch.randint(3, (5, 4, 4), generator=generator)
    y[0, :2] = 255
    model = nn.Conv2d(2, 3, 1).double()

    def loss(outputs, targets):
        return F.cross_entropy(outputs, targets, weight=WEIGHTS, ignore_index=255)

    found = la.Objective(model, (x, y), loss, batch_size=2)()["loss"]
    assert found == pytest.approx(float(loss(model(x), y).detach()), rel=1e-12)


def test_a_sum_over_the_number_of_objects_is_not_called_a_sum_over_samples():
    """With one object in a batch, the loss of its parts adds up to the whole."""
    torch.manual_seed(0)
    x = torch.randn(24, 4)
    y = torch.tensor([0] * 5 + [1] + [0] * 5 + [1] + [1, 1, 0, 0, 1, 1] + [1, 0, 0, 1, 1, 1])

    def focal(outputs, targets):
        each = F.cross_entropy(outputs, targets, reduction="none")
        return ((1 - torch.exp(-each)) ** 2 * each).sum() / (targets == 1).sum().clamp(min=1)

    objective = la.Objective(torch.nn.Linear(4, 3), (x, y), focal, batch_size=6)
    with pytest.warns(UserWarning, match="not a mean over samples"):
        la.trace(objective, probes=2)


def explained(outputs, targets):
    """One minus R²: divided by a variance of the batch, which one sample does not have."""
    return (outputs - targets).square().sum() / (targets - targets.mean(0)).square().sum()


def known_alone(outputs, targets):
    """A mean over the targets there are; a sample without one has none."""
    return (outputs - targets)[~targets.isnan()].square().mean()


@pytest.mark.parametrize(("loss", "batch"), [(explained, 3), (explained, 2), (known_alone, 3)])
def test_a_loss_without_a_value_for_a_part_of_a_batch_is_no_mean_over_samples(loss, batch):
    x = rows(12)[0]
    y = x[:, :1].sin() + 0.1
    if loss is known_alone:
        y[torch.arange(12) % batch == 0] = torch.nan  # the first of each batch
        y[-1] = torch.nan
    model = linear(1)
    whole = float(loss(model(x), y).detach())
    objective = la.Objective(model, (x, y), loss, batch_size=batch)
    with pytest.warns(UserWarning, match="not a mean over samples"):
        la.trace(objective, probes=2)
    assert abs(objective()["loss"] - whole) > 1e-3 * whole  # so that the warning is needed
